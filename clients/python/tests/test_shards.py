"""Several gateways: where sessions are placed, and where they go when one is gone."""

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import EPOCH, PATIENCE_S, attached, ended, frames, result, state
from tests.fleet import NAMES, NEVER, URL, connected, opened, started, until
from tests.test_reading import take


async def test_each_session_is_opened_where_its_name_says() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        for name, home in [("md", 0), ("orders", 0), ("binance.btcusdt", 1)]:
            session = gateway.websocket(URL, name=name)
            command = await opened(fleet.streams[home], session)
            assert command.open.session == name
            assert session.shard == NAMES[home]
        assert all(stream.idle() for stream in fleet.streams)


async def test_sessions_without_a_name_are_shared_out() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        # One shard gets all of thirty only once in 10^14 runs.
        homes = Counter(gateway.websocket(URL).shard for _ in range(30))
        assert len(homes) > 1
        session = gateway.websocket(URL)
        command = await opened(fleet.streams[NAMES.index(session.shard)], session)
        assert command.open.session == ""


async def test_a_gateway_that_is_gone_loses_its_sessions_and_only_those() -> None:
    async with started() as fleet, connected(fleet, move_after=0.05) as gateway:
        sessions = {name: gateway.websocket(URL, name=name) for name in ("md", "orders", "binance.btcusdt")}
        for name, home in [("md", 0), ("orders", 0), ("binance.btcusdt", 1)]:
            await opened(fleet.streams[home], sessions[name])
        changes: list[fairlead.EpochChanged] = []
        sessions["md"].on_epoch(changes.append)
        await fleet.kill(0)
        for name, second in [("md", 1), ("orders", 2)]:
            command = await fleet.streams[second].open("EPOCH_CHANGED", "epoch-2")
            assert command.open.session == name
            assert command.open.start.after == pb.Start.After(epoch=EPOCH, sequence=3)
            fleet.streams[second].say(frames(command.channel, 4, [b"new"]))
            entries = await take(sessions[name].events(), 9)
            assert [type(entry) for entry in entries[4:6]] == [fairlead.Detached, fairlead.EpochChanged]
            assert isinstance(entries[8], fairlead.StateChanged)
            assert (await take(aiter(sessions[name]), 1))[0].payload == b"new"
            assert sessions[name].shard == NAMES[second]
        assert [change.epoch for change in changes] == ["epoch-2"]
        assert gateway.shards == {NAMES[0]: False, NAMES[1]: True, NAMES[2]: True}
        # The third session has heard nothing of it.
        fleet.streams[1].say(frames(1, 4, [b"on"]))
        assert [type(entry) for entry in await take(sessions["binance.btcusdt"].events(), 5)] == [
            fairlead.Attached,
            *[fairlead.StateChanged] * 3,
            fairlead.Frame,
        ]


async def test_a_gateway_that_is_soon_back_keeps_its_sessions() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md")
        await opened(fleet.streams[0], session)
        fleet.fakes[0].refusal = (grpc.StatusCode.UNAVAILABLE, None)
        fleet.streams[0].end()
        await until(lambda: len(gateway._shards._patience) == 1)
        (patience,) = gateway._shards._patience.values()
        fleet.fakes[0].refusal = None
        stream = await fleet.fakes[0].stream()
        assert patience.cancelled()
        command = await stream.expect("open")
        stream.say(attached(command.channel, "RESUMED", head_sequence=3), frames(command.channel, 4, [b"on"]))
        assert (await take(aiter(session), 1))[0].payload == b"on"
        assert session.shard == NAMES[0]
        assert fleet.streams[1].idle()
        assert fleet.streams[2].idle()


async def test_moved_sessions_stay_and_new_ones_go_home() -> None:
    async with started() as fleet, connected(fleet, move_after=0.05) as gateway:
        moved = gateway.websocket(URL, name="md")
        await opened(fleet.streams[0], moved)
        await fleet.kill(0)
        await fleet.streams[1].open("EPOCH_CHANGED", "epoch-2")
        home = await fleet.restart(0)
        new = gateway.websocket(URL, name="orders")
        await opened(home, new)
        assert (moved.shard, new.shard) == (NAMES[1], NAMES[0])
        assert moved.attached
        assert home.idle()
        # Lost again, it goes to the first of its order: home.
        await fleet.kill(1)
        command = await home.open("EPOCH_CHANGED", "epoch-3")
        assert command.open.session == "md"
        assert command.open.start.after == pb.Start.After(epoch="epoch-2", sequence=3)


