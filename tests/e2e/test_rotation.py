"""Make before break: one transport takes the place of another while both are there, and nothing is lost."""

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest

import fairlead
from fairlead import Reason, SessionState
from tests.e2e.account import Account, accounted
from tests.e2e.endpoints import Endpoint
from tests.e2e.feed_peer import REPLY_AFTER_S, FeedPeer, Line, feed_peer, signed_login
from tests.e2e.processes import eventually

SEQ = fairlead.Dedupe("/seq")
OVERLAP_S = 0.2
ROTATING = fairlead.Reconnect(make_before_break=True, overlap=OVERLAP_S)
GOING_AWAY = '{"event": "going away"}'


@pytest.fixture
async def peer() -> AsyncIterator[FeedPeer]:
    async with feed_peer() as peer:
        yield peer


async def rotate(session: fairlead.Session, account: Account) -> None:
    """By command; returns when the old transport is gone."""
    old = session.generation
    await session.reconnect(make_before_break=True)
    await gone(account, old)


async def gone(account: Account, generation: int) -> None:
    await account.until(lambda: account.leg(SessionState.CLOSED, generation), f"generation {generation} is over")


async def set_up(account: Account, generation: int) -> None:
    await account.until(lambda: account.leg(SessionState.OPEN, generation), f"generation {generation} is set up")


async def replaced(account: Account, count: int) -> None:
    await account.until(lambda: len(account.rotations()) == count, f"rotation {count}")


async def fed(account: Account, count: int = 20) -> None:
    """So many more numbers have come."""
    enough = len(account.numbers) + count
    await account.until(lambda: len(account.numbers) >= enough, "the feed goes on")


def one_rotation(old: int, cause: str) -> list[str]:
    """What is told of one that goes well."""
    new = old + 1
    return [f"leg OPENING {new}", f"leg OPEN {new}", f"OPEN {new} {cause}", f"leg CLOSED {old} {cause}"]


def replies_of(account: Account) -> dict[int, int]:
    """Which line answered which order."""
    messages = [json.loads(frame.payload) for frame in account.others]
    return {message["done"]: message["line"] for message in messages if "done" in message}


async def test_rotations_lose_nothing_and_double_nothing(client: fairlead.Gateway, peer: FeedPeer) -> None:
    rotations = 10
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING)
    async with accounted(session) as account:
        for _ in range(rotations):
            await fed(account)
            await rotate(session, account)
        await account.whole(peer.stop())
        account.never_down()
        told = [one_rotation(old, "RECONNECT_REQUESTED") for old in range(1, rotations + 1)]
        assert account.after_open() == [line for lines in told for line in lines]
        for change in account.rotations():
            assert change.overlap is not None
            assert not change.overlap.may_be_missing
            assert change.overlap.copies > 0
        assert len(peer.lines) == rotations + 1
        assert peer.fewest == 1, "never without a connection"
        await eventually(lambda: len(peer.live) == 1, "the others are closed")
        assert [line.close_code for line in peer.lines] == [1000] * rotations + [None]
        summary = await client.session("md")
        account.adds_up(summary)
        # Behind our close frame nothing is delivered; else what the exchange sent is what the gateway received.
        received = [leg.received_frames for leg in account.legs if leg.state is SessionState.CLOSED]
        assert all(line.sent >= count for line, count in zip(peer.lines, received, strict=False))
        assert peer.lines[-1].sent == summary.legs[0].received_frames


