"""Leaving a gateway object when that is cancelled: whatever it was at, it ends, and can be entered again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import grpc
import pytest

import fairlead
from fairlead._dial import Connection
from fairlead.v1 import http_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream
from tests.fleet import NEVER, SOON, until

Leave = Callable[[fairlead.Gateway], Coroutine[Any, Any, None]]
WAYS: list[Leave] = [fairlead.Gateway.aclose, lambda gateway: gateway.__aexit__(None, None, None)]
GATEWAYS = [1, 2]
REQUEST = http_pb2.SendRequest(request=http_pb2.HttpRequest(method="GET", url="http://exchange/"))
# More turns than leaving takes; each test sees to it that they are.
TURNS = 50


@asynccontextmanager
async def fakes(socket: str, number: int) -> AsyncIterator[list[FakeGateway]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FakeGateway(f"{socket}{each}")) for each in range(number)]


def left() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("fairlead")]


async def cancelled_after(turns: int, leaving: Coroutine[Any, Any, None]) -> bool:
    """Cancel it after so many turns of the loop, one at least: else it never begins.

    Return whether it had not ended by then.
    """
    task = asyncio.create_task(leaving)
    for _ in range(turns):
        await asyncio.sleep(0)
    if not task.cancel():
        await task
        return False
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return True


async def all_over(gateway: fairlead.Gateway, streams: list[Stream]) -> None:
    """Nothing runs, waits for its time, or is connected."""
    shards = gateway._shards
    assert not shards._patience
    assert shards._settling is None
    await until(lambda: not left())
    for stream in streams:
        await asyncio.wait_for(stream.over.wait(), PATIENCE_S)
    assert not gateway.attached
    with pytest.raises(fairlead.GatewayUnavailable, match="not connected"):
        await gateway.sessions()


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("number", GATEWAYS)
async def test_nothing_is_left_whenever_it_is_cancelled(socket: str, number: int, leave: Leave) -> None:
    async with fakes(socket, number) as servers:
        for turns in range(1, TURNS):
            gateway = fairlead.connect([server.address for server in servers], move_after=NEVER)
            await gateway.__aenter__()
            streams = [await server.stream() for server in servers]
            in_time = await cancelled_after(turns, leave(gateway))
            await all_over(gateway, streams)
            if not in_time:
                break
        assert not in_time


@pytest.mark.parametrize("number", GATEWAYS)
async def test_what_was_lost_just_before_is_left_too(socket: str, number: int, closed: list[Connection]) -> None:
    """A request that may end after its stream, patience with one that is away, and an attempt to reach it."""
    async with fakes(socket, number) as servers:
        for turns in range(TURNS):
            gateway = fairlead.connect([server.address for server in servers], move_after=NEVER)
            await gateway.__aenter__()
            streams = [await server.stream() for server in servers]
            connections = [link.connection for link in gateway._shards.links]
            asking = [asyncio.create_task(connection.send(REQUEST, NEVER)) for connection in connections]
            calls = [await server.http_call() for server in servers]
            for server, stream in zip(servers, streams, strict=True):
                server.refusal = (grpc.StatusCode.UNAVAILABLE, None)
                stream.end()
            # Turn by turn, so that leaving begins while the loss is being dealt with.
            async with asyncio.timeout(PATIENCE_S):
                for _ in count():
                    if not gateway.attached:
                        break
                    await asyncio.sleep(0)
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            await cancelled_after(1 + turns % 2, gateway.aclose())
            await all_over(gateway, streams)
            assert set(connections) <= set(closed)
            for call in calls:
                await asyncio.wait_for(call.cancelled.wait(), PATIENCE_S)
            await asyncio.gather(*asking, return_exceptions=True)
            for server in servers:
                server.refusal = None


@pytest.mark.parametrize("number", GATEWAYS)
async def test_it_may_be_entered_again_at_once(socket: str, number: int) -> None:
    async with fakes(socket, number) as servers:
        gateway = fairlead.connect([server.address for server in servers], move_after=NEVER)
        for turns in range(1, TURNS):
            await gateway.__aenter__()
            streams = [await server.stream() for server in servers]
            in_time = await cancelled_after(turns, gateway.aclose())
            async with gateway:
                # The end of the life before takes nothing of this one.
                streams = [await server.stream() for server in servers]
                assert all(gateway.shards.values())
                assert await gateway.sessions() == []
                with pytest.raises(RuntimeError, match="connected already"):
                    await gateway.__aenter__()
                assert all(gateway.shards.values())
            await all_over(gateway, streams)
            if not in_time:
                break
        assert not in_time


async def test_entering_again_raises_what_it_should(fake: FakeGateway) -> None:
    gateway = fairlead.connect(fake.address, connect_timeout=PATIENCE_S)
    for turns in count(1):
        fake.refusal = None
        await gateway.__aenter__()
        streams = [await fake.stream()]
        in_time = await cancelled_after(turns, gateway.aclose())
        fake.refusal = (grpc.StatusCode.PERMISSION_DENIED, None)
        with pytest.raises(fairlead.PermissionDenied):
            await gateway.__aenter__()
        await all_over(gateway, streams)
        if not in_time:
            break


async def test_leaving_again_waits_for_what_was_left(fake: FakeGateway) -> None:
    gateway = fairlead.connect(fake.address)
    for turns in range(1, TURNS):
        await gateway.__aenter__()
        in_time = await cancelled_after(turns, gateway.aclose())
        await gateway.aclose()
        assert not left()
        if not in_time:
            break
    assert not in_time


async def test_an_end_that_takes_long_is_waited_for_and_not_cut(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another aclose(), which is cancelled, too, and by who enters again."""
    may_close = asyncio.Event()
    closed: list[Connection] = []
    close = Connection.close

    async def slowly(connection: Connection) -> None:
        await may_close.wait()
        await close(connection)
        closed.append(connection)

    monkeypatch.setattr(Connection, "close", slowly)
    gateway = fairlead.connect(fake.address)
    await gateway.__aenter__()
    connection = gateway._shards.links[0].connection
    await fake.stream()
    for turns in (3, 1, 3):
        assert await cancelled_after(turns, gateway.aclose())
    entering = asyncio.create_task(gateway.__aenter__())
    # Were it not to wait it would be connected by now, and cut off when the end comes.
    await asyncio.wait([entering], timeout=SOON)
    assert not entering.done()
    may_close.set()
    await entering
    assert closed == [connection]
    assert await gateway.sessions() == []
    await gateway.aclose()
    assert not left()
