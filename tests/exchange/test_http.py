"""The exchange's HTTP, tested with a client that is not ours and with plain sockets."""

import asyncio
import base64
import gzip
import hashlib
import json
import time
from typing import Any

import aiohttp
import pytest

from tests.exchange.conftest import RECORDINGS, Peer, Server


def request(target: str, method: str = "GET", body: bytes = b"", headers: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: exchange\r\n{headers}{length}\r\n".encode() + body


def head_of(response: bytes) -> bytes:
    return response[: response.index(b"\r\n\r\n") + 4]


def ask(server: Server, target: str, method: str = "GET", body: bytes = b"", headers: str = "") -> tuple[bytes, str]:
    """Everything that the exchange sends on a connection of this request's own, and how the connection ends."""
    with server.http() as peer:
        peer.send(request(target, method, body, headers))
        return peer.rest()


def record(server: Server, target: str = "") -> Any:
    """The only request whose target contains `target`, once its connection is closed."""
    deadline = time.monotonic() + 10
    while server.control("GET", "/http/summary")["connections"]["open"]:
        assert time.monotonic() < deadline, "the connection does not close"
    found = server.control("GET", f"/http/requests?target={target}")["requests"]
    assert len(found) == 1
    return found[0]


async def get(server: Server, target: str, **options: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(options.pop("method", "GET"), server.http_url + target, ssl=server.tls or True, **options) as r,
    ):
        return r.status, [(name.decode(), value.decode()) for name, value in r.raw_headers], await r.read()


def test_echo_tells_the_request_exactly(server: Server) -> None:
    target = "/echo?a=1&a=2&fault%3D=x&bad=%zz"
    answer, _ = ask(
        server, target, "PUT", b"\x00\xffbody", "X-One:  b  c \r\nx-one: d\r\nX-Empty:\r\nConnection: close\r\n"
    )
    echo = json.loads(answer[len(head_of(answer)) :])
    assert (echo["method"], echo["target"]) == ("PUT", target)
    assert echo["headers"][:5] == [
        ["Host", "exchange"],
        ["X-One", "b  c"],
        ["x-one", "d"],
        ["X-Empty", ""],
        ["Connection", "close"],
    ]
    assert base64.b64decode(echo["body_base64"]) == b"\x00\xffbody"


async def test_echo_raw_of_a_large_and_of_a_chunked_body(server: Server) -> None:
    body = bytes(range(256)) * 20_000

    async def chunks() -> Any:
        for at in range(0, len(body), 70_001):
            yield body[at : at + 70_001]

    assert (await get(server, "/echo?raw=1", method="POST", data=body))[2] == body
    assert (await get(server, "/echo?raw=1&x=2", method="POST", data=chunks()))[2] == body
    digest = hashlib.sha256(body).hexdigest()
    requests = server.control("GET", "/http/requests")["requests"]
    assert [(r["complete"], r["body_bytes"], r["body_sha256"]) for r in requests] == [(True, len(body), digest)] * 2
    assert base64.b64decode(server.control("GET", f"/http/requests/{requests[0]['id']}")["body_base64"]) == body


async def test_bodies(server: Server) -> None:
    digits = b"0123456789" * 100_000
    for target in ("/big?size=1000000", "/chunked?size=1000000&chunk=777&trailers=1", "/until_close?size=1000000"):
        status, _, body = await get(server, target)
        assert (status, body) == (200, digits)
    assert (await get(server, "/big?size=0"))[2] == b""
    status, headers, body = await get(server, "/big?size=200", method="HEAD")
    assert (status, dict(headers)["Content-Length"], body) == (200, "200", b"")
    depth = json.loads((await get(server, "/depth?levels=3"))[2])
    assert len(depth["bids"]) == len(depth["asks"]) == 3
    assert max(float(price) for price, _ in depth["bids"]) < min(float(price) for price, _ in depth["asks"])


async def test_statuses_and_headers(server: Server) -> None:
    status, headers, body = await get(server, "/status/429?retry_after=7&body=slower")
    assert (status, dict(headers)["Retry-After"], body) == (429, "7", b"slower")
    assert (await get(server, "/status/204"))[2] == b""
    _, headers, _ = await get(server, "/headers?count=3&size=5")
    assert [value for name, value in headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]
    assert headers[-3:] == [(f"X-Header-{number}", "xxxxx") for number in (1, 2, 3)]
    assert (await get(server, "/interim?count=3"))[2] == b"interim"
    assert (await get(server, "/nowhere"))[0] == 404
    assert (await get(server, "/big?sise=1"))[0] == 400
    assert (await get(server, "/depth?fault=oddly"))[0] == 400
    assert (await get(server, "/order"))[0] == 405


def test_interim_answers_come_first(server: Server) -> None:
    answer, _ = ask(server, "/interim?count=2&code=102", headers="Connection: close\r\n")
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1")] == [
        b"HTTP/1.1 102 Processing",
        b"HTTP/1.1 102 Processing",
        b"HTTP/1.1 200 OK",
    ]


