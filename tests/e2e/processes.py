"""The real binaries as processes: gateway and simulated exchange, each with its ready line, its log and its end."""

import asyncio
import base64
import json
import os
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("FAIRLEAD_BUILD", "build/release")
RECORDINGS = Path(os.environ.get("FAIRLEAD_RECORDINGS") or ROOT.parent / "shared/recordings")

# Bounds against hanging, generous because of sanitizers and busy machines; no test measures with them.
PATIENCE_S = 30.0

SCHEMES = ["ws", "wss", "http", "https", "tcp", "tls"]
LOOPBACK = {"name": "loopback", "schemes": SCHEMES, "hosts": ["*"], "cidrs": ["127.0.0.0/8", "::1/128"]}


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Waits until the condition, plain or asynchronous, holds; returns what it gave."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(0.01)


class Process:
    """A binary of ours. Standard error goes to a file, the log; standard output has the ready line and nothing else."""

    # All that the running test started; conftest.py prints their logs if it fails, and sees to their ends.
    started: "list[Process]" = []  # noqa: RUF012

    def __init__(self, binary: str, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        self.binary = binary
        self._log = scratch / f"{binary}.log"
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self.ready_line = ""

    def launch(self, *arguments: str | Path, prefix: Sequence[str] = ()) -> dict[str, str]:
        """Starts it and returns what the ready line tells. `prefix`: a program that runs it, such as prlimit."""
        assert not self.running, f"{self.binary} runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # Even if the tests are killed, what they started ends with them.
                ["setpriv", "--pdeathsig", "KILL", *prefix, BUILD / self.binary, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | self._environment,
            )
        self._killed = False
        if self not in Process.started:
            Process.started.append(self)
        self.ready_line = self._read_line()
        words = self.ready_line.split()
        if words[:2] != [self.binary, "ready"]:
            status = self._process.wait(PATIENCE_S)
            raise AssertionError(f"{self.binary} did not start, status {status}: {self.ready_line}\n{self.log}")
        return dict(word.split("=", 1) for word in words[2:])

    def _read_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
        return self._process.stdout.readline().decode() if readable else "(it says nothing)"

    def rest_of_output(self) -> str:
        """What it wrote to standard output behind the ready line, once it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.read().decode()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        return self._memory("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """The most that was ever resident."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def exit_code(self) -> int:
        """Waits for its end."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, PATIENCE_S)

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.send_signal(signal.SIGTERM)
        return await self.exit_code()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        assert self._process is not None
        self._killed = True
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        """At the end of a test, in order. Fails if it crashed meanwhile or ends with an error."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"{self.binary} did not end after SIGTERM\n{self.log}") from None
        if self._process.stdout is not None:
            self._process.stdout.close()
        if not self._killed:
            assert self._process.returncode == 0, f"{self.binary} ended with {self._process.returncode}\n{self.log}"


class Exchange(Process):
    """The simulated exchange. tests/exchange/README.md tells its feeds and faults."""

    def __init__(self, scratch: Path) -> None:
        super().__init__("exchange", scratch)
        self.ca = scratch / "exchange-ca.pem"
        self.wss = self.ws = self.control = ""
        self.http = self.https = ""  # "http://127.0.0.1:PORT", to be followed by an endpoint's path
        self.tcp = self.tls = ""  # "tcp://127.0.0.1:PORT", the whole target: preamble() chooses the feed

    def start(self) -> None:
        at = self.launch("--ca-out", self.ca, "--recordings", RECORDINGS)
        self.ws, self.wss, self.control = f"ws://{at['ws']}", f"wss://{at['wss']}", f"http://{at['control']}"
        self.http, self.https = f"http://{at['http']}", f"https://{at['https']}"
        self.tcp, self.tls = f"tcp://{at['tcp']}", f"tls://{at['tls']}"

    @staticmethod
    def preamble(target: str) -> bytes:
        """The raw bytes that begin each transport of a raw socket: preamble("/numbered?framing=delimiter&rate=100")."""
        return f"FAIRLEAD-TEST {target}\n".encode()

    async def command(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Asks the control endpoint; its errors are errors of the test."""
        request = urllib.request.Request(
            self.control + path, method=method, data=None if body is None else json.dumps(body).encode()
        )

        def ask() -> Any:
            # Without proxies of the environment: the exchange is on loopback.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(request, timeout=PATIENCE_S) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{method} {path} {body}: {error.read().decode()}") from None

        return await asyncio.to_thread(ask)

    async def connections(self, target: str = "") -> list[dict[str, Any]]:
        """All connections whose path and query hold `target`, oldest first, without their frames."""
        answer = await self.command("GET", f"/connections?target={target}" if target else "/connections")
        assert not answer["forgotten"]
        found: list[dict[str, Any]] = answer["connections"]
        return found

    async def connection(self, which: int | str = "latest") -> dict[str, Any]:
        """One connection, with the upgrade's headers and the frames, pings and pongs that it received."""
        record: dict[str, Any] = await self.command("GET", f"/connections/{which}")
        assert not record["omitted"]
        return record

    async def closed(self, which: int | str = "latest") -> dict[str, Any]:
        """One connection, once it is closed."""

        async def closed() -> dict[str, Any] | None:
            record = await self.connection(which)
            return record if record["state"] == "closed" else None

        record: dict[str, Any] = await eventually(closed, f"connection {which} is closed")
        return record

    async def fault(self, kind: str, connection: int | str | Mapping[str, str] = "latest", **how: Any) -> list[int]:
        """Misbehaves on a live connection; returns the ids of those that do."""
        answer = await self.command("POST", "/fault", {"kind": kind, "connection": connection, **how})
        applied: list[int] = answer["applied"]
        return applied

    async def accept(self, mode: str, **how: Any) -> None:
        """How new connections are treated: normal, refuse, reset, silent, never_upgrade, slow_handshake (ms).

        `on`: only one listener, named like the ready line's fields.
        """
        await self.command("POST", "/accept", {"mode": mode, **how})

    async def send(self, connection: int | str | Mapping[str, str] = "latest", **what: str) -> None:
        """Sends one message outside the feed: text=, base64=, ping= or pong=."""
        await self.command("POST", "/send", {"connection": connection, **what})

    async def http_connections(self) -> list[dict[str, Any]]:
        """All HTTP connections, oldest first."""
        answer = await self.command("GET", "/http/connections")
        assert not answer["forgotten"]
        found: list[dict[str, Any]] = answer["connections"]
        return found

    async def http_requests(self, target: str = "") -> list[dict[str, Any]]:
        """All HTTP requests whose target holds `target`, in the order of their first bytes, complete or not."""
        answer = await self.command("GET", f"/http/requests?target={target}" if target else "/http/requests")
        assert not answer["forgotten"]
        found: list[dict[str, Any]] = answer["requests"]
        return found

    async def http_summary(self) -> dict[str, Any]:
        """Counts over all HTTP connections and requests; `orders`: how often each id was received whole."""
        summary: dict[str, Any] = await self.command("GET", "/http/summary")
        return summary

    async def http_fault(self, kind: str, **how: Any) -> None:
        """Misbehaves at the next requests (count=1, target=""); with connection=, at once on live connections."""
        await self.command("POST", "/http_fault", {"kind": kind, **how})

    async def http_answer(self, answer: bytes, **how: Any) -> None:
        """Answers the next request with these bytes (close=, reset=, count=, target=); with connection=, at once."""
        await self.command("POST", "/answer", {"base64": base64.b64encode(answer).decode(), **how})


class Gateway(Process):
    """The service. Can be started again after it has ended: on the same Unix socket, with the same configuration."""

    def __init__(
        self, scratch: Path, config: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("fairlead", scratch, environment)
        self.unix = scratch / "fairlead.sock"
        self.grpc = ""
        self.secured = False  # Its address is a TCP listener that wants a certificate: tests/e2e/secure.py.
        self.config_file = scratch / "fairlead.yaml"
        self.config: dict[str, Any] = {
            "listeners": [
                {"identity": "tests", "unix": {"path": str(self.unix)}},
                {"identity": "tests", "tcp": {"host": "127.0.0.1"}},
            ],
            "egress": {"rules": [LOOPBACK]},
            "reflection": True,
            **(config or {}),
        }

    @property
    def address(self) -> str:
        """For fairlead.connect and gRPC."""
        return self.grpc if self.secured else f"unix://{self.unix}"

    def start(self, *, prefix: Sequence[str] = ()) -> None:
        self.config_file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        at = self.launch("--config", self.config_file, prefix=prefix)
        self.grpc = at.get("grpc", "")


def run(binary: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a binary of ours that ends by itself."""
    return subprocess.run(
        [BUILD / binary, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
    )
