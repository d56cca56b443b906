"""HttpService.Send end to end: what is asked arrives as it is, and what is answered comes back as it is."""

import asyncio
import ssl

import grpc
import pytest

from fairlead.v1.http_pb2 import QueryParameter
from tests.e2e.attach import connected
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import all_of, ask, asking, failure, fields_of, headers, response
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import Exchange

MIB = 1 << 20
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"


def noise(size: int) -> bytes:
    """Bytes of every value, so that nothing can be taken for text."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


# ---- What is asked. ----


async def test_a_request_on_the_wire(channel: grpc.aio.Channel) -> None:
    """Everything that an exchange may depend on: case, order, repetition, encoding, and nothing beside."""
    async with http_peer() as server:
        await response(
            channel,
            asking(
                f"{server.url}/v1/order;x=1?a=%2F&b",
                "POST",
                headers=headers(
                    ("X-KEY", "k"),
                    ("x-key", "K"),
                    ("Accept", "a, b"),
                    ("X-Empty", ""),
                    ("X-Key", "é"),
                    ("Content-Type", "x/y"),
                ),
                query=[
                    QueryParameter(key=key, value=value)
                    for key, value in (("z", "1 2"), ("a", "+&=/é~"), ("z", ""), ("", "v"))
                ],
                body=b"\x00\xff\r\n\r\n",
            ),
        )
        (request,) = server.requests
    host = server.url.removeprefix("http://")
    assert request.method == "POST"
    assert request.target == "/v1/order;x=1?a=%2F&b&z=1%202&a=%2B%26%3D%2F%C3%A9~&z=&=v"
    assert request.headers == [
        ("Host", host),
        ("X-KEY", "k"),
        ("x-key", "K"),
        ("Accept", "a, b"),
        ("X-Empty", ""),
        ("X-Key", "é".encode().decode("latin-1")),
        ("Content-Type", "x/y"),
        ("User-Agent", "fairlead"),
        ("Content-Length", "6"),
    ]
    assert request.body == b"\x00\xff\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "M-SEARCH", "X2"])
async def test_methods(channel: grpc.aio.Channel, method: str) -> None:
    async with http_peer() as server:
        reply = await response(channel, asking(server.url, method, headers=headers(("User-Agent", "an adapter"))))
        (request,) = server.requests
    assert (request.method, request.target) == (method, "/")
    assert request.values("User-Agent") == ["an adapter"]
    assert request.values("Content-Length") == (["0"] if method in ("POST", "PUT", "PATCH") else [])
    assert reply.body == (b"" if method == "HEAD" else b"/")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_large_bodies_both_ways(channel: grpc.aio.Channel, exchange: Exchange, scheme: str) -> None:
    """Longer than any buffer of the kernel."""
    url = exchange.http if scheme == "http" else exchange.https
    body = noise(10 * MIB)
    reply = await response(channel, asking(f"{url}/echo?raw=1", "POST", body=body, max_response_bytes=len(body)))
    assert reply.body == body
    # As chunks, of which most lie across the reads' ends.
    reply = await response(channel, asking(f"{url}/chunked?size={3 * MIB}&chunk=4093&trailers=1"))
    assert reply.body == (b"0123456789" * (3 * MIB // 10 + 1))[: 3 * MIB]
    assert "X-Trailer" not in dict(fields_of(reply))


# ---- What is answered. ----


async def test_response_headers(channel: grpc.aio.Channel) -> None:
    """In the exchange's order, repetition kept, framing included; or only those asked for."""
    fields = ["Set-Cookie: a=1", "set-cookie: b=2", "X-Empty:", "X-Padded:  both \t", "X-Byte: caf\u00e9", 'ETag: "1"']

    async def converse(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.answer(b"ok", "200 OK", *fields)

    async with http_peer(converse) as server:
        whole = fields_of(await response(channel, asking(server.url)))
        some = await response(channel, asking(server.url, response_header_names=["SET-COOKIE", "content-length", "no"]))
        none = await response(channel, asking(server.url, response_header_names=["x-absent"]))
    assert whole == [
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("X-Empty", ""),
        ("X-Padded", "both"),
        ("X-Byte", "caf\u00e9"),
        ("ETag", '"1"'),
        ("Content-Length", "2"),
    ]
    assert fields_of(some) == [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Content-Length", "2")]
    assert fields_of(none) == []
    assert (some.body, none.body) == (b"ok", b"ok")


@pytest.mark.parametrize(
    "status", [200, 201, 301, 302, 303, 307, 308, 400, 401, 403, 404, 418, 429, 500, 503, 599, 999]
)
async def test_any_status_is_a_response(channel: grpc.aio.Channel, status: int) -> None:
    """And a redirect is not followed."""

    async def converse(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.answer(b"why", f"{status} Because", f"Location: {elsewhere.url}/x", "Retry-After: 1")

    async with http_peer() as elsewhere, http_peer(converse) as server:
        reply = await response(channel, asking(server.url))
        assert (reply.status, reply.body, reply.attempts) == (status, b"why", 1)
        assert ("Location", f"{elsewhere.url}/x") in fields_of(reply)
        assert (await response(channel, asking(server.url))).reused_connection
        assert len(server.requests) == 2
        assert not elsewhere.wires


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        ("GET", INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        ("GET", CHUNKED + b"1;a=b\r\no\r\n01\r\nk\r\n0\r\nX-T: t\r\n\r\n", b"ok"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"\x1f\x8b"),
    ],
    ids=["HEAD", "HEAD chunked", "204", "304", "empty", "no reason", "interim", "chunked", "gzip"],
)
async def test_where_a_response_ends(channel: grpc.aio.Channel, method: str, answer: bytes, body: bytes) -> None:
    """However it is cut into segments, the connection carries the next request."""

    async def converse(wire: Wire) -> None:
        while True:
            cuts = [at for at in range(len(answer)) if at % len(wire.requests or [1]) == 0]
            await wire.request()
            for begin, end in zip(cuts, [*cuts[1:], len(answer)], strict=True):
                await wire.write(answer[begin:end])
                await asyncio.sleep(0)

    async with http_peer(converse) as server:
        for _ in range(5):
            reply = await response(channel, asking(server.url, method))
            assert reply.body == body
            assert not any(name in ("Link", "X-T") for name, _ in fields_of(reply))
        assert len(server.wires) == 1


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["announced", "until the end", "HTTP/1.0", "unannounced"],
)
async def test_connections_that_the_exchange_closes(
    channel: grpc.aio.Channel, tls: ssl.SSLContext, secure: bool, answer: bytes
) -> None:
    """Behind each answer, announced or not: no request is written into a connection that is known to end."""

    async def converse(wire: Wire) -> None:
        await wire.request()
        await wire.write(answer)

    async with http_peer(converse, tls if secure else None) as server:
        for _ in range(20):
            # Until the gateway has seen the end: a request that crosses it has no answer, and says so.
            await server.all_gone()
            assert (await response(channel, asking(server.url))).body == b"hello"
        assert len(server.wires) == 20
        assert all(len(wire.requests) == 1 for wire in server.wires)


async def test_an_answer_before_the_request_is_complete(channel: grpc.aio.Channel) -> None:
    """413, and the rest is not read: an answer is an answer, and its connection is done with."""

    async def converse(wire: Wire) -> None:
        await wire.head()
        await wire.answer(b"too large", "413 Content Too Large", "Connection: close")
        wire.finish()
        await wire.until_gone()

    async with http_peer(converse) as server:
        for _ in range(3):
            reply = await response(channel, asking(server.url, "POST", body=noise(10 * MIB)))
            assert (reply.status, reply.body) == (413, b"too large")
        assert len(server.wires) == 3


async def test_longest_response(channel: grpc.aio.Channel, exchange: Exchange) -> None:
    """The longest arrives; a byte more ends the request and its connection, declared or in chunks."""
    for path in ("/big?size={size}", "/chunked?size={size}"):
        url = exchange.http + path
        reply = await response(channel, asking(url.format(size=10_000), max_response_bytes=10_000))
        assert len(reply.body) == 10_000
        failed = await failure(channel, asking(url.format(size=10_001), max_response_bytes=10_000))
        assert failed.words == ("RESPONSE_TOO_LONG", "REPLIED")
        assert failed.code == "RESOURCE_EXHAUSTED"
        assert "request.max_response_bytes" in failed.message
    # The default is the configuration's, 3 MiB.
    assert len((await response(channel, asking(f"{exchange.http}/big?size={3 * MIB}"))).body) == 3 * MIB
    failed = await failure(channel, asking(f"{exchange.http}/big?size={3 * MIB + 1}"))
    assert failed.words == ("RESPONSE_TOO_LONG", "REPLIED")


async def test_configured_lengths(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"http": {"response_bytes": "1KiB", "response_header_bytes": "1KiB"}})
    async with connected(gateway.address) as channel:
        for url, words in (
            (f"{exchange.http}/big?size=1024", None),
            (f"{exchange.http}/big?size=1025", "request.max_response_bytes"),
            (f"{exchange.http}/headers?count=1&size=600", None),
            (f"{exchange.http}/headers?count=1&size=1100", "http.response_header_bytes"),
        ):
            result = await ask(channel, asking(url))
            if words is None:
                assert not hasattr(result, "reason"), result
            else:
                assert words in getattr(result, "message", ""), result