async def test_recorded_responses(server: Server) -> None:
    paths = sorted(RECORDINGS.glob("*_http.jsonl.gz"))
    if not paths:
        pytest.skip("there are no recordings")
    for path in paths:
        with gzip.open(path, "rt") as lines:
            expected = [json.loads(line)["text"].encode() for line in lines]
        name = path.name.removesuffix(".jsonl.gz")
        for index, body in enumerate(expected):
            assert (await get(server, f"/recording/{name}?index={index}"))[2] == body
        assert (await get(server, f"/recording/{name}?index={len(expected)}"))[0] == 404


def test_orders_are_counted(server: Server) -> None:
    for target, body in (("/order?id=a", b"{}"), ("/order", b"b\r\nbuy"), ("/order?id=a", b"{}")):
        ask(server, target, "POST", body, "Connection: close\r\n")
    ask(server, "/order?id=c&fault=reset_request_at&byte=100", "POST", b"x" * 1000)
    ask(server, "/order", "POST", headers="Connection: close\r\n")
    summary = server.control("GET", "/http/summary")
    assert summary["orders"] == {"a": 2, "b": 1}
    assert [(part["order"], part["bytes_received"]) for part in summary["incomplete"]] == [("c", 100)]
    assert (summary["requests"]["complete"], summary["requests"]["incomplete"]) == (4, 1)


def test_keep_alive_and_announced_ends(server: Server) -> None:
    with server.http() as peer:
        for _ in range(3):
            peer.send(request("/status/200?body=end"))
            peer.receive(b"end")
        peer.send(request("/close?after=5"))
        assert b"Connection: close" not in peer.receive(b"close")
        peer.send(request("/close?after=5"))
        answer, end = peer.rest()
        assert (b"Connection: close" in answer, end) == (True, "fin")
    answer, end = ask(server, "/close_after_write")
    assert (b"Connection: close" in answer, end) == (False, "fin")
    assert ask(server, "/until_close?goodbye=0")[1] == ("truncated" if server.tls else "fin")
    connections = server.control("GET", "/http/connections")["connections"]
    assert [connection["requests"] for connection in connections] == [5, 1, 1]
    assert {connection["closed_by"] for connection in connections} == {"exchange_close"}


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.http() as peer:
        peer.send(request("/slow?ms=50&size=1") + request("/status/201?body=b") + request("/status/202?body=c"))
        answers = peer.receive(b"\r\n\r\nc")
        assert [answers.find(status) >= 0 for status in (b" 200 ", b" 201 ", b" 202 ")] == [True] * 3
        assert answers.index(b" 200 ") < answers.index(b" 201 ") < answers.index(b" 202 ")
        peer.send(request("/status/200?body=d"))
        peer.receive(b"\r\n\r\nd")
    requests = server.control("GET", "/http/requests")["requests"]
    assert [(r["index"], r["pipelined"]) for r in requests] == [(1, False), (2, True), (3, True), (4, False)]
    assert server.control("GET", "/http/summary")["requests"]["pipelined"] == 2


def test_slow_answers(server: Server) -> None:
    def first_byte_and_end(target: str) -> tuple[float, float]:
        with server.http() as peer:
            begun = time.monotonic()
            peer.send(request(target))
            peer.socket.recv(1)
            first = time.monotonic() - begun
            while b"0123" not in (received := peer.receive(b"3") if target.endswith("size=4") else b"0123"):
                assert received
            return first, time.monotonic() - begun

    assert first_byte_and_end("/slow?ms=100&size=4")[0] >= 0.1
    first, end = first_byte_and_end("/slow?first_byte_ms=100&byte_ms=30&size=4")
    assert end - first >= 0.15


def test_raw_answers(server: Server) -> None:
    wanted = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc\x00\xff"
    text = base64.urlsafe_b64encode(wanted).decode()
    assert ask(server, f"/raw?base64={text}&close=1") == (wanted, "fin")
    assert ask(server, f"/raw?base64={text}&reset=1") == (wanted, "reset")
    big = wanted + b"x" * 300_000
    body = {"base64": base64.b64encode(big).decode(), "close": True, "target": "depth", "count": 2}
    server.control("POST", "/answer", body)
    assert b"end" in ask(server, "/status/200?body=end", headers="Connection: close\r\n")[0]
    assert ask(server, "/depth") == ask(server, "/depth") == (big, "fin")
    assert b"bids" in ask(server, "/depth", headers="Connection: close\r\n")[0]
    with server.http() as peer:
        peer.send(request("/status/200?body=end"))
        peer.receive(b"end")
        assert server.control("POST", "/answer", {"connection": "latest", "text": "unasked"})["sent"]
        assert peer.receive(b"unasked") == b"unasked"
        peer.send(request("/status/200?body=end"))
        peer.receive(b"end")


