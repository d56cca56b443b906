"""Several gateways: connecting to them, what refuses this program, requests, lists, and what a move leaves behind."""

import asyncio

import grpc
import pytest

import fairlead
from fairlead import _backoff, _shards
from fairlead.v1 import session_pb2 as pb
from tests.fake_gateway import PATIENCE_S, FakeGateway, attached, state
from tests.fleet import NAMES, NEVER, SOON, URL, Fleet, check_no_task_is_left, connected, opened, started, until
from tests.test_reading import take

REFUSED = (grpc.StatusCode.PERMISSION_DENIED, None)
OWNED = [pb.Subscriber(owner=True)]
READ = [pb.Subscriber(owner=False)]


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ([], "at least one"),
        (["a:1", "b:1", "a:1"], "twice"),
        ({"a": "x:1", "b": "x:1"}, "twice"),
        ({"": "x:1"}, "empty"),
        (["a:1", "ftp://b"], "ftp"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address: list[str] | dict[str, str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        fairlead.connect(address)


async def test_one_gateway_in_a_list_is_one_gateway(fake: FakeGateway) -> None:
    async with fairlead.connect([fake.address], move_after=0) as gateway:
        stream = await fake.stream()
        session = gateway.websocket(URL, name="md")
        await opened(stream, session)
        stream.end()
        await (await fake.stream()).open("RESUMED")
        assert session.shard == fake.address
        assert "GetSession" not in [method for method, _ in fake.authorizations]


async def test_one_that_is_away_at_first_is_done_without_until_it_comes() -> None:
    async with started(1, 2) as fleet, fairlead.connect(fleet.addresses, move_after=SOON) as gateway:
        assert gateway.shards == {NAMES[0]: False, NAMES[1]: True, NAMES[2]: True}
        await opened(await fleet.fakes[1].stream(), gateway.websocket(URL, name="md"))
        await fleet.fakes[0].__aenter__()
        home = await fleet.fakes[0].stream()
        await opened(home, gateway.websocket(URL, name="orders"))


async def test_without_patience_all_are_waited_for_at_first() -> None:
    """Else all sessions would begin on the gateway that answers first."""
    async with started() as fleet, fairlead.connect(fleet.addresses, move_after=0) as gateway:
        assert all(gateway.shards.values())


async def test_a_session_may_be_entered_when_the_gateways_are_there_at_last() -> None:
    async with started() as fleet:
        gateway = fairlead.connect(fleet.addresses)
        session = gateway.websocket(URL, name="md")
        with pytest.raises(fairlead.GatewayUnavailable):
            await session.open()
        async with gateway:
            await opened(await fleet.fakes[0].stream(), session)


async def test_leaving_ends_what_waits() -> None:
    async with started() as fleet:
        async with connected(fleet) as gateway:
            await opened(fleet.streams[0], gateway.websocket(URL, name="md"))
            await fleet.kill(0, 1, 2)
            await until(lambda: len(gateway._shards._patience) == 3)
            patience = list(gateway._shards._patience.values())
        assert all(timer.cancelled() for timer in patience)


async def test_none_at_all_is_told_with_each_reason() -> None:
    async with started(0) as fleet:
        await fleet.kill(0)
        gateway = fairlead.connect(fleet.addresses, connect_timeout=0.3, move_after=SOON)
        with pytest.raises(fairlead.GatewayUnavailable) as raised:
            await gateway.__aenter__()
        for name, address in fleet.addresses.items():
            assert f"{name}: no gateway at {address}" in raised.value.message
        assert not raised.value.may_have_been_sent
        check_no_task_is_left()
        # The object may try again.
        await fleet.fakes[2].__aenter__()
        async with gateway:
            assert gateway.shards[NAMES[2]]


async def test_one_that_does_not_know_this_program_is_told_at_once() -> None:
    async with started() as fleet:
        fleet.fakes[1].refusal = REFUSED
        with pytest.raises(fairlead.PermissionDenied):
            async with asyncio.timeout(PATIENCE_S):
                await fairlead.connect(fleet.addresses).__aenter__()
        check_no_task_is_left()


async def test_connecting_may_be_cancelled() -> None:
    async with started(0) as fleet:
        connecting = asyncio.create_task(fairlead.connect(fleet.addresses, move_after=NEVER).__aenter__())
        await fleet.fakes[0].stream()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        check_no_task_is_left()


async def test_one_that_no_longer_knows_this_program_is_left_for_good() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md")
        await opened(fleet.streams[0], session)
        fleet.fakes[0].refusal = REFUSED
        fleet.streams[0].end()
        await fleet.streams[1].open("EPOCH_CHANGED", "epoch-2")
        await opened(fleet.streams[2], gateway.websocket(URL, name="orders"))
        # And the last one ends what is on it, as a single one does.
        for number in (1, 2):
            fleet.fakes[number].refusal = REFUSED
            fleet.streams[number].end()
        with pytest.raises(fairlead.PermissionDenied):
            await take(session.events(), 100)
        with pytest.raises(fairlead.PermissionDenied):
            await gateway.websocket(URL, name="md").open()


async def test_one_that_refuses_while_the_others_are_away_leaves_sessions_to_them() -> None:
    async with started() as fleet, connected(fleet, move_after=SOON) as gateway:
        session = gateway.websocket(URL, name="md")
        await opened(fleet.streams[0], session)
        await fleet.kill(1, 2)
        fleet.fakes[0].refusal = REFUSED
        fleet.streams[0].end()
        await until(lambda: session.shard == NAMES[1])
        await (await fleet.restart(2)).open("EPOCH_CHANGED", "epoch-2")


async def test_a_mistake_of_the_client_costs_one_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends a session when it makes the same mistake with all of them, as with one."""
    async with started() as fleet, connected(fleet) as gateway:
        session = gateway.websocket(URL, name="md")
        await opened(fleet.streams[0], session)
        with monkeypatch.context() as mistaken:
            mistaken.setattr(fairlead.StateChanged, "from_proto", None)
            fleet.streams[0].say(state(1, "CLOSED", 4))
            command = await fleet.streams[1].expect("open")
        fleet.streams[1].say(attached(command.channel, "EPOCH_CHANGED", epoch="epoch-2"))
        await until(lambda: session.epoch == "epoch-2")
        monkeypatch.setattr(fairlead.StateChanged, "from_proto", None)
        fleet.streams[1].say(state(command.channel, "OPEN", 1))
        command = await fleet.streams[2].expect("open")
        fleet.streams[2].say(attached(command.channel, "EPOCH_CHANGED", epoch="epoch-3"))
        fleet.streams[2].say(state(command.channel, "OPEN", 1))
        with pytest.raises(fairlead.FairleadError, match="the client failed"):
            await take(session.events(), 100)


async def test_requests_go_by_their_origin_and_past_what_is_gone() -> None:
    async with started() as fleet, connected(fleet) as gateway:

        async def lands(number: int, url: str) -> None:
            asking = asyncio.create_task(gateway.http.get(url))
            call = await fleet.fakes[number].http_call()
            assert call.request.url == url
            call.reply(204)
            assert (await asking).status == 204

        await lands(2, "https://api.example.com/a")
        await lands(2, "https://API.example.com:443/b?c")
        # Without the patience that sessions have.
        await fleet.kill(2)
        await until(lambda: not gateway.shards[NAMES[2]])
        await lands(1, "https://api.example.com/a")
        fleet.streams[1].say(pb.Event(draining=pb.Draining()))
        await until(lambda: not gateway.shards[NAMES[1]])
        await lands(0, "https://api.example.com/a")
        # One that drains is better than none: it says itself what it does not do.
        await fleet.kill(0)
        await until(lambda: not gateway.shards[NAMES[0]])
        await lands(1, "https://api.example.com/a")
        # And home is gone to again.
        await fleet.restart(2)
        await lands(2, "https://api.example.com/a")


async def test_a_request_waits_for_none_that_will_not_come_back() -> None:
    """What is said of the others is that they are away: trying again may help."""
    async with started() as fleet, connected(fleet) as gateway:
        fleet.streams[2].refuse(grpc.StatusCode.PERMISSION_DENIED, None)
        await until(lambda: gateway._shards._links[NAMES[2]].refused)
        await fleet.kill(0, 1)
        await until(lambda: not gateway.attached)
        with pytest.raises(fairlead.GatewayUnavailable) as away:
            await gateway.http.get("https://api.example.com/a")
        assert not away.value.may_have_been_sent


async def test_sessions_of_all_are_listed_found_and_closed() -> None:
    async with started() as fleet, connected(fleet) as gateway:
        fleet.fakes[0].sessions = [pb.Session(name="b"), pb.Session(name="md", subscribers=READ)]
        fleet.fakes[1].sessions = [pb.Session(name="a"), pb.Session(name="md", subscribers=OWNED)]
        fleet.fakes[2].sessions = [pb.Session(name="b")]
        listed = [(each.name, each.shard) for each in await gateway.sessions()]
        assert listed == [
            ("a", NAMES[1]),
            ("b", NAMES[0]),
            ("b", NAMES[2]),
            ("md", NAMES[0]),
            ("md", NAMES[1]),
        ]
        assert (await gateway.session("md")).shard == NAMES[1]
        with pytest.raises(fairlead.SessionNotFound):
            await gateway.session("x")
        await gateway.close_session("md")
        assert [fake.closed for fake in fleet.fakes] == [["md"], ["md"], []]
        with pytest.raises(fairlead.SessionNotFound):
            await gateway.close_session("md")
        # One that cannot be asked may have it.
        await fleet.kill(2)
        await until(lambda: not gateway.shards[NAMES[2]])
        assert [each.name for each in await gateway.sessions()] == ["a", "b"]
        for ask in (gateway.session, gateway.close_session):
            with pytest.raises(fairlead.GatewayUnavailable):
                await ask("x")
        assert (await gateway.session("a")).shard == NAMES[1]


async def back(fleet: Fleet, gateway: fairlead.Gateway, subscribers: list[pb.Subscriber]) -> None:
    """Bring the first gateway back: it was away for this program alone, whose sessions have moved, and holds them."""
    left = gateway.websocket(URL, name="orders")
    await opened(fleet.streams[0], left)
    await opened(fleet.streams[0], gateway.websocket(URL, name="md"))
    fleet.fakes[0].refusal = (grpc.StatusCode.UNAVAILABLE, None)
    fleet.streams[0].end()
    await fleet.streams[1].open("EPOCH_CHANGED", "epoch-2")
    await fleet.streams[2].open("EPOCH_CHANGED", "epoch-2")
    # One that this program has left meanwhile is left to its linger, and others' are not its own.
    leaving = asyncio.create_task(left.aclose())
    await fleet.streams[2].expect("detach")
    fleet.streams[2].end()
    await leaving
    fleet.fakes[0].sessions = [pb.Session(name=name) for name in ("md", "orders", "other")]
    fleet.fakes[0].sessions[0].subscribers.extend(subscribers)
    fleet.fakes[0].authorizations.clear()
    fleet.fakes[0].refusal = None
    await fleet.fakes[0].stream()
    await until(lambda: gateway.shards[NAMES[0]])


@pytest.mark.parametrize(("subscribers", "closed"), [([], ["md"]), (READ, ["md"]), (OWNED, [])])
async def test_what_was_moved_away_is_closed_where_it_was(
    subscribers: list[pb.Subscriber], closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless another program owns it there."""
    monkeypatch.setattr(_shards, "_TIDY_PAUSES_S", (0, 0))
    async with started() as fleet, connected(fleet, move_after=SOON) as gateway:
        await back(fleet, gateway, subscribers)
        await until(lambda: not gateway._shards._tidying)
        assert fleet.fakes[0].closed == closed


async def test_leaving_does_not_wait_to_tidy_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shards, "_TIDY_PAUSES_S", (NEVER,))
    async with started() as fleet, asyncio.timeout(PATIENCE_S), connected(fleet, move_after=SOON) as gateway:
        await back(fleet, gateway, [])
        assert gateway._shards._tidying


async def test_an_owner_that_was_this_program_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway may take the old stream for alive for a while."""
    monkeypatch.setattr(_shards, "_TIDY_PAUSES_S", (0, *[0.01] * 2000))
    async with started() as fleet, connected(fleet, move_after=SOON) as gateway:
        await back(fleet, gateway, OWNED)
        fake = fleet.fakes[0]
        # One when connecting, and two pages for each look.
        await until(lambda: len(fake.authorizations) > 6)
        assert fake.closed == []
        del fake.sessions[0].subscribers[:]
        await until(lambda: not gateway._shards._tidying)
        assert fake.closed == ["md"]


async def test_one_that_comes_back_has_the_others_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their pauses may have grown long, and what they were away for may be over for them, too."""
    pauses = [NEVER]
    monkeypatch.setattr(_backoff, "pause", lambda _: pauses[0])
    async with started() as fleet, connected(fleet) as gateway:
        await fleet.kill(0)
        await until(lambda: not gateway.shards[NAMES[0]])
        await fleet.fakes[0].__aenter__()
        pauses[0] = 0
        fleet.streams[1].end()
        await fleet.fakes[1].stream()
        await fleet.fakes[0].stream()


async def test_one_that_is_gone_has_the_others_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backoff, "pause", lambda _: NEVER)
    async with started() as fleet, connected(fleet, move_after=SOON) as gateway:
        await fleet.kill(1)
        await until(lambda: gateway._shards.links[1].gone)
        await fleet.fakes[1].__aenter__()
        await fleet.kill(0)
        await fleet.fakes[1].stream()


