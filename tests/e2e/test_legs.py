"""Two legs: a session on two transports at once, of whose frames the first copies are delivered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

import fairlead
from fairlead import Leg, Reason, SessionState
from tests.e2e.account import Account, accounted
from tests.e2e.endpoints import Endpoint
from tests.e2e.feed_peer import FeedPeer, Line, feed_peer, signed_login
from tests.e2e.processes import PATIENCE_S, eventually

SEQ = fairlead.Dedupe("/seq")
DELAY_S = 0.05
# What is lost is dialled again at once: outages of a test are short.
QUICK = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0, overlap=0.2)


@pytest.fixture
async def peer() -> AsyncIterator[FeedPeer]:
    async with feed_peer() as peer:
        yield peer


def session_of(client: fairlead.Gateway, peer: FeedPeer, path: str = "", **options: object) -> fairlead.Session:
    options = {"reconnect": QUICK, "dedupe": SEQ, **options}
    return client.websocket(peer.url + path, name="md", legs=2, **options)  # type: ignore[arg-type]  # Checked at run time.


def faulty(line_number: int, fault: Callable[[Line], None]) -> Callable[[Line], None]:
    """What one connection has from the beginning."""
    return lambda line: fault(line) if line.number == line_number else None


def late(line: Line) -> None:
    line.delay_s = DELAY_S


async def fed(account: Account, count: int = 50) -> None:
    """So many more numbers have come."""
    enough = len(account.numbers) + count
    await account.until(lambda: len(account.numbers) >= enough, "the feed goes on")


async def set_up(account: Account, generation: int) -> None:
    await account.until(lambda: account.leg(SessionState.OPEN, generation), f"leg {generation} is set up")


async def lost(account: Account, generation: int) -> None:
    await account.until(lambda: account.leg(SessionState.RECONNECTING, generation), f"leg {generation} is lost")


async def legs_of(client: fairlead.Gateway) -> tuple[Leg, ...]:
    return (await client.session("md")).legs


async def test_one_late_then_each_cut_in_turn(client: fairlead.Gateway, peer: FeedPeer) -> None:
    peer.prepare = faulty(2, late)
    async with accounted(session_of(client, peer)) as account:
        await set_up(account, 2)
        await fed(account, 300)
        first, second = await legs_of(client)
        assert [leg.generation for leg in (first, second)] == [1, 2]
        assert [leg.state for leg in (first, second)] == [SessionState.OPEN, SessionState.OPEN]
        assert first.wins > 200
        assert second.wins < 20, "a number or two while it was young"
        assert second.copies > 200
        assert second.lag_p50 is not None
        assert DELAY_S / 2 < second.lag_p50 < 20 * DELAY_S
        assert second.lag_p99 is not None
        assert second.lag_p50 <= second.lag_p99
        # The late one is cut, and comes back; then the other, so that what the session has is the new one.
        peer.lines[1].kill()
        await lost(account, 2)
        await set_up(account, 3)
        await fed(account)
        peer.lines[0].kill()
        await account.until(lambda: account.rotations(), "the other goes on")
        await set_up(account, 4)
        await fed(account)
        await account.whole(peer.stop())
        account.never_down()
        assert account.after_open() == [
            "leg OPENING 2",
            "leg OPEN 2",
            "leg RECONNECTING 2 CONNECTION_LOST",
            "leg OPENING 3",
            "leg OPEN 3",
            "OPEN 3 CONNECTION_LOST",
            "leg RECONNECTING 1 CONNECTION_LOST",
            "leg OPENING 4",
            "leg OPEN 4",
        ]
        (change,) = account.rotations()
        assert change.overlap is not None
        assert not change.overlap.may_be_missing
        assert change.blind_from is None
        assert [leg.generation for leg in await legs_of(client)] == [3, 4]
        assert len(peer.lines) == 4
        account.adds_up(await client.session("md"))


async def test_cut_again_and_again(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Whichever is cut, as soon as there are two again."""
    async with accounted(session_of(client, peer)) as account:
        for newest in range(2, 12):
            await set_up(account, newest)
            await fed(account, 20)
            # Now the session's own, now the other one.
            own, other = [leg.generation for leg in await legs_of(client)]
            peer.lines[(own if newest % 2 else other) - 1].kill()
        await set_up(account, 12)
        await account.whole(peer.stop())
        account.never_down()
        assert peer.fewest == 1
        assert len(account.rotations()) == 5
        account.adds_up(await client.session("md"))


