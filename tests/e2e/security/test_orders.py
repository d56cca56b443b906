"""Security case 35: an order goes out once, however eager the client's gRPC is to try again."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

import fairlead
from fairlead.v1.http_pb2 import SendRequest, SendResponse
from tests.e2e.attach import status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import SEND, Failed, ask, asking, begin
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import LOOPBACK, PATIENCE_S, Exchange, Gateway, eventually

EVERY_CODE = [
    code.name for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
]
# After the order has arrived: what the exchange does.
ENDS: dict[str, dict[str, Any]] = {
    "reset": {"kind": "reset_response_at", "byte": 0},
    "end": {"kind": "close_response_at", "byte": 0},
    "cut": {"kind": "close_response_at", "byte": 20},
    "silence": {"kind": "never_answer"},
}


def eager(*codes: str, pause: float = 0.01) -> list[tuple[str, Any]]:
    """Channel options: five attempts at every method that ends with one of these."""
    policy = {
        "maxAttempts": 5,
        "initialBackoff": f"{pause}s",
        "maxBackoff": f"{pause}s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": list(codes),
    }
    return [
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})),
        ("grpc.enable_retries", 1),
        ("grpc.use_local_subchannel_pool", 1),
    ]


async def placed(exchange: Exchange) -> dict[str, int]:
    """How often each order was received whole."""
    orders: dict[str, int] = (await exchange.http_summary())["orders"]
    return orders


async def order(address: str, exchange: Exchange, codes: list[str], end: str) -> Failed:
    """One order over a channel that tries again."""
    async with grpc.aio.insecure_channel(address, eager(*codes)) as channel:
        request = asking(f"{exchange.http}/order?id=one", "POST", timeout=1 if end == "silence" else 30, body=b"one")
        result = await ask(channel, request)
    assert isinstance(result, Failed), result
    return result


ORDERS = 10
DEATHS = 15
AT_ONCE = fairlead.Reconnect(initial_backoff=0.01, max_backoff=0.01)
UNKNOWN_ENDS = {
    "reset": ("UNKNOWN", "CONNECTION_LOST", "SENT_NO_REPLY"),
    "end": ("UNKNOWN", "CONNECTION_LOST", "SENT_NO_REPLY"),
    "cut": ("DATA_LOSS", "CONNECTION_LOST", "REPLIED"),
    "silence": ("DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "SENT_NO_REPLY"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_case_35_a_retry_policy_for_what_is_unavailable_sends_no_order_twice(
    gateway: Gateway, exchange: Exchange, end: str
) -> None:
    """The usual policy. An order that the exchange may have is never UNAVAILABLE: it is told, and not tried again."""
    await exchange.http_fault(count=100, **ENDS[end])
    failed = await order(gateway.address, exchange, ["UNAVAILABLE"], end)
    assert (failed.code, *failed.words) == UNKNOWN_ENDS[end]
    assert await placed(exchange) == {"one": 1}


@pytest.mark.parametrize("end", ENDS)
async def test_case_35_a_retry_policy_for_everything_sends_no_order_twice(
    gateway: Gateway, exchange: Exchange, end: str
) -> None:
    """A policy that names UNKNOWN and the like, too."""
    await exchange.http_fault(count=100, **ENDS[end])
    failed = await order(gateway.address, exchange, EVERY_CODE, end)
    assert (failed.code, *failed.words) == UNKNOWN_ENDS[end]
    assert await placed(exchange) == {"one": 1}


async def test_case_35_a_gateway_that_dies_with_an_order_leaves_it_unknown(
    start_gateway: StartGateway, exchange: Exchange
) -> None:
    """The Python client turns gRPC's retries off, whatever it finds: OutcomeUnknown, and the exchange saw one."""
    gateway = start_gateway()
    await exchange.http_fault("never_answer", count=100)
    async with fairlead.connect(gateway.address) as client:
        sending = asyncio.create_task(client.http.post(f"{exchange.http}/order?id=one", body=b"one"))

        async def arrived() -> bool:
            return await placed(exchange) == {"one": 1}

        await eventually(arrived, "the exchange has the order")
        gateway.kill()
        gateway.start()
        with pytest.raises(fairlead.OutcomeUnknown) as unknown:
            await sending
        assert unknown.value.may_have_been_sent
    async with fairlead.connect(gateway.address) as client:
        assert await client.sessions() == [], "the new one is there"
    assert await placed(exchange) == {"one": 1}