async def test_one_that_drains_has_the_others_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backoff, "pause", lambda _: NEVER)
    async with started() as fleet, connected(fleet) as gateway:
        await fleet.kill(1)
        await until(lambda: not gateway.shards[NAMES[1]])
        await fleet.fakes[1].__aenter__()
        fleet.streams[0].say(pb.Event(draining=pb.Draining()))
        await fleet.fakes[1].stream()


async def test_one_that_is_back_in_time_takes_those_of_one_that_is_gone_at_once() -> None:
    """The patience that all get when all were gone is not needed: this one was not."""
    async with (
        started(0, 1) as fleet,
        fairlead.connect(fleet.addresses, move_after=NEVER, connect_timeout=1) as gateway,
    ):
        fleet.streams = [await fake.stream() for fake in fleet.fakes[:2]]
        session = gateway.websocket(URL, name="md")
        channel = (await opened(fleet.streams[0], session)).channel
        fleet.fakes[1].refusal = (grpc.StatusCode.UNAVAILABLE, None)
        fleet.streams[1].end()
        await until(lambda: not gateway.shards[NAMES[1]])
        fleet.fakes[0].refusal = fleet.fakes[1].refusal
        fleet.streams[0].say(pb.Event(draining=pb.Draining()), state(channel, "CLOSED", 4))
        fleet.streams[0].end()
        await until(lambda: session.state is None)
        fleet.fakes[1].refusal = None
        stream = await fleet.fakes[1].stream()
        await stream.open("EPOCH_CHANGED", "epoch-2")
