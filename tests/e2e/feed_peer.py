"""An exchange whose connections all get one numbered feed, made with `websockets`; each connection has its own faults.

A message of the feed is {"seq": N, ...}: N counts on by the clock, whoever listens; a connection begins where the feed
is. What is received is kept, and answered if it is an order or a login.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

SECRET = b"a secret that the exchange and its customer share"
RATE = 500
TICK_S = 0.002
REPLY_AFTER_S = 0.05


def signed_login(nonce: int) -> str:
    signature = hmac.new(SECRET, str(nonce).encode(), hashlib.sha256).hexdigest()
    return json.dumps({"op": "login", "nonce": nonce, "signature": signature})


@dataclass
class Line:
    """One connection."""

    connection: ServerConnection
    number: int
    """Counts the connections, from 1: of an only session, its generation."""
    path: str
    began: int
    """The last number before it: unless there are faults, it is sent what follows."""
    feeding: bool = True
    """While not, it is sent nothing of the feed."""
    delay_s: float = 0
    """How late it is sent each number."""
    leaves_out: Callable[[int], bool] = lambda _: False
    """Numbers that it is never sent."""
    heard: list[str] = field(default_factory=list)
    """What was received on it, but for pings and closes."""
    sent: int = 0
    """Messages of all kinds that it was sent."""
    close_code: int | None = None
    """Of the close frame that came; None: none has."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _due: deque[tuple[float, str]] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        """Messages whose delay is not over."""
        return len(self._due)

    async def send(self, text: str) -> None:
        with suppress(websockets.ConnectionClosed):
            await self.connection.send(text)
            self.sent += 1

    async def feed(self, number: int, text: str, now: float) -> None:
        """Sends it, or keeps it until its delay is over."""
        if self.feeding and not self.leaves_out(number):
            self._due.append((now + self.delay_s, text))
        await self.flush(now)

    async def flush(self, now: float) -> None:
        """Sends what is due."""
        while self._due and self._due[0][0] <= now:
            await self.send(self._due.popleft()[1])

    def kill(self) -> None:
        """Ends it without a close frame."""
        self.connection.transport.abort()


class FeedPeer:
    """The exchange. A path that begins with /login wants a login that is signed with a nonce that it has not seen."""

    def __init__(self, rate: int = RATE) -> None:
        self.url = ""
        self.lines: list[Line] = []
        self.number = 0
        self.rate = rate
        self.fewest: int | None = None
        """The least number of connections since the first was there; None: there was none yet."""
        self.prepare: Callable[[Line], None] = lambda _: None
        """Called with each new connection before it is fed: its faults from the beginning."""
        self.refusing = False
        """Whether new connections are answered 503."""
        self.refused: list[str] = []
        """What was wrong with what came: upgrades while refusing, logins that are not fresh."""
        self.logins: list[int] = []
        """The nonces that logged in."""
        self.admitting = asyncio.Event()
        """While it is not set, logins wait for their answer."""
        self.admitting.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def live(self) -> list[Line]:
        return [line for line in self.lines if not line.ended.is_set()]

    def stop(self) -> int:
        """Ends the feed; returns its last number."""
        self._stopped = True
        return self.number

    def refuse(self, _: ServerConnection, request: Request) -> Response | None:
        if not self.refusing:
            return None
        self.refused.append(request.path)
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", websockets.Headers())

    async def accept(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        line = Line(connection, len(self.lines) + 1, connection.request.path, self.number)
        # Without a login it is fed at once.
        line.feeding = not line.path.startswith("/login")
        self.prepare(line)
        self.lines.append(line)
        self._count()
        try:
            async for message in connection:
                assert isinstance(message, str)
                line.heard.append(message)
                self._start(self._answer(line, message))
        except websockets.ConnectionClosed:
            pass
        finally:
            received = connection.protocol.close_rcvd
            line.close_code = received.code if received else None
            line.ended.set()
            self._count()

    def _count(self) -> None:
        live = len(self.live)
        self.fewest = live if self.fewest is None else min(self.fewest, live)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, line: Line, text: str) -> None:
        message = json.loads(text)
        if message["op"] == "order":
            await asyncio.sleep(REPLY_AFTER_S)  # What the exchange takes over it.
            await line.send(json.dumps({"done": message["id"], "line": line.number}))
        elif message["op"] == "login":
            await self.admitting.wait()
            nonce = message["nonce"]
            if nonce in self.logins or text != signed_login(nonce):
                self.refused.append(f"login {nonce}")
                await line.send('{"login": "refused"}')
            else:
                self.logins.append(nonce)
                await line.send('{"login": "accepted"}')
                line.feeding = True

    async def run(self) -> None:
        """Feeds all connections, from when there is one."""
        while not self.lines:  # noqa: ASYNC110  # It is looked at as often anyway.
            await asyncio.sleep(TICK_S)
        began = time.monotonic()
        while True:
            now = time.monotonic()
            due = self.number if self._stopped else int((now - began) * self.rate)
            lines = self.live
            while self.number < due:
                self.number += 1
                text = json.dumps({"seq": self.number, "price": 100 + self.number % 7, "venue": "peer"})
                for line in lines:
                    await line.feed(self.number, text, now)
            for line in lines:
                await line.flush(now)
            await asyncio.sleep(TICK_S)


@asynccontextmanager
async def feed_peer(rate: int = RATE) -> AsyncIterator[FeedPeer]:
    peer = FeedPeer(rate)
    async with serve(
        peer.accept,
        "127.0.0.1",
        0,
        process_request=peer.refuse,
        compression=None,
        ping_interval=None,
        close_timeout=1,
    ) as listening:
        peer.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        running = asyncio.create_task(peer.run())
        try:
            yield peer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