async def test_case_35_a_retry_policy_sends_no_order_to_the_next_gateway(
    start_gateway: StartGateway, exchange: Exchange
) -> None:
    """The usual policy, and the gateway dies with the order: gRPC's own UNAVAILABLE, which this policy names.

    But the call has its initial metadata already, and a call of which something is known is not tried again.
    """
    gateway = start_gateway()
    await exchange.http_fault("never_answer", count=1)
    async with grpc.aio.insecure_channel(gateway.address, eager("UNAVAILABLE", pause=1)) as channel:
        request = asking(f"{exchange.http}/order?id=one", "POST", body=b"one")
        sending = asyncio.create_task(status_of(begin(channel, request)))

        async def arrived() -> bool:
            return await placed(exchange) == {"one": 1}

        await eventually(arrived, "the exchange has the order")
        gateway.kill()
        gateway.start()
        status = await sending
    assert await placed(exchange) == {"one": 1}
    assert (status.code, status.failure) == (grpc.StatusCode.UNAVAILABLE, None)


@pytest.mark.plain
async def test_case_35_a_gateway_that_dies_at_the_first_byte_of_an_order(scratch: Path) -> None:
    """The same as early as can be: it is killed when the exchange has read the first byte. Another one is there."""
    read: list[str] = []
    victim: list[Gateway] = []

    async def converse(wire: Wire) -> None:
        first = await wire.take(1)
        if victim:
            victim.pop().kill()
        read.append(bytes(first).decode())
        await wire.take(1 << 20)

    gateways = []
    for name in ("first", "other"):
        (scratch / name).mkdir()
        listeners = [{"identity": "tests", "tcp": {"host": "127.0.0.1"}}]
        gateways.append(Gateway(scratch / name, {"listeners": listeners, "egress": {"rules": [LOOPBACK]}}))
    gateway, other = gateways
    other.start()
    async with http_peer(converse) as server:
        for number in range(DEATHS):
            gateway.start()
            victim.append(gateway)
            address = f"ipv4:{gateway.grpc},{other.grpc}"
            async with grpc.aio.insecure_channel(address, eager("UNAVAILABLE", pause=0.05)) as channel:
                status = await status_of(begin(channel, asking(f"{server.url}/{number}", "POST", timeout=1, body=b"x")))
                assert status.code is grpc.StatusCode.UNAVAILABLE
                assert status.failure is None
            assert not victim, "it has died with the order"
            assert len(read) == number + 1, "and nobody has sent it again"


async def test_what_may_be_asked_twice_waits_for_nothing(gateway: Gateway, exchange: Exchange) -> None:
    """Initial metadata comes early for an order, unless its client says that it never tries again; else at the end."""
    await exchange.http_fault("never_answer", count=100)
    for method, retries, early in (
        ("POST", "", True),
        ("POST", "on", True),
        ("POST", "off", False),
        ("GET", "", False),
    ):
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            metadata = (("fairlead-retries", retries),) if retries else ()
            request = SendRequest(request=asking(f"{exchange.http}/order?tag={method}-{retries}", method))
            # As if it had many responses: of a call with one, grpc.aio tells nothing before its end.
            send = channel.unary_stream(SEND, SendRequest.SerializeToString, SendResponse.FromString)
            call = send(request, metadata=metadata)
            told = asyncio.ensure_future(call.initial_metadata())
            if early:
                await asyncio.wait_for(told, PATIENCE_S)
                call.cancel()
                continue

            async def arrived(tag: str = f"{method}-{retries}") -> bool:
                return len(await exchange.http_requests(f"tag={tag}")) == 1

            await eventually(arrived, "the exchange has it")
            assert not told.done(), f"{method} {retries}"
            call.cancel()
            await asyncio.gather(told, return_exceptions=True)


async def test_case_35_a_session_sends_no_order_twice(gateway: Gateway, exchange: Exchange) -> None:
    """Orders as frames, each while its transport is reset: one outcome each, and no later transport sends it again."""
    unsent: set[int] = set()
    async with (
        fairlead.connect(gateway.address) as client,
        client.websocket(f"{exchange.ws}/idle?tag=orders", name="orders", reconnect=AT_ONCE) as session,
    ):

        async def place(number: int) -> None:
            try:
                await session.send(f"order {number}.")
            except fairlead.SendFailed:
                unsent.add(number)
            except fairlead.OutcomeUnknown:
                pass  # The exchange may have it, once.

        for number in range(ORDERS):
            await asyncio.gather(place(number), exchange.fault("reset", {"target": "tag=orders"}))

            async def again(transports: int = number + 2) -> bool:
                records = await exchange.connections("tag=orders")
                return len(records) == transports and session.state is fairlead.SessionState.OPEN

            await eventually(again, "another transport is open")
    received = ""
    for record in await exchange.connections("tag=orders"):
        received += str((await exchange.connection(record["id"]))["frames"])
    counts = {number: received.count(f"order {number}.") for number in range(ORDERS)}
    print(f"{sum(counts.values())} arrived, {len(unsent)} not sent")
    assert max(counts.values()) == 1
    assert not [number for number in unsent if counts[number]]