# ---- Which connection. ----


@pytest.mark.plain
async def test_origins_and_identities_share_nothing(start_gateway: StartGateway, tls: ssl.SSLContext) -> None:
    """Scheme, host, port and identity choose the pool."""
    gateway = start_gateway(start=False)
    paths = [gateway.unix.with_name(name) for name in ("one", "two")]
    gateway.config["listeners"] = [{"identity": path.name, "unix": {"path": str(path)}} for path in paths]
    gateway.start()
    async with (
        connected(f"unix:{paths[0]}") as one,
        connected(f"unix:{paths[1]}") as two,
        http_peer() as server,
        http_peer(tls=tls) as secure,
    ):
        named = server.url.replace("127.0.0.1", "localhost")
        for _ in range(3):
            for channel in (one, two):
                for url in (server.url, named, secure.url):
                    await response(channel, asking(f"{url}/{'one' if channel is one else 'two'}"))
        assert (len(server.wires), len(secure.wires)) == (4, 2)
        for wire in (*server.wires, *secure.wires):
            assert len(wire.requests) == 3
            assert len({(request.target, *request.values("Host")) for request in wire.requests}) == 1


async def test_no_answer_meets_another_request(channel: grpc.aio.Channel) -> None:
    """Hundreds of requests on few connections, answered out of order: each has its own."""

    async def converse(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await asyncio.sleep(len(request.target) % 7 * 0.001)
            await wire.answer(request.target.encode() + b" " + request.body)

    async with http_peer(converse) as server:
        requests = [
            asking(f"{server.url}/{'x' * (at % 50)}/{at}", "POST", body=b"%d" % at * (at % 90)) for at in range(500)
        ]
        for request, result in zip(requests, await all_of(channel, *requests), strict=True):
            path = request.url.removeprefix(server.url).encode()
            assert getattr(result, "body", result) == path + b" " + request.body
        assert len(server.requests) == 500
        assert len(server.wires) <= 64


async def test_timing(channel: grpc.aio.Channel, exchange: Exchange) -> None:
    """What did not happen is absent."""
    first, second = [await response(channel, asking(f"{exchange.https}/slow?ms=20")) for _ in range(2)]
    assert (first.reused_connection, second.reused_connection) == (False, True)
    for name in ("resolve", "connect", "tls"):
        assert first.timing.HasField(name)
        assert not second.timing.HasField(name)
    assert not first.timing.HasField("quota_wait")
    for timing in (first.timing, second.timing):
        assert timing.first_byte.ToNanoseconds() >= 20_000_000
        assert timing.total.ToNanoseconds() >= timing.pool_wait.ToNanoseconds() + timing.first_byte.ToNanoseconds()
    assert not (await response(channel, asking(f"{exchange.http}/echo"))).timing.HasField("tls")
