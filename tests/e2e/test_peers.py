"""End to end against WebSocket servers that are not ours, plain and with TLS: nobody agrees with himself alone."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

import fairlead
from fairlead import FrameKind, Reason, SessionState
from tests.e2e.conftest import StartGateway
from tests.e2e.peers import (
    AiohttpLine,
    Closed,
    Conversation,
    Line,
    Server,
    WebsocketsLine,
    aiohttp_peer,
    echo,
    until_closed,
    websockets_peer,
)
from tests.e2e.processes import Gateway, eventually

Serve = Callable[..., AbstractAsyncContextManager[Server]]
KINDS = {"websockets": websockets_peer, "aiohttp": aiohttp_peer}


@pytest.fixture
def gateway(start_gateway: StartGateway, authority: trustme.CA, scratch: Path) -> Gateway:
    """A gateway that trusts the peers."""
    file = scratch / "peers-ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return start_gateway({"tls": {"ca_files": [str(file)], "system_authorities": False}})


@pytest.fixture(params=["websockets", "websockets-tls", "aiohttp", "aiohttp-tls"])
def serve(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> Serve:
    """Each library, plain and with TLS."""
    name, _, secure = request.param.partition("-")

    def serve(converse: Conversation = echo, **options: Any) -> AbstractAsyncContextManager[Server]:
        return KINDS[name](converse, tls if secure else None, **options)

    return serve


async def hear(session: fairlead.Reader, count: int) -> list[fairlead.Frame]:
    frames: list[fairlead.Frame] = []
    async for frame in session:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


async def test_echo(serve: Serve, client: fairlead.Gateway) -> None:
    """Text as text and binary as binary, at the lengths where a frame's header changes."""
    said: list[str | bytes] = ["", b"", "hello", "ü€😀", bytes(range(256))]
    for length in (125, 126, 65_535, 65_536, 1_000_000):
        said += ["x" * length, b"\x00\xff" * (length // 2)]
    async with serve() as server, client.websocket(server.url, start=fairlead.OLDEST) as session:
        for payload in said:
            await session.send(payload)
        heard = await hear(session, len(said))
    assert [frame.text if frame.kind is FrameKind.TEXT else frame.payload for frame in heard] == said


async def test_subprotocol_is_chosen_by_the_peer(serve: Serve, client: fairlead.Gateway) -> None:
    async with (
        serve(subprotocols=["v1.book", "v0.book"]) as server,
        client.websocket(server.url, subprotocols=["v2.book", "v1.book"]) as session,
    ):
        assert session.state is SessionState.OPEN
    (line,) = server.lines
    assert line.subprotocol == "v1.book"
    assert ("Sec-WebSocket-Protocol", "v2.book, v1.book") in line.headers


async def test_no_common_subprotocol_is_refused(serve: Serve, client: fairlead.Gateway) -> None:
    async with serve(subprotocols=["v1.book"]) as server:
        session = client.websocket(server.url, subprotocols=["v2.book"], reconnect=fairlead.Reconnect(enabled=False))
        with pytest.raises(fairlead.SessionEnded) as ended:
            await session.open()
    assert ended.value.reason is Reason.UPGRADE_INVALID
    assert "subprotocol" in ended.value.message


async def test_upgrade_headers(serve: Serve, client: fairlead.Gateway, gateway: Gateway) -> None:
    """In order, those of one name together; path and query as they are; nothing secret in the log."""
    headers = [
        ("X-First", "1"),
        ("Authorization", "Bearer hunter2"),
        ("X-Repeated", "b"),
        ("X-Repeated", "a"),
        ("User-Agent", "adapter/1.0"),
        ("X-Empty", ""),
    ]
    async with serve() as server, client.websocket(f"{server.url}/ws/a%20b?token=hunter3&x=1", headers=headers):
        (line,) = server.lines
        own = [(name, value) for name, value in line.headers if name.startswith("X-") or name == "Authorization"]
        assert own == [header for header in headers if header[0] != "User-Agent"]
        assert [value for name, value in line.headers if name == "User-Agent"] == ["adapter/1.0"]
        assert [value for name, value in line.headers if name == "Host"] == [server.url.split("//")[1]]
        assert not [name for name, _ in line.headers if name == "Sec-WebSocket-Protocol"]
        assert line.path == "/ws/a%20b?token=hunter3&x=1"
    assert "hunter" not in gateway.log


@pytest.mark.parametrize("offered", [True, False])
async def test_permessage_deflate(serve: Serve, client: fairlead.Gateway, offered: bool) -> None:
    said = ["x" * 200_000, '{"price":"1.0"}' * 5000, ""]
    async with (
        serve(deflate=True) as server,
        client.websocket(server.url, start=fairlead.OLDEST, permessage_deflate=offered) as session,
    ):
        for payload in said:
            await session.send(payload)
        heard = await hear(session, len(said))
    assert [frame.text for frame in heard] == said
    (line,) = server.lines
    assert line.deflate is offered
    assert any(name == "Sec-WebSocket-Extensions" for name, _ in line.headers) is offered


# ---- Pings. ----


async def test_our_ping_comes_back(serve: Serve, client: fairlead.Gateway) -> None:
    async with serve() as server, client.websocket(server.url) as session:
        assert 0 < await session.ping(b"are you there?") < 30
        assert 0 < await session.ping(b"") < 30
        assert 0 < await session.ping(b"p" * 125) < 30
        (line,) = server.lines
        if isinstance(line, AiohttpLine):
            assert line.pings == [b"are you there?", b"", b"p" * 125]


async def test_their_ping_is_answered(serve: Serve, client: fairlead.Gateway) -> None:
    async def converse(line: Line) -> None:
        for payload in (b"", b"one", b"p" * 125):
            await line.ping(payload)
        await line.send("answered")
        await line.receive()

    async with serve(converse) as server, client.websocket(server.url, start=fairlead.OLDEST) as session:
        assert [frame.text for frame in await hear(session, 1)] == ["answered"]


async def test_heartbeat_pings(tls: ssl.SSLContext, client: fairlead.Gateway) -> None:
    """Heartbeats are pings with their payload, and their round trip is shown."""
    heartbeat = fairlead.Heartbeat(interval=0.02, ping="beat {n} {not-a-token}")
    async with (
        aiohttp_peer(echo, tls) as server,
        client.websocket(server.url, name="md", heartbeat=heartbeat) as session,
    ):
        (line,) = server.lines
        assert isinstance(line, AiohttpLine)
        await eventually(lambda: len(line.pings) >= 5, "five heartbeats")
        assert line.pings[:5] == [f"beat {n} {{not-a-token}}".encode() for n in range(1, 6)]
        assert ((await client.session("md")).heartbeat_round_trip or 0) > 0
        assert session.generation == 1


async def test_heartbeat_texts(client: fairlead.Gateway) -> None:
    """Text heartbeats, answered by what matches keepalive, as many exchanges want them."""
    heartbeat = fairlead.Heartbeat(interval=0.02, text='{"op":"ping","n":{n}}', keepalive='"ping"', pong_timeout=10)
    async with (
        websockets_peer(echo) as server,
        client.websocket(server.url, heartbeat=heartbeat, start=fairlead.OLDEST) as session,
    ):
        heard = [frame.text for frame in await hear(session, 3)]
        assert heard == [f'{{"op":"ping","n":{n}}}' for n in (1, 2, 3)]


# ---- Close codes. ----


async def test_their_close_is_told(serve: Serve, client: fairlead.Gateway) -> None:
    closes = [(1000, "bye"), (1001, ""), (1012, "restart"), (3000, "r" * 123), (4999, "Grüße")]
    left = iter(closes)

    async def converse(line: Line) -> None:
        code_and_reason = next(left, None)
        if code_and_reason is None:
            await echo(line)
        else:
            await line.close(*code_and_reason)

    policy = fairlead.Reconnect(initial_backoff=0.01, max_backoff=0.01)
    told: list[tuple[int, str]] = []
    async with (
        serve(converse) as server,
        client.websocket(server.url, start=fairlead.OLDEST, reconnect=policy) as session,
    ):
        async for entry in session.events():
            if not isinstance(entry, fairlead.StateChanged):
                continue
            if entry.state is SessionState.RECONNECTING:
                assert entry.cause is not None
                assert entry.cause.reason is Reason.PEER_CLOSED
                told.append((entry.close_code, entry.close_reason))
            if entry.state is SessionState.OPEN and entry.generation == len(closes) + 1:
                break
    assert told == closes


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4321, "Schluß"), (3000, "r" * 123)])
async def test_our_close_is_heard(serve: Serve, client: fairlead.Gateway, code: int, reason: str) -> None:
    heard: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    async def converse(line: Line) -> None:
        heard.set_result(await until_closed(line))

    async with serve(converse) as server:
        session = client.websocket(server.url)
        await session.open()
        await session.close(code, reason)
        closed = await heard
    assert (closed.code, closed.reason) == (code, reason)
    assert session.state is SessionState.CLOSED


