"""Connections that are reset at random bytes of 2,000 requests and answers: what is told of each request is true."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from fairlead.v1.http_pb2 import HttpResponse
from tests.e2e.http_calls import Failed, ask, asking, headers
from tests.e2e.http_peer import RESET, Wire, http_peer

PLAIN, SECURE, HANDSHAKES = 1500, 300, 200
AT_ONCE = 40
ID_BYTES = len("POST /0000")  # What a request begins with, and is known by.
BEGUN = len("HTTP/1.1 2")  # An answer has begun with the first digit of its status.
LARGE = 6 << 20  # More than the kernel's buffers take, when nobody reads.


@dataclass
class Order:
    """One request: what becomes of it, and what the server has seen of it."""

    number: int
    body: bytes
    answer: bytes  # Its body.
    request_cut: float | None = None  # Reset when so much of the request has arrived: 0 to 1.
    answer_cut: int | None = None  # Reset behind so many bytes of the answer; all: right behind it.
    arrivals: list[bytearray] = field(default_factory=list)
    answered: int = 0  # Bytes of the answer that were written.

    def request(self, url: str) -> bytes:
        """As it must arrive."""
        host = url.partition("//")[2]
        head = f"POST /{self.number:04} HTTP/1.1\r\nHost: {host}\r\nX-Order: {self.number}\r\nUser-Agent: fairlead\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body

    @property
    def response(self) -> bytes:
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.answer)}\r\n\r\n".encode() + self.answer


def orders(draw: random.Random, count: int) -> list[Order]:
    made = []
    for number in range(count):
        what = draw.choice(["request", "answer", "behind", "whole"])
        large = draw.random() < (0.1 if what == "request" else 0.01)
        size = LARGE if large else draw.choice([0, 64, 1000, 70_000])
        order = Order(number, draw.randbytes(64) * (size // 64), b"answer to %d " % number + draw.randbytes(2000))
        match what:
            case "request":
                order.request_cut = draw.random()
            case "answer":
                # The head is as likely to be cut as the body.
                order.answer_cut = draw.choice([draw.randrange(50), draw.randrange(len(order.response))])
            case "behind":
                order.answer_cut = len(order.response)
        made.append(order)
    return made


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


class Plain:
    """Reads byte by byte as far as it wants to, with a small receive buffer."""

    def __init__(self, draw: random.Random, orders: list[Order]) -> None:
        self.url = ""
        self.unknown: list[bytearray] = []  # What arrived of requests and is too short to tell of which.
        self._draw = draw
        self._orders = orders

    async def serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError):
            while True:
                fragment = bytearray()
                self.unknown.append(fragment)
                await self._read(
                    connection, fragment, self._draw.randrange(ID_BYTES) if self._draw.random() < 0.05 else ID_BYTES
                )
                if len(fragment) < ID_BYTES:
                    return reset(connection)
                order = self._orders[int(fragment[-4:])]
                self.unknown.remove(fragment)
                order.arrivals.append(fragment)
                whole = len(order.request(self.url))
                cut = order.request_cut
                wanted = whole if cut is None else max(ID_BYTES, int(cut * whole))
                await self._read(connection, fragment, wanted)
                if cut is not None:
                    return reset(connection)
                piece = order.response[: order.answer_cut]
                order.answered = len(piece)
                await loop.sock_sendall(connection, piece)
                if order.answer_cut is not None:
                    return reset(connection)

    async def _read(self, connection: socket.socket, fragment: bytearray, size: int) -> None:
        while len(fragment) < size:
            piece = await asyncio.get_running_loop().sock_recv(connection, min(size - len(fragment), 65536))
            if not piece:
                raise ConnectionResetError
            fragment += piece


@asynccontextmanager
async def listening(serve: "Plain | Handshakes") -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setblocking(False)

        async def accept() -> None:
            while True:
                connection, _ = await loop.sock_accept(listener)
                task = asyncio.create_task(serve.serve(connection))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        accepting = asyncio.create_task(accept())
        try:
            yield listener.getsockname()[1]
        finally:
            accepting.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(accepting, *tasks, return_exceptions=True)


class Handshakes:
    """Resets each connection somewhere in its TLS handshake."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    async def serve(self, connection: socket.socket) -> None:
        if (size := self._draw.randrange(200)) > 0:
            await asyncio.get_running_loop().sock_recv(connection, size)
        reset(connection)


async def send(channel: grpc.aio.Channel, url: str, orders: list[Order]) -> list[HttpResponse | Failed]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(order: Order) -> HttpResponse | Failed:
        async with slots:
            sent = headers(("X-Order", f"{order.number}"))
            return await ask(channel, asking(f"{url}/{order.number:04}", "POST", headers=sent, body=order.body))

    return await asyncio.gather(*(one(order) for order in orders))


