"""What the client does by itself when the stream is lost or the gateway restarts."""

import asyncio
import random

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import _backoff, _place
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, attached, ended, frames, result, state
from tests.test_reading import take


async def test_a_lost_stream_is_resumed_behind_the_last_entry(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    stream.say(frames(1, 4, [b"a", b"b"]))
    await take(aiter(session), 1)  # The cursor is what has come, not what was read: b waits in the queue.
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    assert command.open.session == "md"
    assert command.open.start == pb.Start(after=pb.Start.After(epoch="epoch-1", sequence=5))
    second.say(
        attached(command.channel, "RESUMED", oldest_sequence=1, head_sequence=9, state=pb.SESSION_STATE_OPEN),
        pb.Event(gap=pb.Gap(channel=command.channel, from_sequence=6, to_sequence=7)),
        frames(command.channel, 8, [b"c"]),
    )
    entries = await take(session.events(), 5)
    assert isinstance(entries[0], fairlead.Frame)
    assert entries[0].payload == b"b"
    assert [type(entry) for entry in entries[1:]] == [
        fairlead.Detached,
        fairlead.Attached,
        fairlead.Gap,
        fairlead.Frame,
    ]


async def test_a_restarted_gateway_is_another_epoch_and_frames_flow_on(socket: str) -> None:
    changes: list[fairlead.EpochChanged] = []
    async with FakeGateway(socket) as fake, fairlead.connect(socket) as gateway:
        session = gateway.websocket("ws://exchange/ws", name="md")
        session.on_epoch(changes.append)
        opening = asyncio.create_task(session.open())
        stream = await fake.stream()
        await stream.open()
        await opening
        stream.say(frames(1, 4, [b"old"]))
        await take(aiter(session), 1)
        await fake.kill()
        assert changes == []
        async with FakeGateway(socket) as again:
            stream = await again.stream()
            command = await stream.open("EPOCH_CHANGED", "epoch-2")
            assert command.open.start.after == pb.Start.After(epoch="epoch-1", sequence=4)
            stream.say(frames(command.channel, 4, [b"new"]))
            entries = await take(session.events(), 6)
            assert isinstance(entries[0], fairlead.Detached)
            assert isinstance(entries[1], fairlead.EpochChanged)
            assert (entries[1].epoch, session.epoch) == ("epoch-2", "epoch-2")
            assert isinstance(entries[5], fairlead.Frame)
            assert entries[5].payload == b"new"
            assert changes == [entries[1]]
            # And again, behind the cursor in the new journal.
            stream.end()
            stream = await again.stream()
            command = await stream.expect("open")
            assert command.open.start.after == pb.Start.After(epoch="epoch-2", sequence=4)


async def test_a_session_is_opened_again_with_its_setup_as_it_is_then(
    fake: FakeGateway, stream: Stream, gateway: fairlead.Gateway
) -> None:
    session = gateway.websocket(
        "wss://exchange/ws",
        headers=[("User-Agent", "x")],
        setup=[
            fairlead.Step("login", b"secret", expect="welcome", reject=[b"no"], timeout=3),
            fairlead.Step("a", "+a"),
        ],
        subprotocols=["v1"],
        heartbeat=fairlead.Heartbeat(interval=5, text="ping", keepalive=["pong"]),
        reconnect=fairlead.Reconnect(enabled=True, initial_backoff=0.25, max_attempts=7),
        delivery=fairlead.Delivery(fairlead.Overflow.DETACH, max_delay=0),
        retention=fairlead.Retention(journal_bytes=1 << 20),
        max_message_bytes=1 << 19,
        dial_timeout=2,
        start=fairlead.OLDEST,
    )
    opening = asyncio.create_task(session.open())
    first = await stream.open()
    await opening
    assert [step.key for step in first.open.setup] == ["login", "a"]
    for sequence, (key, forget) in enumerate([("b", ()), ("", ("a",)), ("unsure", ())], 4):
        sending = asyncio.create_task(session.send("+" + key, setup_key=key, forget_setup_keys=forget))
        command = await stream.expect("send")
        if key == "unsure":
            stream.end()
        else:
            stream.say(result(command, "WRITTEN", sequence))
        await asyncio.wait([sending])
    assert isinstance(sending.exception(), fairlead.OutcomeUnknown)
    again = await (await fake.stream()).expect("open")
    assert [(step.key, step.payload) for step in again.open.setup] == [
        ("login", b"secret"),
        ("b", b"+b"),
        ("unsure", b"+unsure"),
    ]
    # All else is as it was.
    for command in (first, again):
        del command.open.setup[1:]
        command.open.ClearField("start")
    assert first.open == again.open
    assert first.open.setup[0].expect.contains == [b"welcome"]
    assert first.open.heartbeat.keepalive.contains == [b"pong"]
    assert first.open.websocket.max_message_bytes == 1 << 19
    assert first.open.delivery.HasField("max_delay")


async def test_a_reader_joins_again(fake: FakeGateway, stream: Stream, gateway: fairlead.Gateway) -> None:
    reader = gateway.join("md")
    entering = asyncio.create_task(reader.open())
    join = await stream.expect("join")
    stream.say(attached(join.channel, "LIVE", oldest_sequence=1, head_sequence=10))
    await entering
    stream.end()
    second = await fake.stream()
    join = await second.expect("join")
    assert join.join.start.after == pb.Start.After(epoch="epoch-1", sequence=10)
    # After a restart the owner may come later than its readers.
    second.say(result(join, "NOT_SENT", reason=types_pb2.REASON_SESSION_NOT_FOUND))
    join = await second.expect("join")
    second.say(attached(join.channel, "EPOCH_CHANGED", epoch="epoch-2"), frames(join.channel, 1, [b"new"]))
    assert (await take(aiter(reader), 1))[0].payload == b"new"


async def test_a_full_gateway_is_waited_out_after_a_loss(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    stream.end()
    second = await fake.stream()
    for _ in range(3):
        second.say(result(await second.expect("open"), "NOT_SENT", reason=types_pb2.REASON_LIMIT_REACHED))
    command = await second.expect("open")
    second.say(attached(command.channel, "RESUMED", head_sequence=3), frames(command.channel, 4, [b"on"]))
    assert (await take(aiter(session), 1))[0].payload == b"on"


async def test_a_full_gateway_is_not_waited_out_for_ever(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_place, "REENTRY_PATIENCE_S", 0)
    stream.end()
    second = await fake.stream()
    second.say(result(await second.expect("open"), "NOT_SENT", reason=types_pb2.REASON_LIMIT_REACHED))
    with pytest.raises(fairlead.SessionEnded) as raised:
        await take(aiter(session), 1)
    assert raised.value.reason is fairlead.Reason.LIMIT_REACHED


@pytest.mark.parametrize("reason", ["EGRESS_DENIED", "SESSION_LIVE"])
async def test_another_refusal_after_a_loss_ends_the_session(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, reason: str
) -> None:
    stream.end()
    second = await fake.stream()
    second.say(result(await second.expect("open"), "NOT_SENT", reason=types_pb2.Reason.Value(f"REASON_{reason}")))
    with pytest.raises(fairlead.SessionEnded) as raised:
        await take(aiter(session), 1)
    assert raised.value.reason is fairlead.Reason[reason]


async def test_a_superseded_session_is_never_opened_again(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, gateway: fairlead.Gateway
) -> None:
    stream.say(ended(1, types_pb2.REASON_SUPERSEDED, session_closed=False))
    with pytest.raises(fairlead.Superseded):
        await take(aiter(session), 1)
    stream.end()
    second = await fake.stream()
    # Whatever the client had to say to the new stream would come before this.
    other = gateway.join("other")
    entering = asyncio.create_task(other.open())
    command = await second.expect("join")
    second.say(attached(command.channel, "LIVE", "other"))
    await entering


async def test_a_drained_session_comes_back(fake: FakeGateway, stream: Stream, session: fairlead.Session) -> None:
    stream.say(pb.Event(draining=pb.Draining()), state(1, "CLOSED", 4), ended(1, types_pb2.REASON_DRAINING))
    # On this stream as long as there is no other.
    stream.say(result(await stream.expect("open"), "NOT_SENT", reason=types_pb2.REASON_DRAINING))
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    assert command.open.start.after == pb.Start.After(epoch="epoch-1", sequence=4)
    second.say(attached(command.channel, "EPOCH_CHANGED", epoch="epoch-2"), frames(command.channel, 1, [b"new"]))
    assert (await take(aiter(session), 1))[0].payload == b"new"


async def test_a_first_open_that_a_draining_gateway_refuses_is_told_how_long_that_may_take(
    stream: Stream, gateway: fairlead.Gateway
) -> None:
    """It is for the program to decide: the client goes on only with what it had."""
    opening = asyncio.create_task(gateway.websocket("ws://exchange/ws").open())
    command = await stream.expect("open")
    stream.say(result(command, "NOT_SENT", reason=types_pb2.REASON_DRAINING, retry_after=Duration(seconds=4)))
    with pytest.raises(fairlead.GatewayUnavailable) as raised:
        await opening
    assert (raised.value.reason, raised.value.retry_after) == (fairlead.Reason.DRAINING, 4.0)


async def test_a_send_waits_for_the_stream_as_long_as_it_may(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    stream.end()
    async for entry in session.events():
        if isinstance(entry, fairlead.Detached):
            break
    with pytest.raises(fairlead.SendFailed) as raised:
        await session.send("at once")
    assert (raised.value.reason, raised.value.phase) == (fairlead.Reason.NOT_OPEN, fairlead.Phase.NOT_SENT)
    second = await fake.stream()
    command = await second.expect("open")
    with pytest.raises(fairlead.SendFailed) as raised:
        await session.send("soon", max_wait=0.02)
    assert raised.value.reason is fairlead.Reason.WAIT_EXPIRED
    sending = asyncio.create_task(session.send("in time", max_wait=PATIENCE_S))
    await asyncio.sleep(0)
    second.say(attached(command.channel, "RESUMED", head_sequence=3))
    sent = await second.expect("send")
    assert sent.send.payload == b"in time"
    assert 0 < sent.send.max_wait.ToNanoseconds() <= PATIENCE_S * 1e9
    second.say(result(sent, "WRITTEN", 4))
    await sending


async def test_the_auto_hold_is_said_again(fake: FakeGateway, stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.websocket("ws://exchange/ws", name="md", queue=fairlead.Queue(frames=5))
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    stream.say(frames(1, 4, [b"x"] * 5))
    await stream.expect("hold")
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    second.say(attached(command.channel, "RESUMED", head_sequence=8))
    assert (await second.expect("hold")).hold.on


async def test_a_close_that_the_loss_overtakes_is_unknown(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, gateway: fairlead.Gateway
) -> None:
    closing = asyncio.create_task(session.close())
    await stream.expect("close")
    stream.end()
    with pytest.raises(fairlead.OutcomeUnknown):
        await closing
    second = await fake.stream()
    entering = asyncio.create_task(gateway.join("other").open())
    second.say(attached((await second.expect("join")).channel, "LIVE", "other"))
    await entering
    assert second.idle()


async def test_a_stream_that_the_gateway_forbids_is_not_tried_again(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, gateway: fairlead.Gateway
) -> None:
    fake.refusal = (grpc.StatusCode.PERMISSION_DENIED, None)
    stream.end()
    with pytest.raises(fairlead.PermissionDenied):
        await take(aiter(session), 1)
    with pytest.raises(fairlead.PermissionDenied):
        await gateway.join("md").open()


async def test_a_mistake_of_the_client_leaves_nobody_waiting(
    stream: Stream, session: fairlead.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairlead.StateChanged, "from_proto", None)
    stream.say(state(1, "CLOSED", 4))
    with pytest.raises(fairlead.FairleadError, match="the client failed"):
        await take(aiter(session), 1)


async def test_a_long_series_of_losses_keeps_order_and_loses_nothing(
    fake: FakeGateway, stream: Stream, session: fairlead.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_backoff, "_LAST_CAP", 0.01)  # Else twenty losses in a row are twenty pauses that grow.
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    choice = random.Random(seed)
    got: list[int] = []

    async def read() -> None:
        async for frame in session:
            got.append(frame.sequence)
            if frame.payload == b"end":
                return

    reading = asyncio.create_task(read())
    last = 3
    for _ in range(20):
        count = choice.randrange(1, 50)
        said = [frames(1, last + 1 + index, [b"x"]) for index in range(count)]
        for event in said:
            stream.say(event)
        stream.end()
        last += count
        stream = await fake.stream()
        command = await stream.expect("open")
        # What was written before the end of the stream may or may not have arrived; the client says how far it came.
        after = command.open.start.after.sequence
        assert last - count <= after <= last
        last = after
        stream.say(attached(1, "RESUMED", head_sequence=last))
    stream.say(frames(1, last + 1, [b"end"]))
    await asyncio.wait_for(reading, PATIENCE_S)
    assert got == list(range(4, last + 2))


async def test_a_restarted_gateway_gives_the_rest_of_the_former_journal(socket: str) -> None:
    """Its entries are told and change nothing; behind them comes the seam, and the position follows."""
    async with FakeGateway(socket) as fake, fairlead.connect(socket) as gateway:
        session = gateway.websocket("ws://exchange/ws", name="md")
        opening = asyncio.create_task(session.open())
        stream = await fake.stream()
        await stream.open()
        await opening
        stream.say(frames(1, 4, [b"a"]))
        await take(aiter(session), 1)
        await fake.kill()
        async with FakeGateway(socket) as again:
            stream = await again.stream()
            command = await stream.expect("open")
            channel = command.channel
            assert command.open.start.after == pb.Start.After(epoch="epoch-1", sequence=4)
            stream.say(
                attached(channel, "RESUMED", head_sequence=9, former=True),
                frames(channel, 5, [b"b"]),
                state(channel, "OPEN", 6),
            )
            entries = await take(session.events(), 4)
            assert [type(entry) for entry in entries] == [
                fairlead.Detached,
                fairlead.Attached,
                fairlead.Frame,
                fairlead.StateChanged,
            ]
            assert isinstance(entries[1], fairlead.Attached)
            assert entries[1].former
            assert (session.state, session.generation) == (fairlead.SessionState.CONNECTING, 0)
            assert session.position == fairlead.After("epoch-1", 6)
            # The stream is lost in the middle of it: it goes on there.
            stream.end()
            stream = await again.stream()
            command = await stream.expect("open")
            assert command.open.start.after == pb.Start.After(epoch="epoch-1", sequence=6)
            stream.say(
                attached(channel, "RESUMED", head_sequence=9, former=True),
                pb.Event(gap=pb.Gap(channel=channel, from_sequence=7, to_sequence=9)),
                attached(channel, "EPOCH_CHANGED", epoch="epoch-2", head_sequence=3, former=True),
                frames(channel, 1, [b"c"]),
                attached(channel, "EPOCH_CHANGED", epoch="epoch-3", oldest_sequence=5, head_sequence=4),
                state(channel, "OPEN", 5),
                frames(channel, 6, [b"d"]),
            )
            entries = await take(session.events(), 8)
            changes = [entry for entry in entries if isinstance(entry, fairlead.EpochChanged)]
            assert [(each.epoch, each.former, each.position) for each in changes] == [
                ("epoch-2", True, 0),
                ("epoch-3", False, 4),
            ]
            assert session.state is fairlead.SessionState.OPEN
            assert session.position == fairlead.After("epoch-3", 6)


async def test_another_attached_behind_a_live_journal_breaks_the_protocol(
    stream: Stream, session: fairlead.Session
) -> None:
    stream.say(attached(1, "EPOCH_CHANGED", epoch="epoch-2"))
    with pytest.raises(fairlead.SessionEnded, match="broke the protocol"):
        await take(aiter(session), 1)
