"""How a session gets its transports: what follows a loss, one beside another, and what tells their frames apart.

None means the gateway's default, as in fairlead.options.
"""

from dataclasses import dataclass

from fairlead.options import Patterns, Span, to_duration, to_match
from fairlead.v1 import session_pb2 as pb


@dataclass(frozen=True, slots=True)
class Reconnect:
    """What happens when a transport ends or cannot be made. The first dial obeys it like any other."""

    enabled: bool | None = None
    """None: True."""
    first_retry_at_once: bool | None = None
    """The first retry after a transport that was OPEN for stable_after does not wait; None: True."""
    initial_backoff: Span | None = None
    """The cap of the first pause; None: 0.5 s; zero is refused. Pauses are drawn evenly between zero and their cap."""
    max_backoff: Span | None = None
    """The highest cap; None: 30 s."""
    backoff_factor: float | None = None
    """By which the cap grows from pause to pause, 1 to 100; None: 2."""
    max_attempts: int | None = None
    """Dials that may fail in a row; None or zero: any number."""
    max_outage: Span | None = None
    """How long an outage may last before the session ends; None or zero: any time."""
    stable_after: Span | None = None
    """How long a transport must be OPEN before pauses, attempts and outage start anew; None: 10 s; zero: at once."""
    max_age: Span | None = None
    """How old a transport may become before another takes its place, up to a tenth less; None or zero: any age."""
    make_before_break: bool = False
    """Rotate without a blind window: when max_age, shutdown or a topic's reconnect ends a transport, the next is
    dialled and set up beside it, and takes its place when it has brought a frame, with dedupe one that came on both.

    StateChanged.overlap then tells how the two met. Frames of both are delivered, marked by generation, less copies.
    """
    overlap: Span | None = None
    """With make_before_break: how long the new transport waits for that frame at most, and how long the old one then
    stays, read only, so that answers to what was sent on it still come; None: 2 s; zero: no waiting; at most 60 s."""
    shutdown: Patterns = ()
    """Frames with all of these announce that the exchange will end the transport: the next is dialled now."""

    def to_proto(self) -> pb.ReconnectPolicy:
        """Give the message for the wire."""
        return pb.ReconnectPolicy(
            enabled=self.enabled,
            first_retry_at_once=self.first_retry_at_once,
            initial_backoff=to_duration(self.initial_backoff, "Reconnect.initial_backoff"),
            max_backoff=to_duration(self.max_backoff, "Reconnect.max_backoff"),
            backoff_factor=self.backoff_factor,
            max_attempts=self.max_attempts,
            max_outage=to_duration(self.max_outage, "Reconnect.max_outage"),
            stable_after=to_duration(self.stable_after, "Reconnect.stable_after"),
            max_age=to_duration(self.max_age, "Reconnect.max_age"),
            make_before_break=self.make_before_break,
            overlap=to_duration(self.overlap, "Reconnect.overlap"),
            shutdown=to_match(self.shutdown),
        )


@dataclass(frozen=True, slots=True)
class Dedupe:
    """How a frame that two transports bring is recognised: the first copy is delivered, the other is not.

    Copies have the same key, come on two transports, and within the window. Frames that match Heartbeat.keepalive have
    no key. A key should not return within the window: repeats of one transport are delivered, but one that comes while
    a transport is lost may be taken for a copy.
    """

    json_pointer: str = ""
    """Where the key is in a JSON payload: an RFC 6901 pointer to a string or a number ("/data/0/seq"), compared as it
    is written; at most 256 bytes. A frame without it has no key, and is delivered. Empty: the whole payload is it."""
    window: Span | None = None
    """How long a key is remembered; None: 5 s; 10 ms to 60 s."""

    def to_proto(self) -> pb.Dedupe:
        """Give the message for the wire."""
        return pb.Dedupe(json_pointer=self.json_pointer, window=to_duration(self.window, "Dedupe.window"))
