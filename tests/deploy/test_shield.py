"""HAProxy as deploy/k8s/components/shield has it, for real before a real gateway, both on loopback."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fairlead
from tests.deploy.manifests import config_map, configuration, manifests
from tests.deploy.shield import Attack, attack, check, haproxy, header_bomb, processor_seconds, rapid_reset
from tests.e2e.callers import TOKENS, Papers, credentials, tls_listener
from tests.e2e.certificates import context_of, pem_of
from tests.e2e.processes import LOOPBACK, PATIENCE_S, Exchange, Gateway, eventually

BOMB = 4 * 2**20
RESETS = 10_000
CALLS = "sc0_http_req_rate gt 10000 "
OTHER_ADDRESS = "127.0.0.2"


@dataclass
class Shielded:
    """A gateway, and HAProxy before it."""

    gateway: Gateway
    mutual: str  # The listener of callers with certificates.
    tokens: str  # The listener behind HAProxy.
    shield: str
    papers: Papers
    context: ssl.SSLContext
    log: Path


@pytest.fixture
def shielded(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Shielded]:
    """The two listeners of the overlay "shielded", with ports of this machine; the parameter replaces CALLS."""
    papers = Papers()
    config = tls_listener(papers, scratch, certificates=True)
    [mutual] = config["listeners"]
    tls = {name: file for name, file in mutual["tcp"]["tls"].items() if name != "client_ca_file"}
    config["listeners"].append({"tcp": {"host": "127.0.0.1", "tls": tls}})
    shapes = [sorted(each["tcp"]["tls"]) for each in configuration(manifests("shielded"))["listeners"]]
    assert [sorted(each["tcp"]["tls"]) for each in config["listeners"]] == shapes
    gateway = Gateway(scratch, config | {"egress": {"rules": [LOOPBACK]}})
    gateway.start()
    addresses = [word.split("=")[1] for word in gateway.ready_line.split() if word.startswith("grpc=")]
    files = scratch / "shield"
    files.mkdir()
    (files / "tls.crt").write_bytes(papers.server.certificate)
    (files / "tls.crt.key").write_bytes(papers.server.key)
    (files / "ca.crt").write_bytes(pem_of(papers.gateways))
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    text = config_map(manifests("shielded"), "haproxy.cfg")
    for there, here in (
        ("bind :7072 ", f"bind 127.0.0.1:{port} "),
        ("/etc/shield/", f"{files}/"),
        ("127.0.0.1:7073", addresses[1]),
        (CALLS, getattr(request, "param", CALLS)),
    ):
        assert there in text
        text = text.replace(there, here)
    file = scratch / "haproxy.cfg"
    file.write_text(text)
    try:
        with haproxy(file):
            yield Shielded(
                gateway,
                addresses[0],
                addresses[1],
                f"127.0.0.1:{port}",
                papers,
                context_of(papers.gateways, files),
                file.with_suffix(".log"),
            )
    finally:
        gateway.stop()


def test_haproxy_checks_it(tmp_path: Path) -> None:
    papers = Papers()
    (tmp_path / "tls.crt").write_bytes(papers.server.certificate)
    (tmp_path / "tls.crt.key").write_bytes(papers.server.key)
    (tmp_path / "ca.crt").write_bytes(pem_of(papers.gateways))
    text = config_map(manifests("shielded"), "haproxy.cfg").replace("/etc/shield", str(tmp_path))
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    checked = check(file)
    assert (checked.returncode, checked.stderr) == (0, ""), "no error and no warning"
    file.write_text(text.replace("tune.h2.max-concurrent-streams", "tune.h2.max-concurrent-stream"))
    assert check(file).returncode != 0


async def test_a_token_is_enough(shielded: Shielded, scratch: Path) -> None:
    """Frames of a session, and a request, through both; and who has no token is told so by the gateway."""
    exchange = Exchange(scratch)
    exchange.start()
    try:
        async with fairlead.connect(
            shielded.shield, credentials=credentials(shielded.papers), token=TOKENS["desk"], connect_timeout=PATIENCE_S
        ) as client:
            async with client.websocket(f"{exchange.ws}/numbered?rate=500", name="md") as session:
                numbers = 0
                async for _ in session:
                    numbers += 1
                    if numbers == 500:
                        break
            reply = await client.http.get(f"{exchange.http}/status/418")
            assert reply.status == 418
        with pytest.raises(fairlead.PermissionDenied) as refused:
            async with fairlead.connect(shielded.shield, credentials=credentials(shielded.papers)):
                pass
        assert refused.value.reason.name == "UNAUTHENTICATED"
    finally:
        exchange.stop()


async def test_a_certificate_is_not(shielded: Shielded) -> None:
    """What the page says: it ends at HAProxy. By the gateway's own port the same certificate is enough."""
    papers = shielded.papers
    mine = credentials(papers, papers.desk)
    async with fairlead.connect(shielded.mutual, credentials=mine, connect_timeout=PATIENCE_S) as client:
        assert await client.sessions() == []
    with pytest.raises(fairlead.PermissionDenied):
        async with fairlead.connect(shielded.shield, credentials=mine, connect_timeout=PATIENCE_S):
            pass


