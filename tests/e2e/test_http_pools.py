"""Pools of connections: how many, which of them, who waits, and which limit says no."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import fairlead
from fairlead.v1.http_pb2 import HttpResponse
from tests.e2e.attach import connected, span
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import Failed, all_of, ask, asking, begin, failure, outcome, response
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import PATIENCE_S, eventually

MIB = 1 << 20


class Gate:
    """A conversation that answers only when it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, wire: Wire) -> None:
        while True:
            request = await wire.request()
            await self.opened.wait()
            await wire.answer(request.target.encode())


@asynccontextmanager
async def configured(start_gateway: StartGateway, **config: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with connected(start_gateway(config).address) as channel:
        yield channel


# ---- How many connections. ----


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("cap", [64, 8])
async def test_two_hundred_at_once(start_gateway: StartGateway, tls: ssl.SSLContext, secure: bool, cap: int) -> None:
    """From Python, to one origin: all are answered, and never on more connections than the pool may have."""
    gateway = start_gateway({"http": {"connections_per_pool": cap}})

    async def converse(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await asyncio.sleep(0.002)  # Requests overlap, whatever the machine is like.
            await wire.answer(request.target.encode())

    async with fairlead.connect(gateway.address) as client, http_peer(converse, tls if secure else None) as server:
        for again in range(3):
            replies = await asyncio.gather(
                *(
                    client.http.get(f"{server.url}/{again}/{at}", max_wait=PATIENCE_S, timeout=PATIENCE_S)
                    for at in range(200)
                )
            )
            assert [reply.body for reply in replies] == [f"/{again}/{at}".encode() for at in range(200)]
            assert sum(reply.reused_connection for reply in replies) >= 200 - cap
        assert len(server.wires) == server.most_open <= cap, "each was used again"
        assert len(server.requests) == 600
        # Whoever waits, waits for the cap.
        assert server.most_open == cap


async def test_one_after_the_other_uses_one_connection(channel: grpc.aio.Channel) -> None:
    async with http_peer() as server:
        for at in range(100):
            reply = await response(channel, asking(f"{server.url}/{at}"))
            assert reply.reused_connection is (at > 0)
        assert len(server.wires) == 1


async def test_total_of_connections(start_gateway: StartGateway) -> None:
    """Over all pools; idle ones of other pools make room."""
    gate = Gate()
    async with (
        configured(start_gateway, limits={"http_connections": 4}) as channel,
        http_peer() as first,
        http_peer() as second,
        http_peer(gate) as busy,
    ):
        await all_of(channel, *[asking(first.url)] * 4)
        assert 1 <= first.open <= 4
        calls = [begin(channel, asking(busy.url)) for _ in range(6)]
        await eventually(lambda: busy.open == 4, "those that were idle have made room")
        await first.all_gone()
        expired = await failure(channel, asking(second.url, max_wait=span(0.05)))
        assert expired.words == ("WAIT_EXPIRED", "NOT_SENT")
        assert "limits.http_connections" in expired.message
        waiting = begin(channel, asking(second.url))
        gate.opened.set()
        for call in (*calls, waiting):
            assert isinstance(await outcome(call), HttpResponse)
        assert busy.most_open == 4


async def test_idle_connections_are_closed(start_gateway: StartGateway) -> None:
    async with configured(start_gateway, http={"idle_timeout": "100ms"}) as channel, http_peer() as server:
        await all_of(channel, *[asking(server.url)] * 10)
        await server.all_gone()
        assert not (await response(channel, asking(server.url))).reused_connection


async def test_connections_used_once(start_gateway: StartGateway) -> None:
    async with configured(start_gateway, http={"idle_timeout": "0s"}) as channel, http_peer() as server:
        for _ in range(5):
            assert not (await response(channel, asking(server.url))).reused_connection
        await server.all_gone()
        assert [len(wire.requests) for wire in server.wires] == [1] * 5


# ---- Who waits. ----


async def test_max_wait(start_gateway: StartGateway) -> None:
    """Zero: refused at once; less than it takes: refused then; in either case nothing is sent."""
    gate = Gate()
    async with configured(start_gateway, http={"connections_per_pool": 1}) as channel, http_peer(gate) as server:
        first = begin(channel, asking(f"{server.url}/first"))
        await server.arrived(1)
        for wait in (0, 0.02):
            failed = await failure(channel, asking(f"{server.url}/{wait}", max_wait=span(wait)))
            assert failed.words == ("WAIT_EXPIRED", "NOT_SENT")
            assert failed.code == "DEADLINE_EXCEEDED"
            assert "request.max_wait" in failed.message
        patient = begin(channel, asking(f"{server.url}/patient"))
        gate.opened.set()
        for call in (first, patient):
            assert isinstance(await outcome(call), HttpResponse)
        assert [request.target for request in server.requests] == ["/first", "/patient"]
        # Zero is enough where a connection is free, or may be made.
        assert (await response(channel, asking(server.url, max_wait=span(0)))).reused_connection


async def test_requests_wait_in_order(start_gateway: StartGateway) -> None:
    gate = Gate()
    async with configured(start_gateway, http={"connections_per_pool": 1}) as channel, http_peer(gate) as server:
        calls = []
        for at in range(20):
            calls.append(begin(channel, asking(f"{server.url}/{at}")))
            # gRPC promises no order of RPCs that come together, and what waits shows nowhere.
            await asyncio.sleep(0.01)
        await server.arrived(1)
        gate.opened.set()
        for call in calls:
            assert isinstance(await outcome(call), HttpResponse)
        assert [request.target for request in server.requests] == [f"/{at}" for at in range(20)]


async def test_waiting_per_pool(start_gateway: StartGateway) -> None:
    gate = Gate()
    options = {"connections_per_pool": 2, "waiting_per_pool": 3}
    async with configured(start_gateway, http=options) as channel, http_peer(gate) as server, http_peer() as other:
        calls = [begin(channel, asking(server.url)) for _ in range(10)]
        done: list[Failed] = []

        async def refused(call: Any) -> None:
            result = await outcome(call)
            if isinstance(result, Failed):
                done.append(result)

        watching = [asyncio.create_task(refused(call)) for call in calls]
        await eventually(lambda: len(done) == 5, "five find no place")
        for failed in done:
            assert failed.words == ("LIMIT_REACHED", "NOT_SENT")
            assert failed.code == "RESOURCE_EXHAUSTED"
            assert "http.waiting_per_pool, 3" in failed.message
        # It is a pool's limit.
        assert isinstance(await ask(channel, asking(other.url)), HttpResponse)
        gate.opened.set()
        await asyncio.gather(*watching)
        assert len(done) == 5
        assert len(server.requests) == 5


# ---- Limits over all. ----


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"requests": 3}, "limits.requests, 3,"), ({"total_body_bytes": 3_200_000}, "limits.total_body_bytes, 3200000")],
    ids=["requests", "bodies"],
)
async def test_limits_of_requests(start_gateway: StartGateway, limits: dict[str, Any], message: str) -> None:
    """What is over is refused before a byte is sent; what has ended counts no more."""
    gate = Gate()
    async with configured(start_gateway, limits=limits) as channel, http_peer(gate) as server:
        request = asking(server.url, "POST", body=b"x" * MIB)
        calls = [begin(channel, request) for _ in range(3)]
        await server.arrived(3)
        failed = await failure(channel, request)
        assert failed.words == ("LIMIT_REACHED", "NOT_SENT")
        assert message in failed.message
        gate.opened.set()
        for call in calls:
            assert isinstance(await outcome(call), HttpResponse)
        assert len(server.requests) == 3

        async def room_for_three() -> bool:
            return all(isinstance(result, HttpResponse) for result in await all_of(channel, *[request] * 3))

        # A request counts until gRPC has let go of it, which is a moment after its answer has arrived.
        await eventually(room_for_three, "three fit again")


async def test_limit_of_response_bodies(start_gateway: StartGateway) -> None:
    """A response that the total has no room for ends its request, which the exchange has answered."""

    async def converse(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.answer(b"x" * MIB)

    async with (
        configured(start_gateway, limits={"total_body_bytes": MIB}) as channel,
        http_peer(converse) as server,
    ):
        assert len((await response(channel, asking(server.url))).body) == MIB

        async def sent() -> Failed | None:
            failed = await failure(channel, asking(server.url, "POST", body=b"x" * 1000))
            return None if failed.phase == "NOT_SENT" else failed

        # A body counts until gRPC has let go of it, which is a moment after it has arrived.
        failed = await eventually(sent, "the first answer counts no more")
        assert failed.words == ("LIMIT_REACHED", "REPLIED")
        assert "limits.total_body_bytes" in failed.message
