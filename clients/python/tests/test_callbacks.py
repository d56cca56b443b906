"""Frames by callback: order and position, when it may be registered, a lost stream."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

import fairlead
from fairlead import After, Frame, Gap, SessionState, StateChanged, TopicChanged, _backoff
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import EPOCH, PATIENCE_S, FakeGateway, Stream, attached, ended, frames, result, state

Call = tuple[object, After | None]
"""What a callback was given, and the position inside the call."""


async def enter(stream: Stream, session: fairlead.Session) -> int:
    """Open the session, with entries 1 to 3; return its channel."""
    opening = asyncio.create_task(session.open())
    command = await stream.open()
    await opening
    return command.channel


async def end(session: fairlead.Reader) -> None:
    """Wait for the end."""
    async with asyncio.timeout(PATIENCE_S):
        await session.ended()


async def said_by_now(stream: Stream, gateway: fairlead.Gateway) -> None:
    """Return when whatever the client had to say has been taken, and was nothing."""
    entering = asyncio.create_task(gateway.join("other").open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE", "other"))
    await entering


def record(session: fairlead.Session) -> list[Call]:
    """Keep all that frames' and events' callbacks are given, in the order of the calls."""
    calls: list[Call] = []

    def call(given: object) -> None:
        calls.append((given, session.position))

    session.on_state(call)
    session.on_topic(call)
    session.on_gap(call)
    session.on_epoch(call)
    session.on_frame(call)
    return calls


def told(calls: list[Call]) -> list[tuple[str, int]]:
    """Give the kind and the last sequence of each, up to which the position must be; of an epoch its beginning."""
    found = []
    for given, position in calls:
        match given:
            case Frame() | StateChanged() | TopicChanged():
                last = given.sequence
            case Gap():
                last = given.to_sequence
            case fairlead.EpochChanged():
                last = given.position
            case _:
                raise AssertionError(given)
        assert position is not None
        assert position.sequence == last, given
        found.append((type(given).__name__, last))
    return found


# ---- Order and position. ----


async def test_frames_and_events_are_called_in_the_order_of_the_channel(stream: Stream, idle: fairlead.Session) -> None:
    calls = record(idle)
    assert idle.position is None
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"a", b"b"]), state(1, "RECONNECTING", 6), state(1, "OPENING", 7, 2))
    stream.say(
        frames(1, 8, [b"login"], 2),
        state(1, "OPEN", 9, 2),
        frames(1, 10, [b"c", b"d"], 2),
        pb.Event(gap=pb.Gap(channel=1, from_sequence=12, to_sequence=20)),
        frames(1, 21, [b"e"], 2),
        pb.Event(topic_changed=pb.TopicChanged(channel=1, sequence=22, generation=2, key="btc", stale=True)),
        frames(1, 23, [b"f"], 2),
        ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED),
    )
    with pytest.raises(fairlead.SessionEnded):
        await end(idle)
    assert told(calls) == [
        *(("StateChanged", sequence) for sequence in (1, 2, 3)),
        *(("Frame", sequence) for sequence in (4, 5)),
        *(("StateChanged", sequence) for sequence in (6, 7)),
        ("Frame", 8),
        ("StateChanged", 9),
        *(("Frame", sequence) for sequence in (10, 11)),
        ("Gap", 20),
        ("Frame", 21),
        ("TopicChanged", 22),
        ("Frame", 23),
    ]
    assert calls[3][0] == Frame(b"a", 4, 1, 4000, fairlead.FrameKind.TEXT)
    assert idle.position == After(EPOCH, 23)


async def test_batches_are_called_with_their_columns(stream: Stream, idle: fairlead.Session) -> None:
    calls: list[tuple[list[bytes], list[int], int, After | None]] = []
    idle.on_batch(lambda batch: calls.append((batch.payloads, batch.received_at, batch.first_sequence, idle.position)))
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"a", b"b"]), frames(1, 6, [b"c"]), ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
    with pytest.raises(fairlead.SessionEnded):
        await end(idle)
    assert calls == [
        ([b"a", b"b"], [4000, 5000], 4, After(EPOCH, 5)),
        ([b"c"], [6000], 6, After(EPOCH, 6)),
    ]


async def test_a_position_of_any_moment_is_where_the_next_life_begins(
    stream: Stream, gateway: fairlead.Gateway, idle: fairlead.Session
) -> None:
    kept: list[tuple[int, fairlead.StartFrom]] = []

    def keep(frame: Frame) -> None:
        assert idle.position is not None
        kept.append((frame.sequence, idle.position))

    idle.on_frame(keep)
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"x"] * 3), ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
    with pytest.raises(fairlead.SessionEnded):
        await end(idle)
    assert [sequence for sequence, _ in kept] == [4, 5, 6]
    for sequence, start in kept:
        opening = asyncio.create_task(gateway.websocket("ws://exchange/ws", name="md", start=start).open())
        assert (await stream.expect("open")).open.start.after == pb.Start.After(epoch=EPOCH, sequence=sequence)
        opening.cancel()
        await stream.expect("detach")


async def test_nothing_is_queued_and_the_session_not_held(
    stream: Stream, gateway: fairlead.Gateway, idle: fairlead.Session
) -> None:
    """Sixty times the queue's mark, which a queue would answer with a Hold."""
    got: list[int] = []
    idle.on_frame(lambda frame: got.append(frame.sequence))
    await enter(stream, idle)
    stream.say(*(frames(1, first, [b"x"] * 10) for first in range(4, 304, 10)))
    await said_by_now(stream, gateway)
    assert got == list(range(4, 304))
    # Nor does it stand in the way of sends.
    sending = asyncio.create_task(idle.send("order"))
    stream.say(result(await stream.expect("send"), "WRITTEN", 304))
    await sending
    assert idle.position == After(EPOCH, 304)


