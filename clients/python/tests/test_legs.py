"""Two transports of one session: what is asked for, what is told of them, and what it does not disturb."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import Frame, LegChanged, Overlap, Reason, SessionState, StateChanged
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, attached, frames, result, state
from tests.test_reading import take

SECOND = Duration(seconds=1)
LOST = types_pb2.Failure(reason=types_pb2.REASON_CONNECTION_LOST, message="lost")
AGED = types_pb2.Failure(reason=types_pb2.REASON_MAX_AGE, message="aged")


def leg(to: str, sequence: int, generation: int, channel: int = 1, **fields: object) -> pb.Event:
    """Make a LegChanged, `to` being the state's name."""
    value = pb.SessionState.Value(f"SESSION_STATE_{to}")
    message = pb.LegChanged(channel=channel, state=value, sequence=sequence, generation=generation, **fields)  # type: ignore[arg-type, unused-ignore]
    return pb.Event(leg_changed=message)


ROTATION = (
    leg("OPENING", 4, 2),
    frames(1, 5, [b"a"], generation=1),
    frames(1, 6, [b"b"], generation=2),
    leg("OPEN", 7, 2),
    frames(1, 8, [b"c"], generation=1),
    state(1, "OPEN", 9, generation=2, cause=AGED, overlap=pb.Overlap(frames=1, copies=3, may_be_missing=False)),
    frames(1, 10, [b"d"], generation=2),
    frames(1, 11, [b"e"], generation=1),
    leg("CLOSED", 12, 1, cause=AGED, close_code=1000, received_frames=7, copies=2),
    frames(1, 13, [b"f"], generation=2),
)


@pytest.mark.parametrize("raw", [False, True])
async def test_what_is_asked_for_is_on_the_wire(stream: Stream, gateway: fairlead.Gateway, raw: bool) -> None:
    reconnect = fairlead.Reconnect(make_before_break=True, overlap=1, shutdown=["bye", "soon"])
    dedupe = fairlead.Dedupe("/seq", window=1)
    session = (
        gateway.socket("tcp://exchange:1", reconnect=reconnect, legs=2, dedupe=dedupe, max_leg_lag=0)
        if raw
        else gateway.websocket("ws://exchange/ws", reconnect=reconnect, legs=2, dedupe=dedupe, max_leg_lag=0)
    )
    opening = asyncio.create_task(session.open())
    sent = (await stream.open()).open
    await opening
    assert sent.reconnect == pb.ReconnectPolicy(
        make_before_break=True, overlap=SECOND, shutdown=types_pb2.Match(contains=[b"bye", b"soon"])
    )
    assert (sent.legs, sent.dedupe) == (2, pb.Dedupe(json_pointer="/seq", window=SECOND))
    assert sent.HasField("max_leg_lag"), "zero is not absent"
    assert sent.max_leg_lag == Duration()


