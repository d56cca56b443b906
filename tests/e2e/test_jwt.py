"""JSON Web Tokens: those of the issuer, for this gateway and in time, are somebody's; no others are."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import fairlead
from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import sessions_of, status_of
from tests.e2e.callers import Papers, Serve, channel_to, connect, everything
from tests.e2e.processes import Exchange, Gateway, eventually

pytestmark = pytest.mark.plain

ISSUER, AUDIENCE = "https://issuer.firm.example", "fairlead"
CANARY = "can4ry"
# For so long after its exp the gateway still takes a token.
LEEWAY_S = 30


class Issuer:
    """Signs tokens; its public keys are in a file."""

    def __init__(self, keys_file: Path) -> None:
        self.keys_file = keys_file
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}

    def publish(self, *names: str) -> None:
        """These keys and no others, new ones where there was none."""
        self.keys = {name: self.keys.get(name) or ec.generate_private_key(ec.SECP256R1()) for name in names}
        listed = []
        for name, key in self.keys.items():
            public: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            listed.append({**public, "kid": name, "use": "sig"})
        replacement = self.keys_file.with_suffix(".new")
        replacement.write_text(json.dumps({"keys": listed}))
        replacement.rename(self.keys_file)

    def token(self, key: str, **claims: Any) -> str:
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "md@firm", "exp": time.time() + 600, "note": CANARY, **claims}
        return jwt.encode(whole, self.keys[key], "ES256", {"kid": key})

    def write(self, file: Path, **claims: Any) -> str:
        token = self.token("one", **claims)
        file.write_text(token + "\n")
        return token


@pytest.fixture
def issuer(scratch: Path) -> Issuer:
    issuer = Issuer(scratch / "keys.json")
    issuer.publish("one")
    return issuer


@pytest.fixture
def gateway(serve: Serve, issuer: Issuer) -> Gateway:
    return serve(
        callers=[{"identity": "md", "jwt_subjects": ["md@firm"]}],
        policies=[everything("md")],
        jwt={"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(issuer.keys_file)},
    )


async def told(gateway: Gateway, papers: Papers, token: str) -> str:
    """What a call with it comes to: "OK", or why not."""
    async with channel_to(gateway, papers) as channel:
        call = sessions_of(channel).ListSessions(
            pb.ListSessionsRequest(), metadata=[("authorization", f"Bearer {token}")]
        )
        status = await status_of(call)
    assert token not in str(status)
    assert CANARY not in str(status)
    assert status.code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
    return status.details or "OK"


async def test_a_good_token_is_its_subjects(
    gateway: Gateway, issuer: Issuer, papers: Papers, exchange: Exchange
) -> None:
    """For calls and for streams, and the gateway's log does not tell it."""
    token = issuer.token("one")
    async with (
        connect(gateway, papers, token=token) as client,
        client.websocket(f"{exchange.ws}/numbered?rate=100", name="md") as session,
    ):
        async for frame in session:
            assert frame.text
            break
        assert [each.name for each in await client.sessions()] == ["md"]
    assert "identity=md" in gateway.log
    assert token not in gateway.log
    assert CANARY not in gateway.log


async def test_case_06_an_expired_token(gateway: Gateway, issuer: Issuer, papers: Papers) -> None:
    assert await told(gateway, papers, issuer.token("one", exp=time.time() - 31)) == "the token has expired"
    with pytest.raises(fairlead.PermissionDenied, match="the token has expired"):
        async with connect(gateway, papers, token=issuer.token("one", exp=1)):
            pass


async def test_case_07_a_token_for_another_audience(gateway: Gateway, issuer: Issuer, papers: Papers) -> None:
    assert await told(gateway, papers, issuer.token("one", aud="other")) == "the token is for another audience"


