"""Subscribers that stop reading, as whole processes: the others notice nothing, and they are told what they missed."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import Attachment, Frame, connected, sessions_of, span
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, ROOT, Gateway, eventually

READERS = 10
FEED = "/numbered?rate=2000&size=1000&feed=many"
# A quarter of a second of the feed.
JOURNAL_BYTES = 512 * 1024


class Listener:
    """A process of tests/e2e/listener.py and its account."""

    def __init__(self, gateway: str, policy: "pb.Overflow.ValueType", file: Path) -> None:
        self.file = file
        join = pb.Join(session="many", delivery=pb.Delivery(overflow=policy))
        joined = base64.b64encode(join.SerializeToString()).decode()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.listener", gateway, joined, str(file)], cwd=ROOT
        )

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def account(self) -> list[list[str]]:
        text = self.file.read_text() if self.file.exists() else ""
        return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]

    @property
    def last(self) -> int:
        """The last sequence that it was given or told of; 0: none."""
        lines = [line for line in self.account() if line[0] != "ended"]
        return int(lines[-1][-1]) if lines else 0

    def check_whole(self) -> list[list[str]]:
        """Every sequence is there, as a frame or in a gap; returns what is no frame."""
        lines = self.account()
        for before, after in pairwise(lines):
            if after[0] != "ended":
                assert int(after[1]) == int(before[-1]) + 1, f"{before} is followed by {after}"
        return [line for line in lines if line[0] != "frame"]


async def follow(stream: Attachment, at: int, sequences: list[int]) -> None:
    """A reader that keeps up: a gap, or anything but frames, is an error."""
    while True:
        item = await stream.next()
        assert isinstance(item, Frame), item
        assert item.channel == at
        assert not sequences or item.sequence == sequences[-1] + 1
        sequences.append(item.sequence)


@pytest.mark.parametrize("endpoint", ["ws", "tls"], indirect=True)
async def test_stopped_processes(
    gateway: Gateway, endpoint: Endpoint, channel: grpc.aio.Channel, scratch: Path
) -> None:
    opening = endpoint.opening(
        FEED,
        most_bytes=2000,
        session="many",
        retention=pb.Retention(journal_bytes=JOURNAL_BYTES, linger=span(0)),
    )
    owner = Attachment(channel)
    await owner.open(1, opening)
    with ExitStack() as processes:
        skipping, detached = (
            Listener(gateway.address, policy, scratch / f"account-{policy}")
            for policy in (pb.OVERFLOW_SKIP, pb.OVERFLOW_DETACH)
        )
        for each in (skipping, detached):
            processes.callback(each.end)
        await eventually(lambda: skipping.last and detached.last, "both listen")

        kept_up: list[list[int]] = [[] for _ in range(READERS)]
        async with asyncio.TaskGroup() as tasks, connected(gateway.address) as another:
            following = []
            for at, sequences in enumerate(kept_up):
                reader = Attachment(another)
                await reader.say(pb.Command(channel=at, join=pb.Join(session="many")))
                await reader.attached(at)
                following.append(tasks.create_task(follow(reader, at, sequences)))
            following.append(tasks.create_task(follow(owner, 1, [])))
            await eventually(lambda: all(kept_up), "all follow")

            for each in (skipping, detached):
                os.kill(each.process.pid, signal.SIGSTOP)

            async def session() -> pb.Session:
                found = await sessions_of(channel).GetSession(pb.GetSessionRequest(session="many"))
                return found.session

            async def passed() -> bool:
                now = await session()
                assert now.journal_bytes <= JOURNAL_BYTES
                left_behind = [each for each in now.subscribers if each.sequence + 1 < now.oldest_sequence]
                return len(left_behind) == 1 and len(now.subscribers) == READERS + 2

            await eventually(passed, "the journal has passed one, and the other was detached")
            head = (await session()).head_sequence
            await eventually(lambda: all(each[-1] > head for each in kept_up), "the others go on")

            for each in (skipping, detached):
                os.kill(each.process.pid, signal.SIGCONT)
            assert await asyncio.to_thread(detached.process.wait, PATIENCE_S) == 0
            await eventually(lambda: skipping.last > head, "the stopped one has caught up")
            for task in following:
                task.cancel()

        # One gap, and on.
        (gap,) = skipping.check_whole()
        assert gap[0] == "gap"
        # Whatever was on its way, and then where to go on.
        (ended,) = detached.check_whole()
        assert ended[:2] == ["ended", "REASON_OVERFLOW"]
        assert f"sequence {detached.last} of epoch" in " ".join(ended)