async def test_both_are_cut(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """That is an outage like any other, and then there are two again."""
    async with accounted(session_of(client, peer)) as account:
        await set_up(account, 2)
        await fed(account)
        peer.refusing = True
        for line in peer.lines:
            line.kill()
        await account.until(lambda: session_is_down(account), "an outage")
        peer.refusing = False
        await eventually(lambda: len(peer.live) == 2, "there are two again")
        await fed(account)
        openings = [state for state in account.states if state.state is SessionState.OPENING and state.generation > 1]
        (opening,) = openings
        assert opening.blind_from is not None
        assert not account.repeated()


def session_is_down(account: Account) -> bool:
    return any(state.state is SessionState.RECONNECTING for state in account.states)


async def test_what_one_leaves_out_the_other_brings(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """The late one leaves out each tenth: its misses; the other one each seventh, which the late one brings."""

    def prepare(line: Line) -> None:
        if line.number == 1:
            line.leaves_out = lambda number: number % 7 == 0
        else:
            late(line)
            line.leaves_out = lambda number: number % 10 == 0 and number % 7 != 0

    peer.prepare = prepare
    async with accounted(session_of(client, peer, dedupe=fairlead.Dedupe("/seq", window=0.5))) as account:
        await set_up(account, 2)
        await fed(account, 500)
        last = peer.stop()
        # Before the second was there, nobody brought what the first left out.
        together = set(range(peer.lines[1].began + 1, last + 1))
        await account.until(lambda: together <= set(account.numbers), "all that one of them brought")
        assert not account.repeated()

        async def forgotten() -> bool:
            first, second = await legs_of(client)
            return first.misses > 30 and second.misses > 20

        await eventually(forgotten, "what was missed is counted when the window is over")
        first, second = await legs_of(client)
        assert first.misses <= len([number for number in together if number % 7 == 0])
        assert second.misses <= len([number for number in together if number % 10 == 0 and number % 7])
        assert second.wins > 30, "what the first left out"
        assert first.wins > 200


async def test_a_subscription_reaches_both(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """What has a key, and what forgets one; an order goes to one."""
    subscribe, forget = '{"op": "subscribe", "to": "btc"}', '{"op": "unsubscribe", "to": "btc"}'
    session = session_of(client, peer)
    async with accounted(session) as account:
        await set_up(account, 2)
        assert (await session.send(subscribe, setup_key="btc")).generation == 1
        await session.send('{"op": "order", "id": 1}')
        await session.send(forget, forget_setup_keys=["btc"])
        await session.send(subscribe, setup_key="btc")
        first, second = peer.lines
        await eventually(lambda: len(first.heard) == 4 and len(second.heard) == 3, "all has arrived")
        assert first.heard == [subscribe, '{"op": "order", "id": 1}', forget, subscribe]
        assert second.heard == [subscribe, forget, subscribe]
        # A leg that comes later has it from the setup.
        second.kill()
        await set_up(account, 3)
        await eventually(lambda: peer.lines[2].heard == [subscribe], "it subscribes, too")
        # One result a command, though it was written twice.
        results = [entry for entry in account.entries if isinstance(entry, fairlead.CommandResult)]
        assert len(results) == 4


async def test_orders_go_to_one(client: fairlead.Gateway, peer: FeedPeer) -> None:
    session = session_of(client, peer)
    told = {}
    async with accounted(session) as account:
        await set_up(account, 2)
        for number in range(1, 101):
            if number == 50:
                await eventually(lambda: len(peer.lines[0].heard) == 49, "what was written has arrived")
                peer.lines[0].kill()
                await account.until(lambda: account.rotations(), "the other goes on")
            told[number] = (await session.send(json.dumps({"op": "order", "id": number}))).generation
        await eventually(lambda: sum(len(line.heard) for line in peer.lines) == 100, "all have arrived")
        arrived = [(json.loads(text)["id"], line.number) for line in peer.lines for text in line.heard]
        assert sorted(arrived) == sorted(told.items())
        assert told[49] == 1
        assert told[100] == 2


async def test_one_that_lags_is_replaced(client: fairlead.Gateway, peer: FeedPeer) -> None:
    def prepare(line: Line) -> None:
        if line.number == 2:
            line.delay_s = 30

    peer.prepare = prepare
    async with accounted(session_of(client, peer, max_leg_lag=0.3)) as account:
        await account.until(lambda: "leg OPEN 3" in account.told, "another leg")
        await fed(account)
        await account.whole(peer.stop())
        account.never_down()
        (lags,) = [leg for leg in account.legs if leg.generation == 2 and leg.cause]
        assert lags.cause is not None
        assert lags.cause.reason is Reason.LEG_LAGS
        assert [leg.generation for leg in await legs_of(client)] == [1, 3]
        assert len(peer.lines) == 3
        account.adds_up(await client.session("md"))


async def test_the_sessions_own_is_replaced_if_it_lags(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """The other takes its place, and nothing is missing."""
    async with accounted(session_of(client, peer, max_leg_lag=0.3)) as account:
        await set_up(account, 2)
        await fed(account)
        peer.lines[0].delay_s = 30
        await set_up(account, 3)
        await fed(account)
        await account.whole(peer.stop())
        account.never_down()
        (change,) = account.rotations()
        assert change.generation == 2
        assert change.cause is not None
        assert change.cause.reason is Reason.LEG_LAGS
        account.adds_up(await client.session("md"))


async def test_the_second_is_refused_for_a_while(client: fairlead.Gateway, peer: FeedPeer) -> None:
    refused = "leg RECONNECTING 0 UPGRADE_REFUSED"

    def prepare(line: Line) -> None:
        peer.refusing = True

    peer.prepare = prepare
    async with accounted(session_of(client, peer)) as account:
        await account.until(lambda: account.told.count(refused) >= 3, "it is refused three times")
        await fed(account)
        peer.prepare = lambda _: None
        peer.refusing = False
        await set_up(account, 2)
        await account.whole(peer.stop())
        account.never_down()
        refusals = account.told.count(refused)
        assert account.after_open() == [refused] * refusals + ["leg OPENING 2", "leg OPEN 2"]


async def test_each_leg_logs_in(client: fairlead.Gateway, peer: FeedPeer) -> None:
    asked: list[int] = []

    def sign(question: fairlead.Asked) -> str:
        asked.append(question.generation)
        return signed_login(question.generation)

    login = fairlead.Step("login", sign, expect='"accepted"', reject='"refused"')
    async with accounted(session_of(client, peer, "/login", setup=[login])) as account:
        await set_up(account, 2)
        await fed(account)
        await account.whole(peer.stop())
        assert asked == peer.logins == [1, 2]
        assert not peer.refused
        account.adds_up(await client.session("md"))


async def test_a_rotation_of_two_legs(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """The command replaces the session's own: there are two again, and nothing is missing."""
    session = session_of(client, peer)
    async with accounted(session) as account:
        await set_up(account, 2)
        await fed(account)
        await session.reconnect(make_before_break=True)
        await account.until(lambda: account.rotations(), "another takes its place")
        await set_up(account, 3)
        await eventually(lambda: [line.number for line in peer.live] == [2, 3], "the first has ended")
        await fed(account)
        await account.whole(peer.stop())
        account.never_down()
        assert {leg.generation for leg in await legs_of(client)} == {2, 3}
        account.adds_up(await client.session("md"))


async def test_legs_over_each_kind_of_socket(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    path = "/synthetic?rate=1000&feed=shared"
    session = endpoint.session(client, path, name="md", dedupe=fairlead.Dedupe("/sequence"), legs=2, reconnect=QUICK)
    async with accounted(session) as account:
        for newest in (2, 3, 4):
            await set_up(account, newest)
            await fed(account)
            await endpoint.exchange.fault("drop", newest - 1)
        await set_up(account, 5)
        await account.whole(await endpoint.stop_feed("shared"))
        account.never_down()
        account.adds_up(await client.session("md"))


async def test_who_opens_it_anew_chooses_how_many(client: fairlead.Gateway, peer: FeedPeer) -> None:
    there = asyncio.Event()
    former = session_of(client, peer)
    former.on_leg(lambda leg: there.set() if leg.state is SessionState.OPEN else None)
    async with former:
        await asyncio.wait_for(there.wait(), PATIENCE_S)
        async with accounted(client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=QUICK)) as account:
            await account.until(lambda: account.leg(SessionState.CLOSED, 2), "the second is not wanted any more")
            await eventually(lambda: [line.number for line in peer.live] == [1], "it has ended")
            assert peer.lines[1].close_code == 1000
            await fed(account)
            assert [leg.generation for leg in await legs_of(client)] == [1]
