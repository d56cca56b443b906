"""A gateway and a simulated exchange that belong together."""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from fairlead.testing.exchange import SimulatedExchange
from fairlead.testing.process import Binary, Process, StackError

# Of a Unix socket's path, in bytes (sun_path of sockaddr_un, less its NUL).
_SOCKET_PATH_BYTES = 107
# The longest name in the scratch directory that is a socket.
_SOCKET = "fairlead.sock"


class Stack:
    """A gateway and a simulated exchange as processes: `with Stack() as stack`.

    The gateway listens on a Unix socket, may connect to loopback, and trusts the exchange. Entering takes about 0.1 s;
    leaving ends both, in order, and checks that neither has crashed. When the block raises, the ends of the logs are
    added to the exception as notes. A stack can be entered once.

    config: top-level fields of the gateway's configuration, beside or in place of those that make it listen, connect
      and trust; for example {"limits": {"sessions": 2}}.

    Entering raises StackError if a binary is not found (with what to do) or does not start (with its log).
    """

    running: ClassVar["list[Stack]"] = []
    """Those that are entered, for whoever shows logs."""

    def __init__(self, *, config: Mapping[str, Any] | None = None) -> None:
        self._config = dict(config or {})
        self._exits = ExitStack()
        self._entered = False
        self._gateway: Process | None = None
        self._exchange: SimulatedExchange | None = None
        self._scratch = Path()

    @property
    def address(self) -> str:
        """What fairlead.connect takes: unix:///path."""
        return f"unix://{self._scratch / _SOCKET}"

    @property
    def gateway(self) -> Process:
        """The gateway's process: pid, log, running; kill() it, or stop() it in order."""
        if self._gateway is None:
            raise StackError("the stack is not entered: use `with`")
        return self._gateway

    @property
    def exchange(self) -> SimulatedExchange:
        """The exchange: base URLs and faults."""
        if self._exchange is None:
            raise StackError("the stack is not entered: use `with`")
        return self._exchange

    def start_gateway(self) -> None:
        """Start the gateway again, on the same socket, after gateway.kill() or gateway.stop()."""
        self.gateway.start("--config", str(self._scratch / "fairlead.yaml"))

    def logs(self) -> dict[str, str]:
        """Give the ends of both logs, by the binary's name."""
        return {each.binary.name: each.log for each in (self._gateway, self._exchange) if each is not None}

    def __enter__(self) -> Self:
        """Start both. What is started ends again if this raises."""
        if self._entered:
            raise StackError("a stack can be entered once: make another")
        self._entered = True
        with ExitStack() as exits:
            self._scratch = Path(exits.enter_context(_scratch()))
            self._exchange = SimulatedExchange(self._scratch)
            exits.callback(self._exchange.stop)
            self._exchange.launch()
            self._gateway = Process(Binary("fairlead", "FAIRLEAD_BINARY"), self._scratch / "fairlead.log")
            exits.callback(self._gateway.stop)
            # JSON is YAML, too.
            (self._scratch / "fairlead.yaml").write_text(json.dumps(self._configuration(), indent=2))
            self.start_gateway()
            Stack.running.append(self)
            exits.callback(Stack.running.remove, self)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End both. Raises StackError if one has crashed, unless something is raised already."""
        if error is None:
            self._exits.close()
            return
        for name, log in self.logs().items():
            error.add_note(f"log of {name}:\n{log}")
        try:
            self._exits.close()
        except StackError as failure:
            error.add_note(str(failure))

    def _configuration(self) -> dict[str, Any]:
        loopback = {
            "name": "loopback",
            "schemes": self.exchange.schemes,
            "hosts": ["*"],
            "cidrs": ["127.0.0.0/8", "::1/128"],
        }
        return {
            "listeners": [{"identity": "tests", "unix": {"path": str(self._scratch / _SOCKET)}}],
            "egress": {"rules": [loopback]},
            "tls": {"ca_files": [str(self.exchange.ca_file)]},
            **self._config,
        }


def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make a directory whose name leaves room for a socket's."""
    # A name of mkdtemp's has eight characters of its own.
    needed = len(os.fsencode(Path(tempfile.gettempdir()) / "fl-12345678" / _SOCKET))
    # ignore_cleanup_errors: a log that cannot be removed is no reason to fail.
    place = "/tmp" if needed > _SOCKET_PATH_BYTES else None  # noqa: S108 - mkdtemp makes a directory of its own there
    return tempfile.TemporaryDirectory(prefix="fl-", dir=place, ignore_cleanup_errors=True)
