"""What a contender is: how it is asked to read a feed, and to send requests. One file each in contenders/.

A module there has `about()`, which asserts that the contender is at its best and tells how it is configured, and one or
both of `feed` and `http`, as the protocols below have them. It is imported only in the process that measures it.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Protocol

FRAME_BYTES = 150
BODY_BYTES = 200


class NotMeasured(Exception):
    """This contender cannot do this work; the text, which goes into the table, says why."""


class LostFrames(Exception):
    """A frame is missing, came twice, out of order or mutilated."""


@dataclass(frozen=True)
class Site:
    """Where everything is."""

    ca: str
    """PEM file of the exchange's certificate authority."""
    gateway: str
    """For fairlead.connect."""

    def tls(self, url: str) -> ssl.SSLContext | None:
        """None for a URL without TLS."""
        encrypted = url.startswith(("wss:", "https:"))
        return ssl.create_default_context(cafile=self.ca) if encrypted else None


@dataclass
class Tape:
    """One socket's frames as they reached Python. They are checked when the measurement is over."""

    url: str
    saturated: bool
    payloads: list[bytes] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    """CLOCK_MONOTONIC of each frame in ns; nothing is kept of a saturated feed."""

    @property
    def one(self) -> Callable[[bytes], object]:
        """What a contender calls with each frame."""
        payloads, arrived, now = self.payloads.append, self.arrived.append, time.monotonic_ns
        if self.saturated:
            return payloads

        def record(payload: bytes) -> None:
            arrived(now())
            payloads(payload)

        return record

    @property
    def many(self) -> Callable[[Sequence[bytes]], object]:
        """What it calls in place of `one` with frames that came together."""
        payloads, arrived, now = self.payloads.extend, self.arrived.extend, time.monotonic_ns
        if self.saturated:
            return payloads

        def record(batch: Sequence[bytes]) -> None:
            arrived(repeat(now(), len(batch)))
            payloads(batch)

        return record

    def check(self) -> None:
        """Raises LostFrames unless every number from 1 on is there, once and in order, at full length."""
        for expected, payload in enumerate(self.payloads, 1):
            if int(payload[: payload.index(b" ")]) != expected:
                raise LostFrames(f"{payload[:20]!r} came in place of frame {expected}")
            if len(payload) != FRAME_BYTES:
                raise LostFrames(f"frame {expected} has {len(payload)} bytes")

    def latencies_us(self, start: int, end: int) -> list[float]:
        """Of the frames with these positions: from when each was due at the exchange until it reached Python."""
        return [
            (arrived - int(payload.split(b" ", 2)[1])) / 1e3
            for arrived, payload in zip(self.arrived[start:end], self.payloads[start:end], strict=True)
        ]


class Feed(Protocol):
    """Opens one socket for each tape and reads until it is cancelled."""

    def __call__(self, tapes: Sequence[Tape], site: Site) -> Coroutine[Any, Any, None]: ...


Get = Callable[[str], Awaitable[tuple[int, bytes]]]
"""One GET: status and body."""


class Http(Protocol):
    """Makes a client for this many requests at once."""

    def __call__(self, in_flight: int, site: Site) -> AbstractAsyncContextManager[Get]: ...


async def each(tapes: Sequence[Tape], read: Callable[[Tape], Coroutine[Any, Any, None]]) -> None:
    """Reads all tapes at once."""
    async with asyncio.TaskGroup() as group:
        for tape in tapes:
            group.create_task(read(tape))
