"""What a caller does that is up to no good, in processes of its own: `python -m tests.proof.offences offender|sink`.

The offender makes all its bytes, says "ready", and then commits what each Order on standard input says, and tells what
it Did. The sink takes connections and says what every HTTP/2 server says first; what comes it reads and forgets. The
same offence against it shows what it costs the machine, whoever it is for.
"""

import asyncio
import itertools
import json
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from tests.e2e.processes import PATIENCE_S
from tests.e2e.security.http2 import (
    ACK,
    DATA,
    END_STREAM,
    PING,
    PREFACE,
    SETTINGS,
    Line,
    frame,
    headers,
    message,
    request,
    reset,
)

HEADER_BYTES = 33 << 20
REFUSED_FIELD_BYTES = 16_000
KEPT_FIELD_BYTES, KEPT_FRAME_BYTES = 1_000, 4_000
RESETS = 20_000
IDLE = 10_000
# Where there are descriptors for some of them.
TOO_MANY = 1_000
# How long connections stay that say nothing; gRPC ends them after 5 s.
STAY_S = 0.5
# Connections of their own, so many of them at once.
BAD_CALLS = HANDSHAKES = 1_000
AT_ONCE = 8
PIECE_BYTES = 1 << 16

LIST, ATTACH = "/fairlead.v1.SessionService/ListSessions", "/fairlead.v1.SessionService/Attach"
SEND = "/fairlead.v1.HttpService/Send"
EXHAUSTED = b"grpc-status\x018"
CATCH_UP, CAUGHT_UP = frame(PING, 0, 0, b"catch up"), frame(PING, ACK, 0, b"catch up")


@dataclass(frozen=True)
class Order:
    """To commit an offence again and again until the time is over; what was begun is finished.

    pace_s: 0: as fast as the gateway takes it. Else it is for the sink, with so much time from one piece to the next,
    and nothing is finished.
    """

    offence: str
    address: str
    seconds: float
    pace_s: float = 0.0

    @property
    def for_sink(self) -> bool:
        return self.pace_s > 0

    def connect(self) -> socket.socket:
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


@dataclass
class Did:
    """stayed_from, stayed_until: when connections were there and nothing else was done; time.monotonic()."""

    times: int = 0
    pieces: int = 0
    seconds: float = 0.0
    stayed_from: float = 0.0
    stayed_until: float = 0.0


# ---- What is said. ----


