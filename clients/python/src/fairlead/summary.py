"""A session as others see it: what sessions() lists."""

from dataclasses import dataclass

from fairlead.entries import to_unix_ns
from fairlead.errors import Failure, to_seconds
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import SessionState


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A channel of some stream."""

    owner: bool
    """Whether it commands the session."""
    sequence: int
    """The last sequence that it was given."""
    lag_entries: int
    """Entries between it and the head."""
    held: bool
    """Whether its client has told the gateway to hold."""
    lag_bytes: int
    """What those entries count in the journal: payload and 64 bytes each."""
    lag: float
    """How long the oldest of them has been waiting for it, in seconds; 0 if it has everything."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A transport of a session that is there now."""

    generation: int
    state: SessionState
    """OPENING or OPEN; CLOSED: another has taken its place, and it stays for the overlap."""
    received_frames: int
    copies: int
    """Those of them that another transport had brought before: not in the journal."""
    wins: int
    """Frames that it has brought before another transport did."""
    misses: int
    """Frames that another transport brought, and it did not within the window of dedupe."""
    lag_p50: float | None
    """How far behind the first its copies came, in seconds: half of the latest 1024 of them less; None: none came."""
    lag_p99: float | None
    """99 of 100 of them less."""
    address: str
    """IP address that it is connected to."""

    @classmethod
    def from_proto(cls, message: pb.LegState) -> "Leg":
        """Read the message off the wire."""
        return cls(
            generation=message.generation,
            state=SessionState(message.state),
            received_frames=message.received_frames,
            copies=message.copies,
            wins=message.wins,
            misses=message.misses,
            lag_p50=to_seconds(message.lag_p50) if message.HasField("lag_p50") else None,
            lag_p99=to_seconds(message.lag_p99) if message.HasField("lag_p99") else None,
            address=message.address,
        )


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A live session of this identity."""

    name: str
    """Anonymous sessions have one that begins with "~"."""
    url: str
    """Scheme, host, port and path of its target: no query."""
    state: SessionState
    generation: int
    """Of the latest transport; 0 before the first."""
    epoch: str
    oldest_sequence: int
    """The oldest sequence that the journal holds; head_sequence + 1 when it holds none."""
    head_sequence: int
    """The newest sequence; 0 before the first entry."""
    journal_bytes: int
    created_at: int
    """Nanoseconds since 1970."""
    received_frames: int
    received_bytes: int
    sent_frames: int
    sent_bytes: int
    setup_keys: tuple[str, ...]
    """Keys of the setup steps as stored now, in order."""
    subscribers: tuple[Subscriber, ...]
    last_failure: Failure | None
    """Why the last transport ended, or the last dial failed; None if none has."""
    heartbeat_round_trip: float | None
    """Seconds; None before the first pong."""
    legs: tuple[Leg, ...] = ()
    """Its transports that are there now: the session's own first."""
    shard: str = ""
    """The name of the gateway that it is on, as connect() was given it."""

    @classmethod
    def from_proto(cls, message: pb.Session, shard: str = "") -> "SessionSummary":
        """Read the message off the wire."""
        return cls(
            name=message.name,
            url=message.url,
            state=SessionState(message.state),
            generation=message.generation,
            epoch=message.epoch,
            oldest_sequence=message.oldest_sequence,
            head_sequence=message.head_sequence,
            journal_bytes=message.journal_bytes,
            created_at=to_unix_ns(message.create_time),
            received_frames=message.received_frames,
            received_bytes=message.received_bytes,
            sent_frames=message.sent_frames,
            sent_bytes=message.sent_bytes,
            setup_keys=tuple(message.setup_keys),
            subscribers=tuple(
                Subscriber(each.owner, each.sequence, each.lag_entries, each.held, each.lag_bytes, to_seconds(each.lag))
                for each in message.subscribers
            ),
            last_failure=Failure.from_proto(message.last_failure) if message.HasField("last_failure") else None,
            heartbeat_round_trip=(
                to_seconds(message.heartbeat_round_trip) if message.HasField("heartbeat_round_trip") else None
            ),
            legs=tuple(Leg.from_proto(each) for each in message.legs),
            shard=shard,
        )
