"""The `httpx` library."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import httpx

from tests.bench.contender import Get, Site

# Its pool looks at all connections, for each of them, with each request: more than these are slower.
CONNECTIONS = 10


def about() -> str:
    return f"httpx {version('httpx')}: HTTP/1.1, at most {CONNECTIONS} connections, with which it is fastest"


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    connections = min(in_flight, CONNECTIONS)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    tls = site.tls("https:")
    assert tls is not None
    async with httpx.AsyncClient(
        http1=True, http2=False, limits=limits, timeout=60, trust_env=False, verify=tls
    ) as client:

        async def get(url: str) -> tuple[int, bytes]:
            reply = await client.get(url)
            return reply.status_code, reply.content

        yield get