def header(path: str, field_bytes: int) -> bytes:
    return request(path, *[(b"x-large", b"x" * field_bytes)] * (HEADER_BYTES // field_bytes))


def resets(path: str) -> bytes:
    """Calls that are begun and reset."""
    return b"".join(b"".join(headers(2 * n + 1, request(path))) + reset(2 * n + 1) for n in range(RESETS))


def refused_header() -> bytes:
    return b"".join(headers(1, header(LIST, REFUSED_FIELD_BYTES))) + frame(DATA, END_STREAM, 1, message())


def kept_header() -> bytes:
    """Its call stays open."""
    return b"".join(headers(1, header(ATTACH, KEPT_FIELD_BYTES), KEPT_FRAME_BYTES))


BAD_CALL = b"".join(headers(1, request(LIST, (b"x-bad-bin", b"!!!!")))) + frame(DATA, END_STREAM, 1, message())

# ---- The offences: each pauses after each piece. ----

Offence = Callable[[Order, Did], Iterator[None]]


def said(text: bytes, *, refused: bool = False) -> Offence:
    """All over one connection, in one go."""
    pieces = [text[at : at + PIECE_BYTES] for at in range(0, len(text), PIECE_BYTES)]

    def offence(order: Order, did: Did) -> Iterator[None]:
        with Line.to(order.address) as line:
            for piece in pieces:
                if not line.say(piece):
                    break
                yield
            if order.for_sink:
                return
            heard = until_read(line)
            assert (EXHAUSTED in heard) is refused
            assert (CAUGHT_UP in heard) is not refused
        yield

    return offence


def until_read(line: Line) -> bytes:
    """Waits until the gateway has read all that it will; what it said. To look at it would cost this side more."""
    line.say(CATCH_UP)
    heard = bytearray()
    while CAUGHT_UP not in heard[-2 * PIECE_BYTES :]:
        try:
            piece = line.socket.recv(PIECE_BYTES)
        except ConnectionError:
            break
        if not piece:
            break
        heard += piece
    return bytes(heard)


def silent(count: int, *, let_in: bool) -> Offence:
    """Connections that say nothing. let_in: until they are told the server's settings."""

    def offence(order: Order, did: Did) -> Iterator[None]:
        there: list[socket.socket] = []
        try:
            for _ in range(count):
                there.append(order.connect())
                yield
            # The gateway has two descriptors for each: a limit of 20,000 is not enough for quite all.
            told = sum(bool(each.recv(1)) for each in there) if let_in else count
            assert told >= count * 0.99, f"{told} of {count} are let in"
            did.stayed_from = time.monotonic()
            time.sleep(STAY_S)
            did.stayed_until = time.monotonic()
        finally:
            for each in there:
                each.close()
        yield

    return offence


def many(attempt: Callable[[Order], None], count: int) -> Offence:
    """Some at once."""
    threads = ThreadPoolExecutor(AT_ONCE)

    def offence(order: Order, did: Did) -> Iterator[None]:
        for _ in range(0, count, AT_ONCE):
            list(threads.map(attempt, [order] * AT_ONCE))
            yield

    return offence


def call_badly(order: Order) -> None:
    """Until the gateway ends the connection."""
    with Line.to(order.address) as line:
        at_once(line.socket)
        line.say(BAD_CALL)
        while not order.for_sink and line.socket.recv(PIECE_BYTES):
            pass


def at_once(connection: socket.socket) -> None:
    """Else what is said waits until what was said before is acknowledged."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def without_certificate(*texts: bytes) -> Callable[[Order], None]:
    """A handshake without a certificate, and the beginning of one of these texts behind it; nothing is answered."""
    turns = itertools.cycle([PREFACE + frame(SETTINGS) + text[:PIECE_BYTES] for text in texts])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])

    def attempt(order: Order) -> None:
        heard, ended = b"", ""
        try:
            with order.connect() as connection, context.wrap_socket(connection) as stream:
                at_once(stream)
                stream.sendall(next(turns))
                heard = stream.recv(PIECE_BYTES)
        except (ssl.SSLError, ConnectionError) as error:
            ended = str(error)
        assert not heard
        assert order.for_sink or "WRONG_VERSION" not in ended, "the gateway does not speak TLS"

    return attempt


def prepared() -> dict[str, Offence]:
    kept, attach = kept_header(), resets(ATTACH)
    return {
        "refused header": said(refused_header(), refused=True),
        "kept header": said(kept),
        "resets of Attach": said(attach),
        "resets of Send": said(resets(SEND)),
        "idle": silent(IDLE, let_in=True),
        "bad binary": many(call_badly, BAD_CALLS),
        "no descriptors": silent(TOO_MANY, let_in=False),
        "no certificate": many(without_certificate(kept, attach), HANDSHAKES),
    }


# ---- The two processes. ----


def commit(order: Order, offence: Offence) -> Did:
    did = Did()
    began = time.monotonic()
    while time.monotonic() < began + order.seconds:
        for _ in offence(order, did):
            did.pieces += 1
            if order.for_sink:
                if time.monotonic() > began + order.seconds:
                    break
                time.sleep(max(0.0, began + did.pieces * order.pace_s - time.monotonic()))
        did.times += 1
    did.seconds = time.monotonic() - began
    return did


def offender() -> None:
    offences = prepared()
    print("ready", flush=True)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        print(json.dumps(asdict(commit(order, offences[order.offence]))), flush=True)


class Forgetful(asyncio.BufferedProtocol):
    def __init__(self, room: bytearray) -> None:
        self._room = room

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(frame(SETTINGS))

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None: ...


async def sink() -> None:
    room = bytearray(1 << 20)
    server = await asyncio.get_running_loop().create_server(lambda: Forgetful(room), "127.0.0.1", 0, backlog=4096)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, IDLE + 1000)), hard))
    if sys.argv[1:] == ["sink"]:
        asyncio.run(sink())
    else:
        offender()


if __name__ == "__main__":
    main()
