"""One bash for all blocks of a page, so that what a block sets, and what it leaves running, is there for the next."""

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.docs.blocks import Block


class BlockError(Exception):
    """A block did not do what its page claims."""


class Shell:
    """Runs blocks one after the other in `folder`. Leaving the context ends whatever they have started.

    A block fails with its first command that fails (`set -e`), as a reader who follows the page would stop there.
    """

    def __init__(self, folder: Path, scratch: Path, path: list[Path], patience: float = 10) -> None:
        self._folder = folder
        self._scratch = scratch
        self._path = ":".join([*map(str, path), os.environ["PATH"]])
        # How long a process may take to end after SIGTERM, before SIGKILL.
        self._patience = patience
        self._count = 0

    def __enter__(self) -> "Shell":
        self._statuses, write_end = os.pipe()
        # Its own session: everything that the blocks start is in it, however deep, and can be found and ended.
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-s"],
            cwd=self._folder,
            env=os.environ | {"PATH": self._path, "DONE": str(write_end)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write_end],
            start_new_session=True,
            text=True,
        )
        os.close(write_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bash.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._bash.stdin.close()
        for sign in (signal.SIGTERM, signal.SIGKILL):
            remaining = self._members()
            for process in remaining:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sign)
            deadline = time.monotonic() + self._patience
            while self._members() and time.monotonic() < deadline:
                self._bash.poll()
                time.sleep(0.02)
        self._bash.wait(10)
        os.close(self._statuses)

    def run(self, block: Block, timeout: float = 60) -> str:
        """Executes a block and returns what it printed, standard error included."""
        self._count += 1
        script = self._scratch / f"block{self._count}.{block.language}"
        script.write_text(block.text)
        printed = self._scratch / f"block{self._count}.out"
        command = f"source {script}" if block.language == "sh" else f"python3 {script}"
        # Standard input is where bash reads these lines from: a block must not eat them.
        line = f"set -e; {{ {command}; }} </dev/null >{printed} 2>&1; set +e; echo $? >&$DONE\n"
        assert self._bash.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._bash.stdin.write(line)
            self._bash.stdin.flush()
        status = self._status(timeout)
        output = printed.read_text(errors="replace") if printed.exists() else ""
        if status != "0":
            what = f"did not end within {timeout:g} s" if status is None else "failed"
            raise BlockError(
                f"line {block.line}: the {block.language} block {what}\n--- block\n{block.text}--- printed\n{output}"
            )
        return output

    def _status(self, timeout: float) -> str | None:
        """None after the timeout; "" when the shell has ended without a word, which is how `set -e` fails."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self._statuses], [], [], 0.05)
            if readable:
                return os.read(self._statuses, 64).decode().strip()
            if self._bash.poll() is not None:
                return ""
        return None

    def _members(self) -> list[int]:
        """The live processes of the session."""
        members = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # After the name, which may hold spaces and parentheses: state, parent, group, session.
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self._bash.pid and state != "Z":
                    members.append(int(stat.parent.name))
        return members
