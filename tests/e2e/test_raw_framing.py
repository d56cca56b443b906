"""Raw sockets, byte by byte: how frames are cut out of a stream and made into one, against a peer that splits them."""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fairlead.v1.session_pb2 import (
    OUTCOME_WRITTEN,
    Command,
    Delimiter,
    LengthPrefix,
    Open,
    ReconnectPolicy,
    Send,
    SetupStep,
    SocketOptions,
    StateChanged,
    Target,
    Unframed,
)
from fairlead.v1.types_pb2 import (
    FRAME_KIND_BINARY,
    REASON_CONNECTION_LOST,
    REASON_MESSAGE_TOO_LONG,
    REASON_PROTOCOL_ERROR,
    Match,
    Reason,
)
from tests.e2e.attach import Attachment, Frame, connected, span
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import RAW, Endpoint
from tests.e2e.processes import BUILD, Exchange, Gateway
from tests.e2e.raw_peers import RawLine, raw_peer

PROMPT = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
ONCE = ReconnectPolicy(enabled=False)
MIB = 1 << 20


@dataclass(frozen=True)
class Framing:
    """The wire format, written here independently of the gateway."""

    name: str
    options: SocketOptions
    encode: Callable[[bytes], bytes]


def prefixed(width: int, little_endian: bool, counts_itself: bool) -> Framing:
    prefix = LengthPrefix(width=width, little_endian=little_endian, counts_itself=counts_itself)

    def encode(payload: bytes) -> bytes:
        length = len(payload) + (width if counts_itself else 0)
        return length.to_bytes(width, "little" if little_endian else "big") + payload

    order = "little" if little_endian else "big"
    name = f"{width}-{order}{'-counts-itself' if counts_itself else ''}"
    return Framing(name, SocketOptions(length_prefix=prefix), encode)


def delimited(name: str, delimiter: bytes, options: SocketOptions) -> Framing:
    return Framing(name, options, lambda payload: payload + delimiter)


PREFIXED = [prefixed(*how) for how in itertools.product((1, 2, 4), (False, True), (False, True))]
DELIMITED = [
    delimited("crlf", b"\r\n", SocketOptions()),
    delimited("empty-is-crlf", b"\r\n", SocketOptions(delimiter=Delimiter())),
    delimited("lf", b"\n", SocketOptions(delimiter=Delimiter(bytes=b"\n"))),
    delimited("dash", b"-", SocketOptions(delimiter=Delimiter(bytes=b"-"))),
    delimited("fix-like", b"\x01end\x01", SocketOptions(delimiter=Delimiter(bytes=b"\x01end\x01"))),
    delimited("sixteen", b"0123456789abcdef", SocketOptions(delimiter=Delimiter(bytes=b"0123456789abcdef"))),
]
# Width zero is four.
ABSENT = Framing("absent", SocketOptions(length_prefix=LengthPrefix()), prefixed(4, False, False).encode)
ALL = [*PREFIXED, ABSENT, *DELIMITED]


def frames_for(framing: Framing) -> list[bytes]:
    """Some empty, some that look like framing, and one whose length needs two bytes if there are two."""
    frames = [b"", b"A", b"\r", b"hello \x00\xff", b"", b"\x00\x00\x00\x05", b"\x01en", b"x" * 20]
    if framing.options.length_prefix.width != 1 or framing in DELIMITED:
        frames.append(b"y" * 258)
    return frames


@pytest.mark.parametrize("framing", ALL, ids=lambda framing: framing.name)
async def test_split_at_every_byte(stream: Attachment, framing: Framing) -> None:
    """Two reads with the boundary at each place of a stream of frames; then each byte alone."""
    frames = frames_for(framing)
    whole = b"".join(map(framing.encode, frames))

    async def converse(line: RawLine) -> None:
        for at in range(1, len(whole)):
            await line.send_alone(whole[:at])
            await line.send_alone(whole[at:])
        for at in range(len(whole)):
            await line.send_alone(whole[at : at + 1])
        await line.rest()

    async with raw_peer(converse) as peer:
        await stream.open(1, Open(target=Target(url=peer.url), socket=framing.options, reconnect=ONCE))
        for at in range(len(whole)):
            assert [(await stream.frame(1)).payload for _ in frames] == frames, f"split at {at + 1} of {len(whole)}"
        assert stream.heard(Frame) == []
        assert stream.heard(StateChanged)[3:] == [], "one transport did for all"
        await stream.half_close()
        stream.cancel()


