"""Refusals, failures and the tree of exceptions."""

import asyncio
import pickle
import random
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

import fairlead
from fairlead import Failure, Phase, Reason
from fairlead.errors import decode_status_details, error_of_refusal
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, attached, ended, frames, result, state, status_details

REFUSALS = [
    (types_pb2.REASON_INVALID_FIELD, fairlead.InvalidRequest),
    (types_pb2.REASON_UNKNOWN_FIELD, fairlead.InvalidRequest),
    (types_pb2.REASON_CHANNEL_IN_USE, fairlead.InvalidRequest),
    (types_pb2.REASON_NOT_IMPLEMENTED, fairlead.NotImplementedByGateway),
    (types_pb2.REASON_EGRESS_DENIED, fairlead.PermissionDenied),
    (types_pb2.REASON_NOT_OWNER, fairlead.PermissionDenied),
    (types_pb2.REASON_SESSION_NOT_FOUND, fairlead.SessionNotFound),
    (types_pb2.REASON_SESSION_LIVE, fairlead.SessionLive),
    (types_pb2.REASON_LIMIT_REACHED, fairlead.LimitReached),
    (types_pb2.REASON_DRAINING, fairlead.GatewayUnavailable),
]


@pytest.mark.parametrize(("reason", "error"), REFUSALS)
async def test_a_refused_open_raises_its_class(
    stream: Stream,
    gateway: fairlead.Gateway,
    reason: types_pb2.Reason.ValueType,
    error: type[fairlead.FairleadError],
) -> None:
    opening = asyncio.create_task(gateway.websocket("ws://exchange/ws", name="md").open())
    failure: dict[str, Any] = {
        "reason": reason,
        "phase": types_pb2.PHASE_NOT_SENT,
        "message": "Open.x: no",
        "retry_after": Duration(seconds=1),
    }
    stream.say(result(await stream.expect("open"), "NOT_SENT", **failure))
    with pytest.raises(error) as raised:
        await opening
    assert type(raised.value) is error
    assert (raised.value.reason, raised.value.phase) == (Reason(reason), Phase.NOT_SENT)
    assert (raised.value.message, raised.value.retry_after) == ("Open.x: no", 1.0)


async def test_a_fatal_end_before_open_is_raised(stream: Stream, gateway: fairlead.Gateway) -> None:
    opening = asyncio.create_task(gateway.websocket("ws://exchange/ws").open())
    await stream.expect("open")
    stream.say(attached(1), state(1, "CONNECTING", 1), state(1, "CLOSED", 2), ended(1, types_pb2.REASON_SETUP_REJECTED))
    with pytest.raises(fairlead.SessionEnded) as raised:
        await opening
    assert raised.value.reason is Reason.SETUP_REJECTED


async def test_a_whole_life_in_one_message_can_be_read(stream: Stream, gateway: fairlead.Gateway) -> None:
    """It was OPEN: its frames come, and why it ended behind them."""
    session = gateway.websocket("ws://exchange/ws")
    opening = asyncio.create_task(session.open())
    await stream.expect("open")
    stream.say(
        attached(1),
        state(1, "CONNECTING", 1),
        state(1, "OPENING", 2),
        state(1, "OPEN", 3),
        frames(1, 4, [b"one", b"two"]),
        state(1, "CLOSED", 6),
        ended(1, types_pb2.REASON_PEER_CLOSED),
    )
    await opening
    heard: list[bytes] = []

    async def read() -> None:
        async for frame in session:
            heard.append(frame.payload)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(fairlead.SessionEnded) as raised:
        await read()
    assert heard == [b"one", b"two"]
    assert raised.value.reason is Reason.PEER_CLOSED


