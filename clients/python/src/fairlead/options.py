"""What a session is asked to do: framing, setup, heartbeats, delivery, retention, and where to begin.

How it gets its transports is in fairlead.reconnecting.

Everywhere None means the gateway's default, which the field's docstring tells; spans are seconds or a timedelta, not
negative.
"""

import enum
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from fairlead.entries import Asked
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from fairlead.v1.enums import FrameKind, Overflow

Span = float | timedelta
"""Seconds, or a timedelta."""
Payload = str | bytes
"""A frame to send: str is TEXT, bytes BINARY. On a raw socket, which has no kinds, str is sent as UTF-8."""
Patterns = str | bytes | Sequence[str | bytes]
"""What must occur in a frame, all of it, in any order; a lone str or bytes is one pattern."""
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields in order; names may repeat if they are given as pairs."""


Sign = Callable[[Asked], Payload | Awaitable[Payload]]
"""Gives a setup step's frame, anew for each transport: a plain function or a coroutine function."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the next transport goes."""

    url: str
    """Any host that the gateway's egress rules allow; the scheme must be the session's."""
    headers: Headers = ()
    """Sent with the upgrade request, in place of those before."""

    def to_proto(self) -> pb.Target:
        """Give the message for the wire."""
        return pb.Target(url=self.url, headers=encode_headers(self.headers))


BeforeDial = Callable[[Asked], str | Target | Awaitable[str | Target | None] | None]
"""Gives the target of the next dial: a Target, a URL (without headers), or None for where the last dial went."""


class Start(enum.Enum):
    """Where delivery begins in a journal."""

    HEAD = "head"
    """With what comes next."""
    OLDEST = "oldest"
    """With the oldest entry that the journal holds."""


HEAD = Start.HEAD
OLDEST = Start.OLDEST


@dataclass(frozen=True, slots=True)
class After:
    """Where delivery begins: behind the last entry that the adapter has, as it kept it."""

    epoch: str
    """The journal's identity. Reader.position has both; or Reader.epoch when the sequence was received."""
    sequence: int
    """The last sequence that the adapter has."""


StartFrom = Start | After


@dataclass(frozen=True, slots=True)
class Delimiter:
    """Cuts a raw socket's bytes into frames: a frame is what stands before the delimiter.

    Two delimiters in a row hold an empty frame, which is delivered.
    """

    delimiter: bytes = b"\r\n"
    """1 to 16 bytes. A frame to be sent that contains it is refused: it would arrive as two."""

    def __post_init__(self) -> None:
        """Raise ValueError for a delimiter that cannot be: the gateway would take an empty one for CRLF."""
        if not 1 <= len(self.delimiter) <= 16:
            raise ValueError("Delimiter: give 1 to 16 bytes")

    def write(self, message: pb.SocketOptions) -> None:
        """Choose this framing."""
        message.delimiter.bytes = self.delimiter


@dataclass(frozen=True, slots=True)
class LengthPrefix:
    """Cuts a raw socket's bytes into frames: each is preceded by its length."""

    width: int = 4
    """Of the length, in bytes: 1, 2 or 4. A frame to be sent that is longer than it can tell is refused."""
    little_endian: bool = False
    """Least significant byte first; False: most significant first, the network's order."""
    counts_itself: bool = False
    """The length counts its own bytes, too."""

    def __post_init__(self) -> None:
        """Raise ValueError for a width that cannot be: the gateway would take zero for 4."""
        if self.width not in {1, 2, 4}:
            raise ValueError("LengthPrefix: the width is 1, 2 or 4")

    def write(self, message: pb.SocketOptions) -> None:
        """Choose this framing."""
        message.length_prefix.CopyFrom(
            pb.LengthPrefix(width=self.width, little_endian=self.little_endian, counts_itself=self.counts_itself)
        )


@dataclass(frozen=True, slots=True)
class Unframed:
    """Leaves a raw socket's bytes as they are: a frame is what one read brings, and may be cut anywhere."""

    def write(self, message: pb.SocketOptions) -> None:
        """Choose this framing."""
        message.unframed.SetInParent()


Framing = Delimiter | LengthPrefix | Unframed


