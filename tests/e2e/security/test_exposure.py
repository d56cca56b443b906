"""Security case 32: what tells about the gateway from the inside is not there unless it is configured."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import session_pb2_grpc as pb_grpc
from fairlead.v1 import types_pb2
from tests.e2e.attach import connected, status_of
from tests.e2e.callers import SECRET, TOKENS, Papers, channel_to, everything, tls_listener
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Exchange, Gateway

REFLECTION = [f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")]
CHANNELZ = [
    f"/grpc.channelz.v1.Channelz/{method}"
    for method in ("GetTopChannels", "GetServers", "GetServer", "GetServerSockets", "GetChannel", "GetSocket")
]
OTHERS = [
    "/grpc.admin.v1.Admin/Get",
    "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
    "/fairlead.v1.DebugService/Dump",
]
LIST_SERVICES = b"\x3a\x00"  # ServerReflectionRequest {list_services: ""}


async def codes(channel: grpc.aio.Channel, methods: list[str]) -> set[grpc.StatusCode]:
    found = set()
    for method in methods:
        call: Any = channel.unary_stream(method) if method in REFLECTION else channel.unary_unary(method)
        status = await status_of(call(LIST_SERVICES if method in REFLECTION else b""))
        assert not status.failure, "gRPC knows no such method"
        found.add(status.code)
    return found


async def all_of(channel: grpc.aio.Channel) -> bytes:
    """Everything that channelz tells: its numbers count from 1 over servers, connections and channels together."""
    told = b""
    for method in CHANNELZ:
        ask: Any = channel.unary_unary(method)
        for number in range(1, 64):
            try:
                told += await ask(bytes([8, number]))
            except grpc.aio.AioRpcError as error:
                # There is nothing of that number and kind; it depends on the method which of the two it says.
                if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL):
                    raise
    return told


@pytest.fixture
def silent(start_gateway: StartGateway, papers: Papers, scratch: Path) -> Gateway:
    """All kinds of listeners, and no word of reflection in the configuration."""
    gateway = start_gateway(listeners(papers, scratch), start=False)
    del gateway.config["reflection"]
    gateway.start()
    return gateway


def listeners(papers: Papers, scratch: Path) -> dict[str, Any]:
    secure = tls_listener(papers, scratch)
    unix = {"identity": "tests", "unix": {"path": str(scratch / "fairlead.sock")}}
    tcp = {"identity": "tests", "tcp": {"host": "127.0.0.1"}}
    policies = [*secure["policies"], everything("tests")]
    return {**secure, "policies": policies, "listeners": [unix, tcp, *secure["listeners"]]}


def addresses(gateway: Gateway) -> tuple[str, str]:
    """Of its TCP listeners: on loopback without TLS, and the one that names no identity."""
    plain, secure = (word.removeprefix("grpc=") for word in gateway.ready_line.split() if word.startswith("grpc="))
    return plain, secure


async def test_case_32_reflection_and_channelz_are_not_there(silent: Gateway, papers: Papers) -> None:
    """UNIMPLEMENTED on each listener: Unix socket, loopback, TLS, where who shows no token is told no more either."""
    everything = [*REFLECTION, *CHANNELZ, *OTHERS]
    plain, secure = addresses(silent)
    for address in (silent.address, plain):
        async with connected(address) as channel:
            assert await codes(channel, everything) == {grpc.StatusCode.UNIMPLEMENTED}
    silent.grpc = secure
    async with channel_to(silent, papers) as channel:
        assert await codes(channel, everything) == {grpc.StatusCode.UNIMPLEMENTED}


async def test_case_32_configured_reflection_brings_no_channelz(gateway: Gateway) -> None:
    """What the configuration turns on is there, and nothing beside it."""
    async with connected(gateway.address) as channel:
        assert await codes(channel, [*CHANNELZ, *OTHERS]) == {grpc.StatusCode.UNIMPLEMENTED}
        reflection: Any = channel.unary_stream(REFLECTION[1])
        assert b"fairlead.v1.SessionService" in await reflection(LIST_SERVICES).read()


async def test_case_32_configured_channelz_is_not_for_strangers(
    start_gateway: StartGateway, papers: Papers, scratch: Path, exchange: Exchange
) -> None:
    """It answers where the listener says who calls, and tells nothing of what calls and exchanges carry."""
    gateway = start_gateway({**listeners(papers, scratch), "reflection": False, "channelz": True})
    plain, secure = addresses(gateway)
    gateway.grpc = secure
    token = [("authorization", f"Bearer {TOKENS['desk']}")]
    async with channel_to(gateway, papers) as channel:
        assert await codes(channel, [*REFLECTION, *CHANNELZ, *OTHERS]) == {grpc.StatusCode.UNIMPLEMENTED}
        # Who is known is told no more there; but there is a connection with secrets now, and an open session.
        servers: Any = channel.unary_unary(CHANNELZ[1])
        assert (await status_of(servers(b"", metadata=token))).code == grpc.StatusCode.UNIMPLEMENTED
        target = pb.Target(url=f"{exchange.ws}/echo", headers=[types_pb2.Header(name="x", value=SECRET)])
        opened = pb.AttachRequest(commands=[pb.Command(open=pb.Open(session="told", target=target))])
        stub: Any = pb_grpc.SessionServiceStub(channel)
        stream = stub.Attach(metadata=token)
        await stream.write(opened)
        assert (await stream.read()).events[0].attached.session == "told"
        for address in (gateway.address, plain):
            async with connected(address) as looking:
                told = await all_of(looking)
                assert b"ipv4:127.0.0.1" in told or b"unix:" in told, "peers are"
                assert SECRET.encode() not in told
                assert b"PRIVATE KEY" not in told
                assert await codes(looking, OTHERS + REFLECTION) == {grpc.StatusCode.UNIMPLEMENTED}
                # Numbers that nobody has, and what is no request at all.
                for method in CHANNELZ:
                    ask: Any = looking.unary_unary(method)
                    for request in (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08\x00\x10\xff\x01", b"\xff"):
                        await status_of(ask(request))
    assert SECRET not in gateway.log
