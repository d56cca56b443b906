"""A session outlives its adapter: killed, it goes on where it was, and knows exactly what it has missed."""

import asyncio
import random
from pathlib import Path

import grpc
import pytest

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2 as types
from tests.e2e.attach import Attachment, connected, sessions_of, span
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Gateway, eventually
from tests.e2e.resuming import check_orders, check_whole, recorder, trade_through_outages, trader

KILLS = 5
OUTAGES = 5
NUMBERS = 9_000
FEED = f"/numbered?rate=3000&count={NUMBERS}&size=100&feed=resume"
# Bytes of the file; a line has about 50.
BETWEEN_KILLS = 1_000 * 50
ORDERS = 600
BETWEEN_DEATHS = 100 * 100


async def test_a_killed_adapter_misses_nothing(gateway: Gateway, endpoint: Endpoint, scratch: Path, seed: int) -> None:
    """kill -9 at random: its file in the end is the feed, and the exchange has noticed nothing."""
    adapter = recorder(gateway.address, endpoint, FEED, NUMBERS, scratch / "recording")
    await adapter.killed_at_random(KILLS, random.Random(seed), BETWEEN_KILLS)
    assert check_whole(adapter.lines(), NUMBERS, KILLS) == 0
    assert len(await endpoint.exchange.connections()) == 1


async def test_what_is_missing_lies_in_blind_windows(
    gateway: Gateway, endpoint: Endpoint, scratch: Path, seed: int
) -> None:
    """The same, and the exchange drops the transport again and again."""
    choose = random.Random(seed)
    adapter = recorder(gateway.address, endpoint, FEED, NUMBERS, scratch / "recording")
    running = asyncio.create_task(adapter.killed_at_random(KILLS, choose, BETWEEN_KILLS))
    try:
        for outage in range(OUTAGES):
            generation = outage + 1

            async def flowing(generation: int = generation) -> bool:
                assert not running.done(), "the feed ended before all outages"
                found = await endpoint.exchange.connections()
                return len(found) == generation and (found[-1]["last_number"] or 0) > (found[-1]["first_number"] or 0)

            await eventually(flowing, f"numbers on connection {generation}")
            # A moment of the feed: nothing waits for it.
            await asyncio.sleep(choose.uniform(0, 0.3))
            await endpoint.exchange.fault("drop")
        await running
    finally:
        running.cancel()
    lines = adapter.lines()
    check_whole(lines, NUMBERS, KILLS)
    assert sum(words[0] == "blind" for _, _, *words in lines) == OUTAGES
    assert len(await endpoint.exchange.connections()) == OUTAGES + 1


async def test_what_became_of_each_order(gateway: Gateway, endpoint: Endpoint, scratch: Path, seed: int) -> None:
    """The transport is dropped and the adapter killed at random while it sends: what it is told in the end is true."""
    adapter = trader(gateway.address, endpoint, ORDERS, scratch / "orders")
    received = await trade_through_outages(endpoint, adapter, KILLS, random.Random(seed), BETWEEN_DEATHS)
    assert len(received) > KILLS
    check_orders(adapter.lines(), received, ORDERS)


async def test_open_takes_a_live_session_over(
    channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint
) -> None:
    """The latest Open wins: the former owner is told, once, after all that came before; nothing is dialled again."""
    exchange = endpoint.exchange
    opening = endpoint.opening("/idle", session="md")
    first = await stream.open(1, opening)
    await exchange.send(text="before")
    other = Attachment(channel)
    opening.start.after.epoch, opening.start.after.sequence = first.epoch, 3
    await other.say(pb.Command(channel=5, id=7, open=opening))
    attached = await other.attached(5)
    assert (attached.epoch, attached.start, attached.state) == (
        first.epoch,
        pb.START_OUTCOME_RESUMED,
        pb.SESSION_STATE_OPEN,
    )
    assert (await other.result(7)).outcome == pb.OUTCOME_DONE
    assert (await other.frame(5)).payload == b"before"
    assert (await stream.frame(1)).payload == b"before"
    ended = await stream.ended(1)
    assert (ended.cause.reason, ended.session_closed) == (types.REASON_SUPERSEDED, False)
    # The channel's number is free, and commands nothing.
    await stream.say(pb.Command(channel=1, id=8, send=pb.Send(payload=b"x")))
    assert (await stream.result(8)).failure.reason == types.REASON_CHANNEL_UNKNOWN
    await exchange.send(text="after")
    assert (await other.frame(5)).payload == b"after"
    assert len(await exchange.connections()) == 1
    (subscriber,) = (await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))).session.subscribers
    assert subscriber.owner


