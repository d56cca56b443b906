"""Security cases 21 to 24 and 34: what would write itself into a protocol is refused by name, and nothing is sent."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from fairlead.v1.http_pb2 import QueryParameter
from fairlead.v1.session_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_SENT,
    Answer,
    Close,
    Command,
    Detach,
    Hold,
    Open,
    Ping,
    Reconnect,
    Send,
    SetTarget,
    SetupStep,
    Target,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import REASON_CHANNEL_UNKNOWN, REASON_INVALID_FIELD, REASON_UNKNOWN_FIELD
from tests.e2e.attach import ATTACH, Attachment, status_of
from tests.e2e.http_calls import SEND, asking, headers, response
from tests.e2e.http_peer import http_peer
from tests.e2e.processes import Exchange, eventually
from tests.e2e.security.ways import Refusal, once, opening_refused, request_refused, session_refused
from tests.e2e.wrong import UNKNOWN_FIELD

pytestmark = pytest.mark.bad_input

INVALID = ("INVALID_FIELD", "NOT_SENT")
CANARY = "X-Smuggled"
# What ends a line or a string somewhere.
BREAKS = ["\r\n", "\n", "\r", "\0", "\r\n ", "\x0b", "\x7f", "\x1b"]


class Unvisited:
    """A server that nobody may connect to."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0

    def url(self, scheme: str, path: str = "/") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def unvisited() -> AsyncIterator[Unvisited]:
    server = Unvisited()

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0, family=socket.AF_INET) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        # Whoever had connected would have been accepted before this one.
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await eventually(lambda: server.connections, "our own connection is accepted")
        writer.close()
    assert server.connections == 1, "the gateway has connected"


def expect_invalid(refusal: Refusal, what: object) -> None:
    assert refusal.words == INVALID, f"{what!r}: {refusal}"
    assert refusal.code in ("", "INVALID_ARGUMENT"), f"{what!r}: {refusal}"
    assert CANARY not in refusal.message, "a message quotes no value"


async def test_case_21_line_breaks_in_headers_are_refused(channel: grpc.aio.Channel) -> None:
    """In the name and in the value, of requests and of upgrades."""
    async with unvisited() as server:
        for end in BREAKS:
            for pair in ((f"X-A{end}{CANARY}: y", "a"), ("X-A", f"a{end}{CANARY}: y"), ("X-A", f"a{end}"), (end, "a")):
                refusal = await request_refused(channel, server.url("http"), headers=headers(pair))
                expect_invalid(refusal, pair)
                assert refusal.message.startswith("request.headers[0]."), refusal
                refusal = await session_refused(channel, server.url("ws"), headers=headers(pair))
                expect_invalid(refusal, pair)
                assert refusal.message.startswith("open.target.headers[0]."), refusal


async def test_case_22_line_breaks_in_the_request_line_are_refused(
    channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange
) -> None:
    """In path, query and host of either way, in the method, and in the new URL of a session that is open."""
    await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo")))
    async with unvisited() as server:
        for end in [*BREAKS, " ", "\t", "\\", "\u2028", " HTTP/1.1\r\n"]:
            for path in (f"/a{end}{CANARY}: y", f"/a?b={end}{CANARY}", f"{end}/a"):
                expect_invalid(await request_refused(channel, server.url("http", path)), path)
                expect_invalid(await session_refused(channel, server.url("ws", path)), path)
                await stream.say(
                    Command(channel=1, id=2, set_target=SetTarget(target=Target(url=server.url("ws", path))))
                )
                result = await stream.result(2)
                assert result.outcome == OUTCOME_NOT_SENT
                assert result.failure.reason == REASON_INVALID_FIELD
            for scheme in ("http", "ws", "tcp"):
                url = f"{scheme}://127.0.0.1{end}x:{server.port}"
                refused = request_refused if scheme == "http" else session_refused
                expect_invalid(await refused(channel, url), url)
            expect_invalid(await request_refused(channel, server.url("http"), f"GET{end}/{CANARY}"), end)


async def test_case_22_query_parameters_cannot_break_a_line(channel: grpc.aio.Channel) -> None:
    """They are percent-encoded: one request arrives, and it has one line and our headers only."""
    async with http_peer() as server:
        key, value = f"a\r\n{CANARY}: y", f" HTTP/1.1\r\n\r\nGET /{CANARY} HTTP/1.1\r\n\r\n"
        await response(channel, asking(f"{server.url}/x", query=[QueryParameter(key=key, value=value)]))
    (request,) = server.requests
    assert request.target.startswith("/x?a%0D%0AX-Smuggled%3A%20y=%20HTTP%2F1.1%0D%0A%0D%0AGET%20%2FX-Smuggled")
    assert {name for name, _ in request.headers} <= {"Host", "User-Agent"}


async def test_case_23_line_breaks_in_subprotocols_are_refused(channel: grpc.aio.Channel) -> None:
    """As are the separators of a list, and an empty one."""
    async with unvisited() as server:
        for end in [*BREAKS, " ", ",", ";", "\t", '"', "\u00e9"]:
            for offered in (["a", f"b{end}{CANARY}: y"], [f"b{end}"], [end], [""]):
                opening = once(server.url("ws"), websocket=WebSocketOptions(subprotocols=offered))
                refusal = await opening_refused(channel, opening)
                expect_invalid(refusal, offered)
                assert refusal.message.startswith("open.websocket.subprotocols"), refusal


