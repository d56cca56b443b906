"""Where adapters connect: Unix sockets and TCP, health, reflection, identities, and running out of descriptors."""

import asyncio
import os
import resource
import socket
import stat
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import session_pb2_grpc
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import BUILD, PATIENCE_S, Exchange, Gateway, eventually, run

pytestmark = pytest.mark.plain


async def test_unix_and_tcp_show_the_same_sessions(gateway: Gateway, exchange: Exchange) -> None:
    async with (
        fairlead.connect(gateway.address) as local,
        fairlead.connect(gateway.grpc) as tcp,
        local.websocket(f"{exchange.ws}/echo", name="both") as session,
    ):
        assert [summary.name for summary in await tcp.sessions()] == ["both"]
        async with tcp.join("both", start=fairlead.OLDEST) as reader:
            await session.send("hello")
            async for frame in reader:
                assert frame.text == "hello"
                break


async def test_identities_do_not_see_each_other(start_gateway: StartGateway, exchange: Exchange, scratch: Path) -> None:
    listeners = [{"identity": name, "unix": {"path": str(scratch / name)}} for name in ("one", "two")]
    start_gateway({"listeners": listeners})
    url = f"{exchange.ws}/echo"
    async with (
        fairlead.connect(f"unix://{scratch / 'one'}") as one,
        fairlead.connect(f"unix://{scratch / 'two'}") as two,
        one.websocket(url, name="md"),
    ):
        assert await two.sessions() == []
        with pytest.raises(fairlead.SessionNotFound):
            await two.session("md")
        with pytest.raises(fairlead.SessionNotFound):
            await two.close_session("md")
        with pytest.raises(fairlead.SessionNotFound):
            await two.join("md").open()
        # A name belongs to an identity: the same one is free here.
        async with two.websocket(url, name="md"):
            assert len(await one.sessions()) == len(await two.sessions()) == 1


async def test_a_granted_session_is_read_by_another_identity(
    start_gateway: StartGateway, exchange: Exchange, scratch: Path
) -> None:
    listeners = [{"identity": name, "unix": {"path": str(scratch / name)}} for name in ("feeds", "desk", "risk")]
    grants = [{"identity": "feeds", "sessions": ["md.*"], "readers": ["desk"]}]
    start_gateway({"listeners": listeners, "grants": grants})
    async with (
        fairlead.connect(f"unix://{scratch / 'feeds'}") as feeds,
        fairlead.connect(f"unix://{scratch / 'desk'}") as desk,
        fairlead.connect(f"unix://{scratch / 'risk'}") as risk,
        feeds.websocket(f"{exchange.ws}/echo", name="md.btc") as owner,
        feeds.websocket(f"{exchange.ws}/echo", name="orders"),
        desk.join("md.btc", identity="feeds") as reader,
    ):
        await owner.send("hello")
        async for frame in reader:
            assert frame.text == "hello"
            break
        for client, name in ((desk, "orders"), (desk, "md.eth"), (risk, "md.btc")):
            with pytest.raises(fairlead.SessionNotFound, match="not granted"):
                await client.join(name, identity="feeds").open()
        assert await desk.sessions() == [], "reading is all that is granted"
        with pytest.raises(fairlead.SessionNotFound):
            await desk.close_session("md.btc")


@pytest.mark.parametrize(("configured", "mode"), [(None, 0o660), ("0600", 0o600), ("0666", 0o666)])
async def test_mode_of_the_socket(start_gateway: StartGateway, configured: str | None, mode: int) -> None:
    gateway = start_gateway(start=False)
    if configured:
        gateway.config["listeners"][0]["unix"]["mode"] = configured
    gateway.start()
    assert stat.S_IMODE(gateway.unix.stat().st_mode) == mode
    assert stat.S_ISSOCK(gateway.unix.stat().st_mode)


async def test_stale_socket_is_removed(start_gateway: StartGateway) -> None:
    gateway = start_gateway(start=False)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(gateway.unix))
    gateway.start()
    async with fairlead.connect(gateway.address) as client:
        assert await client.sessions() == []


async def test_live_socket_is_refused(gateway: Gateway, client: fairlead.Gateway) -> None:
    second = run("fairlead", "--config", gateway.config_file)
    assert second.returncode == 1
    assert f"cannot listen on {gateway.unix}: Address already in use" in second.stderr
    assert second.stdout == "", "no ready line"
    # The first is not disturbed.
    assert await client.sessions() == []
    async with fairlead.connect(gateway.address) as other:
        assert await other.sessions() == []


