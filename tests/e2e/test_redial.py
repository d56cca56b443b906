"""Whether, when and how often a session dials again: flapping, refusals, budgets."""

import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from urllib.parse import quote

import pytest

from fairlead.v1.session_pb2 import (
    SESSION_STATE_OPEN,
    SESSION_STATE_RECONNECTING,
    Command,
    Ended,
    Open,
    ReconnectPolicy,
    StateChanged,
    Target,
)
from fairlead.v1.types_pb2 import (
    PHASE_NOT_SENT,
    REASON_ATTEMPTS_EXHAUSTED,
    REASON_CERTIFICATE_REJECTED,
    REASON_CONNECTION_LOST,
    REASON_OUTAGE_EXHAUSTED,
    REASON_PEER_CLOSED,
    REASON_UPGRADE_INVALID,
    REASON_UPGRADE_REFUSED,
)
from tests.e2e.attach import Attachment, connected, seconds, span
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import SECURE, WEBSOCKET, Endpoint
from tests.e2e.processes import Exchange, Gateway


@pytest.fixture
async def stream(gateway: Gateway) -> AsyncIterator[Attachment]:
    async with connected(gateway.address) as channel:
        yield Attachment(channel)


async def begin(stream: Attachment, url: str, **policy: object) -> None:
    await begin_with(stream, Open(target=Target(url=url)), **policy)


async def begin_with(stream: Attachment, opening: Open, **policy: object) -> None:
    opening.reconnect.CopyFrom(ReconnectPolicy(**policy))  # type: ignore[arg-type]  # Checked at run time.
    await stream.say(Command(channel=1, open=opening))


async def losses(stream: Attachment, count: int) -> list[StateChanged]:
    return [await stream.state(1, SESSION_STATE_RECONNECTING) for _ in range(count)]


async def test_flapping_is_damped(stream: Attachment, endpoint: Endpoint) -> None:
    """It accepts and drops, again and again: OPEN each time, but never for stable_after."""
    await begin_with(
        stream,
        endpoint.opening("/idle?fault=drop"),
        initial_backoff=span(0.02),
        max_backoff=span(0.4),
        backoff_factor=2,
    )
    flaps = await losses(stream, 12)
    assert {flap.cause.reason for flap in flaps} == {REASON_CONNECTION_LOST}
    assert [flap.attempt for flap in flaps] == list(range(2, 14)), "each counts as a failed dial"
    assert [flap.generation for flap in flaps] == list(range(1, 13)), "though its handshake was complete"
    caps = [min(0.02 * 2**n, 0.4) for n in range(12)]
    pauses = [seconds(flap.retry_in) for flap in flaps]
    print("pauses:", pauses)
    assert all(pause <= cap for pause, cap in zip(pauses, caps, strict=True))
    # Drawn evenly below 0.4 s, all six would be below 0.02 s once in 60 million runs.
    assert max(pauses[-6:]) > caps[0]
    # The pauses were kept: the exchange saw them.
    accepted = [connection["accepted_at_unix_ns"] for connection in await endpoint.exchange.connections()]
    for pause, earlier, later in zip(pauses, accepted, accepted[1:], strict=False):
        assert (later - earlier) / 1e9 >= pause


async def test_a_stable_time_forgives(stream: Attachment, endpoint: Endpoint) -> None:
    await begin_with(
        stream,
        endpoint.opening("/idle?fault=drop&after_ms=200"),
        stable_after=span(0.02),
        initial_backoff=span(5),
        max_backoff=span(5),
    )
    for flap in await losses(stream, 4):
        assert flap.attempt == 1, "the count starts anew"
        assert seconds(flap.retry_in) == 0, "and the first retry comes at once"