@pytest.mark.parametrize("framing", ALL, ids=lambda framing: framing.name)
async def test_what_is_sent(stream: Attachment, framing: Framing) -> None:
    """The preamble as it is, then setup, sends and heartbeats, each framed."""
    preamble = b"\x00API\r\n"
    login, text, binary = b"login", b"", b"\x00\xff\xfe"
    expected = preamble + b"".join(map(framing.encode, (login, text, binary)))
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def converse(line: RawLine) -> None:
        heard.set_result(await line.exactly(len(expected)))
        await line.send(framing.encode(b"thanks"))
        await line.rest()

    options = SocketOptions()
    options.CopyFrom(framing.options)
    options.preamble = preamble
    opening = Open(target=Target(url=""), socket=options, setup=[SetupStep(key="login", payload=login)], reconnect=ONCE)
    async with raw_peer(converse) as peer:
        opening.target.url = peer.url
        await stream.open(1, opening)
        sends = [Send(payload=text), Send(payload=binary, kind=FRAME_KIND_BINARY)]
        await stream.say(*(Command(channel=1, id=number, send=send) for number, send in enumerate(sends, start=1)))
        for number in (1, 2):
            assert (await stream.result(number)).outcome == OUTCOME_WRITTEN
        assert await heard == expected
        thanks = await stream.frame(1)
        assert (thanks.payload, thanks.kind) == (b"thanks", FRAME_KIND_BINARY)
        stream.cancel()


async def test_unframed(stream: Attachment) -> None:
    """What one read brings is a frame, and what is sent is sent as it is."""
    pieces = [b"one", b"\r\n", b"\x00\x00\x00\x01two", b"x" * 1000]

    async def converse(line: RawLine) -> None:
        for piece in pieces:
            await line.send_alone(piece)
        assert await line.exactly(8) == b"as it is"
        await line.send(b"y" * 2500)
        await line.rest()

    async with raw_peer(converse) as peer:
        options = SocketOptions(unframed=Unframed(), max_frame_bytes=1000)
        await stream.open(1, Open(target=Target(url=peer.url), socket=options, reconnect=ONCE))
        assert [frame.payload for frame in await stream.frames(1, 4)] == pieces
        await stream.say(Command(channel=1, send=Send(payload=b"as it is")))
        came = b""
        while len(came) < 2500:
            frame = await stream.frame(1)
            assert 0 < len(frame.payload) <= 1000, "max_frame_bytes is the most that one entry holds"
            came += frame.payload
        assert came == b"y" * 2500
        stream.cancel()


# ---- Too long, and impossible. ----


@pytest.mark.bad_input
@pytest.mark.parametrize("framing", [*DELIMITED[:2], *PREFIXED[4:]], ids=lambda framing: framing.name)
async def test_longest_frame(stream: Attachment, framing: Framing) -> None:
    """The longest arrives; one byte more ends the transport, as soon as it is known, and no part of it is delivered."""
    options = SocketOptions()
    options.CopyFrom(framing.options)
    options.max_frame_bytes = 1000

    async def converse(line: RawLine) -> None:
        await line.send(framing.encode(b"x" * 1000) + framing.encode(b"y" * 1001))
        await line.rest()

    async with raw_peer(converse) as peer:
        await stream.say(Command(channel=1, open=Open(target=Target(url=peer.url), socket=options, reconnect=ONCE)))
        assert (await stream.frame(1)).payload == b"x" * 1000
        ended = await stream.ended(1)
    assert ended.cause.reason == REASON_MESSAGE_TOO_LONG
    assert "socket.max_frame_bytes, 1000" in ended.cause.message
    assert stream.heard(Frame) == []


