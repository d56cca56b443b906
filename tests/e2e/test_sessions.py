"""Channels, readers, cursors and ends, as dialogues on Attach streams."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2 as types
from tests.e2e.attach import Attachment, Frame, connected, sessions_of
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Exchange, Gateway, eventually

OLDEST = pb.Start(oldest=pb.Start.Oldest())
ONCE = pb.ReconnectPolicy(enabled=False)
# A named session closes with its last subscriber, as an anonymous one does.
NO_LINGER = pb.Retention(linger=Duration())
# A message has at most 1000 bytes, and the journal holds some thirty frames of 100.
TINY: dict[str, Any] = {"most_bytes": 1000, "retention": pb.Retention(journal_bytes=5000)}


def number(frame: Frame) -> int:
    return int(frame.payload.split()[0])


def opening(url: str, session: str = "md", **fields: Any) -> pb.Open:
    return pb.Open(session=session, target=pb.Target(url=url), **fields)


# ---- Many channels, many readers. ----


async def test_many_channels_on_one_stream(client: fairlead.Gateway, exchange: Exchange) -> None:
    """Thirty feeds at once, flat out; each session gets its own, whole and in order."""
    count = 2000

    async def read(turn: int) -> None:
        size = 20 + turn
        url = f"{exchange.wss if turn % 2 else exchange.ws}/numbered?count={count}&size={size}&feed=f{turn}"
        async with client.websocket(url, start=fairlead.OLDEST) as session:
            expected = 1
            async for frame in session:
                assert int(frame.payload.split()[0]) == expected
                assert len(frame.payload) == size
                expected += 1
                if expected > count:
                    return

    async with asyncio.timeout(60):
        await asyncio.gather(*(read(turn) for turn in range(30)))


async def test_first_entries(stream: Attachment, exchange: Exchange) -> None:
    await stream.say(pb.Command(channel=3, id=8, open=opening(f"{exchange.ws}/echo")))
    attached = await stream.next()
    assert isinstance(attached, pb.Attached)
    assert (attached.channel, attached.session, attached.start) == (3, "md", pb.START_OUTCOME_NEW)
    assert (attached.oldest_sequence, attached.head_sequence, attached.generation) == (1, 0, 0)
    assert len(attached.epoch) == 32
    done = await stream.next()
    assert isinstance(done, pb.CommandResult)
    assert (done.id, done.outcome, done.sequence) == (8, pb.OUTCOME_DONE, 0)
    for sequence, (state, generation) in enumerate(
        [(pb.SESSION_STATE_CONNECTING, 0), (pb.SESSION_STATE_OPENING, 1), (pb.SESSION_STATE_OPEN, 1)], 1
    ):
        change = await stream.next()
        assert isinstance(change, pb.StateChanged)
        assert (change.channel, change.state, change.generation, change.sequence) == (3, state, generation, sequence)
        assert not change.HasField("cause")


async def test_readers_at_oldest_and_head(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    opened = await stream.open(1, endpoint.opening("/numbered?rate=1000&feed=readers", session="md"))
    seen = await stream.frames(1, 50)
    other = Attachment(channel)
    await other.say(pb.Command(channel=1, join=pb.Join(session="md", start=OLDEST)))
    await other.say(pb.Command(channel=2, join=pb.Join(session="md")))

    oldest = await other.attached(1)
    assert (oldest.start, oldest.epoch, oldest.oldest_sequence) == (pb.START_OUTCOME_LIVE, opened.epoch, 1)
    assert (await other.state(1, pb.SESSION_STATE_CONNECTING)).sequence == 1
    past = await other.frames(1, 50)
    assert [(frame.sequence, frame.payload, frame.received_unix_ns) for frame in past] == [
        (frame.sequence, frame.payload, frame.received_unix_ns) for frame in seen
    ]

    head = await other.attached(2)
    assert head.state == pb.SESSION_STATE_OPEN
    assert head.head_sequence >= seen[-1].sequence
    following = await other.frames(2, 50)
    assert [frame.sequence for frame in following] == [head.head_sequence + 1 + at for at in range(50)]
    assert [number(frame) - number(following[0]) for frame in following] == list(range(50))


async def test_reader_after_a_position(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    opened = await stream.open(1, endpoint.opening("/numbered?count=100&feed=after", session="md"))
    frames = await stream.frames(1, 100)
    other = Attachment(channel)

    def join(epoch: str, sequence: int) -> pb.Join:
        return pb.Join(session="md", start=pb.Start(after=pb.Start.After(epoch=epoch, sequence=sequence)))

    await other.say(pb.Command(channel=1, join=join(opened.epoch, frames[89].sequence)))
    assert (await other.attached(1)).start == pb.START_OUTCOME_RESUMED
    assert [number(frame) for frame in await other.frames(1, 10)] == list(range(91, 101))

    await other.say(pb.Command(channel=2, join=join("another", 1_000_000)))
    assert (await other.attached(2)).start == pb.START_OUTCOME_EPOCH_CHANGED
    assert number(await other.frame(2)) == 1


# ---- Hold, and a journal that moves on. ----


async def test_hold(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    await stream.open(1, endpoint.opening("/idle", session="md"))
    other = Attachment(channel)
    await other.say(pb.Command(channel=5, join=pb.Join(session="md")))
    await other.attached(5)
    await other.say(pb.Command(channel=5, id=1, hold=pb.Hold(on=True)))
    assert (await other.result(1)).outcome == pb.OUTCOME_DONE
    held = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session.subscribers
    assert [(each.owner, each.held) for each in held] == [(True, False), (False, True)]

    for text in ("a", "b", "c"):
        await endpoint.exchange.send(text=text)
    assert [frame.payload for frame in await stream.frames(1, 3)] == [b"a", b"b", b"c"]
    lag = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session.subscribers[1]
    assert (lag.lag_entries, lag.lag_bytes) == (3, 3 * 65)
    assert lag.HasField("lag")
    others = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session.subscribers[0]
    assert (others.lag_entries, others.lag_bytes, others.HasField("lag")) == (0, 0, False)
    # Another command is answered on the held channel, and no frame has come before its answer.
    await other.say(pb.Command(channel=5, id=2, hold=pb.Hold(on=True)))
    await other.result(2)
    assert other.heard(Frame) == []

    await other.say(pb.Command(channel=5, hold=pb.Hold(on=False)))
    assert [frame.payload for frame in await other.frames(5, 3)] == [b"a", b"b", b"c"]
    assert other.heard(pb.Gap) == []


async def test_skip(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    """The tail of a tiny journal passes a reader that holds: one gap, and on with the oldest entry that is left."""
    path = "/numbered?count=1000&size=100&feed=skip&start=subscribe"
    await stream.open(1, endpoint.opening(path, session="md", **TINY))
    other = Attachment(channel)
    join = pb.Join(session="md", start=OLDEST, delivery=pb.Delivery(overflow=pb.OVERFLOW_SKIP))
    await other.say(pb.Command(channel=1, join=join))
    await other.state(1, pb.SESSION_STATE_OPEN)
    await other.say(pb.Command(channel=1, id=1, hold=pb.Hold(on=True)))
    await other.result(1)

    await stream.say(pb.Command(channel=1, send=pb.Send(payload=b"subscribe")))

    async def all_in() -> bool:
        session = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session
        assert session.journal_bytes <= 5000
        return session.received_frames == 1001 and session.oldest_sequence > 4

    await eventually(all_in, "the journal has moved on")
    await other.say(pb.Command(channel=1, hold=pb.Hold(on=False)))
    gap = await other.hear(pb.Gap)
    assert gap.from_sequence == 4, "what follows OPEN"
    rest = [await other.frame(1)]
    while number(rest[-1]) < 1000:
        rest.append(await other.frame(1))
    sequences = [frame.sequence for frame in rest]
    assert sequences == list(range(gap.to_sequence + 1, gap.to_sequence + 1 + len(rest)))
    assert len(rest) < 50
    assert other.heard(pb.Gap) == []


async def test_detach_on_overflow(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    """With DETACH the channel ends, told where to resume; the session goes on, and resuming gives the gap."""
    path = "/numbered?count=1000&size=100&feed=detach&start=subscribe"
    opened = await stream.open(1, endpoint.opening(path, session="md", **TINY))
    other = Attachment(channel)
    join = pb.Join(session="md", start=OLDEST, delivery=pb.Delivery(overflow=pb.OVERFLOW_DETACH))
    await other.say(pb.Command(channel=1, join=join))
    await other.attached(1)
    await other.state(1, pb.SESSION_STATE_OPEN)
    await other.say(pb.Command(channel=1, id=1, hold=pb.Hold(on=True)))
    await other.result(1)
    await stream.say(pb.Command(channel=1, send=pb.Send(payload=b"subscribe")))

    ended = await other.ended(1)
    assert ended.cause.reason == types.REASON_OVERFLOW
    assert not ended.session_closed
    assert "sequence 3 " in ended.cause.message
    assert opened.epoch in ended.cause.message
    assert other.heard(Frame) == []

    after = pb.Start(after=pb.Start.After(epoch=opened.epoch, sequence=3))
    # The number is free again.
    await other.say(pb.Command(channel=1, join=pb.Join(session="md", start=after)))
    assert (await other.attached(1)).start == pb.START_OUTCOME_RESUMED
    gap = await other.hear(pb.Gap)
    assert gap.from_sequence == 4
    assert (await other.frame(1)).sequence == gap.to_sequence + 1


# ---- Ends. ----


async def test_detach_leaves_the_session_to_others(
    channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint
) -> None:
    exchange = endpoint.exchange
    await stream.open(1, endpoint.opening("/idle", session="md", retention=NO_LINGER))
    other = Attachment(channel)
    await other.say(pb.Command(channel=1, join=pb.Join(session="md")))
    await other.attached(1)
    # The owner leaves: the session goes on without one.
    await stream.say(pb.Command(channel=1, id=9, detach=pb.Detach()))
    assert (await stream.result(9)).outcome == pb.OUTCOME_DONE
    ended = await stream.ended(1)
    assert (ended.cause.reason, ended.session_closed) == (types.REASON_DETACHED, False)
    await exchange.send(text="still here")
    assert (await other.frame(1)).payload == b"still here"
    # And closes with its last subscriber.
    await other.say(pb.Command(channel=1, detach=pb.Detach()))
    ended = await other.ended(1)
    assert (ended.cause.reason, ended.session_closed) == (types.REASON_DETACHED, True)
    endpoint.check_goodbye(await exchange.closed(), 1000)


async def test_owner_closes_for_all(channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange) -> None:
    await stream.open(1, opening(f"{exchange.ws}/idle"))
    other = Attachment(channel)
    await other.say(pb.Command(channel=4, join=pb.Join(session="md")))
    await other.attached(4)
    await stream.say(pb.Command(channel=1, id=9, close=pb.Close(code=3333, reason="done")))
    assert (await stream.result(9)).outcome == pb.OUTCOME_DONE
    for reader, at in ((stream, 1), (other, 4)):
        closed = await reader.state(at, pb.SESSION_STATE_CLOSED)
        assert closed.cause.reason == types.REASON_CLOSED
        ended = await reader.ended(at)
        assert (ended.cause.reason, ended.session_closed) == (types.REASON_CLOSED, True)
    record = await exchange.closed()
    assert (record["close_code_received"], record["close_reason_received"]) == (3333, "done")


async def test_reader_only_detaches(channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange) -> None:
    """A reader's Close is a Detach, and whatever else commands the session is refused."""
    await stream.open(1, opening(f"{exchange.ws}/idle"))
    other = Attachment(channel)
    await other.say(pb.Command(channel=1, join=pb.Join(session="md")))
    await other.attached(1)
    await other.say(
        pb.Command(channel=1, id=1, send=pb.Send(payload=b"x")),
        pb.Command(channel=1, id=2, ping=pb.Ping()),
        pb.Command(channel=1, id=3, reconnect=pb.Reconnect()),
        pb.Command(channel=1, id=4, close=pb.Close(code=3000)),
    )
    for command in (1, 2, 3):
        result = await other.result(command)
        assert (result.outcome, result.sequence) == (pb.OUTCOME_NOT_SENT, 0)
        assert result.failure.reason == types.REASON_NOT_OWNER
    assert (await other.result(4)).outcome == pb.OUTCOME_DONE
    assert not (await other.ended(1)).session_closed
    record = await exchange.connection()
    assert (record["state"], record["frames_received"], record["pings_received"]) == ("open", 0, 0)


