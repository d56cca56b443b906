"""Adapters whose frames come by callback: whatever is lost on the way to them, each entry comes once and in order."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import fairlead
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, Gateway, eventually
from tests.e2e.recorder import record, whole_lines
from tests.e2e.resuming import check_entries, recorder

KILLS = 5
LOSSES = 6
NUMBERS = 6_000
FEED = f"/numbered?rate=3000&count={NUMBERS}&size=100&feed=callbacks"
# Bytes of the file; a line has about 50.
BETWEEN_LOSSES = 500 * 50


class Between:
    """Passes bytes between a client and the gateway, until it is cut."""

    def __init__(self, path: Path, gateway: Path) -> None:
        self.address = f"unix://{path}"
        self.accepted = 0
        self._path = path
        self._gateway = gateway
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._pass, self._path):
            yield
            self.cut()

    def cut(self) -> None:
        """Ends each connection at once, whatever is on its way."""
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        onward, back = await asyncio.open_unix_connection(self._gateway)
        both = {writer, back}
        self._writers |= both
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._copy(reader, back), self._copy(onward, writer))
        self._writers -= both
        for each in both:
            each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(2**16):
            writer.write(some)
            await writer.drain()
        writer.close()


@pytest.mark.parametrize("endpoint", ["wss", "tcp"], indirect=True)
async def test_each_entry_comes_once_over_cut_streams_and_dropped_transports(
    gateway: Gateway, endpoint: Endpoint, scratch: Path, seed: int
) -> None:
    """By turns the stream to the gateway is cut, which costs nothing, and the exchange drops the connection."""
    choose = random.Random(seed)
    file = scratch / "recording"
    between = Between(scratch / "between.sock", gateway.unix)
    adapter = recorder(between.address, endpoint, FEED, NUMBERS, file, "callbacks")
    address, url, preamble, *_ = adapter.arguments
    async with between.serving():
        recording = asyncio.create_task(record(address, url, preamble, NUMBERS, "callbacks", file))
        try:
            for loss in range(LOSSES):
                more = adapter.size + choose.randrange(1, BETWEEN_LOSSES)

                async def flowing(more: int = more, loss: int = loss) -> bool:
                    assert not recording.done(), "the feed ended before all losses"
                    found = await endpoint.exchange.connections()
                    streams, transports = (loss + 1) // 2, loss // 2
                    live = found and found[-1]["last_number"] and len(found) > transports
                    return bool(live and between.accepted > streams and adapter.size >= more)

                await eventually(flowing, f"{more} bytes after loss {loss}")
                if loss % 2:
                    await endpoint.exchange.fault("drop")
                else:
                    between.cut()
            await asyncio.wait_for(recording, PATIENCE_S)
        finally:
            recording.cancel()
    lines = whole_lines(file)
    check_entries(lines, NUMBERS)
    assert sum(words[0] == "blind" for _, _, *words in lines) == LOSSES // 2


@pytest.mark.parametrize("endpoint", ["ws", "tls"], indirect=True)
async def test_a_killed_adapter_misses_nothing(gateway: Gateway, endpoint: Endpoint, scratch: Path, seed: int) -> None:
    """kill -9 at random: the position that the callback kept is behind the frame that it kept, and no other."""
    adapter = recorder(gateway.address, endpoint, FEED, NUMBERS, scratch / "recording", "callbacks")
    await adapter.killed_at_random(KILLS, random.Random(seed), BETWEEN_LOSSES)
    assert check_entries(adapter.lines(), NUMBERS) == 0
    assert len(await endpoint.exchange.connections()) == 1


class StumbledError(Exception):
    """What the callback below raises."""


@pytest.mark.parametrize("endpoint", ["ws"], indirect=True)
async def test_what_a_callback_did_not_handle_comes_again(
    client: fairlead.Gateway, endpoint: Endpoint, seed: int
) -> None:
    choose = random.Random(seed)
    handled: list[int] = []
    start: fairlead.StartFrom = fairlead.OLDEST
    for count in [choose.randrange(300) for _ in range(8)]:
        session = endpoint.session(client, "/numbered?rate=5000", name="md", start=start)
        until = len(handled) + count

        def handle(frame: fairlead.Frame, until: int = until) -> None:
            if len(handled) == until:
                raise StumbledError
            handled.append(int(frame.payload.split()[0]))

        session.on_frame(handle)
        async with session:
            with pytest.raises(StumbledError):
                await asyncio.wait_for(session.ended(), PATIENCE_S)
        assert session.position is not None
        start = session.position
    assert handled == list(range(1, len(handled) + 1))
    assert len(await endpoint.exchange.connections()) == 1
