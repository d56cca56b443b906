"""Several gateways and one client of all: what happens to their sessions when one ends, is cut off, and comes back."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fairlead
from fairlead import Reason, SessionState, sharding
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Exchange, Gateway, eventually
from tests.e2e.test_restart import Story, numbers

NAMES = ["gw-0:7070", "gw-1:7070", "gw-2:7070"]
# So long that a test would not end if something waited for it.
NEVER = 1000.0


@dataclass
class Fleet:
    """Gateways under the names that the hash knows them by."""

    gateways: list[Gateway]
    exchange: Exchange

    @property
    def addresses(self) -> dict[str, str]:
        return {name: gateway.address for name, gateway in zip(NAMES, self.gateways, strict=False)}

    def home(self, session: str) -> int:
        return NAMES.index(sharding.order(session, self.addresses)[0])


@pytest.fixture
def fleet(start_gateway: StartGateway, exchange: Exchange) -> Fleet:
    return Fleet([start_gateway() for _ in NAMES], exchange)


@dataclass
class Adapter:
    """A client of all gateways with sessions of numbers, each read by a task of its own."""

    client: fairlead.Gateway
    stories: dict[str, Story] = field(default_factory=dict)

    def at(self, name: str) -> str:
        return self.stories[name].reader.shard

    async def streaming(self, name: str, epoch: int = 0, count: int = 100) -> None:
        """Returns when so many numbers have come in this epoch, from 0."""
        story = self.stories[name]
        await eventually(
            lambda: len(story.epochs()) > epoch and len(numbers(story.epochs()[epoch])) >= count,
            f"{name} has {count} numbers in epoch {epoch}",
        )

    async def lost(self, shard: str) -> None:
        await eventually(lambda: not self.client.shards[shard], f"{shard} is lost")

    async def back(self, shard: str) -> None:
        await eventually(lambda: self.client.shards[shard], f"{shard} is back")


@asynccontextmanager
async def adapter(
    fleet: Fleet, names: Sequence[str], move_after: float = 0.2, addresses: dict[str, str] | None = None
) -> AsyncIterator[Adapter]:
    """Opens a session for each name, at 500 numbers a second of a feed of its own."""
    client = fairlead.connect(addresses or fleet.addresses, move_after=move_after)
    async with AsyncExitStack() as stack:
        running = Adapter(await stack.enter_async_context(client))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        reading = []
        for name in names:
            url = f"{fleet.exchange.ws}/numbered?rate=500&feed={name}"
            session = await stack.enter_async_context(client.websocket(url, name=name, start=fairlead.OLDEST))
            running.stories[name] = Story(session)
            reading.append(tasks.create_task(running.stories[name].read()))
        yield running
        for task in reading:
            task.cancel()


def check_seams(story: Story, count: int = 1) -> int:
    """Journals, each whole; what is missing lies between them, where EPOCH_CHANGED stands; returns how much."""
    parts = story.epochs()
    assert len(parts) == count + 1
    assert not story.of(fairlead.Gap)
    for part in parts:
        kinds = fairlead.Frame | fairlead.StateChanged | fairlead.CommandResult
        sequences = [entry.sequence for entry in part if isinstance(entry, kinds)]
        assert sequences == list(range(1, len(sequences) + 1))
        seen = numbers(part)
        assert seen == list(range(seen[0], seen[-1] + 1))
    missing = 0
    for before, after in itertools.pairwise(parts):
        assert isinstance(after[0], fairlead.EpochChanged)
        assert after[0].start is fairlead.StartOutcome.EPOCH_CHANGED
        between = numbers(after)[0] - numbers(before)[-1] - 1
        assert between >= 0, "a number came twice"
        missing += between
    return missing


async def check_one_after_the_other(exchange: Exchange, name: str, count: int) -> None:
    """The exchange has seen so many connections of a session, and never two at once."""
    records = await exchange.connections(f"feed={name}")
    assert len(records) == count
    for one, two in itertools.pairwise(records):
        assert one["closed_at_unix_ns"] <= two["opened_at_unix_ns"], "two connections at once"


async def test_a_killed_gateway_moves_its_sessions_and_only_those(fleet: Fleet) -> None:
    """kill -9: frames go on from the next gateway in each session's order, and the seam is told; the others go on."""
    names = [f"venue-{number:02}" for number in range(12)]
    homes = {name: fleet.home(name) for name in names}
    assert set(homes.values()) == {0, 1, 2}
    async with adapter(fleet, names) as running:
        for name in names:
            await running.streaming(name)
            assert running.at(name) == NAMES[homes[name]]
        fleet.gateways[0].kill()
        for name in names:
            if homes[name] == 0:
                await running.streaming(name, epoch=1)
                assert running.at(name) == sharding.order(name, NAMES)[1]
                result = await running.stories[name].reader.send("x")  # type: ignore[attr-defined]
                assert result.outcome is fairlead.Outcome.WRITTEN
            else:
                await running.streaming(name, count=len(numbers(running.stories[name].entries)) + 100)
        assert running.client.shards == {NAMES[0]: False, NAMES[1]: True, NAMES[2]: True}
    for name in names:
        moved = homes[name] == 0
        story = running.stories[name]
        if moved:
            assert check_seams(story) > 0
        else:
            seen = numbers(story.entries)
            assert seen == list(range(seen[0], seen[-1] + 1))
            assert len(story.epochs()) == 1
            assert not story.of(fairlead.Detached)
        await check_one_after_the_other(fleet.exchange, name, 2 if moved else 1)


