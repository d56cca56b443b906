"""One binary of Fairlead as a process: found, started, awaited, and ended whatever happens."""

import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Bounds against hanging, generous because of busy machines.
START_PATIENCE_S = 30.0
STOP_PATIENCE_S = 20.0

# In a checkout this package lies in clients/python/src/fairlead/testing.
_CHECKOUT = Path(__file__).resolve().parents[5]
_SHOWN_LOG_BYTES = 16 * 1024


class StackError(Exception):
    """A binary was not found, did not start, or ended with an error; says what to do, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary by its name, and the environment variable that may say where it is."""

    name: str
    variable: str

    def find(self) -> Path:
        """Look where fairlead.testing says. Raises StackError, with what to do, if it is nowhere."""
        told = os.environ.get(self.variable)
        if told:
            path = Path(told).expanduser().absolute()
            if not _executable(path):
                raise StackError(f"{self.variable}={told}: there is no executable file")
            return path
        on_path = shutil.which(self.name)
        if on_path:
            return Path(on_path).absolute()
        built = _CHECKOUT / "build" / "release" / self.name
        if (_CHECKOUT / "clients" / "python").is_dir() and _executable(built):
            return built
        raise StackError(
            f"the binary `{self.name}` of Fairlead is not there: set {self.variable} to its path, "
            f"or put it on PATH, or run `make build` in the checkout (looked for {built})"
        )


class Process:
    """A running binary. Standard output has the ready line; standard error goes to a file, the log."""

    def __init__(self, binary: Binary, log: Path) -> None:
        self.binary = binary
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    @property
    def pid(self) -> int:
        """Its process id. Raises StackError if it was not started, or was stopped."""
        if self._process is None:
            raise StackError(f"{self.binary.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The end of what it logged, over all its starts."""
        try:
            logged = self._log.read_bytes()
        except FileNotFoundError:
            return ""
        return logged[-_SHOWN_LOG_BYTES:].decode(errors="replace")

    def start(self, *arguments: str) -> Mapping[str, str]:
        """Start it and return the ready line's fields. Raises StackError if it does not become ready."""
        if self.running:
            raise StackError(f"{self.binary.name} runs already")
        path = self.binary.find()
        self._killed = False
        with self._log.open("ab") as log:
            # In a group of its own: Ctrl-C ends the tests, which end it in order.
            self._process = subprocess.Popen(  # noqa: S603 - what the caller's environment names
                [*_tether(), str(path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        try:
            words = self._read_line(self._process).split()
            if words[:2] != [self.binary.name, "ready"]:
                raise StackError(f"{path} did not start: it said {' '.join(words) or 'nothing'!r}\n{self.log}")
            return dict(word.split("=", 1) for word in words[2:] if "=" in word)
        except BaseException:
            self.kill()
            raise

    def wait_ended(self, timeout: float = STOP_PATIENCE_S) -> int:
        """Wait until it has ended by itself; return its status. Raises StackError if it goes on."""
        if self._process is None:
            raise StackError(f"{self.binary.name} does not run")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.binary.name} goes on after {timeout} s") from None

    def stop(self) -> None:
        """End it in order. Idempotent. Raises StackError if it had crashed, or ends with an error or not at all."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.terminate()
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.binary.name} did not end after SIGTERM\n{self.log}") from None
        finally:
            _end(process)
        if process.returncode and not self._killed:
            raise StackError(f"{self.binary.name} ended with status {process.returncode}\n{self.log}")

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        self._killed = True
        if self._process is not None:
            _end(self._process)

    @staticmethod
    def _read_line(process: subprocess.Popen[bytes]) -> str:
        """Read up to the end of the line, of the output, or of the patience."""
        assert process.stdout is not None  # noqa: S101 - for the type checker
        output = process.stdout.fileno()
        line = b""
        deadline = time.monotonic() + START_PATIENCE_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(output, 4096) if readable else b""
            if not part:
                break
            line += part
        return line.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.kill()  # Does nothing if it has ended.
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _tether() -> list[str]:
    """Give the words before a command that let it end with this process, even if that is killed.

    The kernel ties it to the thread that starts it, so only where that lives as long as the process.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "KILL"]
