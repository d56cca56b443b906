"""Bounded: long messages, deflate bombs, idle sessions, readers that do not read, full queues."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    OUTCOME_WRITTEN,
    OVERFLOW_DETACH,
    OVERFLOW_SKIP,
    SESSION_STATE_OPEN,
    SESSION_STATE_RECONNECTING,
    Command,
    CommandResult,
    Delivery,
    Ended,
    Gap,
    Heartbeat,
    Hold,
    Join,
    ListSessionsRequest,
    Open,
    Overflow,
    ReconnectPolicy,
    Retention,
    Send,
    Start,
    Target,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import (
    PHASE_NOT_SENT,
    REASON_LIMIT_REACHED,
    REASON_MESSAGE_TOO_LONG,
    REASON_OVERFLOW,
)
from tests.e2e.attach import Attachment, Frame, connected, seconds, sessions_of, span
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Exchange, Gateway

MIB = 1 << 20
QUIET = Heartbeat(interval=span(0))
ONCE = ReconnectPolicy(enabled=False)


def digits(size: int) -> bytes:
    """What /big sends."""
    return (b"0123456789" * (size // 10 + 1))[:size]


def kilobytes(gateway: Gateway, field: str) -> int:
    """Of /proc/PID/status: VmRSS (memory now), VmHWM (the most so far)."""
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {field}")


# ---- Long messages. ----


@pytest.mark.parametrize("deflate", ["", "&deflate=1", "&deflate=context"], ids=["plain", "deflate", "context"])
async def test_sixteen_mebibytes_arrive_whole(gateway: Gateway, exchange: Exchange, deflate: str) -> None:
    options = WebSocketOptions(max_message_bytes=16 * MIB, permessage_deflate=bool(deflate))
    target = Target(url=f"{exchange.ws}/big?size={16 * MIB}&count=2{deflate}")
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.say(Command(channel=1, open=Open(target=target, websocket=options)))
        for _ in range(2):
            assert (await stream.frame(1)).payload == digits(16 * MIB)
    assert bool((await exchange.connection(1))["extensions"]) is bool(deflate)


async def test_sixteen_mebibytes_are_sent_whole(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"limits": {"send_queue_bytes": "32MiB"}})
    options = WebSocketOptions(max_message_bytes=16 * MIB)
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo"), websocket=options))
        await stream.say(Command(channel=1, id=1, send=Send(payload=digits(16 * MIB))))
        assert (await stream.result(1)).outcome == OUTCOME_WRITTEN
        assert (await stream.frame(1)).payload == digits(16 * MIB)


@pytest.mark.parametrize("deflate", ["", "&deflate=1"], ids=["plain", "deflate"])
async def test_an_over_long_message(gateway: Gateway, exchange: Exchange, deflate: str) -> None:
    """The longest arrives, and one byte more ends the transport."""
    options = WebSocketOptions(max_message_bytes=10_000, permessage_deflate=bool(deflate))
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        for number, size in ((1, 10_000), (2, 10_001)):
            target = Target(url=f"{exchange.ws}/big?size={size}{deflate}")
            await stream.say(Command(channel=number, open=Open(target=target, websocket=options, reconnect=ONCE)))
            await stream.state(number, SESSION_STATE_OPEN)
        assert (await stream.frame(1)).payload == digits(10_000)
        ended = await stream.ended(2)
        assert ended.cause.reason == REASON_MESSAGE_TOO_LONG
        assert "10000" in ended.cause.message
        assert not [frame for frame in stream.heard(Frame) if frame.channel == 2], "not even a part is delivered"
    assert (await exchange.closed(2))["close_code_received"] == 1009


async def test_a_deflate_bomb(gateway: Gateway, exchange: Exchange) -> None:
    """A gibibyte of zeros in a megabyte of deflate, four times."""
    options = WebSocketOptions(permessage_deflate=True)
    target = Target(url=f"{exchange.ws}/bomb?size={1 << 30}")
    reconnect = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(9, Open(target=Target(url=f"{exchange.ws}/echo"), websocket=options))
        before = kilobytes(gateway, "VmHWM")
        await stream.say(Command(channel=1, open=Open(target=target, websocket=options, reconnect=reconnect)))
        for _ in range(4):
            lost = await stream.state(1, SESSION_STATE_RECONNECTING)
            assert lost.cause.reason == REASON_MESSAGE_TOO_LONG
        grown = kilobytes(gateway, "VmHWM") - before
    assert (await exchange.closed(2))["close_code_received"] == 1009
    print(f"grown by {grown} KiB")
    assert grown < 32 << 10, "max_message_bytes is 3 MiB"


# ---- Idle sessions. ----


def cpu_seconds(gateway: Gateway) -> float:
    """All threads' time on a processor, to the nanosecond; /proc/PID/stat has it in hundredths of a second."""
    tasks = Path(f"/proc/{gateway.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def wakes(gateway: Gateway) -> int:
    """How often its threads went to sleep by themselves, and so woke up."""
    total = 0
    for status in Path(f"/proc/{gateway.pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


async def test_idle_sessions_cost_nothing(gateway: Gateway, exchange: Exchange) -> None:
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(0, Open(target=Target(url=f"{exchange.ws}/idle"), heartbeat=QUIET))
        before = kilobytes(gateway, "VmRSS")
        opening = Open(target=Target(url=f"{exchange.ws}/idle"), heartbeat=QUIET)
        await stream.say(*(Command(channel=number, open=opening) for number in range(1, 101)))
        for number in range(1, 101):
            await stream.state(number, SESSION_STATE_OPEN)
        print(f"memory: {(kilobytes(gateway, 'VmRSS') - before) / 100:.1f} KiB a session")
        cpu, woken = cpu_seconds(gateway), wakes(gateway)
        await asyncio.sleep(10)  # What is measured is this time.
        cpu, woken = cpu_seconds(gateway) - cpu, wakes(gateway) - woken
        print(f"in 10 s: {cpu * 1000:.1f} ms of CPU, {woken} wakes")
        assert not stream.heard(Ended)
        assert cpu <= 0.05, f"{woken} wakes"
        # gRPC's own threads wake a few times a second; a timer a session would be a hundred times as many.
        assert woken < 500


# ---- A reader that does not read. ----

FRAMES = 20_000
FRAME_BYTES = 4_000
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]


async def account(stream: Attachment, last: int) -> list[Gap]:
    """Reads to the feed's end: after `last`, every sequence comes once, in order, or lies in a gap."""
    gaps = []
    while True:
        item = await stream.next()
        if isinstance(item, Gap):
            assert item.from_sequence == last + 1
            last = item.to_sequence
            gaps.append(item)
        elif isinstance(item, Frame):
            assert item.sequence == last + 1
            last = item.sequence
            if item.payload.startswith(b"%d " % FRAMES):
                return gaps


def at_its_end(channel: int) -> Callable[[Frame], bool]:
    return lambda frame: frame.channel == channel and frame.payload.startswith(b"3000 ")


@pytest.mark.parametrize("overflow", [OVERFLOW_SKIP, OVERFLOW_DETACH], ids=["skip", "detach"])
async def test_a_reader_that_stops_reading(
    gateway: Gateway, exchange: Exchange, overflow: "Overflow.ValueType"
) -> None:
    """80 MB pass by, of which the journal holds 16: the others get everything, it gets one gap or its end."""
    feed = Open(
        session="feed",
        target=Target(url=f"{exchange.ws}/numbered?rate=5000&count={FRAMES}&size={FRAME_BYTES}&start=subscribe"),
        retention=Retention(journal_bytes=16 * MIB),
    )
    # The stalled reader has a connection of its own, whose window stays small.
    async with connected(gateway.address) as channel, grpc.aio.insecure_channel(gateway.address, NARROW) as narrow:
        reading = Attachment(channel)
        opened = await reading.open(1, feed)
        await reading.open(2, Open(target=Target(url=f"{exchange.ws}/echo")))
        stalled = Attachment(narrow)
        await stalled.say(Command(channel=5, join=Join(session="feed", delivery=Delivery(overflow=overflow))))
        last = (await stalled.attached(5)).head_sequence
        # From here on it reads nothing, while the feed passes; a command in between is carried out.
        await reading.say(Command(channel=1, send=Send(payload=b"subscribe")))
        assert (await reading.frame(1)).payload == b'{"event":"subscribed"}'
        for number in range(1, FRAMES + 1):
            assert (await reading.frame(1)).payload.startswith(b"%d " % number)
            if number % 5_000 == 0:
                await reading.say(Command(channel=2, id=number, send=Send(payload=b"x")))
                assert (await reading.result(number)).outcome == OUTCOME_WRITTEN
        assert not reading.heard(Gap)
        assert (await exchange.connections("/numbered"))[0]["feed_frames_sent"] == FRAMES

        # Now it reads on.
        if overflow == OVERFLOW_DETACH:
            while isinstance(item := await stalled.next(), Frame):
                assert item.sequence == last + 1
                last = item.sequence
            assert isinstance(item, Ended)
            assert item.cause.reason == REASON_OVERFLOW
            assert not item.session_closed
            assert f"after sequence {last} of epoch {opened.epoch}," in item.cause.message
            # It resumes as it was told.
            after = Start(after=Start.After(epoch=opened.epoch, sequence=last))
            await stalled.say(Command(channel=5, join=Join(session="feed", start=after)))
        (gap,) = await account(stalled, last)
        assert gap.to_sequence - gap.from_sequence > FRAMES / 4


async def test_a_held_channel_holds_up_nobody(gateway: Gateway, exchange: Exchange) -> None:
    """The same without a stalled stream: two channels of one stream, one of them on hold."""
    feed = Open(
        session="feed",
        target=Target(url=f"{exchange.ws}/numbered?count=3000&size=1000&start=subscribe"),
        websocket=WebSocketOptions(max_message_bytes=10_000),
        retention=Retention(journal_bytes=100_000),
    )
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, feed)
        await stream.say(Command(channel=2, join=Join(session="feed")), Command(channel=2, id=1, hold=Hold(on=True)))
        await stream.result(1)
        await stream.say(Command(channel=1, send=Send(payload=b"subscribe")))
        await stream.hear(Frame, at_its_end(1))
        assert not [frame for frame in stream.heard(Frame) if frame.channel == 2]
        await stream.say(Command(channel=2, id=2, hold=Hold(on=False)))
        frame = await stream.frame(2)
        (gap,) = [gap for gap in stream.heard(Gap) if gap.channel == 2]
        assert gap.to_sequence == frame.sequence - 1


