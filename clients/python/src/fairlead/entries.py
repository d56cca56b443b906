"""What a session delivers: frames, one by one or as columns, and the entries and events between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, repeat
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from fairlead.errors import Failure, FairleadError, to_seconds
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import FrameKind, Outcome, SessionState, StartOutcome


class Frame(NamedTuple):
    """One WebSocket message, or one framed unit of a raw socket."""

    payload: bytes
    """Its bytes, without framing; of a TEXT frame, UTF-8."""
    sequence: int
    """Its number in the session's journal."""
    generation: int
    """Of the transport that brought it. While a session has two, frames of both come in turns."""
    received_at: int
    """When the gateway had read it, nanoseconds since 1970; the same for frames that came with one read."""
    kind: FrameKind
    """TEXT or BINARY; of a raw socket always BINARY."""

    @property
    def text(self) -> str:
        """The payload as str. Raises UnicodeDecodeError if a BINARY frame is not UTF-8."""
        return self.payload.decode()


# Builds a Frame without the Python-level __new__ of a NamedTuple: three times as fast, and this is done for each frame.
_make_frame: Callable[[tuple[bytes, int, int, int, FrameKind]], Frame] = partial(tuple.__new__, Frame)


@dataclass(slots=True, eq=False)
class Batch:
    """Frames with consecutive sequences, of one kind and generation, as columns: cheap to read."""

    payloads: list[bytes]
    """Each frame's bytes."""
    received_at: list[int]
    """When the gateway had read each frame, nanoseconds since 1970."""
    first_sequence: int
    """The first frame's number in the session's journal; the others follow without holes."""
    generation: int
    """Of the transport that brought them."""
    kind: FrameKind
    """TEXT or BINARY."""

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def last_sequence(self) -> int:
        """The last frame's number in the session's journal."""
        return self.first_sequence + len(self.payloads) - 1

    @property
    def frames(self) -> list[Frame]:
        """The frames, made anew on each access."""
        return list(self.iterate(iter(self.payloads)))

    def iterate(self, payloads: Iterator[bytes]) -> Iterator[Frame]:
        """Give the frames one by one; `payloads` iterates over this batch's, and shows how far the iteration is."""
        columns = zip(
            payloads, count(self.first_sequence), repeat(self.generation), self.received_at, repeat(self.kind)
        )
        return map(_make_frame, columns)

    def tail(self, length: int) -> "Batch":
        """Give the last frames as a batch of their own."""
        start = len(self.payloads) - length
        return Batch(
            self.payloads[start:], self.received_at[start:], self.first_sequence + start, self.generation, self.kind
        )


@dataclass(frozen=True, slots=True)
class Overlap:
    """How two transports met."""

    frames: int
    """Frames of the new transport that came before the entry that has this."""
    copies: int
    """Frames of either that are not in the journal because the other had brought them."""
    may_be_missing: bool
    """False: a frame came on both, so that none of those in between is missing. Always True without dedupe."""

    @classmethod
    def from_proto(cls, message: pb.Overlap) -> "Overlap":
        """Read the message off the wire."""
        return cls(message.frames, message.copies, message.may_be_missing)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """An entry: the session entered a state. What is sent from here on goes to the transport of its generation."""

    state: SessionState
    generation: int
    sequence: int
    cause: Failure | None
    """Why; None on the way up."""
    close_code: int
    """Of the exchange's close frame; 1005 if that gave none; 0: there was no close frame."""
    close_reason: str
    attempt: int
    """CONNECTING and RECONNECTING: which dial in a row this is or will be, from 1."""
    retry_in: float | None
    """RECONNECTING: the pause before the next dial, in seconds."""
    blind_from: int | None
    """OPENING, from the second generation on: when the old transport was last heard, nanoseconds since 1970."""
    blind_until: int | None
    """When the new transport was first heard. What the exchange sent in between is not in the journal."""
    overlap: Overlap | None = None
    """OPEN, after OPEN: this transport has taken the place of another, without a blind window."""

    @classmethod
    def from_proto(cls, message: pb.StateChanged) -> "StateChanged":
        """Read the message off the wire."""
        return cls(
            state=SessionState(message.state),
            generation=message.generation,
            sequence=message.sequence,
            cause=Failure.from_proto(message.cause) if message.HasField("cause") else None,
            close_code=message.close_code,
            close_reason=message.close_reason,
            attempt=message.attempt,
            retry_in=to_seconds(message.retry_in) if message.HasField("retry_in") else None,
            blind_from=to_unix_ns(message.blind_from) if message.HasField("blind_from") else None,
            blind_until=to_unix_ns(message.blind_until) if message.HasField("blind_until") else None,
            overlap=Overlap.from_proto(message.overlap) if message.HasField("overlap") else None,
        )


