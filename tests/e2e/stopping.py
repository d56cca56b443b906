"""Subscribers that are stopped and continued, and what the accounts of all say in the end."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fairlead
from tests.e2e.processes import PATIENCE_S, ROOT, eventually
from tests.e2e.recorder import whole_lines


@dataclass
class Stoppable:
    """A process of tests/e2e/subscriber.py and its account."""

    process: "subprocess.Popen[bytes]"
    file: Path

    @staticmethod
    def start(gateway: str, session: str, overflow: fairlead.Overflow, last: int, file: Path) -> "Stoppable":
        arguments = [gateway, session, overflow.name, str(last), str(file)]
        return Stoppable(subprocess.Popen([sys.executable, "-m", "tests.e2e.subscriber", *arguments], cwd=ROOT), file)

    def stop(self) -> None:
        """SIGSTOP; returns when the process stands still."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    def lines(self) -> list[list[str]]:
        return whole_lines(self.file)

    def sequence(self) -> int:
        """The last that its account has."""
        return next((int(line[1]) for line in reversed(self.lines()) if line[0] == "entry"), 0)

    async def tells(self, *words: str) -> None:
        """Waits for a line that has these words."""

        def written() -> bool:
            assert self.process.poll() is None, f"it ended by itself, with {self.process.returncode}"
            return any(set(words) <= set(line) for line in self.lines())

        await eventually(written, f"{self.file.name} has {words}")


def check_account(lines: list[list[str]], last: int) -> list[tuple[int, int]]:
    """Everything in order, each given once or told missing, numbers 1 to `last` among it; returns the gaps.

    What is missing must be numbers.
    """
    position: int | None = None
    number = 0
    gaps: list[tuple[int, int]] = []
    for line in lines:
        match line:
            case ["attached", _, sequence]:
                assert position in (None, int(sequence)), f"{line} comes after sequence {position}"
                position = int(sequence)
            case ["entry", sequence, what]:
                assert position is not None
                assert int(sequence) == position + 1, f"{line} comes after sequence {position}"
                position += 1
                if what.isdecimal():
                    assert int(what) == number + 1, f"{line} comes after number {number}"
                    number += 1
            case ["gap", first, to]:
                assert position is not None
                assert position + 1 == int(first) <= int(to), f"{line} comes after sequence {position}"
                gaps.append((int(first), int(to)))
                number += int(to) - position
                position = int(to)
            case ["ended" | "detached", *_]:
                pass
            case _:
                raise AssertionError(f"unexpected: {line}")
    assert number == last
    return gaps
