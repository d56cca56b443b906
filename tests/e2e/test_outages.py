"""The exchange drops the connection again and again; the session recovers by itself, and all is accounted for."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import fairlead
from fairlead import Reason, SessionState
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, eventually

OUTAGES = 20
LOGIN = '{"op":"login","key":"k"}'
SUBSCRIBE = '{"op":"subscribe","channel":"book"}'
SETUP = [
    fairlead.Step("login", LOGIN, expect=['"login"', '"ok":true'], reject='"error"'),
    fairlead.Step("book", SUBSCRIBE, expect='"subscribed"', reject='"error"'),
]
REPLIES = ['{"event":"login","ok":true}', '{"event":"subscribed"}']


@dataclass
class Life:
    """What the adapter saw of one generation."""

    opening: fairlead.StateChanged
    before_open: list[fairlead.Frame] = field(default_factory=list)
    opened: bool = False
    numbers: list[fairlead.Frame] = field(default_factory=list)
    # The RECONNECTING or CLOSED that ended it, and what came after that until the next OPENING.
    end: fairlead.StateChanged | None = None
    between: list[fairlead.StateChanged] = field(default_factory=list)

    def first_and_last(self) -> tuple[int, int]:
        return number(self.numbers[0]), number(self.numbers[-1])


class Ledger:
    """Reads a session to its end and files what came by generation; what is out of place is an error at once."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.sequence = 0

    async def read(self, session: fairlead.Session) -> None:
        async for entry in session.events():
            if isinstance(entry, fairlead.Attached):
                continue
            assert not isinstance(entry, fairlead.Gap | fairlead.Asked | fairlead.Detached), entry
            assert entry.sequence == self.sequence + 1, "sequences have a hole"
            self.sequence = entry.sequence
            match entry:
                case fairlead.StateChanged():
                    self._state(entry)
                case fairlead.Frame():
                    self._frame(entry)

    def _state(self, change: fairlead.StateChanged) -> None:
        match change.state:
            case SessionState.OPENING:
                assert change.generation == len(self.lives) + 1
                self.lives.append(Life(change))
            case SessionState.OPEN:
                assert change.generation == len(self.lives)
                self.lives[-1].opened = True
            case SessionState.RECONNECTING | SessionState.CLOSED if self.lives and self.lives[-1].end is None:
                self.lives[-1].end = change
            case _ if self.lives:
                self.lives[-1].between.append(change)

    def _frame(self, frame: fairlead.Frame) -> None:
        life = self.lives[-1]
        assert frame.generation == len(self.lives), "a frame of another generation"
        assert life.end is None, "a frame without a transport"
        if life.opened:
            life.numbers.append(frame)
        else:
            life.before_open.append(frame)


def number(frame: fairlead.Frame) -> int:
    return int(frame.payload.split()[0])


def outages(ledger: Ledger) -> Iterator[tuple[Life, Life]]:
    return zip(ledger.lives, ledger.lives[1:], strict=False)


def check_account(ledger: Ledger) -> int:
    """Every number that is missing lies beside exactly one blind window, nothing came twice; returns how many miss."""
    missing = 0
    for life in ledger.lives:
        assert life.opened
        assert [frame.text for frame in life.before_open] == REPLIES, "setup first"
        numbers = [number(frame) for frame in life.numbers]
        assert numbers, "a generation without numbers would put two windows beside each other"
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "a number is missing without a blind window"
    first = ledger.lives[0]
    assert first.opening.blind_from is None
    assert first.opening.blind_until is None
    for before, after in outages(ledger):
        last, following = before.first_and_last()[1], after.first_and_last()[0]
        assert following > last, "a number came twice"
        missing += following - last - 1
        window = after.opening
        assert window.blind_from is not None
        assert window.blind_until is not None
        assert before.numbers[-1].received_at <= window.blind_from <= window.blind_until
        assert window.blind_until <= after.before_open[0].received_at
        assert before.numbers[-1].sequence < window.sequence < after.before_open[0].sequence
    return missing


def check_against_exchange(ledger: Ledger, records: list[dict[str, Any]], details: list[dict[str, Any]]) -> None:
    """What came of each generation is what the exchange sent on that connection, and its setup came first."""
    assert len(records) == len(ledger.lives)
    for life, record, detail in zip(ledger.lives, records, details, strict=True):
        first, last = life.first_and_last()
        assert first == record["first_number"]
        # What was under way when the exchange reset the connection, or when we closed it, is lost; else all came.
        if "reset" in record["closed_by"] or life is ledger.lives[-1]:
            assert last <= record["last_number"]
        else:
            assert last == record["last_number"]
        assert [frame["text"] for frame in detail["frames"]] == [LOGIN, SUBSCRIBE]
        assert record["protocol_error"] is None


async def strike(endpoint: Endpoint, choose: random.Random, kind: str) -> tuple[Reason, int, str]:
    """Ends the live connection in one way; returns cause, close code and close reason that must be told."""
    exchange = endpoint.exchange
    how: dict[str, Any] = {}
    if kind == "close" and not endpoint.is_raw:
        code = choose.choice([1000, 1001, 1012, 3000, 4999])
        reason = f"maintenance {choose.randrange(1000)} ü"
        await exchange.fault("close", code=code, reason=reason)
        return Reason.PEER_CLOSED, code, reason
    if kind == "reset_at_byte":
        # A little later, so it falls into the middle of a frame.
        how["byte"] = (await exchange.connection())["bytes_sent"] + choose.randrange(1_000, 20_000)
    if kind == "partial":
        how["then"] = choose.choice(["fin", "reset"])
    await exchange.fault(kind, **how)
    return Reason.CONNECTION_LOST, 0, ""


