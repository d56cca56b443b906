"""An exchange that wants fresh credentials for each connection, made with aiohttp: it refuses whatever it has seen."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

SECRET = b"a secret that the exchange and its customer share"
FRAMES_A_SECOND = 500


def signature(nonce: int) -> str:
    return hmac.new(SECRET, str(nonce).encode(), hashlib.sha256).hexdigest()


@dataclass
class PrivateExchange:
    """`login` frames with a nonce that must grow, listen keys that open one connection, tokens that expire."""

    port: int = 0
    connections: list[web.WebSocketResponse] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    number: int = 0
    accepting: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at first; while it is not, upgrades are answered later."""
    _nonce: int = 0
    _listen_keys: set[str] = field(default_factory=set)
    _tokens: set[str] = field(default_factory=set)
    _feeding: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def live(self) -> int:
        return sum(not connection.closed for connection in self.connections)

    async def drop(self) -> None:
        """Ends the newest connection."""
        await self.connections[-1].close(code=1001)

    def expire_tokens(self) -> None:
        """What was given so far is good no longer."""
        self._tokens.clear()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/listen-key", self._give_listen_key),
            web.post("/token", self._give_token),
            web.get("/signed", self._signed),
            web.get("/listen/{key}", self._listened),
            web.get("/token", self._tokened),
        ]

    async def _give_listen_key(self, _: web.Request) -> web.Response:
        key = secrets.token_hex(8)
        self._listen_keys.add(key)
        return web.json_response({"key": key})

    async def _give_token(self, _: web.Request) -> web.Response:
        token = secrets.token_hex(8)
        self._tokens.add(token)
        return web.json_response({"token": token})

    def _refuse(self, why: str, status: int) -> web.Response:
        self.refused.append(why)
        return web.Response(status=status)

    async def _listened(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        if key not in self._listen_keys:
            return self._refuse(f"listen key {key} is used up", 403)
        self._listen_keys.discard(key)
        connection = await self._accept(request)
        return await self._feed(connection)

    async def _tokened(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("X-Token", "")
        if token not in self._tokens:
            return self._refuse(f"token {token} has expired", 401)
        connection = await self._accept(request)
        return await self._feed(connection)

    async def _signed(self, request: web.Request) -> web.StreamResponse:
        connection = await self._accept(request)
        await connection.send_str("please log in")
        message = await connection.receive()
        if message.type is not WSMsgType.TEXT:
            return connection  # It thought better of it.
        login = message.data.split()
        fresh = len(login) == 3 and int(login[1]) > self._nonce and login[2] == signature(int(login[1]))
        if not fresh:
            self.refused.append(f"login {login}")
            await connection.send_str("login refused")
            await connection.close()
            return connection
        self._nonce = int(login[1])
        await connection.send_str("login accepted")
        return await self._feed(connection)

    async def _accept(self, request: web.Request) -> web.WebSocketResponse:
        await self.accepting.wait()
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        self.connections.append(connection)
        return connection

    async def _feed(self, connection: web.WebSocketResponse) -> web.WebSocketResponse:
        """Numbers that go on from connection to connection, until the connection ends."""

        async def feed() -> None:
            with suppress(ConnectionError):
                while not connection.closed:
                    self.number += 1
                    await connection.send_str(f"number {self.number}")
                    await asyncio.sleep(1 / FRAMES_A_SECOND)

        feeding = asyncio.create_task(feed())
        self._feeding.add(feeding)
        try:
            async for _ in connection:
                pass
        finally:
            feeding.cancel()
            self._feeding.discard(feeding)
        return connection


@asynccontextmanager
async def private_exchange() -> AsyncIterator[PrivateExchange]:
    exchange = PrivateExchange()
    exchange.accepting.set()
    app = web.Application()
    app.add_routes(exchange.routes())
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    exchange.port = runner.addresses[0][1]
    try:
        yield exchange
    finally:
        await runner.cleanup()
