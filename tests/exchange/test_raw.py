"""The exchange's raw sockets: preamble, framings, feeds and faults."""

import base64
import gzip
import json
import time
from typing import Any

import pytest

from tests.exchange.conftest import RECORDINGS, Server


class Framing:
    """One framing, as the preamble names it and as its bytes look."""

    def __init__(self, query: str, delimiter: bytes = b"", width: int = 0, order: str = "big", itself: int = 0) -> None:
        self.query = query
        self.delimiter = delimiter
        self.width = width
        self.order = order
        self.itself = itself

    def __repr__(self) -> str:
        return self.query

    def join(self, frames: list[bytes]) -> bytes:
        return b"".join(self.head(len(frame)) + frame + self.delimiter for frame in frames)

    def head(self, size: int) -> bytes:
        if not self.width:
            return b""
        return (size + self.itself).to_bytes(self.width, "little" if self.order == "little" else "big")


FRAMINGS = [
    Framing("", b"\r\n"),
    Framing("framing=delimiter&delimiter=%00%3B%3B", b"\x00;;"),
    Framing("framing=length", width=4),
    Framing("framing=length&width=1", width=1),
    Framing("framing=length&width=2&order=little&counts_itself=1", width=2, order="little", itself=2),
    Framing("framing=length&width=8&counts_itself=1", width=8, itself=8),
    Framing("framing=none"),
]
CRLF = FRAMINGS[0]


def closed(server: Server) -> Any:
    """The latest connection's record, once it is closed."""
    deadline = time.monotonic() + 10
    while (record := server.control("GET", "/connections/latest"))["state"] != "closed":
        assert time.monotonic() < deadline, "the connection does not close"
    return record


def numbered(first: int, last: int, size: int = 0) -> list[bytes]:
    return [f"{number} ".ljust(size, "x")[: max(size, len(str(number)))].encode() for number in range(first, last + 1)]


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_framings_in_both_directions(server: Server, framing: Framing) -> None:
    frames = [b"hello", b"\xff\x00", b"x" * 200]
    with server.raw(f"/echo?{framing.query}") as peer:
        sent = framing.join(frames)
        if framing.width or framing.delimiter:
            for at in range(len(sent)):  # split at every boundary
                peer.send(sent[at : at + 1])
        else:
            for frame in frames:
                peer.send(frame)
                peer.receive(frame)
        received = peer.receive(sent[-1:]) if framing.width or framing.delimiter else sent
        while len(received) < len(sent):
            received += peer.socket.recv(65536)
        assert received == sent
    record = closed(server)
    assert (record["kind"], record["frames_received"], record["closed_by"]) == (
        "tls" if server.tls else "tcp",
        3,
        "peer_eof",
    )
    assert [(frame["kind"], frame.get("text"), frame.get("base64")) for frame in record["frames"]] == [
        ("frame", "hello", None),
        ("frame", None, base64.b64encode(b"\xff\x00").decode()),
        ("frame", "x" * 200, None),
    ]


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
@pytest.mark.parametrize("split", ["", "&write=1", "&write=7&write_pause_us=100"])
def test_numbered(server: Server, framing: Framing, split: str) -> None:
    with server.raw(f"/numbered?{framing.query}&count=100&size=30&feed=&close=1{split}") as peer:
        assert peer.rest() == (framing.join(numbered(1, 100, 30)), "fin")
    record = closed(server)
    assert (record["closed_by"], record["last_number"], record["frames_sent"]) == ("exchange_close", 100, 100)
    assert record["bytes_sent"] == len(framing.join(numbered(1, 100, 30)))


def test_the_recording_of_a_raw_socket(server: Server) -> None:
    path = RECORDINGS / "betfair_tcp.jsonl.gz"
    if not path.exists():
        pytest.skip("there are no recordings")
    with gzip.open(path, "rt") as lines:
        records = [json.loads(line) for line in lines]
    expected = [record["text"].encode() for record in records if record.get("from") == "exchange"]
    with server.raw("/recording/betfair_tcp?close=1") as peer:
        assert peer.rest() == (CRLF.join(expected), "fin")


def test_login_answers_and_heartbeats(server: Server) -> None:
    with server.raw("/login?count=2&feed=&reply_to=PING&reply=PONG") as peer:
        peer.send(b"login\r\nsubscribe\r\n")
        peer.receive(b'{"event":"subscribed"}\r\n1\r\n2\r\n')
        peer.send(b"PING 1\r\n")
        peer.receive(b"PONG\r\n")
        server.control("POST", "/fault", {"connection": "latest", "kind": "no_pong"})
        peer.send(b"PING 2\r\n")
        assert peer.is_quiet()
        server.control("POST", "/fault", {"connection": "latest", "kind": "lift"})
        peer.send(b"PING 3\r\n")
        peer.receive(b"PONG\r\n")
        assert server.control("POST", "/send", {"connection": "latest", "text": "pushed"})["sent"]
        peer.receive(b"pushed\r\n")


