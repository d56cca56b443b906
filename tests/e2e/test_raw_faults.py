"""What only raw sockets have: frames that a break cuts, preambles, ends in order without a close frame."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest
import trustme
from google.protobuf.json_format import MessageToDict

import fairlead
from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    SESSION_STATE_CLOSED,
    SESSION_STATE_OPEN,
    SESSION_STATE_OPENING,
    SESSION_STATE_RECONNECTING,
    Close,
    Command,
    GetSessionRequest,
    Heartbeat,
    ListSessionsRequest,
    Open,
    Ping,
    ReconnectPolicy,
    Send,
    SetupStep,
    SocketOptions,
    StateChanged,
    TailRequest,
    Target,
)
from fairlead.v1.types_pb2 import (
    FRAME_KIND_BINARY,
    FRAME_KIND_TEXT,
    REASON_CLOSED,
    REASON_CONNECTION_LOST,
    REASON_EGRESS_DENIED,
    REASON_INVALID_FIELD,
)
from tests.e2e.attach import Attachment, Frame, connected, sessions_of, span
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import RAW, Endpoint
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually
from tests.e2e.raw_peers import RawLine, raw_peer
from tests.e2e.test_grpcurl import SERVICE, grpcurl

PROMPT = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
raw_only = pytest.mark.parametrize("endpoint", RAW, indirect=True)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def gateway(start_gateway: StartGateway, exchange: Exchange, authority: trustme.CA) -> Iterator[Gateway]:
    """A gateway that trusts the exchange and the peers."""
    with authority.cert_pem.tempfile() as file:
        yield start_gateway({"tls": {"ca_files": [str(exchange.ca), file]}})


@pytest.fixture(params=["tcp", "tls"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext | None:
    """Of a peer: none, or a certificate that the gateway trusts."""
    if request.param == "tcp":
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


# ---- A break inside a frame. ----


@pytest.mark.parametrize("then", ["fin", "reset"])
@raw_only
async def test_half_a_frame_is_dropped(stream: Attachment, endpoint: Endpoint, then: str) -> None:
    """Never delivered, told with its bytes, and in the blind window; the next transport begins with a frame."""
    path = f"/numbered?rate=1000&size=100&fault=partial&then={then}&after=3"
    await stream.say(Command(channel=1, open=endpoint.opening(path, reconnect=PROMPT)))
    lost = await stream.state(1, SESSION_STATE_RECONNECTING)
    assert lost.cause.reason == REASON_CONNECTION_LOST
    # Half of 100 bytes and CRLF if the next number was due, else of 40. A reset may come before it has been read.
    if then == "fin" or "into a frame" in lost.cause.message:
        assert re.search(r"\b(51|21) bytes into a frame, which is dropped", lost.cause.message)
    again = await stream.hear(StateChanged, lambda change: change.generation == 2)
    assert again.state == SESSION_STATE_OPENING
    assert again.HasField("blind_from")
    assert again.HasField("blind_until")
    frames = await stream.frames(1, 6)
    assert [frame.generation for frame in frames] == [1, 1, 1, 2, 2, 2]
    numbers = [int(frame.payload.split()[0]) for frame in frames]
    assert numbers[:3] == list(range(numbers[0], numbers[0] + 3))
    assert numbers[3:] == list(range(numbers[3], numbers[3] + 3))
    assert numbers[3] > numbers[2]
    assert {len(frame.payload) for frame in frames} == {100}


@raw_only
async def test_reset_at_any_byte(stream: Attachment, endpoint: Endpoint) -> None:
    """Wherever in a frame the connection breaks, whole frames are delivered and no part of another."""
    for byte in range(30, 40):  # "1\r\n" to "9\r\n" are 27 bytes; then each has 4.
        path = f"/numbered?rate=1000&feed=&fault=reset_at_byte&byte={byte}"
        opening = endpoint.opening(path, reconnect=ReconnectPolicy(enabled=False))
        await stream.say(Command(channel=byte, open=opening))
        ended = await stream.ended(byte)
        assert ended.cause.reason == REASON_CONNECTION_LOST
        frames = [frame.payload for frame in stream.heard(Frame) if frame.channel == byte]
        sent = b"".join(b"%d\r\n" % number for number in range(1, 20))[:byte]
        # A reset may take the last of them, which came and were not read, with it.
        assert frames == sent.split(b"\r\n")[: len(frames)]


# ---- Preamble and setup. ----


async def test_preamble_begins_each_transport(stream: Attachment, tls: ssl.SSLContext | None) -> None:
    preamble = b"\x00\x01 raw \r\n bytes"
    steps = [SetupStep(key=key, payload=f"subscribe {key}".encode()) for key in ("a", "b")]
    begun = preamble + b"subscribe a\r\nsubscribe b\r\n"
    heard: list[bytes] = []

    async def converse(line: RawLine) -> None:
        heard.append(await line.exactly(len(begun)))
        if len(heard) == 3:
            heard.append(await line.rest())

    async with raw_peer(converse, tls) as peer:
        options = SocketOptions(preamble=preamble)
        opening = Open(target=Target(url=peer.url), socket=options, setup=steps, reconnect=PROMPT)
        await stream.say(Command(channel=1, open=opening))
        opened = await stream.hear(
            StateChanged, lambda change: change.state == SESSION_STATE_OPEN and change.generation == 3
        )
        assert opened.generation == 3
        await stream.say(Command(channel=1, close=Close()))
        await stream.ended(1)
        await eventually(lambda: len(heard) == 4, "the last connection has ended")
    assert heard == [begun, begun, begun, b""]


# ---- Ends. ----


@asynccontextmanager
async def blocking_peer(tls: ssl.SSLContext | None, converse: Callable[[socket.socket], None]) -> AsyncIterator[str]:
    """Holds one conversation in a thread: asyncio's TLS cannot write on after the other end has ended its side."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            accepted.settimeout(PATIENCE_S)
            if tls:
                # An end without close_notify, which could be a cut, raises SSLEOFError (RFC 8446 section 6.1).
                accepted = tls.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False)
            with accepted:
                converse(accepted)

        serving = asyncio.create_task(asyncio.to_thread(serve))
        yield f"{'tls' if tls else 'tcp'}://127.0.0.1:{listening.getsockname()[1]}"
        await serving


