"""Credentials that must be fresh for each connection: through 20 reconnects, with the adapter away for some of them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

import fairlead
from fairlead import SessionState
from tests.e2e.private_exchange import PrivateExchange, private_exchange, signature
from tests.e2e.processes import Gateway, eventually

RECONNECTS = 20
# The adapter leaves before these drops, and comes back after them.
AWAY = {4, 5, 11, 18}

Make = Callable[[fairlead.Gateway, PrivateExchange, fairlead.StartFrom], fairlead.Session]
POLICY = fairlead.Reconnect(initial_backoff=0.01, max_backoff=0.05, stable_after=0)
NONCES = itertools.count(1)


@pytest.fixture
async def private() -> AsyncIterator[PrivateExchange]:
    async with private_exchange() as exchange:
        yield exchange


def signed(client: fairlead.Gateway, exchange: PrivateExchange, start: fairlead.StartFrom) -> fairlead.Session:
    def sign(asked: fairlead.Asked) -> str:
        assert asked.key == "login"
        nonce = next(NONCES)
        return f"login {nonce} {signature(nonce)}"

    login = fairlead.Step("login", sign, expect="login accepted", reject="login refused")
    url = f"ws://127.0.0.1:{exchange.port}/signed"
    return client.websocket(url, name="private", setup=[login], reconnect=POLICY, start=start)


def listening(client: fairlead.Gateway, exchange: PrivateExchange, start: fairlead.StartFrom) -> fairlead.Session:
    place = f"127.0.0.1:{exchange.port}"

    async def with_key(_: fairlead.Asked) -> str:
        reply = await client.http.post(f"http://{place}/listen-key")
        return f"ws://{place}/listen/{reply.json()['key']}"

    url = f"ws://{place}/listen/none"
    return client.websocket(url, name="private", before_dial=with_key, reconnect=POLICY, start=start)


def tokened(client: fairlead.Gateway, exchange: PrivateExchange, start: fairlead.StartFrom) -> fairlead.Session:
    place = f"127.0.0.1:{exchange.port}"

    async def with_token(_: fairlead.Asked) -> fairlead.Target:
        reply = await client.http.post(f"http://{place}/token")
        return fairlead.Target(f"ws://{place}/token", {"X-Token": reply.json()["token"]})

    url = f"ws://{place}/token"
    return client.websocket(url, name="private", before_dial=with_token, reconnect=POLICY, start=start)


class Ledger:
    """What the adapter has seen, through all its lives."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.generations: list[int] = []
        self.waited = 0
        self.asked = 0

    async def read_to(self, session: fairlead.Session, generation: int) -> None:
        """Reads as far as a number of this transport."""
        async for entry in session.events():
            match entry:
                case fairlead.Frame() if entry.text.startswith("number"):
                    self.numbers.append(int(entry.text.split()[1]))
                    if entry.generation == generation:
                        return
                case fairlead.StateChanged():
                    if entry.state is SessionState.OPENING:
                        self.generations.append(entry.generation)
                    self.waited += entry.state is SessionState.WAITING
                case fairlead.Asked():
                    self.asked += 1
                case fairlead.Gap():
                    pytest.fail(f"{entry}")


@pytest.mark.parametrize("make", [signed, listening, tokened])
async def test_fresh_credentials_through_reconnects(
    gateway: Gateway, private: PrivateExchange, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    start: fairlead.StartFrom = fairlead.OLDEST
    drop = 0
    while drop < RECONNECTS:
        async with fairlead.connect(gateway.address) as client, make(client, private, start) as session:
            while True:
                await ledger.read_to(session, generation=drop + 1)
                assert session.position
                start = session.position
                private.expire_tokens()
                if drop in AWAY:
                    break
                await private.drop()
                drop += 1
                if drop == RECONNECTS:
                    await ledger.read_to(session, generation=RECONNECTS + 1)
                    await session.close()
                    break
        if drop in AWAY:
            await private.drop()
            drop += 1
            async with fairlead.connect(gateway.address) as client:

                async def parked() -> bool:
                    return (await client.session("private")).state is SessionState.WAITING

                await eventually(parked, "without its owner the session waits")
            assert private.live == 0
    assert private.refused == []
    assert len(private.connections) == RECONNECTS + 1
    assert ledger.generations == list(range(1, RECONNECTS + 2)), "each transport once, none missed"
    assert ledger.waited == len(AWAY)
    assert ledger.numbers == sorted(set(ledger.numbers)), "in order, nothing twice"
    assert ledger.asked == RECONNECTS + 1, "asked once for each transport"
    assert not [record for record in caplog.records if record.name == "fairlead" and "answer" in record.getMessage()]


async def test_a_callback_that_fails_is_tried_again(
    gateway: Gateway, private: PrivateExchange, caplog: pytest.LogCaptureFixture
) -> None:
    tries = itertools.count(1)

    def sign(_: fairlead.Asked) -> str:
        if next(tries) < 3:
            raise RuntimeError("the vault is closed")
        nonce = next(NONCES)
        return f"login {nonce} {signature(nonce)}"

    login = fairlead.Step("login", sign, expect="login accepted", timeout=0.05)
    url = f"ws://127.0.0.1:{private.port}/signed"
    async with (
        fairlead.connect(gateway.address) as client,
        client.websocket(url, setup=[login], reconnect=POLICY) as session,
    ):
        assert session.generation == 3
    assert [record.exc_text is not None for record in caplog.records if record.name == "fairlead"].count(True) == 2
    assert "the vault is closed" in caplog.text


async def test_an_answer_that_comes_too_late_is_refused(
    gateway: Gateway, private: PrivateExchange, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is given when its transport has ended; the next transport comes when that is refused."""
    asks: list[fairlead.Asked] = []

    async def sign(asked: fairlead.Asked) -> str:
        asks.append(asked)
        if len(asks) == 1:
            private.accepting.clear()
            await eventually(lambda: private.live == 0, "the transport has ended")
        nonce = next(NONCES)
        return f"login {nonce} {signature(nonce)}"

    login = fairlead.Step("login", sign, expect="login accepted", timeout=0.3)
    session_url = f"ws://127.0.0.1:{private.port}/signed"
    async with fairlead.connect(gateway.address) as client:
        session = client.websocket(session_url, setup=[login], reconnect=POLICY)
        opening = asyncio.create_task(session.open())
        await eventually(lambda: "was not taken" in caplog.text, "the first answer is refused")
        private.accepting.set()
        await opening
        assert session.generation == len(asks)
        await session.close()
    assert [asked.generation for asked in asks] == list(range(1, len(asks) + 1))
    assert private.refused == []