async def test_a_gap_that_no_callback_takes_is_logged(
    stream: Stream, idle: fairlead.Session, caplog: pytest.LogCaptureFixture
) -> None:
    idle.on_frame(lambda _: None)
    await enter(stream, idle)
    gap = pb.Event(gap=pb.Gap(channel=1, from_sequence=4, to_sequence=8))
    with caplog.at_level(logging.WARNING):
        stream.say(gap, ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
        with pytest.raises(fairlead.SessionEnded):
            await end(idle)
    assert "entries 4 to 8 are lost" in caplog.text


# ---- Registration. ----


@pytest.mark.parametrize("name", ["on_frame", "on_batch"])
async def test_a_callback_comes_before_the_session_is_entered(
    stream: Stream, idle: fairlead.Session, name: str
) -> None:
    await enter(stream, idle)
    with pytest.raises(RuntimeError, match="register the callback, and enter it then"):
        getattr(idle, name)(print)
    stream.say(frames(1, 4, [b"a"]))
    async with asyncio.timeout(PATIENCE_S):
        assert (await anext(aiter(idle))).payload == b"a", "the refusal has changed nothing"


async def test_a_callback_is_refused_while_a_loop_waits(stream: Stream, idle: fairlead.Session) -> None:
    waiting = asyncio.ensure_future(anext(aiter(idle)))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="register the callback, and enter it then"):
        idle.on_frame(print)
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"a"]))
    async with asyncio.timeout(PATIENCE_S):
        assert (await waiting).payload == b"a"


async def test_a_session_has_one_callback_for_frames(idle: fairlead.Session) -> None:
    idle.on_frame(print)
    for register in (idle.on_frame, idle.on_batch):
        with pytest.raises(RuntimeError, match="go to a callback already"):
            register(print)


@pytest.mark.parametrize("shape", [aiter, fairlead.Reader.batches, fairlead.Reader.events])
async def test_no_loop_reads_what_goes_to_a_callback(
    stream: Stream, idle: fairlead.Session, shape: Callable[[fairlead.Reader], AsyncIterator[object]]
) -> None:
    before = shape(idle)
    idle.on_frame(lambda _: None)
    await enter(stream, idle)
    for loop in (before, shape(idle)):
        with pytest.raises(RuntimeError, match=r"await ended\(\) in place of it"):
            await anext(loop)


class Awaitable:
    """An object whose call must be awaited."""

    async def __call__(self, given: object) -> None:
        """Do nothing."""

    async def method(self, given: object) -> None:
        """Do nothing."""


async def coroutine(more: object, given: object) -> None:
    """Do nothing."""


async def generator(given: object) -> AsyncIterator[object]:
    yield given


@pytest.mark.parametrize(
    "callback",
    [coroutine, partial(coroutine, 1), Awaitable(), Awaitable().method, generator, "no function"],
    ids=["function", "partial", "object", "method", "generator", "str"],
)
async def test_what_nobody_would_await_is_refused(idle: fairlead.Session, callback: Callable[..., object]) -> None:
    for register in (idle.on_frame, idle.on_batch):
        with pytest.raises(TypeError, match=r"a plain function|a callback is a function"):
            register(callback)
    idle.on_frame(print)  # The refusals have registered nothing.


# ---- A lost stream. ----


async def test_a_callback_goes_on_after_a_lost_stream(
    fake: FakeGateway, stream: Stream, idle: fairlead.Session
) -> None:
    calls = record(idle)
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"a", b"b"]))
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    # It takes what it has read of the first stream with it.
    assert command.open.start.after == pb.Start.After(epoch=EPOCH, sequence=5)
    second.say(attached(1, "RESUMED", head_sequence=9), frames(1, 6, [b"c"]))
    second.end()
    third = await fake.stream()
    assert (await third.expect("open")).open.start.after == pb.Start.After(epoch=EPOCH, sequence=6)
    third.say(
        attached(1, "EPOCH_CHANGED", epoch="epoch-2", oldest_sequence=8, head_sequence=20),
        frames(1, 8, [b"d"]),
        ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED),
    )
    with pytest.raises(fairlead.SessionEnded):
        await end(idle)
    assert told(calls)[3:] == [("Frame", 4), ("Frame", 5), ("Frame", 6), ("EpochChanged", 7), ("Frame", 8)]
    assert calls[-2][1] == After("epoch-2", 7)
    assert idle.position == After("epoch-2", 8)
    assert idle.state is SessionState.CONNECTING


async def test_a_long_series_of_losses_gives_each_frame_once(
    fake: FakeGateway, stream: Stream, idle: fairlead.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_backoff, "_LAST_CAP", 0.01)  # Else twenty losses in a row are twenty pauses that grow.
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    choice = random.Random(seed)
    calls = record(idle)
    await enter(stream, idle)
    last = 3
    for _ in range(20):
        said = 0
        for _ in range(choice.randrange(1, 20)):
            count = choice.randrange(1, 5)
            stream.say(frames(1, last + said + 1, [b"x"] * count))
            said += count
        stream.end()
        stream = await fake.stream()
        # What was written before the end of the stream may or may not have arrived; the client says how far it came.
        after = (await stream.expect("open")).open.start.after.sequence
        assert last <= after <= last + said
        assert idle.position == After(EPOCH, after), "nothing is on its way between the reader and the callback"
        last = after
        stream.say(attached(1, "RESUMED", head_sequence=last))
    stream.say(frames(1, last + 1, [b"end"]), ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
    with pytest.raises(fairlead.SessionEnded):
        await end(idle)
    assert [sequence for kind, sequence in told(calls) if kind == "Frame"] == list(range(4, last + 2))