async def test_http_1_is_refused(shielded: Shielded) -> None:
    """The listener speaks HTTP/2 alone, as the gateway does."""
    await reachable(shielded)
    host, port = shielded.shield.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection,
        shielded.context.wrap_socket(connection, server_hostname=host) as stream,
    ):
        stream.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        try:
            while more := stream.recv(4096):
                answer += more
        except OSError:
            pass
        assert b"HTTP/1" not in answer


@dataclass
class Cost:
    attack: Attack
    processor_s: float
    grown_bytes: int


async def reachable(shielded: Shielded) -> None:
    """A caller from 127.0.0.1 is served through HAProxy."""
    async with fairlead.connect(
        shielded.shield, credentials=credentials(shielded.papers), token=TOKENS["desk"], connect_timeout=PATIENCE_S
    ) as client:
        assert await client.sessions() == []


async def cost(shielded: Shielded, address: str, parts: Iterator[bytes]) -> Cost:
    """What the gateway spends, until it answers another caller again."""
    before, resident = processor_seconds(shielded.gateway.pid), shielded.gateway.resident_bytes
    told = await asyncio.to_thread(attack, address, shielded.context, parts, OTHER_ADDRESS)
    channel = grpc.aio.secure_channel(shielded.tokens, credentials(shielded.papers))
    async with channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)
    spent = processor_seconds(shielded.gateway.pid) - before
    return Cost(told, spent, shielded.gateway.resident_bytes - resident)


async def test_a_header_bomb(shielded: Shielded) -> None:
    """HAProxy ends it after some kilobytes, of which the gateway sees nothing; the gateway alone takes all of it."""
    await reachable(shielded)
    token = f"Bearer {TOKENS['desk']}"
    through = await cost(shielded, shielded.shield, header_bomb(token, BOMB))
    assert through.attack.ended
    await reachable(shielded)
    direct = await cost(shielded, shielded.tokens, header_bomb(token, BOMB))
    print(f"through HAProxy {through}, direct {direct}")
    assert direct.attack.ended == ""
    assert through.processor_s < direct.processor_s / 4


async def test_rapid_resets(shielded: Shielded) -> None:
    """HAProxy takes most of them back before the gateway has heard of them; the gateway alone begins all of them."""
    await reachable(shielded)
    # Of nobody: whose token is wrong can do this, too.
    through = await cost(shielded, shielded.shield, rapid_reset("Bearer nobody", RESETS))
    await reachable(shielded)
    direct = await cost(shielded, shielded.tokens, rapid_reset("Bearer nobody", RESETS))
    print(f"through HAProxy {through}, direct {direct}")
    assert direct.attack.ended == ""
    assert through.processor_s < direct.processor_s / 2
    assert through.grown_bytes < direct.grown_bytes / 2


@pytest.mark.parametrize("shielded", ["sc0_http_req_rate gt 20 "], indirect=True)
async def test_calls_of_one_address_are_bounded(shielded: Shielded) -> None:
    """With another number, so that it is reached at once."""
    await reachable(shielded)
    codes = []
    async with grpc.aio.secure_channel(shielded.shield, credentials(shielded.papers)) as channel:
        check_health = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        for _ in range(40):
            try:
                await check_health(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
                codes.append(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
    served = codes.index(grpc.StatusCode.UNAVAILABLE)
    # What `reachable` called counts, too.
    assert 10 <= served <= 20
    assert set(codes[:served]) == {grpc.StatusCode.OK}
    assert set(codes[served:]) == {grpc.StatusCode.UNAVAILABLE}


async def test_connections_of_one_address_are_bounded(shielded: Shielded) -> None:
    await reachable(shielded)
    host, port = shielded.shield.split(":")
    held: list[socket.socket] = []
    ended = 0
    try:
        for _ in range(60):
            try:
                address = (host, int(port))
                held.append(socket.create_connection(address, PATIENCE_S, source_address=(OTHER_ADDRESS, 0)))
            except ConnectionResetError:
                ended += 1

        def refused() -> int:
            """Ends that have come; the others say nothing, as they wait for a TLS hello."""
            count = ended
            for each in held:
                each.setblocking(False)
                try:
                    count += each.recv(1) == b""
                except BlockingIOError:
                    pass
                except ConnectionError:
                    count += 1
            return count

        await eventually(lambda: refused() >= 10, "those beyond the bound are ended")
        assert refused() == 10
        await reachable(shielded)
    finally:
        for each in held:
            each.close()