async def test_who_is_nobody_is_told_nothing(gateway: Gateway, issuer: Issuer, papers: Papers, scratch: Path) -> None:
    """Neither a stranger's signature nor none, and a subject that nobody has."""
    stranger = Issuer(scratch / "others.json")
    stranger.publish("one")
    unknown = "the bearer token is of no caller that is known here"
    assert await told(gateway, papers, stranger.token("one")) == unknown
    assert await told(gateway, papers, stranger.token("one", exp=1)) == unknown
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "md@firm", "exp": time.time() + 600}
    assert await told(gateway, papers, jwt.encode(claims, "", "none")) == unknown
    assert await told(gateway, papers, jwt.encode(claims, "s" * 32, "HS256")) == unknown
    subject = issuer.token("one", sub="nobody@firm")
    assert await told(gateway, papers, subject) == "the token's subject is of no caller that is known here"


async def test_keys_change_while_it_runs(gateway: Gateway, issuer: Issuer, papers: Papers) -> None:
    """The next key is taken, the old one is let go of; a file that is no good changes nothing, and the log says so."""
    old = issuer.token("one")
    assert await told(gateway, papers, old) == "OK"
    issuer.publish("one", "two")
    new = issuer.token("two")

    async def good() -> bool:
        assert await told(gateway, papers, old) == "OK"
        return await told(gateway, papers, new) == "OK"

    await eventually(good, "the next key is known")
    issuer.publish("two")

    async def gone() -> bool:
        assert await told(gateway, papers, new) == "OK"
        return await told(gateway, papers, old) != "OK"

    await eventually(gone, "the old key is let go of")
    issuer.keys_file.write_text('{"keys": []}')

    async def complained() -> bool:
        assert await told(gateway, papers, issuer.token("two", jti=str(time.time()))) == "OK"
        return "WARN jwt.keys" in gateway.log

    await eventually(complained, "the log tells that the file has no keys")
    assert gateway.log.count("WARN jwt.keys") == 1


@asynccontextmanager
async def entered_in_time(
    gateway: Gateway, issuer: Issuer, papers: Papers, exchange: Exchange, file: Path
) -> AsyncIterator[tuple[fairlead.Gateway, fairlead.Session, str]]:
    """With a token that expires soon, but not before all is there: on a slow machine it is given more time."""
    for left_s in (4, 8, 16):
        short = issuer.write(file, exp=time.time() - LEEWAY_S + left_s)
        async with AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(connect(gateway, papers, token=fairlead.token_file(file)))
                url = f"{exchange.ws}/numbered?rate=100"
                session = await stack.enter_async_context(client.websocket(url, name="md"))
            except fairlead.PermissionDenied as late:
                if late.message != "the token has expired":
                    raise
                continue
            yield client, session, short
            return
    raise AssertionError("the machine is too slow")


async def test_a_client_outlives_its_tokens(
    gateway: Gateway, issuer: Issuer, papers: Papers, exchange: Exchange, scratch: Path
) -> None:
    """The file has the next one in time: calls show it, and so does a session that comes back after a restart."""
    file = scratch / "token"
    # Where it is started again.
    gateway.config["listeners"][0]["tcp"]["port"] = int(gateway.grpc.rpartition(":")[2])
    async with entered_in_time(gateway, issuer, papers, exchange, file) as (client, session, short):
        frames = aiter(session)
        assert (await anext(frames)).text

        async def expired() -> bool:
            return await told(gateway, papers, short) == "the token has expired"

        await eventually(expired, "it has expired")
        # The stream goes on, but nothing begins, and nothing of it ends the client.
        with pytest.raises(fairlead.PermissionDenied, match="the token has expired"):
            await client.sessions()
        assert (await anext(frames)).text
        file.write_text(issuer.token("one"))
        assert [each.name for each in await client.sessions()] == ["md"]

        epoch = session.epoch
        gateway.kill()
        gateway.start()
        async for frame in frames:
            assert frame.text
            if session.epoch != epoch:
                break
        assert [each.name for each in await client.sessions()] == ["md"]


async def test_without_good_keys_it_does_not_start(gateway: Gateway, issuer: Issuer) -> None:
    assert await gateway.terminate() == 0
    issuer.keys_file.write_text("{}")
    with pytest.raises(AssertionError, match="is no JWK Set"):
        gateway.start()
    gateway.kill()