@pytest.mark.parametrize("framing", FRAMINGS[:3], ids=repr)
@pytest.mark.parametrize(
    ("fault", "whole", "end", "by"),
    [
        ("drop", 50, "truncated", "fault:drop"),
        ("reset", 50, "reset", "fault:reset"),
        ("half_close", 50, "truncated", "peer_eof peer_reset"),
        ("partial", 50, "truncated", "fault:partial"),
        ("partial&then=reset", 50, "reset", "fault:partial"),
        ("close", 50, "fin", "exchange_close"),
    ],
)
def test_faults_that_end_the_connection(
    server: Server, framing: Framing, fault: str, whole: int, end: str, by: str
) -> None:
    with server.raw(f"/numbered?{framing.query}&size=30&feed=&fault={fault}&after={whole}") as peer:
        received, ended = peer.rest()
    frames = framing.join(numbered(1, whole, 30))
    if "partial" in fault:
        next_one = framing.join(numbered(whole + 1, whole + 1, 30))
        frames += next_one[: len(next_one) // 2]
    assert received == frames
    assert ended == (end if server.tls else end.replace("truncated", "fin"))
    record = closed(server)
    assert record["closed_by"] in by.split()  # with TLS, Python may leave session tickets unread, which resets
    assert (record["last_number"], record["bytes_sent"]) == (whole, len(frames))


@pytest.mark.parametrize("byte", [0, 1, 31, 1000])
def test_reset_at_byte(server: Server, byte: int) -> None:
    with server.raw(f"/numbered?size=30&feed=&fault=reset_at_byte&byte={byte}") as peer:
        assert peer.rest() == (CRLF.join(numbered(1, 50, 30))[:byte], "reset")
    assert closed(server)["bytes_sent"] == byte


def test_stall_silent_and_lift(server: Server) -> None:
    for kind in ("stall", "silent"):
        with server.raw(f"/numbered?rate=500&feed=&fault={kind}&after=3") as peer:
            assert peer.receive(b"3\r\n") == b"1\r\n2\r\n3\r\n"
            assert peer.is_quiet()
            server.control("POST", "/fault", {"connection": "latest", "kind": "lift"})
            assert peer.socket.recv(100).startswith(b"4\r\n")


@pytest.mark.parametrize(
    ("query", "corruption", "wanted"),
    [
        ("framing=length&width=2&counts_itself=1", "short_length", b"\x00\x01"),
        ("framing=length&width=4", "long_length", b"\xff\xff\xff\xff"),
    ],
)
def test_impossible_lengths(server: Server, query: str, corruption: str, wanted: bytes) -> None:
    with server.raw(f"/idle?{query}&fault=corrupt&corruption={corruption}") as peer:
        assert peer.receive(wanted) == wanted


def test_an_endless_frame(server: Server) -> None:
    with server.raw("/endless?bytes=1000000&close=1") as peer:
        assert peer.rest() == (b"x" * 1_000_000, "fin")


@pytest.mark.parametrize(
    ("preamble", "why"),
    [
        (b"GET / HTTP/1.1\n", "the preamble is not FAIRLEAD-TEST, a target and LF"),
        (b"FAIRLEAD-TEST /nowhere\n", "there is no feed /nowhere"),
        (b"FAIRLEAD-TEST /idle?framing=oddly\n", "framing=oddly is not known"),
        (b"FAIRLEAD-TEST /idle?deflate=1\n", "unknown parameter deflate"),
        (b"FAIRLEAD-TEST /bomb\n", "a raw socket has no /bomb"),
        (b"FAIRLEAD-TEST /echo?framing=length&width=1&counts_itself=1\n\x00", "the length is below its own width"),
    ],
)
def test_what_a_client_gets_wrong(server: Server, preamble: bytes, why: str) -> None:
    with server.unannounced() as peer:
        peer.send(preamble)
        assert peer.rest() == (b"", "fin")
    record = closed(server)
    assert (record["closed_by"], record["protocol_error"]) == ("protocol_error", why)


def test_accept_modes(server: Server) -> None:
    on = "tls" if server.tls else "tcp"
    server.control("POST", "/accept", {"mode": "slow_handshake", "ms": 100, "on": on})
    begun = time.monotonic()
    with server.raw("/numbered?count=1&feed=") as peer:
        peer.receive(b"1\r\n")
    assert time.monotonic() - begun >= 0.1
    server.control("POST", "/accept", {"mode": "never_upgrade", "on": on})
    with server.raw("/numbered?count=1&feed=") as peer:
        assert peer.is_quiet()
    server.control("POST", "/accept", {"mode": "refuse", "on": on})
    with pytest.raises(ConnectionRefusedError), server.raw("/idle"):
        pass
