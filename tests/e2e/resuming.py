"""Adapters that are killed again and again while their session lives on, and what their files say in the end."""

import asyncio
import base64
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairlead.v1.session_pb2 import ReconnectPolicy
from tests.e2e.attach import span
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, ROOT, eventually
from tests.e2e.recorder import whole_lines


@dataclass
class Mortal:
    """An adapter's program and its file: the processes that run it, one after the other."""

    program: str
    arguments: list[str]
    file: Path

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", self.program, *self.arguments, str(self.file)], cwd=ROOT)

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    async def grown(self, process: "subprocess.Popen[bytes]", size: int) -> None:
        def longer() -> bool:
            assert process.poll() is None, f"{self.program} ended by itself, with {process.returncode}"
            return self.size >= size

        await eventually(longer, f"{size} bytes are recorded")

    async def killed_at_random(self, kills: int, choose: random.Random, spread_bytes: int) -> None:
        """Runs the program to its end, through so many SIGKILLs, each while it writes its file."""
        process = self.start()
        try:
            for _ in range(kills):
                await self.grown(process, self.size + choose.randrange(1, spread_bytes))
                process.send_signal(signal.SIGKILL)
                assert await asyncio.to_thread(process.wait, PATIENCE_S) == -signal.SIGKILL
                process = self.start()
            assert await asyncio.to_thread(process.wait, 2 * PATIENCE_S) == 0
        finally:
            process.kill()
            process.wait()

    def lines(self) -> list[list[str]]:
        """Of each line: epoch, position, what."""
        return whole_lines(self.file)


def recorder(
    gateway: str, endpoint: Endpoint, feed: str, last: int, file: Path, how: Literal["loop", "callbacks"] = "loop"
) -> Mortal:
    """Reads the feed up to number `last`."""
    url = endpoint.base if endpoint.is_raw else endpoint.base + feed
    preamble = endpoint.exchange.preamble(feed).decode() if endpoint.is_raw else ""
    return Mortal("tests.e2e.recorder", [gateway, url, preamble, str(last), how], file)


def trader(gateway: str, endpoint: Endpoint, last: int, file: Path) -> Mortal:
    """Sends orders 1 to `last`."""
    policy = ReconnectPolicy(
        first_retry_at_once=False, initial_backoff=span(0.04), max_backoff=span(0.1), stable_after=span(0)
    )
    opening = endpoint.opening("/idle", session="orders", reconnect=policy)
    opened = base64.b64encode(opening.SerializeToString()).decode()
    return Mortal("tests.e2e.trader", [gateway, opened, str(last)], file)


def check_whole(lines: list[list[str]], last: int, kills: int) -> int:
    """check_entries, and every life but the first resumed."""
    starts = [words[1] for _, _, *words in lines if words[0] == "attached"]
    assert starts == ["NEW", *["RESUMED"] * kills]
    return check_entries(lines, last)


def check_entries(lines: list[list[str]], last: int) -> int:
    """Everything from 1 to `last`, once and in order, but for what blind windows took; returns how many these took.

    Every number that is missing lies between two numbers beside exactly one blind window.
    """
    assert len({epoch for epoch, *_ in lines}) == 1, "one journal from beginning to end"
    assert not [words for _, _, *words in lines if words[0] in {"gap", "epoch_changed"}]
    sequences = [int(sequence) for _, sequence, *words in lines if words[0] != "attached"]
    assert sequences == list(range(1, len(sequences) + 1)), "an entry is missing, or came twice"
    before, windows, missing = 0, 0, 0
    for _, _, *words in lines:
        if words[0] == "blind":
            windows += 1
        if words[0] == "number":
            number = int(words[1])
            assert number > before, f"{number} came after {before}"
            if number != before + 1:
                assert windows == 1, f"{before + 1} to {number - 1} are missing beside {windows} blind windows"
            missing += number - before - 1
            before, windows = number, 0
    assert before == last
    return missing


async def trade_through_outages(
    endpoint: Endpoint, adapter: Mortal, kills: int, choose: random.Random, spread_bytes: int
) -> list[list[str]]:
    """Kills the adapter and ends its transports at random until it is done; returns what came on each connection."""
    exchange = endpoint.exchange
    running = asyncio.create_task(adapter.killed_at_random(kills, choose, spread_bytes))
    outages = 0
    try:
        while not running.done():
            outages += 1

            async def trading(generation: int = outages) -> bool:
                found = await exchange.connections()
                return running.done() or (len(found) == generation and found[-1]["frames_received"] > 0)

            await eventually(trading, f"orders on connection {outages}")
            # A moment of the trade: nothing waits for it.
            await asyncio.sleep(choose.uniform(0, 0.2))
            if not running.done():
                await exchange.fault(choose.choice(["drop", "reset"]))
        await running
    finally:
        running.cancel()
    ids = [record["id"] for record in await exchange.connections()]
    return [[frame["text"] for frame in (await exchange.connection(id_))["frames"]] for id_ in ids]


def check_orders(lines: list[list[str]], received: list[list[str]], last: int) -> None:
    """What the trader was told, against what the exchange received on each connection."""
    sent = [int(words[0]) for _, _, what, *words in lines if what == "sent"]
    assert sent == list(range(1, last + 1)), "an order was sent twice, or never"
    results: dict[int, tuple[str, int]] = {}
    for _, _, what, *words in lines:
        if what == "result":
            number = int(words[0])
            assert number not in results, f"order {number} has two results"
            results[number] = (words[1], int(words[2]))
    arrived: dict[int, int] = {}
    for generation, frames in enumerate(received, 1):
        for frame in frames:
            number = int(frame.removeprefix("order "))
            assert number not in arrived, f"order {number} arrived twice"
            arrived[number] = generation
    for number, generation in arrived.items():
        # An order without result never reached its session: the adapter died before it had handed it over.
        assert number in results, f"order {number} arrived, and nobody was told"
        outcome, told = results[number]
        assert outcome in {"OUTCOME_WRITTEN", "OUTCOME_UNKNOWN"}, f"order {number} arrived, and was told {outcome}"
        assert told == generation, f"order {number} was of generation {told}, and arrived on {generation}"
    # What is in the kernel and never arrived is the end of what was written to a transport that then ended.
    for generation in range(1, len(received) + 1):
        written = [n for n, result in results.items() if result == ("OUTCOME_WRITTEN", generation)]
        missing = [number not in arrived for number in written]
        assert missing == sorted(missing), f"of generation {generation} an order is missing before one that arrived"
        assert generation < len(received) or not any(missing), "the last transport has not ended"
    assert {outcome for outcome, _ in results.values()} >= {"OUTCOME_WRITTEN", "OUTCOME_NOT_SENT"}