async def test_a_stable_time_need_not_forgive_the_pause(stream: Attachment, endpoint: Endpoint) -> None:
    await begin_with(
        stream,
        endpoint.opening("/idle?fault=drop&after_ms=200"),
        stable_after=span(0.02),
        first_retry_at_once=False,
        initial_backoff=span(0.05),
        max_backoff=span(5),
    )
    flaps = await losses(stream, 4)
    assert [flap.attempt for flap in flaps] == [1, 1, 1, 1]
    assert 0 < max(seconds(flap.retry_in) for flap in flaps) <= 0.05, "the cap starts anew, too"


@pytest.mark.parametrize("code", [1001, 1012])
@pytest.mark.parametrize("endpoint", WEBSOCKET, indirect=True)
async def test_a_close_that_says_come_back(stream: Attachment, endpoint: Endpoint, code: int) -> None:
    """Going away, or a restart of the service: at once, but not again and again."""
    opening = endpoint.opening(f"/idle?fault=close&code={code}&after_ms=50")
    await begin_with(stream, opening, initial_backoff=span(5), max_backoff=span(5))
    first, second = await losses(stream, 2)
    assert (first.close_code, first.cause.reason) == (code, REASON_PEER_CLOSED)
    assert seconds(first.retry_in) == 0
    opening_again = await stream.hear(StateChanged, lambda item: item.generation == 2 and item.HasField("blind_from"))
    assert opening_again.HasField("blind_until")
    assert second.close_code == code
    assert seconds(second.retry_in) > 0


@pytest.mark.parametrize("endpoint", WEBSOCKET, indirect=True)
async def test_a_close_that_says_nothing(stream: Attachment, endpoint: Endpoint) -> None:
    opening = endpoint.opening("/idle?fault=close&code=1000&after_ms=50")
    await begin_with(stream, opening, initial_backoff=span(5), max_backoff=span(5))
    (loss,) = await losses(stream, 1)
    assert seconds(loss.retry_in) > 0


async def test_budget_of_attempts(stream: Attachment, exchange: Exchange) -> None:
    await begin(
        stream, f"{exchange.ws}/idle?status=500", max_attempts=3, initial_backoff=span(0.01), max_backoff=span(0.01)
    )
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_ATTEMPTS_EXHAUSTED
    assert ended.cause.phase == PHASE_NOT_SENT
    assert "UPGRADE_REFUSED" in ended.cause.message
    assert "500" in ended.cause.message
    assert [change.attempt for change in await losses(stream, 2)] == [2, 3]
    assert len(await exchange.connections()) == 3


async def test_budget_of_attempts_of_what_does_not_last(stream: Attachment, endpoint: Endpoint) -> None:
    """A transport that was not OPEN for stable_after counts as a failed dial."""
    opening = endpoint.opening("/idle?fault=drop")
    await begin_with(stream, opening, max_attempts=3, initial_backoff=span(0.01), max_backoff=span(0.01))
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_ATTEMPTS_EXHAUSTED
    assert "CONNECTION_LOST" in ended.cause.message
    assert len(await endpoint.exchange.connections()) == 3


async def test_budget_of_time(stream: Attachment, exchange: Exchange) -> None:
    await begin(
        stream,
        f"{exchange.ws}/idle?status=500",
        max_outage=span(0.5),
        initial_backoff=span(0.05),
        max_backoff=span(0.05),
    )
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_OUTAGE_EXHAUSTED
    assert "UPGRADE_REFUSED" in ended.cause.message
    assert len(await exchange.connections()) > 3
    # As the gateway decided, not as a busy machine carried it out.
    pauses = [seconds(change.retry_in) for change in stream.heard(StateChanged) if change.HasField("retry_in")]
    assert len(pauses) > 2
    assert sum(pauses) <= 0.5, "no dial comes after the budget"


async def test_no_second_dial_unless_wanted(stream: Attachment, endpoint: Endpoint) -> None:
    await begin_with(stream, endpoint.opening("/idle?fault=drop"), enabled=False)
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_CONNECTION_LOST
    assert ended.session_closed
    assert len(await endpoint.exchange.connections()) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_that_will_not_mend(stream: Attachment, exchange: Exchange, status: int) -> None:
    await begin(stream, f"{exchange.ws}/idle?status={status}")
    ended = await stream.ended(1)
    assert ended.cause.reason == REASON_UPGRADE_REFUSED
    assert str(status) in ended.cause.message
    assert ended.session_closed
    assert len(await exchange.connections()) == 1


