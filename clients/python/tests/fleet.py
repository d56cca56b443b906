"""Several scripted gateways, and what the tests of a client that is connected to all of them share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import fairlead
from fairlead.v1 import session_pb2 as pb
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream

# Orders under the hash: md 0, 1, 2; orders 0, 2, 1; binance.btcusdt 1, 0, 2; https://api.example.com 2, 1, 0.
NAMES = ["gw-0:7070", "gw-1:7070", "gw-2:7070"]
URL = "ws://exchange/ws"
# Nothing moves for this in a test; what moves all the same does not wait for it.
NEVER = 1000.0
# What is waited for by a test that says that nothing came before.
SOON = 0.05


class Fleet:
    """Three gateways; their Attach streams in the order of their numbers."""

    def __init__(self, directory: Path) -> None:
        self.fakes = [FakeGateway(f"unix://{directory / str(number)}") for number in range(len(NAMES))]
        self.streams: list[Stream] = []

    @property
    def addresses(self) -> dict[str, str]:
        """What connect() takes."""
        return {name: fake.address for name, fake in zip(NAMES, self.fakes, strict=True)}

    async def restart(self, number: int) -> Stream:
        """Start a gateway that was killed, and return the client's stream to it."""
        await self.fakes[number].__aenter__()
        self.streams[number] = await self.fakes[number].stream()
        return self.streams[number]

    async def kill(self, *numbers: int) -> None:
        """Stop gateways at once."""
        await asyncio.gather(*(self.fakes[number].kill() for number in numbers))


@asynccontextmanager
async def started(*numbers: int) -> AsyncIterator[Fleet]:
    """Start these of three gateways; none: all."""
    with TemporaryDirectory(prefix="fl") as directory:
        fleet = Fleet(Path(directory))
        async with AsyncExitStack() as stack:
            for number, fake in enumerate(fleet.fakes):
                stack.push_async_callback(fake.kill)
                if not numbers or number in numbers:
                    await fake.__aenter__()
            yield fleet


@asynccontextmanager
async def connected(fleet: Fleet, move_after: float = NEVER) -> AsyncIterator[fairlead.Gateway]:
    """Connect to three gateways that have been started, and see to it that closing leaves no task behind."""
    async with fairlead.connect(fleet.addresses, move_after=move_after) as gateway:
        fleet.streams = [await fake.stream() for fake in fleet.fakes]
        yield gateway
    check_no_task_is_left()


def check_no_task_is_left() -> None:
    """Fail if a task of the client's runs."""
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("fairlead")]


async def opened(stream: Stream, session: fairlead.Session) -> pb.Command:
    """Open a session, which must be asked for on this stream; entries 1 to 3 are in its queue."""
    opening = asyncio.create_task(session.open())
    command = await stream.open()
    await asyncio.wait_for(opening, PATIENCE_S)
    return command


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in count():
            if condition():
                return
            await asyncio.sleep(0.01)
