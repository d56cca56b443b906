"""Send, ping, reconnect and close: outcomes, cancellation, and what they do to the setup."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import Outcome, Phase, Reason
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, ended, frames, result, state


async def test_send_returns_what_became_of_it(stream: Stream, session: fairlead.Session) -> None:
    sending = asyncio.create_task(
        session.send("hello", max_wait=timedelta(seconds=1.5), generation=1, setup_key="sub", forget_setup_keys=["old"])
    )
    command = await stream.expect("send")
    assert command.send == pb.Send(
        payload=b"hello",
        kind=types_pb2.FRAME_KIND_TEXT,
        generation=1,
        max_wait=Duration(seconds=1, nanos=500_000_000),
        setup_key="sub",
        forget_setup_keys=["old"],
    )
    stream.say(result(command, "WRITTEN", 4), frames(1, 5, [b"reply"]))
    assert await sending == fairlead.Sent(Outcome.WRITTEN, 1, 4, command.id)
    # The result is an entry: it moved the cursor, and can be read as an event.
    assert (await anext(aiter(session))).sequence == 5


async def test_bytes_are_binary_and_other_types_are_refused(stream: Stream, session: fairlead.Session) -> None:
    sending = asyncio.create_task(session.send(b"\x00"))
    command = await stream.expect("send")
    assert (command.send.payload, command.send.kind) == (b"\x00", types_pb2.FRAME_KIND_BINARY)
    stream.say(result(command, "WRITTEN", 4))
    await sending
    with pytest.raises(TypeError, match="bytearray"):
        await session.send(bytearray(b"x"))  # type: ignore[arg-type, unused-ignore]
    with pytest.raises(ValueError, match="max_wait"):
        await session.send("x", max_wait=-1)


@pytest.mark.parametrize(
    ("payload", "kind", "on_the_wire"),
    [
        ("grün".encode(), fairlead.FrameKind.TEXT, types_pb2.FRAME_KIND_TEXT),
        ("grün", fairlead.FrameKind.TEXT, types_pb2.FRAME_KIND_TEXT),
        ("grün", fairlead.FrameKind.BINARY, types_pb2.FRAME_KIND_BINARY),
        ("grün".encode(), fairlead.FrameKind.BINARY, types_pb2.FRAME_KIND_BINARY),
    ],
)
async def test_a_kind_may_be_told(
    fake: FakeGateway,
    stream: Stream,
    session: fairlead.Session,
    payload: str | bytes,
    kind: fairlead.FrameKind,
    on_the_wire: types_pb2.FrameKind.ValueType,
) -> None:
    """And a step of the setup that is made of it has it, too."""
    sending = asyncio.create_task(session.send(payload, kind=kind, setup_key="sub"))
    command = await stream.expect("send")
    assert (command.send.payload, command.send.kind) == ("grün".encode(), on_the_wire)
    stream.say(result(command, "WRITTEN", 4))
    await sending
    stream.end()
    again = await (await fake.stream()).expect("open")
    assert [(step.payload, step.kind) for step in again.open.setup] == [("grün".encode(), on_the_wire)]


async def test_a_kind_that_cannot_be_is_refused(stream: Stream, session: fairlead.Session) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        await session.send(b"\xff", kind=fairlead.FrameKind.TEXT)
    with pytest.raises(ValueError, match=r"^kind: "):
        await session.send("x", kind=fairlead.FrameKind.UNSPECIFIED)
    for kind in (fairlead.FrameKind.TEXT, fairlead.FrameKind.BINARY):
        with pytest.raises(TypeError, match="bytearray"):
            await session.send(bytearray(b"x"), kind=kind)  # type: ignore[arg-type, unused-ignore]
    assert stream.idle()


@pytest.mark.parametrize(
    ("outcome", "failure", "error"),
    [
        (
            "NOT_SENT",
            {"reason": types_pb2.REASON_NOT_OPEN, "phase": types_pb2.PHASE_NOT_SENT, "message": "not open"},
            fairlead.SendFailed,
        ),
        (
            "UNKNOWN",
            {
                "reason": types_pb2.REASON_CONNECTION_LOST,
                "phase": types_pb2.PHASE_PARTLY_SENT,
                "message": "lost",
                "retry_after": Duration(seconds=2),
            },
            fairlead.OutcomeUnknown,
        ),
    ],
)
@pytest.mark.parametrize("sequence", [0, 4])
async def test_send_raises_what_went_wrong(
    stream: Stream,
    session: fairlead.Session,
    outcome: str,
    failure: dict[str, Any],
    error: type[fairlead.FairleadError],
    sequence: int,
) -> None:
    sending = asyncio.create_task(session.send("x"))
    command = await stream.expect("send")
    stream.say(result(command, outcome, sequence, **failure))
    with pytest.raises(error) as raised:
        await sending
    assert raised.value.reason == failure["reason"]
    assert raised.value.phase == failure["phase"]
    assert raised.value.message == failure["message"]
    assert raised.value.retry_after == (2.0 if "retry_after" in failure else None)
    if isinstance(raised.value, fairlead.OutcomeUnknown):
        assert raised.value.command_id == command.id
        assert str(raised.value) == "lost [CONNECTION_LOST, PARTLY_SENT]"


async def test_sends_of_one_turn_of_the_loop_travel_together_and_in_order(
    stream: Stream, session: fairlead.Session
) -> None:
    before = len(stream.requests)
    sending = [asyncio.create_task(session.send(str(number))) for number in range(50)]
    for number in range(50):
        command = await stream.expect("send")
        assert command.send.payload == b"%d" % number
        stream.say(result(command, "WRITTEN", 4 + number))
    assert [sent.sequence for sent in await asyncio.gather(*sending)] == list(range(4, 54))
    assert len(stream.requests) == before + 1


async def test_cancelling_a_send_that_left_drops_its_result(stream: Stream, session: fairlead.Session) -> None:
    sending = asyncio.create_task(session.send("x", setup_key="sub"))
    command = await stream.expect("send")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    stream.say(result(command, "WRITTEN", 4), frames(1, 5, [b"after"]))
    assert (await anext(aiter(session))).payload == b"after"
    # It was written all the same, so it belongs to the setup.
    assert session.setup_keys == ("sub",)


async def test_cancelling_a_send_that_has_not_left_takes_it_back(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    before = len(stream.requests)
    sending = asyncio.create_task(session.send("never", setup_key="never"))
    other = asyncio.create_task(session.send("sent"))
    # Both are submitted in the next turn, and the cancellation comes in the same: before the writer's turn.
    asyncio.get_running_loop().call_soon(sending.cancel)
    command = await stream.expect("send")
    assert command.send.payload == b"sent"
    stream.say(result(command, "WRITTEN", 4))
    await other
    assert sending.cancelled()
    assert len(stream.requests) == before + 1
    # Nor does it take up room, of which there is 16 MiB.
    for sequence in range(5, 15):
        sending = asyncio.create_task(session.send(b"x" * (3 << 20)))
        asyncio.get_running_loop().call_soon(sending.cancel)
        other = asyncio.create_task(session.send("sent"))
        stream.say(result(await stream.expect("send"), "WRITTEN", sequence))
        await other
        assert sending.cancelled()
    # Nor is it taken for something that may have been written when the stream is lost.
    stream.end()
    assert not (await (await fake.stream()).expect("open")).open.setup


async def test_setup_remembers_what_was_written_or_may_have_been(stream: Stream, session: fairlead.Session) -> None:
    dialogue: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = [
        ("a", "WRITTEN", (), ("a",)),
        ("b", "NOT_SENT", (), ("a",)),
        ("c", "UNKNOWN", (), ("a", "c")),
    ]
    dialogue += [("a", "WRITTEN", (), ("a", "c")), ("", "WRITTEN", ("a", "x"), ("c",))]
    for sequence, (key, outcome, forget, keys) in enumerate(dialogue, 4):
        sending = asyncio.create_task(session.send("x", setup_key=key, forget_setup_keys=forget))
        stream.say(result(await stream.expect("send"), outcome, sequence))
        await asyncio.wait([sending])
        assert isinstance(sending.exception(), fairlead.FairleadError) == (outcome != "WRITTEN")
        assert session.setup_keys == keys


async def test_a_send_that_is_too_long_for_the_stream_never_leaves(stream: Stream, session: fairlead.Session) -> None:
    with pytest.raises(fairlead.SendFailed, match="max_send_bytes") as raised:
        await session.send(b"x" * (4 << 20))
    assert (raised.value.reason, raised.value.phase) == (Reason.MESSAGE_TOO_LONG, Phase.NOT_SENT)
    assert stream.idle()


async def test_a_send_with_a_full_queue_gets_its_result(stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.websocket("ws://exchange/ws", name="md", queue=fairlead.Queue(frames=10))
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    stream.say(frames(1, 4, [b"x"] * 10))
    assert (await stream.expect("hold")).hold.on
    sending = asyncio.create_task(session.send("x"))
    # The result is an entry, behind what the gateway holds back: the client lets it come.
    assert {(await stream.expect("send")).WhichOneof("action"), (await stream.expect("hold")).hold.on} == {
        "send",
        False,
    }
    stream.say(frames(1, 14, [b"x"] * 100))
    with pytest.raises(fairlead.OutcomeUnknown, match="read it") as raised:
        await sending
    assert raised.value.reason is Reason.LIMIT_REACHED
    assert (await stream.expect("hold")).hold.on
    with pytest.raises(fairlead.SendFailed, match="read it"):
        await session.send("x")


async def test_ping_returns_the_round_trip(stream: Stream, session: fairlead.Session) -> None:
    pinging = asyncio.create_task(session.ping(b"hello"))
    command = await stream.expect("ping")
    assert command.ping.payload == b"hello"
    pong = pb.Pong(channel=1, payload=b"hello", round_trip=Duration(nanos=2_000_000))
    stream.say(pb.Event(pong=pong), result(command, "WRITTEN", 4))
    assert await pinging == 0.002


async def test_ping_whose_transport_ends_has_no_pong(stream: Stream, session: fairlead.Session) -> None:
    pinging = asyncio.create_task(session.ping())
    cause = types_pb2.Failure(reason=types_pb2.REASON_CONNECTION_LOST, message="lost")
    stream.say(result(await stream.expect("ping"), "WRITTEN", 4), state(1, "RECONNECTING", 5, cause=cause))
    with pytest.raises(fairlead.OutcomeUnknown) as raised:
        await pinging
    assert raised.value.reason is Reason.CONNECTION_LOST
    pinging = asyncio.create_task(session.ping())
    stream.say(result(await stream.expect("ping"), "NOT_SENT", 6, reason=types_pb2.REASON_NOT_OPEN))
    with pytest.raises(fairlead.SendFailed):
        await pinging


async def test_ping_without_pong_ends_in_time(stream: Stream, session: fairlead.Session) -> None:
    with pytest.raises(fairlead.OutcomeUnknown) as raised:
        await session.ping(timeout=0.05)
    assert (raised.value.reason, raised.value.phase) == (Reason.PONG_TIMEOUT, Phase.SENT_NO_REPLY)


async def test_reconnect_is_confirmed(stream: Stream, session: fairlead.Session) -> None:
    reconnecting = asyncio.create_task(session.reconnect())
    stream.say(result(await stream.expect("reconnect"), "DONE", 4))
    await reconnecting


@pytest.mark.parametrize("result_first", [True, False])
async def test_close_ends_iteration_normally(stream: Stream, session: fairlead.Session, result_first: bool) -> None:
    closing = asyncio.create_task(session.close(3000, "done"))
    command = await stream.expect("close")
    assert (command.close.code, command.close.reason) == (3000, "done")
    answers = [result(command, "DONE"), ended(1, types_pb2.REASON_CLOSED)]
    stream.say(frames(1, 4, [b"last"]), *(answers if result_first else reversed(answers)))
    await closing
    assert [frame.payload async for frame in session] == [b"last"]
    await session.close()
    assert stream.idle()
    with pytest.raises(fairlead.SendFailed, match="not attached"):
        await session.send("x")


async def test_a_close_that_is_cancelled_at_once_closes_all_the_same(
    stream: Stream, session: fairlead.Session, gateway: fairlead.Gateway
) -> None:
    closing = asyncio.create_task(session.close(4001))
    await asyncio.sleep(0)
    assert session._channel._place._link._outgoing, "it has not been handed to gRPC"
    closing.cancel()
    leaving = asyncio.create_task(session.aclose())
    with pytest.raises(asyncio.CancelledError):
        await closing
    command = await stream.expect("close")
    assert command.close.code == 4001
    await stream.expect("detach")
    stream.say(result(command, "DONE"), ended(1, types_pb2.REASON_CLOSED))
    await leaving


async def test_a_refused_close_leaves_the_session_open(stream: Stream, session: fairlead.Session) -> None:
    closing = asyncio.create_task(session.close(1))
    failure: dict[str, Any] = {"reason": types_pb2.REASON_INVALID_FIELD, "message": "close.code"}
    stream.say(result(await stream.expect("close"), "NOT_SENT", **failure))
    with pytest.raises(fairlead.SendFailed, match=r"close\.code"):
        await closing
    assert session.attached


async def test_aclose_detaches_and_ends_iteration_normally(stream: Stream, session: fairlead.Session) -> None:
    async def read() -> list[fairlead.Frame]:
        return [frame async for frame in session]

    reading = asyncio.create_task(read())
    leaving = asyncio.create_task(session.aclose())
    await stream.expect("detach")
    stream.say(frames(1, 4, [b"late"]), ended(1, types_pb2.REASON_DETACHED, session_closed=False))
    await leaving
    assert await reading == []
    await session.aclose()


async def test_commands_that_wait_when_the_session_ends_are_unknown(stream: Stream, session: fairlead.Session) -> None:
    sending = asyncio.create_task(session.send("x"))
    await stream.expect("send")
    stream.say(ended(1, types_pb2.REASON_SUPERSEDED, session_closed=False))
    with pytest.raises(fairlead.OutcomeUnknown) as raised:
        async with asyncio.timeout(PATIENCE_S):
            await sending
    assert raised.value.reason is Reason.SUPERSEDED
