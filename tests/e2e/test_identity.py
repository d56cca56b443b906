"""Who is served by a listener with TLS: whom a certificate or a token proves, and nobody else."""

import ssl
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fairlead
from fairlead.v1 import types_pb2
from tests.e2e.attach import Status
from tests.e2e.callers import (
    DESK,
    FEEDS,
    SECRET,
    TOKENS,
    UNKNOWN,
    Papers,
    Serve,
    bearer,
    call_everything,
    channel_to,
    connect,
    sha256,
)
from tests.e2e.certificates import ALERT, context_of, knock, knock_plainly, old
from tests.e2e.processes import Exchange, Gateway, eventually, run

pytestmark = pytest.mark.plain

# ---- The handshake. ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("shown", "why"),
    [
        # Security cases 1 to 3.
        (None, "peer did not return a certificate"),
        ("strange", "certificate verify failed"),
        ("expired", "certificate verify failed"),
    ],
)
async def test_who_shows_no_good_certificate_is_told_nothing(
    serve: Serve, papers: Papers, scratch: Path, version: ssl.TLSVersion, shown: str | None, why: str
) -> None:
    gateway = serve(certificates=True)
    context = context_of(papers.gateways, scratch, getattr(papers, shown) if shown else None)
    context.minimum_version = context.maximum_version = version
    told = knock(gateway.grpc, context)
    assert told.http2 == b""
    assert told.ended
    await eventually(lambda: why in gateway.log, "the log tells why")
    # The same client with a good one is served: it was the certificate.
    good = context_of(papers.gateways, scratch, papers.feeds)
    good.minimum_version = good.maximum_version = version
    assert knock(gateway.grpc, good).has_settings


async def test_tls_1_1_is_refused(serve: Serve, papers: Papers, scratch: Path) -> None:
    """Security case 4."""
    gateway = serve(certificates=True)
    told = knock(gateway.grpc, old(context_of(papers.gateways, scratch, papers.feeds)))
    assert told.http2 == b""
    # It was the gateway, and no client that cannot even say it.
    await eventually(lambda: "unsupported protocol" in gateway.log, "the log tells why")
    assert knock(gateway.grpc, context_of(papers.gateways, scratch, papers.feeds)).has_settings


@pytest.mark.parametrize("certificates", [False, True])
def test_a_plain_client_is_told_nothing(serve: Serve, papers: Papers, scratch: Path, certificates: bool) -> None:
    gateway = serve(certificates=certificates)
    told = knock_plainly(gateway.grpc)
    assert not told or told[0] == ALERT, told
    assert knock(gateway.grpc, context_of(papers.gateways, scratch, papers.feeds)).has_settings


# ---- The call. ----


def expect_unknown(ends: dict[str, Status], gateway: Gateway) -> None:
    for name, status in ends.items():
        assert status.code is grpc.StatusCode.UNAUTHENTICATED, f"{name}: {status}"
        assert status.failure, f"{name}: {status}"
        assert status.failure.reason == types_pb2.REASON_UNAUTHENTICATED, f"{name}: {status}"
        assert status.failure.phase == types_pb2.PHASE_NOT_SENT
        assert SECRET not in str(status)
        for secret in (FEEDS, DESK):
            assert secret not in status.details
    assert SECRET not in gateway.log


Headers = tuple[tuple[str, str], ...]
# Refused by name.
NOT_IN_THIS_VERSION = {"Pipeline", "Download", "Acquire", "ListQuotas", "ReportUsage"}
GOOD = bearer(TOKENS["feeds"])


@pytest.mark.parametrize(
    "headers",
    [
        (),  # Security case 5.
        (bearer(UNKNOWN),),
        (("authorization", f"Basic {TOKENS['feeds']}"),),
        (("authorization", TOKENS["feeds"]),),
        (("authorization", "Bearer"),),
        (("authorization", f"Bearer {TOKENS['feeds']}, Bearer {TOKENS['feeds']}"),),
        (GOOD, GOOD),
        (GOOD, bearer(UNKNOWN)),
        (bearer(UNKNOWN), GOOD),
        (("x-authorization", GOOD[1]),),
    ],
    ids=[
        "no token",
        "unknown",
        "another scheme",
        "no scheme",
        "scheme alone",
        "two in one",
        "twice",
        "good and unknown",
        "unknown and good",
        "another header",
    ],
)
async def test_who_shows_no_good_token_is_refused_on_every_rpc(serve: Serve, papers: Papers, headers: Headers) -> None:
    gateway = serve()
    async with channel_to(gateway, papers) as channel:
        expect_unknown(await call_everything(channel, *headers), gateway)
        # On the same connection.
        known = await call_everything(channel, GOOD)
    assert known["ListSessions"].code is known["Attach"].code is grpc.StatusCode.OK
    assert {known[name].code for name in NOT_IN_THIS_VERSION} == {grpc.StatusCode.UNIMPLEMENTED}
    assert known["Send"].code is grpc.StatusCode.INVALID_ARGUMENT
    assert {known[name].code for name in ("GetSession", "CloseSession", "Tail")} == {grpc.StatusCode.NOT_FOUND}
    assert SECRET not in gateway.log


async def test_each_call_counts_for_itself(serve: Serve, papers: Papers) -> None:
    """One connection, two tokens: whose it was a moment ago proves nothing."""
    gateway = serve()
    async with channel_to(gateway, papers) as channel:
        for _ in range(3):
            assert (await call_everything(channel, GOOD))["ListSessions"].code is grpc.StatusCode.OK
            expect_unknown(await call_everything(channel), gateway)


