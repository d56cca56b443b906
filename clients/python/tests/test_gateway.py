"""The gateway object: listing, options, two event loops, and that it leaves nothing behind."""

import asyncio
from collections.abc import Callable
from itertools import count

import grpc
import pytest
import uvloop
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

import fairlead
from fairlead._dial import Connection, Dial
from fairlead._link import Link
from fairlead._proof import Proof
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, ended, frames, result
from tests.fleet import check_no_task_is_left, until
from tests.test_reading import take


async def test_sessions_are_listed_page_by_page_and_closed(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    fake.sessions = [pb.Session(name=f"s{number}") for number in range(5)]
    fake.sessions[0].MergeFrom(
        pb.Session(
            state=pb.SESSION_STATE_OPEN,
            create_time=Timestamp(seconds=1, nanos=5),
            subscribers=[pb.Subscriber(owner=True, sequence=9, lag_bytes=70, lag=Duration(nanos=500_000_000))],
            last_failure=types_pb2.Failure(reason=types_pb2.REASON_PEER_CLOSED),
            heartbeat_round_trip=Duration(nanos=1_000_000),
        )
    )
    assert [session.name for session in await gateway.sessions()] == ["s0", "s1", "s2", "s3", "s4"]
    first = await gateway.session("s0")
    assert first.state is fairlead.SessionState.OPEN
    assert first.created_at == 1_000_000_005
    assert first.subscribers == (
        fairlead.Subscriber(owner=True, sequence=9, lag_entries=0, held=False, lag_bytes=70, lag=0.5),
    )
    assert first.last_failure == fairlead.Failure(fairlead.Reason.PEER_CLOSED)
    assert first.heartbeat_round_trip == 0.001
    await gateway.close_session("s1")
    assert [session.name for session in await gateway.sessions()] == ["s0", "s2", "s3", "s4"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: fairlead.Heartbeat(ping="x", text="y").to_proto(), "at most one"),
        (lambda: fairlead.Step("k", "x", timeout=-1).to_proto(), r"Step\.timeout"),
        (lambda: fairlead.Reconnect(max_backoff=float("nan")).to_proto(), r"Reconnect\.max_backoff"),
        (lambda: fairlead.Queue(frames=0), "at least 1"),
        (lambda: fairlead.connect("x:1", connect_timeout=float("inf")), "connect_timeout"),
        (lambda: fairlead.connect("x:1").websocket("ws://x", setup=[fairlead.Step("k", "")] * 2), "keys must differ"),
    ],
)
def test_options_that_cannot_be_are_refused_where_they_are_made(wrong: Callable[[], object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        wrong()


async def test_an_untouched_option_is_absent_on_the_wire(stream: Stream, gateway: fairlead.Gateway) -> None:
    opening = asyncio.create_task(gateway.websocket("ws://exchange/ws").open())
    command = await stream.expect("open")
    assert command.open == pb.Open(
        target=pb.Target(url="ws://exchange/ws"),
        start=pb.Start(head=pb.Start.Head()),
        websocket=pb.WebSocketOptions(),
    )
    assert not command.open.websocket.HasField("max_message_bytes")
    stream.say(result(command, "NOT_SENT", reason=types_pb2.REASON_INVALID_FIELD))
    with pytest.raises(fairlead.InvalidRequest):
        await opening


async def test_closing_the_gateway_ends_what_goes_on(stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.websocket("ws://exchange/ws", name="md")
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening

    async def read() -> list[fairlead.Frame]:
        return [frame async for frame in session]

    reading = asyncio.create_task(read())
    sending = asyncio.create_task(session.send("x"))
    late = asyncio.create_task(gateway.websocket("ws://exchange/ws").open())
    await stream.expect("send")
    await stream.expect("open")
    await gateway.aclose()
    assert await reading == []
    with pytest.raises(fairlead.OutcomeUnknown):
        await sending
    with pytest.raises(fairlead.SessionEnded):
        await late
    await session.aclose()
    assert not gateway.attached


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_whole_life_on_each_event_loop(socket: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def live() -> list[bytes]:
        async with FakeGateway(socket) as fake, fairlead.connect(socket) as gateway:
            stream = await fake.stream()
            session = gateway.websocket("ws://exchange/ws", name="md")
            opening = asyncio.create_task(session.open())
            await stream.open()
            await opening
            sending = asyncio.create_task(session.send("x"))
            stream.say(result(await stream.expect("send"), "WRITTEN", 4), frames(1, 5, [b"a"]))
            await sending
            stream.end()
            stream = await fake.stream()
            await stream.open("EPOCH_CHANGED", "epoch-2")
            stream.say(frames(1, 4, [b"b"]))
            payloads = [frame.payload for frame in await take(aiter(session), 2)]
            closing = asyncio.create_task(session.close())
            command = await stream.expect("close")
            stream.say(result(command, "DONE"), ended(1, types_pb2.REASON_CLOSED))
            await closing
            return payloads

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(live()) == [b"a", b"b"]


async def test_without_a_connection_a_call_says_why(socket: str) -> None:
    """Whether it was never there, is away for now, or will not come back; and nothing of the call was sent."""
    gateway = fairlead.connect(socket)

    async def told() -> fairlead.FairleadError:
        with pytest.raises(fairlead.FairleadError) as raised:
            await gateway.http.post("http://exchange/orders")
        assert not raised.value.may_have_been_sent
        with pytest.raises(type(raised.value)):
            await gateway.sessions()
        return raised.value

    assert "not connected: use `async with`" in (await told()).message
    async with FakeGateway(socket) as fake, gateway:
        stream = await fake.stream()
        fake.refusal = (grpc.StatusCode.UNAVAILABLE, None)
        stream.end()
        await until(lambda: not gateway.attached)
        away = await told()
        assert type(away) is fairlead.GatewayUnavailable
        assert away.message.startswith(f"no connection to the gateway at {socket}: ")
        assert "not connected" not in away.message
        fake.refusal = (grpc.StatusCode.UNAUTHENTICATED, types_pb2.Failure(reason=types_pb2.REASON_UNAUTHENTICATED))
        await until(lambda: gateway._shards.links[0].refused)
        refused = await told()
        assert type(refused) is fairlead.PermissionDenied
        assert refused.reason is fairlead.Reason.UNAUTHENTICATED
        # Connected anew, it is as if that had never been.
        await gateway.aclose()
        fake.refusal = None
        async with gateway:
            stream = await fake.stream()
            assert await gateway.sessions() == []
            opening = asyncio.create_task(gateway.websocket("ws://exchange/ws", name="md").open())
            await stream.open()
            await opening


async def test_entering_that_is_cancelled_at_the_last_moment_leaves_nothing(fake: FakeGateway) -> None:
    gateway = fairlead.connect(fake.address)
    entering = asyncio.create_task(gateway.__aenter__())
    async with asyncio.timeout(PATIENCE_S):
        for _ in count():
            if gateway._shards.links[0].running:
                break
            await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    check_no_task_is_left()
    assert not gateway.attached


async def test_whatever_ends_an_attempt_closes_its_connection(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch, closed: list[Connection]
) -> None:
    # gRPC refuses these on a channel without TLS, in its own way.
    monkeypatch.setattr(Proof, "show", lambda _: grpc.access_token_call_credentials("x"))
    with pytest.raises(grpc.aio.UsageError):
        await Dial(fake.address, None, ()).connect(PATIENCE_S)
    assert len(closed) == 1


async def test_a_cancellation_that_grpc_swallows_is_not_lost(socket: str) -> None:
    class Call:
        async def read(self) -> object:
            try:
                return await asyncio.Event().wait()
            except asyncio.CancelledError:
                # As grpc.aio does when the stream fails at the same moment.
                nothing = grpc.aio.Metadata()
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing) from None

    link = Link(Dial(socket, None, ()))
    reading = asyncio.create_task(link._read(Call()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, PATIENCE_S)