@pytest.mark.parametrize("told", ["ended", "stream"])
async def test_a_draining_gateway_is_left_without_waiting(told: str) -> None:
    """With the setup as it is then, and with nothing of the old journal unread."""
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md", setup=[fairlead.Step("a", "+a")])
        channel = (await opened(fleet.streams[0], session)).channel
        sending = asyncio.create_task(session.send("+b", setup_key="b"))
        fleet.streams[0].say(result(await fleet.streams[0].expect("send"), "WRITTEN", 4))
        await sending
        fleet.streams[0].say(
            pb.Event(draining=pb.Draining()), frames(channel, 5, [b"last"]), state(channel, "CLOSED", 6)
        )
        if told == "ended":
            fleet.streams[0].say(ended(channel, types_pb2.REASON_DRAINING))
        else:
            fleet.streams[0].end()
        command = await fleet.streams[1].open("EPOCH_CHANGED", "epoch-2")
        assert [step.key for step in command.open.setup] == ["a", "b"]
        assert command.open.start.after == pb.Start.After(epoch=EPOCH, sequence=6)
        fleet.streams[1].say(frames(command.channel, 4, [b"first"]))
        entries = await take(session.events(), 13)
        assert [entry.payload for entry in entries if isinstance(entry, fairlead.Frame)] == [b"last", b"first"]
        assert [type(entry) for entry in entries if not isinstance(entry, fairlead.Frame | fairlead.StateChanged)] == [
            fairlead.Attached,
            fairlead.CommandResult,
            fairlead.Detached,
            fairlead.EpochChanged,
        ]


async def test_a_draining_gateway_gets_no_new_session() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        # The first was on its way when the gateway said so.
        first = asyncio.create_task(gateway.websocket(URL, name="md").open())
        command = await fleet.streams[0].expect("open")
        fleet.streams[0].say(
            pb.Event(draining=pb.Draining()), result(command, "NOT_SENT", reason=types_pb2.REASON_DRAINING)
        )
        assert (await fleet.streams[1].open()).open.session == "md"
        await asyncio.wait_for(first, PATIENCE_S)
        await opened(fleet.streams[2], gateway.websocket(URL, name="orders"))
        assert gateway.shards[NAMES[0]] is False
        # The stream that follows is of a gateway that stays.
        fleet.streams[0].end()
        again = await fleet.fakes[0].stream()
        await opened(again, gateway.websocket(URL, name="fills"))


async def test_with_no_other_gateway_a_drained_session_waits_as_with_one() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md")
        channel = (await opened(fleet.streams[0], session)).channel
        for stream in fleet.streams[1:]:
            stream.say(pb.Event(draining=pb.Draining()))
        await until(lambda: list(gateway.shards.values()) == [True, False, False])
        fleet.streams[0].say(pb.Event(draining=pb.Draining()), ended(channel, types_pb2.REASON_DRAINING))
        # Until another is back, which may be long before the end of what the gateway gives itself.
        late: dict[str, Any] = {"reason": types_pb2.REASON_DRAINING, "retry_after": Duration(seconds=int(NEVER))}
        fleet.streams[0].say(result(await fleet.streams[0].expect("open"), "NOT_SENT", **late))
        command = await fleet.streams[0].expect("open")
        fleet.streams[1].end()
        other = await fleet.fakes[1].stream()
        fleet.streams[0].say(result(command, "NOT_SENT", **late))
        moved = await other.open("EPOCH_CHANGED", "epoch-2")
        assert moved.open.session == "md"