async def test_open_timeout_says_what_the_last_dial_met_and_detaches(stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.websocket("ws://exchange/ws", name="md", open_timeout=0.2)
    opening = asyncio.create_task(session.open())
    await stream.expect("open")
    cause = types_pb2.Failure(
        reason=types_pb2.REASON_CONNECT_FAILED, phase=types_pb2.PHASE_NOT_SENT, message="connection refused"
    )
    stream.say(attached(1), state(1, "CONNECTING", 1), state(1, "RECONNECTING", 2, cause=cause))
    await stream.expect("detach")
    stream.say(ended(1, types_pb2.REASON_DETACHED))
    with pytest.raises(fairlead.OpenTimeout, match=r"RECONNECTING.*connection refused") as raised:
        await opening
    assert isinstance(raised.value, TimeoutError)
    assert (raised.value.reason, raised.value.phase) == (Reason.CONNECT_FAILED, Phase.NOT_SENT)


async def test_cancelling_open_detaches(stream: Stream, gateway: fairlead.Gateway) -> None:
    opening = asyncio.create_task(gateway.websocket("ws://exchange/ws", name="md").open())
    command = await stream.expect("open")
    opening.cancel()
    await stream.expect("detach")
    stream.say(attached(command.channel), ended(command.channel, types_pb2.REASON_DETACHED))
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_no_gateway_is_a_clear_error(socket: str) -> None:
    path = socket.removeprefix("unix://")
    with pytest.raises(fairlead.GatewayUnavailable) as raised:
        async with fairlead.connect(socket, connect_timeout=0.1):
            pytest.fail("there is no gateway")
    assert f"no gateway at {socket}" in raised.value.message
    assert f"there is no {path}" in raised.value.message
    assert raised.value.phase is Phase.NOT_SENT
    with pytest.raises(fairlead.GatewayUnavailable, match=r"no gateway at 127\.0\.0\.1:1: .*is fairlead running"):
        async with fairlead.connect("127.0.0.1:1", connect_timeout=0.1):
            pytest.fail("there is no gateway")


async def test_a_gateway_that_comes_within_the_connect_timeout_is_waited_for(socket: str) -> None:
    connecting = asyncio.create_task(fairlead.connect(socket, connect_timeout=PATIENCE_S).__aenter__())
    await asyncio.sleep(0)
    async with FakeGateway(socket) as fake:
        gateway = await connecting
        await fake.stream()
        await gateway.aclose()
        await gateway.aclose()


@pytest.mark.parametrize("address", ["", "http://gateway:7000", "wss://x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        fairlead.connect(address)


async def test_something_that_is_no_gateway_is_told_at_once(socket: str) -> None:
    server = grpc.aio.server()
    server.add_insecure_port(socket)
    await server.start()
    with pytest.raises(fairlead.NotImplementedByGateway):
        async with fairlead.connect(socket, connect_timeout=PATIENCE_S):
            pytest.fail("this is no gateway")
    await server.stop(None)


async def test_a_session_of_a_gateway_that_is_not_connected(socket: str) -> None:
    gateway = fairlead.connect(socket)
    with pytest.raises(fairlead.GatewayUnavailable, match="async with"):
        await gateway.join("md").open()
    with pytest.raises(fairlead.GatewayUnavailable):
        await gateway.sessions()


async def test_rpc_errors_carry_their_failure(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    failure = types_pb2.Failure(reason=types_pb2.REASON_SESSION_NOT_FOUND, message="no session md")
    fake.refusal = (grpc.StatusCode.NOT_FOUND, failure)
    with pytest.raises(fairlead.SessionNotFound, match="no session md"):
        await gateway.session("md")
    with pytest.raises(fairlead.SessionNotFound):
        await gateway.close_session("md")
    # A bare status proves nothing: whether the session was closed is not known.
    fake.refusal = (grpc.StatusCode.UNAVAILABLE, None)
    with pytest.raises(fairlead.OutcomeUnknown, match="UNAVAILABLE: refused"):
        await gateway.close_session("md")
    with pytest.raises(fairlead.GatewayUnavailable):
        await gateway.sessions()
    fake.refusal = (grpc.StatusCode.UNAUTHENTICATED, None)
    with pytest.raises(fairlead.PermissionDenied):
        await gateway.sessions()


def test_status_details_survive_anything() -> None:
    failure = types_pb2.Failure(reason=types_pb2.REASON_LIMIT_REACHED, message="x" * 300, quota_key="k")
    encoded = status_details(failure)
    assert decode_status_details(encoded) == Failure(Reason.LIMIT_REACHED, message="x" * 300, quota_key="k")
    assert decode_status_details(b"") is None
    assert decode_status_details(b"\x08\x03") is None
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    choice = random.Random(seed)
    refused = 0
    for _ in range(2000):
        broken = bytearray(encoded)
        for _ in range(choice.randrange(1, 4)):
            broken[choice.randrange(40)] = choice.randrange(256)
        try:
            decode_status_details(bytes(broken[: choice.randrange(1, len(broken) + 1)]))
        except ValueError:
            refused += 1
    assert refused


def test_every_reason_has_a_name_and_unknown_ones_too() -> None:
    for name, number in types_pb2.Reason.items():
        assert Reason(number).name == name.removeprefix("REASON_")
    unknown = Reason(9999)
    assert (unknown.name, int(unknown)) == ("UNKNOWN_9999", 9999)
    assert type(error_of_refusal(Failure(unknown))) is fairlead.FairleadError


def test_exceptions_can_be_pickled() -> None:
    error = fairlead.OutcomeUnknown(Failure(Reason.CONNECTION_LOST, Phase.SENT_NO_REPLY, "lost", 1.5), 7)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (copy.failure, copy.command_id, str(copy)) == (error.failure, 7, "lost [CONNECTION_LOST, SENT_NO_REPLY]")
