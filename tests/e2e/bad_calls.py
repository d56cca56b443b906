"""Wrong requests that end a whole RPC: what is sent, and the status that docs/errors.md documents."""

import grpc

from fairlead.v1.http_pb2 import DownloadRequest, PipelineRequest
from fairlead.v1.quota_pb2 import AcquireRequest, ListQuotasRequest, ReportUsageRequest
from fairlead.v1.session_pb2 import (
    CloseSessionRequest,
    Command,
    GetSessionRequest,
    Join,
    ListSessionsRequest,
    Open,
    Start,
    TailRequest,
    Target,
)
from tests.e2e.attach import ATTACH, Attachment, Status, sessions_of, status_of
from tests.e2e.bad_http import HTTP_CALLS
from tests.e2e.wrong import UNKNOWN_FIELD, Place, WrongCall

SERVICE = "/fairlead.v1.SessionService/"


async def unary(place: Place, method: str, message: bytes) -> Status:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = place.channel.unary_unary(method)
    return await status_of(call(message))


async def streaming(place: Place, method: str, message: bytes) -> Status:
    """One message and the half-close: grpc.aio loses the status of a stream that ends while it writes."""
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = place.channel.unary_stream(method)
    return await status_of(call(message))


async def tail(place: Place, request: TailRequest) -> Status:
    return await status_of(sessions_of(place.channel).Tail(request))


async def too_many_streams(place: Place) -> Status:
    # place.stream is the first. Each of the others has answered, so it is admitted.
    for _ in range(2):
        other = Attachment(place.channel)
        await other.say(Command(channel=1, join=Join(session="good")))
        await other.attached(1)
    return await Attachment(place.channel).status()


async def too_many_watchers(place: Place) -> Status:
    for channel in (2, 3):
        await place.stream.say(Command(channel=channel, join=Join(session="good")))
        await place.stream.attached(channel)
    return await tail(place, TailRequest(session="good"))


NOT_YET = "UNIMPLEMENTED NOT_IMPLEMENTED"

