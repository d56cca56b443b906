"""An HTTP server that does byte for byte what a test tells it, and remembers what came on which connection."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.e2e.processes import PATIENCE_S, eventually

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() is a RST.


class Gone(Exception):
    """The gateway has closed the connection, or what came is no request."""


@dataclass(frozen=True)
class Request:
    """A request that arrived whole."""

    method: str
    target: str
    headers: list[tuple[str, str]]  # In order, names as they came.
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]


class Wire:
    """One connection, as the server has it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number  # From 1, in the order of acceptance.
        self.requests: list[Request] = []
        self.gone = False  # The gateway has closed it.
        self._reader = reader
        self._writer = writer

    async def head(self) -> Request:
        """Reads a request's head only; its body stays where it is."""
        try:
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, OSError):
            self.gone = True
            raise Gone from None
        line, *fields = text[:-4].split("\r\n")
        method, target, version = line.split(" ")
        assert version == "HTTP/1.1"
        pairs = [(name, value) for name, _, value in (each.partition(": ") for each in fields)]
        return Request(method, target, pairs, b"")

    async def request(self) -> Request:
        """Reads the next request whole. Raises Gone when the gateway has closed the connection."""
        head = await self.head()
        assert not head.values("Transfer-Encoding")
        (length,) = head.values("Content-Length") or ["0"]
        try:
            body = await self._reader.readexactly(int(length))
        except (asyncio.IncompleteReadError, OSError):
            self.gone = True
            raise Gone from None
        request = Request(head.method, head.target, head.headers, body)
        self.requests.append(request)
        return request

    async def take(self, size: int, taken: bytearray | None = None) -> bytearray:
        """Reads on until so many bytes are taken; returns them."""
        taken = bytearray() if taken is None else taken
        while len(taken) < size:
            try:
                piece = await self._reader.read(size - len(taken))
            except OSError:
                piece = b""
            if not piece:
                self.gone = True
                raise Gone
            taken += piece
        return taken

    async def write(self, *pieces: bytes) -> None:
        """Writes them in one go; with TLS each is a record of its own."""
        try:
            self._writer.writelines(pieces)
            await self._writer.drain()
        except OSError:
            self.gone = True
            raise Gone from None

    async def answer(self, body: bytes = b"", status: str = "200 OK", *fields: str) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"])
        await self.write(head.encode() + b"\r\n\r\n" + body)

    def finish(self) -> None:
        """FIN, with TLS close_notify first. Reads on."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def reset(self) -> None:
        """RST: what was not sent is lost."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()

    async def until_gone(self) -> bytes:
        """Waits until the gateway closes the connection; returns what came before that."""
        rest = bytearray()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(PATIENCE_S):
                while piece := await self._reader.read(65536):
                    rest += piece
        self.gone = True
        return bytes(rest)

    def abort(self) -> None:
        # Python 3.11's TLS transports do not take it once they are closed.
        with contextlib.suppress(AttributeError):
            self._writer.transport.abort()


Conversation = Callable[[Wire], Awaitable[None]]


@dataclass
class HttpServer:
    """Where a server listens, and the connections that it has had."""

    url: str
    wires: list[Wire] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    @property
    def requests(self) -> list[Request]:
        """Those of all connections, connection by connection."""
        return [request for wire in self.wires for request in wire.requests]

    async def arrived(self, count: int) -> None:
        await eventually(lambda: len(self.requests) >= count, f"{count} requests have arrived")

    async def all_gone(self) -> None:
        await eventually(lambda: self.open == 0, "the gateway has closed all connections")


async def obliging(wire: Wire) -> None:
    """Answers each request with its own target."""
    while True:
        request = await wire.request()
        await wire.answer(b"" if request.method == "HEAD" else request.target.encode())


async def silent(wire: Wire) -> None:
    """Reads, and answers nothing."""
    while True:
        await wire.request()


@asynccontextmanager
async def http_peer(converse: Conversation = obliging, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    """Closes each connection when its conversation is over. An error in a conversation is one of the test."""
    server = HttpServer("")
    conversations: set[asyncio.Task[None]] = set()
    errors: list[Exception] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        conversations.add(task)
        wire = Wire(len(server.wires) + 1, reader, writer)
        server.wires.append(wire)
        server.open += 1
        server.most_open = max(server.most_open, server.open)
        try:
            with contextlib.suppress(Gone):
                await converse(wire)
            writer.close()
        except Exception as error:
            errors.append(error)
            wire.abort()
        finally:
            server.open -= 1
            conversations.discard(task)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, family=socket.AF_INET, ssl=tls, backlog=1000)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for conversation in conversations.copy():
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        for wire in server.wires:
            wire.abort()
    if errors:
        raise errors[0]