async def test_detaching_closes_with_1000(serve: Serve, client: fairlead.Gateway) -> None:
    heard: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    async def converse(line: Line) -> None:
        heard.set_result(await until_closed(line))

    async with serve(converse) as server:
        async with client.websocket(server.url):
            pass
        assert (await heard).code == 1000


# ---- Long and fragmented. ----


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("deflate", [False, True], ids=["", "deflate"])
async def test_fragments(tls: ssl.SSLContext, client: fairlead.Gateway, secure: bool, deflate: bool) -> None:
    """Messages in many fragments, some empty, with a ping in their midst, are one frame each."""
    texts = [f"part {n} ü " * 100 for n in range(1000)]
    blobs = [bytes([n % 256]) * 2000 if n % 3 else b"" for n in range(1000)]

    async def converse(line: Line) -> None:
        assert isinstance(line, WebsocketsLine)

        async def parts() -> AsyncIterator[str]:
            for at, text in enumerate(texts):
                if at % 100 == 50:
                    await line.ping(b"in between %d" % at)
                yield text

        await line.connection.send(parts())
        await line.connection.send(blobs)
        await line.send("end")
        await until_closed(line)

    async with (
        websockets_peer(converse, tls if secure else None, deflate=deflate) as server,
        client.websocket(server.url, start=fairlead.OLDEST, permessage_deflate=deflate) as session,
    ):
        text, blob, end = await hear(session, 3)
    assert text.kind is FrameKind.TEXT
    assert text.text == "".join(texts)
    assert blob.kind is FrameKind.BINARY
    assert blob.payload == b"".join(blobs)
    assert end.text == "end"


