"""Many subscribers of one session, with and without some among them whose processes stand still.

`python -m tests.proof.subscribers GATEWAY READERS FILE`: so many readers, each with a connection and a stream of its
own. They keep how long each number took from the exchange to them, in ns.
"""

import array
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import fairlead
from fairlead import Overflow
from tests.e2e.processes import ROOT, Exchange, Gateway
from tests.e2e.stopping import Stoppable, check_account

SUBSCRIBERS = 50
STOPPED = 3
READERS = SUBSCRIBERS - STOPPED
PROCESSES = 2
RATE = 2_000
SPACE_NS = 10**9 // RATE
FRAME_BYTES = 150
NUMBERS = 6_000
# When this number comes, those to be stopped stand still; measured is from here on.
FIRST = 2_000
# 1.2 s of the feed.
JOURNAL_BYTES = 512 * 1024
# With less, 47 streams to Python leave two cores nothing to spare, and the figures tell of the machine alone.
DELAY_S = 0.02
NAME = "many"


async def follow(reader: fairlead.Reader, took: "array.array[int]") -> None:
    expected = 1
    async for batch in reader.batches():
        now = time.monotonic_ns()
        if batch.payloads[0].startswith(b"{"):
            # The answer to the subscription: a number may have come with it.
            batch = batch.tail(len(batch) - 1)
            if not batch.payloads:
                continue
        number, stamp = batch.payloads[0].split(b" ", 2)[:2]
        assert int(number) == expected, f"{number.decode()} came in place of {expected}"
        expected += len(batch)
        if int(number) >= FIRST:
            # Numbers are due evenly.
            longest = now - int(stamp)
            took.extend(range(longest, longest - len(batch) * SPACE_NS, -SPACE_NS))
        if expected > NUMBERS:
            return


async def read(gateway: str, readers: int) -> "array.array[int]":
    took = array.array("q")
    async with AsyncExitStack() as stack:
        joined = []
        for _ in range(readers):
            client = await stack.enter_async_context(fairlead.connect(gateway))
            delivery = fairlead.Delivery(max_delay=DELAY_S)
            joined.append(await stack.enter_async_context(client.join(NAME, delivery=delivery)))
        print("ready", flush=True)
        async with asyncio.TaskGroup() as tasks:
            for reader in joined:
                tasks.create_task(follow(reader, took))
    return took


@dataclass
class Reading:
    """The process above."""

    process: asyncio.subprocess.Process
    file: Path

    @staticmethod
    async def start(gateway: str, readers: int, file: Path) -> "Reading":
        command = [sys.executable, "-m", "tests.proof.subscribers", gateway, str(readers), str(file)]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        return Reading(process, file)

    async def ready(self) -> None:
        assert self.process.stdout is not None
        assert (await self.process.stdout.readline()).split() == [b"ready"]

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()


