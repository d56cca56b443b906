"""End to end against nginx, plain and with TLS: an HTTP server that is not ours, with its own idea of keep-alive."""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

import fairlead
from tests.e2e.nginx import BIG, TEXT, Nginx, nginx


@pytest.fixture
async def server(scratch: Path, authority: trustme.CA) -> AsyncIterator[Nginx]:
    prefix = scratch / "nginx"
    prefix.mkdir()
    async with nginx(prefix, authority) as server:
        yield server


@pytest.fixture(params=["http", "https"])
def url(request: pytest.FixtureRequest, server: Nginx) -> str:
    return server.https if request.param == "https" else server.http


async def test_methods(client: fairlead.Gateway, server: Nginx, url: str) -> None:
    """A file is written, read, looked at and deleted, all on one connection."""
    stored = f"{url}/stored/order"
    assert (await client.http.put(stored, body=b"\x00one\xff")).status == 201
    reply = await client.http.get(stored)
    assert (reply.status, reply.body) == (200, b"\x00one\xff")
    head = await client.http.head(stored)
    assert (head.status, head.headers["content-length"], head.body) == (200, "5", b"")
    assert (await client.http.delete(stored)).status == 204
    assert (await client.http.get(stored)).status == 404
    # A GET may have a query, a POST a body; both arrive as they were sent.
    reply = await client.http.get(f"{url}/method", params=[("a", "1 2"), ("a", "+")])
    assert reply.body == b"a=1%202&a=%2B GET "
    assert (await client.http.post(f"{url}/method", body=b"0123456789")).body == b" POST 10"
    assert (await client.http.post(f"{url}/method")).body == b" POST 0"
    lines = await server.logged(8)
    assert len({line.connection for line in lines if "stored" in line.request or "method" in line.request}) == 1


async def test_statuses_are_responses(client: fairlead.Gateway, url: str) -> None:
    for status, body in ((404, b"not there"), (500, b"broken"), (503, b"later")):
        reply = await client.http.get(f"{url}/status/{status}")
        assert (reply.status, reply.body) == (status, body)
    assert reply.headers["retry-after"] == "7"
    moved = await client.http.get(f"{url}/moved")
    assert (moved.status, moved.headers["location"]) == (302, f"{url}/text")
    # What nginx itself finds wrong.
    assert (await client.http.request("BREW", f"{url}/text")).status == 405
    cached = await client.http.get(f"{url}/text")
    assert cached.body == TEXT
    unchanged = await client.http.get(f"{url}/text", headers={"If-None-Match": cached.headers["etag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")
    part = await client.http.get(f"{url}/text", headers={"Range": "bytes=0-9"})
    assert (part.status, part.body) == (206, TEXT[:10])


async def test_a_coding_is_passed_through(client: fairlead.Gateway, url: str) -> None:
    """Compressed as it goes, and so in chunks: the chunks are undone, the coding is the adapter's."""
    reply = await client.http.get(f"{url}/chunked", headers={"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert reply.body != TEXT
    assert gzip.decompress(reply.body) == TEXT
    assert (await client.http.get(f"{url}/chunked")).body == TEXT


async def test_large_bodies(client: fairlead.Gateway, server: Nginx, url: str) -> None:
    assert (await client.http.get(f"{url}/big")).body == BIG
    assert (await client.http.put(f"{url}/stored/big", body=BIG)).status == 201
    assert (server.prefix / "files/stored/big").read_bytes() == BIG


async def test_many_at_once(client: fairlead.Gateway, server: Nginx, url: str) -> None:
    replies = await asyncio.gather(
        *(client.http.get(f"{url}/method?{at}", max_wait=30, timeout=30) for at in range(500))
    )
    assert [reply.body for reply in replies] == [b"%d GET " % at for at in range(500)]
    lines = await server.logged(500)
    assert len({line.connection for line in lines}) <= 64


# ---- nginx ends connections when it likes to. ----


async def of_three(client: fairlead.Gateway, url: str, count: int) -> list[int]:
    return [(await client.http.post(f"{url}/method", body=b"%d" % at)).status for at in range(count)]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_few_requests_a_connection(
    client: fairlead.Gateway, scratch: Path, authority: trustme.CA, secure: bool
) -> None:
    """nginx announces the last answer of a connection: that one is not used again, whoever is waiting."""
    prefix = scratch / "nginx"
    prefix.mkdir()
    async with nginx(prefix, authority, "keepalive_requests 3;") as server:
        url = server.https if secure else server.http
        assert await of_three(client, url, 30) == [200] * 30
        together = [client.http.post(f"{url}/method", body=b"x", max_wait=30, timeout=30) for _ in range(300)]
        assert {reply.status for reply in await asyncio.gather(*together)} == {200}
        requests = Counter(line.connection for line in await server.logged(330))
        assert max(requests.values()) == 3


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_short_keep_alive(client: fairlead.Gateway, scratch: Path, authority: trustme.CA, secure: bool) -> None:
    """nginx closes what has been idle for 20 ms, and does not announce it.

    A request whose first bytes cross nginx's FIN is lost, and told as SENT_NO_REPLY: no probe can see a FIN that has
    not been sent. Of requests that come well before or well behind it none may fail.
    """
    prefix = scratch / "nginx"
    prefix.mkdir()
    async with nginx(prefix, authority, "keepalive_timeout 20ms;") as server:
        url = server.https if secure else server.http
        lost: list[fairlead.OutcomeUnknown] = []
        for at in range(60):
            try:
                reply = await client.http.post(f"{url}/method", body=b"x")
                assert reply.status == 200
            except fairlead.OutcomeUnknown as error:
                lost.append(error)
            # 0 to 40 ms, so that connections are found alive, dying and dead.
            await asyncio.sleep((at * 7 % 41) / 1000)
        crossed = len(lost)
        print(f"{crossed} crossed the FIN")
        assert {error.phase for error in lost} <= {fairlead.Phase.SENT_NO_REPLY}
        assert crossed <= 30, "most come well before or well behind it"
        lines = await server.logged(60 - crossed)
        assert len(lines) == 60 - crossed, "what was not answered was not carried out"
        connections = {line.connection for line in lines}
        assert 1 < len(connections) < 60, "some were used again, some had ended"
        # Well behind the FIN.
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert (await client.http.post(f"{url}/method", body=b"x")).status == 200
