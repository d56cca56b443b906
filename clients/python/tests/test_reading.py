"""Frames, batches and events: order, columns, cancellation, bounds."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import Frame, FrameKind, Gap, SessionState, StateChanged
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, attached, ended, frames, state

Item = TypeVar("Item")


async def take(items: AsyncIterator[Item], count: int) -> list[Item]:
    """Take so many items."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(items) for _ in range(count)]


async def test_frames_come_in_order_with_their_columns(stream: Stream, session: fairlead.Session) -> None:
    stream.say(frames(1, 4, [b"a", b"b"]), frames(1, 6, [b"c"]))
    assert await take(aiter(session), 3) == [
        Frame(b"a", 4, 1, 4000, FrameKind.TEXT),
        Frame(b"b", 5, 1, 5000, FrameKind.TEXT),
        Frame(b"c", 6, 1, 6000, FrameKind.TEXT),
    ]


async def test_runs_of_one_batch_are_parted_by_channel_and_kind(
    stream: Stream, gateway: fairlead.Gateway, session: fairlead.Session
) -> None:
    other = gateway.join("other")
    entering = asyncio.create_task(other.open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE", "other", oldest_sequence=1, head_sequence=9))
    await entering
    text, binary = types_pb2.FRAME_KIND_TEXT, types_pb2.FRAME_KIND_BINARY
    runs = [
        pb.Run(channel=1, first_sequence=4, count=2, kind=text, generation=1),
        pb.Run(channel=join.channel, first_sequence=10, count=1, kind=text, generation=7),
        pb.Run(channel=1, first_sequence=6, count=1, kind=binary, generation=1),
    ]
    batch = pb.Batch(runs=runs, payloads=[b"a", b"b", b"x", b"\xff"], receive_times_unix_ns=[1, 2, 3, 4])
    stream.say(pb.Event(batch=batch))
    first, second = await take(session.batches(), 2)
    assert (first.payloads, first.received_at, first.first_sequence, first.kind) == ([b"a", b"b"], [1, 2], 4, 1)
    assert (second.payloads, second.received_at, second.first_sequence, second.kind) == ([b"\xff"], [4], 6, 2)
    assert await take(aiter(other), 1) == [Frame(b"x", 10, 7, 3, FrameKind.TEXT)]


async def test_events_are_all_entries_in_order(stream: Stream, session: fairlead.Session) -> None:
    cause = types_pb2.Failure(reason=types_pb2.REASON_PEER_CLOSED, message="gone")
    stream.say(
        frames(1, 4, [b"a"]),
        state(1, "RECONNECTING", 5, cause=cause, close_code=1001, close_reason="bye", attempt=1),
        pb.Event(gap=pb.Gap(channel=1, from_sequence=6, to_sequence=9)),
        frames(1, 10, [b"b"], generation=2),
    )
    events = await take(session.events(), 8)
    kinds = [type(event) for event in events]
    assert kinds == [fairlead.Attached, *[StateChanged] * 3, Frame, StateChanged, Gap, Frame]
    assert events[6] == Gap(6, 9)
    change = events[5]
    assert isinstance(change, StateChanged)
    assert (change.state, change.close_code, change.close_reason) == (SessionState.RECONNECTING, 1001, "bye")
    assert change.cause == fairlead.Failure(fairlead.Reason.PEER_CLOSED, message="gone")
    assert (change.retry_in, change.blind_from) == (None, None)


async def test_breaking_out_of_a_loop_and_changing_its_shape_loses_nothing(
    stream: Stream, session: fairlead.Session
) -> None:
    stream.say(frames(1, 4, [b"%d" % number for number in range(4, 14)]))
    got: list[int] = []
    async for frame in session:
        got.append(frame.sequence)
        if len(got) == 3:
            break
    async for entry in session.events():
        assert isinstance(entry, Frame)
        got.append(entry.sequence)
        if len(got) == 5:
            break
    async for batch in session.batches():
        got.extend(frame.sequence for frame in batch.frames)
        assert batch.last_sequence == 13
        assert len(batch) == 5
        break
    assert got == list(range(4, 14))


async def test_cancelling_the_wait_loses_nothing(stream: Stream, session: fairlead.Session) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    choice = random.Random(seed)
    got: list[int] = []

    async def read() -> None:
        async for frame in session:
            got.append(frame.sequence)  # noqa: PERF401 - what came before the cancellation counts

    next_sequence = 4
    for _ in range(200):
        reading = asyncio.create_task(read())
        for _ in range(choice.randrange(4)):
            await asyncio.sleep(0)
        count = choice.randrange(1, 5)
        stream.say(frames(1, next_sequence, [b"x"] * count))
        next_sequence += count
        for _ in range(choice.randrange(6)):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    # The last reader may have had everything: what ends the loop comes behind all of them.
    stream.say(frames(1, next_sequence, [b"end"]))
    async for frame in session:
        got.append(frame.sequence)
        if frame.sequence == next_sequence:
            break
    assert got == list(range(4, next_sequence + 1))


async def test_a_second_reader_is_told_so(session: fairlead.Session) -> None:
    await take(session.events(), 4)
    first = asyncio.create_task(take(aiter(session), 1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="two tasks"):
        await anext(aiter(session))
    first.cancel()
    await asyncio.wait([first])


async def test_callbacks_come_at_arrival_and_may_fail(
    stream: Stream, session: fairlead.Session, caplog: pytest.LogCaptureFixture
) -> None:
    seen: asyncio.Queue[object] = asyncio.Queue()

    def fail(event: object) -> None:
        raise ValueError(event)

    def fail_as_a_cancelled_future_does(event: object) -> None:
        raise asyncio.CancelledError(event)

    session.on_state(fail)
    session.on_state(fail_as_a_cancelled_future_does)
    session.on_state(seen.put_nowait)
    session.on_gap(seen.put_nowait)
    stream.say(state(1, "RECONNECTING", 4), pb.Event(gap=pb.Gap(channel=1, from_sequence=5, to_sequence=5)))
    async with asyncio.timeout(PATIENCE_S):
        change, gap = await seen.get(), await seen.get()
    assert isinstance(change, StateChanged)
    assert change.state is session.state is SessionState.RECONNECTING
    assert gap == Gap(5, 5)
    assert caplog.text.count("a callback for StateChanged failed") == 2


async def test_a_gap_that_nobody_takes_is_logged(
    stream: Stream, session: fairlead.Session, caplog: pytest.LogCaptureFixture
) -> None:
    stream.say(pb.Event(gap=pb.Gap(channel=1, from_sequence=4, to_sequence=8)), frames(1, 9, [b"x"]))
    with caplog.at_level(logging.WARNING):
        assert [frame.sequence for frame in await take(aiter(session), 1)] == [9]
    assert "entries 4 to 8 are lost" in caplog.text


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (frames(1, 5, [b"hole"]), "sequences 5 to 5 came after 3"),
        (frames(1, 3, [b"twice"]), "sequences 3 to 3 came after 3"),
        (state(1, "OPENING", 7), "sequences 7 to 7 came after 3"),
        (pb.Event(gap=pb.Gap(channel=1, from_sequence=4, to_sequence=3)), "sequences 4 to 3 came after 3"),
        (
            pb.Event(batch=pb.Batch(runs=[pb.Run(channel=1, first_sequence=4, count=2)], payloads=[b""])),
            "a run of 2 frames has 1 payloads and 0 times",
        ),
    ],
)
async def test_a_broken_order_ends_the_session_aloud(
    stream: Stream, session: fairlead.Session, event: pb.Event, what: str
) -> None:
    stream.say(event)
    with pytest.raises(fairlead.SessionEnded, match=what):
        await take(aiter(session), 1)
    await stream.expect("detach")