@pytest.mark.parametrize("home_too", [False, True])
async def test_when_all_are_gone_home_is_waited_for_a_little_longer(home_too: bool) -> None:
    async with started() as fleet, connected(fleet, move_after=0.3) as gateway:
        sessions = {name: gateway.websocket(URL, name=name) for name in ("md", "binance.btcusdt")}
        await opened(fleet.streams[0], sessions["md"])
        await opened(fleet.streams[1], sessions["binance.btcusdt"])
        await fleet.kill(0, 1, 2)
        await until(lambda: all(link.gone for link in gateway._shards.links))
        with pytest.raises(fairlead.SendFailed) as failed:
            await sessions["md"].send("x")
        assert failed.value.reason is fairlead.Reason.NOT_OPEN
        with pytest.raises(fairlead.GatewayUnavailable):
            await gateway.sessions()
        with pytest.raises(fairlead.GatewayUnavailable):
            await gateway.http.get("https://api.example.com/")
        waiting = asyncio.create_task(gateway.websocket(URL, name="orders").open())
        if home_too:
            gateway._shards._move_after = NEVER
        # The home of one of them is back first: it goes there at once, the others when their patience is over.
        stream = await fleet.restart(1)
        assert (await stream.open("EPOCH_CHANGED", "epoch-2")).open.session == "binance.btcusdt"
        if home_too:
            stream = await fleet.restart(0)
        assert {(await stream.open("EPOCH_CHANGED", "epoch-2")).open.session for _ in range(2)} == {"md", "orders"}
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert sessions["md"].shard == NAMES[0 if home_too else 1]


async def test_a_live_session_is_entered_where_it_is() -> None:
    """Opened by another program while its home was away; or what a move has left, which has no owner."""
    async with started() as fleet, connected(fleet) as gateway:
        fleet.fakes[2].sessions = [pb.Session(name="md", subscribers=[pb.Subscriber(owner=True)])]
        fleet.fakes[1].sessions = [pb.Session(name="md"), pb.Session(name="orders")]
        fleet.fakes[2].sessions.append(pb.Session(name="orders", state=pb.SESSION_STATE_CLOSED))
        await opened(fleet.streams[2], gateway.websocket(URL, name="md"))
        await opened(fleet.streams[1], gateway.websocket(URL, name="orders"))
        joining = asyncio.create_task(gateway.join("md").open())
        command = await fleet.streams[2].expect("join")
        fleet.streams[2].say(attached(command.channel, "LIVE"))
        await asyncio.wait_for(joining, PATIENCE_S)


async def test_a_gateway_that_does_not_say_what_it_has_is_not_waited_for() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        fleet.fakes[0].refusal = (grpc.StatusCode.INTERNAL, None)
        await opened(fleet.streams[0], gateway.websocket(URL, name="md"))


async def test_a_session_that_is_left_while_it_is_looked_for_is_not_entered() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md")
        opening = asyncio.create_task(session.open())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="once"):
            await session.open()
        await session.aclose()
        with pytest.raises(fairlead.SessionEnded):
            await opening
        await opened(fleet.streams[0], gateway.websocket(URL, name="orders"))
        assert fleet.streams[0].idle()


async def test_a_reader_of_others_looks_for_the_session() -> None:
    async with started() as fleet, connected(fleet, move_after=0.05) as gateway:

        async def deny(number: int) -> None:
            join = await fleet.streams[number].expect("join")
            fleet.streams[number].say(result(join, "NOT_SENT", reason=types_pb2.REASON_SESSION_NOT_FOUND))

        reader = gateway.join("md", identity="feeds")
        joining = asyncio.create_task(reader.open())
        for number in (0, 1):
            await deny(number)
        command = await fleet.streams[2].expect("join")
        fleet.streams[2].say(attached(command.channel, "LIVE", head_sequence=7), frames(command.channel, 8, [b"a"]))
        await asyncio.wait_for(joining, PATIENCE_S)
        # Its owner moves: wherever that goes, and however long it takes.
        await fleet.kill(2)
        for number in (0, 1, 1, 0):
            await deny(number)
        command = await fleet.streams[0].expect("join")
        assert command.join.start.after == pb.Start.After(epoch=EPOCH, sequence=8)
        fleet.streams[0].say(
            attached(command.channel, "EPOCH_CHANGED", epoch="epoch-2"), frames(command.channel, 1, [b"b"])
        )
        assert [frame.payload for frame in await take(aiter(reader), 2)] == [b"a", b"b"]
        # It may not ask: an answer would be of a session of its own.
        assert "GetSession" not in [method for fake in fleet.fakes for method, _ in fake.authorizations]


async def test_a_session_that_is_nowhere_is_not_found() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        joining = asyncio.create_task(gateway.join("md").open())
        for stream in fleet.streams:
            stream.say(result(await stream.expect("join"), "NOT_SENT", reason=types_pb2.REASON_SESSION_NOT_FOUND))
        with pytest.raises(fairlead.SessionNotFound):
            await joining
