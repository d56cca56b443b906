"""What went wrong, as exceptions.

FairleadError                   has reason, phase, retry_after, message
├── GatewayUnavailable          no gateway is there, it is stopping, or the stream to it broke
├── InvalidRequest              a field is wrong; the message names it
├── NotImplementedByGateway     the gateway's version does not do this; the message names it
├── PermissionDenied            credentials, the identity's policy or egress rules do not allow it; no token to show
├── SessionNotFound             no such session, or it is another identity's
├── SessionLive                 a live session of this name differs, and cannot be taken over
├── LimitReached                a limit is reached; the message says which
├── OpenTimeout                 not OPEN within open_timeout (also a TimeoutError)
├── SessionEnded                the session ended, and not because this program closed it
│   └── Superseded              another channel became the owner: do not open again
├── HttpStatusError             the exchange answered a request with 4xx or 5xx (from HttpReply.raise_for_status)
├── SendFailed                  a command or request was not carried out: not a byte was written, none will be
└── OutcomeUnknown              the exchange may or may not have it; only a Failure proves how far it got
    └── ResponseUnusable        the exchange has the request, and its answer is not valid or too long

Before doing again what failed, ask `error.may_have_been_sent`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration

from fairlead.v1 import types_pb2
from fairlead.v1.enums import Phase, Reason

_FAILURE_TYPE = "type.googleapis.com/fairlead.v1.Failure"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, in the one shape that Fairlead has for it."""

    reason: Reason = Reason.UNSPECIFIED
    """What, for programs. UNSPECIFIED: the failure is gRPC's or the client's own, and the message says what."""
    phase: Phase = Phase.UNSPECIFIED
    """What the exchange may have seen. UNSPECIFIED: not known, or not about something that was to be sent."""
    message: str = ""
    """What, for people, and what to do."""
    retry_after: float | None = None
    """Seconds after which trying again may help; None: not known."""
    quota_key: str = ""
    """The quota that refused; empty when none did."""

    @classmethod
    def from_proto(cls, message: types_pb2.Failure) -> "Failure":
        """Read the message off the wire."""
        return cls(
            reason=Reason(message.reason),
            phase=Phase(message.phase),
            message=message.message,
            retry_after=to_seconds(message.retry_after) if message.HasField("retry_after") else None,
            quota_key=message.quota_key,
        )


class FairleadError(Exception):
    """The root of the tree; raised itself for a reason that this version of the client does not know."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure
        """The whole failure."""

    def __str__(self) -> str:
        """Give the message, and the reason and phase where they are known."""
        words = [str(word.name) for word in (self.reason, self.phase) if word]
        return f"{self.message} [{', '.join(words)}]" if words else self.message

    @property
    def reason(self) -> Reason:
        """What, for programs."""
        return self.failure.reason

    @property
    def phase(self) -> Phase:
        """What the exchange may have seen."""
        return self.failure.phase

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the exchange may have the command or request, or a part of it: True unless phase is NOT_SENT.

        False makes it safe to do it again. True is also said where it is not known.
        """
        return self.failure.phase is not Phase.NOT_SENT

    @property
    def retry_after(self) -> float | None:
        """Seconds after which trying again may help; None: not known."""
        return self.failure.retry_after

    @property
    def message(self) -> str:
        """What, for people, and what to do."""
        return self.failure.message


class GatewayUnavailable(FairleadError):
    """No gateway is there, it is stopping, or the stream to it broke."""


class InvalidRequest(FairleadError):
    """A field is wrong; the message names it."""


class NotImplementedByGateway(FairleadError):
    """The gateway's version does not do this; the message names it."""


class PermissionDenied(FairleadError):
    """Credentials, the identity's policy or egress rules do not allow it, or there is no token to show."""


class SessionNotFound(FairleadError):
    """No such session, or it is another identity's."""


class SessionLive(FairleadError):
    """A live session has this name and cannot be taken over: it differs in the field that the message names."""


class LimitReached(FairleadError):
    """A limit is reached; the message says which, its value and the configuration field."""


class OpenTimeout(FairleadError, TimeoutError):
    """The session was not OPEN within open_timeout; reason and phase are those of the last dial that failed."""


class SessionEnded(FairleadError):
    """The session ended, and not because this program closed it; the reason says why."""


class Superseded(SessionEnded):
    """Another channel became the owner.

    Opening again would take the session back: the client never does it by itself.
    """


class SendFailed(FairleadError):
    """A command or request was not carried out: not a byte was written, none will be. Doing it again is safe."""


class OutcomeUnknown(FairleadError):
    """The exchange may or may not have it. Ask the exchange before doing it again."""

    def __init__(self, failure: Failure, command_id: int = 0) -> None:
        super().__init__(failure)
        self.command_id = command_id
        """Id of the command; a CommandResult with this id may still come after a re-attach. 0: it was no command."""


class ResponseUnusable(OutcomeUnknown):
    """The exchange has the request and answered, but the answer is not valid HTTP, or too long to be delivered.

    The reason is RESPONSE_INVALID or RESPONSE_TOO_LONG.
    """