async def test_end_in_order(stream: Attachment, tls: ssl.SSLContext | None) -> None:
    """What was sent before is written before. What the exchange says until it ends too is delivered, before CLOSED."""

    def converse(line: socket.socket) -> None:
        heard = b""
        while part := line.recv(100):
            heard += part
        assert heard == b"logout\r\n"
        line.sendall(b"last words\r\nand half a")
        if isinstance(line, ssl.SSLSocket):
            line.unwrap()

    async with blocking_peer(tls, converse) as url:
        await stream.open(1, Open(target=Target(url=url)))
        await stream.say(Command(channel=1, send=Send(payload=b"logout")), Command(channel=1, close=Close()))
        words = await stream.frame(1)
        assert words.payload == b"last words"
        closed = await stream.state(1, SESSION_STATE_CLOSED)
        assert closed.sequence > words.sequence
        assert (await stream.ended(1)).cause.reason == REASON_CLOSED


async def test_an_exchange_that_does_not_end(stream: Attachment, tls: ssl.SSLContext | None) -> None:
    """It is left after two seconds."""

    async def converse(line: RawLine) -> None:
        await line.rest()
        await asyncio.sleep(60)

    async with raw_peer(converse, tls) as peer:
        await stream.open(1, Open(target=Target(url=peer.url)))
        await stream.say(Command(channel=1, close=Close()))
        assert (await stream.ended(1)).cause.reason == REASON_CLOSED


async def test_drain_does_not_wait_for_it(start_gateway: StartGateway) -> None:
    """Longer than shutdown_timeout, that is, which is shorter here than the two seconds of an end."""
    gateway = start_gateway({"shutdown_timeout": "100ms"})

    async def converse(line: RawLine) -> None:
        await line.rest()
        await asyncio.sleep(60)

    async with raw_peer(converse) as peer, connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=peer.url)))
        assert await gateway.terminate() == 0


