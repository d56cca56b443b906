"""An exchange that speaks nonsense, byte by byte: each is told as what it is, and the gateway stays up."""

import asyncio
import base64
import hashlib
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fairlead.v1.session_pb2 import Command, Ended, Open, ReconnectPolicy, Target, WebSocketOptions
from fairlead.v1.types_pb2 import (
    PHASE_NOT_SENT,
    REASON_CONNECTION_LOST,
    REASON_MESSAGE_TOO_LONG,
    REASON_PEER_CLOSED,
    REASON_PROTOCOL_ERROR,
    REASON_UPGRADE_INVALID,
    REASON_UPGRADE_REFUSED,
    Reason,
)
from tests.e2e.attach import Attachment, Frame, connected
from tests.e2e.processes import Gateway, eventually

pytestmark = pytest.mark.bad_input

SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
FUZZED_CONNECTIONS = 300


def accepting(upgrade: str) -> bytes:
    """The right answer to an upgrade request."""
    key = re.search(r"^Sec-WebSocket-Key: (.*)\r$", upgrade, re.MULTILINE)
    assert key
    accept = base64.b64encode(hashlib.sha1((key[1] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    return f"{SWITCHING}Sec-WebSocket-Accept: {accept.decode()}\r\n{DEFLATE}\r\n".encode()


@asynccontextmanager
async def peer(answer: Callable[[str], bytes]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each upgrade request with these bytes and ends; gives its URL, and what came behind the requests."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upgrade = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(upgrade.decode()))
        writer.write_eof()
        try:
            heard.append(await reader.read())
        except ConnectionError:
            heard.append(b"")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heard


async def end_of(stream: Attachment, url: str) -> Ended:
    options = WebSocketOptions(permessage_deflate=True)
    once = ReconnectPolicy(enabled=False)
    await stream.say(Command(channel=1, open=Open(target=Target(url=url), websocket=options, reconnect=once)))
    return await stream.ended(1)


@pytest.fixture
async def stream(gateway: Gateway) -> AsyncIterator[Attachment]:
    async with connected(gateway.address) as channel:
        yield Attachment(channel)


HELLO = b"\x81\x05hello"


@pytest.mark.parametrize(
    ("nonsense", "code"),
    [
        pytest.param(b"\xc2\x05\xff\xff\xff\xff\xff", None, id="deflate of an invalid block type"),
        pytest.param(b"\xc2\x04\x63\x00\x02\x00", None, id="deflate that is cut short"),
        pytest.param(b"\xa1\x00", 1002, id="reserved bit"),
        pytest.param(b"\x8b\x00", 1002, id="reserved opcode"),
        pytest.param(b"\x81\x80aaaa", 1002, id="masked by a server"),
        pytest.param(b"\x80\x00", 1002, id="continuation of nothing"),
        pytest.param(b"\x01\x00\x81\x00", 1002, id="message within a message"),
        pytest.param(b"\x81\x7e\x00\x05hello", 1002, id="length longer than need be"),
        pytest.param(b"\x09\x00", 1002, id="ping in fragments"),
        pytest.param(b"\x89\x7e\x00\x7e" + b"x" * 126, 1002, id="ping too long"),
        pytest.param(b"\x81\x02\xc3\x28", 1007, id="text that is not UTF-8"),
        pytest.param(b"\x88\x01\x03", 1002, id="close frame of one byte"),
        pytest.param(b"\x88\x02\x03\xed", 1002, id="close code that may not be sent"),
        pytest.param(b"\x88\x04\x03\xe8\xff\xfe", None, id="close reason that is not UTF-8"),
    ],
)
async def test_nonsense_behind_the_upgrade(stream: Attachment, nonsense: bytes, code: int | None) -> None:
    async with peer(lambda upgrade: accepting(upgrade) + HELLO + nonsense) as (url, heard):
        ended = await end_of(stream, url)
        await eventually(lambda: heard, "the peer has read to the end")
    assert ended.cause.reason == REASON_PROTOCOL_ERROR, ended.cause.message
    assert [frame.payload for frame in stream.heard(Frame)] == [b"hello"], "what came before is delivered"
    if code is not None:
        assert heard[0][:1] == b"\x88", "the gateway says why"
        mask = heard[0][2:6]
        assert bytes(a ^ b for a, b in zip(heard[0][6:8], mask, strict=False)) == code.to_bytes(2)


ANSWERS: list[tuple[str, str, "Reason.ValueType"]] = [
    ("no HTTP", "hello\r\n\r\n", REASON_UPGRADE_INVALID),
    ("no answer", "", REASON_CONNECTION_LOST),
    ("half an answer", SWITCHING, REASON_CONNECTION_LOST),
    ("wrong accept key", f"{SWITCHING}Sec-WebSocket-Accept: x\r\n\r\n", REASON_UPGRADE_INVALID),
    ("no accept key", f"{SWITCHING}\r\n", REASON_UPGRADE_INVALID),
    ("endless header", f"{SWITCHING}X: {'x' * 1_000_000}\r\n\r\n", REASON_UPGRADE_INVALID),
    ("plain page", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", REASON_UPGRADE_REFUSED),
]


@pytest.mark.parametrize(("answer", "reason"), [pytest.param(a, r, id=name) for name, a, r in ANSWERS])
async def test_a_nonsensical_upgrade(stream: Attachment, answer: str, reason: "Reason.ValueType") -> None:
    async with peer(lambda upgrade: answer.encode()) as (url, _):
        ended = await end_of(stream, url)
    assert ended.cause.reason == reason, ended.cause.message
    assert ended.cause.phase == PHASE_NOT_SENT


async def test_random_bytes_behind_the_upgrade(gateway: Gateway, stream: Attachment, seed: int) -> None:
    draw = random.Random(seed)
    frames = [HELLO, b"\x82\x02\x00\x01", b"\x01\x01a\x80\x01b", b"\x89\x01p", b"\x8a\x00", b"\x88\x02\x03\xe8"]
    frames += [b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"]  # "Hello", RFC 7692 section 7.2.3.1.

    def nonsense(upgrade: str) -> bytes:
        message = bytearray(b"".join(draw.choices(frames, k=20)))
        for _ in range(draw.choice([1, 2, 8, 30])):
            message[draw.randrange(len(message))] = draw.randrange(256)
        return accepting(upgrade) + bytes(message)

    reasons = set()
    async with peer(nonsense) as (url, _):
        for _ in range(FUZZED_CONNECTIONS):
            reasons.add((await end_of(stream, url)).cause.reason)
    assert reasons <= {REASON_PROTOCOL_ERROR, REASON_PEER_CLOSED, REASON_CONNECTION_LOST, REASON_MESSAGE_TOO_LONG}
    assert len(reasons) >= 2, "the fuzz should end connections in more than one way"
    async with peer(lambda upgrade: accepting(upgrade) + HELLO) as (url, _):
        stream.heard(Frame)
        assert (await end_of(stream, url)).cause.reason == REASON_CONNECTION_LOST
    assert stream.heard(Frame)[-1].payload == b"hello"
    assert gateway.running