_BY_REASON: dict[Reason, type[FairleadError]] = {
    Reason.INVALID_FIELD: InvalidRequest,
    Reason.UNKNOWN_FIELD: InvalidRequest,
    Reason.CHANNEL_IN_USE: InvalidRequest,
    Reason.CHANNEL_UNKNOWN: InvalidRequest,
    Reason.NOT_IMPLEMENTED: NotImplementedByGateway,
    Reason.UNAUTHENTICATED: PermissionDenied,
    Reason.NOT_GRANTED: PermissionDenied,
    Reason.REVOKED: PermissionDenied,
    Reason.EGRESS_DENIED: PermissionDenied,
    Reason.NOT_OWNER: PermissionDenied,
    Reason.SESSION_NOT_FOUND: SessionNotFound,
    Reason.SESSION_LIVE: SessionLive,
    Reason.LIMIT_REACHED: LimitReached,
    Reason.OVERFLOW: LimitReached,
    Reason.DRAINING: GatewayUnavailable,
    Reason.SUPERSEDED: Superseded,
}

# A status without a Failure comes from gRPC itself. These alone say that the gateway did not act on the call.
_BY_STATUS: dict[grpc.StatusCode, type[FairleadError]] = {
    grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedByGateway,
}


def error_of_refusal(failure: Failure) -> FairleadError:
    """Give the exception for a request that was refused before anything was done."""
    return _BY_REASON.get(failure.reason, FairleadError)(failure)


def error_of_end(failure: Failure) -> SessionEnded:
    """Give the exception for a channel that ended."""
    return (Superseded if failure.reason == Reason.SUPERSEDED else SessionEnded)(failure)


def error_of_rpc(error: grpc.aio.AioRpcError, *, writes: bool) -> FairleadError:
    """Give the exception for an RPC that failed.

    Where the status carries no Failure, an RPC that writes has an unknown outcome; of one that only reads, nothing but
    the answer is lost, and the gateway is unavailable.
    """
    failure = _failure_of_rpc(error)
    if failure is not None:
        return error_of_refusal(failure)
    code, details = error.code(), error.details() or "no details"
    if code in _BY_STATUS:
        return _BY_STATUS[code](Failure(phase=Phase.NOT_SENT, message=details))
    kind: Callable[[Failure], FairleadError] = OutcomeUnknown if writes else GatewayUnavailable
    return kind(Failure(message=f"{code.name}: {details}"))


def error_of_request(error: grpc.aio.AioRpcError, address: str) -> FairleadError:
    """Give the exception for an HTTP request whose RPC to the gateway at this address failed.

    What was not sent has the class of its reason; of all else the outcome is unknown. Only a Failure proves anything:
    a status without one comes from gRPC itself, which cannot tell what the gateway has done.
    """
    failure = _failure_of_rpc(error)
    if failure is None:
        message = f"no answer from the gateway at {address}: {error.code().name}: {error.details() or 'no details'}"
        return OutcomeUnknown(Failure(message=message))
    if failure.phase is Phase.NOT_SENT:
        return _BY_REASON.get(failure.reason, SendFailed)(failure)
    if failure.reason in {Reason.RESPONSE_INVALID, Reason.RESPONSE_TOO_LONG}:
        return ResponseUnusable(failure)
    return OutcomeUnknown(failure)


def _failure_of_rpc(error: grpc.aio.AioRpcError) -> Failure | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return decode_status_details(value)
            except ValueError:
                return None
    return None


def too_long(what: str, size: int, limit: int) -> Failure:
    """Give the failure for what is longer than connect() was told that the gateway takes."""
    return Failure(
        Reason.MESSAGE_TOO_LONG,
        Phase.NOT_SENT,
        f"{what}: {size} bytes; connect() was given max_send_bytes={limit}, "
        "which must stay below the gateway's limits.message_bytes",
    )


def decode_status_details(status: bytes) -> Failure | None:
    """Find the Failure in a serialised google.rpc.Status; None if it holds none. Raises ValueError if it is malformed.

    By hand, because generated code for google.rpc.Status would collide with the package googleapis-common-protos in
    programs that have it too. Status {code = 1, message = 2, details = 3: repeated Any {type_url = 1, value = 2}}.
    """
    for number, detail in _length_delimited(status):
        if number == 3:
            fields = dict(_length_delimited(detail))
            if fields.get(1) == _FAILURE_TYPE.encode():
                try:
                    return Failure.from_proto(types_pb2.Failure.FromString(fields.get(2, b"")))
                except Exception as error:  # protobuf's DecodeError differs between its implementations
                    raise ValueError("malformed Failure") from error
    return None


def _length_delimited(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of a message's length-delimited fields, skipping the others."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type == 2:
            length, position = _varint(message, position)
            if length > len(message) - position:
                raise ValueError("truncated field")
            yield tag >> 3, message[position : position + length]
            position += length
        elif wire_type in {1, 5}:
            position += 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            raise ValueError("truncated varint")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("varint of more than ten bytes")


def to_seconds(span: Duration) -> float:
    """Give a Duration in seconds."""
    return span.seconds + span.nanos / 1e9
