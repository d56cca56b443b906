"""How requests end that are not answered: timeouts in each phase, cancelled calls, and processes that end."""

import asyncio
import contextlib
import socket

import grpc
import pytest

import fairlead
from fairlead.v1.http_pb2 import HttpResponse
from tests.e2e.attach import connected, span, status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import Failed, ask, asking, begin, failure, outcome, response
from tests.e2e.http_peer import Gone, Wire, http_peer, silent
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually

SOON = 0.3


# ---- Timeouts. ----


async def reads_nothing(wire: Wire) -> None:
    await asyncio.sleep(PATIENCE_S)


async def drips_a_head(wire: Wire) -> None:
    await wire.request()
    await wire.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        await wire.write(b"x")
        await asyncio.sleep(0.01)


async def drips_a_body(wire: Wire) -> None:
    await wire.request()
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await wire.write(b"x")
        await asyncio.sleep(0.01)


async def stalls_in_the_body(wire: Wire) -> None:
    await wire.request()
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello")
    await wire.until_gone()


async def sends_interim_responses(wire: Wire) -> None:
    await wire.request()
    for _ in range(3):
        await wire.write(b"HTTP/1.1 102 Processing\r\n\r\n")
    await wire.until_gone()


@pytest.mark.parametrize(
    ("converse", "size", "phase"),
    [
        (silent, 0, "SENT_NO_REPLY"),
        (silent, 100_000, "SENT_NO_REPLY"),
        (sends_interim_responses, 0, "SENT_NO_REPLY"),
        (reads_nothing, 20 << 20, "PARTLY_SENT"),
        (drips_a_head, 0, "REPLIED"),
        (drips_a_body, 0, "REPLIED"),
        (stalls_in_the_body, 0, "REPLIED"),
    ],
    ids=["silent", "silent to a body", "interim", "reads nothing", "drips a head", "drips a body", "stalls"],
)
async def test_timeout_tells_the_phase(channel: grpc.aio.Channel, converse: object, size: int, phase: str) -> None:
    """One timeout for all of it, whatever trickles in; then the connection is closed."""
    async with http_peer(converse) as server:  # type: ignore[arg-type]
        failed = await failure(channel, asking(server.url, "POST", timeout=SOON, body=b"x" * size))
        assert failed.words == ("REQUEST_TIMEOUT", phase)
        assert failed.code == "DEADLINE_EXCEEDED"
        assert "request.timeout, 300 ms" in failed.message
        if converse is not reads_nothing:
            await server.all_gone()


async def test_timeout_before_anything_is_sent(start_gateway: StartGateway, exchange: Exchange) -> None:
    """While a connection is made, and while none is free."""
    gateway = start_gateway({"http": {"connections_per_pool": 1}})
    await exchange.accept("silent", on="https")
    async with connected(gateway.address) as channel, http_peer(silent) as server:
        failed = await failure(channel, asking(f"{exchange.https}/echo", timeout=SOON))
        assert failed.words == ("REQUEST_TIMEOUT", "NOT_SENT")
        assert "while a connection was being made" in failed.message
        busy = begin(channel, asking(server.url))
        await server.arrived(1)
        failed = await failure(channel, asking(server.url, timeout=SOON))
        assert failed.words == ("REQUEST_TIMEOUT", "NOT_SENT")
        assert "while waiting for a free connection" in failed.message
        busy.cancel()
        assert len(server.requests) == 1


async def test_dial_timeout(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"http": {"dial_timeout": "200ms"}})
    await exchange.accept("silent", on="https")
    async with connected(gateway.address) as channel:
        # max_wait is for a free connection, and does not cut this short.
        failed = await failure(channel, asking(f"{exchange.https}/echo", max_wait=span(0)))
        assert failed.words == ("DIAL_TIMEOUT", "NOT_SENT")
        assert "http.dial_timeout" in failed.message


async def test_deadline_of_the_rpc(channel: grpc.aio.Channel) -> None:
    """It caps the timeout, and the answer comes before gRPC gives up: only then is there a phase."""

    async def attempt(url: str, deadline: float) -> Failed | None:
        call = begin(channel, asking(url), deadline)
        status = await status_of(call)
        assert status.code is grpc.StatusCode.DEADLINE_EXCEEDED
        if status.failure is None:
            return None  # On a machine that is so busy that 50 ms are nothing.
        result = await outcome(call)
        assert isinstance(result, Failed)
        return result

    async with http_peer(silent) as server:
        told = [result for result in await asyncio.gather(*(attempt(server.url, 1.0) for _ in range(5))) if result]
        assert told
        assert {result.words for result in told} == {("REQUEST_TIMEOUT", "SENT_NO_REPLY")}
        arrived = len(server.requests)
        told = [result for result in await asyncio.gather(*(attempt(server.url, 0.045) for _ in range(20))) if result]
        assert told
        assert {result.words for result in told} == {("REQUEST_TIMEOUT", "NOT_SENT")}
        assert "less than 50 ms are left" in told[0].message
        assert len(server.requests) == arrived


# ---- Cancelled. ----


async def test_cancelling_closes_the_connection(channel: grpc.aio.Channel) -> None:
    async with http_peer(silent) as server:
        for at in range(10):
            call = begin(channel, asking(server.url))
            await server.arrived(at + 1)
            call.cancel()
            await server.all_gone()
        assert len(server.wires) == 10


