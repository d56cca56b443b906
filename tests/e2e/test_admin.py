"""The admin port: probes, and what it does to clients that are rude."""

import asyncio
import contextlib
import os
import random
import re
import signal
from pathlib import Path

import pytest
import yaml

import fairlead
from fairlead.v1.session_pb2 import ListSessionsRequest, Open, Target
from tests.e2e.admin_port import ADMIN, admin_of, converse, get
from tests.e2e.attach import Attachment, connected, sessions_of
from tests.e2e.callers import Serve
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually, run

pytestmark = pytest.mark.plain


@pytest.fixture
def watched(start_gateway: StartGateway) -> Gateway:
    return start_gateway(ADMIN)


async def becomes_ready(gateway: Gateway) -> None:
    async def ready() -> bool:
        return (await get(gateway, "/readyz")).status == 200

    await eventually(ready, "/readyz says 200")


async def test_ready_whoever_has_all_the_connections_that_it_may(start_gateway: StartGateway, scratch: Path) -> None:
    policy = {"identity": "desk", "methods": ["*"], "max_connections": 1}
    for listener in ({"unix": {"path": str(scratch / "desk.sock")}}, {"tcp": {"host": "127.0.0.1"}}):
        gateway = start_gateway({**ADMIN, "listeners": [{"identity": "desk", **listener}], "policies": [policy]})
        address = gateway.grpc if "tcp" in listener else f"unix:{scratch}/desk.sock"
        async with fairlead.connect(address) as client:
            assert await client.sessions() == []
            assert (await get(gateway, "/readyz")).text == "ok\n"
        gateway.stop()


def test_ready_line_tells_it_behind_the_listeners(watched: Gateway) -> None:
    assert re.fullmatch(r"fairlead ready grpc=\S+ unix=\S+ admin=127\.0\.0\.1:\d+\n", watched.ready_line)


def test_an_address_that_is_taken_is_an_error_at_the_start(watched: Gateway, start_gateway: StartGateway) -> None:
    other = start_gateway({"admin": {"address": admin_of(watched)}}, start=False)
    other.config_file.write_text(yaml.safe_dump(other.config))
    ended = run("fairlead", "--config", other.config_file)
    host, port = admin_of(watched).rsplit(":", 1)
    assert ended.returncode == 1
    assert f"admin.address: cannot listen on {host} port {port}: Address already in use" in ended.stderr


async def test_ready_while_every_listener_answers_and_not_while_draining(
    start_gateway: StartGateway, exchange: Exchange
) -> None:
    gateway = start_gateway({**ADMIN, "shutdown_timeout": "60s"})
    await becomes_ready(gateway)
    assert (await get(gateway, "/healthz")).text == "ok\n"
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo")))
        # The exchange does not answer the goodbye: the drain goes on for a while.
        await exchange.fault("silent")
        gateway.send_signal(signal.SIGTERM)

        async def drains() -> bool:
            return (await get(gateway, "/readyz")).status == 503

        await eventually(drains, "/readyz says 503")
        assert (await get(gateway, "/readyz")).text == "draining\n"
        assert (await get(gateway, "/healthz")).status == 200
    assert await gateway.exit_code() == 0


async def test_not_ready_when_no_more_connections_are_taken(start_gateway: StartGateway) -> None:
    gateway = start_gateway({**ADMIN, "limits": {"connections": 2}})
    await becomes_ready(gateway)
    async with connected(gateway.address) as one, connected(f"dns:{gateway.grpc}") as other:
        for channel in (one, other):
            await sessions_of(channel).ListSessions(ListSessionsRequest())

        async def full() -> str:
            page = await get(gateway, "/readyz")
            return page.text if page.status == 503 else ""

        told = await eventually(full, "/readyz says 503")
        assert told.startswith((f"{gateway.grpc}: health does not answer", f"{gateway.unix}: health does not answer"))
    await becomes_ready(gateway)


@pytest.mark.parametrize("certificates", [False, True])
async def test_listeners_with_tls_are_asked_inside_and_connected_to(serve: Serve, certificates: bool) -> None:
    gateway = serve(certificates=certificates, **ADMIN)
    await becomes_ready(gateway)
    for _ in range(3):
        assert (await get(gateway, "/readyz")).text == "ok\n"
    # A probe is no event.
    assert not [line for line in gateway.log.splitlines() if " WARN " in line]


async def test_other_methods_and_pages_are_refused_clearly(watched: Gateway) -> None:
    head = await get(watched, "/healthz", "HEAD")
    assert (head.status, head.text, head.headers["Content-Length"]) == (200, "", "3")
    post = await get(watched, "/healthz", "POST")
    assert (post.status, post.headers["Allow"], post.text) == (405, "GET, HEAD", "only GET and HEAD\n")
    assert (await get(watched, "/other")).status == 404
    assert (await get(watched, "/healthz?verbose")).status == 200
    assert "default-src 'none'" in post.headers["Content-Security-Policy"]


async def test_malformed_and_endless_requests_end_their_connection(watched: Gateway) -> None:
    assert b" 400 " in await converse(watched, b"\x16\x03\x01 this is TLS, say\r\n\r\n")
    assert b" 431 " in await converse(watched, b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
    # A body is not read, and nothing behind it is taken for a request.
    smuggled = b"GET /healthz HTTP/1.1\r\nContent-Length: 29\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n"
    assert (await converse(watched, smuggled)).count(b"HTTP/1.1 ") == 1
    # One connection may ask again and again.
    asked = b"GET /healthz HTTP/1.1\r\n\r\n"
    assert (await converse(watched, asked, asked, asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))).count(
        b"ok\n"
    ) == 3


async def test_idle_connections_make_room_for_a_probe(watched: Gateway) -> None:
    host, port = admin_of(watched).rsplit(":", 1)
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
    idle[-1][1].write(b"GET /healthz HTTP/1.1\r\nX: ")  # Half a request counts as none.
    for _ in range(20):
        assert (await get(watched, "/healthz")).status == 200
    # The oldest were closed.
    assert await asyncio.wait_for(idle[0][0].read(), 30) == b""
    for _, writer in idle:
        writer.close()


def test_no_admin_port_unless_it_is_configured(gateway: Gateway) -> None:
    assert "admin=" not in gateway.ready_line


async def test_rude_clients_harm_nobody(watched: Gateway, seed: int) -> None:
    """Many at once, each in a way of its own; some go in the middle of an answer."""
    host, port = admin_of(watched).rsplit(":", 1)
    chance = random.Random(seed)
    paths = ["/", "/metrics", "/status.json", "/readyz", "/healthz", "/none"]
    files = len(os.listdir(f"/proc/{watched.pid}/fd"))

    async def visit(path: str, part: float, pause: float, reads: int, times: int) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * times
            writer.write(asked[: int(len(asked) * part)])
            await asyncio.sleep(pause)  # A stimulus.
            if reads and part == 1:
                await asyncio.wait_for(reader.read(reads), PATIENCE_S)
            writer.transport.abort() if chance.random() < 0.5 else writer.close()

    for _ in range(20):
        await asyncio.gather(
            *(
                visit(
                    chance.choice(paths),
                    chance.choice([0, 0.5, 1, 1]),
                    chance.random() / 50,
                    chance.choice([0, 1, 4096]) if chance.random() < 0.2 else 0,
                    chance.choice([1, 1, 3, 100]),
                )
                for _ in range(30)
            )
        )
        assert (await get(watched, "/healthz")).status == 200
    await becomes_ready(watched)

    def closed() -> bool:
        return len(os.listdir(f"/proc/{watched.pid}/fd")) <= files + 8

    await eventually(closed, "what they opened is closed")
