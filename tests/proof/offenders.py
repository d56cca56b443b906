"""What another identity's calls take beside an offence, beside the same offence against a sink, and alone."""

import asyncio
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import fairlead
from tests.e2e.callers import Papers, connect
from tests.e2e.certificates import pem_of
from tests.e2e.processes import PATIENCE_S, ROOT, Exchange, Gateway
from tests.proof import offences
from tests.proof.offences import BAD_CALLS, HANDSHAKES, IDLE, RESETS, Did, Order
from tests.proof.usage import process_cpu_s

PACE_S = 0.002
# An offence is repeated for so long, and takes longer if once does. Half of a quiet run comes before it, half behind.
WINDOW_S = 0.5
# That are left where there are none: two for each connection.
DESCRIPTORS = 500
# As tests/proof/offences.py knows it: as the table has it.
OFFENCES = {
    "refused header": "33 MiB of header",
    "kept header": "33 MiB of header in small frames",
    "resets of Attach": f"{RESETS:,} resets of Attach",
    "resets of Send": f"{RESETS:,} resets of Send",
    "idle": f"{IDLE:,} idle connections",
    "bad binary": f"{BAD_CALLS:,} bad -bin headers",
    "no descriptors": "no descriptors",
    "no certificate": f"{HANDSHAKES:,} handshakes without certificate",
}

EXPLAINED = f"""\
*offenders*: one identity commits an offence over TCP, from a process of its own, again and again for {WINDOW_S} s, or
once if that takes longer. Another one sends an echo each {PACE_S * 1e3:.0f} ms, over a Unix socket and a session
of its own. Its p99 beside the offence is compared with that alone, right before and after; and so is its p99 beside
the same offence, at the same pace, against a program that reads and forgets: what that costs is the machine's doing.
CPU and memory are of all times together; what the echoes cost is taken off. Checked is that every echo comes, how each
offence is answered, and that a new caller is served at the same listener.

- *33 MiB of header*: in fields of {offences.REFUSED_FIELD_BYTES:,} B gRPC refuses it, and ends the connection. In
  fields of {offences.KEPT_FIELD_BYTES:,} B and frames of {offences.KEPT_FRAME_BYTES:,} B it keeps it while the call is
  open.
- *resets*: calls that are begun and reset, over one connection, in one go, until gRPC has read them all. In some runs
  the other's echoes wait until then, in others hardly at all: so look at the greatest, too.
- *idle connections*: they come, stay for {offences.STAY_S} s and go.
- *no descriptors*: {offences.TOO_MANY:,} idle connections come where the gateway may have {DESCRIPTORS} descriptors
  more, two for each.
- *bad -bin headers*: each over a connection of its own, {offences.AT_ONCE} at a time.
- *handshakes without certificate*: the offender before a listener with `client_ca_file`. The beginning of a header in
  small frames, or of resets, comes right behind each handshake; none of it is answered. The sink speaks no TLS: beside
  it the offender's own cryptography is missing.

Against headers in small frames and against resets only `client_ca_file` helps, or HAProxy in front ([the
shield](kubernetes.md#the-shield)); the rate at which connections come is bounded by HAProxy alone.
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """The offender or the sink of tests/proof/offences.py."""

    process: asyncio.subprocess.Process

    @classmethod
    @asynccontextmanager
    async def running(cls, name: str) -> AsyncIterator["Program"]:
        command = [sys.executable, "-m", "tests.proof.offences", name]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        assert line, "it has failed"
        return line.decode().strip()

    async def commit(self, order: Order) -> Did:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        return Did(**json.loads(await self.line()))


@dataclass(frozen=True)
class Echo:
    """began: time.monotonic()."""

    began: float
    took: float


@dataclass(frozen=True)
class Run:
    echoes: list[Echo]
    cpu_s: float
    """The gateway's."""


