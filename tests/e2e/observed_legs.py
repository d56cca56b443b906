"""What each field about two transports of one session does."""

import asyncio

from fairlead.v1.session_pb2 import (
    OUTCOME_DONE,
    SESSION_STATE_CLOSED,
    SESSION_STATE_OPEN,
    SESSION_STATE_RECONNECTING,
    Command,
    Dedupe,
    LegChanged,
    Open,
    Reconnect,
    ReconnectPolicy,
    StateChanged,
)
from fairlead.v1.types_pb2 import (
    REASON_LEG_LAGS,
    REASON_RECONNECT_REQUESTED,
    REASON_SHUTDOWN_ANNOUNCED,
    Match,
)
from tests.e2e.attach import span
from tests.e2e.observed import Stage, observes

ROTATE = Reconnect(make_before_break=True)
BYE = Match(contains=[b"bye"])
BRIEF = span(0.05)


async def leg(stage: Stage, state: int, number: int = 1) -> LegChanged:
    return await stage.stream.hear(LegChanged, lambda item: (item.channel, item.state) == (number, state))


async def replaced(stage: Stage, number: int = 1) -> StateChanged:
    """OPEN of a second transport, before which the session was nothing but OPEN."""
    change = await stage.stream.hear(StateChanged, lambda item: item.channel == number and item.HasField("overlap"))
    assert change.state == SESSION_STATE_OPEN
    states = [item.state for item in stage.stream.heard(StateChanged) if item.channel == number]
    assert SESSION_STATE_RECONNECTING not in states
    return change


async def two_legs(stage: Stage, opening: Open, path: str = "/idle", number: int = 1) -> list[int]:
    """Opens a session with two legs; returns the exchange's ids of their connections, the session's own first."""
    before = len(await stage.exchange.connections())
    opening.legs = 2
    opening.dedupe.SetInParent()
    await stage.open(opening, path, number)
    assert (await leg(stage, SESSION_STATE_OPEN, number)).generation == 2
    return [connection["id"] for connection in (await stage.exchange.connections())[before:]]


@observes("Reconnect.make_before_break")
async def _(stage: Stage) -> None:
    await stage.open(Open(reconnect=ReconnectPolicy(overlap=BRIEF)))
    await stage.stream.say(Command(channel=1, id=1, reconnect=ROTATE))
    assert (await stage.stream.result(1)).outcome == OUTCOME_DONE
    change = await replaced(stage)
    assert (change.generation, change.cause.reason) == (2, REASON_RECONNECT_REQUESTED)
    assert change.overlap.may_be_missing, "nothing came on either"
    assert (await leg(stage, SESSION_STATE_CLOSED)).generation == 1


@observes("ReconnectPolicy.shutdown")
async def _(stage: Stage) -> None:
    await stage.open(Open(reconnect=ReconnectPolicy(shutdown=BYE)), "/idle")
    await stage.exchange.send(text="bye for now")
    assert (await stage.lost()).cause.reason == REASON_SHUTDOWN_ANNOUNCED
    assert (await stage.stream.state(1, SESSION_STATE_OPEN)).generation == 2


@observes("ReconnectPolicy.make_before_break")
async def _(stage: Stage) -> None:
    policy = ReconnectPolicy(shutdown=BYE, make_before_break=True, overlap=BRIEF)
    await stage.open(Open(reconnect=policy), "/idle")
    await stage.exchange.send(text="bye for now")
    change = await replaced(stage)
    assert (change.generation, change.cause.reason) == (2, REASON_SHUTDOWN_ANNOUNCED)


@observes("ReconnectPolicy.overlap")
async def _(stage: Stage) -> None:
    """The one that waits for little is done before the one that waits for long has begun to be."""
    for number, overlap in ((1, span(30)), (2, BRIEF)):
        await stage.open(Open(session=f"s{number}", reconnect=ReconnectPolicy(overlap=overlap)), "/idle", number)
        await stage.stream.say(Command(channel=number, reconnect=ROTATE))
        assert (await leg(stage, SESSION_STATE_OPEN, number)).generation == 2
    await replaced(stage, 2)
    await leg(stage, SESSION_STATE_CLOSED, 2)
    assert not [change for change in stage.stream.heard(StateChanged) if change.HasField("overlap")]
    first, second = (await stage.session("s1")).legs
    assert (first.generation, first.state) == (1, SESSION_STATE_OPEN)
    assert (second.generation, second.state) == (2, SESSION_STATE_OPEN)


@observes("Open.dedupe", "Dedupe.json_pointer")
async def _(stage: Stage) -> None:
    """Only who finds the key can say that nothing is missing."""
    for number, (pointer, may_be_missing) in enumerate((("/sequence", False), ("/nowhere", True)), start=1):
        policy = ReconnectPolicy(overlap=span(0.2))
        await stage.open(
            Open(dedupe=Dedupe(json_pointer=pointer), reconnect=policy), f"/synthetic?rate=500&feed=f{number}", number
        )
        await stage.stream.frame(number)
        await stage.stream.say(Command(channel=number, reconnect=ROTATE))
        overlap = (await replaced(stage, number)).overlap
        assert overlap.may_be_missing is may_be_missing
        assert bool(overlap.copies) is not may_be_missing


@observes("Dedupe.window")
async def _(stage: Stage) -> None:
    """A copy that comes after the window is none."""
    for number, window in ((1, span(0.02)), (2, span(60))):
        one, other = await two_legs(stage, Open(dedupe=Dedupe(window=window)), number=number)
        await stage.exchange.send(one, text="again")
        assert (await stage.stream.frame(number)).payload == b"again"
        await asyncio.sleep(0.1)  # Longer than the one window.
        await stage.exchange.send(other, text="again")
        await stage.exchange.send(other, text="other")
        came = await stage.stream.frame(number)
        assert came.payload == (b"again" if number == 1 else b"other")
        assert came.generation == 2


@observes("Open.legs")
async def _(stage: Stage) -> None:
    one, other = await two_legs(stage, Open(session="s"))
    first, second = (await stage.session("s")).legs
    assert [(each.generation, each.state) for each in (first, second)] == [
        (1, SESSION_STATE_OPEN),
        (2, SESSION_STATE_OPEN),
    ]
    assert first.address == second.address == "127.0.0.1"
    await stage.exchange.send(one, text="once")
    await stage.exchange.send(other, text="once")
    await stage.exchange.send(other, text="twice")
    frames = await stage.stream.frames(1, 2)
    assert {frame.payload for frame in frames} == {b"once", b"twice"}


@observes("Open.max_leg_lag")
async def _(stage: Stage) -> None:
    """The session that waits for ever has waited for longer."""
    for number, most in ((2, span(0)), (1, BRIEF)):
        path = f"/numbered?rate=200&feed=f{number}"
        (_, other) = await two_legs(stage, Open(session=f"s{number}", max_leg_lag=most), path, number)
        await stage.exchange.fault("stall", other)
    lagging = await stage.stream.hear(LegChanged, lambda item: item.cause.reason == REASON_LEG_LAGS)
    assert lagging.channel == 1