@dataclass
class Pass:
    """What one pass of the feed gave."""

    took_ns: list[int]
    peak_bytes: int
    # Of each that was stopped: numbers that it missed, and bytes that were taken for it when it no longer read.
    missed: list[int]
    under_way: list[int]

    @property
    def p99_ms(self) -> float:
        return self.took_ns[len(self.took_ns) * 99 // 100] / 1e6


async def pass_by(gateway: Gateway, exchange: Exchange, overflow: Overflow | None, scratch: Path) -> Pass:
    """One pass of the feed; with an overflow policy there are three more subscribers, which are stopped."""
    tag = f"tag={scratch.name}"
    url = f"{exchange.ws}/numbered?rate={RATE}&count={NUMBERS}&size={FRAME_BYTES}&stamp=1&feed=&start=subscribe&{tag}"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(fairlead.connect(gateway.address))
        retention = fairlead.Retention(journal_bytes=JOURNAL_BYTES)
        owner = client.websocket(url, name=NAME, retention=retention, max_message_bytes=JOURNAL_BYTES // 8)
        await stack.enter_async_context(owner)
        stopped = []
        for at in range(STOPPED if overflow else 0):
            each = Stoppable.start(
                gateway.address, NAME, overflow or Overflow.SKIP, NUMBERS + 1, scratch / f"account-{at}"
            )
            stack.callback(each.kill)
            stopped.append(each)
        reading = []
        for at in range(PROCESSES):
            readers = READERS // PROCESSES + (at < READERS % PROCESSES)
            process = await Reading.start(gateway.address, readers, scratch / f"took-{at}")
            stack.callback(process.kill)
            reading.append(process)
        for process in reading:
            await process.ready()
        for each in stopped:
            await each.tells("attached")

        await owner.send("subscribe")
        # From here on nobody is there but the subscribers.
        await owner.aclose()
        for each in stopped:
            await each.tells("entry", "100")
            each.stop()
        before = [each.sequence() for each in stopped]
        (feed,) = await exchange.connections(tag)
        assert (feed["last_number"] or 0) < FIRST, "they were stopped too late"
        for process in reading:
            assert await process.process.wait() == 0
        peak_bytes = gateway.peak_bytes

        session = await client.session(NAME)
        assert session.journal_bytes <= JOURNAL_BYTES
        lagging = {each.sequence for each in session.subscribers}
        for each in stopped:
            each.go_on()
        for each in stopped:
            await each.tells("entry", str(NUMBERS))
        await exchange.send({"target": tag}, text=str(NUMBERS + 1))
        missed, under_way = [], []
        for each, sequence in zip(stopped, before, strict=True):
            assert await each.exit_code() == 0
            ((first, to),) = check_account(each.lines(), NUMBERS + 1)
            assert to == session.oldest_sequence - 1
            ends = [" ".join(line) for line in each.lines() if line[0] == "ended"]
            if overflow is Overflow.SKIP:
                assert first - 1 in lagging
                assert not ends
            else:
                (end,) = ends
                assert f"after sequence {first - 1} of epoch {session.epoch}," in end
            missed.append(to - first + 1)
            under_way.append((first - 1 - sequence) * FRAME_BYTES)
        assert len(await exchange.connections(tag)) == 1
        await client.close_session(NAME)
    took = array.array("q")
    for process in reading:
        took.frombytes(process.file.read_bytes())
    # But for the batch that FIRST lay in.
    assert len(took) > READERS * (NUMBERS - FIRST) * 0.9
    return Pass(sorted(took), peak_bytes, missed, under_way)


async def subscribers(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """47 subscribers, and beside them three that are stopped, with each overflow policy.

    The 47 pass twice without those: what these two differ by is the machine's doing.
    """
    passes: dict[str, Pass] = {}
    kinds = [("alone", None), ("again", None), ("SKIP", Overflow.SKIP), ("DETACH", Overflow.DETACH)]
    for name, overflow in random.sample(kinds, len(kinds)):
        # A process of its own, whose greatest memory is that of this pass.
        gateway.stop()
        gateway.start()
        with tempfile.TemporaryDirectory() as scratch:
            passes[name] = await pass_by(gateway, exchange, overflow, Path(scratch))
    alone = passes["alone"]
    figures = {
        "subscribers: 47 alone: p99, ms": alone.p99_ms,
        "subscribers: 47 alone: gateway's greatest memory, MiB": alone.peak_bytes / 2**20,
        "subscribers: 47 alone, again: ratio of p99": passes["again"].p99_ms / alone.p99_ms,
    }
    for kind in ("SKIP", "DETACH"):
        found, name = passes[kind], f"subscribers: beside 3 stopped, {kind}"
        figures[f"{name}: p99 of the 47, ms"] = found.p99_ms
        figures[f"{name}: ratio of p99 to alone"] = found.p99_ms / alone.p99_ms
        figures[f"{name}: gateway's greatest memory, MiB"] = found.peak_bytes / 2**20
        figures[f"{name}: taken for one that does not read, KiB"] = max(found.under_way) / 1024
        figures[f"{name}: numbers that one misses, in one gap"] = statistics.median(found.missed)
    return figures


if __name__ == "__main__":
    _, address, count, path = sys.argv
    Path(path).write_bytes(asyncio.run(read(address, int(count))).tobytes())
