"""The end of a session whose frames go to a callback: wanted, for another reason, or because the callback raised."""

import asyncio

import pytest

import fairlead
from fairlead import After, Batch, Frame, StateChanged
from fairlead.v1 import types_pb2
from tests.fake_gateway import EPOCH, PATIENCE_S, Stream, attached, ended, frames, result, state
from tests.test_callbacks import end, enter, said_by_now


async def test_an_end_that_this_program_wants_is_no_error(
    stream: Stream, gateway: fairlead.Gateway, idle: fairlead.Session
) -> None:
    got: list[bytes] = []
    idle.on_frame(lambda frame: got.append(frame.payload))
    await enter(stream, idle)
    ending = [asyncio.create_task(end(idle)) for _ in range(2)]
    closing = asyncio.create_task(idle.close())
    close = await stream.expect("close")
    assert not any(task.done() for task in ending)
    stream.say(
        frames(1, 4, [b"last"]),
        state(1, "CLOSED", 5),
        result(close, "DONE"),
        ended(1, types_pb2.REASON_CLOSED),
    )
    await asyncio.gather(closing, *ending)
    assert got == [b"last"]
    # The same for who leaves.
    reader = gateway.join("md")
    reader.on_frame(lambda _: None)
    entering = asyncio.create_task(reader.open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE"))
    await entering
    leaving = asyncio.create_task(reader.aclose())
    await stream.expect("detach")
    stream.say(ended(join.channel, types_pb2.REASON_DETACHED, session_closed=False))
    await leaving
    await end(reader)


async def test_another_end_is_raised_with_its_cause(stream: Stream, idle: fairlead.Session) -> None:
    idle.on_frame(lambda _: None)
    await enter(stream, idle)
    stream.say(ended(1, types_pb2.REASON_SUPERSEDED, session_closed=False))
    for _ in range(2):
        with pytest.raises(fairlead.Superseded):
            await end(idle)


async def test_the_end_can_be_waited_for_beside_a_loop(stream: Stream, session: fairlead.Session) -> None:
    ending = asyncio.create_task(end(session))
    stream.say(frames(1, 4, [b"a"]), ended(1, types_pb2.REASON_OUTAGE_EXHAUSTED))
    async with asyncio.timeout(PATIENCE_S):
        assert (await anext(aiter(session))).payload == b"a"
    with pytest.raises(fairlead.SessionEnded):
        await ending


# ---- A callback that raises. ----


async def also_entered(stream: Stream, gateway: fairlead.Gateway) -> tuple[int, list[int]]:
    """Enter another session on the same stream, whose frames go to a callback, too."""
    reader = gateway.join("other")
    got: list[int] = []
    reader.on_frame(lambda frame: got.append(frame.sequence))
    entering = asyncio.create_task(reader.open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE", "other"))
    await entering
    return join.channel, got


# The second is what the result of a cancelled future raises: no Exception, and the reader's own end if it came there.
@pytest.mark.parametrize(("kind", "raised"), [(ValueError, ValueError), (asyncio.CancelledError, RuntimeError)])
@pytest.mark.parametrize("by_batch", [False, True], ids=["on_frame", "on_batch"])
async def test_a_callback_that_raises_ends_its_session_before_that_frame(
    stream: Stream,
    gateway: fairlead.Gateway,
    idle: fairlead.Session,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
    raised: type[Exception],
    by_batch: bool,
) -> None:
    calls: list[int] = []
    error = kind("no number")

    def each(frame: Frame) -> None:
        calls.append(frame.sequence)
        if frame.sequence == 6:
            raise error

    def batch(batch: Batch) -> None:
        for frame in batch.frames:
            each(frame)

    states: list[StateChanged] = []
    idle.on_state(states.append)
    if by_batch:
        idle.on_batch(batch)
    else:
        idle.on_frame(each)
    await enter(stream, idle)
    channel, others = await also_entered(stream, gateway)
    ending = asyncio.create_task(end(idle))
    stream.say(
        frames(1, 4, [b"x"]),
        frames(channel, 1, [b"y"]),
        frames(1, 5, [b"x"] * 3),
        frames(channel, 2, [b"y"]),
        frames(1, 8, [b"x"]),
        state(1, "RECONNECTING", 9),
    )
    stream.say(frames(channel, 3, [b"y"]))
    with pytest.raises(raised) as failed:
        await ending
    assert error in {failed.value, failed.value.__cause__}
    assert calls == [4, 5, 6], "it is not called again"
    assert idle.position == After(EPOCH, 4 if by_batch else 5)
    assert (await stream.expect("detach")).channel == 1
    assert f"callback for frame {5 if by_batch else 6} failed, and the session is left" in caplog.text
    # The same as after any end.
    assert not idle.attached
    with pytest.raises(fairlead.SendFailed, match="callback for frame") as unsent:
        await idle.send("order")
    assert unsent.value.reason is fairlead.Reason.DETACHED
    await idle.aclose()
    # The other session, and the stream, go on.
    await said_by_now(stream, gateway)
    assert others == [1, 2, 3]
    assert len(states) == 3, "nothing of the session is told after its end"


async def test_a_callback_that_raises_before_open_is_told_to_who_opens(stream: Stream, idle: fairlead.Session) -> None:
    error = ValueError("no login")

    def fail(_: Frame) -> None:
        raise error

    idle.on_frame(fail)
    opening = asyncio.create_task(idle.open())
    command = await stream.expect("open")
    stream.say(
        attached(1), result(command, "DONE"), state(1, "CONNECTING", 1, 0), state(1, "OPENING", 2), frames(1, 3, [b"x"])
    )
    with pytest.raises(ValueError, match="no login") as raised:
        await opening
    assert raised.value is error
    assert idle.position == After(EPOCH, 2)
    await stream.expect("detach")


async def test_commands_that_wait_are_lost_with_the_session(stream: Stream, idle: fairlead.Session) -> None:
    idle.on_frame(lambda frame: int(frame.payload))
    await enter(stream, idle)
    sending = asyncio.create_task(idle.send("order"))
    await stream.expect("send")
    stream.say(frames(1, 4, [b"no number"]))
    with pytest.raises(fairlead.OutcomeUnknown, match="callback for frame 4 raised ValueError"):
        await sending
    with pytest.raises(ValueError, match="invalid literal"):
        await end(idle)


async def test_a_callback_that_ends_its_session_gets_no_other_frame(stream: Stream, idle: fairlead.Session) -> None:
    """As an eager task does that it makes: gateway.aclose() then runs inside the call."""
    got: list[int] = []

    def leave(frame: Frame) -> None:
        got.append(frame.sequence)
        if frame.sequence == 5:
            idle._channel.end(None)

    idle.on_frame(leave)
    await enter(stream, idle)
    stream.say(frames(1, 4, [b"x"] * 4))
    await end(idle)
    assert got == [4, 5]
    assert idle.position == After(EPOCH, 5)