@pytest.mark.parametrize("byte", [0, 5, 30, 70, 100, 5_000, 1_000_000])
@pytest.mark.parametrize("armed", [False, True])
def test_a_reset_while_the_request_is_read(server: Server, byte: int, armed: bool) -> None:
    target = "/order?id=a&tag=cut"
    if armed:
        server.control("POST", "/http_fault", {"kind": "reset_request_at", "byte": byte})
    else:
        target += f"&fault=reset_request_at&byte={byte}"
    with server.http() as peer:
        try:
            peer.send(request(target, "POST", b"x" * 2_000_000))
        except OSError:  # the reset came while it was written
            pass
        else:
            assert peer.rest() == (b"", "reset")
    cut = record(server)
    assert (cut["complete"], cut["bytes_received"], cut["fault"]) == (False, byte, "reset_request_at")
    assert cut["body_bytes"] == max(0, byte - len(head_of(request(target, "POST", b"x" * 2_000_000))))
    assert cut["response_bytes"] == 0
    assert server.control("GET", "/http/summary")["orders"] == {}


def test_a_reset_right_behind_the_request_and_one_that_comes_too_late(server: Server) -> None:
    head = len(request("/order?id=a&fault=reset_request_at&byte=200", "POST", b"x" * 100)) - 100
    assert ask(server, "/order?id=a&fault=reset_request_at&byte=200", "POST", b"x" * (200 - head)) == (b"", "reset")
    late, _ = ask(server, "/order?id=b&fault=reset_request_at&byte=999", "POST", b"x", "Connection: close\r\n")
    assert b'"ok":true' in late
    assert server.control("GET", "/http/summary")["orders"] == {"a": 1, "b": 1}


@pytest.mark.parametrize("target", ["/depth?levels=5", "/big?size=300000", "/chunked?size=200000"])
@pytest.mark.parametrize("byte", [0, 1, 40, 150])
def test_faults_inside_the_response(server: Server, target: str, byte: int) -> None:
    whole, _ = ask(server, target, headers="Connection: close\r\n")
    server.control("POST", "/reset")
    truncated = "truncated" if server.tls else "fin"
    for fault, end in (("reset_response_at", "reset"), ("close_response_at", truncated)):
        assert ask(server, f"{target}&fault={fault}&byte={byte}") == (whole[:byte], end)
        cut = record(server, fault)
        assert (cut["complete"], cut["response_bytes"], cut["response_complete"]) == (True, byte, False)
    assert ask(server, f"{target}&fault=close_response_at&goodbye=1&byte={byte}") == (whole[:byte], "fin")
    with server.http() as peer:
        peer.send(request(f"{target}&fault=stall_at&byte={byte}"))
        assert byte == 0 or peer.receive(whole[:byte]) == whole[:byte]
        assert peer.is_quiet()


def test_a_fault_at_the_end_of_the_response_and_one_behind_it(server: Server) -> None:
    whole, _ = ask(server, "/status/200?body=end", headers="Connection: close\r\n")
    assert ask(server, f"/status/200?body=end&fault=reset_response_at&byte={len(whole)}") == (whole, "reset")
    assert record(server, "reset_response_at")["response_complete"]
    late = ask(server, f"/status/200?body=end&fault=stall_at&byte={len(whole) + 1}", headers="Connection: close\r\n")
    assert late == (whole, "fin")


def answered(peer: Peer, target: str = "/status/200?body=end") -> None:
    peer.send(request(target))
    peer.receive(b"end")


@pytest.mark.parametrize(("fault", "end"), [("close_idle", "fin"), ("reset_idle", "reset")])
def test_ends_of_idle_connections(server: Server, fault: str, end: str) -> None:
    with server.http() as peer:
        answered(peer, f"/status/200?body=end&fault={fault}&idle_ms=50")
        assert peer.rest() == (b"", end)
    assert server.control("GET", "/http/connections")["connections"][0]["closed_by"] == f"fault:{fault}"
    with server.http() as peer:  # the fault is of one answer
        answered(peer, f"/status/200?body=end&fault={fault}&idle_ms=60000")
        answered(peer)
        assert peer.is_quiet()


def test_fin_then_go(server: Server) -> None:
    with server.http() as peer:
        peer.send(request("/fin_then_go"))
        peer.receive(b"\r\n\r\nfin_then_go")
        peer.await_fin()
        peer.send(request("/order?id=a", "POST", b"x"))
        peer.send(request("/order?id=a", "POST", b"x"))
    written = server.control("GET", "/http/requests?target=order")["requests"]
    deadline = time.monotonic() + 10
    while len(written) < 2 and time.monotonic() < deadline:
        written = server.control("GET", "/http/requests?target=order")["requests"]
    assert [(r["complete"], r["response_bytes"]) for r in written] == [(True, 0)] * 2
    assert server.control("GET", "/http/summary")["orders"] == {"a": 2}


