"""HTTP requests: what travels to the gateway, what comes back, and every way to fail."""

import asyncio
import json
import math
import pickle
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from email.utils import formatdate
from enum import Enum
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import Phase, Reason
from fairlead._dial import Connection
from fairlead.v1 import http_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, HttpCall, Stream

URL = "https://exchange/orders"


class Side(str, Enum):  # noqa: UP042 - its str() is "Side.BUY", which must not travel
    """As many adapters have it."""

    BUY = "buy"


async def ask(
    fake: FakeGateway, request: Coroutine[Any, Any, fairlead.HttpReply], status: int = 200, **reply: Any
) -> tuple[pb.HttpRequest, fairlead.HttpReply]:
    """Let the gateway answer a request; return what it got and what came back."""
    asking = asyncio.create_task(request)
    call = await fake.http_call()
    call.reply(status, **reply)
    return call.request, await asking


async def fail(
    fake: FakeGateway,
    gateway: fairlead.Gateway,
    code: grpc.StatusCode,
    failure: types_pb2.Failure | None,
) -> fairlead.FairleadError:
    """Let the gateway refuse a request; return what it raised."""
    asking = asyncio.create_task(gateway.http.post(URL))
    (await fake.http_call()).refuse(code, failure)
    with pytest.raises(fairlead.FairleadError) as raised:
        await asking
    return raised.value


# What travels to the gateway.


