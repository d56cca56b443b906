"""How one of two transports ends, or does not come about, and what is sent to it meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import fairlead
from fairlead import Reason, SessionState
from tests.e2e.account import Account, accounted
from tests.e2e.conftest import StartGateway
from tests.e2e.feed_peer import FeedPeer, Line, feed_peer, signed_login
from tests.e2e.processes import PATIENCE_S, Exchange, eventually
from tests.e2e.test_rotation import ROTATING, SEQ, fed, gone, login_of, one_rotation, rotate, set_up

QUICK = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0, overlap=0.2)
SUBSCRIBE = '{"op": "subscribe", "to": "btc"}'
FORGET = '{"op": "unsubscribe", "to": "btc"}'


@pytest.fixture
async def peer() -> AsyncIterator[FeedPeer]:
    async with feed_peer() as peer:
        yield peer


def caused(account: Account, reason: Reason) -> list[fairlead.LegChanged]:
    return [leg for leg in account.legs if leg.cause and leg.cause.reason is reason]


async def test_a_leg_that_answers_no_ping(client: fairlead.Gateway, exchange: Exchange) -> None:
    """Each has a heartbeat of its own."""
    session = client.websocket(
        f"{exchange.ws}/synthetic?rate=500&feed=shared",
        name="md",
        legs=2,
        dedupe=fairlead.Dedupe("/sequence"),
        reconnect=QUICK,
        heartbeat=fairlead.Heartbeat(interval=0.05, pong_timeout=0.3),
    )
    async with accounted(session) as account:
        await set_up(account, 2)
        await exchange.fault("no_pong", 2)
        await set_up(account, 3)
        assert [leg.generation for leg in caused(account, Reason.PONG_TIMEOUT)] == [2]
        await exchange.fault("no_pong", 1)
        await account.until(account.rotations, "the other goes on")
        (change,) = account.rotations()
        assert change.cause is not None
        assert (change.generation, change.cause.reason) == (3, Reason.PONG_TIMEOUT)
        await set_up(account, 4)
        account.never_down()
        assert not account.repeated()


@pytest.mark.parametrize("legs", [1, 2])
async def test_the_command_that_breaks_first(client: fairlead.Gateway, peer: FeedPeer, legs: int) -> None:
    """With two legs even that has no blind window."""
    session = client.websocket(peer.url, name="md", legs=legs, dedupe=SEQ, reconnect=QUICK)
    async with accounted(session) as account:
        if legs == 2:
            await set_up(account, 2)
        await fed(account)
        await session.reconnect()
        if legs == 2:
            await set_up(account, 3)
            await account.whole(peer.stop())
            account.never_down()
            account.adds_up(await client.session("md"))
        else:
            await account.until(lambda: "OPEN 2" in account.told, "another transport")
            assert account.after_open() == [
                "RECONNECTING 1 RECONNECT_REQUESTED",
                "CONNECTING 1",
                "OPENING 2",
                "OPEN 2",
            ]
        assert peer.lines[0].close_code == 1000


async def test_a_second_that_never_comes_ends_nothing(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Attempts and outages are the session's own; and a login that is refused is not one of them."""

    def prepare(_: Line) -> None:
        peer.refusing = True

    peer.prepare = prepare
    policy = fairlead.Reconnect(
        initial_backoff=0.02, max_backoff=0.02, stable_after=0, max_attempts=2, max_outage=0.1, overlap=0.2
    )
    session = client.websocket(peer.url, name="md", legs=2, dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await account.until(lambda: len(caused(account, Reason.UPGRADE_REFUSED)) > 10, "many attempts")
        assert session.state is SessionState.OPEN
        await fed(account)
        account.never_down()


async def test_a_second_whose_login_is_refused(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """That would end a session that has nothing else. This one goes on, and tries again."""
    nonces = iter([1, 1, 1, 2])

    def sign(_: fairlead.Asked) -> str:
        return signed_login(next(nonces))

    login = fairlead.Step("login", sign, expect='"accepted"', reject='"refused"')
    policy = fairlead.Reconnect(
        make_before_break=True, overlap=0.2, initial_backoff=0.02, max_backoff=0.02, stable_after=0
    )
    session = client.websocket(f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=policy, setup=[login])
    async with accounted(session) as account:
        await fed(account)
        await session.reconnect(make_before_break=True)
        await gone(account, 1)
        await account.whole(peer.stop())
        account.never_down()
        told = [f"leg {state}" for n in (2, 3) for state in (f"OPENING {n}", f"RECONNECTING {n} SETUP_REJECTED")]
        why = "RECONNECT_REQUESTED"
        assert account.after_open() == [*told, "leg OPENING 4", "leg OPEN 4", f"OPEN 4 {why}", f"leg CLOSED 1 {why}"]
        account.adds_up(await client.session("md"))


async def test_without_reconnecting(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """The second leg is lost for good, and then the session."""
    policy = fairlead.Reconnect(enabled=False)
    session = client.websocket(peer.url, name="md", legs=2, dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await set_up(account, 2)
        await fed(account)
        peer.lines[1].kill()
        await gone(account, 2)
        await fed(account)
        assert account.after_open() == ["leg OPENING 2", "leg OPEN 2", "leg CLOSED 2 CONNECTION_LOST"]
        assert len(peer.lines) == 1 + 1


async def test_without_reconnecting_the_second_is_the_last(client: fairlead.Gateway, peer: FeedPeer) -> None:
    policy = fairlead.Reconnect(enabled=False)
    session = client.websocket(peer.url, name="md", legs=2, dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await set_up(account, 2)
        await fed(account)
        peer.lines[0].kill()
        await account.until(lambda: len(account.told) > account.told.index("leg OPEN 2") + 2, "what becomes of it")
        await fed(account, 100)
        lost = "CONNECTION_LOST"
        assert account.after_open() == ["leg OPENING 2", "leg OPEN 2", f"OPEN 2 {lost}", f"leg CLOSED 1 {lost}"]
        assert len(peer.lines) == 2


async def test_what_is_subscribed_while_the_next_is_set_up(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """It has begun with what was stored before: it gets the rest in order, and nothing twice."""
    session = client.websocket(f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=ROTATING, setup=[login_of([])])
    async with accounted(session) as account:
        await session.send(SUBSCRIBE, setup_key="btc")
        peer.admitting.clear()
        await session.reconnect(make_before_break=True)
        await account.until(lambda: account.leg(SessionState.OPENING, 2), "the next is there")
        await session.send(FORGET, forget_setup_keys=["btc"])
        other = SUBSCRIBE.replace("btc", "eth")
        assert (await session.send(other, setup_key="eth")).generation == 1
        await eventually(lambda: peer.lines[1].heard, "its login has come")
        assert len(peer.lines[1].heard) == 1
        peer.admitting.set()
        await gone(account, 1)
        await eventually(lambda: len(peer.lines[1].heard) == 4, "all has come")
        assert peer.lines[1].heard[1:] == [SUBSCRIBE, FORGET, other]
        assert session.setup_keys == ("login", "eth")
        assert (await client.session("md")).setup_keys == ("login", "eth")
        await rotate(session, account)
        assert peer.lines[2].heard[1:] == [other]


async def test_what_asks_waits_for_its_owner(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Nobody signs while the owner is away: the old transport stays beyond its age."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=0.2, max_age=1)
    asked: list[int] = []

    def session_of() -> fairlead.Session:
        return client.websocket(
            f"{peer.url}/login",
            name="md",
            dedupe=SEQ,
            reconnect=policy,
            setup=[login_of(asked)],
            start=fairlead.OLDEST,
        )

    async with session_of():
        pass
    await eventually(lambda: peer.number > 1.5 * peer.rate, "it has become too old")
    assert len(peer.lines) == 1
    assert peer.live
    async with accounted(session_of()) as account:
        await gone(account, 1)
        account.never_down()
        assert account.after_open()[:4] == one_rotation(1, "MAX_AGE")
        assert asked[:2] == [1, 2]
        await account.whole(peer.stop())


async def test_repeats_of_one_transport_are_no_copies(client: fairlead.Gateway, exchange: Exchange) -> None:
    session = client.websocket(f"{exchange.ws}/idle", name="md", legs=2, dedupe=SEQ, reconnect=QUICK)
    async with accounted(session) as account:
        await set_up(account, 2)
        text = json.dumps({"seq": 5})
        for connection in (1, 1, 2, 2, 2, 1):
            await exchange.send(connection, text=text)
        await exchange.send(1, text='{"end": 1}')
        await exchange.send(2, text='{"end": 2}')
        await account.until(lambda: len(account.others) == 2, "the end on both")
        assert account.numbers == {5: [1, 1, 2]}, "as many as the one brought that brought the most"
        account.adds_up(await client.session("md"))


async def test_frames_without_a_key_and_keepalives_are_never_copies(
    client: fairlead.Gateway, exchange: Exchange
) -> None:
    heartbeat = fairlead.Heartbeat(interval=0, keepalive="alive")
    session = client.websocket(
        f"{exchange.ws}/idle", name="md", legs=2, dedupe=SEQ, reconnect=QUICK, heartbeat=heartbeat
    )
    texts = [
        '{"other": 1}',
        '{"seq": null}',
        '{"seq": {"a": 1}}',
        '{"seq": [1]}',
        '{"seq": true}',
        '{"seq": 7, "alive": 1}',
    ]
    async with accounted(session) as account:
        await set_up(account, 2)
        for text in texts:
            for connection in (1, 2):
                await exchange.send(connection, text=text)
        await exchange.send(1, text='{"seq": 8}')
        await exchange.send(2, text='{"seq": 8.0}')
        await account.until(lambda: sum(account.journalled.values()) >= 2 * len(texts) + 2, "all of them")
        assert account.journalled == {1: len(texts) + 1, 2: len(texts) + 1}
        account.adds_up(await client.session("md"))


async def test_few_keys_are_remembered(start_gateway: StartGateway, peer: FeedPeer) -> None:
    """Beyond the limit a copy that is late is passed on, and nothing is missing."""
    gateway = start_gateway({"limits": {"dedupe_keys": 10}})

    def prepare(line: Line) -> None:
        line.delay_s = 0.1 * (line.number - 1)

    peer.prepare = prepare
    async with (
        fairlead.connect(gateway.address) as client,
        accounted(client.websocket(peer.url, name="md", legs=2, dedupe=SEQ, reconnect=QUICK)) as account,
    ):
        await set_up(account, 2)
        await fed(account, 200)
        last = peer.stop()
        await account.until(lambda: account.numbers.get(last) == [1, 2], "the last number, of both")
        assert not account.missing(last)
        assert len(account.repeated()) > 50
        account.adds_up(await client.session("md"))


async def test_the_journal_on_disk_has_them(start_gateway: StartGateway, peer: FeedPeer, scratch: Path) -> None:
    """Killed and started again, the gateway tells the same of a rotation."""
    gateway = start_gateway({"journal_directory": {"path": str(scratch / "journals")}})

    def session_of(client: fairlead.Gateway, start: fairlead.StartFrom) -> fairlead.Session:
        return client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING, start=start)

    async def read(session: fairlead.Session, last: Callable[[fairlead.Entry], bool]) -> list[fairlead.Entry]:
        entries: list[fairlead.Entry] = []
        async with asyncio.timeout(PATIENCE_S):
            async for entry in session.events():
                entries.append(entry)
                if last(entry):
                    return entries
        raise AssertionError("the journal has ended")

    async with fairlead.connect(gateway.address) as client, session_of(client, fairlead.OLDEST) as session:
        await session.reconnect(make_before_break=True)
        before = await read(session, lambda entry: is_end_of(entry, 1))
        epoch = session.epoch
        assert epoch is not None
        # What is given has been written before.
        gateway.kill()
    gateway.start()
    async with (
        fairlead.connect(gateway.address) as client,
        session_of(client, fairlead.After(epoch, 0)) as session,
    ):
        after = await read(session, lambda entry: isinstance(entry, fairlead.EpochChanged))
    # But for Attached, which tells of the session as it is.
    assert after[1 : len(before)] == before[1:]


def is_end_of(entry: fairlead.Entry, generation: int) -> bool:
    return (
        isinstance(entry, fairlead.LegChanged) and entry.state is SessionState.CLOSED and entry.generation == generation
    )


async def test_a_session_that_is_closed_while_the_next_is_refused(client: fairlead.Gateway, peer: FeedPeer) -> None:
    policy = fairlead.Reconnect(make_before_break=True, overlap=30, initial_backoff=30, max_backoff=30)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
        peer.refusing = True
        await session.reconnect(make_before_break=True)
        await account.until(lambda: caused(account, Reason.UPGRADE_REFUSED), "it is refused")
        await session.close()
        await eventually(lambda: not peer.live, "it is over")
        assert peer.lines[0].close_code == 1000
