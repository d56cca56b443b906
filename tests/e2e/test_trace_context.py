"""A call that carries `traceparent` is found in the log by its trace: what it opens, dials, and is refused."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import fairlead
from fairlead.v1.http_pb2 import SendRequest
from fairlead.v1.session_pb2 import (
    SESSION_STATE_OPEN,
    AttachRequest,
    Close,
    Command,
    GetSessionRequest,
    ListSessionsRequest,
    Open,
    Target,
)
from tests.e2e.attach import Attachment, connected, sessions_of, status_of
from tests.e2e.callers import SECRET, UNKNOWN, Papers, Serve, bearer, channel_to
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import asking, http_of
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually
from tests.e2e.security.http2 import Line

LIST = "/fairlead.v1.SessionService/ListSessions"
PARENT = "b7ad6b7169203331"
WRONG = [
    "",
    "00",
    "garbage",
    "0" * 55,
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{'a' * 32}-{'0' * 16}-01",
    f"00-{'A' * 32}-{PARENT}-01",
    f"00-{'a' * 31}g-{PARENT}-01",
    f"00-{'a' * 32}-{PARENT}-1",
    f"00-{'a' * 32}-{PARENT}-01-more",
    f"ff-{'a' * 32}-{PARENT}-01",
    "x" * 4000,
]


def a_trace() -> str:
    return secrets.token_hex(16)


def of(trace: str, version: str = "00") -> tuple[str, str]:
    return ("traceparent", f"{version}-{trace}-{PARENT}-01")


@pytest.fixture
def talkative(start_gateway: StartGateway) -> Gateway:
    return start_gateway({"log": {"level": "debug"}})


@pytest.fixture
async def channel(talkative: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with connected(talkative.address) as channel:
        yield channel


def lines(gateway: Gateway, *words: str) -> list[str]:
    """Those of the log that have all of these words."""
    return [line for line in gateway.log.splitlines() if set(words) <= set(line.split())]


async def line(gateway: Gateway, *words: str) -> str:
    found: list[str] = await eventually(lambda: lines(gateway, *words), f"a line with {words}\n{gateway.log}")
    return found[0]


def opening(exchange: Exchange, session: str) -> Command:
    return Command(channel=1, open=Open(session=session, target=Target(url=f"{exchange.ws}/echo")))


async def test_a_session_is_of_the_trace_of_the_stream_that_opened_it(
    talkative: Gateway, channel: grpc.aio.Channel, exchange: Exchange
) -> None:
    first, second = a_trace(), a_trace()
    stream = Attachment(channel, of(first))
    await stream.say(opening(exchange, "md"))
    await stream.state(1, SESSION_STATE_OPEN)
    assert lines(talkative, "session.open", "session=md", f"trace_id={first}")
    for state in ("CONNECTING", "OPENING", "OPEN"):
        assert lines(talkative, "session.state", "session=md", f"state={state}", f"trace_id={first}"), state

    # Who takes it over has it from then on: its end is of that trace, too.
    other = Attachment(channel, of(second))
    await other.say(opening(exchange, "md"))
    await other.attached(1)
    await stream.ended(1)
    assert lines(talkative, "session.takeover", "session=md", f"trace_id={second}")
    await other.say(Command(channel=1, close=Close()))
    await other.ended(1)
    assert lines(talkative, "session.state", "session=md", "state=CLOSED", f"trace_id={second}")
    assert not lines(talkative, "session=md", "state=CLOSED", f"trace_id={first}")

    for attachment, trace in ((stream, first), (other, second)):
        await attachment.half_close()
        assert (await attachment.status()).code is grpc.StatusCode.OK
        await line(talkative, "rpc.end", "method=SessionService.Attach", "code=OK", f"trace_id={trace}")


async def test_a_refused_command_is_of_its_streams_trace(talkative: Gateway, channel: grpc.aio.Channel) -> None:
    trace = a_trace()
    stream = Attachment(channel, of(trace))
    await stream.say(Command(channel=7, id=9, close=Close()))
    await stream.result(9)
    assert lines(
        talkative,
        "command.refused",
        "identity=tests",
        "channel=7",
        "id=9",
        "reason=CHANNEL_UNKNOWN",
        f"trace_id={trace}",
    )


async def test_the_generated_stubs_send_it(talkative: Gateway, channel: grpc.aio.Channel, exchange: Exchange) -> None:
    """metadata=(("traceparent", ...),): on Attach, Send and the other calls, each with a trace of its own."""
    attach, send, listing, missing = (a_trace() for _ in range(4))
    sessions = sessions_of(channel)
    call = sessions.Attach(metadata=(of(attach),))
    await call.write(AttachRequest(commands=[opening(exchange, "stub")]))
    await line(talkative, "session.open", "session=stub", f"trace_id={attach}")
    request = SendRequest(request=asking(f"{exchange.http}/echo"))
    assert (await http_of(channel).Send(request, metadata=(of(send),))).response.status == 200
    await line(talkative, "rpc.end", "method=HttpService.Send", "identity=tests", "code=OK", f"trace_id={send}")
    await sessions.ListSessions(ListSessionsRequest(), metadata=(of(listing),))
    await line(talkative, "rpc.end", "method=SessionService.ListSessions", "code=OK", f"trace_id={listing}")
    assert "DEBUG" in await line(talkative, f"trace_id={listing}")
    status = await status_of(sessions.GetSession(GetSessionRequest(session="none"), metadata=(of(missing),)))
    assert status.code is grpc.StatusCode.NOT_FOUND
    words = ("rpc.end", "method=SessionService.GetSession", "reason=SESSION_NOT_FOUND", f"trace_id={missing}")
    assert "INFO" in await line(talkative, *words)
    call.cancel()
    assert "DEBUG" in await line(
        talkative, "rpc.end", "method=SessionService.Attach", "code=CANCELLED", f"trace_id={attach}"
    )


async def test_a_dial_that_fails_is_of_the_request_that_wanted_it(
    talkative: Gateway, channel: grpc.aio.Channel, dead: str
) -> None:
    trace = a_trace()
    request = SendRequest(request=asking(f"http://{dead}/"))
    status = await status_of(http_of(channel).Send(request, metadata=(of(trace),)))
    assert status.code is grpc.StatusCode.UNAVAILABLE
    assert "WARN" in await line(talkative, "http.dial", "reason=CONNECT_FAILED", f"trace_id={trace}")
    words = ("rpc.end", "code=UNAVAILABLE", "reason=CONNECT_FAILED", "identity=tests", f"trace_id={trace}")
    assert "INFO" in await line(talkative, *words)


@pytest.fixture
async def dead() -> AsyncIterator[str]:
    """An address where nobody listens: bound, and not listening."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, start_serving=False)
    async with closing(server):
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


