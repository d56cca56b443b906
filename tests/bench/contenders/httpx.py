"""The `httpx` library."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import httpx

from tests.bench.contender import Get, Site


def about() -> str:
    return f"httpx {version('httpx')}: HTTP/1.1, as many kept-alive connections as requests, environment not consulted"


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    tls = site.tls("https:")
    assert tls is not None
    async with httpx.AsyncClient(http1=True, http2=False, limits=limits, trust_env=False, verify=tls) as client:

        async def get(url: str) -> tuple[int, bytes]:
            reply = await client.get(url)
            return reply.status_code, reply.content

        yield get