@dataclass(frozen=True, slots=True)
class LegChanged:
    """An entry: a transport beside the session's own has come or gone. The session's state is not changed by it."""

    state: SessionState
    """OPENING: it is there, its setup runs, and its frames may follow. OPEN: it is set up. RECONNECTING: it was lost,
    or could not be made. CLOSED: it has ended as it was to, and none follows."""
    generation: int
    """Of that transport; 0: none came of the dial."""
    sequence: int
    cause: Failure | None
    """Why; None on the way up."""
    close_code: int
    """As in StateChanged."""
    close_reason: str
    retry_in: float | None
    """RECONNECTING: the pause before the next dial, in seconds."""
    received_frames: int
    """RECONNECTING, CLOSED: the data frames that it had received."""
    copies: int
    """RECONNECTING, CLOSED: those that are not in the journal because another transport had brought them."""

    @classmethod
    def from_proto(cls, message: pb.LegChanged) -> "LegChanged":
        """Read the message off the wire."""
        return cls(
            state=SessionState(message.state),
            generation=message.generation,
            sequence=message.sequence,
            cause=Failure.from_proto(message.cause) if message.HasField("cause") else None,
            close_code=message.close_code,
            close_reason=message.close_reason,
            retry_in=to_seconds(message.retry_in) if message.HasField("retry_in") else None,
            received_frames=message.received_frames,
            copies=message.copies,
        )


@dataclass(frozen=True, slots=True)
class CommandResult:
    """An entry: what became of an owner's send, ping or reconnect. Every subscriber sees it."""

    id: int
    """The command's id, as in Sent and OutcomeUnknown.command_id."""
    sequence: int
    outcome: Outcome
    generation: int
    """Of the transport that it was, or would have been, written to."""
    failure: Failure | None
    """Why not; None when WRITTEN or DONE."""

    @classmethod
    def from_proto(cls, message: pb.CommandResult) -> "CommandResult":
        """Read the message off the wire."""
        return cls(
            id=message.id,
            sequence=message.sequence,
            outcome=Outcome(message.outcome),
            generation=message.generation,
            failure=Failure.from_proto(message.failure) if message.HasField("failure") else None,
        )


@dataclass(frozen=True, slots=True)
class TopicChanged:
    """An entry: a topic has been silent for longer than its max_silence, or is heard again."""

    key: str
    """Of the Topic."""
    stale: bool
    """False: it is heard again; the frame stands before this entry."""
    sequence: int
    generation: int
    last_heard: int | None
    """When its last frame came on this transport, nanoseconds since 1970; None: none has."""

    @classmethod
    def from_proto(cls, message: pb.TopicChanged) -> "TopicChanged":
        """Read the message off the wire."""
        return cls(
            key=message.key,
            stale=message.stale,
            sequence=message.sequence,
            generation=message.generation,
            last_heard=to_unix_ns(message.last_heard) if message.HasField("last_heard") else None,
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries that this program will never see, and nothing else. Both ends belong to it."""

    from_sequence: int
    to_sequence: int


@dataclass(frozen=True, slots=True)
class Attached:
    """This channel reads the session now: at first, and again after the stream to the gateway was lost.

    Not an entry.
    """

    session: str
    """The session's name; generated for an anonymous session."""
    epoch: str
    """Identity of the journal."""
    oldest_sequence: int
    """The oldest sequence that the journal holds; head_sequence + 1 when it holds none."""
    head_sequence: int
    """The newest sequence; 0 before the first entry."""
    state: SessionState
    generation: int
    start: StartOutcome
    """What became of the wish where to begin."""
    setup_keys: tuple[str, ...]
    """Keys of the setup steps as stored now, in order."""
    position: int
    """The sequence that delivery begins behind."""
    former: bool = False
    """Whether this journal is over and read from the gateway's journal directory; EpochChanged follows at its end.

    state, generation and setup_keys are those of the session as it is now.
    """

    @classmethod
    def from_proto(cls, message: pb.Attached, position: int) -> "Attached":
        """Read the message off the wire."""
        return cls(
            session=message.session,
            epoch=message.epoch,
            oldest_sequence=message.oldest_sequence,
            head_sequence=message.head_sequence,
            state=SessionState(message.state),
            generation=message.generation,
            start=StartOutcome(message.start),
            setup_keys=tuple(message.setup_keys),
            position=position,
            former=message.former,
        )


@dataclass(frozen=True, slots=True)
class EpochChanged(Attached):
    """Attached, but to another journal than before: nothing is known of what the exchange sent in between.

    Sequences begin anew and say nothing about the old ones. A program that keeps a state from the frames rebuilds it.
    """


@dataclass(frozen=True, slots=True)
class Asked:
    """The session needs something from its owner: what a Step's, or before_dial's, callback is given. Not an entry."""

    key: str
    """The setup step whose frame is wanted; empty: before a dial."""
    generation: int
    """Of the transport that it is for: before a dial, the one that would come of it."""
    deadline: int
    """When the question is dropped, nanoseconds since 1970; the transport, or the dial, then counts as failed."""
    number: int
    """Counts the session's questions, from 1."""

    @classmethod
    def from_proto(cls, message: pb.Asked) -> "Asked":
        """Read the message off the wire."""
        return cls(message.key, message.generation, to_unix_ns(message.deadline), message.number)


@dataclass(frozen=True, slots=True)
class Detached:
    """The stream to the gateway was lost; the client re-attaches by itself. Not an entry."""

    cause: FairleadError = field(compare=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a send: it is in the kernel of the gateway's machine, whole."""

    outcome: Outcome
    """WRITTEN."""
    generation: int
    """Of the transport that it was written to."""
    sequence: int
    """Of its CommandResult in the session's journal."""
    id: int
    """Of its CommandResult."""


Entry = (
    Frame | StateChanged | LegChanged | CommandResult | TopicChanged | Gap | Asked | Attached | EpochChanged | Detached
)
"""What events() yields."""


def to_unix_ns(moment: Timestamp) -> int:
    """Give a Timestamp in nanoseconds since 1970."""
    return moment.seconds * 1_000_000_000 + moment.nanos
