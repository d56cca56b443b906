"""Security case 32: what tells about the gateway from the inside is not there unless it is configured."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.attach import connected, status_of
from tests.e2e.callers import Papers, channel_to, tls_listener
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Gateway

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


@pytest.fixture
def silent(start_gateway: StartGateway, papers: Papers, scratch: Path) -> Gateway:
    """All kinds of listeners, and no word of reflection in the configuration."""
    secure = tls_listener(papers, scratch)
    unix = {"identity": "tests", "unix": {"path": str(scratch / "fairlead.sock")}}
    tcp = {"identity": "tests", "tcp": {"host": "127.0.0.1"}}
    gateway = start_gateway({**secure, "listeners": [unix, tcp, *secure["listeners"]]}, start=False)
    del gateway.config["reflection"]
    gateway.start()
    return gateway


async def test_case_32_reflection_and_channelz_are_not_there(silent: Gateway, papers: Papers) -> None:
    """UNIMPLEMENTED on each listener: Unix socket, loopback, TLS, where who shows no token is told no more either."""
    everything = [*REFLECTION, *CHANNELZ, *OTHERS]
    plain, secure = (word.removeprefix("grpc=") for word in silent.ready_line.split() if word.startswith("grpc="))
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