# In the middle of a message they would say where it ends, or whose the connection is.
OURS = ["Content-Length", "Transfer-Encoding", "TE", "Host", "Upgrade", "Connection", "Trailer", "Expect", "Keep-Alive"]
OF_PROXIES = ["Proxy-Authorization", "Proxy-Connection", "Proxy-Authenticate"]
OF_UPGRADES = [f"Sec-WebSocket-{name}" for name in ("Key", "Version", "Extensions", "Protocol", "Accept")]


async def test_case_24_framing_headers_of_the_callers_are_refused(channel: grpc.aio.Channel) -> None:
    """However they are spelt; those of upgrades in upgrades."""
    async with unvisited() as server:
        for name in [*OURS, *OF_PROXIES]:
            for spelt in (name, name.upper(), name.lower()):
                refusal = await request_refused(channel, server.url("http"), "POST", headers=headers((spelt, "5")))
                expect_invalid(refusal, spelt)
                assert refusal.message == f"request.headers[0].name: {spelt} belongs to Fairlead"
        for name in [*OURS, *OF_PROXIES, *OF_UPGRADES]:
            for spelt in (name, name.upper(), name.lower()):
                refusal = await session_refused(channel, server.url("ws"), headers=headers((spelt, "5")))
                expect_invalid(refusal, spelt)
                assert refusal.message == f"open.target.headers[0].name: {spelt} belongs to Fairlead"
        # What is no token cannot be one of them in disguise.
        for disguised in ("Host ", " Host", "Content-Length:", "Transfer_Encoding ", "Host\t", "H\u00f6st"):
            pairs = headers((disguised, "5"))
            expect_invalid(await request_refused(channel, server.url("http"), headers=pairs), disguised)
            expect_invalid(await session_refused(channel, server.url("ws"), headers=pairs), disguised)


BEFORE_OPEN = {
    "send": Command(send=Send(payload=b"x")),
    "ping": Command(ping=Ping()),
    "set_target": Command(set_target=SetTarget(target=Target(url="ws://127.0.0.1/"))),
    "answer": Command(answer=Answer(number=1)),
    "reconnect": Command(reconnect=Reconnect()),
    "hold": Command(hold=Hold(on=True)),
    "detach": Command(detach=Detach()),
    "close": Command(close=Close()),
}
# A length without its bytes; a group that nobody ends; a varint without end; a string that is not UTF-8.
GARBAGE = [b"\x0a\xff", b"\x0b", b"\xff" * 11, b"\x0a\x06\x1a\x04\x0a\x02\xc3\x28"]


async def test_case_34_garbage_ends_its_stream_alone(
    channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange
) -> None:
    """INVALID_ARGUMENT of a stream; of a unary call, which gRPC parses, its own UNIMPLEMENTED: docs/errors.md."""
    await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo")))
    for garbage in GARBAGE:
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(ATTACH)
        status = await status_of(call(garbage))
        assert status.code is grpc.StatusCode.INVALID_ARGUMENT, garbage
        assert status.failure, garbage
        assert status.failure.reason == REASON_INVALID_FIELD
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SEND)
        assert (await status_of(unary(garbage))).code is grpc.StatusCode.UNIMPLEMENTED, garbage
    await still_there(stream)


async def still_there(stream: Attachment) -> None:
    await stream.say(Command(channel=1, id=77, send=Send(payload=b"still here")))
    assert (await stream.result(77)).failure.reason == 0
    assert (await stream.frame(1)).payload == b"still here"


async def test_case_34_unknown_choices_are_refused_by_number(stream: Attachment, exchange: Exchange) -> None:
    """Of a oneof's future members: in a Command, in a SetupStep, in a Start. The stream and its session go on."""
    await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo")))
    url = f"{exchange.ws}/echo"
    unknown = Command.FromString(UNKNOWN_FIELD)
    unknown.channel, unknown.id = 1, 2
    step = Command(channel=2, id=3, open=Open(target=Target(url=url), setup=[SetupStep.FromString(UNKNOWN_FIELD)]))
    start = Command(channel=2, id=4, open=Open(target=Target(url=url)))
    start.open.start.MergeFromString(UNKNOWN_FIELD)
    await stream.say(unknown, step, start)
    for number in (2, 3, 4):
        result = await stream.result(number)
        assert result.outcome == OUTCOME_NOT_SENT
        assert result.failure.reason == REASON_UNKNOWN_FIELD
        assert "field number 1000" in result.failure.message
    await still_there(stream)
    assert len(await exchange.connections()) == 1, "what was refused has dialled nothing"


async def test_case_34_a_command_before_open_is_refused(stream: Attachment, exchange: Exchange) -> None:
    """Each kind of command, and none at all. FAILED_PRECONDITION by docs/errors.md; the channel is free afterwards."""
    assert set(BEFORE_OPEN) == {field.name for field in Command.DESCRIPTOR.oneofs[0].fields} - {"open", "join"}
    for number, (name, command) in enumerate(BEFORE_OPEN.items(), start=1):
        command.channel, command.id = 9, number
        await stream.say(command)
        result = await stream.result(number)
        assert (result.outcome, result.failure.reason) == (OUTCOME_NOT_SENT, REASON_CHANNEL_UNKNOWN), name
    await stream.say(Command(channel=9, id=100))
    assert (await stream.result(100)).failure.reason == REASON_INVALID_FIELD
    await stream.say(Command(channel=9, id=101, open=Open(target=Target(url=f"{exchange.ws}/echo"))))
    assert (await stream.result(101)).outcome == OUTCOME_DONE
