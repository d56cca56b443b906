"""Raw socket sessions: what they are opened with, and that str is bytes on them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import FakeGateway, Stream, ended, frames, result
from tests.test_reading import take

URL = "tls://exchange:443"


@pytest.fixture
async def raw(stream: Stream, gateway: fairlead.Gateway) -> AsyncIterator[fairlead.Session]:
    """Open a raw socket session, channel 1, with entries 1 to 3 in its queue."""
    session = gateway.socket(URL, name="orders")
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    yield session
    await gateway.aclose()


async def opened(stream: Stream, session: fairlead.Session) -> pb.Open:
    """Open a session and return what travelled."""
    opening = asyncio.create_task(session.open())
    command = await stream.expect("open")
    stream.say(result(command, "NOT_SENT", reason=types_pb2.REASON_INVALID_FIELD))
    with pytest.raises(fairlead.InvalidRequest):
        await opening
    return command.open


async def test_an_untouched_option_is_absent_but_for_the_framing(stream: Stream, gateway: fairlead.Gateway) -> None:
    assert await opened(stream, gateway.socket(URL)) == pb.Open(
        target=pb.Target(url=URL),
        start=pb.Start(head=pb.Start.Head()),
        socket=pb.SocketOptions(delimiter=pb.Delimiter(bytes=b"\r\n")),
    )


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        (fairlead.Delimiter(b"\n"), pb.SocketOptions(delimiter=pb.Delimiter(bytes=b"\n"))),
        (fairlead.LengthPrefix(), pb.SocketOptions(length_prefix=pb.LengthPrefix(width=4))),
        (
            fairlead.LengthPrefix(width=2, little_endian=True, counts_itself=True),
            pb.SocketOptions(length_prefix=pb.LengthPrefix(width=2, little_endian=True, counts_itself=True)),
        ),
        (fairlead.Unframed(), pb.SocketOptions(unframed=pb.Unframed())),
    ],
)
async def test_each_framing_on_the_wire(
    stream: Stream,
    gateway: fairlead.Gateway,
    framing: fairlead.Delimiter | fairlead.LengthPrefix | fairlead.Unframed,
    expected: pb.SocketOptions,
) -> None:
    assert (await opened(stream, gateway.socket(URL, framing=framing))).socket == expected


async def test_the_options_of_a_socket(stream: Stream, gateway: fairlead.Gateway) -> None:
    session = gateway.socket(
        URL,
        preamble="API\0",
        max_frame_bytes=100,
        setup=[fairlead.Step("login", "grün", expect="ok"), fairlead.Step("sub", b"\0")],
        heartbeat=fairlead.Heartbeat(interval=5, text="beat {n}", keepalive="beat"),
        reconnect=fairlead.Reconnect(enabled=False),
        dial_timeout=3,
    )
    message = await opened(stream, session)
    assert (message.socket.preamble, message.socket.max_frame_bytes) == (b"API\0", 100)
    binary = types_pb2.FRAME_KIND_BINARY
    assert [(step.key, step.payload, step.kind) for step in message.setup] == [
        ("login", "grün".encode(), binary),
        ("sub", b"\0", binary),
    ]
    assert message.heartbeat.WhichOneof("what") == "binary"
    assert (message.heartbeat.binary, list(message.heartbeat.keepalive.contains)) == (b"beat {n}", [b"beat"])
    assert not message.reconnect.enabled
    assert message.dial_timeout.seconds == 3
    assert not message.HasField("websocket")


async def test_a_ping_heartbeat_is_left_to_the_gateway_to_refuse(stream: Stream, gateway: fairlead.Gateway) -> None:
    message = await opened(stream, gateway.socket(URL, heartbeat=fairlead.Heartbeat(ping="x")))
    assert message.heartbeat.WhichOneof("what") == "ping"


@pytest.mark.parametrize("payload", ["grün", "grün".encode()])
@pytest.mark.parametrize("kind", [None, fairlead.FrameKind.TEXT])
async def test_what_is_sent_is_bytes(
    stream: Stream, raw: fairlead.Session, payload: str | bytes, kind: fairlead.FrameKind | None
) -> None:
    sending = asyncio.create_task(raw.send(payload, kind=kind))
    command = await stream.expect("send")
    assert (command.send.payload, command.send.kind) == ("grün".encode(), types_pb2.FRAME_KIND_BINARY)
    stream.say(result(command, "WRITTEN", 4))
    assert (await sending).sequence == 4


async def test_what_comes_decodes(stream: Stream, raw: fairlead.Session) -> None:
    stream.say(frames(1, 4, ["grün".encode()], kind=types_pb2.FRAME_KIND_BINARY))
    (frame,) = await take(aiter(raw), 1)
    assert (frame.kind, frame.text) == (fairlead.FrameKind.BINARY, "grün")


async def test_a_step_that_was_sent_comes_again_as_bytes(
    fake: FakeGateway, stream: Stream, raw: fairlead.Session
) -> None:
    sending = asyncio.create_task(raw.send("subscribe", setup_key="sub"))
    stream.say(result(await stream.expect("send"), "WRITTEN", 4))
    await sending
    stream.end()
    again = await (await fake.stream()).expect("open")
    assert [(step.payload, step.kind) for step in again.open.setup] == [(b"subscribe", types_pb2.FRAME_KIND_BINARY)]
    assert again.open.socket.delimiter.bytes == b"\r\n"


async def test_closing_says_no_code(stream: Stream, raw: fairlead.Session) -> None:
    closing = asyncio.create_task(raw.close())
    command = await stream.expect("close")
    assert command.close == pb.Close()
    stream.say(result(command, "DONE"), ended(1, types_pb2.REASON_CLOSED))
    await closing


@pytest.mark.parametrize(
    ("wrong", "error", "what"),
    [
        (lambda: fairlead.Delimiter(b""), ValueError, "1 to 16"),
        (lambda: fairlead.Delimiter(b"x" * 17), ValueError, "1 to 16"),
        (lambda: fairlead.LengthPrefix(width=3), ValueError, "1, 2 or 4"),
        (lambda: fairlead.LengthPrefix(width=0), ValueError, "1, 2 or 4"),
        (lambda: fairlead.connect("x:1").socket(URL, setup=[fairlead.Step("k", "")] * 2), ValueError, "keys"),
        (
            lambda: fairlead.connect("x:1").socket(URL, heartbeat=fairlead.Heartbeat(text="x", binary=b"x")),
            ValueError,
            "at most one",
        ),
        (lambda: fairlead.connect("x:1").socket(URL, headers={"X": "1"}), TypeError, "headers"),  # type: ignore[call-arg]
    ],
)
def test_what_cannot_be_is_refused_where_it_is_made(
    wrong: Callable[[], object], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        wrong()