async def test_cancelling_what_waits(start_gateway: StartGateway) -> None:
    """It is never sent."""
    gateway = start_gateway({"http": {"connections_per_pool": 1}})
    go_on = asyncio.Event()

    async def converse(wire: Wire) -> None:
        while True:
            await wire.request()
            await go_on.wait()
            await wire.answer()

    async with connected(gateway.address) as channel, http_peer(converse) as server:
        first = begin(channel, asking(f"{server.url}/first"))
        await server.arrived(1)
        waiting = [begin(channel, asking(f"{server.url}/waiting")) for _ in range(20)]
        await asyncio.sleep(0.1)  # Most of them have reached the gateway; those that have not are not sent either.
        for call in waiting:
            call.cancel()
        await asyncio.sleep(0.1)  # The same for their cancellations: a late one would find its request sent.
        last = begin(channel, asking(f"{server.url}/last"))
        go_on.set()
        for call in (first, last):
            assert isinstance(await outcome(call), HttpResponse)
        assert [request.target for request in server.requests] == ["/first", "/last"]


async def test_cancelling_in_python(client: fairlead.Gateway) -> None:
    async with http_peer(silent) as server:
        task = asyncio.create_task(client.http.get(server.url))
        await server.arrived(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_gone()


# ---- Ends of processes. ----


async def test_drain(start_gateway: StartGateway) -> None:
    """SIGTERM with requests under way: they are answered, no other is taken, and the end comes with the last answer."""
    gateway = start_gateway({"shutdown_timeout": "10m"})
    go_on = asyncio.Event()

    async def converse(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await go_on.wait()
            await wire.answer(request.target.encode())

    async with connected(gateway.address) as channel, http_peer(converse) as server:
        calls = [begin(channel, asking(f"{server.url}/{at}")) for at in range(10)]
        await server.arrived(10)
        ending = asyncio.create_task(gateway.terminate())
        await eventually(lambda: "gateway.drain" in gateway.log, "it drains")
        failed = await failure(channel, asking(f"{server.url}/late"))
        assert failed.words == ("DRAINING", "NOT_SENT")
        assert failed.code == "UNAVAILABLE"
        go_on.set()
        for at, call in enumerate(calls):
            result = await outcome(call)
            assert isinstance(result, HttpResponse)
            assert result.body == b"/%d" % at
        assert await ending == 0
        assert len(server.requests) == 10


async def test_drain_of_idle_connections(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"shutdown_timeout": "10m"})
    async with connected(gateway.address) as channel, http_peer() as server:
        for _ in range(3):
            await response(channel, asking(server.url))
        assert await gateway.terminate() == 0
        await server.all_gone()


async def test_drain_is_not_endless(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"shutdown_timeout": "200ms"})
    async with connected(gateway.address) as channel, http_peer(silent) as server:
        call = begin(channel, asking(server.url))
        await server.arrived(1)
        assert await gateway.terminate() == 0
        status = await status_of(call)
        assert status.code is not grpc.StatusCode.OK
        assert status.failure is None, "nobody has found out"


async def test_the_exchange_is_killed(channel: grpc.aio.Channel, exchange: Exchange) -> None:
    """With requests under way: each is told that it was sent and not answered; the next, that it was not sent."""
    calls = [begin(channel, asking(f"{exchange.http}/slow?ms=600000&tag={at}")) for at in range(40)]

    async def arrived() -> bool:
        return bool((await exchange.http_summary())["requests"]["complete"] == 40)

    await eventually(arrived, "all have arrived")
    exchange.kill()
    for call in calls:
        result = await outcome(call)
        assert isinstance(result, Failed)
        assert result.words == ("CONNECTION_LOST", "SENT_NO_REPLY")
        assert result.code == "UNKNOWN"
    failed = await failure(channel, asking(exchange.http))
    assert failed.words == ("CONNECT_FAILED", "NOT_SENT")
    assert failed.code == "UNAVAILABLE"


async def test_the_gateway_is_killed(gateway: Gateway, client: fairlead.Gateway) -> None:
    """Nobody is left who could tell the phase."""
    async with http_peer(silent) as server:
        task = asyncio.create_task(client.http.post(server.url))
        await server.arrived(1)
        gateway.kill()
        with pytest.raises(fairlead.OutcomeUnknown) as error:
            await task
        assert error.value.may_have_been_sent
        assert error.value.phase is fairlead.Phase.UNSPECIFIED


# ---- Dials that fail. ----


async def test_dials_that_fail(channel: grpc.aio.Channel) -> None:
    async def speaks_plainly(wire: Wire) -> None:
        await wire.answer(b"", "400 The plain HTTP request was sent to HTTPS port")
        await wire.until_gone()

    async with http_peer(speaks_plainly) as server:
        failed = await failure(channel, asking(server.url.replace("http:", "https:")))
        assert failed.words == ("TLS_FAILED", "NOT_SENT")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    for url, reason in (
        (f"http://127.0.0.1:{closed}", "CONNECT_FAILED"),
        ("http://exchange.invalid", "RESOLVE_FAILED"),
    ):
        failed = await failure(channel, asking(url))
        assert failed.words == (reason, "NOT_SENT")
        assert failed.code == "UNAVAILABLE"


async def test_stale_connections(channel: grpc.aio.Channel) -> None:
    """The exchange closes what is idle, in order or not: no request is written into a connection that has ended."""

    async def converse(wire: Wire) -> None:
        with contextlib.suppress(Gone):
            await wire.request()
            await wire.answer()
            go_on.clear()
            await go_on.wait()
            if wire.number % 2:
                wire.reset()

    go_on = asyncio.Event()
    async with http_peer(converse) as server:
        for at in range(50):
            assert isinstance(await ask(channel, asking(server.url, "POST", body=b"x")), HttpResponse)
            # Before the request comes, the connection's end is in the gateway's kernel.
            go_on.set()
            await eventually(lambda: server.open == 0, "the exchange has closed it")
            assert len(server.wires) == at + 1