async def test_a_superseded_client_does_not_come_back(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint
) -> None:
    async with (
        fairlead.connect(gateway.address) as other,
        endpoint.session(client, "/numbered?rate=100", name="md") as session,
        endpoint.session(other, "/numbered?rate=100", name="md") as next_owner,
    ):
        with pytest.raises(fairlead.Superseded):
            async for _ in session:
                pass
        async for frame in next_owner:
            if frame.payload:
                break
    assert len(await endpoint.exchange.connections()) == 1


async def test_the_position_leads_back_to_the_next_frame(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    """Left in the middle of a batch, and entered again at the kept position."""
    seen: list[int] = []
    start: fairlead.StartFrom = fairlead.OLDEST
    for wanted in (10, 1, 200, 3):
        async with endpoint.session(client, "/numbered?rate=2000&count=1000", name="md", start=start) as session:
            async for frame in session:
                seen.append(int(frame.payload.split()[0]))
                wanted -= 1
                if not wanted:
                    break
            assert session.position is not None
            start = session.position
    assert seen == list(range(1, 215))
    assert len(await endpoint.exchange.connections()) == 1


async def test_closes_when_nobody_comes_back(gateway: Gateway, endpoint: Endpoint) -> None:
    opening = endpoint.opening("/idle", session="md", retention=pb.Retention(linger=span(0.5)))
    async with connected(gateway.address) as channel:
        attached = await Attachment(channel).open(1, opening)
    async with connected(gateway.address) as channel:

        async def alone() -> bool:
            found = await sessions_of(channel).ListSessions(pb.ListSessionsRequest())
            return [(each.epoch, len(each.subscribers)) for each in found.sessions] == [(attached.epoch, 0)]

        await eventually(alone, "nobody reads the session, and it lives")
        endpoint.check_goodbye(await endpoint.exchange.closed(), 1000)


async def test_what_ended_while_nobody_was_there_can_be_read(gateway: Gateway, endpoint: Endpoint) -> None:
    opening = endpoint.opening("/numbered?rate=100&feed=end", session="md", reconnect=pb.ReconnectPolicy(enabled=False))
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        attached = await stream.open(1, opening)
        position = (await stream.frame(1)).sequence
    await endpoint.exchange.fault("drop")
    async with connected(gateway.address) as channel:

        async def over() -> bool:
            found = await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))
            return found.session.state == pb.SESSION_STATE_CLOSED

        await eventually(over, "the session is CLOSED")
        stream = Attachment(channel)
        start = pb.Start(after=pb.Start.After(epoch=attached.epoch, sequence=position - 1))
        await stream.say(pb.Command(channel=1, join=pb.Join(session="md", start=start)))
        assert (await stream.attached(1)).start == pb.START_OUTCOME_RESUMED
        assert (await stream.frame(1)).sequence == position
        closed = await stream.state(1, pb.SESSION_STATE_CLOSED)
        assert closed.cause.reason == types.REASON_CONNECTION_LOST
        assert (await stream.ended(1)).session_closed


async def test_an_order_sent_before_the_end_has_its_result_after_it(gateway: Gateway, endpoint: Endpoint) -> None:
    """The stream breaks right behind the order; whoever takes the session over reads what became of it."""
    opening = endpoint.opening("/idle", session="md")
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        attached = await stream.open(1, opening)
        await stream.say(pb.Command(channel=1, id=77, send=pb.Send(payload=b"order")))
        await endpoint.exchange.connection()

        async def arrived() -> bool:
            return bool((await endpoint.exchange.connection())["frames_received"])

        await eventually(arrived, "the exchange has the order")
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        opening.start.after.epoch, opening.start.after.sequence = attached.epoch, 3
        await stream.say(pb.Command(channel=1, open=opening))
        result = await stream.result(77)
        assert (result.outcome, result.sequence) == (pb.OUTCOME_WRITTEN, 4)