@pytest.mark.parametrize("shown", ["feeds", "desk"])
async def test_a_known_certificate_is_enough(serve: Serve, papers: Papers, exchange: Exchange, shown: str) -> None:
    """By a URI or a DNS name."""
    gateway = serve(certificates=True)
    async with (
        connect(gateway, papers, getattr(papers, shown)) as client,
        client.websocket(f"{exchange.ws}/echo", name="md"),
        connect(gateway, papers, papers.feeds) as feeds,
        connect(gateway, papers, papers.desk) as desk,
    ):
        seen = {"feeds": await feeds.sessions(), "desk": await desk.sessions()}
        assert {name for name, sessions in seen.items() if sessions} == {shown}


@pytest.mark.parametrize("shown", ["both", "common", "unknown"])
async def test_a_good_certificate_of_nobody(serve: Serve, papers: Papers, shown: str) -> None:
    """Names of two identities, a known name as the common name alone, and a name that no caller has."""
    gateway = serve(certificates=True)
    async with channel_to(gateway, papers, getattr(papers, shown)) as channel:
        expect_unknown(await call_everything(channel), gateway)
        # The token counts then.
        assert (await call_everything(channel, GOOD))["ListSessions"].code is grpc.StatusCode.OK


async def test_the_certificate_counts_before_the_token(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(certificates=True)
    async with (
        connect(gateway, papers, papers.desk) as desk,
        desk.websocket(f"{exchange.ws}/echo", name="md"),
        connect(gateway, papers, papers.desk, token=TOKENS["feeds"]) as client,
    ):
        assert [session.name for session in await client.sessions()] == ["md"]


async def test_the_python_client_without_proof_is_refused_at_once(serve: Serve, papers: Papers) -> None:
    gateway = serve()
    for token in (None, UNKNOWN):
        with pytest.raises(fairlead.PermissionDenied) as error:
            async with connect(gateway, papers, token=token):
                pass
        assert error.value.reason is fairlead.Reason.UNAUTHENTICATED
        assert SECRET not in str(error.value)
    assert SECRET not in gateway.log


async def test_a_listener_with_an_identity_serves_every_certificate_of_its_authorities(
    serve: Serve, papers: Papers, exchange: Exchange
) -> None:
    gateway = serve(certificates=True)
    gateway.config["listeners"][0]["identity"] = "house"
    assert await gateway.terminate() == 0
    gateway.start()
    async with (
        connect(gateway, papers, papers.feeds) as one,
        connect(gateway, papers, papers.unknown) as other,
        one.websocket(f"{exchange.ws}/echo", name="md"),
    ):
        assert [session.name for session in await other.sessions()] == ["md"]


async def test_health_is_told_to_who_is_through_the_handshake(serve: Serve, papers: Papers) -> None:
    gateway = serve(certificates=True)
    async with channel_to(gateway, papers, papers.unknown) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_hash_of_no_token_is_nobodys(serve: Serve, papers: Papers) -> None:
    """`printf %s "$TOKEN" | sha256sum` where TOKEN is not set: to be refused, or to be matched by nothing."""
    gateway = serve(callers=[{"identity": "feeds", "token_sha256": [sha256("no token")]}])
    assert await gateway.terminate() == 0
    gateway.config["callers"][0]["token_sha256"] = [sha256("")]
    gateway.config_file.write_text(yaml.safe_dump(gateway.config))
    if run("fairlead", "--check-config", gateway.config_file).returncode != 0:
        return
    gateway.start()
    async with channel_to(gateway, papers) as channel:
        expect_unknown(await call_everything(channel, ("authorization", "Basic anything")), gateway)


# ---- Identities among each other. ----


async def test_identities_on_one_listener_do_not_see_each_other(
    serve: Serve, papers: Papers, exchange: Exchange
) -> None:
    gateway = serve()
    url = f"{exchange.ws}/echo"
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as feeds,
        connect(gateway, papers, token=TOKENS["desk"]) as desk,
        feeds.websocket(url, name="md"),
    ):
        assert await desk.sessions() == []
        for ask in (desk.session, desk.close_session, lambda name: desk.join(name).open()):
            messages = []
            for name in ("md", "no"):
                with pytest.raises(fairlead.SessionNotFound) as error:
                    await ask(name)
                messages.append(error.value.message.replace(f'"{name}"', "NAME"))
            assert messages[0] == messages[1], "another's session is as one that does not exist"
        async with desk.websocket(url, name="md"):
            assert len(await feeds.sessions()) == len(await desk.sessions()) == 1
        assert len(await feeds.sessions()) == 1


async def test_a_grant_lets_another_identity_read(serve: Serve, papers: Papers, exchange: Exchange) -> None:
    gateway = serve(grants=[{"identity": "feeds", "sessions": ["md"], "readers": ["desk"]}])
    async with (
        connect(gateway, papers, token=TOKENS["feeds"]) as feeds,
        connect(gateway, papers, token=TOKENS["desk"]) as desk,
        feeds.websocket(f"{exchange.ws}/echo", name="md") as owner,
        feeds.websocket(f"{exchange.ws}/echo", name="orders"),
        desk.join("md", identity="feeds") as reader,
    ):
        await owner.send("hello")
        async for frame in reader:
            assert frame.text == "hello"
            break
        with pytest.raises(fairlead.SessionNotFound):
            await desk.join("orders", identity="feeds").open()
        with pytest.raises(fairlead.SessionNotFound):
            await desk.close_session("md")


async def test_beyond_loopback(serve: Serve, papers: Papers) -> None:
    gateway = serve()
    gateway.config["listeners"][0]["tcp"]["host"] = "0.0.0.0"
    assert await gateway.terminate() == 0
    gateway.start()
    port = gateway.grpc.rsplit(":", 1)[1]
    gateway.grpc = f"127.0.0.1:{port}"
    async with connect(gateway, papers, token=TOKENS["feeds"]) as client:
        assert await client.sessions() == []
