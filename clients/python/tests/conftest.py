"""Fixtures: a scripted gateway, and a client that is connected to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import fairlead
from fairlead._dial import Connection
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream


@pytest.fixture
def socket() -> Iterator[str]:
    # Not tmp_path: its name may be longer than a socket's may be.
    with TemporaryDirectory(prefix="fl") as directory:
        yield f"unix://{Path(directory) / 's'}"


@pytest.fixture
async def fake(socket: str) -> AsyncIterator[FakeGateway]:
    async with FakeGateway(socket) as fake:
        yield fake


@pytest.fixture
async def gateway(fake: FakeGateway) -> AsyncIterator[fairlead.Gateway]:
    """Connect, and see to it that whatever the test did, closing leaves no task behind."""
    before = asyncio.all_tasks()
    async with fairlead.connect(fake.address) as gateway:
        yield gateway
    left = {
        task
        for task in asyncio.all_tasks() - before
        if task is not asyncio.current_task() and "AioServer" not in repr(task)
    }
    if left:  # The fake's calls end when they see that the client is gone.
        _, left = await asyncio.wait(left, timeout=PATIENCE_S)
    assert not left


@pytest.fixture
async def stream(fake: FakeGateway, gateway: fairlead.Gateway) -> Stream:
    """Take the client's first Attach stream."""
    return await fake.stream()


@pytest.fixture
async def session(stream: Stream, gateway: fairlead.Gateway) -> AsyncIterator[fairlead.Session]:
    """Open a session, channel 1, with entries 1 to 3 in its queue."""
    session = gateway.websocket("ws://exchange/ws", name="md")
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    yield session
    # Without the gateway's answer: what the test did to the stream is not known here.
    await gateway.aclose()


@pytest.fixture
async def idle(stream: Stream, gateway: fairlead.Gateway) -> AsyncIterator[fairlead.Session]:
    """Make a session that is not entered, with a queue of five entries."""
    yield gateway.websocket("ws://exchange/ws", name="md", queue=fairlead.Queue(frames=5))
    # Without the gateway's answer: what the test did to the stream is not known here.
    await gateway.aclose()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Note the connections that the client begins to close, in order."""
    connections: list[Connection] = []
    close = Connection.close

    async def note(connection: Connection) -> None:
        connections.append(connection)
        await close(connection)

    monkeypatch.setattr(Connection, "close", note)
    return connections