@raw_only
async def test_commands_that_raw_sockets_do_not_have(stream: Attachment, endpoint: Endpoint) -> None:
    await stream.open(1, endpoint.opening("/echo"))
    refusals = {
        1: (Command(channel=1, id=1, ping=Ping()), "ping"),
        2: (Command(channel=1, id=2, close=Close(code=1000)), "close"),
        3: (Command(channel=1, id=3, close=Close(reason="bye")), "close"),
        4: (Command(channel=1, id=4, send=Send(payload=b"x", kind=FRAME_KIND_TEXT)), "send.kind"),
        5: (Command(channel=1, id=5, send=Send(payload=b"a\r\nb")), "send.payload"),
        6: (Command(channel=1, id=6, send=Send(payload=b"a\r\nb", setup_key="k")), "send.payload"),
    }
    await stream.say(*(command for command, _ in refusals.values()))
    for number, (_, field) in refusals.items():
        result = await stream.result(number)
        assert (result.outcome, result.failure.reason) == (OUTCOME_NOT_SENT, REASON_INVALID_FIELD)
        assert result.failure.message.startswith(field + ":")
    # Bytes that are no text, and a lone CR, are fine; nothing of the others was sent.
    await stream.say(Command(channel=1, send=Send(payload=b"\xff\r")))
    frame = await stream.frame(1)
    assert (frame.payload, frame.kind) == (b"\xff\r", FRAME_KIND_BINARY)
    assert (await endpoint.exchange.connection())["frames_received"] == 1


# ---- Seen from the outside. ----


@raw_only
async def test_seen_from_outside(
    gateway: Gateway, channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint
) -> None:
    """Lists tell scheme, host and port; Tail shows binary; the preamble, which may hold a login, is in no log."""
    path = "/echo?token=hunter2"
    heartbeat = Heartbeat(interval=span(0.02), binary=b"beat")
    await stream.open(1, endpoint.opening(path, session="raw", heartbeat=heartbeat))
    await stream.say(Command(channel=1, send=Send(payload=b"hello hunter2")))
    await stream.hear(Frame, lambda frame: frame.payload == b"hello hunter2")
    sessions = sessions_of(channel)
    (listed,) = (await sessions.ListSessions(ListSessionsRequest())).sessions
    assert (listed.name, listed.url) == ("raw", endpoint.base)
    described = (await sessions.GetSession(GetSessionRequest(session="raw"))).session
    assert described.url == endpoint.base
    assert described.sent_frames >= 1
    tail = sessions.Tail(TailRequest(session="raw", max_entries=1))
    async for entry in tail:
        assert entry.WhichOneof("entry") == "binary"
        assert entry.binary == b"beat"
    assert "hunter" not in gateway.log


@raw_only
async def test_grpcurl(gateway: Gateway, endpoint: Endpoint) -> None:
    async with grpcurl(gateway, "-d=@", f"{SERVICE}/Attach") as run:
        opening = MessageToDict(endpoint.opening("/echo", session="by-hand"))
        run.say(commands=[{"channel": 1, "open": opening}])
        await run.event("state_changed", lambda change: change["state"] == "SESSION_STATE_OPEN")
        # "aGVsbG8=" is "hello".
        run.say(commands=[{"channel": 1, "id": 7, "send": {"payload": "aGVsbG8="}}])
        assert (await run.event("command_result", lambda result: result["id"] == "7"))["outcome"] == "OUTCOME_WRITTEN"
        batch = await run.event("batch")
        assert batch["payloads"] == ["aGVsbG8="]
        assert batch["runs"][0]["kind"] == "FRAME_KIND_BINARY"
        run.say(commands=[{"channel": 1, "close": {}}])
        assert (await run.event("ended"))["cause"]["reason"] == "REASON_CLOSED"
    endpoint.check_goodbye(await endpoint.exchange.closed(), 1000)


# ---- Egress. ----


async def test_rules_without_schemes_allow_tls_alone(start_gateway: StartGateway, exchange: Exchange) -> None:
    rule = {"name": "addresses", "hosts": ["127.0.0.1"], "cidrs": ["127.0.0.0/8"]}
    gateway = start_gateway({"egress": {"rules": [rule]}, "tls": {"ca_files": [str(exchange.ca)]}})
    async with fairlead.connect(gateway.address) as client:
        path = exchange.preamble("/echo")
        async with client.socket(exchange.tls, preamble=path, start=fairlead.OLDEST) as session:
            await session.send("hello")
            async for frame in session:
                assert frame.text == "hello"
                break
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.say(Command(channel=1, open=Open(target=Target(url=exchange.tcp))))
        ended = await stream.ended(1)
        assert ended.cause.reason == REASON_EGRESS_DENIED
        assert f"no rule allows {exchange.tcp}" in ended.cause.message
    assert {record["kind"] for record in await exchange.connections()} == {"tls"}
