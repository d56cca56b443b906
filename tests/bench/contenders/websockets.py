"""The `websockets` library."""

from collections.abc import Sequence
from importlib.metadata import version

from websockets import frames, speedups
from websockets.asyncio.client import connect

from tests.bench.contender import Site, Tape, each


def about() -> str:
    assert vars(frames)["apply_mask"] is speedups.apply_mask, "the C speedups are not in use"
    return f"websockets {version('websockets')}: C speedups, no compression, no pings, bytes"


async def feed(tapes: Sequence[Tape], site: Site) -> None:
    async def read(tape: Tape) -> None:
        # Its queue of 16 frames is no worse than longer ones. The short close comes after the measurement.
        async with connect(
            tape.url, ssl=site.tls(tape.url), compression=None, ping_interval=None, close_timeout=0.1, proxy=None
        ) as socket:
            record = tape.one
            while True:
                record(await socket.recv(decode=False))

    await each(tapes, read)