async def test_what_is_not_asked_for_is_absent(stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.websocket("ws://exchange/ws", reconnect=fairlead.Reconnect(), dedupe=fairlead.Dedupe())
    opening = asyncio.create_task(session.open())
    sent = (await stream.open()).open
    await opening
    assert sent.reconnect == pb.ReconnectPolicy()
    assert (sent.legs, sent.HasField("max_leg_lag")) == (0, False)
    # The whole payload is the key.
    assert sent.HasField("dedupe")
    assert sent.dedupe == pb.Dedupe()


def test_spans_that_cannot_be_are_refused_where_they_are_made() -> None:
    client = fairlead.connect("x:1")
    with pytest.raises(ValueError, match=r"Reconnect\.overlap"):
        fairlead.Reconnect(overlap=-1).to_proto()
    with pytest.raises(ValueError, match=r"Dedupe\.window"):
        fairlead.Dedupe(window=float("inf")).to_proto()
    with pytest.raises(ValueError, match="max_leg_lag"):
        client.websocket("ws://x", max_leg_lag=-1)
    with pytest.raises(ValueError, match="range"):
        client.websocket("ws://x", legs=-1)


async def test_a_rotation_is_told_in_order(stream: Stream, session: fairlead.Session) -> None:
    """Frames of two generations alternate; the session's own is that of StateChanged."""
    told: list[LegChanged] = []
    session.on_leg(told.append)
    generations = []
    session.on_leg(lambda _: generations.append(session.generation))
    session.on_state(lambda _: generations.append(session.generation))
    stream.say(*ROTATION)
    events = (await take(session.events(), 4 + len(ROTATION)))[4:]
    entries = [event for event in events if isinstance(event, Frame | StateChanged | LegChanged)]
    assert [entry.sequence for entry in entries] == [*range(4, 14)]
    assert [(event.text, event.generation) for event in events if isinstance(event, Frame)] == [
        ("a", 1),
        ("b", 2),
        ("c", 1),
        ("d", 2),
        ("e", 1),
        ("f", 2),
    ]
    assert told == [event for event in events if isinstance(event, LegChanged)]
    assert generations == [1, 1, 2, 2]
    (change,) = [event for event in events if isinstance(event, StateChanged)]
    assert (change.state, change.generation) == (SessionState.OPEN, 2)
    assert change.overlap == Overlap(frames=1, copies=3, may_be_missing=False)
    aged = fairlead.Failure(Reason.MAX_AGE, message="aged")
    assert change.cause == aged
    assert told[0] == LegChanged(SessionState.OPENING, 2, 4, None, 0, "", None, 0, 0)
    assert told[-1] == LegChanged(SessionState.CLOSED, 1, 12, aged, 1000, "", None, 7, 2)


async def test_other_shapes_pass_legs_over(stream: Stream, session: fairlead.Session) -> None:
    stream.say(*ROTATION)
    each = aiter(session)
    assert [frame.text for frame in await take(each, 3)] == ["a", "b", "c"]
    batches = await take(session.batches(), 3)
    assert [(batch.payloads, batch.generation) for batch in batches] == [([b"d"], 2), ([b"e"], 1), ([b"f"], 2)]


async def test_runs_of_one_batch_are_parted_by_generation(stream: Stream, session: fairlead.Session) -> None:
    text = types_pb2.FRAME_KIND_TEXT
    runs = [
        pb.Run(channel=1, first_sequence=4 + at, count=1, kind=text, generation=generation)
        for at, generation in enumerate((2, 1, 2, 1))
    ]
    stream.say(
        pb.Event(batch=pb.Batch(runs=runs, payloads=[b"a", b"b", b"c", b"d"], receive_times_unix_ns=[1, 1, 2, 2]))
    )
    came = await take(aiter(session), 4)
    assert [(frame.text, frame.sequence, frame.generation) for frame in came] == [
        ("a", 4, 2),
        ("b", 5, 1),
        ("c", 6, 2),
        ("d", 7, 1),
    ]
    assert session.generation == 1


async def test_a_leg_that_could_not_be_made(stream: Stream, session: fairlead.Session) -> None:
    refused = types_pb2.Failure(reason=types_pb2.REASON_UPGRADE_REFUSED, message="503")
    stream.say(leg("RECONNECTING", 4, 0, cause=refused, retry_in=Duration(nanos=500_000_000)))
    event = (await take(session.events(), 5))[4]
    assert event == LegChanged(
        SessionState.RECONNECTING,
        generation=0,
        sequence=4,
        cause=fairlead.Failure(Reason.UPGRADE_REFUSED, message="503"),
        close_code=0,
        close_reason="",
        retry_in=0.5,
        received_frames=0,
        copies=0,
    )
    assert (session.state, session.generation) == (SessionState.OPEN, 1)


async def test_the_position_and_coming_back_count_legs(
    fake: FakeGateway, stream: Stream, session: fairlead.Session
) -> None:
    stream.say(leg("OPENING", 4, 2), leg("OPEN", 5, 2))
    events = session.events()
    await take(events, 6)
    assert session.position == fairlead.After("epoch-1", 5)
    stream.end()
    second = await fake.stream()
    command = await second.expect("open")
    assert command.open.start.after.sequence == 5
    second.say(attached(command.channel, "RESUMED", head_sequence=5, state=pb.SESSION_STATE_OPEN, generation=1))
    second.say(leg("CLOSED", 6, 2))
    assert isinstance((await take(events, 3))[2], LegChanged)


async def test_a_hole_before_a_leg_is_seen(stream: Stream, session: fairlead.Session) -> None:
    stream.say(leg("OPENING", 5, 2))
    with pytest.raises(fairlead.SessionEnded, match="sequences 5 to 5 came after 3"):
        await take(aiter(session), 1)


async def test_reconnecting_can_make_before_it_breaks(stream: Stream, session: fairlead.Session) -> None:
    reconnecting = asyncio.create_task(session.reconnect(make_before_break=True))
    command = await stream.expect("reconnect")
    assert command.reconnect.make_before_break
    stream.say(result(command, "DONE", 4))
    await reconnecting
    reconnecting = asyncio.create_task(session.reconnect())
    command = await stream.expect("reconnect")
    assert not command.reconnect.make_before_break
    stream.say(result(command, "DONE", 5))
    await reconnecting


async def test_a_pong_outlives_the_change_of_transports(stream: Stream, session: fairlead.Session) -> None:
    """A ping of the old transport may be answered while that stays; another leg's end is not its end."""
    pinging = asyncio.create_task(session.ping(b"hello"))
    stream.say(
        result(await stream.expect("ping"), "WRITTEN", 4),
        leg("RECONNECTING", 5, 2, cause=LOST),
        state(1, "OPEN", 6, generation=3, cause=AGED, overlap=pb.Overlap()),
        pb.Event(pong=pb.Pong(channel=1, payload=b"hello", round_trip=Duration(nanos=2_000_000))),
    )
    async with asyncio.timeout(PATIENCE_S):
        assert await pinging == 0.002


async def test_a_ping_whose_transport_ends_beside_another_has_no_pong(
    stream: Stream, session: fairlead.Session
) -> None:
    pinging = asyncio.create_task(session.ping(b"hello"))
    stream.say(result(await stream.expect("ping"), "WRITTEN", 4))
    await take(session.events(), 5)
    stream.say(state(1, "OPEN", 5, generation=2, cause=LOST, overlap=pb.Overlap()), leg("CLOSED", 6, 1, cause=LOST))
    with pytest.raises(fairlead.OutcomeUnknown) as raised:
        async with asyncio.timeout(PATIENCE_S):
            await pinging
    assert raised.value.reason is Reason.CONNECTION_LOST


async def test_a_session_tells_its_legs(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    legs = [
        pb.LegState(
            generation=4,
            state=pb.SESSION_STATE_OPEN,
            received_frames=10,
            copies=3,
            wins=7,
            misses=1,
            lag_p50=Duration(nanos=1_000_000),
            lag_p99=Duration(nanos=2_000_000),
            address="127.0.0.1",
        ),
        pb.LegState(generation=5, state=pb.SESSION_STATE_OPENING),
    ]
    fake.sessions = [pb.Session(name="md", legs=legs)]
    first, second = (await gateway.session("md")).legs
    assert first == fairlead.Leg(4, SessionState.OPEN, 10, 3, 7, 1, 0.001, 0.002, "127.0.0.1")
    assert second == fairlead.Leg(5, SessionState.OPENING, 0, 0, 0, 0, None, None, "")