async def test_sigterm_moves_sessions_of_two_adapters_by_themselves(fleet: Fleet) -> None:
    """Without any patience: the gateway says so. What it had is read to its end, and what is missing is in the seam."""
    names = [name for name in (f"venue-{number:02}" for number in range(40)) if fleet.home(name) == 1][:8]
    stay = [name for name in (f"other-{number:02}" for number in range(40)) if fleet.home(name) != 1][:2]
    async with adapter(fleet, [*names[:4], stay[0]], NEVER) as one, adapter(fleet, [*names[4:], stay[1]], NEVER) as two:
        adapters = (one, two)
        for running in adapters:
            for name in running.stories:
                await running.streaming(name)
        assert await fleet.gateways[1].terminate() == 0
        for running in adapters:
            for name in set(names) & set(running.stories):
                await running.streaming(name, epoch=1)
                assert running.at(name) == sharding.order(name, NAMES)[1]
    for name in names:
        story = one.stories[name] if name in one.stories else two.stories[name]
        check_seams(story)
        # The last of the old journal: nothing of it is unread.
        states = [entry for entry in story.epochs()[0] if isinstance(entry, fairlead.StateChanged)]
        assert states[-1].state is SessionState.CLOSED
        assert states[-1].cause is not None
        assert states[-1].cause.reason is Reason.DRAINING
        first, second = await fleet.exchange.connections(f"feed={name}")
        assert first["closed_by"] == "peer_close"
        # What the exchange sent before its goodbye and after the new connection, all has come.
        assert numbers(story.epochs()[0])[-1] <= first["last_number"] < numbers(story.epochs()[1])[0]
        assert numbers(story.epochs()[1])[0] == second["first_number"]
        await check_one_after_the_other(fleet.exchange, name, 2)
    for name in stay:
        await check_one_after_the_other(fleet.exchange, name, 1)