async def test_what_is_no_socket_is_left_alone(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    assert await gateway.terminate() == 0
    gateway.unix.write_text("somebody's notes")
    refused = run("fairlead", "--config", gateway.config_file)
    assert refused.returncode == 1
    assert f"cannot listen on {gateway.unix}" in refused.stderr
    assert gateway.unix.read_text() == "somebody's notes"


async def test_taken_port_is_refused(gateway: Gateway, start_gateway: StartGateway) -> None:
    port = int(gateway.grpc.rsplit(":", 1)[1])
    second = start_gateway(start=False)
    second.config["listeners"] = [{"identity": "tests", "tcp": {"host": "127.0.0.1", "port": port}}]
    with pytest.raises(
        AssertionError, match=f"status 1.*\n.*cannot listen on 127.0.0.1:{port}: Address already in use"
    ):
        second.start()
    second.kill()


async def test_no_gateway_is_a_clear_error(scratch: Path) -> None:
    missing = scratch / "nobody.sock"
    with pytest.raises(fairlead.GatewayUnavailable) as error:
        async with fairlead.connect(f"unix://{missing}", connect_timeout=0.1):
            pass
    assert str(missing) in error.value.message


# ---- Health and reflection. ----


async def test_health(gateway: Gateway) -> None:
    for address in (gateway.address, gateway.grpc):
        async with grpc.aio.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))  # type: ignore[attr-defined]
            assert error.value.code() is grpc.StatusCode.NOT_FOUND


# ---- Descriptors. ----


@pytest.mark.skipif(BUILD.name == "asan", reason="sanitizers want descriptors themselves")
async def test_listener_recovers_from_want_of_descriptors(gateway: Gateway, client: fairlead.Gateway) -> None:
    """Strangers take all descriptors; when they are gone, adapters connect again, without a restart."""
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    in_use = len(os.listdir(f"/proc/{gateway.pid}/fd"))
    spare = 8
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (in_use + spare, hard))
    host, port = gateway.grpc.rsplit(":", 1)

    strangers = []
    for _ in range(4 * spare):
        stranger = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        strangers.append(stranger)
    await eventually(lambda: "Too many open files" in gateway.log, "descriptors run out")
    # Who is connected is served on.
    assert await client.sessions() == []
    for stranger in strangers:
        stranger.close()

    async with fairlead.connect(gateway.grpc, connect_timeout=PATIENCE_S) as late:
        assert await late.sessions() == []
    async with fairlead.connect(gateway.address, connect_timeout=PATIENCE_S) as late:
        assert await late.sessions() == []
    # It paused between attempts and did not spin: the log has few lines of it.
    assert gateway.log.count("Too many open files") < 1000


async def test_limit_of_connections(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"limits": {"connections": 2}})
    async with fairlead.connect(gateway.address) as one, fairlead.connect(gateway.grpc):
        with pytest.raises(fairlead.GatewayUnavailable):
            async with fairlead.connect(gateway.address, connect_timeout=0.3):
                pass
        assert "limits.connections" in gateway.log
        assert await one.sessions() == []
    async with fairlead.connect(gateway.address, connect_timeout=PATIENCE_S) as late:
        assert await late.sessions() == []


async def test_urgent_data_frees_no_place(start_gateway: StartGateway) -> None:
    """One byte of it looks like the end of a connection to who asks in the wrong way."""
    gateway = start_gateway({"limits": {"connections": 2}})
    host, port = gateway.grpc.rsplit(":", 1)
    urgent = [socket.create_connection((host, int(port)), timeout=PATIENCE_S) for _ in range(2)]
    for each in urgent:
        each.send(b"!", socket.MSG_OOB)
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as third:
        assert third.recv(100) == b"", "it is refused"
    assert gateway.log.count("limits.connections, 2, are open") == 1
    for each in urgent:
        each.close()
    async with fairlead.connect(gateway.grpc, connect_timeout=PATIENCE_S) as late:
        assert await late.sessions() == []


async def test_a_flood_of_equal_log_lines_is_summed_up(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"limits": {"connections": 1}})
    host, port = gateway.grpc.rsplit(":", 1)

    def knock() -> None:
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S):
            pass

    async with fairlead.connect(gateway.address):
        for _ in range(200):
            knock()

        def told() -> bool:
            knock()  # The next line of any text tells of the last burst.
            return "suppressed=" in gateway.log

        await eventually(told, "the log tells what it has left out")
        assert gateway.log.count("listener.full") < 200


async def test_many_channels_of_one_process(gateway: Gateway, exchange: Exchange) -> None:
    """Streams of several connections at once; each has its own channel numbers."""

    at_once = fairlead.Retention(linger=0)

    async def adapter(number: int) -> str:
        async with (
            fairlead.connect(gateway.grpc if number % 2 else gateway.address) as client,
            client.websocket(f"{exchange.ws}/echo", name=f"s{number}", retention=at_once) as session,
        ):
            await session.send(f"hello {number}")
            async for frame in session:
                return frame.text
        return ""

    heard = await asyncio.gather(*(adapter(number) for number in range(10)))
    assert heard == [f"hello {number}" for number in range(10)]

    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub = session_pb2_grpc.SessionServiceStub(channel)

        async def none_left() -> bool:
            return not (await stub.ListSessions(pb.ListSessionsRequest())).sessions  # type: ignore[misc]

        await eventually(none_left, "sessions close with their subscribers")