# ---- Totals and queues. ----


async def test_all_journals_together(start_gateway: StartGateway, exchange: Exchange) -> None:
    """Three journals of 16 MiB may hold 4 MiB together: old entries go, and whoever missed them is told."""
    gateway = start_gateway({"limits": {"total_journal_bytes": "4MiB"}})
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        for number in (1, 2, 3):
            url = f"{exchange.ws}/numbered?count=3000&size=1000&feed="
            await stream.say(Command(channel=number, open=Open(session=f"s{number}", target=Target(url=url))))
        for number in (1, 2, 3):
            await stream.hear(Frame, at_its_end(number))
        sessions = (await sessions_of(channel).ListSessions(ListSessionsRequest())).sessions
        assert sum(session.journal_bytes for session in sessions) <= 4 * MIB
        shrunk = min(sessions, key=lambda session: session.head_sequence - session.oldest_sequence)
        assert shrunk.oldest_sequence > 1
        await stream.say(Command(channel=4, join=Join(session=shrunk.name, start=Start(oldest=Start.Oldest()))))
        assert (await stream.attached(4)).oldest_sequence == shrunk.oldest_sequence
        assert (await stream.frame(4)).sequence == shrunk.oldest_sequence


@pytest.mark.parametrize("limit", ["send_queue_bytes", "total_send_queue_bytes"])
async def test_a_full_send_queue(start_gateway: StartGateway, exchange: Exchange, limit: str) -> None:
    """The exchange reads nothing: the kernel takes some, the queue takes its limit, and the rest is refused."""
    gateway = start_gateway({"limits": {limit: "1MiB"}})
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/idle?fault=never_read"), heartbeat=QUIET))
        count = 0
        while not (refused := [r for r in stream.heard(CommandResult) if r.outcome == OUTCOME_NOT_SENT]):
            count += 1
            assert count < 1000
            await stream.say(Command(channel=1, id=count, send=Send(payload=b"x" * 400_000)))
            # Its answer comes behind the Send's, if that is refused.
            await stream.say(Command(channel=77, id=10_000 + count))
            await stream.result(10_000 + count)
        assert refused[0].failure.reason == REASON_LIMIT_REACHED
        assert refused[0].failure.phase == PHASE_NOT_SENT
        assert f"limits.{limit}, 1048576" in refused[0].failure.message
        assert count > 2, "what the kernel and the queue took"


async def test_new_streams_a_second(start_gateway: StartGateway) -> None:
    """A second's worth at once; who is refused is told when to come again."""
    gateway = start_gateway({"limits": {"new_streams_per_second": 5}})
    async with connected(gateway.address) as channel:
        streams = [Attachment(channel) for _ in range(20)]
        for stream in streams:
            await stream.half_close()
        ends = [await stream.status() for stream in streams]
        refused = [end for end in ends if end.code is not grpc.StatusCode.OK]
        assert len(refused) <= 15
        assert refused, "20 streams at once are more than 5 a second"
        for end in refused:
            assert end.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert end.failure
            assert end.failure.reason == REASON_LIMIT_REACHED
            assert end.failure.message == "limits.new_streams_per_second, 5, have begun"
            assert 0 < seconds(end.failure.retry_after) <= 0.2
        await asyncio.sleep(seconds(refused[-1].failure.retry_after))  # type: ignore[union-attr]
        stream = Attachment(channel)
        await stream.half_close()
        assert (await stream.status()).code is grpc.StatusCode.OK