def check(order: Order, outcome: HttpResponse | Failed, url: str, secure: bool = False) -> str:
    """Compares what was told with what was seen; returns the phase."""
    whole = order.request(url)
    assert len(order.arrivals) <= 1, f"{order.number} arrived twice"
    arrived = bytes(order.arrivals[0]) if order.arrivals else b""
    assert whole.startswith(arrived)
    if isinstance(outcome, HttpResponse):
        assert arrived == whole
        assert outcome.body == order.answer
        assert order.answered == len(order.response)
        return "answered"
    where = f"{order.number}: {outcome}, {len(arrived)} of {len(whole)} bytes arrived, {order.answered} answered"
    match outcome.phase:
        case "NOT_SENT":
            assert not arrived, where
        case "PARTLY_SENT":
            # Of TLS it is not known how much of the last record was sent.
            assert len(arrived) < len(whole) or secure, where
            assert order.answered < BEGUN, where
        case "SENT_NO_REPLY":
            assert order.answered < BEGUN, where
        case "REPLIED":
            assert arrived == whole, where
            assert BEGUN <= order.answered < len(order.response), where
        case _:
            raise AssertionError(where)
    assert outcome.reason in ("CONNECTION_LOST", "RESPONSE_INVALID", "CONNECT_FAILED", "TLS_FAILED"), where
    return outcome.phase


async def test_resets(channel: grpc.aio.Channel, seed: int) -> None:
    draw = random.Random(seed)
    made = orders(draw, PLAIN)
    plain = Plain(draw, made)
    async with listening(plain) as port:
        plain.url = f"http://127.0.0.1:{port}"
        outcomes = await send(channel, plain.url, made)
    phases = Counter(check(order, outcome, plain.url) for order, outcome in zip(made, outcomes, strict=True))
    print(phases)
    assert phases["answered"] >= 300
    assert phases["REPLIED"] >= 150
    assert phases["SENT_NO_REPLY"] >= 150
    assert phases["PARTLY_SENT"] >= 5
    # What arrived and is too short to be known is of requests that may have been sent.
    unknown = [fragment for fragment in plain.unknown if fragment]
    assert all(b"POST /0123456789".startswith(fragment[:6]) for fragment in unknown)
    may_be = [
        order
        for order, outcome in zip(made, outcomes, strict=True)
        if isinstance(outcome, Failed) and outcome.phase != "NOT_SENT" and not order.arrivals
    ]
    assert len(unknown) <= len(may_be)


async def test_resets_with_tls(channel: grpc.aio.Channel, tls: ssl.SSLContext, seed: int) -> None:
    draw = random.Random(seed)
    made = orders(draw, SECURE)

    async def converse(wire: Wire) -> None:
        while True:
            begin = await wire.take(ID_BYTES)
            order = made[int(begin[-4:])]
            order.arrivals.append(begin)
            whole = len(order.request(server.url))
            cut = order.request_cut
            wanted = whole if cut is None else max(ID_BYTES, int(cut * whole))
            await wire.take(wanted, begin)
            if cut is not None:
                return wire.reset()
            piece = order.response[: order.answer_cut]
            order.answered = len(piece)
            await wire.write(piece)
            if order.answer_cut is not None:
                return wire.reset()

    async with http_peer(converse, tls) as server:
        outcomes = await send(channel, server.url, made)
    phases = Counter(check(order, outcome, server.url, True) for order, outcome in zip(made, outcomes, strict=True))
    print(phases)
    assert phases["answered"] >= 60
    assert phases["REPLIED"] >= 30
    assert phases["SENT_NO_REPLY"] + phases["PARTLY_SENT"] >= 30


async def test_resets_in_the_handshake(channel: grpc.aio.Channel, seed: int) -> None:
    """And where nobody listens: nothing was sent, and that is certain."""
    draw = random.Random(seed)
    made = orders(draw, HANDSHAKES)
    async with listening(Handshakes(draw)) as port:
        url = f"https://127.0.0.1:{port}"
        outcomes = await send(channel, url, made)
    assert Counter(check(order, outcome, url) for order, outcome in zip(made, outcomes, strict=True)) == {
        "NOT_SENT": HANDSHAKES
    }
    for outcome in await send(channel, f"http://127.0.0.1:{port}", made[:20]):
        assert isinstance(outcome, Failed)
        assert outcome.words == ("CONNECT_FAILED", "NOT_SENT")
