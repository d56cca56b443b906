"""The demo's two servers as processes."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.demo.account import MismatchError


class DemoError(Exception):
    """The demo could not be run at all: something did not start."""


class Server:
    """A process of ours: its ready line, and its end, whatever happens. Its log goes to a file, shown if it fails."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, log: Path) -> None:
        self._process = process
        self._name = name
        self._log = log

    @classmethod
    @asynccontextmanager
    async def start(
        cls, scratch: Path, binary: Path, *arguments: str | Path, **environment: str
    ) -> AsyncIterator["Server"]:
        log = scratch / f"{binary.name}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                # Even if the demo itself is killed, its servers end with it.
                *("setpriv", "--pdeathsig", "KILL", binary),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=os.environ | environment,
                # Ctrl-C is for the demo alone: it ends its servers in order.
                start_new_session=True,
            )
        server = cls(process, binary.name, log)
        try:
            yield server
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def ready(self) -> dict[str, str]:
        """Waits for "NAME ready KEY=VALUE ..." and returns its values."""
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), 15)).decode().strip()
        words = line.split()
        if words[:2] != [self._name, "ready"]:
            raise DemoError(f"{self._name} did not start: {line or 'it ended'}\n{self.log_end()}")
        return dict(word.split("=", 1) for word in words[2:])

    async def stop(self) -> None:
        """Asks it to end, and expects that it does so in order."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        status = await asyncio.wait_for(self._process.wait(), 10)
        if status != 0:
            raise MismatchError(f"{self._name} ended with status {status}, not 0\n{self.log_end()}")

    def log_end(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-15:]
        return "".join(f"    {self._name}: {line}\n" for line in lines)


def built(build: Path, name: str) -> Path:
    binary = build / name
    if not binary.exists():
        raise DemoError(f"{binary} is not built: run `make demo`")
    return binary
