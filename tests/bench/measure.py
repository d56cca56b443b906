"""One contender at one work, in a fresh process: `python -m tests.bench.measure JSON` prints the figures as JSON."""

import asyncio
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from tests.bench import usage
from tests.bench.contender import BODY_BYTES, NotMeasured, Site, Tape
from tests.bench.idle import IDLE
from tests.bench.works import SATURATED_FRAMES, Length, Work

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Order:
    """What to measure; the JSON on the command line."""

    contender: str
    work: Work
    length: Length
    base: str
    """Scheme, host and port of the exchange."""
    encrypted_base: str
    """The same with TLS, where a work needs both."""
    site: Site
    generator: int
    """Process id of the exchange."""
    gateway: int
    """0: none."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Order":
        fields = json.loads(text)
        for name, kind in {"work": Work, "length": Length, "site": Site}.items():
            fields[name] = kind(**fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Mark:
    """What had been used at a moment, and how much work was done."""

    at_s: float
    done: int
    python_s: float
    gateway_s: float
    generator_s: float

    @classmethod
    def now(cls, order: Order, done: int) -> "Mark":
        gateway_s = usage.cpu_s(order.gateway) if order.gateway else 0.0
        return cls(time.perf_counter(), done, usage.cpu_s(os.getpid()), gateway_s, usage.cpu_s(order.generator))


def figures(begin: Mark, end: Mark, whole: Mark | None = None) -> dict[str, float]:
    """Between two marks. `whole`: count what the gateway and the exchange do from here, as they run ahead of Python."""
    done, elapsed_s = end.done - begin.done, end.at_s - begin.at_s
    assert done > 0, "nothing was done in the time that is measured"
    outside = whole or begin
    return {
        "rate": done / elapsed_s,
        "python_us": (end.python_s - begin.python_s) / done * 1e6,
        "gateway_us": (end.gateway_s - outside.gateway_s) / (end.done - outside.done) * 1e6,
        "generator_us": (end.generator_s - outside.generator_s) / (end.done - outside.done) * 1e6,
        "generator_share": (end.generator_s - outside.generator_s) / (end.at_s - outside.at_s),
    }


def percentiles(latencies_us: Sequence[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(latencies_us, n=100, method="inclusive")
    return {"p50_us": hundredths[49], "p99_us": hundredths[98], "samples": len(latencies_us)}


async def feed(order: Order, module: Any) -> dict[str, float]:
    work, length = order.work, order.length
    tapes = [Tape(order.base + work.target, work.saturated) for _ in range(work.count)]

    def done() -> int:
        return sum(len(tape.payloads) for tape in tapes)

    async def until(condition: Any, patience_s: float) -> bool:
        """Whether it came to hold in time. Raises what the contender raises."""
        deadline = time.perf_counter() + patience_s
        while not condition() and time.perf_counter() < deadline:
            ended, _ = await asyncio.wait({reading}, timeout=0.01)
            if ended:
                await reading
        return bool(condition())

    whole = Mark.now(order, 0)
    reading = asyncio.create_task(module.feed(tapes, order.site))
    try:
        assert await until(lambda: all(tape.payloads for tape in tapes), PATIENCE_S), "no frame came"
        if work.saturated:
            # Bounded by count for the fast, by time for the slow.
            await until(lambda: done() >= SATURATED_FRAMES // 5, length.warm_up_s)
            begin = Mark.now(order, done())
            await until(lambda: done() >= SATURATED_FRAMES, length.measured_s)
            result = figures(begin, Mark.now(order, done()), whole)
        else:
            await asyncio.wait({reading}, timeout=length.warm_up_s)
            begin, starts = Mark.now(order, done()), [len(tape.payloads) for tape in tapes]
            # One long wait: a loop that looks now and then would cost CPU that is not the contender's.
            await asyncio.wait({reading}, timeout=length.measured_s)
            end, ends = Mark.now(order, done()), [len(tape.payloads) for tape in tapes]
            if reading.done():
                await reading
            result = figures(begin, end)
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, BaseExceptionGroup, ConnectionError, NotMeasured):
            await asyncio.wait_for(reading, PATIENCE_S)
    for tape in tapes:
        tape.check()
    if not work.saturated:
        latencies = [
            latency
            for tape, start, end_ in zip(tapes, starts, ends, strict=True)
            for latency in tape.latencies_us(start, end_)
        ]
        result |= percentiles(latencies)
    return result


async def http(order: Order, module: Any) -> dict[str, float]:
    url, latencies = order.base + order.work.target, list[float]()
    stopped = False

    async def ask(get: Any) -> None:
        while not stopped:
            started = time.monotonic_ns()
            status, body = await get(url)
            latencies.append((time.monotonic_ns() - started) / 1e3)
            assert (status, len(body)) == (200, BODY_BYTES), f"status {status}, {len(body)} bytes"

    async with AsyncExitStack() as stack:
        get = await stack.enter_async_context(module.http(order.work.count, order.site))
        asking = [asyncio.create_task(ask(get)) for _ in range(order.work.count)]
        for which, span_s in enumerate((order.length.warm_up_s, order.length.measured_s)):
            if which:
                begin = Mark.now(order, len(latencies))
            ended, _ = await asyncio.wait(asking, timeout=span_s, return_when=asyncio.FIRST_COMPLETED)
            if ended:
                for task in asking:
                    task.cancel()
                await ended.pop()
        end = Mark.now(order, len(latencies))
        stopped = True
        await asyncio.wait_for(asyncio.gather(*asking), PATIENCE_S)
    return figures(begin, end) | percentiles(latencies[begin.done : end.done])


async def idle(order: Order, _: Any) -> dict[str, float]:
    """Memory and CPU of whoever holds the sockets: the gateway, or this process."""
    holder = order.gateway or os.getpid()
    count = order.work.count
    before = usage.resident_bytes(holder)
    async with IDLE[order.contender](count, order.base, order.encrypted_base, order.site):
        await asyncio.sleep(1)
        opened, cpu_s = usage.resident_bytes(holder), usage.cpu_s(holder)
        await asyncio.sleep(order.work.idle_s)
        spent_s = usage.cpu_s(holder) - cpu_s
    return {"kib": (opened - before) / count / 1024, "idle_ms": spent_s * 1e3 * 10 / order.work.idle_s}


def causes(error: BaseException) -> list[BaseException]:
    """What a group of exceptions is about."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for part in error.exceptions for cause in causes(part)]
    return [error]


def main() -> None:
    order = Order.from_json(sys.argv[1])
    module = importlib.import_module(f"tests.bench.contenders.{order.contender}")
    measure = {"feed": feed, "http": http, "idle": idle}[order.work.kind]
    try:
        result: dict[str, Any] = {"about": module.about(), **uvloop.run(measure(order, module))}
    except Exception as error:
        reasons = [cause for cause in causes(error) if isinstance(cause, NotMeasured)]
        if not reasons:
            raise
        result = {"about": module.about(), "not_measured": str(reasons[0])}
    print(json.dumps(result), flush=True)
    # A client's own threads (nautilus_trader's) may hold up an orderly end; everything is measured and told.
    os._exit(0)


if __name__ == "__main__":
    main()
