"""Many sockets on which nothing happens, half of them TLS, without heartbeats."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.bench.contender import Site

# Handshakes under way at once.
AT_ONCE = 50


def _urls(count: int, base: str, encrypted_base: str) -> Iterator[str]:
    return (f"{(base, encrypted_base)[at % 2]}/idle" for at in range(count))


async def _open_all(urls: Iterator[str], open_one: Callable[[str], Awaitable[None]]) -> None:
    async def worker() -> None:
        for url in urls:  # One iterator for all workers.
            await open_one(url)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


@asynccontextmanager
async def fairlead_sessions(count: int, base: str, encrypted_base: str, site: Site) -> AsyncIterator[None]:
    import fairlead

    quiet = fairlead.Heartbeat(interval=0)
    async with fairlead.connect(site.gateway) as gateway:

        async def open_one(url: str) -> None:
            session = gateway.websocket(url, heartbeat=quiet, open_timeout=120, dial_timeout=60)
            await session.open()
            sessions.append(session)

        sessions: list[fairlead.Session] = []
        await _open_all(_urls(count, base, encrypted_base), open_one)
        yield
        assert [session.state for session in sessions] == [fairlead.SessionState.OPEN] * count


@asynccontextmanager
async def websockets_connections(count: int, base: str, encrypted_base: str, site: Site) -> AsyncIterator[None]:
    from websockets import State
    from websockets.asyncio.client import ClientConnection, connect

    # One for all of them, as a program would have it.
    tls = site.tls(encrypted_base)

    async def open_one(url: str) -> None:
        chosen = tls if url.startswith("wss:") else None
        connections.append(
            await connect(url, ssl=chosen, compression=None, ping_interval=None, proxy=None, open_timeout=60)
        )

    connections: list[ClientConnection] = []
    await _open_all(_urls(count, base, encrypted_base), open_one)
    yield
    assert [connection.state for connection in connections] == [State.OPEN] * count


IDLE: dict[str, Callable[[int, str, str, Site], AbstractAsyncContextManager[None]]] = {
    "fairlead": fairlead_sessions,
    "websockets": websockets_connections,
}
