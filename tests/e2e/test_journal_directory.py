"""With a journal directory the gateway's end, in order or by kill -9, takes nothing that it had received."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

import fairlead
from fairlead import SessionState
from fairlead.v1.enums import StartOutcome
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually, run
from tests.e2e.resuming import Mortal, recorder
from tests.e2e.test_restart import Story

KILLS = 5
FEED = "/numbered?rate=3000&size=100&feed=disk"
# Bytes of the recorder's file, a line has about 50; and numbers behind the last kill.
BETWEEN_KILLS = 1_000 * 50
BEHIND = 1_000
# The outages of a test are short, and nothing is to leave memory, so that what is missing was lost.
QUICK = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0)
ROOMY = fairlead.Retention(journal_bytes=2**27)


@pytest.fixture
def directory(scratch: Path) -> Path:
    return scratch / "journals"


@pytest.fixture
def gateway(start_gateway: StartGateway, directory: Path) -> Gateway:
    return start_gateway(kept_in(directory))


def kept_in(directory: Path) -> Mapping[str, object]:
    return {"journal_directory": {"path": str(directory)}}


Journals = dict[str, list[tuple[int, int | None]]]


def journals_of(entries: list[fairlead.Entry]) -> Journals:
    """Of each epoch, in order, sequence and number (None: no frame) of each entry."""
    found: Journals = {}
    here: list[tuple[int, int | None]] = []
    for entry in entries:
        match entry:
            case fairlead.Attached():
                here = found.setdefault(entry.epoch, [])
            case fairlead.Frame():
                here.append((entry.sequence, int(entry.payload.split()[0])))
            case fairlead.StateChanged() | fairlead.CommandResult():
                here.append((entry.sequence, None))
            case fairlead.Gap():
                raise AssertionError(f"{entry}: nothing has left the journals")
    return found


def check(journals: Journals, kills: int) -> None:
    """Each epoch from its first entry without a hole; numbers are missing between epochs alone."""
    assert len(journals) == kills + 1
    before = 0
    for entries in journals.values():
        assert [sequence for sequence, _ in entries] == list(range(1, len(entries) + 1)), "lost or repeated"
        numbers = [number for _, number in entries if number is not None]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] > before, "a number of another epoch came again"
        before = numbers[-1]


async def flowing(exchange: Exchange, connections: int) -> None:
    """Waits until there are so many, old ones included, and numbers came on each."""

    async def flow() -> bool:
        found = await exchange.connections()
        moving = [each for each in found if (each["last_number"] or 0) > (each["first_number"] or 0)]
        return len(moving) == len(found) == connections

    await eventually(flow, f"numbers on {connections} connections")


async def kill_under_load(gateway: Gateway, exchange: Exchange, adapter: Mortal, choose: random.Random) -> None:
    """kill -9 of the gateway while numbers flow on both sessions; and of the adapter, before, after or not at all."""
    process = adapter.start()

    async def kill_adapter() -> None:
        nonlocal process
        process.kill()
        await asyncio.to_thread(process.wait, PATIENCE_S)
        process = adapter.start()

    try:
        for kill in range(KILLS):
            await flowing(exchange, 2 * (kill + 1))
            await adapter.grown(process, adapter.size + choose.randrange(1, BETWEEN_KILLS))
            order = choose.choice(["before", "after", "not"])
            if order == "before":
                await kill_adapter()
                # A moment of its start: nothing waits for it.
                await asyncio.sleep(choose.uniform(0, 0.4))
            gateway.kill()
            gateway.start()
            if order == "after":
                await kill_adapter()
        await flowing(exchange, 2 * (KILLS + 1))
    finally:
        process.kill()
        process.wait()


def recorded_by(adapter: Mortal) -> tuple[Journals, int]:
    """What its file holds, and how many seams."""
    journals: Journals = {}
    seams = 0
    for epoch, sequence, what, *words in adapter.lines():
        assert what != "gap"
        seams += what == "epoch_changed"
        if what not in {"attached", "epoch_changed", "Detached"}:
            number = int(words[0]) if what == "number" else None
            journals.setdefault(epoch, []).append((int(sequence), number))
    return journals, seams


@pytest.mark.parametrize("endpoint", ["ws", "tls"], indirect=True)
async def test_kill_under_load(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint, scratch: Path, seed: int
) -> None:
    """kill -9 again and again: one adapter lives, one is killed as well; both have each epoch whole, and each seam."""
    choose = random.Random(seed)
    file = scratch / "recording"
    options = {"name": "md", "reconnect": QUICK, "retention": ROOMY, "open_timeout": PATIENCE_S}
    async with (
        endpoint.session(client, FEED, start=fairlead.OLDEST, **options) as session,
        asyncio.TaskGroup() as tasks,
    ):
        story = Story(session)
        reading = tasks.create_task(story.read())
        endless = recorder(gateway.address, endpoint, FEED, 10**9, file)
        await kill_under_load(gateway, endpoint.exchange, endless, choose)
        (feed,) = (await endpoint.exchange.command("GET", "/feeds"))["feeds"]
        last = feed["head"] + BEHIND
        adapter = recorder(gateway.address, endpoint, FEED, last, file)
        process = adapter.start()
        try:
            assert await asyncio.to_thread(process.wait, 2 * PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()
        await eventually(lambda: reached(story, last), "the last number")
        reading.cancel()
        survivor = journals_of(story.entries)
        check(survivor, KILLS)
        assert len(story.of(fairlead.EpochChanged)) == KILLS
        resumed = [each for each in story.of(fairlead.Attached) if each.start is StartOutcome.RESUMED]
        assert [each.former for each in resumed] == [True] * KILLS

        # Who has nothing yet is given all of it: from the directory, and then from the live session.
        async with client.join("md", start=fairlead.After(next(iter(survivor)), 0)) as late:
            told = Story(late)
            telling = tasks.create_task(told.read())
            await eventually(lambda: reached(told, last), "all of it, again")
            telling.cancel()
        again = journals_of(told.entries)
        check(again, KILLS)
        for epoch, entries in survivor.items():
            shorter = min(len(entries), len(again[epoch]))
            assert entries[:shorter] == again[epoch][:shorter]
            # The live one is cut where each of the two stopped reading.
            assert epoch == session.epoch or len(entries) == len(again[epoch])
    recorded, seams = recorded_by(adapter)
    check(recorded, KILLS)
    assert seams == KILLS


def reached(story: Story, number: int) -> bool:
    last = next((entry for entry in reversed(story.entries) if isinstance(entry, fairlead.Frame)), None)
    return last is not None and int(last.payload.split()[0]) >= number


async def test_an_adapter_that_was_away_is_given_every_epoch_between(
    gateway: Gateway, client: fairlead.Gateway, exchange: Exchange
) -> None:
    """Started behind an entry of a journal that has been over for two processes; and what it asks for is live."""
    endpoint = Endpoint("ws", exchange)
    target = "/echo"
    async with endpoint.session(client, target, name="md", start=fairlead.OLDEST) as session:
        await session.send("first")
        async for frame in session:
            assert frame.text == "first"
            break
        position = session.position
        assert position is not None
        await session.send("second")
        async for frame in session:
            if frame.text == "second":
                break
        for words in ("third", "fourth"):
            gateway.kill()
            await eventually(lambda: not session.attached, "the loss is noticed")
            gateway.start()
            await session.send(words, max_wait=PATIENCE_S)
            async for frame in session:
                if frame.text == words:
                    break
    async with client.join("md", start=position) as reader:
        heard: list[str] = []
        async for entry in reader.events():
            match entry:
                case fairlead.Attached():
                    heard.append(f"{entry.start.name} former={entry.former} at {entry.position}")
                    assert entry.state is SessionState.OPEN, "what is, whatever was"
                case fairlead.Frame():
                    heard.append(entry.text)
            if heard[-1] == "fourth":
                break
        assert reader.state is SessionState.OPEN
        assert reader.position is not None
        assert reader.position.epoch == reader.epoch
    assert heard == [
        f"RESUMED former=True at {position.sequence}",
        "second",
        "EPOCH_CHANGED former=True at 0",
        "third",
        "EPOCH_CHANGED former=False at 0",
        "fourth",
    ]


async def test_commands_go_to_the_session_as_it_is_now(
    gateway: Gateway, client: fairlead.Gateway, exchange: Exchange
) -> None:
    """Also while the past is still being told: each is written once, and its result comes behind the seam."""
    endpoint = Endpoint("ws", exchange)
    async with endpoint.session(client, "/echo", name="md", start=fairlead.OLDEST) as session:
        start = fairlead.After(session.epoch or "", 0)
        for number in range(50):
            await session.send(f"{number}")
        async for frame in session:
            if frame.text == "49":
                break
    gateway.kill()
    gateway.start()
    async with (
        fairlead.connect(gateway.address) as another,
        endpoint.session(another, "/echo", name="md", start=start) as session,
    ):
        sent = [await session.send(f"again {number}") for number in range(10)]
        results: list[fairlead.CommandResult] = []
        epochs = 0
        async for entry in session.events():
            epochs += isinstance(entry, fairlead.EpochChanged)
            if isinstance(entry, fairlead.CommandResult) and epochs:
                results.append(entry)
            if isinstance(entry, fairlead.Frame) and entry.text == "again 9":
                break
    assert epochs == 1
    assert [result.sequence for result in results] == [each.sequence for each in sent]
    record = await exchange.connection()
    assert [frame["text"] for frame in record["frames"]] == [f"again {number}" for number in range(10)]


async def test_an_end_in_order_is_told_too(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    """SIGTERM: the journal's last entry is CLOSED, for whoever comes after; then the seam."""
    endpoint = Endpoint("ws", exchange)
    async with endpoint.session(client, "/echo", name="md", start=fairlead.OLDEST) as session:
        start = fairlead.After(session.epoch or "", 3)
    assert await gateway.terminate() == 0
    gateway.start()
    async with (
        fairlead.connect(gateway.address) as another,
        endpoint.session(another, "/echo", name="md", start=start) as session,
    ):
        heard: list[fairlead.Entry] = []
        async for entry in session.events():
            heard.append(entry)
            if isinstance(entry, fairlead.EpochChanged):
                break
    resumed, closed, changed = heard
    assert isinstance(resumed, fairlead.Attached)
    assert isinstance(closed, fairlead.StateChanged)
    assert closed.state is SessionState.CLOSED
    assert isinstance(changed, fairlead.EpochChanged)