def p99_ms(echoes: list[Echo]) -> float:
    assert echoes, "no echo began in this time"
    return sorted(echo.took for echo in echoes)[len(echoes) * 99 // 100] * 1e3


class Desk:
    """The other identity at work: an echo each 2 ms over its session, whether or not those before are answered."""

    def __init__(self, gateway: Gateway, session: fairlead.Session) -> None:
        self._pid = gateway.pid
        self._session = session
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._echoes = 0

    async def read(self) -> None:
        async for frame in self._session:
            self._waiting.pop(frame.text).set_result(time.monotonic())

    async def during(self, what: Awaitable[T]) -> tuple[Run, T]:
        over = asyncio.ensure_future(what)
        echoes: list[asyncio.Task[Echo]] = []
        before, due = process_cpu_s(self._pid), time.monotonic()
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            while not over.done():
                echoes.append(tasks.create_task(self._echo()))
                due += PACE_S
                await asyncio.sleep(due - time.monotonic())
        spent = process_cpu_s(self._pid) - before
        return Run([echo.result() for echo in echoes], spent), await over

    async def _echo(self) -> Echo:
        self._echoes += 1
        text = f"{self._echoes}"
        back = self._waiting[text] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await self._session.send(text)
        return Echo(began, await back - began)


@asynccontextmanager
async def at_work(gateway: Gateway, exchange: Exchange) -> AsyncIterator[Desk]:
    async with (
        fairlead.connect(f"unix://{gateway.unix}") as client,
        client.websocket(f"{exchange.ws}/echo") as session,
    ):
        desk = Desk(gateway, session)
        reading = asyncio.create_task(desk.read())
        try:
            yield desk
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


class Ground:
    """A gateway with a listener for each of the two identities; the offender's wants a certificate, or does not."""

    def __init__(self, scratch: Path, papers: Papers, *, certificates: bool) -> None:
        self._papers = papers
        self._certificates = certificates
        tcp: dict[str, Any] = {"host": "127.0.0.1"}
        if certificates:
            papers.server.write(scratch / "tls")
            (scratch / "clients.pem").write_bytes(pem_of(papers.clients))
            pair = {"certificate_file": str(scratch / "tls/cert.pem"), "key_file": str(scratch / "tls/key.pem")}
            tcp["tls"] = {**pair, "client_ca_file": str(scratch / "clients.pem")}
        unix = {"path": str(scratch / "fairlead.sock")}
        listeners = [{"identity": "desk", "unix": unix}, {"identity": "offender", "tcp": tcp}]
        self.gateway = Gateway(scratch, {"listeners": listeners, "limits": {"connections": IDLE + 100}})

    def caller(self) -> AbstractAsyncContextManager[fairlead.Gateway]:
        """Who behaves, on the offender's listener."""
        if self._certificates:
            return connect(self.gateway, self._papers, self._papers.feeds)
        return fairlead.connect(self.gateway.grpc, connect_timeout=PATIENCE_S)

    def leave_descriptors(self, count: int) -> None:
        there = len(os.listdir(f"/proc/{self.gateway.pid}/fd"))
        _, hard = resource.prlimit(self.gateway.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.gateway.pid, resource.RLIMIT_NOFILE, (there + count, hard))


async def compare(ground: Ground, exchange: Exchange, offence: str, offender: Program, sink: str) -> dict[str, float]:
    gateway = ground.gateway
    async with at_work(gateway, exchange) as desk:
        await desk.during(asyncio.sleep(0.1))
        before, _ = await desk.during(asyncio.sleep(WINDOW_S / 2))
        if offence == "no descriptors":
            ground.leave_descriptors(DESCRIPTORS)
        memory = gateway.peak_bytes
        beside, did = await desk.during(offender.commit(Order(offence, gateway.grpc, WINDOW_S)))
        over = time.monotonic()
        grown = gateway.peak_bytes - memory
        assert offence != "no descriptors" or "Too many open files" in gateway.log
        async with ground.caller() as caller:
            assert await caller.sessions() == []
        served = time.monotonic() - over
        nobody, _ = await desk.during(offender.commit(Order(offence, sink, WINDOW_S, did.seconds / did.pieces)))
        behind, _ = await desk.during(asyncio.sleep(WINDOW_S / 2))
    assert gateway.running
    quiet = before.echoes + behind.echoes
    # Less what the echoes would have cost alone.
    cpu_s = beside.cpu_s - before.cpu_s / len(before.echoes) * len(beside.echoes)
    figures = {
        "times": float(did.times),
        "p99 of another's echo alone, ms": p99_ms(quiet),
        "ratio of p99 beside it": p99_ms(beside.echoes) / p99_ms(quiet),
    }
    if did.stayed_until:
        there = [echo for echo in beside.echoes if did.stayed_from <= echo.began < did.stayed_until]
        figures["ratio of p99 while they are there"] = p99_ms(there) / p99_ms(quiet)
    figures |= {
        "ratio of p99 beside it at a sink": p99_ms(nobody.echoes) / p99_ms(quiet),
        "gateway's memory grows by, MiB": grown / 2**20,
        "gateway CPU, s": cpu_s,
        "until a new caller is served, ms": served * 1e3,
    }
    return {f"offenders: {OFFENCES[offence]}: {figure}": value for figure, value in figures.items()}


async def offenders(_: Gateway, exchange: Exchange) -> dict[str, float]:
    """Security cases 28 and 29, and the same offender before a listener that wants a certificate."""
    found = {}
    papers = Papers()
    async with Program.running("offender") as offender, Program.running("sink") as sink:
        address = await sink.line()
        assert await offender.line() == "ready"
        seed = random.randrange(2**32)
        print(f"    seed {seed}", flush=True)
        for offence in random.Random(seed).sample(list(OFFENCES), len(OFFENCES)):
            with tempfile.TemporaryDirectory() as scratch:
                # A process of its own, whose greatest memory is that of this offence.
                ground = Ground(Path(scratch), papers, certificates=offence == "no certificate")
                try:
                    ground.gateway.start()
                    found[offence] = await compare(ground, exchange, offence, offender, address)
                finally:
                    ground.gateway.stop()
    return {figure: value for offence in OFFENCES for figure, value in found[offence].items()}
