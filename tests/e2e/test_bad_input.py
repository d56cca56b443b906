"""Each wrong request gets its documented answer, and hurts nobody else. docs/errors.md has the same table."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from fairlead.v1 import types_pb2
from fairlead.v1.session_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_SENT,
    OUTCOME_WRITTEN,
    SESSION_STATE_OPEN,
    AttachRequest,
    Close,
    Command,
    ListSessionsRequest,
    Open,
    Send,
    Target,
)
from tests.e2e.attach import Attachment, Frame, StreamOver, sessions_of, status_of
from tests.e2e.bad_calls import CALLS
from tests.e2e.bad_opens import OF_OPEN
from tests.e2e.bad_requests import COMMANDS
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import ROOT, Exchange, Gateway, eventually
from tests.e2e.wrong import LIMITS, Place, Wrong, WrongCall

pytestmark = pytest.mark.bad_input

GOOD = 1  # The channel of the good session.
SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse {status: SERVING}
FUZZED_MESSAGES = 3000
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARN|ERROR) [a-z_.]+( [a-z_]+=\S.*)?$")


def port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def configuration(exchange: Exchange) -> dict[str, Any]:
    """Low limits, and only this exchange may be reached: its address, not its name."""
    ports = [port(exchange.ws), port(exchange.wss), port(exchange.tcp), port(exchange.http)]
    rules = [
        {
            "name": "address",
            "schemes": ["ws", "tcp", "http"],
            "hosts": ["127.0.0.1"],
            "ports": ports,
            "cidrs": ["127.0.0.0/8"],
        },
        {"name": "name", "schemes": ["ws", "http"], "hosts": ["localhost"]},
    ]
    return {"limits": LIMITS, "egress": {"rules": rules}}


@asynccontextmanager
async def good_session(gateway: Gateway, exchange: Exchange) -> AsyncIterator[Place]:
    """A stream with a session that works; afterwards it still does, and nothing is left of what else was opened."""
    pid = gateway.pid
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(GOOD, Open(session="good", target=Target(url=f"{exchange.ws}/echo")))
        yield Place(channel, stream, exchange.ws, exchange.http)
        await stream.say(Command(channel=GOOD, id=1000, send=Send(payload=b"still here")))
        assert (await stream.result(1000)).outcome == OUTCOME_WRITTEN
        await stream.hear(Frame, lambda frame: frame.channel == GOOD and frame.payload == b"still here")
        await stream.say(Command(channel=GOOD, close=Close()))
        assert (await stream.ended(GOOD)).cause.reason == types_pb2.REASON_CLOSED
        await healthy(gateway, channel, pid)
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        sessions = sessions_of(channel)

        async def none_left() -> bool:
            return not (await sessions.ListSessions(ListSessionsRequest())).sessions

        await eventually(none_left, "no session is left")


async def healthy(gateway: Gateway, channel: grpc.aio.Channel, pid: int) -> None:
    assert gateway.running
    assert gateway.pid == pid
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == SERVING


def filled_in(command: Command, url: str, exchange: Exchange) -> Command:
    """With the exchange's address in place of the table's placeholders."""
    whole = Command.FromString(command.SerializeToString())
    if whole.HasField("open"):
        if not whole.open.HasField("target") and url:
            whole.open.target.url = url
        target = whole.open.target if whole.open.HasField("target") else Target()
        places = {"ws": exchange.ws, "tcp": exchange.tcp, "exchange": exchange.ws.removeprefix("ws://")}
        for place, address in places.items():
            target.url = target.url.replace(f"{{{place}}}", address)
    return whole


async def send_wrong(wrong: Wrong, place: Place, exchange: Exchange) -> None:
    stream = place.stream
    for number, before in enumerate(wrong.before, start=1):
        command = filled_in(before, "{ws}/idle", exchange)
        waits = command.send.HasField("max_wait")
        command.id = 0 if waits else number
        await stream.say(command)
        if not waits:
            assert (await stream.result(number)).outcome in (OUTCOME_DONE, OUTCOME_WRITTEN)
        if command.HasField("open") and "never_upgrade" not in command.open.target.url:
            await stream.state(command.channel, SESSION_STATE_OPEN)
    command = filled_in(wrong.command, wrong.url, exchange)
    command.channel = wrong.command.channel or (2 if wrong in OF_OPEN or wrong.answer.startswith("Ended") else GOOD)
    command.id = 99
    await stream.say(command)
    result = await stream.result(99)
    failure = result.failure
    if wrong.answer.startswith("Ended"):
        assert result.outcome == OUTCOME_DONE
        ended = await stream.ended(command.channel)
        assert ended.session_closed
        failure = ended.cause
        answer = "Ended"
    else:
        assert result.outcome == OUTCOME_NOT_SENT
        answer = "CommandResult"
    assert f"{answer} {reason_of(failure)}" == wrong.answer
    assert failure.phase == types_pb2.PHASE_NOT_SENT
    assert wrong.says in failure.message
    # What it opened beside the good session goes before that is asked once more.
    for channel in sorted({each.channel for each in wrong.before} - {GOOD}):
        await stream.say(Command(channel=channel, close=Close()))
        await stream.ended(channel)


async def make_wrong_call(wrong: WrongCall, place: Place) -> None:
    status = await wrong.make(place)
    failure = status.failure
    assert status.code.name + (f" {reason_of(failure)}" if failure else "") == wrong.answer
    if failure:
        assert failure.phase == types_pb2.PHASE_NOT_SENT
        assert wrong.says in failure.message


def reason_of(failure: types_pb2.Failure) -> str:
    return types_pb2.Reason.Name(failure.reason).removeprefix("REASON_")


@pytest.mark.parametrize("wrong", COMMANDS, ids=lambda wrong: wrong.name)
async def test_command(start_gateway: StartGateway, exchange: Exchange, wrong: Wrong) -> None:
    gateway = start_gateway(configuration(exchange))
    async with good_session(gateway, exchange) as place:
        await send_wrong(wrong, place, exchange)


@pytest.mark.parametrize("wrong", CALLS, ids=lambda wrong: wrong.name)
async def test_call(start_gateway: StartGateway, exchange: Exchange, wrong: WrongCall) -> None:
    gateway = start_gateway(configuration(exchange))
    async with good_session(gateway, exchange) as place:
        await make_wrong_call(wrong, place)


async def test_one_gateway_answers_them_all(start_gateway: StartGateway, exchange: Exchange, seed: int) -> None:
    gateway = start_gateway(configuration(exchange))
    table: list[Wrong | WrongCall] = [*COMMANDS, *CALLS]
    random.Random(seed).shuffle(table)
    for wrong in table:
        print(wrong.name)
        async with good_session(gateway, exchange) as place:
            if isinstance(wrong, Wrong):
                await send_wrong(wrong, place, exchange)
            else:
                await make_wrong_call(wrong, place)


def test_each_takes_its_own_path() -> None:
    # Every check has a message of its own, so as many messages are as many paths.
    rows = [(wrong.sent, wrong.answer, wrong.says or wrong.name) for wrong in (*COMMANDS, *CALLS)]
    assert len(set(rows)) == len(rows) >= 30
    assert len({wrong.name for wrong in (*COMMANDS, *CALLS)}) == len(rows)


def test_the_page_has_the_same_table() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    rows = re.search(r"^\| wrong \|.*\n\|[-|]+\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    assert rows, "docs/errors.md has no table of wrong requests"
    documented = {}
    for row in rows[1].splitlines():
        name, sent, answer = (cell.strip().replace("`", "") for cell in row.strip("|").split("|"))
        assert name not in documented, f"{name} is there twice"
        documented[name] = (sent, answer)
    tested = {wrong.name: (wrong.sent, wrong.answer) for wrong in (*COMMANDS, *CALLS)}
    assert documented == tested


def test_the_page_has_every_reason() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    documented = re.findall(r"^\| `([A-Z_]+)` \| `[A-Z_]+`", page, re.MULTILINE)
    reasons = [name.removeprefix("REASON_") for name, number in types_pb2.Reason.items() if number]
    assert documented == reasons


async def test_random_bytes(start_gateway: StartGateway, exchange: Exchange, seed: int) -> None:
    """Mutations of a good message, and noise: a stream may end, the gateway may not."""
    gateway = start_gateway(configuration(exchange))
    draw = random.Random(seed)
    commands = [filled_in(wrong.command, wrong.url, exchange) for wrong in COMMANDS]
    good = [filled_in(Command(channel=n, id=n, open=Open()), "{ws}/echo", exchange) for n in range(3)]
    ended = unread = 0
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = Attachment(channel)
        for _ in range(FUZZED_MESSAGES):
            message = bytearray(AttachRequest(commands=draw.sample(commands + good, 3)).SerializeToString())
            for _ in range(draw.choice([0, 1, 2, 8])):
                message[draw.randrange(len(message))] = draw.randrange(256)
            if draw.random() < 0.1:
                message = bytearray(draw.randbytes(draw.randrange(200)))
            try:
                await stream.say_bytes(bytes(message))
                unread += 1
                if unread % 20 == 0:  # The gateway has answered everything so far.
                    await stream.say(Command(channel=4_000_000_000, id=2**60 + unread))
                    await stream.result(2**60 + unread)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, StreamOver):
                # grpc.aio makes INTERNAL of a write into a stream that has just ended.
                status = await stream.status()
                assert status.failure or status.details == "Internal error from Core", status
                assert not status.failure or status.code is grpc.StatusCode.INVALID_ARGUMENT, status
                ended += 1
                unread = 0
                stream = Attachment(channel)
        stream.cancel()
    print(f"{ended} streams ended")
    assert 0 < ended < FUZZED_MESSAGES / 2, "the fuzz should now and then get past the parser, and now and then not"
    async with good_session(gateway, exchange):
        pass
    for line in gateway.log.splitlines():
        assert LOG_LINE.match(line), "whatever came, the log has lines of one shape"


async def test_pages_are_forgiving(start_gateway: StartGateway, exchange: Exchange) -> None:
    """Sizes are capped and a token is only a place in an order: neither can be wrong."""
    gateway = start_gateway(configuration(exchange))
    async with good_session(gateway, exchange) as place:
        sessions = sessions_of(place.channel)
        for request, names in (
            (ListSessionsRequest(page_size=2**32 - 1), ["good"]),
            (ListSessionsRequest(page_token="g"), ["good"]),
            (ListSessionsRequest(page_token="good"), []),
            (ListSessionsRequest(page_token="\x00 no name"), ["good"]),
        ):
            call = sessions.ListSessions(request)
            assert [session.name for session in (await call).sessions] == names
            assert (await status_of(call)).code is grpc.StatusCode.OK
