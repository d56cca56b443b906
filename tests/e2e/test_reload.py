"""The configuration changes while the gateway runs: what takes effect, what ends by it, and what is not touched."""

import asyncio
import copy
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from fairlead.v1.session_pb2 import SESSION_STATE_OPEN, Command, Heartbeat, Join, Open, Start, Target
from tests.e2e.attach import Attachment, connected, span, status_of
from tests.e2e.callers import (
    TOKENS,
    UNKNOWN,
    Papers,
    Serve,
    bearer,
    call_everything,
    channel_to,
    connect,
    everything,
    sha256,
)
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import LOOPBACK, SCHEMES, Exchange, Gateway, eventually

pytestmark = pytest.mark.plain

QUIET = Heartbeat(interval=span(0))
Config = dict[str, Any]
# Security case 9: from the change on.
REVOKED_WITHIN_S = 5.0


def write(gateway: Gateway) -> None:
    gateway.config_file.write_text(yaml.safe_dump(gateway.config, sort_keys=False))


async def reload(gateway: Gateway) -> str:
    """Has it read `gateway.config`; returns its log from then on."""
    before = len(gateway.log)
    write(gateway)
    gateway.send_signal(signal.SIGHUP)
    await eventually(lambda: " config.reload " in gateway.log[before:], "it has been read again")
    return gateway.log[before:]


# ---- Revocation. ----


def without_caller(config: Config) -> None:
    del config["callers"][0]


def without_token(config: Config) -> None:
    config["callers"][0]["token_sha256"] = [sha256(UNKNOWN)]


def without_policy(config: Config) -> None:
    del config["policies"][0]


def without_method(config: Config) -> None:
    config["policies"][0]["methods"] = ["SessionService.ListSessions", "HttpService.Send"]


async def read_on(call: Any) -> None:
    """Until it raises: a status comes behind what has not been read."""
    while True:
        await call.read()


REVOCATIONS = [without_caller, without_token, without_policy, without_method]


@pytest.mark.parametrize("how", ["by signal", "by file"])
@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_an_identity_is_revoked_while_its_streams_are_open(
    serve: Serve, papers: Papers, exchange: Exchange, revoke: Callable[[Config], None], how: str
) -> None:
    """Security case 9."""
    gateway = serve()
    assert gateway.config["callers"][0]["identity"] == gateway.config["policies"][0]["identity"] == "feeds"
    opening = Open(session="md", target=Target(url=f"{exchange.ws}/numbered?rate=100&feed="), heartbeat=QUIET)
    async with channel_to(gateway, papers) as channel:
        stream = Attachment(channel, bearer(TOKENS["feeds"]))
        await stream.open(1, opening)
        await stream.frame(1)
        rpc: Any = channel.unary_stream("/fairlead.v1.SessionService/Tail")
        tail = rpc(pb.TailRequest(session="md").SerializeToString(), metadata=[bearer(TOKENS["feeds"])])
        await tail.read()
        others = Attachment(channel, bearer(TOKENS["desk"]))
        await others.open(1, opening)

        revoke(gateway.config)
        write(gateway)
        changed = time.monotonic()
        if how == "by signal":
            gateway.send_signal(signal.SIGHUP)
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.hear(pb.Draining)
        with pytest.raises(grpc.aio.AioRpcError):
            await read_on(tail)
        ends = [await stream.status(), await status_of(tail)]
        assert time.monotonic() - changed < REVOKED_WITHIN_S
        for status in ends:
            assert status.code is grpc.StatusCode.PERMISSION_DENIED
            assert status.failure
            assert status.failure.reason == types_pb2.REASON_REVOKED
            assert status.details.startswith("the configuration has changed: ")
        if revoke is not without_token:  # The identity has its certificate still.
            await exchange.closed(1)
            assert "identity=feeds state=CLOSED generation=1 reason=REVOKED" in gateway.log
        again = await call_everything(channel, bearer(TOKENS["feeds"]))
        assert again["Attach"].code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}

        await others.frame(1)
        assert (await exchange.connection(2))["state"] == "open"