# ---- Certificates. ----


@asynccontextmanager
async def secure_peer(authority: trustme.CA, *names: str) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    async with websockets_peer(echo, context) as server:
        yield server


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_certificate_that_is_not_trusted_is_fatal(
    client: fairlead.Gateway, authority: trustme.CA, wrong: str
) -> None:
    signer = trustme.CA() if wrong == "authority" else authority
    names = ["example.com"] if wrong == "name" else ["127.0.0.1"]
    async with secure_peer(signer, *names) as server:
        with pytest.raises(fairlead.SessionEnded) as ended:
            await client.websocket(server.url).open()
    assert ended.value.reason is Reason.CERTIFICATE_REJECTED
    assert ended.value.phase is fairlead.Phase.NOT_SENT
    assert server.lines == []


async def test_host_name_and_sni(client: fairlead.Gateway, authority: trustme.CA) -> None:
    """A certificate for "localhost" alone fits the name, and not the address behind it."""
    async with secure_peer(authority, "localhost") as server:
        async with client.websocket(server.url.replace("127.0.0.1", "localhost")):
            assert len(server.lines) == 1
        with pytest.raises(fairlead.SessionEnded) as ended:
            await client.websocket(server.url).open()
    assert ended.value.reason is Reason.CERTIFICATE_REJECTED


async def test_system_authorities(start_gateway: StartGateway, authority: trustme.CA, scratch: Path) -> None:
    """SSL_CERT_FILE names the system's authorities; they count unless the configuration says otherwise."""
    file = scratch / "system.pem"
    authority.cert_pem.write_to_path(str(file))
    environment = {"SSL_CERT_FILE": str(file)}
    trusting = start_gateway({"tls": {}}, environment=environment)
    wary = start_gateway({"tls": {"system_authorities": False}}, environment=environment)
    async with secure_peer(authority, "127.0.0.1") as server:
        async with fairlead.connect(trusting.address) as client, client.websocket(server.url) as session:
            assert session.state is SessionState.OPEN
        async with fairlead.connect(wary.address) as client:
            with pytest.raises(fairlead.SessionEnded) as ended:
                await client.websocket(server.url).open()
    assert ended.value.reason is Reason.CERTIFICATE_REJECTED