async def test_twenty_outages(client: fairlead.Gateway, endpoint: Endpoint, seed: int) -> None:
    exchange = endpoint.exchange
    choose = random.Random(seed)
    ways = ["drop", "reset", "close", "reset_at_byte", "half_close", "partial"]
    kinds = [ways[turn % len(ways)] for turn in range(OUTAGES)]
    choose.shuffle(kinds)
    session = endpoint.session(
        client,
        "/login?rate=5000&size=100&feed=outages",
        name="outages",
        start=fairlead.OLDEST,
        setup=SETUP,
        reconnect=fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0.2),
    )
    ledger = Ledger()
    expected = []
    async with session, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(ledger.read(session))
        for outage, kind in enumerate(kinds):
            # At a random moment of the feed. The adapter does nothing but read.
            wanted = choose.randrange(1, 1500)

            def flowing(generation: int = outage + 1, wanted: int = wanted) -> bool:
                assert not reading.done()
                return len(ledger.lives) == generation and len(ledger.lives[-1].numbers) >= wanted

            await eventually(flowing, f"{wanted} numbers after outage {outage}")
            expected.append(await strike(endpoint, choose, kind))
        await eventually(
            lambda: len(ledger.lives) == OUTAGES + 1 and ledger.lives[-1].numbers, "numbers after the last outage"
        )
        await (session.close() if endpoint.is_raw else session.close(4000, "enough"))

    told = [(life.end.cause.reason, life.end.close_code, life.end.close_reason) for life in ended(ledger)]
    assert told[:-1] == expected
    assert all(life.end is not None and life.end.retry_in is not None for life in ledger.lives[:-1])
    # Each new transport came at the first attempt: CONNECTING, and nothing else, between RECONNECTING and OPENING.
    for life in ledger.lives[:-1]:
        assert [change.state for change in life.between] == [SessionState.CONNECTING]

    assert check_account(ledger) > 0, "no number was missed: the outages were none"
    endpoint.check_goodbye(await exchange.closed(), 4000, "enough")
    records = await exchange.connections()
    check_against_exchange(ledger, records, [await exchange.connection(record["id"]) for record in records])


def ended(ledger: Ledger) -> Iterator[Any]:
    for life in ledger.lives:
        assert life.end is not None
        assert life.end.cause is not None
        yield life


async def test_outage_with_failing_dials(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    """However many dials fail, it is one outage: attempts count up, and there is one blind window."""
    exchange = endpoint.exchange
    session = endpoint.session(
        client,
        "/login?rate=2000&feed=dials",
        start=fairlead.OLDEST,
        setup=SETUP,
        reconnect=fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.05, stable_after=0),
    )
    ledger = Ledger()
    async with session, asyncio.TaskGroup() as tasks:
        tasks.create_task(ledger.read(session))
        await eventually(lambda: ledger.lives and ledger.lives[0].numbers, "numbers")
        # Over plain TCP a connection is there once it is accepted: no handshake fails, so nobody may listen.
        await exchange.accept("refuse" if endpoint.scheme == "tcp" else "reset")
        await exchange.fault("drop")
        await eventually(lambda: len(ledger.lives[0].between) >= 7, "some dials fail")
        await exchange.accept("normal")
        await eventually(lambda: len(ledger.lives) == 2 and ledger.lives[1].numbers, "numbers again")
        await session.close()

    assert check_account(ledger) > 0
    between = ledger.lives[0].between
    assert [change.state for change in between[:4]] == [
        SessionState.CONNECTING,
        SessionState.RECONNECTING,
        SessionState.CONNECTING,
        SessionState.RECONNECTING,
    ]
    assert {change.generation for change in between} == {1}
    dials = [change.attempt for change in between if change.state is SessionState.CONNECTING]
    assert dials == list(range(1, len(dials) + 1))
    for change in between:
        if change.state is SessionState.RECONNECTING:
            assert change.cause is not None
            assert change.cause.reason in {Reason.TLS_FAILED, Reason.CONNECTION_LOST, Reason.CONNECT_FAILED}
            assert change.cause.phase is fairlead.Phase.NOT_SENT


async def test_setup_rejected_ends_the_session(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    exchange = endpoint.exchange
    session = endpoint.session(client, "/login?reject=1", setup=SETUP)
    with pytest.raises(fairlead.SessionEnded) as ended:
        await session.open()
    assert ended.value.reason is Reason.SETUP_REJECTED
    assert ended.value.phase is fairlead.Phase.REPLIED
    record = await exchange.closed()
    assert [frame["text"] for frame in (await exchange.connection())["frames"]] == [LOGIN]
    endpoint.check_goodbye(record, 1000)
    assert len(await exchange.connections()) == 1


async def test_setup_without_answer_is_tried_again(client: fairlead.Gateway, endpoint: Endpoint) -> None:
    step = fairlead.Step("login", LOGIN, expect='"ok":true', timeout=0.1)
    policy = fairlead.Reconnect(initial_backoff=0.01, max_backoff=0.01, max_attempts=3)
    session = endpoint.session(client, "/login?mute=1", setup=[step], reconnect=policy)
    with pytest.raises(fairlead.SessionEnded) as ended:
        async with asyncio.timeout(PATIENCE_S):
            await session.open()
    assert ended.value.reason is Reason.ATTEMPTS_EXHAUSTED
    assert "SETUP_TIMEOUT" in ended.value.message
    assert len(await endpoint.exchange.connections()) == 3