def kilobytes(gateway: Gateway, name: str) -> int:
    with open(f"/proc/{gateway.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))


@pytest.mark.bad_input
@pytest.mark.parametrize("cap", [MIB, 64 * MIB], ids=["1MiB", "64MiB"])
@pytest.mark.parametrize("endpoint", RAW, indirect=True)
async def test_endless_line(start_gateway: StartGateway, endpoint: Endpoint, cap: int) -> None:
    """Refused at the cap, again and again, in bounded memory; a session beside it does not notice."""
    gateway = start_gateway({"limits": {"message_bytes": "65MiB", "journal_bytes": "80MiB"}})
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        beside = endpoint.opening("/numbered?rate=200&feed=beside", session="beside")
        await stream.open(2, beside)
        before = kilobytes(gateway, "VmHWM")
        opening = endpoint.opening(f"/endless?bytes={256 * MIB}", most_bytes=cap, reconnect=PROMPT)
        await stream.say(Command(channel=1, open=opening))
        for _ in range(3):
            lost = await stream.hear(StateChanged, lambda change: change.channel == 1 and change.HasField("cause"))
            assert lost.cause.reason == REASON_MESSAGE_TOO_LONG, lost.cause.message
            assert f"socket.max_frame_bytes, {cap}" in lost.cause.message
        grown = kilobytes(gateway, "VmHWM") - before
        print(f"grown by {grown} KiB")
        # Growing a buffer takes the old one and one of twice its size. AddressSanitizer keeps what was freed.
        kept = 512 * 1024 if BUILD.name == "asan" else 16 * 1024
        assert grown < 3 * cap / 1024 + kept
        assert not [frame for frame in stream.heard(Frame) if frame.channel == 1], "not even a part is delivered"
        seen = [int(frame.payload) for frame in await stream.frames(2, 100)]
        assert seen == list(range(seen[0], seen[0] + 100))
        assert not [change for change in stream.heard(StateChanged) if change.channel == 2 and change.HasField("cause")]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("path", "prefix", "reason"),
    [
        ("counts_itself=1&corruption=short_length", LengthPrefix(counts_itself=True), REASON_PROTOCOL_ERROR),
        ("corruption=long_length", LengthPrefix(), REASON_MESSAGE_TOO_LONG),
        ("width=4&order=little&corruption=long_length", LengthPrefix(little_endian=True), REASON_MESSAGE_TOO_LONG),
    ],
    ids=["too-short", "too-long", "too-long-little-endian"],
)
async def test_impossible_length(
    stream: Attachment, exchange: Exchange, path: str, prefix: LengthPrefix, reason: int
) -> None:
    preamble = exchange.preamble(f"/numbered?rate=1000&fault=corrupt&after=3&feed=&framing=length&{path}")
    socket = SocketOptions(length_prefix=prefix, preamble=preamble)
    opening = Open(target=Target(url=exchange.tcp), socket=socket, reconnect=PROMPT)
    await stream.say(Command(channel=1, open=opening))
    lost = await stream.hear(StateChanged, lambda change: change.HasField("cause"))
    assert lost.cause.reason == reason, lost.cause.message
    frames = [frame.payload for frame in await stream.frames(1, 3)]
    assert frames == [b"1", b"2", b"3"], "what came before is delivered"
    assert (await stream.hear(StateChanged, lambda change: change.generation == 2)).HasField("blind_from")


FUZZED_CONNECTIONS = 60
MOST = 200


def cut(framing: Framing, data: bytes) -> tuple[list[bytes], "Reason.ValueType"]:
    """The frames in these bytes, and why the transport ends behind them: the gateway's work once more, in Python."""
    frames: list[bytes] = []
    prefix = framing.options.length_prefix
    while framing.options.HasField("length_prefix"):
        width = prefix.width or 4
        length = int.from_bytes(data[:width], "little" if prefix.little_endian else "big")
        own = width if prefix.counts_itself else 0
        if len(data) < width:
            break
        if length < own:
            return frames, REASON_PROTOCOL_ERROR
        if length - own > MOST:
            return frames, REASON_MESSAGE_TOO_LONG
        if len(data) < width + length - own:
            break
        frames.append(data[width : width + length - own])
        data = data[width + length - own :]
    else:
        delimiter = framing.options.delimiter.bytes or b"\r\n"
        *frames, rest = data.split(delimiter)
        for at, frame in enumerate(frames):
            if len(frame) > MOST:
                return frames[:at], REASON_MESSAGE_TOO_LONG
        # Its last bytes may belong to the delimiter.
        if len(rest) > MOST + len(delimiter) - 1:
            return frames, REASON_MESSAGE_TOO_LONG
    return frames, REASON_CONNECTION_LOST


