"""Measures the figures that the pages state, and writes docs/proof.md: `make proof`.

Every round runs each measurement once, so that a noisy minute touches all of them alike; told are medians of the
rounds, with spread. Not part of the tests: a busy machine makes them slow, not wrong.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path

import websockets

import fairlead
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import ROOT, Exchange, Gateway
from tests.e2e.recorder import NAME as RECORDED
from tests.e2e.resuming import check_orders, check_whole, recorder, trade_through_outages, trader
from tests.proof import subscribers as crowd
from tests.proof import transports
from tests.proof.offenders import EXPLAINED, offenders
from tests.proof.subscribers import subscribers
from tests.proof.transports import legs, rotation
from tests.proof.usage import Usage

PAGE = ROOT / "docs/proof.md"
SESSIONS = 100
IDLE_S = 10.0
FRAMES = 400_000
FRAME_BYTES = 150
KILLS = 20
ORDERS = 2_000
RESUMED = 200_000
RESUMED_RATE = 20_000


async def idle(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """100 sessions on one Attach stream, half of them TLS, open and idle, heartbeats off."""
    quiet = fairlead.Heartbeat(interval=0)
    async with fairlead.connect(gateway.address) as client:
        before = Usage.of(gateway.pid)
        sessions = [
            client.websocket(f"{(exchange.ws, exchange.wss)[i % 2]}/idle", name=f"idle-{i}", heartbeat=quiet)
            for i in range(SESSIONS)
        ]
        for session in sessions:
            await session.open()
        opened = Usage.of(gateway.pid)
        await asyncio.sleep(IDLE_S)
        rested = Usage.of(gateway.pid)
        for session in sessions:
            await session.aclose()
    return {
        "idle: gateway CPU in 10 s, ms": (rested.cpu_s - opened.cpu_s) * 1e3,
        "idle: wake-ups in 10 s, all threads": rested.switches - opened.switches,
        "idle: memory a session, KiB": (opened.resident_bytes - before.resident_bytes) / SESSIONS / 1024,
    }


async def saturate_gateway(url: str, unix: str) -> None:
    """In a process of its own: as many frames as come, through the gateway."""
    retention = fairlead.Retention(2**28, linger=0)
    async with (
        fairlead.connect(f"unix:{unix}") as client,
        client.websocket(url, name="md", heartbeat=fairlead.Heartbeat(interval=0), retention=retention) as session,
    ):
        await _count(session.batches(), lambda batch: len(batch.payloads))


async def saturate_directly(url: str, ca: str) -> None:
    """In a process of its own: the same with the `websockets` library, compression off."""
    import ssl

    context = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None
    async with websockets.connect(url, compression=None, ssl=context, max_size=None) as socket:
        await _count(socket, lambda frame: 1)


async def _count(source, size: Callable) -> None:  # type: ignore[no-untyped-def, type-arg]
    started, cpu, frames = time.perf_counter(), time.process_time(), 0
    async for item in source:
        frames += size(item)
        if frames >= FRAMES:
            break
    elapsed = time.perf_counter() - started
    print(json.dumps({"rate": frames / elapsed, "cpu_us": (time.process_time() - cpu) / frames * 1e6}))


def _alone(function: str, *arguments: str) -> dict[str, float]:
    """Runs one of the two above in a fresh Python process, so that its CPU time is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.run", "--alone", function, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


