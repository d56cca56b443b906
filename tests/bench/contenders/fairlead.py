"""Fairlead, by its Python client over a Unix socket, with its defaults except where `about` says otherwise."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import fairlead
from tests.bench.contender import Get, NotMeasured, Site, Tape, each

QUIET = fairlead.Heartbeat(interval=0)
# A saturated feed outruns its reader, and a journal forgets rather than hold up the exchange: room for the whole run.
ROOMY = fairlead.Retention(journal_bytes=2**28)


def about() -> str:
    return (
        f"Fairlead {fairlead.__version__}, grpcio {version('grpcio')}: Unix socket, batches, no heartbeats; a "
        "saturated feed has a journal that holds all of it"
    )


async def feed(tapes: Sequence[Tape], site: Site) -> None:
    async with fairlead.connect(site.gateway) as gateway:

        async def read(tape: Tape) -> None:
            retention = ROOMY if tape.saturated else None
            async with gateway.websocket(tape.url, heartbeat=QUIET, retention=retention) as session:
                record = tape.many
                async for batch in session.batches():
                    record(batch.payloads)
                raise ConnectionError("the session has ended")

        await each(tapes, read)


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    async with fairlead.connect(site.gateway) as gateway:
        client = getattr(gateway, "http", None)
        if client is None:
            raise NotMeasured("this version has no HTTP client")

        async def get(url: str) -> tuple[int, bytes]:
            reply = await client.get(url, timeout=30)
            return reply.status, reply.body

        yield get
