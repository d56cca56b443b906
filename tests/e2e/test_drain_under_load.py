"""SIGTERM while much is under way: what the exchange has got is answered, what it has not got is told as such."""

import asyncio
from collections import Counter

import grpc

import fairlead
from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import Attachment, connected, status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import asking, begin
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import Exchange, Gateway, eventually

CALLERS = 40
SESSIONS = 20


async def test_sigterm_under_load_loses_no_request(start_gateway: StartGateway) -> None:
    """Each caller asks until it is refused. Answered is exactly what the exchange has got; nothing is left open."""
    gateway = start_gateway({"shutdown_timeout": "10s", "http": {"connections_per_pool": 8}})
    answered: set[str] = set()
    refused: Counter[str] = Counter()

    async def converse(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await asyncio.sleep(0.01)  # Some are always under way.
            await wire.answer(request.target.encode())

    async with http_peer(converse) as server, connected(gateway.address) as channel:

        async def ask_until_refused(caller: int) -> None:
            for number in range(100_000):
                call = begin(channel, asking(f"{server.url}/{caller}/{number}"))
                status = await status_of(call)
                if status.code is grpc.StatusCode.OK:
                    body = (await call).response.body.decode()
                    assert body == f"/{caller}/{number}"
                    answered.add(body)
                    continue
                # The gateway says no; or gRPC, when nobody listens any more, or its server ends as the call comes.
                reason = fairlead.Reason(status.failure.reason).name if status.failure else status.code.name
                refused[reason] += 1
                if reason == "DRAINING":
                    assert status.failure
                    assert 100 <= status.failure.retry_after.ToMilliseconds() <= 1000
                return

        async with asyncio.TaskGroup() as callers:
            for caller in range(CALLERS):
                callers.create_task(ask_until_refused(caller))
            await eventually(lambda: len(answered) > 3 * CALLERS, "a load")
            assert await gateway.terminate() == 0
        got = [request.target for request in server.requests]
    assert len(got) == len(set(got)), "sent twice"
    assert answered == set(got)
    assert refused.keys() <= {"DRAINING", "UNAVAILABLE", "CANCELLED"}, refused
    assert refused["DRAINING"] > 0
    assert refused.total() == CALLERS


async def test_sigterm_under_load_says_goodbye_for_every_session(gateway: Gateway, exchange: Exchange) -> None:
    """Each subscriber gets all that came, and then the end with its cause; the exchange gets its close frames."""
    async with connected(gateway.address) as channel:
        streams = []
        for number in range(SESSIONS):
            stream = Attachment(channel)
            url = f"{exchange.ws}/numbered?rate=200&feed={number}"
            await stream.open(1, pb.Open(session=f"s{number}", target=pb.Target(url=url)))
            await stream.frames(1, 3)
            streams.append(stream)
        assert await gateway.terminate() == 0
        for stream in streams:
            ended = await stream.ended(1)
            assert ended.session_closed
            assert fairlead.Reason(ended.cause.reason) is fairlead.Reason.DRAINING
            status = await stream.status()
            assert status.failure is not None
            assert fairlead.Reason(status.failure.reason) is fairlead.Reason.DRAINING
    closed = [await exchange.closed(each["id"]) for each in await exchange.connections()]
    assert [(each["closed_by"], each["close_code_received"]) for each in closed] == [("peer_close", 1001)] * SESSIONS