@pytest.mark.parametrize("status", [418, 429, 503])
async def test_a_refusal_that_tells_when(stream: Attachment, exchange: Exchange, status: int) -> None:
    await begin(
        stream,
        f"{exchange.ws}/idle?status={status}&retry_after=1",
        initial_backoff=span(0.01),
        max_backoff=span(0.01),
    )
    refusals = await losses(stream, 2)
    for refusal in refusals:
        assert refusal.cause.reason == REASON_UPGRADE_REFUSED
        assert seconds(refusal.cause.retry_after) == 1
        assert seconds(refusal.retry_in) == 1
    first, second = await exchange.connections()
    assert (second["accepted_at_unix_ns"] - first["accepted_at_unix_ns"]) / 1e9 >= 1
    assert not stream.heard(Ended)


async def test_a_refusal_that_tells_a_date(stream: Attachment, exchange: Exchange) -> None:
    date = formatdate(time.time() + 3600, usegmt=True)
    await begin(stream, f"{exchange.ws}/idle?status=503&retry_after={quote(date)}")
    (refusal,) = await losses(stream, 1)
    assert 3000 < seconds(refusal.retry_in) <= 3600
    assert refusal.cause.retry_after == refusal.retry_in


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_refusal_that_may_mend(stream: Attachment, exchange: Exchange, status: int) -> None:
    await begin(stream, f"{exchange.ws}/idle?status={status}", initial_backoff=span(0.01), max_backoff=span(0.01))
    first, second = await losses(stream, 2)
    assert not first.cause.HasField("retry_after")
    assert (first.attempt, second.attempt) == (2, 3)


async def test_redirects_are_not_followed(stream: Attachment, exchange: Exchange) -> None:
    await begin(stream, f"{exchange.ws}/idle?status=302", initial_backoff=span(5), max_backoff=span(5))
    (refusal,) = await losses(stream, 1)
    assert refusal.cause.reason == REASON_UPGRADE_REFUSED
    assert "never followed" in refusal.cause.message


async def test_a_subprotocol_nobody_offered(stream: Attachment, exchange: Exchange) -> None:
    await begin(stream, f"{exchange.ws}/idle?subprotocol=v9")
    (refusal,) = await losses(stream, 1)
    assert refusal.cause.reason == REASON_UPGRADE_INVALID
    assert refusal.generation == 0


@pytest.mark.parametrize("endpoint", SECURE, indirect=True)
async def test_an_untrusted_certificate(start_gateway: StartGateway, endpoint: Endpoint) -> None:
    exchange = endpoint.exchange
    stranger = start_gateway({"tls": {"system_authorities": True}})
    async with connected(stranger.address) as channel:
        stream = Attachment(channel)
        await begin_with(stream, endpoint.opening("/echo?token=secret"))
        ended = await stream.ended(1)
        assert ended.cause.reason == REASON_CERTIFICATE_REJECTED
        assert ended.cause.phase == PHASE_NOT_SENT
        assert ended.session_closed
    (connection,) = [await exchange.closed(each["id"]) for each in await exchange.connections()]
    assert connection["tls"]
    assert connection["target"] == "", "not a byte of the upgrade or the preamble"
    assert connection["headers"] == []


@pytest.mark.parametrize("endpoint", SECURE, indirect=True)
async def test_a_trusted_certificate(stream: Attachment, endpoint: Endpoint) -> None:
    await begin_with(stream, endpoint.opening("/echo?token=secret"))
    assert (await stream.state(1, SESSION_STATE_OPEN)).generation == 1
    assert (await endpoint.exchange.connection(1))["target"] == "/echo?token=secret"