async def test_without_room_the_session_goes_on_in_memory(
    start_gateway: StartGateway, exchange: Exchange, directory: Path
) -> None:
    """No file may become so long as a segment: told once, and nothing else is different."""
    gateway = start_gateway(kept_in(directory), start=False)
    gateway.start(prefix=["prlimit", "--fsize=32768"])
    endpoint = Endpoint("ws", exchange)
    async with (
        fairlead.connect(gateway.address) as client,
        endpoint.session(client, "/echo", name="md", start=fairlead.OLDEST) as session,
    ):
        for number in range(10):
            await session.send(f"{number}")
        async for frame in session:
            if frame.text == "9":
                break
        assert gateway.log.count("journals.failed") == 1
        assert gateway.log.count("File too large") == 1


def test_the_directory_is_one_process_s_own(
    gateway: Gateway, start_gateway: StartGateway, directory: Path, scratch: Path
) -> None:
    """What cannot be a journal directory is an error at the start, and the other gateway goes on."""
    file = scratch / "file"
    file.touch()
    for path, why in (
        (directory, "is in use by another process"),
        (file, "cannot be written: Not a directory"),
        (scratch / "not" / "there", "cannot be made: No such file or directory"),
    ):
        other = start_gateway(kept_in(path), start=False)
        with pytest.raises(AssertionError, match="did not start, status 1"):
            other.start()
        assert other.log.splitlines()[-1] == f'fairlead: journal_directory.path: "{path}" {why}'
        other.kill()
    assert gateway.running
    # Not even its own user's others may look: frames may be anything.
    assert directory.stat().st_mode & 0o777 == 0o700
    assert run("fairlead", "--check-config", gateway.config_file).returncode == 0, "a check takes no lock"
