"""The Rust network clients of `nautilus_trader`. Their threads are in the Python process: their CPU counts as its."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

from nautilus_trader.core.nautilus_pyo3 import HttpClient, HttpMethod, WebSocketClient, WebSocketConfig

from tests.bench.contender import Get, NotMeasured, Site, Tape, each


def about() -> str:
    return f"nautilus_trader {version('nautilus_trader')}: its Rust clients (nautilus_pyo3), no heartbeat, no quota"


@contextmanager
def needs_known_issuer() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Its roots are compiled in. SSL_CERT_FILE, which is set, does not reach them.
        if "UnknownIssuer" in str(error):
            raise NotMeasured("cannot be given a private CA") from None
        raise


async def feed(tapes: Sequence[Tape], site: Site) -> None:
    async def read(tape: Tape) -> None:
        # The handler is called on a thread of the client's.
        config = WebSocketConfig(tape.url, tape.one, [])
        with needs_known_issuer():
            client = await WebSocketClient.connect(config)
        try:
            # If the connection is lost it makes another, whose numbers begin anew: the check of the tape finds that.
            await asyncio.Event().wait()
        finally:
            await client.disconnect()

    await each(tapes, read)


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    client = HttpClient()

    async def get(url: str) -> tuple[int, bytes]:
        with needs_known_issuer():
            reply = await client.request(HttpMethod.GET, url)
        return reply.status, reply.body

    yield get