async def test_a_plain_get_carries_nothing_but_itself(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    request, reply = await ask(fake, gateway.http.get(URL), body=b"now")
    assert request == pb.HttpRequest(method="GET", url=URL, timeout=Duration(seconds=10))
    assert (reply.status, reply.body, reply.ok) == (200, b"now", True)


async def test_every_send_says_that_nothing_is_retried(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    """Else the gateway would see to it, at a cost."""
    for send in (gateway.http.get, gateway.http.post):
        asking = asyncio.create_task(send(URL))
        call = await fake.http_call()
        assert call.retries == ["off"]
        call.reply()
        await asking


async def test_no_option_has_grpc_retry_a_send(fake: FakeGateway) -> None:
    retry = {"maxAttempts": 2, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
    config = {"methodConfig": [{"name": [{}], "retryPolicy": {**retry, "retryableStatusCodes": ["UNAVAILABLE"]}}]}
    options: list[tuple[str, int | str]] = [("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(config))]
    async with fairlead.connect(fake.address, options=options) as gateway:
        asking = asyncio.create_task(gateway.http.post(URL))
        (await fake.http_call()).refuse(grpc.StatusCode.UNAVAILABLE, None)
        again = asyncio.create_task(fake.http_call())
        await asyncio.wait([asking, again], return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        with pytest.raises(fairlead.OutcomeUnknown):
            await asking
        assert again.cancelled() or not again.done()


async def test_each_method_has_its_name(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    http = gateway.http
    for send in (http.get, http.head, http.options, http.post, http.put, http.patch, http.delete):
        request, _ = await ask(fake, send(URL, max_response_bytes=5))
        assert (request.method, request.max_response_bytes) == (send.__name__.upper(), 5)
    request, _ = await ask(fake, http.request("purge", URL))
    assert request.method == "PURGE"


async def test_headers_keep_order_and_repetition(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    pairs = [("X-B", "2"), ("x-a", ""), ("X-B", "3")]
    for headers in (pairs, iter(pairs)):
        request, _ = await ask(fake, gateway.http.get(URL, headers=headers))
        assert [(header.name, header.value) for header in request.headers] == pairs
    request, _ = await ask(fake, gateway.http.get(URL, headers={"X-B": "2", "x-a": "1"}))
    assert [(header.name, header.value) for header in request.headers] == [("X-B", "2"), ("x-a", "1")]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"symbol": "BTC/USDT", "empty": ""}, [("symbol", "BTC/USDT"), ("empty", "")]),
        ([("b", "2"), ("a", "1"), ("b", "3")], [("b", "2"), ("a", "1"), ("b", "3")]),
        ({"id": [1, "two"], "x": (True, False)}, [("id", "1"), ("id", "two"), ("x", "true"), ("x", "false")]),
        (
            {"price": 0.00001, "size": 1e22, "one": 5.0},
            [("price", "0.00001"), ("size", "1" + "0" * 22), ("one", "5.0")],
        ),
        ({"price": Decimal("1E-7"), "size": Decimal("50.00")}, [("price", "0.0000001"), ("size", "50.00")]),
        ({"side": Side.BUY, "time": 1_700_000_000_000}, [("side", "buy"), ("time", "1700000000000")]),
        ({"text": "a b&c=d%20ü"}, [("text", "a b&c=d%20ü")]),  # The gateway encodes, not the client.
        ((pair for pair in [("k", "v")]), [("k", "v")]),
    ],
)
async def test_params_travel_as_they_are(
    fake: FakeGateway, gateway: fairlead.Gateway, params: Any, expected: list[tuple[str, str]]
) -> None:
    request, _ = await ask(fake, gateway.http.get(URL, params=params))
    assert [(each.key, each.value) for each in request.query] == expected
    assert request.url == URL


async def test_a_body_is_sent_as_it_is(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    request, _ = await ask(fake, gateway.http.post(URL, body=b"\0\xff"))
    assert (request.body, list(request.headers)) == (b"\0\xff", [])
    request, _ = await ask(fake, gateway.http.post(URL, body="grün"))
    assert request.body == "grün".encode()


async def test_json_is_compact_and_says_what_it_is(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    request, _ = await ask(fake, gateway.http.post(URL, json={"a": [1, "ü"]}, headers={"X": "1"}))
    assert request.body.decode() == '{"a":[1,"ü"]}'
    assert [(each.name, each.value) for each in request.headers] == [("X", "1"), ("Content-Type", "application/json")]
    own = {"content-TYPE": "application/vnd.x+json"}
    request, _ = await ask(fake, gateway.http.post(URL, json=[], headers=own))
    assert (request.body, len(request.headers), request.headers[0].value) == (b"[]", 1, "application/vnd.x+json")


async def test_what_the_reply_is_limited_to(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    request, _ = await ask(fake, gateway.http.get(URL, response_headers=("Date", "ETag"), max_response_bytes=1000))
    assert (list(request.response_header_names), request.max_response_bytes) == (["Date", "ETag"], 1000)


@pytest.mark.parametrize(
    ("spans", "sent", "deadline"),
    [
        ({}, (Duration(seconds=10), None), 12.0),
        ({"timeout": 1.5, "max_wait": 20}, (Duration(seconds=1, nanos=500_000_000), Duration(seconds=20)), 22.5),
        ({"timeout": 30, "max_wait": 0}, (Duration(seconds=30), Duration()), 31.0),
    ],
)
async def test_the_rpc_ends_a_second_after_the_request_must_have(
    fake: FakeGateway,
    gateway: fairlead.Gateway,
    monkeypatch: pytest.MonkeyPatch,
    spans: dict[str, float],
    sent: tuple[Duration, Duration | None],
    deadline: float,
) -> None:
    deadlines: list[float] = []
    send = Connection.send

    def note(connection: Connection, request: pb.SendRequest, timeout: float) -> Coroutine[Any, Any, pb.SendResponse]:
        deadlines.append(timeout)
        return send(connection, request, timeout)

    monkeypatch.setattr(Connection, "send", note)
    asking = asyncio.create_task(gateway.http.get(URL, **spans))  # type: ignore[arg-type]
    call = await fake.http_call()
    call.reply()
    await asking
    assert call.request.timeout == sent[0]
    assert (call.request.max_wait if call.request.HasField("max_wait") else None) == sent[1]
    assert deadlines == [deadline]
    assert 0 < call.time_left <= deadline + 0.1  # gRPC rounds up.


@pytest.mark.parametrize(
    ("wrong", "error", "what"),
    [
        ({"json": {}, "body": b""}, ValueError, "json, body"),
        ({"json": math.nan}, ValueError, "JSON"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"max_wait": math.inf}, ValueError, "max_wait"),
        ({"params": {"p": math.nan}}, ValueError, "'p' is not finite"),
        ({"params": {"p": None}}, TypeError, "'p' is NoneType"),
        ({"params": {"p": [["x"]]}}, TypeError, "'p' is list"),
        ({"params": {1: "x"}}, TypeError, "keys are str"),
        ({"params": "a=1"}, TypeError, "into the url"),
        ({"headers": {"X-Time": 1}}, TypeError, "'X-Time' is given as int"),
        ({"body": 0}, TypeError, "body: give bytes or str, not int"),
        ({"response_headers": "Date"}, TypeError, "response_headers"),
    ],
)
async def test_what_cannot_be_sent_is_refused_where_it_is_made(
    gateway: fairlead.Gateway, wrong: dict[str, Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        await gateway.http.post(URL, **wrong)


async def test_a_body_that_the_gateway_would_not_take_is_not_sent(socket: str, fake: FakeGateway) -> None:
    async with fairlead.connect(socket, max_send_bytes=10) as gateway:
        with pytest.raises(fairlead.SendFailed, match="max_send_bytes=10") as raised:
            await gateway.http.post(URL, body="x" * 11)
        assert not raised.value.may_have_been_sent
        request, _ = await ask(fake, gateway.http.post(URL, body="x" * 10))
        assert len(request.body) == 10


# What comes back.


async def test_a_reply_has_its_headers_in_order(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    pairs = [("Set-Cookie", "a=1"), ("Date", "today"), ("set-cookie", "b=2")]
    _, reply = await ask(fake, gateway.http.get(URL), headers=pairs)
    headers = reply.headers
    assert headers is reply.headers
    assert list(headers) == pairs
    assert (headers["SET-COOKIE"], headers.get_all("Set-Cookie"), len(headers)) == ("a=1", ["a=1", "b=2"], 3)
    assert ("date" in headers, "dat" in headers, headers.get("dat"), headers.get("dat", "-")) == (
        True,
        False,
        None,
        "-",
    )
    assert headers.get_all("dat") == []
    with pytest.raises(KeyError, match="dat"):
        headers["dat"]
    assert "today" not in repr(headers)


async def test_bodies_as_text_and_json(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    _, reply = await ask(fake, gateway.http.get(URL), body=b'{"price": 0.10, "name": "\xc3\xbc"}')
    assert reply.json() == {"price": 0.1, "name": "ü"}
    assert str(reply.json(parse_float=Decimal)["price"]) == "0.10"
    assert reply.text == '{"price": 0.10, "name": "ü"}'
    _, reply = await ask(
        fake, gateway.http.get(URL), body=b"\xfc", headers=[("Content-Type", 'text/plain; charset="ISO-8859-1"')]
    )
    assert reply.text == "ü"
    with pytest.raises(ValueError, match="decode"):
        reply.json()
    _, reply = await ask(fake, gateway.http.get(URL), body=b"\xfc", headers=[("Content-Type", "text/x; charset=zz")])
    assert reply.text == "\ufffd"


async def test_timing_and_connection(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    timing = pb.HttpTiming(pool_wait=Duration(), first_byte=Duration(nanos=1_500_000), total=Duration(seconds=2))
    _, reply = await ask(fake, gateway.http.get(URL), timing=timing, reused_connection=True)
    assert reply.timing == fairlead.HttpTiming(pool_wait=0.0, first_byte=0.0015, total=2.0)
    assert (reply.timing.connect, reply.reused_connection) == (None, True)


@pytest.mark.parametrize("status", [200, 304, 399])
async def test_raise_for_status_returns_a_good_reply(fake: FakeGateway, gateway: fairlead.Gateway, status: int) -> None:
    _, reply = await ask(fake, gateway.http.get(URL), status)
    assert reply.raise_for_status() is reply


@pytest.mark.parametrize("status", [400, 429, 503, 999])
async def test_raise_for_status_raises(fake: FakeGateway, gateway: fairlead.Gateway, status: int) -> None:
    _, reply = await ask(
        fake, gateway.http.delete(URL + "?signature=secret"), status, body=b"why", headers=[("retry-after", "7")]
    )
    assert not reply.ok
    with pytest.raises(fairlead.HttpStatusError, match=f"DELETE {URL}: the exchange answered {status}") as raised:
        reply.raise_for_status()
    error = raised.value
    assert (error.status, error.reply, error.retry_after, error.phase) == (status, reply, 7.0, Phase.REPLIED)
    assert error.may_have_been_sent
    assert "secret" not in str(error)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (copy.status, copy.reply.body, copy.failure) == (status, b"why", error.failure)
    assert copy.reply.headers == reply.headers


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [(formatdate(4e9, usegmt=True), 1e8, 4e9), (formatdate(0, usegmt=True), 0, 0)],
)
async def test_retry_after_may_be_a_date(
    fake: FakeGateway, gateway: fairlead.Gateway, header: str, low: float, high: float
) -> None:
    _, reply = await ask(fake, gateway.http.get(URL), 503, headers=[("Retry-After", header)])
    with pytest.raises(fairlead.HttpStatusError) as raised:
        reply.raise_for_status()
    assert raised.value.retry_after is not None
    assert low <= raised.value.retry_after <= high


@pytest.mark.parametrize("headers", [[], [("Retry-After", "soon")], [("Retry-After", "-1")], [("Retry-After", "²")]])
async def test_no_retry_after_is_none(
    fake: FakeGateway, gateway: fairlead.Gateway, headers: Sequence[tuple[str, str]]
) -> None:
    _, reply = await ask(fake, gateway.http.get(URL), 503, headers=headers)
    with pytest.raises(fairlead.HttpStatusError) as raised:
        reply.raise_for_status()
    assert raised.value.retry_after is None


# Every way to fail.

NOT_SENT = types_pb2.PHASE_NOT_SENT
PARTLY = types_pb2.PHASE_PARTLY_SENT
SENT = types_pb2.PHASE_SENT_NO_REPLY
REPLIED = types_pb2.PHASE_REPLIED

FAILURES = [
    (types_pb2.REASON_INVALID_FIELD, NOT_SENT, fairlead.InvalidRequest),
    (types_pb2.REASON_UNKNOWN_FIELD, NOT_SENT, fairlead.InvalidRequest),
    (types_pb2.REASON_NOT_IMPLEMENTED, NOT_SENT, fairlead.NotImplementedByGateway),
    (types_pb2.REASON_EGRESS_DENIED, NOT_SENT, fairlead.PermissionDenied),
    (types_pb2.REASON_LIMIT_REACHED, NOT_SENT, fairlead.LimitReached),
    (types_pb2.REASON_DRAINING, NOT_SENT, fairlead.GatewayUnavailable),
    (types_pb2.REASON_WAIT_EXPIRED, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_RESOLVE_FAILED, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_CONNECT_FAILED, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_TLS_FAILED, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_CERTIFICATE_REJECTED, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_REQUEST_TIMEOUT, NOT_SENT, fairlead.SendFailed),
    (9999, NOT_SENT, fairlead.SendFailed),
    (types_pb2.REASON_REQUEST_TIMEOUT, PARTLY, fairlead.OutcomeUnknown),
    (types_pb2.REASON_REQUEST_TIMEOUT, SENT, fairlead.OutcomeUnknown),
    (types_pb2.REASON_REQUEST_TIMEOUT, REPLIED, fairlead.OutcomeUnknown),
    (types_pb2.REASON_CONNECTION_LOST, SENT, fairlead.OutcomeUnknown),
    (types_pb2.REASON_CONNECTION_LOST, REPLIED, fairlead.OutcomeUnknown),
    (types_pb2.REASON_DRAINING, SENT, fairlead.OutcomeUnknown),
    (types_pb2.REASON_UNSPECIFIED, types_pb2.PHASE_UNSPECIFIED, fairlead.OutcomeUnknown),
    (types_pb2.REASON_RESPONSE_INVALID, REPLIED, fairlead.ResponseUnusable),
    (types_pb2.REASON_RESPONSE_TOO_LONG, REPLIED, fairlead.ResponseUnusable),
]


@pytest.mark.parametrize(("reason", "phase", "error"), FAILURES)
async def test_a_failure_has_its_class_and_tells_what_may_have_been_sent(
    fake: FakeGateway,
    gateway: fairlead.Gateway,
    reason: types_pb2.Reason.ValueType,
    phase: types_pb2.Phase.ValueType,
    error: type[fairlead.FairleadError],
) -> None:
    failure = types_pb2.Failure(reason=reason, phase=phase, message="because", retry_after=Duration(seconds=3))
    raised = await fail(fake, gateway, grpc.StatusCode.UNKNOWN, failure)
    assert type(raised) is error
    assert (raised.reason, raised.phase) == (Reason(reason), Phase(phase))
    assert (raised.message, raised.retry_after) == ("because", 3.0)
    assert raised.may_have_been_sent is (phase != NOT_SENT)
    assert isinstance(raised, fairlead.OutcomeUnknown) is raised.may_have_been_sent


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_bare_status_proves_nothing(
    fake: FakeGateway, gateway: fairlead.Gateway, code: grpc.StatusCode
) -> None:
    raised = await fail(fake, gateway, code, None)
    assert type(raised) is fairlead.OutcomeUnknown
    assert (raised.reason, raised.phase, raised.may_have_been_sent) == (Reason.UNSPECIFIED, Phase.UNSPECIFIED, True)
    assert f"{fake.address}: {code.name}: refused" in raised.message


async def test_a_gateway_that_dies_leaves_the_outcome_unknown(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    asking = asyncio.create_task(gateway.http.post(URL))
    await fake.http_call()
    await fake.kill()
    with pytest.raises(fairlead.OutcomeUnknown, match=r"UNAVAILABLE|CANCELLED"):
        await asking


async def test_no_answer_in_time_leaves_the_outcome_unknown(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    asking = asyncio.create_task(gateway.http.post(URL, timeout=0.01, max_wait=0))
    call = await fake.http_call()
    with pytest.raises(fairlead.OutcomeUnknown, match="DEADLINE_EXCEEDED"):
        await asking
    await asyncio.wait_for(call.cancelled.wait(), PATIENCE_S)


async def test_without_a_connection_nothing_was_sent(socket: str) -> None:
    gateway = fairlead.connect(socket)
    with pytest.raises(fairlead.GatewayUnavailable, match=socket) as raised:
        await gateway.http.get(URL)
    assert not raised.value.may_have_been_sent


@pytest.mark.parametrize(
    "stop",
    [
        lambda asking: asking.cancel(),
        lambda asking: asyncio.wait_for(asking, 0.01),
    ],
)
async def test_cancelling_the_await_cancels_the_rpc(
    fake: FakeGateway, gateway: fairlead.Gateway, stop: Callable[[asyncio.Task[Any]], Any]
) -> None:
    asking = asyncio.create_task(gateway.http.post(URL))
    call: HttpCall = await fake.http_call()
    waiting = stop(asking)
    if asyncio.iscoroutine(waiting):
        with pytest.raises(TimeoutError):
            await waiting
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(call.cancelled.wait(), PATIENCE_S)


async def test_a_cancelled_task_that_tidies_up_learns_the_outcome(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    began = asyncio.Event()

    async def trade() -> fairlead.FairleadError:
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert (await gateway.http.delete(URL)).status == 204
            with pytest.raises(fairlead.FairleadError) as raised:
                await gateway.http.delete(URL)
            with pytest.raises(fairlead.FairleadError):
                await gateway.close_session("md")
            return raised.value
        pytest.fail("it was not cancelled")

    trading = asyncio.create_task(trade())
    await began.wait()
    fake.refusal = (grpc.StatusCode.UNAVAILABLE, None)
    trading.cancel()
    (await fake.http_call()).reply(204)
    (await fake.http_call()).refuse(grpc.StatusCode.UNKNOWN, None)
    assert type(await trading) is fairlead.OutcomeUnknown


async def test_closing_the_gateway_is_no_cancellation_of_its_callers(
    fake: FakeGateway, gateway: fairlead.Gateway
) -> None:
    asking = asyncio.create_task(gateway.http.post(URL))
    await fake.http_call()
    await gateway.aclose()
    with pytest.raises(fairlead.OutcomeUnknown, match="closed meanwhile"):
        await asking


async def test_a_request_survives_the_loss_of_the_stream(
    fake: FakeGateway, gateway: fairlead.Gateway, stream: Stream
) -> None:
    asking = asyncio.create_task(gateway.http.post(URL))
    call = await fake.http_call()
    stream.end()
    await fake.stream()
    assert not asking.done()
    request, _ = await ask(fake, gateway.http.get(URL))
    assert request.method == "GET"
    call.reply(201)
    assert (await asking).status == 201


async def test_closing_the_gateway_ends_requests_of_a_lost_stream_too(
    fake: FakeGateway, gateway: fairlead.Gateway, stream: Stream
) -> None:
    asking = asyncio.create_task(gateway.http.post(URL))
    await fake.http_call()
    stream.end()
    await fake.stream()
    await gateway.aclose()
    with pytest.raises(fairlead.OutcomeUnknown):
        await asking