async def saturated(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """A feed flat out, 150 B frames, to one Python process."""
    figures = {}
    for name, base in (("plain", exchange.ws), ("TLS", exchange.wss)):
        # No more than are counted: the gateway never stops reading, and what it read for nobody would count as well.
        url = f"{base}/numbered?rate=0&size={FRAME_BYTES}&feed=&count={FRAMES}"
        before = Usage.of(gateway.pid)
        ours = await asyncio.to_thread(_alone, "saturate_gateway", url, str(gateway.unix))
        spent = Usage.of(gateway.pid).cpu_s - before.cpu_s
        theirs = await asyncio.to_thread(_alone, "saturate_directly", url, str(exchange.ca))
        figures[f"saturated {name}: Fairlead, frames/s to Python"] = ours["rate"]
        figures[f"saturated {name}: websockets, frames/s"] = theirs["rate"]
        figures[f"saturated {name}: ratio of frames/s"] = ours["rate"] / theirs["rate"]
        figures[f"saturated {name}: ratio of Python CPU a frame, websockets / Fairlead"] = (
            theirs["cpu_us"] / ours["cpu_us"]
        )
        figures[f"saturated {name}: gateway CPU a frame, us"] = spent / FRAMES * 1e6
    return figures


async def journal_directory(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """The same feed to a named session of two gateways in turn: one without, one with a journal directory."""
    figures: dict[str, list[float]] = {}
    url = f"{exchange.ws}/numbered?rate=0&size={FRAME_BYTES}&feed=&count={FRAMES}"
    with tempfile.TemporaryDirectory(dir=os.environ.get("FAIRLEAD_PROOF_DIRECTORY")) as scratch:
        keeping = Gateway(Path(scratch), {"journal_directory": {"path": f"{scratch}/journals"}})
        keeping.start()
        try:
            for _ in range(3):
                for name, each in (("off", gateway), ("on", keeping)):
                    before = Usage.of(each.pid)
                    told = await asyncio.to_thread(_alone, "saturate_gateway", url, str(each.unix))
                    spent = Usage.of(each.pid).cpu_s - before.cpu_s
                    figures.setdefault(f"{name}: frames/s to Python", []).append(told["rate"])
                    figures.setdefault(f"{name}: gateway CPU a frame, us", []).append(spent / FRAMES * 1e6)
            assert "journals.failed" not in keeping.log
        finally:
            keeping.stop()
    return {f"journal directory {name}": statistics.median(values) for name, values in figures.items()}


async def outage(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """From the exchange's FIN to the next OPEN, over TLS, with one setup step; the transport had been stable."""
    url = f"{exchange.wss}/login?rate=1000&feed=&tag=outage"
    setup = [fairlead.Step("login", "login", expect="ok"), fairlead.Step("sub", "subscribe", expect="subscribed")]
    waits = []
    async with fairlead.connect(gateway.address) as client:
        policy = fairlead.Reconnect(stable_after=0)
        async with client.websocket(url, setup=setup, reconnect=policy) as session:
            events = session.events()
            for _ in range(20):
                await exchange.fault("drop", {"target": "tag=outage"})
                lost = None
                async for event in events:
                    if not isinstance(event, fairlead.StateChanged):
                        continue
                    if event.state == fairlead.SessionState.RECONNECTING:
                        lost = time.perf_counter()
                    elif event.state == fairlead.SessionState.OPEN and lost is not None:
                        waits.append(time.perf_counter() - lost)
                        break
    return {"outage over TLS with login and subscription: until OPEN again, ms": statistics.median(waits) * 1e3}


async def resume(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """An adapter killed at random, twice: the exchange keeps the connection, and drops it as often."""
    figures = {}
    for name, outages in (("killed", 0), ("killed and dropped", KILLS)):
        target = f"/numbered?rate={RESUMED_RATE}&count={RESUMED}&size={FRAME_BYTES}&feed=resume-{outages}&tag={outages}"
        with tempfile.TemporaryDirectory() as scratch:
            adapter = recorder(gateway.address, Endpoint("ws", exchange), target, RESUMED, Path(scratch) / "recording")
            seed = random.randrange(2**32)
            print(f"    {name}: seed {seed}", flush=True)
            # A line of the file has about 50 bytes; so spread, the kills fill most of it.
            spread_bytes = RESUMED * 50 * 14 // 10 // (KILLS + 1)
            running = asyncio.create_task(adapter.killed_at_random(KILLS, random.Random(seed), spread_bytes))
            for outage in range(outages):
                due = RESUMED * (outage + 1) // (outages + 1)
                while (found := await exchange.connections(f"tag={outages}"))[-1:] == [] or (
                    (found[-1]["last_number"] or 0) < due
                ):
                    if running.done():
                        await running
                        raise AssertionError("the feed ended before all outages")
                    await asyncio.sleep(0.01)
                await exchange.fault("drop", {"target": f"tag={outages}"})
            await running
            lines = adapter.lines()
        # Else it would linger, and be taken over by the next.
        async with fairlead.connect(gateway.address) as client:
            await client.close_session(RECORDED)
        missing = check_whole(lines, RESUMED, KILLS)
        assert outages or not missing
        assert len(await exchange.connections(f"tag={outages}")) == outages + 1
        figures[f"resume: {name}: numbers missing, all in blind windows"] = float(missing)
        figures[f"resume: {name}: SIGKILLs"] = float(KILLS)
    return figures


async def orders(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """Numbered orders while the adapter is killed and the transport ends at random."""
    endpoint = Endpoint("ws", exchange)
    seed = random.randrange(2**32)
    print(f"    seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        adapter = trader(gateway.address, endpoint, ORDERS, Path(scratch) / "orders")
        # Two lines of some 50 bytes an order; so spread, the kills fill most of the trade.
        spread_bytes = ORDERS * 100 * 14 // 10 // (KILLS + 1)
        received = await trade_through_outages(endpoint, adapter, KILLS, random.Random(seed), spread_bytes)
        check_orders(adapter.lines(), received, ORDERS)
        outcomes = Counter(words[1] for _, _, what, *words in adapter.lines() if what == "result")
    return {
        "orders: SIGKILLs": float(KILLS),
        "orders: transports that ended": float(len(received) - 1),
        "orders: written": float(outcomes["OUTCOME_WRITTEN"]),
        "orders: not sent": float(outcomes["OUTCOME_NOT_SENT"]),
        "orders: unknown": float(outcomes["OUTCOME_UNKNOWN"]),
        "orders: died with the adapter, never handed over": float(ORDERS - sum(outcomes.values())),
    }


MEASUREMENTS: dict[str, Callable[[Gateway, Exchange], Awaitable[dict[str, float]]]] = {
    measurement.__name__: measurement
    for measurement in (
        idle,
        saturated,
        journal_directory,
        outage,
        resume,
        orders,
        subscribers,
        offenders,
        rotation,
        legs,
    )
}


async def measure(rounds: int, names: list[str]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for number in range(1, rounds + 1):
        for name in names:
            print(f"round {number} of {rounds}: {name}", flush=True)
            # Fresh processes for each: what one has grown to does not colour the next.
            with tempfile.TemporaryDirectory() as scratch:
                exchange = Exchange(Path(scratch))
                gateway = Gateway(Path(scratch), environment={"SSL_CERT_FILE": str(exchange.ca)})
                try:
                    exchange.start()
                    gateway.start()
                    for figure, value in (await MEASUREMENTS[name](gateway, exchange)).items():
                        figures.setdefault(figure, []).append(value)
                finally:
                    gateway.stop()
                    exchange.stop()
    return figures


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def table(figures: dict[str, list[float]]) -> list[str]:
    lines = ["| figure | median | least | greatest |", "|---|---:|---:|---:|"]
    for name, values in figures.items():
        digits = ",.0f" if statistics.median(values) >= 100 else ",.2f"
        told = " | ".join(f"{figure:{digits}}" for figure in (statistics.median(values), min(values), max(values)))
        lines.append(f"| {name} | {told} |")
    return lines


def page(figures: dict[str, list[float]], rounds: int) -> str:
    """What docs/proof.md says."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    processor = models[0].split(":")[1].strip() if models else platform.machine()
    changed = " with changes" if _git("status", "--porcelain", "--", "server", "clients", "tests/exchange") else ""
    versions = ", ".join(
        [
            f"Linux {platform.release().split('-')[0].rsplit('.', 1)[0]}",
            f"Python {platform.python_version()}",
            f"websockets {version('websockets')}",
        ]
    )
    lines = [
        "# Figures",
        "",
        f"Written by `make proof` (`tests/proof/run.py --rounds {rounds}`) at commit "
        f"{_git('rev-parse', '--short', 'HEAD')}{changed}, on {os.cpu_count()} cores of {processor}, {versions}.",
        f"Medians of {rounds} rounds, each of which runs everything once, with the least and the greatest. Exchange,",
        "gateway and Python share the cores: rates on a machine of your own will differ, ratios less.",
        "",
        *table(figures),
        "",
        f"*idle*: {SESSIONS} sessions, half of them TLS, on one Attach stream, heartbeats off, nothing sent for",
        f"{IDLE_S:.0f} s. The memory includes each session's TLS state and buffers.",
        "",
        f"*saturated*: the simulated exchange sends {FRAME_BYTES} B text frames as fast as they are read, to one",
        f"Python process, {FRAMES:,} frames a run and not one more, default event loop; `websockets` reads them",
        "directly, without compression.",
        "",
        "*journal directory*: the same feed over plain WebSocket to a named session, off and on in turn, medians of",
        "three; the directory lies where the system keeps temporary files; a ring of 256 MiB lets no segment leave.",
        "",
        "*outage*: as the adapter sees it, from being told of the loss to being told of OPEN; 20 drops a round.",
        "",
        f"*resume*: a feed of {RESUMED:,} numbers at {RESUMED_RATE:,} a second. The adapter keeps each frame and its",
        "position, is killed with SIGKILL at random, and goes on at the position that it kept; then the same while the",
        "exchange drops the transport as often. Checked is what it kept: complete, in order, nothing twice, and what",
        "is missing lies beside exactly one blind window each; the exchange saw one connection more than it dropped.",
        "",
        f"*orders*: {ORDERS:,} numbered orders while the adapter is killed and the transport ended at random.",
        "Checked is what the adapter was told against what the exchange received: nothing arrived that was told",
        "NOT_SENT, or twice, or on another generation; a WRITTEN order is missing only from the end of a transport",
        "that then ended; each order has one result, or was never handed over.",
        "",
        f"*subscribers*: a feed of {crowd.NUMBERS:,} numbers of {crowd.FRAME_BYTES} B at {crowd.RATE:,} a second,",
        f"{crowd.READERS} subscribers in {crowd.PROCESSES} processes, each with its own connection and",
        f"`max_delay` of {crowd.DELAY_S * 1e3:.0f} ms; then beside {crowd.STOPPED} more, whose processes are stopped",
        f"(SIGSTOP) until the feed has ended. The journal holds {crowd.JOURNAL_BYTES // 1024} KiB. Told is how long a",
        "number takes from when the exchange owes it to the subscriber. Checked is that the others get every number,",
        "and that what a stopped one gets when it goes on is complete but for one gap, of exactly what the journal no",
        "longer held; with DETACH it is first ended, and told where to go on.",
        "",
        *EXPLAINED.splitlines(),
        "",
        f"*rotation*: {transports.ROTATIONS} rotations by command of a feed of {transports.ROTATION_RATE:,} numbers a",
        f"second that all connections share, with dedupe and an overlap of {transports.OVERLAP_S * 1e3:.0f} ms.",
        "Checked is, too, that the session was never anything but OPEN, and that of each transport the frames in the",
        "journal are those that it received, less copies.",
        "",
        f"*legs*: two legs of a feed of {transports.LEGS_RATE:,} numbers a second, one of them",
        f"{transports.DELAY_S * 1e3:.0f} ms late; now the one and now the other is cut without a word,",
        f"{transports.CUTS} times. Beside it a session with one transport,",
        "cut as often. Checked is the same as of rotations.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, help="print the figures of these, write no page")
    parser.add_argument("--alone", nargs=3, metavar=("FUNCTION", "URL", "ARGUMENT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        function, url, argument = arguments.alone
        alone = {"saturate_gateway": saturate_gateway, "saturate_directly": saturate_directly}
        asyncio.run(alone[function](url, argument))
        return
    figures = asyncio.run(measure(arguments.rounds, arguments.only or list(MEASUREMENTS)))
    if arguments.only:
        print("\n".join(table(figures)))
        return
    PAGE.write_text(page(figures, arguments.rounds))
    print(f"{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
