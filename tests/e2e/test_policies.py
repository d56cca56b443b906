"""What an identity may do: methods, egress rules, HTTP methods and caps of its policy, and nothing else."""

import asyncio
from functools import partial
from typing import Any

import grpc
import pytest

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    Command,
    Heartbeat,
    Open,
    Send,
    SetTarget,
    Target,
)
from tests.e2e.attach import Attachment, connected, span
from tests.e2e.callers import (
    SERVICES,
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
from tests.e2e.callers import sha256 as hash_of
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import LOOPBACK, SCHEMES, Exchange, Gateway

pytestmark = pytest.mark.plain

DENIED = grpc.StatusCode.PERMISSION_DENIED
METHODS = [f"{service.name}.{method.name}" for service in SERVICES for method in service.methods]


# ---- Methods. ----


async def test_a_method_that_is_not_granted(serve: Serve, papers: Papers) -> None:
    """Security case 8: each method alone is granted to one identity, and all but it to another."""
    identities = {f"only-{method}": [method] for method in METHODS}
    identities |= {f"not-{method}": [other for other in METHODS if other != method] for method in METHODS}
    gateway = serve(
        callers=[{"identity": each, "token_sha256": [hash_of(f"token of {each}")]} for each in identities],
        policies=[policy(each, methods=methods) for each, methods in identities.items()],
    )
    async with channel_to(gateway, papers) as channel:
        for identity, methods in identities.items():
            ends = await call_everything(channel, bearer(f"token of {identity}"))
            granted = {method.split(".")[1] for method in methods}
            assert {name for name, end in ends.items() if end.code is not DENIED} == granted, identity
            for name, status in ends.items():
                if name in granted:
                    continue
                assert status.failure
                assert status.failure.reason == types_pb2.REASON_NOT_GRANTED
                assert status.failure.phase == types_pb2.PHASE_NOT_SENT
                assert f"policies[{identity}].methods does not grant" in status.details
                assert name in status.details


async def test_an_identity_without_a_policy_may_do_nothing(serve: Serve, papers: Papers) -> None:
    gateway = serve(policies=[everything("desk"), {"identity": "other"}])
    async with channel_to(gateway, papers) as channel:
        ends = await call_everything(channel, bearer(TOKENS["feeds"]))
        assert {end.code for end in ends.values()} == {DENIED}
        assert "no policies[feeds]" in ends["Attach"].details
        assert (await call_everything(channel, bearer(TOKENS["desk"])))["Attach"].code is grpc.StatusCode.OK


async def test_what_is_denied_is_not_done(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    granted = ["SessionService.Attach", "SessionService.GetSession", "SessionService.ListSessions"]
    gateway = serve(policies=[policy("feeds", methods=granted)])
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as client,
        client.websocket(f"{exchange.ws}/echo", name="md") as session,
    ):
        with pytest.raises(fairlead.PermissionDenied) as error:
            await client.close_session("md")
        assert error.value.reason is fairlead.Reason.NOT_GRANTED
        assert not error.value.may_have_been_sent
        with pytest.raises(fairlead.PermissionDenied):
            await client.http.get(f"{exchange.http}/echo")
        assert (await client.session("md")).name == "md"
        await session.send("still here")
        assert (await anext(aiter(session))).text == "still here"
    assert await exchange.http_requests() == []


async def test_the_python_client_that_may_not_attach_is_refused_at_once(serve: Serve, papers: Papers) -> None:
    gateway = serve(policies=[policy("feeds", methods=["HttpService.Send"])])
    with pytest.raises(fairlead.PermissionDenied) as error:
        async with connect(gateway, papers, token=TOKENS["feeds"]):
            pass
    assert error.value.reason is fairlead.Reason.NOT_GRANTED


async def test_without_policies_everybody_may(start_gateway: StartGateway, exchange: Exchange) -> None:
    """And with one, the identity of a listener needs its own."""
    gateway = start_gateway()
    async with fairlead.connect(gateway.address) as client:
        assert (await client.http.get(f"{exchange.http}/echo")).status == 200
    assert await gateway.terminate() == 0
    gateway.config["policies"] = [everything("other")]
    gateway.start()
    with pytest.raises(fairlead.PermissionDenied):
        async with fairlead.connect(gateway.address):
            pass


# ---- Egress. ----


def egress(gateway: Gateway, exchange: Exchange) -> None:
    """Rules for the exchange's ports: `feeds` has WebSockets, `api` HTTP, and `other` nothing that is there."""
    port = {kind: int(getattr(exchange, kind).rsplit(":", 1)[1]) for kind in ("ws", "http")}
    gateway.config["egress"] = {
        "rules": [
            {**LOOPBACK, "name": "feeds", "ports": [port["ws"]]},
            {**LOOPBACK, "name": "api", "ports": [port["http"]]},
            {"name": "other", "schemes": SCHEMES, "hosts": ["*"], "ports": [1]},
        ]
    }


async def test_a_rule_that_is_not_granted_is_not_there(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway(start=False)
    egress(gateway, exchange)
    told = []
    for granted in (["other"], ["other", "feeds"], ["api"], []):
        gateway.config["policies"] = [policy("tests", egress=granted)]
        gateway.start()
        async with fairlead.connect(gateway.address) as client:
            session = client.websocket(f"{exchange.ws}/echo")
            if "feeds" in granted:
                await session.open()
            else:
                with pytest.raises(fairlead.FairleadError) as denied:
                    await session.open()
                assert denied.value.reason is fairlead.Reason.EGRESS_DENIED
                told.append(denied.value.message)
            if "api" in granted:
                assert (await client.http.get(f"{exchange.http}/echo")).status == 200
            else:
                with pytest.raises(fairlead.PermissionDenied) as refused:
                    await client.http.get(f"{exchange.http}/echo")
                assert refused.value.reason is fairlead.Reason.EGRESS_DENIED
        assert await gateway.terminate() == 0
    assert len(told) == 3
    assert len(set(told)) == 1, "nothing tells whether a rule is missing or not granted"
    assert [request["target"] for request in await exchange.http_requests()] == ["/echo"]


async def test_a_granted_rule_does_not_lift_what_another_lifts(start_gateway: StartGateway, exchange: Exchange) -> None:
    """`any` matches the target, too, but lifts no address: the one that lifts loopback is not granted."""
    rules = [LOOPBACK, {"name": "any", "schemes": SCHEMES, "hosts": ["*"]}]
    gateway = start_gateway({"egress": {"rules": rules}, "policies": [policy("tests", egress=["any"])]})
    url = exchange.ws.replace("127.0.0.1", "localhost")
    async with fairlead.connect(gateway.address) as client:
        with pytest.raises(fairlead.FairleadError) as error:
            await client.websocket(f"{url}/echo").open()
        assert error.value.reason is fairlead.Reason.EGRESS_DENIED
        assert "is not public" in error.value.message
        with pytest.raises(fairlead.PermissionDenied) as refused:
            await client.http.get(f"{exchange.http}/echo".replace("127.0.0.1", "localhost"))
        assert "is not public" in refused.value.message
    assert await exchange.connections() == await exchange.http_requests() == []


async def test_a_next_target_is_checked_at_once(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway(start=False)
    egress(gateway, exchange)
    gateway.config["policies"] = [policy("tests", egress=["feeds"])]
    gateway.start()
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo"), heartbeat=Heartbeat(interval=span(0))))
        elsewhere = Target(url=exchange.http.replace("http:", "ws:") + "/echo")
        await stream.say(Command(channel=1, id=1, set_target=SetTarget(target=elsewhere)))
        result = await stream.result(1)
        assert result.outcome == OUTCOME_NOT_SENT
        assert result.failure.reason == types_pb2.REASON_EGRESS_DENIED
        await stream.say(
            Command(channel=1, id=2, set_target=SetTarget(target=Target(url=f"{exchange.ws}/idle"))),
            Command(channel=1, id=3, send=Send(payload=b"the session goes on")),
        )
        assert (await stream.result(2)).failure.reason == types_pb2.REASON_UNSPECIFIED
        assert (await stream.frame(1)).payload == b"the session goes on"


# ---- HTTP methods. ----


async def test_http_methods(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"policies": [policy("tests", http_methods=["GET", "HEAD"])]})
    async with fairlead.connect(gateway.address) as client:
        assert (await client.http.get(f"{exchange.http}/echo")).status == 200
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            with pytest.raises(fairlead.PermissionDenied) as error:
                await client.http.request(method, f"{exchange.http}/order?id=1")
            assert error.value.reason is fairlead.Reason.NOT_GRANTED
            assert f"policies[tests].http_methods does not grant {method}" in error.value.message
    assert [request["method"] for request in await exchange.http_requests()] == ["GET"]


# ---- Between identities. ----


async def test_two_credentials_at_one_venue(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """Security case 11: two sockets, and of 100 000 messages each not one goes astray."""
    gateway = serve()
    count, sizes = 100_000, {"feeds": 40, "desk": 41}

    async def follow(identity: str) -> int:
        url = f"{exchange.ws}/numbered?feed=&count={count}&size={sizes[identity]}"
        async with (
            connect(gateway, papers, token=TOKENS[identity]) as client,
            client.websocket(url, name="md", headers={"X-Key": f"key of {identity}"}) as session,
        ):
            seen = 0
            async for batch in session.batches():
                for payload in batch.payloads:
                    seen += 1
                    assert len(payload) == sizes[identity], f"{identity} sees a message of another's"
                    assert int(payload.split()[0]) == seen
                if seen >= count:
                    return seen
        raise AssertionError("the session ended")

    assert await asyncio.gather(*(follow(identity) for identity in sizes)) == [count, count]
    keys = []
    for connection in await exchange.connections("numbered"):
        record = await exchange.connection(connection["id"])
        keys.append(next(value for name, value in record["headers"] if name.lower() == "x-key"))
    assert sorted(keys) == ["key of desk", "key of feeds"]


async def test_a_rotated_key_has_a_new_socket(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """Security case 12: same identity, session and token; what the exchange is shown is new, as is the transport."""
    gateway = serve()
    url = f"{exchange.ws}/echo"
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as client,
        client.websocket(url, name="md", headers={"X-Key": "old"}) as session,
    ):
        await session.set_target(url, headers={"X-Key": "new"})
        await session.reconnect()
        await session.send("by the new one", max_wait=30)
        assert (await anext(aiter(session))).text == "by the new one"
        assert session.generation == 2
        records = [await exchange.connection(each["id"]) for each in await exchange.connections("echo")]
        keys = [[value for name, value in record["headers"] if name.lower() == "x-key"] for record in records]
        assert keys == [["old"], ["new"]]
        assert [record["state"] for record in records] == ["closed", "open"]


async def test_anothers_session_is_byte_for_byte_as_an_unknown_one(
    serve: Serve, papers: Papers, exchange: Exchange
) -> None:
    """Security case 10. Names of one length, so that nothing but the name may differ."""
    gateway = serve()
    headers = [bearer(TOKENS["desk"])]
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as feeds,
        feeds.websocket(f"{exchange.ws}/echo", name="md"),
        channel_to(gateway, papers) as channel,
    ):

        async def unary(method: str, kind: Any, name: str) -> list[Any]:
            rpc: Any = channel.unary_unary(f"/fairlead.v1.SessionService/{method}")
            return await end_of(rpc(kind(session=name).SerializeToString(), metadata=headers))

        async def tail(name: str) -> list[Any]:
            rpc: Any = channel.unary_stream("/fairlead.v1.SessionService/Tail")
            return await end_of(rpc(pb.TailRequest(session=name).SerializeToString(), metadata=headers))

        async def join(name: str, identity: str) -> list[Any]:
            rpc: Any = channel.stream_stream("/fairlead.v1.SessionService/Attach")
            call = rpc(metadata=headers)
            command = Command(channel=1, id=1, join=pb.Join(session=name, identity=identity))
            await call.write(pb.AttachRequest(commands=[command]).SerializeToString())
            answer = await call.read()
            await call.done_writing()
            return [answer, *await end_of(call)]

        asks: list[Any] = [
            partial(unary, "GetSession", pb.GetSessionRequest),
            partial(unary, "CloseSession", pb.CloseSessionRequest),
            tail,
            partial(join, identity=""),
            partial(join, identity="feeds"),
            partial(join, identity="desk"),
        ]
        for ask in asks:
            told = {name: repr(await ask(name)).replace(name, "..") for name in ("md", "qx")}
            assert told["md"] == told["qx"]
            assert "SESSION_NOT_FOUND" in told["md"] or "is not a live session" in told["md"]
        assert [each.name for each in await feeds.sessions()] == ["md"]


async def end_of(call: grpc.aio.Call) -> list[Any]:
    """All that the peer has sent at the end of an RPC."""
    metadata = [tuple(each or ()) for each in (await call.initial_metadata(), await call.trailing_metadata())]
    return [await call.code(), await call.details(), *metadata]