def test_never_answer_and_faults_for_the_next_requests(server: Server) -> None:
    server.control("POST", "/http_fault", {"kind": "never_answer", "count": 2, "target": "status"})
    with server.http() as first, server.http() as second, server.http() as third:
        for peer in (first, second):
            peer.send(request("/status/200?body=end"))
            assert peer.is_quiet()
        answered(third)
        assert server.control("GET", "/http/summary")["connections"]["open"] == 3
        live = [connection["id"] for connection in server.control("GET", "/http/connections")["connections"]]
        for peer, kind, end in ((first, "reset", "reset"), (second, "drop", "fin"), (third, "half_close", "fin")):
            applied = server.control("POST", "/http_fault", {"kind": kind, "connection": live.pop(0)})["applied"]
            assert len(applied) == 1
            assert peer.rest() == (b"", "truncated" if server.tls and end == "fin" else end)
    assert server.control("GET", "/http/summary")["connections"]["most_open"] == 3


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "the version is not HTTP/1.1"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "the target has a forbidden byte"),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "the target is no path"),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "the method is no token"),
        (b"GET / HTTP/1.1\r\n\r\n", "there is not one Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "there is not one Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", "a header name is no token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "a header line has no colon"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "a header value has a forbidden byte"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "Content-Length is not one number",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", "Content-Length is not one number"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
            "both Transfer-Encoding and Content-Length",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\na", "a transfer coding other than chunked"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "a chunk is longer than its size",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "a chunk has no size"),
    ],
)
def test_broken_requests_are_refused(server: Server, sent: bytes, rule: str) -> None:
    with server.http() as peer:
        peer.send(sent)
        answer, _ = peer.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(rule.encode())
    connection = server.control("GET", "/http/connections")["connections"][0]
    assert (connection["closed_by"], connection["protocol_error"]) == ("protocol_error", rule)
    assert server.control("GET", "/http/summary")["protocol_errors"] == 1


def test_an_abandoned_request_and_an_abandoned_answer(server: Server) -> None:
    whole = request("/order?id=a", "POST", b"x" * 1000)
    with server.http() as peer:
        peer.send(whole[:-1])
    abandoned = record(server)
    assert (abandoned["complete"], abandoned["bytes_received"]) == (False, len(whole) - 1)
    assert abandoned["body_sha256"] == hashlib.sha256(b"x" * 999).hexdigest()
    with server.http() as peer:
        peer.send(request("/slow?ms=60000"))
    assert record(server, "slow")["complete"]
    assert record(server, "slow")["response_bytes"] == 0
    assert server.control("GET", "/http/summary")["orders"] == {}


async def test_many_connections(server: Server) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> bytes:
            url = f"{server.http_url}/slow?ms=300&size=5&tag={number}"
            async with session.get(url, ssl=server.tls or True) as response:
                return await response.read()

        assert await asyncio.gather(*(one(number) for number in range(100))) == [b"01234"] * 100
    summary = server.control("GET", "/http/summary")
    assert (summary["connections"]["opened"], summary["connections"]["most_open"]) == (100, 100)
    assert summary["requests"]["complete"] == 100


@pytest.mark.parametrize(("mode", "error"), [("refuse", ConnectionRefusedError), ("reset", OSError)])
def test_accept_modes_of_one_listener(server: Server, mode: str, error: type[Exception]) -> None:
    on = "https" if server.tls else "http"
    server.control("POST", "/accept", {"mode": mode, "on": on})
    with pytest.raises(error):
        server.raise_how_it_ends(request("/depth"))
    other = Server(server.addresses, not server.tls)
    assert b"end" in ask(other, "/status/200?body=end", headers="Connection: close\r\n")[0]
    server.control("POST", "/accept", {"mode": "normal", "on": on})
    assert b"end" in ask(server, "/status/200?body=end", headers="Connection: close\r\n")[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/http_fault", {"kind": "oddly"}),
        ("/http_fault", {"kind": "stall_at"}),
        ("/http_fault", {"kind": "stall_at", "byte": 1, "unknown": 1}),
        ("/http_fault", {"byte": 1}),
        ("/answer", {"close": True}),
        ("/answer", {"base64": "a"}),
        ("/accept", {"mode": "reset", "on": "ftp"}),
    ],
)
def test_wrong_control_requests(server: Server, path: str, body: object) -> None:
    assert server.control("POST", path, body, 400)["error"]
    server.control("POST", "/http_fault", {"kind": "drop", "connection": "latest"}, 404)
    server.control("GET", "/http/requests/999999", None, 404)
    server.control("GET", "/http/nothing", None, 404)