async def test_restarts_in_a_row_lose_nothing_unseen(fleet: Fleet) -> None:
    """Gateways that are killed and drained in any order, each when the one before is back: a rollout, and worse."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    names = [f"venue-{number:02}" for number in range(8)]
    # Which shard a session is on, and how often it has moved.
    at = {name: sharding.order(name, NAMES)[0] for name in names}
    moves = dict.fromkeys(names, 0)
    async with adapter(fleet, names[:4]) as one, adapter(fleet, names[4:]) as two:
        running = {name: one if name in one.stories else two for name in names}
        for number in [*choose.sample(range(3), 3), *choose.choices(range(3), k=4)]:
            for name in names:
                await running[name].streaming(name, epoch=moves[name], count=20)
                assert running[name].at(name) == at[name]
            if choose.random() < 0.5:
                fleet.gateways[number].kill()
            else:
                assert await fleet.gateways[number].terminate() == 0
            for each in (one, two):
                await each.lost(NAMES[number])
            for name in names:
                if at[name] == NAMES[number]:
                    moves[name] += 1
                    at[name] = next(each for each in sharding.order(name, NAMES) if each != NAMES[number])
                    await running[name].streaming(name, epoch=moves[name], count=1)
            fleet.gateways[number].start()
            for each in (one, two):
                await each.back(NAMES[number])
    for name in names:
        check_seams(running[name].stories[name], moves[name])
        await check_one_after_the_other(fleet.exchange, name, moves[name] + 1)


async def test_back_again_it_gets_new_sessions_and_the_moved_ones_stay(fleet: Fleet) -> None:
    """And an adapter that takes a moved one over finds it where it is."""
    moved, new = [name for name in (f"venue-{number:02}" for number in range(40)) if fleet.home(name) == 2][:2]
    async with adapter(fleet, [moved]) as running:
        await running.streaming(moved)
        fleet.gateways[2].kill()
        await running.streaming(moved, epoch=1)
        second = running.at(moved)
        fleet.gateways[2].start()
        await running.back(NAMES[2])
        async with running.client.websocket(f"{fleet.exchange.ws}/idle", name=new) as session:
            assert session.shard == NAMES[2]
            listed = {each.name: each.shard for each in await running.client.sessions()}
            assert listed == {moved: second, new: NAMES[2]}
        assert running.at(moved) == second
        position = running.stories[moved].reader.position
    assert position is not None
    async with fairlead.connect(fleet.addresses) as client:
        url = f"{fleet.exchange.ws}/numbered?rate=500&feed={moved}"
        async with client.websocket(url, name=moved, start=position) as session:
            assert session.shard == second
            async for entry in session.events():
                if isinstance(entry, fairlead.Attached):
                    assert entry.start is fairlead.StartOutcome.RESUMED
                if isinstance(entry, fairlead.Frame):
                    assert int(entry.text) == numbers(running.stories[moved].entries)[-1] + 1
                    break
    await check_one_after_the_other(fleet.exchange, moved, 2)


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_a_reader_in_another_program_follows_the_owner(fleet: Fleet, end: str) -> None:
    """Also when it is there first, and looks for what is not open anywhere yet."""
    name = next(name for name in (f"venue-{number:02}" for number in range(40)) if fleet.home(name) == 0)
    async with (
        adapter(fleet, [name], move_after=1) as owner,
        fairlead.connect(fleet.addresses, move_after=0.1) as other,
        other.join(name, start=fairlead.OLDEST) as reader,
        asyncio.TaskGroup() as tasks,
    ):
        story = Story(reader)
        reading = tasks.create_task(story.read())
        await owner.streaming(name)
        if end == "kill":
            fleet.gateways[0].kill()
        else:
            assert await fleet.gateways[0].terminate() == 0
        await owner.streaming(name, epoch=1)
        await eventually(lambda: len(story.epochs()) == 2 and numbers(story.epochs()[1]), "the reader reads on")
        assert reader.shard == owner.at(name) != NAMES[0]
        reading.cancel()
    check_seams(story)
    check_seams(owner.stories[name])
    await check_one_after_the_other(fleet.exchange, name, 2)


async def test_with_all_gone_it_is_as_with_one(fleet: Fleet) -> None:
    name = next(name for name in (f"venue-{number:02}" for number in range(40)) if fleet.home(name) == 0)
    async with adapter(fleet, [name]) as running:
        await running.streaming(name)
        for gateway in fleet.gateways:
            gateway.kill()
        await eventually(lambda: not running.client.attached, "all are lost")
        session = running.stories[name].reader
        assert isinstance(session, fairlead.Session)
        with pytest.raises(fairlead.SendFailed):
            await session.send("now")
        with pytest.raises(fairlead.GatewayUnavailable):
            await running.client.sessions()
        with pytest.raises(fairlead.GatewayUnavailable) as failed:
            await running.client.http.get(f"{fleet.exchange.http}/status/204")
        assert not failed.value.may_have_been_sent
        with pytest.raises(fairlead.GatewayUnavailable, match="none of 3"):
            await fairlead.connect(fleet.addresses, connect_timeout=0.2).__aenter__()
        # Home is not the one that comes back.
        fleet.gateways[1].start()
        await running.streaming(name, epoch=1)
        assert session.shard == NAMES[1]
    check_seams(running.stories[name])


async def test_requests_of_one_origin_share_a_gateways_connections(fleet: Fleet) -> None:
    """And go past a gateway that is gone."""
    url = f"{fleet.exchange.http}/status/204"
    async with fairlead.connect(fleet.addresses, move_after=NEVER) as client:
        for _ in range(10):
            assert (await client.http.get(url)).status == 204
        assert len(await fleet.exchange.http_connections()) == 1
        home = NAMES.index(sharding.order(sharding.origin(url), NAMES)[0])
        fleet.gateways[home].kill()
        await eventually(lambda: not client.shards[NAMES[home]], "the loss is noticed")
        assert (await client.http.get(url)).status == 204
        assert len(await fleet.exchange.http_connections()) == 2


class Wire:
    """A way to a gateway that can be cut, and mended."""

    def __init__(self, path: Path, to: Gateway) -> None:
        self.address = f"unix://{path}"
        self._path = path
        self._to = to
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def mend(self) -> None:
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._to.unix)
        self._writers += [writer, far_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(1 << 16):
                    sink.write(piece)
                    await sink.drain()
            except OSError:
                pass
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def test_one_that_is_cut_off_for_us_alone_is_tidied_up_when_it_is_back(fleet: Fleet, scratch: Path) -> None:
    """Its session is open twice until then: the gateway cannot know. After that it is once."""
    name = next(name for name in (f"venue-{number:02}" for number in range(40)) if fleet.home(name) == 0)
    wire = Wire(scratch / "wire.sock", fleet.gateways[0])
    await wire.mend()
    addresses = fleet.addresses | {NAMES[0]: wire.address}
    try:
        async with adapter(fleet, [name], addresses=addresses) as running:
            await running.streaming(name)
            # A short cut changes nothing.
            await wire.cut()
            await wire.mend()
            await eventually(lambda: len(running.stories[name].of(fairlead.Attached)) == 2, "it is back")
            assert len(await fleet.exchange.connections(f"feed={name}")) == 1
            await wire.cut()
            await eventually(lambda: running.stories[name].of(fairlead.EpochChanged), "it has moved")

            async def open_now() -> list[int]:
                records = await fleet.exchange.connections(f"feed={name}")
                return [index for index, record in enumerate(records) if record["state"] == "open"]

            assert await open_now() == [0, 1]
            await wire.mend()

            async def once() -> bool:
                return await open_now() == [1]

            await eventually(once, "what was left is closed")
            assert running.at(name) != NAMES[0]
    finally:
        await wire.cut()
