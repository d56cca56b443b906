"""Subscribers whose processes stand still: the others notice nothing, and what they missed they are told exactly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fairlead
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Exchange, Gateway, eventually
from tests.e2e.stopping import Stoppable, check_account
from tests.e2e.subscriber import told

READERS = 9
STOPPED = 3
FRAME_BYTES = 64 * 1024
# 64 frames.
JOURNAL_BYTES = 4 * 2**20
# So many are sent before the others must have them: the journal passes only those that do not read.
AT_ONCE = 16
# The stopped ones stop behind the first of these numbers, lag after the second, are passed before the third, and go on
# with the last.
STOP, LAG, PASSED, LIVE = 4, 50, 260, 261
# What may have been taken for one that does not read: HTTP/2's window and one write. The feed has 16 MB.
UNDER_WAY = 2**19 // FRAME_BYTES
# The journal, three times. Were the feed kept for those that do not read, it would be 48 MB.
MEMORY_BYTES = 3 * JOURNAL_BYTES


async def keep(reader: fairlead.Reader, account: list[list[str]]) -> None:
    """What tests/e2e/subscriber.py does, in this process."""
    async for entry in reader.events():
        account.append(told(entry).split())
        if account[-1][-1] == str(LIVE):
            return


@dataclass
class Crowd:
    """The subscribers of one session: those that read, by their accounts, and those that are to be stopped."""

    exchange: Exchange
    client: fairlead.Gateway
    epoch: str
    accounts: list[list[list[str]]] = field(default_factory=list)
    stoppable: list[Stoppable] = field(default_factory=list)
    sent: int = 0

    async def feed(self, last: int) -> None:
        """Up to this number; the others have all of it in the end."""
        while self.sent < last:
            for _ in range(min(AT_ONCE, last - self.sent)):
                self.sent += 1
                await self.exchange.send(text=f"{self.sent} {'x' * (FRAME_BYTES - 4)}")
            await eventually(self._all_have_it, f"the others have {self.sent}")

    def _all_have_it(self) -> bool:
        return all(account[-1][-1] == str(self.sent) for account in self.accounts)

    async def session(self) -> fairlead.SessionSummary:
        return await self.client.session("many")

    async def stop_some(self) -> None:
        await self.feed(STOP)
        for each in self.stoppable:
            await each.tells("entry", str(STOP))
            each.stop()

    async def lagging(self) -> list[int]:
        """Checks that the stopped ones are seen to lag; returns the last sequence that each was given."""
        await self.feed(LAG)
        session = await self.session()
        behind = [each for each in session.subscribers if each.sequence != session.head_sequence]
        assert (len(session.subscribers), len(behind)) == (READERS + STOPPED, STOPPED)
        for each in behind:
            assert LAG - STOP - UNDER_WAY < each.lag_entries == session.head_sequence - each.sequence
            assert each.lag_bytes > each.lag_entries * FRAME_BYTES
            assert each.lag > 0
        return sorted(each.sequence for each in behind)

    async def go_on(self) -> None:
        for each in self.stoppable:
            each.go_on()
        for each in self.stoppable:
            await each.tells("entry", str(PASSED))


@asynccontextmanager
async def gathered(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint, overflow: fairlead.Overflow, scratch: Path
) -> AsyncIterator[Crowd]:
    """In the end one more number comes to all; the others missed nothing, over one connection to the exchange."""
    async with AsyncExitStack() as stack:
        retention = fairlead.Retention(journal_bytes=JOURNAL_BYTES, linger=0)
        owner = endpoint.session(client, "/idle", name="many", retention=retention)
        await stack.enter_async_context(owner)
        crowd = Crowd(endpoint.exchange, client, owner.epoch or "")
        readers: list[fairlead.Reader] = [owner]
        for _ in range(READERS - 1):
            connection = await stack.enter_async_context(fairlead.connect(gateway.address))
            readers.append(await stack.enter_async_context(connection.join("many")))
        for at in range(STOPPED):
            each = Stoppable.start(gateway.address, "many", overflow, LIVE, scratch / f"account-{at}")
            stack.callback(each.kill)
            crowd.stoppable.append(each)
        for each in crowd.stoppable:
            await each.tells("attached")
        reading = await stack.enter_async_context(asyncio.TaskGroup())
        for reader in readers:
            crowd.accounts.append([])
            reading.create_task(keep(reader, crowd.accounts[-1]))
        await eventually(lambda: all(crowd.accounts), "the others read")
        yield crowd
        await crowd.feed(LIVE)
        for each in crowd.stoppable:
            assert await each.exit_code() == 0
    for account in crowd.accounts:
        assert check_account(account, LIVE) == []
    assert len(await crowd.exchange.connections()) == 1


@pytest.mark.parametrize("endpoint", ["ws", "tcp"], indirect=True)
@pytest.mark.parametrize("overflow", [fairlead.Overflow.SKIP, fairlead.Overflow.DETACH], ids=["skip", "detach"])
async def test_stopped_processes(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint, scratch: Path, overflow: fairlead.Overflow
) -> None:
    async with gathered(gateway, client, endpoint, overflow, scratch) as crowd:
        await crowd.stop_some()
        memory = gateway.resident_bytes
        given = await crowd.lagging()
        await crowd.feed(PASSED)
        assert gateway.resident_bytes - memory < MEMORY_BYTES
        session = await crowd.session()
        assert session.journal_bytes <= JOURNAL_BYTES
        behind = [each for each in session.subscribers if each.sequence != session.head_sequence]
        if overflow is fairlead.Overflow.SKIP:
            # Nothing was taken for them since.
            assert sorted(each.sequence for each in behind) == given
            assert {each.lag_bytes for each in behind} == {session.journal_bytes}
        else:
            assert behind == []
        await crowd.go_on()

    for each in crowd.stoppable:
        lines = each.lines()
        ((first, to),) = check_account(lines, LIVE)
        assert first - 1 in given
        assert to == session.oldest_sequence - 1
        turns = [line for line in lines if line[0] in {"attached", "ended"}]
        if overflow is fairlead.Overflow.SKIP:
            assert len(turns) == 1
        else:
            _, ended, again = turns
            assert ended[1] == "OVERFLOW"
            assert f"after sequence {first - 1} of epoch {crowd.epoch}," in " ".join(ended)
            assert again == ["attached", "RESUMED", str(first - 1)]


@pytest.mark.parametrize("endpoint", ["ws"], indirect=True)
@pytest.mark.parametrize("overflow", [fairlead.Overflow.SKIP, fairlead.Overflow.DETACH], ids=["skip", "detach"])
async def test_stopped_until_their_streams_are_cancelled(
    start_gateway: StartGateway, endpoint: Endpoint, scratch: Path, overflow: fairlead.Overflow
) -> None:
    """limits.stuck_write: they leave the session, whatever their policy, and come back at what they have."""
    gateway = start_gateway({"limits": {"stuck_write": "2s"}})
    async with (
        fairlead.connect(gateway.address) as client,
        gathered(gateway, client, endpoint, overflow, scratch) as crowd,
    ):
        await crowd.stop_some()
        given = await crowd.lagging()

        async def gone() -> bool:
            return len((await crowd.session()).subscribers) == READERS

        await eventually(gone, "the streams that are stuck are cancelled")
        assert gateway.log.count("stream.stuck") == STOPPED
        await crowd.feed(PASSED)
        session = await crowd.session()
        await crowd.go_on()

    for each in crowd.stoppable:
        lines = each.lines()
        ((first, to),) = check_account(lines, LIVE)
        # What was under way may have been dropped with the stream.
        assert first - 1 <= max(given)
        assert to == session.oldest_sequence - 1
        _, detached, again = [line for line in lines if line[0] in {"attached", "detached", "ended"}]
        assert detached == ["detached"]
        assert again == ["attached", "RESUMED", str(first - 1)]
