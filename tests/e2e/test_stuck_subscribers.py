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
FRAME_BYTES = 64 * 1024
# 64 frames.
JOURNAL_BYTES = 4 * 2**20
# The stopped ones stop behind the first; after the second they lag; after the third they are passed; the last is live.
PHASES = (4, 50, 260, 261)
# So many are sent before the others must have them: the journal passes only those that do not read.
AT_ONCE = 16
# What may have been taken for one that does not read: HTTP/2's window and one write. The feed has 16 MB.
UNDER_WAY = 2**19 // FRAME_BYTES
# The journal, three times. Were the feed kept for those that do not read, it would be 48 MB.
MEMORY_BYTES = 3 * JOURNAL_BYTES


async def keep(reader: fairlead.Reader, account: list[list[str]]) -> None:
    """What tests/e2e/subscriber.py does, in this process."""
    async for entry in reader.events():
        account.append(told(entry).split())
        if account[-1][-1] == str(PHASES[-1]):
            return


@pytest.mark.parametrize("endpoint", ["ws", "tcp"], indirect=True)
@pytest.mark.parametrize("overflow", [fairlead.Overflow.SKIP, fairlead.Overflow.DETACH], ids=["skip", "detach"])
async def test_stopped_processes(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint, scratch: Path, overflow: fairlead.Overflow
) -> None:
    exchange = endpoint.exchange
    retention = fairlead.Retention(journal_bytes=JOURNAL_BYTES, linger=0)
    accounts: list[list[list[str]]] = [[] for _ in range(READERS)]
    filling = " " + "x" * (FRAME_BYTES - 4)
    sent = 0

    async def feed(last: int) -> None:
        """Up to this number; the others have all of it in the end."""
        nonlocal sent

        def all_have_it() -> bool:
            return all(account[-1][-1] == str(sent) for account in accounts)

        while sent < last:
            for _ in range(min(AT_ONCE, last - sent)):
                sent += 1
                await exchange.send(text=str(sent) + filling)
            await eventually(all_have_it, f"the others have {sent}")

    async with AsyncExitStack() as stack:
        owner = endpoint.session(client, "/idle", name="many", retention=retention)
        await stack.enter_async_context(owner)
        readers: list[fairlead.Reader] = [owner]
        for _ in range(READERS - 1):
            connection = await stack.enter_async_context(fairlead.connect(gateway.address))
            readers.append(await stack.enter_async_context(connection.join("many")))
        stopped = []
        for at in range(STOPPED):
            each = Stoppable.start(gateway.address, "many", overflow, PHASES[-1], scratch / f"account-{at}")
            stack.callback(each.kill)
            stopped.append(each)
        for each in stopped:
            await each.tells("attached")
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for reader, account in zip(readers, accounts, strict=True):
            tasks.create_task(keep(reader, account))
        await eventually(lambda: all(accounts), "they read")

        await feed(PHASES[0])
        for each in stopped:
            await each.tells("entry", str(PHASES[0]))
            each.stop()
        memory = gateway.resident_bytes

        await feed(PHASES[1])
        session = await client.session("many")
        behind = [each for each in session.subscribers if each.sequence != session.head_sequence]
        assert (len(session.subscribers), len(behind)) == (READERS + STOPPED, STOPPED)
        for seen in behind:
            assert PHASES[1] - PHASES[0] - UNDER_WAY < seen.lag_entries == session.head_sequence - seen.sequence
            assert seen.lag_bytes > seen.lag_entries * FRAME_BYTES
            assert seen.lag > 0

        await feed(PHASES[2])
        session = await client.session("many")
        assert session.journal_bytes <= JOURNAL_BYTES
        assert gateway.resident_bytes - memory < MEMORY_BYTES
        still = [each for each in session.subscribers if each.sequence != session.head_sequence]
        if overflow is fairlead.Overflow.SKIP:
            # Nothing was taken for them since.
            assert sorted(each.sequence for each in still) == sorted(each.sequence for each in behind)
            assert {each.lag_bytes for each in still} == {session.journal_bytes}
        else:
            assert still == []

        for each in stopped:
            each.go_on()
        for each in stopped:
            await each.tells("entry", str(PHASES[2]))
        await feed(PHASES[3])
        for each in stopped:
            assert await each.exit_code() == 0

    for account in accounts:
        assert check_account(account, PHASES[-1]) == []
    for each in stopped:
        lines = each.lines()
        ((first, to),) = check_account(lines, PHASES[-1])
        assert first - 1 in {seen.sequence for seen in behind}
        assert to == session.oldest_sequence - 1
        turns = [line for line in lines if line[0] in {"attached", "ended"}]
        if overflow is fairlead.Overflow.SKIP:
            assert len(turns) == 1
        else:
            _, ended, again = turns
            assert ended[1] == "OVERFLOW"
            assert f"after sequence {first - 1} of epoch {owner.epoch}," in " ".join(ended)
            assert again == ["attached", "RESUMED", str(first - 1)]
    assert len(await exchange.connections()) == 1
