"""Subscribers whose processes stand still: the others notice nothing, and what they missed they are told exactly."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import fairlead
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Gateway, eventually
from tests.e2e.stopping import Stoppable, check_account
from tests.e2e.subscriber import told

READERS = 9
STOPPED = 3
NUMBERS = 12_000
FRAME_BYTES = 1000
FEED = f"/numbered?rate=4000&count={NUMBERS}&size={FRAME_BYTES}&start=subscribe"
# A second of the feed.
JOURNAL_BYTES = 4 * 2**20
# What may have been taken for one that does not read: HTTP/2's window and one write. The feed has 12 MB.
UNDER_WAY_BYTES = 2**19
# The journal, three times. Were the feed kept for those that do not read, it would be 36 MB.
MEMORY_BYTES = 3 * JOURNAL_BYTES


async def keep(reader: fairlead.Reader, account: list[list[str]]) -> None:
    """What tests/e2e/subscriber.py does, in this process."""
    async for entry in reader.events():
        account.append(told(entry).split())
        if account[-1][-1] == str(NUMBERS + 1):
            return


@pytest.mark.parametrize("endpoint", ["ws", "tcp"], indirect=True)
@pytest.mark.parametrize("overflow", [fairlead.Overflow.SKIP, fairlead.Overflow.DETACH], ids=["skip", "detach"])
async def test_stopped_processes(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint, scratch: Path, overflow: fairlead.Overflow
) -> None:
    delivery = fairlead.Delivery(max_delay=0.02)
    retention = fairlead.Retention(journal_bytes=JOURNAL_BYTES, linger=0)
    accounts: list[list[list[str]]] = [[] for _ in range(READERS)]
    async with AsyncExitStack() as stack:
        owner = endpoint.session(client, FEED, name="many", delivery=delivery, retention=retention)
        await stack.enter_async_context(owner)
        readers: list[fairlead.Reader] = [owner]
        for _ in range(READERS - 1):
            connection = await stack.enter_async_context(fairlead.connect(gateway.address))
            readers.append(await stack.enter_async_context(connection.join("many", delivery=delivery)))
        stopped = []
        for at in range(STOPPED):
            each = Stoppable.start(gateway.address, "many", overflow, NUMBERS + 1, scratch / f"account-{at}")
            stack.callback(each.kill)
            stopped.append(each)
        for each in stopped:
            await each.tells("attached")
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for reader, account in zip(readers, accounts, strict=True):
            tasks.create_task(keep(reader, account))
        memory = gateway.resident_bytes
        await owner.send("subscribe")

        for each in stopped:
            await each.tells("entry", "100")
            each.stop()
        before = [each.sequence() for each in stopped]

        async def seen() -> list[fairlead.Subscriber]:
            """Those that are stopped, as others see them; fewer when they were ended."""
            session = await client.session("many")
            assert session.journal_bytes <= JOURNAL_BYTES
            for each in session.subscribers:
                assert each.lag_entries == session.head_sequence - each.sequence
            return [each for each in session.subscribers if each.lag_entries > NUMBERS // 10]

        async def stuck() -> list[fairlead.Subscriber]:
            found = await seen()
            return found if len(found) == STOPPED else []

        for subscriber in await eventually(stuck, "the stopped ones lag, and are seen to"):
            assert subscriber.lag_bytes > 0
            assert subscriber.lag > 0
        await eventually(lambda: all(account[-1][-1] == str(NUMBERS) for account in accounts), "the others have all")
        lagging = await seen()
        oldest = (await client.session("many")).oldest_sequence
        assert gateway.resident_bytes - memory < MEMORY_BYTES

        for each in stopped:
            each.go_on()
        for each in stopped:
            await each.tells("entry", str(NUMBERS))
        await endpoint.exchange.send(text=str(NUMBERS + 1))
        for each in stopped:
            assert await each.exit_code() == 0

    for account in accounts:
        assert check_account(account, NUMBERS + 1) == []
    for each, sequence in zip(stopped, before, strict=True):
        lines = each.lines()
        ((first, to),) = check_account(lines, NUMBERS + 1)
        assert to == oldest - 1
        assert (first - sequence) * FRAME_BYTES < UNDER_WAY_BYTES
        ended = [line for line in lines if line[0] in {"ended", "attached"}]
        if overflow is fairlead.Overflow.SKIP:
            assert first - 1 in {subscriber.sequence for subscriber in lagging}
            assert len(ended) == 1
        else:
            assert not lagging
            (_, end, again) = ended
            assert end[1] == "OVERFLOW"
            assert f"after sequence {first - 1} of epoch {owner.epoch}," in " ".join(end)
            assert again == ["attached", "RESUMED", str(first - 1)]
    assert len(await endpoint.exchange.connections()) == 1