@dataclass(frozen=True, slots=True)
class Step:
    """One step of what a session does on each new transport before it is OPEN: a login, a subscription."""

    key: str
    """[A-Za-z0-9._:-]{1,128}, unique in the session."""
    payload: Payload | Sign
    """The frame to send: str is TEXT, bytes BINARY; on a raw socket str is UTF-8.

    Or a function that gives it, called with an Asked on each new transport: for a login that needs a fresh signature. A
    session with such a step does not dial while its owner is away: it is WAITING until the owner comes back.
    """
    expect: Patterns = ()
    """The step is done when a frame holds all of these; empty: when it is written."""
    reject: Patterns = ()
    """A frame with all of these, while the step waits for expect, ends the session as fatal. Needs expect."""
    timeout: Span | None = None
    """How long the step may take, with the function that gives the payload; None: 10 s; zero is refused."""

    def as_bytes(self) -> "Step":
        """Give the step for a raw socket."""
        return self if callable(self.payload) else replace(self, payload=to_bytes(self.payload))

    def to_proto(self) -> pb.SetupStep:
        """Give the message for the wire."""
        step = pb.SetupStep(
            key=self.key,
            expect=to_match(self.expect),
            reject=to_match(self.reject),
            timeout=to_duration(self.timeout, "Step.timeout"),
        )
        if callable(self.payload):
            step.ask = True
        else:
            step.payload, step.kind = encode_payload(self.payload)
        return step


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Keeps a transport alive and finds out when it is not. At most one of ping, text and binary.

    In these three, {unix_s} and {unix_ms} become the wall clock and {n} the number of the heartbeat on this transport,
    from 1.
    """

    interval: Span | None = None
    """Between heartbeats; None: 20 s, on a raw socket without text and binary none; zero: none are sent."""
    ping: str | None = None
    """Payload of the ping frame, at most 125 bytes; None in all three: an empty ping frame, on a raw socket nothing.

    Raw sockets have no pings: refused there.
    """
    text: str | None = None
    """A text message in place of a ping frame; on a raw socket a frame, in UTF-8."""
    binary: bytes | None = None
    """A binary message in place of a ping frame; on a raw socket a frame."""
    pong_timeout: Span | None = None
    """How long the answer may take: a pong frame, or for text and binary a frame that matches keepalive; None: 10 s;
    zero: any time."""
    idle_timeout: Span | None = None
    """How long the exchange may send no data frame; None or zero: any time.

    Frames that match keepalive are not data.
    """
    keepalive: Patterns = ()
    """Frames with all of these only keep the connection alive. They are delivered like others."""
    write_timeout: Span | None = None
    """How long one write may make no progress; None: 10 s; zero is refused."""

    def as_bytes(self) -> "Heartbeat":
        """Give the heartbeat for a raw socket."""
        if self.text is None or self.binary is not None:
            return self  # Of two kinds: to_proto refuses it.
        return replace(self, text=None, binary=self.text.encode())

    def to_proto(self) -> pb.Heartbeat:
        """Give the message for the wire. Raises ValueError if more than one of ping, text and binary is given."""
        if sum(what is not None for what in (self.ping, self.text, self.binary)) > 1:
            raise ValueError("Heartbeat: give at most one of ping, text and binary")
        message = pb.Heartbeat(
            interval=to_duration(self.interval, "Heartbeat.interval"),
            pong_timeout=to_duration(self.pong_timeout, "Heartbeat.pong_timeout"),
            idle_timeout=to_duration(self.idle_timeout, "Heartbeat.idle_timeout"),
            keepalive=to_match(self.keepalive),
            write_timeout=to_duration(self.write_timeout, "Heartbeat.write_timeout"),
        )
        if self.ping is not None:
            message.ping = self.ping
        if self.text is not None:
            message.text = self.text
        if self.binary is not None:
            message.binary = self.binary
        return message


@dataclass(frozen=True, slots=True)
class Topic:
    """A part of a session's stream that must not fall silent: a subscription may die while the session is alive.

    While the session is OPEN and no matching frame has come for max_silence, TopicChanged says so, and again when one
    comes. A new transport begins anew.
    """

    key: str
    """[A-Za-z0-9._:-]{1,128}, unique in the session."""
    match: Patterns
    """The topic's frames hold all of these. One frame may belong to several topics."""
    max_silence: Span
    """The longest silence; at least 10 ms."""
    reconnect: bool = False
    """Also end the transport then, and dial a new one."""

    def to_proto(self) -> pb.Topic:
        """Give the message for the wire."""
        return pb.Topic(
            key=self.key,
            match=to_match(self.match),
            max_silence=to_duration(self.max_silence, "Topic.max_silence"),
            reconnect=self.reconnect,
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a channel gets its entries."""

    overflow: Overflow = Overflow.UNSPECIFIED
    """When the journal's tail passes this reader: SKIP (the default; one Gap, and on) or DETACH (the channel ends)."""
    max_delay: Span | None = None
    """How long an entry may wait to travel with others, at most 1 s; None: 0.5 ms; zero: not at all."""

    def to_proto(self) -> pb.Delivery:
        """Give the message for the wire."""
        return pb.Delivery(
            overflow=pb.Overflow.ValueType(self.overflow), max_delay=to_duration(self.max_delay, "Delivery.max_delay")
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the past a session keeps."""

    journal_bytes: int | None = None
    """Payload bytes, and 64 for each entry; None: 16 MiB, or room for four of the longest messages if that is more."""
    journal_age: Span | None = None
    """How old an entry may become; None or zero: any age."""
    linger: Span | None = None
    """How long a named session outlives its last subscriber; None: 30 s; zero: not at all, like an anonymous one."""

    def to_proto(self) -> pb.Retention:
        """Give the message for the wire."""
        return pb.Retention(
            journal_bytes=self.journal_bytes,
            journal_age=to_duration(self.journal_age, "Retention.journal_age"),
            linger=to_duration(self.linger, "Retention.linger"),
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """How much the client holds of one session for a program that is busy; the gateway's journal holds the rest.

    At the first of the two marks the client tells the gateway to hold the session, at half of them to go on. What is in
    flight at that moment comes on top, and while a command waits for its result, which travels behind the frames, up to
    four times the marks.
    """

    frames: int = 65_536
    """High mark in entries; at least 1."""
    bytes: int = 16 * 1024 * 1024
    """High mark in payload bytes; at least 1."""

    def __post_init__(self) -> None:
        """Raise ValueError if a mark is below 1."""
        if self.frames < 1 or self.bytes < 1:
            raise ValueError("Queue: marks must be at least 1")


def as_kind(payload: Payload, kind: FrameKind | None) -> Payload:
    """Give a payload in the type that stands for this kind; None: as it is.

    Raises ValueError for bytes that are to be TEXT and are not UTF-8, and for any other kind than TEXT and BINARY.
    """
    if kind is FrameKind.TEXT:
        return payload.decode() if isinstance(payload, bytes) else payload
    if kind is FrameKind.BINARY:
        return to_bytes(payload)
    if kind is not None:
        raise ValueError(f"kind: TEXT or BINARY, not {kind!r}")
    return payload


def encode_payload(payload: Payload) -> tuple[bytes, types_pb2.FrameKind.ValueType]:
    """Give a frame's bytes and kind. Raises TypeError for anything but str and bytes."""
    if isinstance(payload, str):
        return payload.encode(), types_pb2.FRAME_KIND_TEXT
    if isinstance(payload, bytes):
        return payload, types_pb2.FRAME_KIND_BINARY
    raise TypeError(f"a payload is str (TEXT) or bytes (BINARY), not {type(payload).__name__}")


def to_bytes(payload: Payload) -> bytes:
    """Give the bytes of a frame where there are no kinds. Raises TypeError for anything but str and bytes."""
    return encode_payload(payload)[0]


def encode_start(start: StartFrom) -> pb.Start:
    """Give the message for the wire."""
    match start:
        case After():
            return pb.Start(after=pb.Start.After(epoch=start.epoch, sequence=start.sequence))
        case Start.OLDEST:
            return pb.Start(oldest=pb.Start.Oldest())
        case _:
            return pb.Start(head=pb.Start.Head())


def encode_headers(headers: Headers) -> list[types_pb2.Header]:
    """Give the messages for the wire."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [types_pb2.Header(name=name, value=value) for name, value in pairs]


def to_duration(span: Span | None, field: str) -> Duration | None:
    """Give the message for the wire. Raises ValueError, naming the field, if the span is negative or not finite."""
    if span is None:
        return None
    whole, nanos = divmod(round(seconds(span, field) * 1_000_000_000), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)


def seconds(span: Span, field: str) -> float:
    """Give a span in seconds. Raises ValueError, naming the field, if it is negative or not finite."""
    value = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{field}: {value} s; a span is finite and not negative")
    return value


def to_match(patterns: Patterns) -> types_pb2.Match | None:
    """Give the message for the wire; None for no pattern."""
    if isinstance(patterns, str | bytes):
        patterns = (patterns,)
    contains = [pattern.encode() if isinstance(pattern, str) else pattern for pattern in patterns]
    return types_pb2.Match(contains=contains) if contains else None
