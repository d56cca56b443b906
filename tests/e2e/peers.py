"""WebSocket servers that are not ours, behind one face: the libraries `websockets` and `aiohttp`."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
import websockets
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol


class Closed(Exception):
    """The gateway has closed the connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Line(Protocol):
    """One connection, as the server has it."""

    path: str
    headers: list[tuple[str, str]]
    subprotocol: str | None
    deflate: bool

    async def receive(self) -> str | bytes:
        """The next message; raises Closed."""

    async def send(self, payload: str | bytes) -> None: ...

    async def ping(self, payload: bytes) -> None:
        """Sends a ping and waits for its pong."""

    async def close(self, code: int, reason: str) -> None: ...


Conversation = Callable[[Line], Awaitable[None]]


@dataclass
class Server:
    """Where a peer listens, and the connections that it has had."""

    url: str
    lines: list[Line] = field(default_factory=list)


async def echo(line: Line) -> None:
    while True:
        await line.send(await line.receive())


# ---- websockets. ----


class WebsocketsLine:
    def __init__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.connection = connection
        self.path = connection.request.path
        self.headers = list(connection.request.headers.raw_items())
        self.subprotocol: str | None = connection.subprotocol
        self.deflate = bool(connection.protocol.extensions)

    async def receive(self) -> str | bytes:
        try:
            return await self.connection.recv()
        except websockets.ConnectionClosed as closed:
            received = closed.rcvd
            raise Closed(received.code if received else 1006, received.reason if received else "") from None

    async def send(self, payload: str | bytes) -> None:
        await self.connection.send(payload)

    async def ping(self, payload: bytes) -> None:
        await (await self.connection.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)


@asynccontextmanager
async def websockets_peer(
    converse: Conversation,
    tls: ssl.SSLContext | None = None,
    *,
    subprotocols: Sequence[str] = (),
    deflate: bool = False,
) -> AsyncIterator[Server]:
    server = Server("")

    async def accept(connection: ServerConnection) -> None:
        line = WebsocketsLine(connection)
        server.lines.append(line)
        try:
            await converse(line)
        except Closed:
            await connection.wait_closed()

    async with serve(
        accept,
        "127.0.0.1",
        0,
        ssl=tls,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        # Whoever shares nothing with the client chooses nothing; the default would be to refuse it.
        select_subprotocol=_first_common(subprotocols),
        compression="deflate" if deflate else None,
        max_size=None,
        ping_interval=None,
        close_timeout=1,
    ) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        yield server


def _first_common(known: Sequence[str]) -> Callable[[ServerConnection, Sequence[Subprotocol]], Subprotocol | None]:
    def select(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((name for name in offered if name in known), None)

    return select


# ---- aiohttp. ----


class AiohttpLine:
    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.path = request.raw_path
        self.headers = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        self.subprotocol = socket.ws_protocol
        self.deflate = bool(socket.compress)
        self.pings: list[bytes] = []
        self._pongs: list[bytes] = []

    async def receive(self) -> str | bytes:
        while True:
            message = await self.socket.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    payload: str | bytes = message.data
                    return payload
                case aiohttp.WSMsgType.PING:
                    self.pings.append(bytes(message.data))
                    await self.socket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self._pongs.append(bytes(message.data))
                case aiohttp.WSMsgType.CLOSE:
                    raise Closed(message.data or 1005, message.extra or "")
                case _:
                    raise Closed(self.socket.close_code or 1006, "")

    async def send(self, payload: str | bytes) -> None:
        await (self.socket.send_str(payload) if isinstance(payload, str) else self.socket.send_bytes(payload))

    async def ping(self, payload: bytes) -> None:
        await self.socket.ping(payload)
        while payload not in self._pongs:
            message = await self.socket.receive()
            assert message.type is aiohttp.WSMsgType.PONG, message
            self._pongs.append(bytes(message.data))

    async def close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode())


@asynccontextmanager
async def aiohttp_peer(
    converse: Conversation,
    tls: ssl.SSLContext | None = None,
    *,
    subprotocols: Sequence[str] = (),
    deflate: bool = False,
) -> AsyncIterator[Server]:
    server = Server("")

    async def accept(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=subprotocols, compress=deflate, autoping=False, max_msg_size=0, timeout=1
        )
        await socket.prepare(request)
        line = AiohttpLine(request, socket)
        server.lines.append(line)
        try:
            await converse(line)
        except Closed:
            await socket.close()
        return socket

    application = web.Application()
    application.router.add_route("GET", "/{path:.*}", accept)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


async def until_closed(line: Line) -> Closed:
    """Reads on until the gateway closes the connection; returns how it did."""
    try:
        async with asyncio.timeout(30):
            while True:
                await line.receive()
    except Closed as closed:
        return closed
