"""Security cases 25, 26 and 30: what the exchange sends in bad faith, and what is too long whichever way it goes."""

import gzip
from collections.abc import Callable

import grpc
import pytest

from fairlead.v1.http_pb2 import HttpResponse
from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    OUTCOME_WRITTEN,
    Command,
    Open,
    Send,
    SocketOptions,
    Target,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import REASON_LIMIT_REACHED, REASON_MESSAGE_TOO_LONG
from tests.e2e.attach import ATTACH, Attachment, Frame, connected, status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import Failed, ask, asking, fields_of, response
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import Exchange, Gateway
from tests.e2e.security.ways import once, opening_refused, request_refused, session_refused

MIB = 1 << 20
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"


def head(*fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode()


CHUNKED, FIVE, SIX = "Transfer-Encoding: chunked", "Content-Length: 5", "Content-Length: 6"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
DOUBTFUL = {
    "length and chunks": head(FIVE, CHUNKED) + CHUNKS + SMUGGLED,
    "chunks and length": head(CHUNKED, FIVE) + CHUNKS + SMUGGLED,
    "two lengths": head(FIVE, SIX) + b"hello!" + SMUGGLED,
    "two lengths in one": head("Content-Length: 5, 6") + b"hello!" + SMUGGLED,
    "length with a sign": head("Content-Length: +5") + b"hello" + SMUGGLED,
    "chunks twice": head(CHUNKED, CHUNKED) + CHUNKS + SMUGGLED,
    "chunks in disguise": head("Transfer-Encoding: xchunked") + CHUNKS + SMUGGLED,
    "chunks not last": head("Transfer-Encoding: chunked, identity") + CHUNKS + SMUGGLED,
    "space before the colon": head("Content-Length : 5") + b"hello" + SMUGGLED,
}


@pytest.mark.bad_input
async def test_case_25_a_doubtful_end_is_no_answer(channel: grpc.aio.Channel) -> None:
    """DATA_LOSS, by docs/errors.md. Its connection is closed, and nobody gets what lay behind."""

    async def converse(wire: Wire) -> None:
        request = await wire.request()
        answer = DOUBTFUL.get(request.target[1:].replace("%20", " "))
        if answer is None:
            await wire.answer(request.target.encode())
            return
        await wire.write(answer)
        assert await wire.until_gone() == b"", "its connection was used again"

    async with http_peer(converse) as server:
        for number, name in enumerate(DOUBTFUL):
            refusal = await request_refused(channel, f"{server.url}/{name.replace(' ', '%20')}")
            assert refusal.words == ("RESPONSE_INVALID", "REPLIED"), f"{name}: {refusal}"
            assert refusal.code == "DATA_LOSS"
            next_one = await response(channel, asking(f"{server.url}/good{number}"))
            assert next_one.body == b"/good%d" % number, name
        assert len(server.wires) == 2 * len(DOUBTFUL), "each request had a connection of its own"


@pytest.mark.bad_input
@pytest.mark.parametrize("framing", [FIVE, CHUNKED])
async def test_case_25_bytes_behind_a_body_answer_nobody(channel: grpc.aio.Channel, framing: str) -> None:
    """The answer before them is whole and delivered; its connection carries no other request."""

    async def converse(wire: Wire) -> None:
        await wire.request()
        await wire.write(head(framing) + (b"hello" if framing is FIVE else CHUNKS) + SMUGGLED)
        assert await wire.until_gone() == b""

    async with http_peer(converse) as server:
        for _ in range(20):
            assert (await response(channel, asking(server.url))).body == b"hello"
        assert len(server.wires) == 20


@pytest.mark.bad_input
async def test_case_25_a_doubtful_upgrade_is_refused(channel: grpc.aio.Channel) -> None:
    """A session's upgrade that is answered with such a head opens nothing, and its connection is closed."""

    async def converse(wire: Wire) -> None:
        request = await wire.request()
        await wire.write(DOUBTFUL[request.target[1:].replace("%20", " ")])
        await wire.until_gone()

    async with http_peer(converse) as server:
        for name in DOUBTFUL:
            refusal = await session_refused(channel, f"{server.url.replace('http', 'ws')}/{name.replace(' ', '%20')}")
            assert refusal.reason in ("UPGRADE_REFUSED", "UPGRADE_INVALID"), f"{name}: {refusal}"
            assert refusal.phase == "NOT_SENT"
        await server.all_gone()
        assert len(server.wires) == len(DOUBTFUL)


CAP = 3 * MIB
BOMB_BYTES = 1 << 30


async def test_case_26_a_deflate_bomb_closes_its_session(gateway: Gateway, exchange: Exchange) -> None:
    """1 GiB of zeros in 1 MiB, 1:1000: MESSAGE_TOO_LONG, close code 1009, and at most twice the cap of memory."""
    options = WebSocketOptions(permessage_deflate=True, max_message_bytes=CAP)
    async with connected(gateway.address) as channel:
        warm = Attachment(channel)
        await warm.open(9, Open(target=Target(url=f"{exchange.ws}/echo"), websocket=options))
        before = gateway.peak_bytes
        bomb = once(f"{exchange.ws}/bomb?size={BOMB_BYTES}", websocket=options)
        assert (await opening_refused(channel, bomb)).reason == "MESSAGE_TOO_LONG"
        grown = gateway.peak_bytes - before
    assert (await exchange.closed(2))["close_code_received"] == 1009
    print(f"grown by {grown >> 10} KiB")
    assert grown <= 2 * CAP


def bomb() -> bytes:
    """1 GiB of zeros as gzip, in members of 16 MiB."""
    return gzip.compress(bytes(16 * MIB)) * (BOMB_BYTES // (16 * MIB))


async def test_case_26_a_gzip_bomb_is_not_unpacked(gateway: Gateway) -> None:
    """No content coding is undone: it is delivered as it came, or RESPONSE_TOO_LONG if already that is too long."""
    packed = bomb()
    assert len(packed) * 900 < BOMB_BYTES

    async def converse(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.answer(packed, "200 OK", "Content-Encoding: gzip")

    async with http_peer(converse) as server, connected(gateway.address) as channel:
        await response(channel, asking(server.url))
        before = gateway.peak_bytes
        for _ in range(4):
            reply = await response(channel, asking(server.url))
            assert reply.body == packed
            assert ("Content-Encoding", "gzip") in fields_of(reply)
        grown = gateway.peak_bytes - before
        refusal = await request_refused(channel, server.url, max_response_bytes=len(packed) - 1)
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LONG")
    print(f"grown by {grown >> 10} KiB")
    assert grown <= 2 * CAP


# ---- Case 30. ----

MOST = 256 << 10
LOW = {
    "limits": {"message_bytes": "256KiB", "send_queue_bytes": "64KiB"},
    "http": {"response_header_bytes": "8KiB", "response_bytes": "128KiB"},
}


async def test_case_30_a_message_beyond_the_limit_is_refused(start_gateway: StartGateway, exchange: Exchange) -> None:
    """From the adapter: RESOURCE_EXHAUSTED of the call, or LIMIT_REACHED of the command. Nothing of it is sent."""
    gateway = start_gateway(LOW)
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(target=Target(url=f"{exchange.ws}/echo")))
        attach: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(ATTACH)
        assert (await status_of(attach(b"x" * (MOST + 1)))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/fairlead.v1.HttpService/Send")
        assert (await status_of(send(b"x" * (MOST + 1)))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stream.say(Command(channel=1, id=1, send=Send(payload=b"x" * (65 << 10))))
        result = await stream.result(1)
        assert (result.outcome, result.failure.reason) == (OUTCOME_NOT_SENT, REASON_LIMIT_REACHED)
        assert "limits.send_queue_bytes, 65536" in result.failure.message
        # A field that asks for more than the limits give: refused with the limit's name.
        refusal = await request_refused(channel, f"{exchange.http}/echo", max_response_bytes=MIB)
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_REACHED")
        await stream.say(Command(channel=1, id=2, send=Send(payload=b"still here")))
        assert (await stream.result(2)).outcome == OUTCOME_WRITTEN
        assert (await stream.frame(1)).payload == b"still here"
    assert not await exchange.http_requests(), "nothing of it was sent"
    assert (await exchange.connection(1))["frames_received"] == 1


async def test_case_30_an_answer_beyond_the_limit_is_refused(start_gateway: StartGateway, exchange: Exchange) -> None:
    """From the exchange, however it tells the length: RESPONSE_TOO_LONG, and MESSAGE_TOO_LONG of a session."""
    gateway = start_gateway(LOW)
    longest = 128 << 10
    async with connected(gateway.address) as channel:
        for path in ("/big?size={}", "/chunked?size={}", "/until_close?size={}"):
            fits = await ask(channel, asking(exchange.http + path.format(longest)))
            assert isinstance(fits, HttpResponse), fits
            assert len(fits.body) == longest
            too_long = await ask(channel, asking(exchange.http + path.format(longest + 1)))
            assert isinstance(too_long, Failed)
            assert (too_long.code, *too_long.words) == ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LONG", "REPLIED")
        refusal = await request_refused(channel, f"{exchange.http}/headers?count=20&size=1000")
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LONG")

        sessions: dict[str, Callable[[], Open]] = {
            "ws": lambda: once(f"{exchange.ws}/big?size=10001", websocket=WebSocketOptions(max_message_bytes=10_000)),
            "tcp": lambda: once(
                exchange.tcp,
                socket=SocketOptions(preamble=exchange.preamble("/big?size=10001"), max_frame_bytes=10_000),
            ),
        }
        for name, opening in sessions.items():
            stream = Attachment(channel)
            await stream.say(Command(channel=1, open=opening()))
            ended = await stream.ended(1)
            assert ended.cause.reason == REASON_MESSAGE_TOO_LONG, name
            assert "10000" in ended.cause.message
            assert not stream.heard(Frame), "not even a part is delivered"
            stream.cancel()
    assert (await exchange.closed(1))["close_code_received"] == 1009