CALLS = (
    # Attach: only what makes the stream itself impossible.
    WrongCall(
        "AttachRequest that is no protobuf",
        "Attach",
        "INVALID_ARGUMENT INVALID_FIELD",
        "AttachRequest: not readable",
        lambda place: streaming(place, ATTACH, b"\x0a\xff"),
    ),
    WrongCall(
        "AttachRequest with an unknown field",
        "Attach",
        "INVALID_ARGUMENT UNKNOWN_FIELD",
        "AttachRequest: field number 1000",
        lambda place: streaming(place, ATTACH, UNKNOWN_FIELD),
    ),
    WrongCall(
        "AttachRequest beyond the limit",
        "Attach",
        "RESOURCE_EXHAUSTED",
        "",
        lambda place: streaming(place, ATTACH, b"\x0a" + b"x" * (300 << 10)),
    ),
    WrongCall(
        "more streams than the gateway may have",
        "Attach",
        "RESOURCE_EXHAUSTED LIMIT_REACHED",
        "limits.streams, 3,",
        too_many_streams,
    ),
    # Sessions from the outside.
    WrongCall(
        "GetSession of an unknown session",
        "GetSession",
        "NOT_FOUND SESSION_NOT_FOUND",
        'session: "absent" is not a live session',
        lambda place: unary(place, SERVICE + "GetSession", GetSessionRequest(session="absent").SerializeToString()),
    ),
    WrongCall(
        "GetSession without a name",
        "GetSession",
        "INVALID_ARGUMENT INVALID_FIELD",
        "session: must match",
        lambda place: unary(place, SERVICE + "GetSession", b""),
    ),
    WrongCall(
        "GetSession with an unknown field",
        "GetSession",
        "INVALID_ARGUMENT UNKNOWN_FIELD",
        "GetSessionRequest: field number 1000",
        lambda place: unary(place, SERVICE + "GetSession", UNKNOWN_FIELD),
    ),
    WrongCall(
        "GetSession that is no protobuf",
        "GetSession",
        "UNIMPLEMENTED",
        "",
        lambda place: unary(place, SERVICE + "GetSession", b"\x0a\xff"),
    ),
    WrongCall(
        "CloseSession of an unknown session",
        "CloseSession",
        "NOT_FOUND SESSION_NOT_FOUND",
        'session: "gone" is not a live session',
        lambda place: unary(place, SERVICE + "CloseSession", CloseSessionRequest(session="gone").SerializeToString()),
    ),
    WrongCall(
        "ListSessions with an unknown field",
        "ListSessions",
        "INVALID_ARGUMENT UNKNOWN_FIELD",
        "ListSessionsRequest: field number 1000",
        lambda place: unary(
            place, SERVICE + "ListSessions", ListSessionsRequest(page_size=5).SerializeToString() + UNKNOWN_FIELD
        ),
    ),
    WrongCall(
        "Tail of an unknown session",
        "Tail",
        "NOT_FOUND SESSION_NOT_FOUND",
        'session: "nowhere" is not a live session',
        lambda place: tail(place, TailRequest(session="nowhere")),
    ),
    WrongCall(
        "Tail of a name with a space",
        "Tail",
        "INVALID_ARGUMENT INVALID_FIELD",
        "session: must match",
        lambda place: tail(place, TailRequest(session="a b")),
    ),
    WrongCall(
        "Tail with an unknown field",
        "Tail",
        "INVALID_ARGUMENT UNKNOWN_FIELD",
        "TailRequest: field number 1000",
        lambda place: tail(place, TailRequest.FromString(UNKNOWN_FIELD)),
    ),
    WrongCall(
        "Tail AFTER without epoch",
        "Tail",
        "INVALID_ARGUMENT INVALID_FIELD",
        "start.after.epoch",
        lambda place: tail(place, TailRequest(session="good", start=Start(after=Start.After(sequence=3)))),
    ),
    WrongCall(
        "Tail of a session with all its subscribers",
        "Tail",
        "RESOURCE_EXHAUSTED LIMIT_REACHED",
        "limits.subscribers_per_session are attached",
        too_many_watchers,
    ),
    WrongCall(
        "method that does not exist",
        "SessionService",
        "UNIMPLEMENTED",
        "",
        lambda place: unary(place, SERVICE + "OpenSession", Open(target=Target(url=place.ws)).SerializeToString()),
    ),
    *HTTP_CALLS,
    # Services and methods of later versions.
    WrongCall(
        "HTTP pipeline",
        "HttpService.Pipeline",
        NOT_YET,
        "HttpService.Pipeline:",
        lambda place: streaming(place, "/fairlead.v1.HttpService/Pipeline", PipelineRequest().SerializeToString()),
    ),
    WrongCall(
        "HTTP download",
        "HttpService.Download",
        NOT_YET,
        "HttpService.Download:",
        lambda place: streaming(place, "/fairlead.v1.HttpService/Download", DownloadRequest().SerializeToString()),
    ),
    WrongCall(
        "quota to acquire",
        "QuotaService.Acquire",
        NOT_YET,
        "QuotaService.Acquire:",
        lambda place: unary(place, "/fairlead.v1.QuotaService/Acquire", AcquireRequest().SerializeToString()),
    ),
    WrongCall(
        "list of quotas",
        "QuotaService.ListQuotas",
        NOT_YET,
        "QuotaService.ListQuotas:",
        lambda place: unary(place, "/fairlead.v1.QuotaService/ListQuotas", ListQuotasRequest().SerializeToString()),
    ),
    WrongCall(
        "report of a quota's usage",
        "QuotaService.ReportUsage",
        NOT_YET,
        "QuotaService.ReportUsage:",
        lambda place: unary(place, "/fairlead.v1.QuotaService/ReportUsage", ReportUsageRequest().SerializeToString()),
    ),
)