async def test_the_queue_holds_the_session_at_its_high_mark_and_lets_go_at_half(
    stream: Stream, gateway: fairlead.Gateway
) -> None:
    session = gateway.websocket("ws://exchange/ws", name="md", queue=fairlead.Queue(frames=100))
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    stream.say(*(frames(1, first, [b"x"] * 10) for first in range(4, 104, 10)))
    assert (await stream.expect("hold")).hold.on
    await take(session.batches(), 4)
    # Whatever the client had to say by now would come before this.
    entering = asyncio.create_task(gateway.join("other").open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE", "other"))
    await entering
    await take(session.batches(), 1)
    assert not (await stream.expect("hold")).hold.on


async def test_a_session_that_nobody_reads_does_not_stop_another(stream: Stream, gateway: fairlead.Gateway) -> None:
    sessions = [
        gateway.websocket("ws://exchange/ws", name=name, queue=fairlead.Queue(bytes=1000)) for name in ("a", "b")
    ]
    for session in sessions:
        opening = asyncio.create_task(session.open())
        await stream.open()
        await opening
    stream.say(frames(1, 4, [b"x" * 500] * 3))
    assert (await stream.expect("hold")).channel == 1
    for sequence in range(4, 24):
        stream.say(frames(2, sequence, [b"y"]))
    assert [frame.sequence for frame in await take(aiter(sessions[1]), 20)] == list(range(4, 24))


async def test_an_end_for_another_reason_is_raised_after_what_is_queued(
    stream: Stream, session: fairlead.Session
) -> None:
    stream.say(frames(1, 4, [b"last"]), ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
    got = []

    async def read() -> None:
        async for frame in session:
            got.append(frame.payload)  # noqa: PERF401 - what came before the exception counts

    with pytest.raises(fairlead.SessionEnded) as raised:
        await read()
    assert got == [b"last"]
    assert raised.value.reason is fairlead.Reason.OUTAGE_EXHAUSTED
    with pytest.raises(fairlead.SessionEnded):
        await take(aiter(session), 1)


async def test_a_join_begins_where_it_was_told(stream: Stream, gateway: fairlead.Gateway) -> None:
    cases: list[tuple[fairlead.Start | fairlead.After, str, str, int]] = [
        (fairlead.HEAD, "head", "LIVE", 21),
        (fairlead.OLDEST, "oldest", "LIVE", 11),
        (fairlead.After("epoch-1", 15), "after", "RESUMED", 16),
    ]
    for start, wire, outcome, first in cases:
        reader = gateway.join("md", identity="feeds", start=start)
        entering = asyncio.create_task(reader.open())
        join = await stream.expect("join")
        assert join.join.start.WhichOneof("from") == wire
        assert join.join.identity == "feeds"
        stream.say(
            attached(join.channel, outcome, oldest_sequence=11, head_sequence=20, state=pb.SESSION_STATE_OPEN),
            frames(join.channel, first, [b"x"]),
        )
        await entering
        assert [frame.sequence for frame in await take(aiter(reader), 1)] == [first]
        assert (reader.name, reader.epoch, reader.state) == ("md", "epoch-1", SessionState.OPEN)


async def test_topics_are_entries_and_told_at_once(gateway: fairlead.Gateway, stream: Stream) -> None:
    topic = fairlead.Topic("btc", "btcusd", max_silence=2, reconnect=True)
    session = gateway.websocket("ws://exchange/ws", topics=[topic])
    told: list[fairlead.TopicChanged] = []
    session.on_topic(told.append)
    opening = asyncio.create_task(session.open())
    command = await stream.open()
    assert command.open.topics[0] == pb.Topic(
        key="btc",
        match=types_pb2.Match(contains=[b"btcusd"]),
        max_silence=Duration(seconds=2),
        reconnect=True,
    )
    await opening
    silent = pb.TopicChanged(channel=command.channel, sequence=4, generation=1, key="btc", stale=True)
    stream.say(pb.Event(topic_changed=silent), frames(command.channel, 5, [b"btcusd 1"]))
    assert (await take(aiter(session), 1))[0].sequence == 5
    assert told == [fairlead.TopicChanged("btc", stale=True, sequence=4, generation=1, last_heard=None)]
    assert session.position == fairlead.After("epoch-1", 5)
    await gateway.aclose()


# ---- The position. ----


async def test_the_position_is_behind_what_was_read(stream: Stream, session: fairlead.Session) -> None:
    epoch = session.epoch
    assert epoch is not None
    before = session.position
    assert before is None, "nothing was read"
    stream.say(frames(1, 4, [b"a", b"b", b"c"]), frames(1, 7, [b"d"]))
    each = aiter(session)
    for sequence in (4, 5):
        assert (await take(each, 1))[0].sequence == sequence
        assert session.position == fairlead.After(epoch, sequence)
    assert [len(batch) for batch in await take(session.batches(), 1)] == [1]
    assert session.position == fairlead.After(epoch, 6), "the rest of the batch that was begun"
    await take(session.batches(), 1)
    assert session.position == fairlead.After(epoch, 7)


async def test_events_count_for_the_position_when_they_are_read(stream: Stream, session: fairlead.Session) -> None:
    stream.say(state(1, "RECONNECTING", 4), pb.Event(gap=pb.Gap(channel=1, from_sequence=5, to_sequence=8)))
    stream.say(frames(1, 9, [b"a"]))
    positions = []
    async with asyncio.timeout(PATIENCE_S):
        async for _ in session.events():
            assert session.position is not None
            positions.append(session.position.sequence)
            if positions[-1] == 9:
                break
    # Attached, the states on the way to OPEN, and what came above.
    assert positions == [0, 1, 2, 3, 4, 8, 9]


async def test_the_position_is_of_the_journal_that_was_read(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    stream.say(frames(1, 4, [b"old"]))
    each = aiter(session)
    await take(each, 1)
    old = session.position
    arrived = asyncio.Event()
    session.on_epoch(lambda _: arrived.set())
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    assert command.open.start.after.sequence == 4
    second.say(
        attached(command.channel, "EPOCH_CHANGED", epoch="epoch-2", oldest_sequence=20, head_sequence=20),
        frames(command.channel, 20, [b"new"]),
    )
    await asyncio.wait_for(arrived.wait(), PATIENCE_S)
    assert session.position == old, "the new journal has come, and nothing of it was read"
    await take(each, 1)
    assert session.position == fairlead.After("epoch-2", 20)