async def test_a_revoked_stream_that_nobody_reads_is_cut_off(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """A status would wait behind what the peer does not take: CANCELLED is what the cut leaves."""
    gateway = serve()
    async with channel_to(gateway, papers) as channel, connect(gateway, papers, token=TOKENS["feeds"]) as client:
        stream = Attachment(channel, bearer(TOKENS["feeds"]))
        target = Target(url=f"{exchange.ws}/numbered?rate=5000&size=10000&feed=")
        await stream.open(1, Open(session="md", target=target, heartbeat=QUIET))

        async def stuck() -> bool:
            return (await client.session("md")).subscribers[0].lag_entries > 1000

        await eventually(stuck, "it is behind by more than a write")
        without_policy(gateway.config)
        assert "streams_ended=2" in await reload(gateway)
        await asyncio.sleep(3)  # For the cut, a second later.
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.hear(pb.Draining)
        assert (await stream.status()).code is grpc.StatusCode.CANCELLED


async def test_a_revoked_certificate(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """Its connection goes on, and serves what its token is good for."""
    gateway = serve(certificates=True)
    async with channel_to(gateway, papers, papers.feeds) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo"), heartbeat=QUIET))
        gateway.config["callers"][0]["certificates"] = []
        await reload(gateway)
        status = await stream.status()
        assert status.code is grpc.StatusCode.PERMISSION_DENIED
        assert status.failure
        assert status.failure.reason == types_pb2.REASON_REVOKED
        assert (await call_everything(channel))["Attach"].code is grpc.StatusCode.UNAUTHENTICATED
        assert (await call_everything(channel, bearer(TOKENS["feeds"])))["Attach"].code is grpc.StatusCode.OK


async def test_a_certificate_of_another_identity_now(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(certificates=True)
    async with channel_to(gateway, papers, papers.feeds) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo"), heartbeat=QUIET))
        one, other = gateway.config["callers"]
        one["certificates"], other["certificates"] = other["certificates"], one["certificates"]
        await reload(gateway)
        status = await stream.status()
        assert status.failure
        assert status.failure.reason == types_pb2.REASON_REVOKED
        assert "another identity" in status.details


async def test_the_python_client_of_a_revoked_identity_does_not_try_again(
    serve: Serve, papers: Papers, exchange: Exchange
) -> None:
    gateway = serve()
    async with connect(gateway, papers, token=TOKENS["feeds"]) as client:
        session = client.websocket(f"{exchange.ws}/echo", name="md")
        await session.open()
        without_policy(gateway.config)
        await reload(gateway)
        with pytest.raises(fairlead.FairleadError) as error:
            async for _ in session:
                pass
        assert error.value.reason in {fairlead.Reason.REVOKED, fairlead.Reason.NOT_GRANTED}
    assert "sessions_closed=1 streams_ended=1" in gateway.log


async def test_a_token_is_rotated_without_an_end(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """New hash in, a client with it takes the session over at its cursor, old hash out: no frame is missed."""
    gateway = serve()
    hashes = gateway.config["callers"][0]["token_sha256"]
    url = f"{exchange.ws}/numbered?rate=500&feed="
    async with connect(gateway, papers, token=TOKENS["feeds"]) as old:
        session = old.websocket(url, name="md")
        await session.open()
        numbers = [int((await anext(aiter(session))).text) for _ in range(10)]
        hashes.append(sha256(UNKNOWN))
        await reload(gateway)
        async with connect(gateway, papers, token=UNKNOWN) as new:
            assert session.position
            taken = new.websocket(url, name="md", start=session.position)
            await taken.open()
            del hashes[0]
            log = await reload(gateway)
            assert "sessions_closed=0 streams_ended=1" in log
            async for frame in taken:
                numbers.append(int(frame.text))
                if len(numbers) == 500:
                    break
            assert numbers == list(range(1, 501))
    assert len(await exchange.connections("numbered")) == 1


async def test_a_client_whose_token_is_in_a_file_goes_on_with_the_next(
    serve: Serve, papers: Papers, exchange: Exchange, scratch: Path
) -> None:
    """New hash in, new token into the file, old hash out: the client comes back by itself, and no frame is missed."""
    gateway = serve()
    hashes = gateway.config["callers"][0]["token_sha256"]
    file = scratch / "token"
    file.write_text(TOKENS["feeds"])
    async with connect(gateway, papers, token=fairlead.token_file(file)) as client:
        session = client.websocket(f"{exchange.ws}/numbered?rate=500&feed=", name="md")
        await session.open()
        hashes.append(sha256(UNKNOWN))
        await reload(gateway)
        file.write_text(UNKNOWN)
        del hashes[0]
        log = await reload(gateway)
        assert "sessions_closed=0 streams_ended=1" in log
        numbers: list[int] = []
        left: list[fairlead.Detached] = []
        async for entry in session.events():
            if isinstance(entry, fairlead.Detached):
                left.append(entry)
            elif isinstance(entry, fairlead.Frame):
                numbers.append(int(entry.text))
                if left and len(numbers) >= 500:
                    break
        assert numbers == list(range(1, len(numbers) + 1))
        assert [each.cause.reason for each in left] == [fairlead.Reason.REVOKED]
    assert len(await exchange.connections("numbered")) == 1


@pytest.mark.parametrize("change", ["not granted", "gone", "lifts nothing", "after SetTarget"])
async def test_a_session_that_may_no_longer_connect_there_ends(
    start_gateway: StartGateway, exchange: Exchange, change: str
) -> None:
    port = {kind: int(getattr(exchange, kind).rsplit(":", 1)[1]) for kind in ("ws", "tcp")}
    rules = [
        {**LOOPBACK, "name": "websockets", "ports": [port["ws"]]},
        {**LOOPBACK, "name": "sockets", "ports": [port["tcp"]]},
    ]
    policy = {**everything("tests"), "egress": ["websockets", "sockets"]}
    gateway = start_gateway({"egress": {"rules": rules}, "policies": [policy]})
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(session="md", target=Target(url=f"{exchange.ws}/echo"), heartbeat=QUIET))
        preamble = exchange.preamble("/numbered?rate=100&feed=")
        await stream.say(
            Command(channel=2, open=Open(target=Target(url=exchange.tcp), socket=pb.SocketOptions(preamble=preamble)))
        )
        await stream.state(2, SESSION_STATE_OPEN)
        if change == "after SetTarget":
            # Where it is connected is still allowed, where it would be next is not.
            other = {"name": "other", "schemes": SCHEMES, "hosts": ["example.com"]}
            gateway.config["egress"]["rules"].append(other)
            policy["egress"].append("other")
            await reload(gateway)
            target = Target(url="ws://example.com/")
            await stream.say(Command(channel=1, id=1, set_target=pb.SetTarget(target=target)))
            assert (await stream.result(1)).failure.reason == types_pb2.REASON_UNSPECIFIED
            policy["egress"].remove("other")
        elif change == "not granted":
            policy["egress"].remove("websockets")
        elif change == "gone":
            del rules[0]
            policy["egress"].remove("websockets")
        else:
            rules[0]["cidrs"] = []
        log = await reload(gateway)
        assert "sessions_closed=1 streams_ended=0" in log
        ended = await stream.ended(1)
        assert ended.cause.reason == types_pb2.REASON_REVOKED
        assert ended.session_closed
        await exchange.closed(1)
        await stream.frame(2)


async def test_a_request_does_not_use_a_connection_of_the_rules_before(
    start_gateway: StartGateway, exchange: Exchange
) -> None:
    rule = dict(LOOPBACK)
    gateway = start_gateway({"egress": {"rules": [rule]}})
    url = f"{exchange.http}/echo"
    async with fairlead.connect(gateway.address) as client:
        for _ in range(2):
            assert (await client.http.get(url)).status == 200
        assert len(await exchange.http_connections()) == 1
        rule["cidrs"] = []
        await reload(gateway)
        with pytest.raises(fairlead.PermissionDenied) as error:
            await client.http.get(url)
        assert error.value.reason is fairlead.Reason.EGRESS_DENIED
        rule["cidrs"] = LOOPBACK["cidrs"]
        await reload(gateway)
        assert (await client.http.get(url)).status == 200
    assert len(await exchange.http_connections()) == 2


async def test_a_reader_whose_grant_is_gone_reads_no_more(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(grants=[{"identity": "feeds", "sessions": ["md"], "readers": ["desk"]}])
    async with channel_to(gateway, papers) as channel:
        owner = Attachment(channel, bearer(TOKENS["feeds"]))
        target = Target(url=f"{exchange.ws}/numbered?rate=100&feed=")
        await owner.open(1, Open(session="md", target=target, heartbeat=QUIET))
        reader = Attachment(channel, bearer(TOKENS["desk"]))
        await reader.open(1, Open(session="own", target=target, heartbeat=QUIET))
        await reader.say(Command(channel=2, join=Join(session="md", identity="feeds", start=Start())))
        await reader.frame(2)
        gateway.config["grants"] = []
        assert "changed=grants sessions_closed=0 streams_ended=0" in await reload(gateway)
        ended = await reader.ended(2)
        assert ended.cause.reason == types_pb2.REASON_REVOKED
        assert not ended.session_closed
        for stream in (owner, reader):
            await stream.frame(1)


# ---- What is read again. ----


def refused(gateway: Gateway, before: int, errors: int) -> bool:
    return gateway.log[before:].count(" config.refused ") == errors


def further(counts: dict[str, int], than: dict[str, int]) -> bool:
    return all(counts[kind] > than[kind] for kind in counts)


async def test_what_is_wrong_changes_nothing(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"policies": [everything("tests")]})
    good = copy.deepcopy(gateway.config)
    async with (
        fairlead.connect(gateway.address) as client,
        client.websocket(f"{exchange.ws}/echo", name="md") as session,
    ):
        gateway.config["policies"] = [{"identity": "other", "methods": ["all"]}, {"identity": "other"}]
        wrong = [yaml.safe_dump(gateway.config), "listeners: [", "", None]
        errors = [2, 1, 1, 1]
        for text, count in zip(wrong, errors, strict=True):
            before = len(gateway.log)
            if text is None:
                gateway.config_file.unlink()
            else:
                gateway.config_file.write_text(text)
            gateway.send_signal(signal.SIGHUP)
            await eventually(partial(refused, gateway, before, count), f"{count} errors are told of {text!r}")
            await session.send("as before")
            assert (await anext(aiter(session))).text == "as before"
        assert 'policies[0].methods[0]: no method \\"all\\"' in gateway.log
        assert "policies[1].identity: the same as policies[0].identity" in gateway.log
        assert " config.reload " not in gateway.log
        gateway.config = good
        assert "changed=nothing sessions_closed=0 streams_ended=0" in await reload(gateway)


async def test_what_needs_a_restart_is_told_and_left(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"limits": {"sessions": 1}})
    gateway.config["limits"] = {"sessions": 2, "streams": 5}
    gateway.config["reflection"] = False
    gateway.config["channelz"] = True
    gateway.config["listeners"].pop()
    gateway.config["log"] = {"level": "debug"}
    await reload(gateway)
    log = await reload(gateway)
    told = [line.split("field=")[1].split()[0] for line in log.splitlines() if " config.restart " in line]
    assert told == ["channelz", "limits.sessions", "limits.streams", "listeners", "reflection"], (
        "each time, by what runs"
    )
    async with fairlead.connect(gateway.grpc) as client, client.websocket(f"{exchange.ws}/echo"):
        with pytest.raises(fairlead.LimitReached):
            await client.websocket(f"{exchange.ws}/echo").open()


async def test_calls_go_on_while_it_is_read_again(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    """Tokens and policies come and go, with requests, opens and a feed under way: no call of who may make it fails."""
    gateway = serve()
    spare: list[str] = []
    over = asyncio.Event()
    calls = {"requests": 0, "opens": 0, "frames": 0}

    async def requests(client: fairlead.Gateway) -> None:
        while not over.is_set():
            assert (await client.http.get(f"{exchange.http}/echo", timeout=30, max_wait=30)).status == 200
            calls["requests"] += 1
            await asyncio.sleep(0.002)  # Else this process is busy with nothing else.

    async def opens(client: fairlead.Gateway) -> None:
        while not over.is_set():
            async with client.websocket(f"{exchange.ws}/echo") as session:
                await session.send("hello")
                assert (await anext(aiter(session))).text == "hello"
            assert [each.name for each in await client.sessions() if each.name == "md"] == ["md"]
            calls["opens"] += 1

    async def frames(client: fairlead.Gateway, opened: asyncio.Event) -> None:
        async with client.websocket(f"{exchange.ws}/numbered?rate=2000&feed=", name="md") as session:
            opened.set()
            async for frame in session:
                calls["frames"] += 1
                assert int(frame.text) == calls["frames"]
                if over.is_set():
                    return

    async with connect(gateway, papers, token=TOKENS["feeds"]) as client:
        opened = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(frames(client, opened))
            await opened.wait()
            for _ in range(4):
                tasks.create_task(requests(client))
                tasks.create_task(opens(client))
            for number in range(20):
                spare.append(f"spare {number}")
                gateway.config["callers"][0]["token_sha256"] = [sha256(TOKENS["feeds"]), sha256(spare[-1])]
                gateway.config["policies"][0]["max_sessions"] = 1000 + number
                gateway.config["policies"][1]["egress"] = ["*"] if number % 2 else []
                await reload(gateway)
                await eventually(partial(further, calls, dict(calls)), "calls go on")
            over.set()
    assert gateway.log.count(" config.reload ") == 20
    assert "sessions_closed=0 streams_ended=0" in gateway.log
    for reloaded in gateway.log.split(" config.reload ")[1:]:
        assert "sessions_closed=0 streams_ended=0" in reloaded.splitlines()[0]
