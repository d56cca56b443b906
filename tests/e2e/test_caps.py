"""How much an identity may have: the caps of its policy, each beside another identity that goes on."""

import asyncio
from pathlib import Path

import grpc
import pytest

import fairlead
from fairlead.v1 import types_pb2
from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    Command,
    Open,
    Send,
    Target,
)
from tests.e2e.attach import Attachment, Status, connected, span
from tests.e2e.callers import (
    TOKENS,
    Papers,
    Serve,
    bearer,
    call_everything,
    channel_to,
    connect,
    everything,
    policy,
)
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import PATIENCE_S, Exchange, eventually

pytestmark = pytest.mark.plain


async def test_caps_are_of_an_identity_alone(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(policies=[policy("feeds", max_sessions=2, max_streams=1, max_requests=3), everything("desk")])
    url = f"{exchange.ws}/echo"
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as feeds,
        connect(gateway, papers, token=TOKENS["desk"]) as desk,
        feeds.websocket(url, name="one"),
        feeds.websocket(url) as anonymous,
    ):
        with pytest.raises(fairlead.LimitReached) as error:
            await feeds.websocket(url, name="three").open()
        assert error.value.message == "policies[feeds].max_sessions, 2, are open"
        for name in ("one", "two", "three"):
            await desk.websocket(url, name=name).open()
        await anonymous.close()
        async with feeds.websocket(url, name="three"):
            pass

        async with channel_to(gateway, papers) as channel:
            status = await Attachment(channel, bearer(TOKENS["feeds"])).status()
            assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert status.details == "policies[feeds].max_streams, 1, are open"
            assert (await call_everything(channel, bearer(TOKENS["desk"])))["Attach"].code is grpc.StatusCode.OK

        slow = [asyncio.create_task(feeds.http.get(f"{exchange.http}/slow?ms=60000", timeout=60)) for _ in range(3)]

        async def under_way() -> bool:
            return len(await exchange.http_requests("slow")) == 3

        await eventually(under_way, "three requests are under way")
        with pytest.raises(fairlead.LimitReached) as error:
            await feeds.http.get(f"{exchange.http}/echo")
        assert error.value.message == "policies[feeds].max_requests, 3, are under way"
        assert (await desk.http.get(f"{exchange.http}/echo")).status == 200
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

        async def may() -> bool:
            try:
                return (await feeds.http.get(f"{exchange.http}/echo")).status == 200
            except fairlead.LimitReached:
                return False

        await eventually(may, "the cancelled ones are counted no more")


async def test_the_send_queue_of_an_identity(start_gateway: StartGateway, exchange: Exchange) -> None:
    """Over all its sessions: each message counts its bytes and 64."""
    gateway = start_gateway({"policies": [policy("tests", max_send_queue_bytes=1000)]})
    waits = span(60)
    target = Target(url=f"{exchange.ws}/login?mute=1")
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await exchange.accept("never_upgrade")
        for number in (1, 2):
            await stream.say(Command(channel=number, open=Open(target=target)))
            await stream.attached(number)
        await stream.say(
            Command(channel=1, id=1, send=Send(payload=b"x" * 436, max_wait=waits)),
            Command(channel=2, id=2, send=Send(payload=b"x" * 437, max_wait=waits)),
            Command(channel=2, id=3, send=Send(payload=b"x" * 436, max_wait=waits)),
            Command(channel=1, id=4, send=Send(payload=b"", max_wait=waits)),
        )
        for refused in (2, 4):
            result = await stream.result(refused)
            assert result.outcome == OUTCOME_NOT_SENT
            assert result.failure.reason == types_pb2.REASON_LIMIT_REACHED
            assert result.failure.message.startswith("policies[tests].max_send_queue_bytes, 1000: ")