@pytest.mark.bad_input
@pytest.mark.parametrize("framing", [*PREFIXED, *DELIMITED[2:5]], ids=lambda framing: framing.name)
async def test_random_bytes(gateway: Gateway, stream: Attachment, framing: Framing, seed: int) -> None:
    """Frames with some bytes changed, in pieces: what is delivered, and how it ends, is what they say."""
    draw = random.Random(seed)
    sent: list[bytes] = []
    reasons: set[int] = set()

    async def converse(line: RawLine) -> None:
        payloads = [b"x" * draw.choice([0, 1, 3, 50, MOST - 1, MOST]) for _ in range(12)]
        frames = [framing.encode(payload) for payload in payloads]
        data = bytearray(b"".join(frames))
        # At the frames' edges, where their framing is, or anywhere.
        edges = [end % len(data) for end in itertools.accumulate(map(len, frames))]
        for _ in range(draw.choice([0, 1, 2, 8])):
            at = draw.choice([draw.choice(edges) - draw.randrange(2), draw.randrange(len(data))])
            data[at] = draw.choice([0, 255, draw.randrange(256)])
        sent.append(bytes(data))
        while data:
            size = draw.randrange(1, 400)
            await line.send(bytes(data[:size]))
            del data[:size]

    options = SocketOptions()
    options.CopyFrom(framing.options)
    options.max_frame_bytes = MOST
    async with raw_peer(converse) as peer:
        for number in range(FUZZED_CONNECTIONS):
            opening = Open(target=Target(url=peer.url), socket=options, reconnect=ONCE)
            await stream.say(Command(channel=number, open=opening))
            cause = (await stream.ended(number)).cause
            frames, reason = cut(framing, sent[-1])
            came = [frame.payload for frame in stream.heard(Frame) if frame.channel == number]
            assert cause.reason == reason, f"{cause.message} of {sent[-1].hex()}"
            assert came == frames
            reasons.add(reason)
    assert len(reasons) >= 2, "the fuzz should end connections in more than one way"
    assert gateway.running


# ---- Interactive Brokers' handshake. ----


async def test_dialogue_of_interactive_brokers(stream: Attachment) -> None:
    """ "API" and a zero byte raw, then the versions with their length in four bytes, and all that follows framed."""
    framing = prefixed(4, False, False)
    versions = b"v100..176"
    preamble = b"API\x00" + framing.encode(versions)
    start = b"71\x002\x000\x00\x00"
    lives = 0

    async def converse(line: RawLine) -> None:
        nonlocal lives
        lives += 1
        assert await line.exactly(4) == b"API\x00"
        assert await line.exactly(4) == (9).to_bytes(4)
        assert await line.exactly(9) == versions
        await line.send(framing.encode(b"176\x0020260801 09:30:00 UTC\x00"))
        assert await line.exactly(4 + len(start)) == framing.encode(start)
        await line.send(framing.encode(b"15\x001\x00DU123\x00") + framing.encode(b"9\x001\x0042\x00"))
        if lives == 1:
            return  # The gateway of theirs restarts each night.
        request = b"49\x001\x00"
        assert await line.exactly(4 + len(request)) == framing.encode(request)
        await line.send(framing.encode(b"49\x001\x001793971800\x00"))
        await line.rest()

    step = SetupStep(key="start", payload=start, expect=Match(contains=[b"9\x001\x00"]))
    async with raw_peer(converse) as peer:
        socket = SocketOptions(length_prefix=LengthPrefix(), preamble=preamble)
        opening = Open(target=Target(url=peer.url), socket=socket, setup=[step], reconnect=PROMPT)
        await stream.say(Command(channel=1, open=opening))
        for generation in (1, 2):
            frames = await stream.frames(1, 3)
            assert [frame.payload.split(b"\x00")[0] for frame in frames] == [b"176", b"15", b"9"]
            assert {frame.generation for frame in frames} == {generation}
        await stream.say(Command(channel=1, id=1, send=Send(payload=b"49\x001\x00", generation=2, max_wait=span(30))))
        assert (await stream.result(1)).outcome == OUTCOME_WRITTEN
        assert (await stream.frame(1)).payload.startswith(b"49\x001\x00")
        stream.cancel()
