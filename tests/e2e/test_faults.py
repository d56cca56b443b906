"""An exchange that misbehaves on the way up, or later: each fault is detected, and told by its own reason."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest

from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    OUTCOME_UNKNOWN,
    OUTCOME_WRITTEN,
    SESSION_STATE_OPEN,
    SESSION_STATE_OPENING,
    SESSION_STATE_RECONNECTING,
    Command,
    Ended,
    GetSessionRequest,
    Heartbeat,
    Open,
    ReconnectPolicy,
    Send,
    SetupStep,
    StateChanged,
    Target,
)
from fairlead.v1.types_pb2 import (
    PHASE_NOT_SENT,
    PHASE_PARTLY_SENT,
    PHASE_REPLIED,
    PHASE_SENT_NO_REPLY,
    PHASE_UNSPECIFIED,
    REASON_CONNECT_FAILED,
    REASON_CONNECTION_LOST,
    REASON_DIAL_TIMEOUT,
    REASON_IDLE_TIMEOUT,
    REASON_PEER_CLOSED,
    REASON_PONG_TIMEOUT,
    REASON_PROTOCOL_ERROR,
    REASON_SETUP_REJECTED,
    REASON_SETUP_TIMEOUT,
    REASON_WRITE_TIMEOUT,
    Match,
)
from tests.e2e.attach import Attachment, Frame, connected, sessions_of, span
from tests.e2e.endpoints import SECURE, WEBSOCKET, Endpoint
from tests.e2e.processes import Exchange, Gateway, eventually

# Nothing beats unless the test wants it to.
QUIET = Heartbeat(interval=span(0))
# A loss is told at once, and what comes after it is not waited for.
PROMPT = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))


@pytest.fixture
async def stream(gateway: Gateway) -> AsyncIterator[Attachment]:
    async with connected(gateway.address) as channel:
        yield Attachment(channel)


websocket_only = pytest.mark.parametrize("endpoint", WEBSOCKET, indirect=True)


async def loss(stream: Attachment) -> StateChanged:
    return await stream.state(1, SESSION_STATE_RECONNECTING)


# ---- Silence. ----


@pytest.mark.parametrize("fault", ["silent", "stall"])
async def test_a_silent_exchange(stream: Attachment, endpoint: Endpoint, fault: str) -> None:
    heartbeat = Heartbeat(interval=span(0), idle_timeout=span(0.3))
    path = f"/numbered?rate=1000&fault={fault}&after=5&feed="
    await stream.say(Command(channel=1, open=endpoint.opening(path, heartbeat=heartbeat, reconnect=PROMPT)))
    assert [frame.payload for frame in await stream.frames(1, 5)] == [b"1", b"2", b"3", b"4", b"5"]
    lost = await loss(stream)
    assert lost.cause.reason == REASON_IDLE_TIMEOUT
    assert lost.cause.phase == PHASE_UNSPECIFIED
    assert (lost.generation, lost.close_code) == (1, 0)
    again = await stream.hear(StateChanged, lambda change: change.generation == 2)
    assert again.state == SESSION_STATE_OPENING
    # An exchange that no longer speaks is not asked to say goodbye.
    assert (await endpoint.exchange.closed(1))["close_code_received"] is None


async def test_answers_to_heartbeats_are_no_data(stream: Attachment, endpoint: Endpoint) -> None:
    heartbeat = endpoint.beating(
        "ping {n}", interval=span(0.02), keepalive=Match(contains=[b"pong"]), idle_timeout=span(0.6)
    )
    opening = endpoint.opening("/idle?reply_to=ping&reply=pong", heartbeat=heartbeat, reconnect=PROMPT)
    await stream.open(1, opening)
    lost = await loss(stream)
    assert lost.cause.reason == REASON_IDLE_TIMEOUT
    # They are delivered like any frame.
    answers = [await stream.frame(1) for _ in range(4)]
    assert {(answer.payload, answer.kind) for answer in answers} == {(b"pong", endpoint.kind)}
    beats = (await endpoint.exchange.connection(1))["frames"]
    assert [beat["text"] for beat in beats[:3]] == ["ping 1", "ping 2", "ping 3"]


async def test_data_only_keeps_from_idling(stream: Attachment, exchange: Exchange) -> None:
    """Pings, pongs and keepalive frames are no data: the exchange sends all three until it is given up."""
    heartbeat = Heartbeat(interval=span(0.02), idle_timeout=span(0.6), keepalive=Match(contains=[b'"op"', b"pong"]))
    await stream.open(1, Open(target=Target(url=f"{exchange.ws}/idle"), heartbeat=heartbeat, reconnect=PROMPT))

    async def chatter() -> None:
        while True:
            await exchange.send(1, ping="are you there")
            await exchange.send(1, text='{"op":"pong"}')

    chatting = asyncio.create_task(chatter())
    lost = await loss(stream)
    chatting.cancel()
    await asyncio.gather(chatting, return_exceptions=True)
    assert lost.cause.reason == REASON_IDLE_TIMEOUT
    record = await exchange.connection(1)
    assert record["pings_received"] > 3, "the gateway's pings, which the exchange answered"
    assert record["pongs_received"] > 3, "the gateway's answers to the exchange's pings"
    # They are delivered like any frame.
    assert (await stream.frame(1)).payload == b'{"op":"pong"}'


async def test_data_keeps_from_idling(stream: Attachment, endpoint: Endpoint) -> None:
    """Two seconds of data, with an idle timeout of one: the session is given up only after the last."""
    heartbeat = Heartbeat(interval=span(0), idle_timeout=span(1))
    await stream.open(1, endpoint.opening("/numbered?rate=20&count=40&feed=", heartbeat=heartbeat, reconnect=PROMPT))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_IDLE_TIMEOUT
    assert (await stream.frames(1, 40))[-1].sequence == lost.sequence - 1


async def test_an_exchange_that_answers_no_pings(stream: Attachment, exchange: Exchange) -> None:
    heartbeat = Heartbeat(interval=span(0.05), ping="beat {n}", pong_timeout=span(0.3))
    url = f"{exchange.ws}/numbered?rate=100&fault=no_pong"
    await stream.say(Command(channel=1, open=Open(target=Target(url=url), heartbeat=heartbeat, reconnect=PROMPT)))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_PONG_TIMEOUT  # Though data came all the time.
    record = await exchange.connection(1)
    assert [ping["text"] for ping in record["pings"][:2]] == ["beat 1", "beat 2"]
    assert record["frames_sent"] > 0


async def test_an_exchange_that_answers_no_frame(stream: Attachment, endpoint: Endpoint) -> None:
    """It does at first; then it only sends data, and answers ping frames."""
    heartbeat = endpoint.beating(
        "ping", interval=span(0.05), keepalive=Match(contains=[b"pong"]), pong_timeout=span(0.3)
    )
    path = "/numbered?rate=100&reply_to=ping&reply=pong"
    await stream.open(1, endpoint.opening(path, heartbeat=heartbeat, reconnect=PROMPT))
    await stream.hear(Frame, lambda frame: frame.payload == b"pong")
    await endpoint.exchange.fault("no_pong")
    assert (await loss(stream)).cause.reason == REASON_PONG_TIMEOUT


async def test_an_answered_heartbeat(gateway: Gateway, endpoint: Endpoint) -> None:
    heartbeat = endpoint.beating(
        "beat {n}", interval=span(0.02), keepalive=Match(contains=[b"beat"]), pong_timeout=span(5)
    )
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, endpoint.opening("/echo", session="s", heartbeat=heartbeat))
        assert [frame.payload for frame in await stream.frames(1, 3)] == [b"beat 1", b"beat 2", b"beat 3"]
        described = (await sessions_of(channel).GetSession(GetSessionRequest(session="s"))).session
    assert described.HasField("heartbeat_round_trip")


@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_tokens_in_a_heartbeat(stream: Attachment, exchange: Exchange, kind: str) -> None:
    text = '{"n":{n},"s":{unix_s},"ms":{unix_ms},"other":"{other}"}'
    heartbeat = Heartbeat(interval=span(0.02))
    if kind == "text":
        heartbeat.text = text
    else:
        heartbeat.binary = text.encode()
    await stream.open(1, Open(target=Target(url=f"{exchange.ws}/idle"), heartbeat=heartbeat))

    async def three() -> list[dict[str, str]] | None:
        frames: list[dict[str, str]] = (await exchange.connection(1))["frames"]
        return frames[:3] if len(frames) >= 3 else None

    for number, frame in enumerate(await eventually(three, "three heartbeats"), start=1):
        assert frame["kind"] == kind
        beat = json.loads(frame["text"] if kind == "text" else base64.b64decode(frame["base64"]))
        assert beat["n"] == number
        assert beat["s"] == beat["ms"] // 1000
        assert beat["other"] == "{other}"
        # The same clock, read here and there.
        assert abs(beat["ms"] - int(frame["at_unix_ns"]) / 1e6) < 60_000


# ---- Writing. ----


async def test_an_exchange_that_never_reads(stream: Attachment, endpoint: Endpoint) -> None:
    heartbeat = Heartbeat(interval=span(0), write_timeout=span(0.5))
    await stream.open(1, endpoint.opening("/idle?fault=never_read", heartbeat=heartbeat, reconnect=PROMPT))
    payload = b"x" * (1 << 20)
    for number in range(1, 13):
        await stream.say(Command(channel=1, id=number, send=Send(payload=payload)))
    assert (await loss(stream)).cause.reason == REASON_WRITE_TIMEOUT
    results = [await stream.result(number) for number in range(1, 13)]
    # In the kernel; then the one that was under way; then those that never began.
    outcomes = [result.outcome for result in results]
    stuck = outcomes.index(OUTCOME_UNKNOWN)
    assert stuck > 0
    assert outcomes == [OUTCOME_WRITTEN] * stuck + [OUTCOME_UNKNOWN] + [OUTCOME_NOT_SENT] * (11 - stuck)
    assert results[stuck].failure.phase == PHASE_PARTLY_SENT
    assert {result.failure.phase for result in results[stuck + 1 :]} == {PHASE_NOT_SENT}
    assert {result.failure.reason for result in results[stuck:]} == {REASON_WRITE_TIMEOUT}


# ---- The way up. ----


@websocket_only
async def test_an_exchange_that_never_upgrades(stream: Attachment, endpoint: Endpoint) -> None:
    opening = endpoint.opening("/idle?fault=never_upgrade", dial_timeout=span(0.3), reconnect=PROMPT)
    await stream.say(Command(channel=1, open=opening))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_DIAL_TIMEOUT
    assert lost.cause.phase == PHASE_NOT_SENT
    assert "waiting for the answer to the upgrade" in lost.cause.message
    assert (lost.generation, lost.attempt) == (0, 2)


@pytest.mark.parametrize("endpoint", SECURE, indirect=True)
async def test_an_exchange_that_never_shakes_hands(stream: Attachment, endpoint: Endpoint) -> None:
    await endpoint.exchange.accept("silent")
    opening = endpoint.opening("/idle", dial_timeout=span(0.3), reconnect=PROMPT)
    await stream.say(Command(channel=1, open=opening))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_DIAL_TIMEOUT
    assert "in the TLS handshake" in lost.cause.message


async def test_nobody_listens(stream: Attachment, endpoint: Endpoint) -> None:
    await endpoint.exchange.accept("refuse")
    await stream.say(Command(channel=1, open=endpoint.opening("/idle", reconnect=PROMPT)))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_CONNECT_FAILED
    await endpoint.exchange.accept("normal")
    assert (await stream.state(1, SESSION_STATE_OPEN)).generation == 1


LOGIN = SetupStep(
    key="login",
    payload=b'{"op":"login"}',
    expect=Match(contains=[b'"login"', b'"ok":true']),
    reject=Match(contains=[b'"error"']),
)


async def test_a_rejected_setup(stream: Attachment, endpoint: Endpoint) -> None:
    await stream.say(Command(channel=1, open=endpoint.opening("/login?reject=1", setup=[LOGIN])))
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_SETUP_REJECTED
    assert ended.cause.phase == PHASE_REPLIED
    assert '"login"' in ended.cause.message
    assert ended.session_closed
    assert (await stream.frame(1)).payload == b'{"event":"error","code":"denied"}'
    endpoint.check_goodbye(await endpoint.exchange.closed(1), 1000)
    assert len(await endpoint.exchange.connections()) == 1, "a rejected login is not tried again"


async def test_a_setup_without_answer(stream: Attachment, endpoint: Endpoint) -> None:
    step = SetupStep()
    step.CopyFrom(LOGIN)
    step.timeout.CopyFrom(span(0.3))
    await stream.say(Command(channel=1, open=endpoint.opening("/login?mute=1", setup=[step], reconnect=PROMPT)))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_SETUP_TIMEOUT
    assert lost.cause.phase == PHASE_SENT_NO_REPLY
    assert lost.generation == 1
    # Setup begins anew on the next transport.
    await stream.hear(StateChanged, lambda change: change.generation == 2)
    frames = (await endpoint.exchange.connection(1))["frames"]
    assert [frame["text"] for frame in frames] == ['{"op":"login"}']


# ---- Ends. ----


@pytest.mark.parametrize(
    ("corruption", "code"),
    [("opcode", 1002), ("masked", 1002), ("rsv", 1002), ("utf8", 1007), ("continuation", 1002), ("long_ping", 1002)],
)
async def test_a_corrupt_frame(stream: Attachment, exchange: Exchange, corruption: str, code: int) -> None:
    url = f"{exchange.ws}/numbered?rate=1000&fault=corrupt&corruption={corruption}&after=3&feed="
    await stream.say(Command(channel=1, open=Open(target=Target(url=url), heartbeat=QUIET, reconnect=PROMPT)))
    lost = await loss(stream)
    assert lost.cause.reason == REASON_PROTOCOL_ERROR
    frames = [frame.payload for frame in await stream.frames(1, 3)]
    assert frames == [b"1", b"2", b"3"], "what came before is delivered"
    record = await exchange.closed(1)
    assert record["close_code_received"] == code


async def test_a_close_frame(stream: Attachment, exchange: Exchange) -> None:
    url = f"{exchange.ws}/numbered?rate=1000&count=2&feed="
    await stream.open(1, Open(target=Target(url=url), heartbeat=QUIET, reconnect=PROMPT))
    await stream.frames(1, 2)
    await exchange.fault("close", code=4321, reason="maintenance")
    lost = await loss(stream)
    assert lost.cause.reason == REASON_PEER_CLOSED
    assert (lost.close_code, lost.close_reason) == (4321, "maintenance")
    assert (await exchange.closed(1))["close_code_received"] == 4321


@pytest.mark.parametrize("kind", ["drop", "reset", "half_close"])
async def test_an_end_without_a_close_frame(stream: Attachment, endpoint: Endpoint, kind: str) -> None:
    await stream.open(1, endpoint.opening("/idle", heartbeat=QUIET, reconnect=PROMPT))
    await endpoint.exchange.fault(kind)
    lost = await loss(stream)
    assert lost.cause.reason == REASON_CONNECTION_LOST
    assert (lost.close_code, lost.close_reason) == (0, "")
    assert not stream.heard(Ended)
    assert (await stream.state(1, SESSION_STATE_OPEN)).generation == 2