async def test_half_close(stream: Attachment, endpoint: Endpoint) -> None:
    """No more commands; delivery goes on to the end, each channel ends exactly once, and the stream ends OK."""
    path = "/numbered?count=500&close=1000&feed="
    await stream.say(
        pb.Command(channel=1, open=endpoint.opening(path, session="one", reconnect=ONCE)),
        pb.Command(channel=2, open=endpoint.opening(path, session="two", reconnect=ONCE)),
    )
    await stream.half_close()
    for at in (1, 2):
        assert [number(frame) for frame in await stream.frames(at, 500)] == list(range(1, 501))
        # A raw socket has no close frame that tells an end which was meant from one that was not.
        code, reason = (0, types.REASON_CONNECTION_LOST) if endpoint.is_raw else (1000, types.REASON_PEER_CLOSED)
        assert (await stream.state(at, pb.SESSION_STATE_CLOSED)).close_code == code
        ended = await stream.ended(at)
        assert (ended.cause.reason, ended.session_closed) == (reason, True)
    assert (await stream.status()).code is grpc.StatusCode.OK
    assert stream.heard(pb.Ended) == []


async def test_half_close_without_channels(stream: Attachment) -> None:
    await stream.half_close()
    assert (await stream.status()).code is grpc.StatusCode.OK


