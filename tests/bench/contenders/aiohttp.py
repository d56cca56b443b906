"""The `aiohttp` library."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import aiohttp
import aiohttp.http_parser
from aiohttp._websocket import reader

from tests.bench.contender import Get, Site, Tape, each


def about() -> str:
    compiled = (aiohttp.http_parser.HttpResponseParser, reader.WebSocketReader)
    for part, module in zip(compiled, ("_http_parser", "reader_c"), strict=True):
        assert part.__module__.endswith(module), f"{part} is not the compiled one"
    return (
        f"aiohttp {version('aiohttp')}: compiled parsers; WebSocket without compression, as bytes; HTTP with as "
        "many connections as requests, no cookies, no decompression"
    )


async def feed(tapes: Sequence[Tape], site: Site) -> None:
    async def read(tape: Tape) -> None:
        tls = site.tls(tape.url) or True
        async with client.ws_connect(tape.url, ssl=tls, compress=0, decode_text=False, max_msg_size=0) as socket:
            record = tape.one
            while True:
                record(await socket.receive_str())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await each(tapes, read)


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    connector = aiohttp.TCPConnector(limit=0, ssl=site.tls("https:") or True)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as client:

        async def get(url: str) -> tuple[int, bytes]:
            async with client.get(url, allow_redirects=False) as reply:
                return reply.status, await reply.read()

        yield get