@asynccontextmanager
async def closing(server: asyncio.Server) -> AsyncIterator[None]:
    try:
        yield
    finally:
        server.close()


async def test_who_is_refused_is_told_with_the_trace(start_gateway: StartGateway) -> None:
    """At the level that is the default, by its identity and reason; nothing is told of calls that are well."""
    listener = {"methods": ["SessionService.ListSessions"], "identity": "tests"}
    gateway = start_gateway({"policies": [listener]})
    allowed, unary, stream, trace = (a_trace() for _ in range(4))
    async with connected(gateway.address) as channel:
        sessions = sessions_of(channel)
        await sessions.ListSessions(ListSessionsRequest(), metadata=(of(allowed),))
        get = sessions.GetSession(GetSessionRequest(session="md"), metadata=(of(unary),))
        attach = sessions.Attach(metadata=(of(stream),))
        send = http_of(channel).Send(SendRequest(), metadata=(of(trace),))
        for call in (get, attach, send):
            assert (await status_of(call)).code is grpc.StatusCode.PERMISSION_DENIED
    for method, each in (
        ("SessionService.GetSession", unary),
        ("SessionService.Attach", stream),
        ("HttpService.Send", trace),
    ):
        words = ("INFO", "rpc.refused", f"method={method}", "identity=tests", "reason=NOT_GRANTED", f"trace_id={each}")
        assert len(lines(gateway, *words)) == 1
        assert len(lines(gateway, f"trace_id={each}")) == 1, "once is enough"
    assert allowed not in gateway.log