@pytest.mark.parametrize("how", ["cancel", "disconnect"])
async def test_lost_stream_detaches(gateway: Gateway, endpoint: Endpoint, how: str) -> None:
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, endpoint.opening("/idle", session="md", retention=NO_LINGER))
        if how == "cancel":
            stream.cancel()
            await endpoint.exchange.closed()
    endpoint.check_goodbye(await endpoint.exchange.closed(), 1000)


# ---- Names. ----


async def test_name_is_live_until_closed(channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange) -> None:
    """Another session cannot have it; who closes his has it free at once."""
    url = f"{exchange.ws}/idle"
    first = await stream.open(1, opening(url))
    other = Attachment(channel)
    for each, at in ((stream, 2), (other, 1)):
        await each.say(pb.Command(channel=at, id=7, open=opening(f"{exchange.ws}/echo")))
        refused = await each.result(7)
        assert (refused.outcome, refused.failure.reason) == (pb.OUTCOME_NOT_SENT, types.REASON_SESSION_LIVE)
        assert refused.failure.phase == types.PHASE_NOT_SENT
        assert "open.target.url" in refused.failure.message
    # The first is not disturbed.
    await exchange.send(text="hello")
    assert (await stream.frame(1)).payload == b"hello"

    # Closing and opening in one breath works, though the exchange has not said goodbye yet.
    await exchange.fault("silent")
    await stream.say(
        pb.Command(channel=1, close=pb.Close()),
        pb.Command(channel=2, open=opening(url)),
    )
    second = await stream.attached(2)
    assert second.start == pb.START_OUTCOME_NEW
    assert second.epoch != first.epoch
    await stream.state(2, pb.SESSION_STATE_OPEN)
    # Who looks for the name finds the new one.
    found = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session
    assert found.epoch == second.epoch
    assert (await stream.ended(1)).session_closed
    await exchange.send(text="new")
    assert (await stream.frame(2)).payload == b"new"


async def test_channel_in_use(stream: Attachment, exchange: Exchange) -> None:
    url = f"{exchange.ws}/idle"
    await stream.open(0, opening(url, "zero"))
    for command in (
        pb.Command(channel=0, id=1, open=opening(url, "another")),
        pb.Command(channel=0, id=1, join=pb.Join(session="zero")),
    ):
        await stream.say(command)
        assert (await stream.result(1)).failure.reason == types.REASON_CHANNEL_IN_USE
    await stream.say(pb.Command(channel=0, close=pb.Close()))
    await stream.ended(0)
    assert (await stream.open(0, opening(url, "another"))).session == "another"


async def test_anonymous_sessions(stream: Attachment, channel: grpc.aio.Channel, exchange: Exchange) -> None:
    names = [(await stream.open(at, opening(f"{exchange.ws}/idle", ""))).session for at in (1, 2)]
    assert all(name.startswith("~") for name in names)
    assert len(set(names)) == 2
    listed = await sessions_of(channel).ListSessions(pb.ListSessionsRequest())
    assert [session.name for session in listed.sessions] == sorted(names)
    # Others read it by that name.
    await stream.say(pb.Command(channel=3, join=pb.Join(session=names[0])))
    assert (await stream.attached(3)).session == names[0]
