"""HttpService.Send as the generated stub has it: a request goes in, its response or its failure comes out."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc

from fairlead.v1 import types_pb2
from fairlead.v1.http_pb2 import HttpRequest, HttpResponse, SendRequest, SendResponse
from fairlead.v1.http_pb2_grpc import HttpServiceStub
from fairlead.v1.types_pb2 import Header
from tests.e2e.attach import span, status_of
from tests.e2e.processes import PATIENCE_S

if TYPE_CHECKING:
    from fairlead.v1.http_pb2_grpc import HttpServiceAsyncStub

SEND = "/fairlead.v1.HttpService/Send"
SendCall: TypeAlias = "grpc.aio.UnaryUnaryCall[SendRequest, SendResponse]"


@dataclass(frozen=True)
class Failed:
    """How a request failed, in words."""

    code: str  # of the RPC
    reason: str
    phase: str
    message: str

    @property
    def words(self) -> tuple[str, str]:
        return self.reason, self.phase


def http_of(channel: grpc.aio.Channel) -> "HttpServiceAsyncStub":
    """The generated stub, as what it is on an asyncio channel."""
    return cast("HttpServiceAsyncStub", HttpServiceStub(channel))


def asking(url: str, method: str = "GET", timeout: float = PATIENCE_S, **fields: Any) -> HttpRequest:
    """A request that waits for as long as tests do, unless it says otherwise."""
    fields.setdefault("max_wait", span(PATIENCE_S))
    return HttpRequest(method=method, url=url, timeout=span(timeout), **fields)


def headers(*pairs: tuple[str, str]) -> list[Header]:
    return [Header(name=name, value=value) for name, value in pairs]


def fields_of(response: HttpResponse) -> list[tuple[str, str]]:
    return [(header.name, header.value) for header in response.headers]


def begin(channel: grpc.aio.Channel, request: HttpRequest, deadline: float | None = None) -> SendCall:
    """The RPC, under way."""
    return http_of(channel).Send(SendRequest(request=request), timeout=deadline)


async def outcome(call: SendCall) -> HttpResponse | Failed:
    """Waits for the one outcome. Every failure must come with a Failure: else its phase is not proved."""
    status = await status_of(call)
    if status.code is grpc.StatusCode.OK:
        return (await call).response
    assert status.failure, status
    return Failed(
        status.code.name,
        types_pb2.Reason.Name(status.failure.reason).removeprefix("REASON_"),
        types_pb2.Phase.Name(status.failure.phase).removeprefix("PHASE_"),
        status.failure.message,
    )


async def ask(channel: grpc.aio.Channel, request: HttpRequest, deadline: float | None = None) -> HttpResponse | Failed:
    return await outcome(begin(channel, request, deadline))


async def response(channel: grpc.aio.Channel, request: HttpRequest) -> HttpResponse:
    """The response of a request that must succeed."""
    result = await ask(channel, request)
    assert isinstance(result, HttpResponse), result
    return result


async def failure(channel: grpc.aio.Channel, request: HttpRequest, deadline: float | None = None) -> Failed:
    """The failure of a request that must fail."""
    result = await ask(channel, request, deadline)
    assert isinstance(result, Failed), result
    return result


async def all_of(channel: grpc.aio.Channel, *requests: HttpRequest) -> list[HttpResponse | Failed]:
    """Sends all of them at once; the outcomes in the requests' order."""
    return await asyncio.gather(*(ask(channel, request) for request in requests))