async def test_who_is_nobody_is_told_with_his_address(serve: Serve, papers: Papers) -> None:
    gateway = serve()
    trace = a_trace()
    async with channel_to(gateway, papers) as channel:
        call = sessions_of(channel).ListSessions(ListSessionsRequest(), metadata=(bearer(UNKNOWN), of(trace)))
        assert (await status_of(call)).code is grpc.StatusCode.UNAUTHENTICATED
    told = await line(gateway, "INFO", "rpc.refused", 'identity=""', "reason=UNAUTHENTICATED", f"trace_id={trace}")
    assert " peer=ipv4:127.0.0.1:" in told
    assert "DEBUG" in await line(gateway, "rpc.end", "code=UNAUTHENTICATED", f"trace_id={trace}")
    assert SECRET not in gateway.log


@pytest.mark.parametrize("version", ["00", "01", "fe"])
async def test_versions(talkative: Gateway, channel: grpc.aio.Channel, version: str) -> None:
    trace = a_trace()
    await sessions_of(channel).ListSessions(ListSessionsRequest(), metadata=(of(trace, version),))
    await line(talkative, "rpc.end", f"trace_id={trace}")


@pytest.mark.plain
async def test_what_is_malformed_is_as_if_it_was_not_there(
    talkative: Gateway, channel: grpc.aio.Channel, exchange: Exchange
) -> None:
    """The calls succeed, and nothing of the header is in the log."""
    sessions = sessions_of(channel)
    for wrong in WRONG:
        await sessions.ListSessions(ListSessionsRequest(), metadata=(("traceparent", wrong),))
    # Two are none, though each is good. gRPC's own clients send but one.
    twice = a_trace(), a_trace()
    with Line.to(talkative.grpc) as by_hand:
        by_hand.call(1, LIST, *((name.encode(), value.encode()) for name, value in map(of, twice)))
        by_hand.call(3, LIST, *((name.encode(), value.encode()) for name, value in map(of, twice[:1])))
    await line(talkative, "rpc.end", f"trace_id={twice[0]}")
    stream = Attachment(channel, ("traceparent", WRONG[-1]), ("tracestate", "vendor=5ecre7"))
    await stream.say(opening(exchange, "md"))
    await stream.state(1, SESSION_STATE_OPEN)
    calls = len(WRONG) + 2
    await eventually(lambda: len(lines(talkative, "rpc.end", "code=OK")) == calls, f"{calls} ends\n{talkative.log}")
    assert talkative.log.count("trace_id") == 1, "that of the one good header"
    for word in (PARENT, "garbage", "xxxx", "5ecre7", twice[1]):
        assert word not in talkative.log


async def test_a_stream_that_reads_nothing(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"limits": {"stuck_write": "200ms"}})
    trace = a_trace()
    small = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(gateway.address, small) as channel:
        stream = Attachment(channel, of(trace))
        await stream.say(opening(exchange, "md"))
        await stream.state(1, SESSION_STATE_OPEN)
        for _ in range(64):
            await exchange.send(text="x" * 65536)
        assert "WARN" in await line(gateway, "stream.stuck", f"trace_id={trace}")


class OfUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """As OpenTelemetry's instrumentation of grpc.aio adds the header: one interceptor for each kind of call."""

    def __init__(self, trace: str) -> None:
        self._trace = trace

    async def intercept_unary_unary(self, next_call: Callable[..., Any], details: Any, request: Any) -> Any:
        return await next_call(traced(details, self._trace), request)


class OfStreams(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, trace: str) -> None:
        self._trace = trace

    async def intercept_stream_stream(self, next_call: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await next_call(traced(details, self._trace), requests)


def traced(details: Any, trace: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), of(trace))
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


async def test_the_python_client_with_interceptors(
    talkative: Gateway, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry replaces what makes channels, by name, by what adds its interceptors; so does this."""
    trace = a_trace()
    make: Any = grpc.aio.insecure_channel

    def instrumented(*arguments: Any, **how: Any) -> grpc.aio.Channel:
        channel: grpc.aio.Channel = make(*arguments, interceptors=[OfUnary(trace), OfStreams(trace)], **how)
        return channel

    monkeypatch.setattr(grpc.aio, "insecure_channel", instrumented)
    async with asyncio.timeout(PATIENCE_S), fairlead.connect(talkative.address) as client:
        async with client.websocket(f"{exchange.ws}/echo", name="md") as session:
            await session.send("hello")
            assert (await anext(aiter(session))).text == "hello"
        assert (await client.http.get(f"{exchange.http}/echo")).status == 200
    assert lines(talkative, "session.open", "session=md", f"trace_id={trace}")
    await line(talkative, "rpc.end", "method=HttpService.Send", f"trace_id={trace}")