async def test_rotations_over_each_kind_of_socket(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    rotations = 3
    path = "/synthetic?rate=1000&feed=shared"
    session = endpoint.session(client, path, name="md", dedupe=fairlead.Dedupe("/sequence"), reconnect=ROTATING)
    async with accounted(session) as account:
        for _ in range(rotations):
            await fed(account)
            await rotate(session, account)
        await account.whole(await endpoint.stop_feed("shared"))
        account.never_down()
        assert [change.overlap and change.overlap.may_be_missing for change in account.rotations()] == [False] * 3
        account.adds_up(await client.session("md"))
        assert len(await endpoint.exchange.connections()) == rotations + 1


async def test_without_dedupe_both_are_delivered(client: fairlead.Gateway, peer: FeedPeer) -> None:
    session = client.websocket(peer.url, name="md", reconnect=ROTATING)
    async with accounted(session) as account:
        for _ in range(3):
            await fed(account)
            await rotate(session, account)
        last = peer.stop()
        await account.until(lambda: not account.missing(last), f"all numbers up to {last}")
        account.never_down()
        assert not account.disordered
        assert account.repeated(), "the two overlapped"
        for brought in account.repeated().values():
            assert len(brought) == 2
            assert abs(brought[0] - brought[1]) == 1, "of a number there is one copy a transport"
        for change in account.rotations():
            assert change.overlap is not None
            assert change.overlap.may_be_missing
            assert change.overlap.copies == 0
            assert change.overlap.frames >= 1
        account.adds_up(await client.session("md"))


async def test_the_exchange_announces_its_end(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """It says so, and a moment later it does."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=OVERLAP_S, shutdown="going away")
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        for generation in (1, 2, 3):
            await fed(account)
            line = peer.lines[-1]
            await line.send(GOING_AWAY)
            await replaced(account, generation)
            await line.connection.close(1001, "as announced")
            await gone(account, generation)
        await account.whole(peer.stop())
        account.never_down()
        assert [change.cause and change.cause.reason for change in account.rotations()] == [
            Reason.SHUTDOWN_ANNOUNCED
        ] * 3
        account.adds_up(await client.session("md"))


async def test_age(client: fairlead.Gateway, peer: FeedPeer) -> None:
    policy = fairlead.Reconnect(make_before_break=True, overlap=OVERLAP_S, max_age=1)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await gone(account, 2)
        await account.whole(peer.stop())
        account.never_down()
        assert account.after_open()[:8] == one_rotation(1, "MAX_AGE") + one_rotation(2, "MAX_AGE")


async def test_a_stale_topic(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Half of the numbers are a topic, which the first connection ceases to bring."""

    def prepare(line: Line) -> None:
        if line.number == 1:
            line.leaves_out = lambda number: number > 100 and number % 7 == 6

    peer.prepare = prepare
    topic = fairlead.Topic("106", '"price": 106', max_silence=0.3, reconnect=True)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING, topics=[topic])
    async with accounted(session) as account:
        await gone(account, 1)
        await fed(account)
        account.never_down()
        assert account.after_open() == one_rotation(1, "TOPIC_STALE")


async def test_the_next_is_refused_for_a_while(client: fairlead.Gateway, peer: FeedPeer) -> None:
    policy = fairlead.Reconnect(
        make_before_break=True, overlap=OVERLAP_S, initial_backoff=0.05, max_backoff=0.05, stable_after=0
    )
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
        peer.refusing = True
        await session.reconnect(make_before_break=True)
        refused = "leg RECONNECTING 0 UPGRADE_REFUSED"
        await account.until(lambda: account.told.count(refused) >= 3, "it is refused three times")
        await fed(account)
        assert session.state is SessionState.OPEN
        sent = await session.send('{"op": "order", "id": 1}')
        assert sent.generation == 1
        peer.refusing = False
        await gone(account, 1)
        await account.whole(peer.stop())
        account.never_down()
        told = account.after_open()
        refusals = told.count(refused)
        assert told == [refused] * refusals + one_rotation(1, "RECONNECT_REQUESTED")
        assert refusals == len(peer.refused)
        for leg in account.legs[:refusals]:
            assert leg.retry_in is not None
            assert leg.retry_in <= 0.05
            assert leg.cause is not None
            assert "503" in leg.cause.message
        account.adds_up(await client.session("md"))


async def test_orders_go_on(client: fairlead.Gateway, peer: FeedPeer, seed: int) -> None:
    """Each arrives once, on the transport that its sender was told of, and is answered there."""
    draw = random.Random(seed)
    # Long enough for an answer, on a busy machine, too.
    policy = fairlead.Reconnect(make_before_break=True, overlap=10 * REPLY_AFTER_S)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    told: dict[int, int] = {}
    done = asyncio.Event()

    async def trade() -> None:
        number = 0
        while not done.is_set():
            number += 1
            told[number] = (await session.send(json.dumps({"op": "order", "id": number}))).generation
            await asyncio.sleep(draw.uniform(0, 0.01))

    async with accounted(session) as account:
        trading = asyncio.create_task(trade())
        for _ in range(5):
            await fed(account)
            await rotate(session, account)
        done.set()
        await trading
        await account.until(lambda: len(replies_of(account)) == len(told), "all orders are answered")
        arrived = [(json.loads(text)["id"], line.number) for line in peer.lines for text in line.heard]
        assert sorted(arrived) == sorted(told.items()), "none twice, none elsewhere"
        assert replies_of(account) == told
        for frame in account.others:
            assert json.loads(frame.payload)["line"] == frame.generation
        assert {frame.generation for frame in account.others} == set(range(1, 7))
        placed = {change.generation: change.sequence for change in account.rotations()}
        late = [frame for frame in account.others if frame.sequence > placed.get(frame.generation + 1, 2**63)]
        assert late, "answers that came while the old transport stayed"
        await account.whole(peer.stop())
        account.never_down()
        account.adds_up(await client.session("md"))


async def test_the_old_one_dies_when_the_next_is_open(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Before a frame has proven the next: it takes the place at once, and says that something may be missing."""

    def prepare(line: Line) -> None:
        line.feeding = line.number == 1

    peer.prepare = prepare
    policy = fairlead.Reconnect(make_before_break=True, overlap=30)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
        await session.reconnect(make_before_break=True)
        await set_up(account, 2)
        peer.lines[0].kill()
        await gone(account, 1)
        account.never_down()
        lost = "CONNECTION_LOST"
        assert account.after_open() == ["leg OPENING 2", "leg OPEN 2", f"OPEN 2 {lost}", f"leg CLOSED 1 {lost}"]
        (change,) = account.rotations()
        assert change.overlap == fairlead.Overlap(frames=0, copies=0, may_be_missing=True)
        assert (await session.send('{"op": "order", "id": 1}')).generation == 2
        peer.lines[1].feeding = True
        await fed(account)
        assert len(peer.lines) == 2
        last = peer.stop()
        await account.until(lambda: last in account.numbers, "the feed's end")
        account.adds_up(await client.session("md"))


async def test_the_old_one_dies_while_both_bring_the_feed(client: fairlead.Gateway, peer: FeedPeer) -> None:
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING)
    async with accounted(session) as account:
        for generation in (1, 2, 3, 4, 5):
            await fed(account)
            await session.reconnect(make_before_break=True)
            await set_up(account, generation + 1)
            peer.lines[-2].kill()
            await gone(account, generation)
        await account.whole(peer.stop())
        account.never_down()
        assert peer.fewest == 1
        account.adds_up(await client.session("md"))


def login_of(nonces: list[int]) -> fairlead.Step:
    def sign(asked: fairlead.Asked) -> str:
        nonces.append(asked.generation)
        return signed_login(asked.generation)

    return fairlead.Step("login", sign, expect='"accepted"', reject='"refused"')


async def test_each_transport_has_a_fresh_signature(client: fairlead.Gateway, peer: FeedPeer) -> None:
    asked: list[int] = []
    session = client.websocket(f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=ROTATING, setup=[login_of(asked)])
    async with accounted(session) as account:
        for _ in range(5):
            await fed(account)
            await rotate(session, account)
        await account.whole(peer.stop())
        account.never_down()
        assert asked == peer.logins == [1, 2, 3, 4, 5, 6], "an Asked is of the generation that it is for"
        assert not peer.refused
        account.adds_up(await client.session("md"))


async def test_the_old_one_dies_before_the_next_is_open(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """That is an outage like any other; but the next is there already, and no other is dialled."""
    asked: list[int] = []
    session = client.websocket(f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=ROTATING, setup=[login_of(asked)])
    async with accounted(session) as account:
        await fed(account)
        peer.admitting.clear()
        await session.reconnect(make_before_break=True)
        await account.until(lambda: account.leg(SessionState.OPENING, 2), "the next is there")
        await eventually(lambda: peer.lines[1].heard, "its login has come")
        peer.lines[0].kill()
        await account.until(lambda: "OPENING 2" in account.told, "it is the session's now")
        with pytest.raises(fairlead.SendFailed):
            await session.send('{"op": "order", "id": 1}')
        peer.admitting.set()
        await account.until(lambda: "OPEN 2" in account.told, "it is OPEN")
        await fed(account)
        lost = "CONNECTION_LOST"
        assert account.after_open() == [
            "leg OPENING 2",
            f"RECONNECTING 1 {lost}",
            "CONNECTING 1",
            "OPENING 2",
            "OPEN 2",
        ]
        (opening,) = [
            state for state in account.states if state.state is SessionState.OPENING and state.generation == 2
        ]
        assert opening.blind_from is not None
        assert opening.blind_until is not None
        assert len(peer.lines) == 2
        assert asked == [1, 2]


async def test_no_overlap(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Zero waits for nothing: the next takes the place when it is OPEN, the old one leaves at once."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=0)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        for _ in range(3):
            await fed(account)
            await rotate(session, account)
        account.never_down()
        told = [one_rotation(old, "RECONNECT_REQUESTED") for old in (1, 2, 3)]
        assert account.after_open() == [line for lines in told for line in lines]
        last = peer.stop()
        await account.until(lambda: last in account.numbers, "the feed's end")
        assert not account.repeated()
        account.adds_up(await client.session("md"))


async def test_a_command_while_one_is_being_replaced(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Nothing more is done; but when the next has the place, it may be replaced as well, once the old one is gone."""
    session = client.websocket(f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=ROTATING, setup=[login_of([])])
    async with accounted(session) as account:
        await fed(account)
        peer.admitting.clear()
        await session.reconnect(make_before_break=True)
        await account.until(lambda: account.leg(SessionState.OPENING, 2), "the next is there")
        await session.reconnect(make_before_break=True)
        peer.admitting.set()
        await gone(account, 1)
        await fed(account)
        assert account.after_open() == one_rotation(1, "RECONNECT_REQUESTED")
        await session.reconnect(make_before_break=True)
        await replaced(account, 2)
        await session.reconnect(make_before_break=True)
        await gone(account, 3)
        told = [one_rotation(old, "RECONNECT_REQUESTED") for old in (1, 2, 3)]
        assert account.after_open() == [line for lines in told for line in lines]
        await account.whole(peer.stop())
        assert len(peer.lines) == 4


async def test_a_session_that_is_closed_meanwhile(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """Both transports end in order."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=30)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
        await session.reconnect(make_before_break=True)
        await account.until(account.rotations, "the next has taken the place, and the old one stays")
        await session.close()
        await account.until(lambda: account.states[-1].state is SessionState.CLOSED, "it is CLOSED")
        for line in peer.lines:
            await asyncio.wait_for(line.ended.wait(), 30)
        assert [line.close_code for line in peer.lines] == [1000, 1000]
