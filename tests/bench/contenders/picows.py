"""The `picows` library, with its core interface: a callback for each frame, no queue, no task."""

import asyncio
from collections.abc import Callable, Sequence
from importlib.metadata import version

import aiofastnet  # noqa: F401 - picows uses its faster transports if it is there
from picows import WSFrame, WSListener, WSTransport, ws_connect

from tests.bench.contender import Site, Tape, each


def about() -> str:
    fast = version("aiofastnet")
    return f"picows {version('picows')}: core interface (a callback a frame), no pings, bytes, aiofastnet {fast}"


class Listener(WSListener):  # type: ignore[misc]
    def __init__(self, record: Callable[[bytes], object]) -> None:
        self._record = record

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._record(frame.get_payload_as_bytes())


async def feed(tapes: Sequence[Tape], site: Site) -> None:
    async def read(tape: Tape) -> None:
        transport, _ = await ws_connect(lambda: Listener(tape.one), tape.url, ssl_context=site.tls(tape.url))
        try:
            await transport.wait_disconnected()
            raise ConnectionError("the exchange has closed")
        finally:
            transport.disconnect()
            await asyncio.sleep(0)

    await each(tapes, read)