async def test_the_connections_of_an_identity(serve: Serve, papers: Papers) -> None:
    """A connection is its from its first call on. What is refused names the cap, and is served when there is room."""
    gateway = serve(policies=[policy("feeds", max_connections=2), everything("desk")])
    feeds, desk = bearer(TOKENS["feeds"]), bearer(TOKENS["desk"])
    async with channel_to(gateway, papers) as first, channel_to(gateway, papers) as third:
        async with channel_to(gateway, papers) as second:
            for channel in (first, second, first):
                assert (await call_everything(channel, feeds))["ListSessions"].code is grpc.StatusCode.OK
            for name, status in (await call_everything(third, feeds)).items():
                assert status.code is grpc.StatusCode.RESOURCE_EXHAUSTED, name
                assert status.details == "policies[feeds].max_connections, 2, are open"
            assert (await call_everything(third, desk))["ListSessions"].code is grpc.StatusCode.OK

        async def served() -> bool:
            return (await call_everything(third, feeds))["ListSessions"].code is grpc.StatusCode.OK

        await eventually(served, "the second connection has ended")


@pytest.mark.parametrize("way", ["unix", "tcp"])
async def test_the_connections_of_a_listeners_identity(start_gateway: StartGateway, scratch: Path, way: str) -> None:
    """They are its from their beginning; those beyond are not accepted, and the log says why."""
    listeners = [
        {"identity": "tests", "unix": {"path": str(scratch / "tests.sock")}},
        {"identity": "tests", "tcp": {"host": "127.0.0.1"}},
        {"identity": "desk", "unix": {"path": str(scratch / "desk.sock")}},
    ]
    policies = [policy("tests", max_connections=1), everything("desk")]
    gateway = start_gateway({"listeners": listeners, "policies": policies})
    address = gateway.grpc if way == "tcp" else f"unix:{scratch}/tests.sock"
    async with fairlead.connect(address) as one:
        for other in (gateway.grpc, f"unix:{scratch}/tests.sock"):
            with pytest.raises(fairlead.GatewayUnavailable):
                async with fairlead.connect(other, connect_timeout=0.3):
                    pass
        assert "policies[tests].max_connections, 1, are open" in gateway.log
        assert await one.sessions() == []
        async with fairlead.connect(f"unix:{scratch}/desk.sock", connect_timeout=PATIENCE_S) as desk:
            assert await desk.sessions() == []
    async with fairlead.connect(address, connect_timeout=PATIENCE_S) as late:
        assert await late.sessions() == []


async def begun_and_over(channel: grpc.aio.Channel, identity: str) -> Status:
    """How a stream ends on which nothing is said."""
    stream = Attachment(channel, bearer(TOKENS[identity]))
    await stream.half_close()
    return await stream.status()


async def test_the_new_streams_of_an_identity(serve: Serve, papers: Papers) -> None:
    gateway = serve(policies=[policy("feeds", max_new_streams_per_second=3), everything("desk")])
    async with channel_to(gateway, papers) as channel:
        ends = [await begun_and_over(channel, "feeds") for _ in range(10)]
        begun = [end for end in ends if end.code is grpc.StatusCode.OK]
        refused = [end for end in ends if end.code is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert len(begun) + len(refused) == 10
        assert len(begun) >= 3
        assert refused
        for status in refused:
            assert status.details == "policies[feeds].max_new_streams_per_second, 3, have begun"
            assert status.failure
            assert 0 < status.failure.retry_after.ToMilliseconds() <= 334
        for _ in range(5):
            assert (await begun_and_over(channel, "desk")).code is grpc.StatusCode.OK


async def test_the_bodies_of_an_identity(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(policies=[policy("feeds", max_body_bytes=1000), everything("desk")])
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as feeds,
        connect(gateway, papers, token=TOKENS["desk"]) as desk,
    ):
        for client, size in ((feeds, 1001), (desk, 1001), (feeds, 10)):
            sending = client.http.post(f"{exchange.http}/order?id={size}", body=b"x" * size)
            if (client, size) == (feeds, 1001):
                with pytest.raises(fairlead.LimitReached) as error:
                    await sending
                assert error.value.message.startswith("policies[feeds].max_body_bytes, 1000: ")
            else:
                assert (await sending).status == 200
