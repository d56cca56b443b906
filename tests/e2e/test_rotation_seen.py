"""What others see of a rotation: readers, whoever comes back, whoever watches, and the next owner."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

import fairlead
from fairlead import LegChanged, SessionState, StateChanged
from fairlead.v1.session_pb2 import SESSION_STATE_CLOSED, SESSION_STATE_OPEN, SESSION_STATE_OPENING, Start, TailRequest
from tests.e2e.account import accounted
from tests.e2e.attach import sessions_of
from tests.e2e.feed_peer import FeedPeer, feed_peer
from tests.e2e.processes import PATIENCE_S, eventually
from tests.e2e.test_rotation import ROTATING, SEQ, fed, gone, login_of, one_rotation, rotate, set_up


@pytest.fixture
async def peer() -> AsyncIterator[FeedPeer]:
    async with feed_peer() as peer:
        yield peer


async def up_to(reader: fairlead.Reader, sequence: int) -> list[fairlead.Entry]:
    """All entries up to this one, but for Attached."""
    entries: list[fairlead.Entry] = []
    async with asyncio.timeout(PATIENCE_S):
        async for entry in reader.events():
            if not isinstance(entry, fairlead.Attached):
                entries.append(entry)
                assert reader.position is not None
                if reader.position.sequence >= sequence:
                    return entries
    raise AssertionError(f"the journal ended before {sequence}")


async def test_a_reader_sees_the_same(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """From the beginning, and from within: the entries of two transports are entries like others."""
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING)
    async with accounted(session) as account:
        await fed(account)
        await rotate(session, account)
        await fed(account)
        (closed,) = [leg for leg in account.legs if leg.state is SessionState.CLOSED]
        async with client.join("md", start=fairlead.OLDEST) as reader:
            everything = await up_to(reader, closed.sequence)
            epoch = reader.epoch
        assert len(everything) == closed.sequence
        assert [e for e in everything if isinstance(e, StateChanged | LegChanged)] == account.told_entries()
        (opening,) = [leg for leg in account.legs if leg.state is SessionState.OPENING]
        assert epoch is not None
        async with client.join("md", start=fairlead.After(epoch, opening.sequence)) as reader:
            assert await up_to(reader, closed.sequence) == everything[opening.sequence :]


async def test_an_owner_that_was_away(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """It ages while nobody is there, and nothing is missing behind the position that was kept."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=0.1, max_age=1)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
    position = session.position
    assert position is not None
    await eventually(lambda: len(peer.lines) == 3, "two rotations")
    again = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy, start=position)
    async with accounted(again) as rest:
        await gone(rest, 2)
        assert not set(rest.numbers) & set(account.numbers)
        rest.numbers |= account.numbers
        await rest.whole(peer.stop())
        assert one_rotation(1, "MAX_AGE") == rest.told[:4]
        assert [change.overlap and change.overlap.may_be_missing for change in rest.rotations()][:2] == [False, False]


async def test_tail_tells_of_it(client: fairlead.Gateway, channel: grpc.aio.Channel, peer: FeedPeer) -> None:
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING)
    async with accounted(session) as account:
        await fed(account)
        await rotate(session, account)
        (closed,) = [leg for leg in account.legs if leg.state is SessionState.CLOSED]
        request = TailRequest(session="md", start=Start(oldest=Start.Oldest()), max_entries=closed.sequence)
        answers = [answer async for answer in sessions_of(channel).Tail(request)]
        assert [answer.sequence for answer in answers] == list(range(1, closed.sequence + 1))
        legs = [answer for answer in answers if answer.WhichOneof("entry") == "leg_changed"]
        assert [answer.leg_changed.state for answer in legs] == [
            SESSION_STATE_OPENING,
            SESSION_STATE_OPEN,
            SESSION_STATE_CLOSED,
        ]
        assert [answer.generation for answer in legs] == [2, 2, 1]
        assert legs[-1].leg_changed.received_frames == closed.received_frames
        (changed,) = [answer.state_changed for answer in answers if answer.state_changed.HasField("overlap")]
        assert changed.overlap.copies > 0


async def test_the_list_has_both_while_the_old_one_stays(client: fairlead.Gateway, peer: FeedPeer) -> None:
    policy = fairlead.Reconnect(make_before_break=True, overlap=30)
    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=policy)
    async with accounted(session) as account:
        await fed(account)
        (only,) = (await client.session("md")).legs
        assert (only.generation, only.state) == (1, SessionState.OPEN)
        assert only.address == "127.0.0.1"
        await session.reconnect(make_before_break=True)
        await account.until(account.rotations, "the next has taken the place")
        summary = await client.session("md")
        assert (summary.state, summary.generation) == (SessionState.OPEN, 2)
        assert [(leg.generation, leg.state) for leg in summary.legs] == [
            (2, SessionState.OPEN),
            (1, SessionState.CLOSED),
        ]


async def test_a_target_is_asked_for_first(client: fairlead.Gateway, peer: FeedPeer) -> None:
    asked: list[int] = []

    def before_dial(question: fairlead.Asked) -> str:
        asked.append(question.generation)
        return f"{peer.url}/key/{question.generation}"

    session = client.websocket(peer.url, name="md", dedupe=SEQ, reconnect=ROTATING, before_dial=before_dial)
    async with accounted(session) as account:
        for _ in range(3):
            await fed(account)
            await rotate(session, account)
        await account.whole(peer.stop())
        account.never_down()
        assert asked == [1, 2, 3, 4]
        assert [line.path for line in peer.lines] == [f"/key/{n}" for n in asked]


async def test_another_owner_comes_meanwhile(client: fairlead.Gateway, peer: FeedPeer) -> None:
    """The next transport waits for its login; the next owner is asked for it, and nothing is missing."""
    asked: list[int] = []
    former = client.websocket(
        f"{peer.url}/login", name="md", dedupe=SEQ, reconnect=ROTATING, setup=[login_of(asked)], start=fairlead.OLDEST
    )
    there = asyncio.Event()
    former.on_leg(lambda leg: there.set() if leg.state is SessionState.OPENING else None)
    async with former:
        await eventually(lambda: peer.number > 50, "the feed goes on")
        peer.admitting.clear()
        await former.reconnect(make_before_break=True)
        await asyncio.wait_for(there.wait(), PATIENCE_S)
        await eventually(lambda: peer.lines[1].heard, "its login has come")
        session = client.websocket(
            f"{peer.url}/login",
            name="md",
            dedupe=SEQ,
            reconnect=ROTATING,
            setup=[login_of(asked)],
            start=fairlead.OLDEST,
        )
        async with accounted(session) as account:
            peer.admitting.set()
            await set_up(account, 2)
            await gone(account, 1)
            await account.whole(peer.stop())
            account.never_down()
            assert asked == [1, 2]
