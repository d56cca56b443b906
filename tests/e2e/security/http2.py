"""HTTP/2 by hand, for what no client would send: frames as bytes, header fields as literals without compression."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.e2e.processes import PATIENCE_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_BYTES = 16384  # RFC 9113 section 4.2: the longest that every peer takes.
CANCEL = 8


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _length(size: int) -> bytes:
    """An integer with a prefix of 7 bits, RFC 7541 section 5.1."""
    if size < 127:
        return bytes([size])
    size -= 127
    digits = bytearray([127])
    while size >= 128:
        digits.append(size % 128 + 128)
        size //= 128
    digits.append(size)
    return bytes(digits)


def literal(name: bytes, value: bytes) -> bytes:
    """A header field, RFC 7541 section 6.2.2: neither indexed nor compressed."""
    return b"\0" + _length(len(name)) + name + _length(len(value)) + value


def request(path: str, *more: tuple[bytes, bytes]) -> bytes:
    """The header block of a call."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost")]
    fields += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]
    return b"".join(literal(*each) for each in fields)


def headers(stream: int, block: bytes, frame_bytes: int = FRAME_BYTES) -> Iterator[bytes]:
    """HEADERS, and as many CONTINUATIONs as it takes."""
    pieces = [block[at : at + frame_bytes] for at in range(0, len(block), frame_bytes)]
    for number, piece in enumerate(pieces):
        last = END_HEADERS if number == len(pieces) - 1 else 0
        yield frame(CONTINUATION if number else HEADERS, last, stream, piece)


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack("!I", CANCEL))


def message(body: bytes = b"") -> bytes:
    """One gRPC message, as DATA carries it."""
    return b"\0" + struct.pack("!I", len(body)) + body


@dataclass(frozen=True)
class Heard:
    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Line:
    """A connection to the gateway that has said hello."""

    socket: socket.socket
    heard: list[Heard] = field(default_factory=list)
    over: bool = False
    _unread: bytearray = field(default_factory=bytearray)

    @classmethod
    def to(cls, address: str, *, acknowledge: bool = True) -> "Line":
        """`acknowledge`: the gateway's settings hold from now on."""
        host, port = address.rsplit(":", 1)
        line = cls(socket.create_connection((host, int(port)), timeout=PATIENCE_S))
        line.say(PREFACE + frame(SETTINGS))
        if acknowledge:
            heard = line.hear()
            assert heard
            assert (heard.kind, heard.flags) == (SETTINGS, 0), heard
        return line

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, *frames: bytes) -> bool:
        """Whether the gateway still listened."""
        try:
            self.socket.sendall(b"".join(frames))
        except ConnectionError:
            self.over = True
        return not self.over

    def hear(self) -> Heard | None:
        """The next frame; none: the gateway has ended the connection. Answers SETTINGS and PINGs."""
        while len(self._unread) < 9 or len(self._unread) < 9 + int.from_bytes(self._unread[:3]):
            try:
                piece = self.socket.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                self.over = True
                return None
            self._unread += piece
        size = int.from_bytes(self._unread[:3])
        kind, flags = self._unread[3:5]
        came = Heard(kind, flags, int.from_bytes(self._unread[5:9]) & 0x7FFFFFFF, bytes(self._unread[9 : 9 + size]))
        del self._unread[: 9 + size]
        self.heard.append(came)
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.say(frame(kind, ACK, 0, came.payload if kind == PING else b""))
        return came

    def end_of(self, stream: int) -> Heard | None:
        """The frame that ends this stream, or the connection; none: it ended without a word."""
        while (came := self.hear()) is not None:
            ends = came.kind == RST_STREAM or (came.flags & END_STREAM and came.kind in (HEADERS, DATA))
            if came.kind == GOAWAY or (came.stream == stream and ends):
                return came
        return None

    def call(self, stream: int, path: str, *more: tuple[bytes, bytes]) -> Heard | None:
        """A whole call of an empty message; how it ended."""
        self.say(*headers(stream, request(path, *more)), frame(DATA, END_STREAM, stream, message()))
        return self.end_of(stream)

    def catch_up(self) -> None:
        """Waits until the gateway has read all that was said."""
        self.say(frame(PING, 0, 0, b"catch up"))
        while (came := self.hear()) is not None:
            if came.kind == PING and came.flags & ACK and came.payload == b"catch up":
                return
