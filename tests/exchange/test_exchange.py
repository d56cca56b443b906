"""The simulated exchange, tested with a WebSocket client that is not ours."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import pathlib
import subprocess
import time
from typing import Any

import pytest
import websockets

from tests.exchange.conftest import BINARY, RECORDINGS, Server


async def receive_all(socket: websockets.ClientConnection) -> tuple[list[Any], websockets.ConnectionClosed]:
    frames = []
    try:
        while True:
            frames.append(await asyncio.wait_for(socket.recv(), 5))
    except websockets.ConnectionClosed as closed:
        return frames, closed


async def is_quiet(socket: websockets.ClientConnection) -> bool:
    try:
        await asyncio.wait_for(socket.recv(), 0.2)
    except TimeoutError:
        return True
    return False


def test_numbered_flat_out(server: Server) -> None:
    async def run() -> None:
        async with server.connect("/numbered?count=10000&size=150&close=1000") as socket:
            frames, closed = await receive_all(socket)
        assert [int(frame.split()[0]) for frame in frames] == list(range(1, 10001))
        assert {len(frame) for frame in frames} == {150}
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1000
        record = await server.closed()
        assert (record["closed_by"], record["first_number"], record["last_number"]) == ("exchange_close", 1, 10000)
        assert record["server_name"] == ("localhost" if server.tls else "")

    asyncio.run(run())


def test_stamps_tell_when_a_frame_was_due(server: Server) -> None:
    async def run() -> None:
        started = time.monotonic_ns()
        async with server.connect("/numbered?rate=1000&burst=10&stamp=1&count=35&size=150&close=1000") as socket:
            frames, _ = await receive_all(socket)
        assert {len(frame) for frame in frames} == {150}
        numbers, stamps = zip(*(map(int, frame.split()[:2]) for frame in frames), strict=True)
        assert numbers == tuple(range(1, 36))
        assert started < stamps[0] < time.monotonic_ns()
        # Bursts of ten, 10 ms apart, however late they were sent.
        due = [stamps[0] + at // 10 * 10_000_000 for at in range(35)]
        assert all(abs(stamp - should) <= 1 for stamp, should in zip(stamps, due, strict=True))

    asyncio.run(run())


def test_a_feed_numbers_on_while_nobody_is_connected(server: Server) -> None:
    async def run() -> None:
        async with server.connect("/numbered?rate=1000") as socket:
            first = [int(await socket.recv()) for _ in range(100)]
        while (await asyncio.to_thread(server.control, "GET", "/feeds"))["feeds"][0]["head"] < 300:
            pass  # Nobody is connected, and it numbers on.
        async with server.connect("/numbered?rate=1000") as socket:
            second = [int(await socket.recv()) for _ in range(100)]
        assert first == list(range(1, 101))
        assert second[0] >= 300
        assert second == list(range(second[0], second[0] + 100))
        assert (await server.refused("/numbered?rate=999")).status_code == 409

    asyncio.run(run())


def test_synthetic_is_deterministic(server: Server) -> None:
    async def play(seed: int) -> list[Any]:
        async with server.connect(f"/synthetic?seed={seed}&count=2000&feed=&close=1000") as socket:
            return (await receive_all(socket))[0]

    async def run() -> None:
        first, second, other = await play(7), await play(7), await play(8)
        assert first == second != other
        assert [json.loads(frame)["sequence"] for frame in first] == list(range(1, 2001))
        assert all(120 <= len(frame) <= 400 for frame in first)

    asyncio.run(run())


@pytest.mark.parametrize("query", ["", "&deflate=1", "&deflate=context&fragment=100"])
def test_recordings(server: Server, query: str) -> None:
    paths = sorted(RECORDINGS.glob("*_ws.jsonl.gz"))
    if not paths:
        pytest.skip("there are no recordings")

    async def run(path: pathlib.Path) -> None:
        with gzip.open(path, "rt") as lines:
            records = [json.loads(line) for line in lines]
        expected = [
            record["text"] if "text" in record else base64.b64decode(record["base64"])
            for record in records
            if record.get("from") == "exchange"
        ]
        name = path.name.removesuffix(".jsonl.gz")
        target = f"/recording/{name}?speed=flat&close=1000{query}"
        async with server.connect(target, compression="deflate" if query else None) as socket:
            assert (await receive_all(socket))[0] == expected
        assert ("permessage-deflate" in (await server.closed())["extensions"]) == bool(query)

    for path in paths:
        asyncio.run(run(path))


def test_echo_and_what_is_kept(server: Server) -> None:
    async def run() -> None:
        async with server.connect("/echo?deflate=1&tag=x", compression="deflate", subprotocols=["b", "a"]) as socket:
            assert socket.subprotocol == "b"
            for message in ("hello", "hello", b"\x00\xff", "y" * 1_000_000):
                await socket.send(message)
                assert await socket.recv() == message
            await (await socket.ping(b"abc"))
            for pushed in ({"text": "pushed"}, {"base64": "AAE="}, {"ping": "p"}):
                server.control("POST", "/send", {"connection": {"target": "tag=x"}} | pushed)
            assert [await socket.recv(), await socket.recv()] == ["pushed", b"\x00\x01"]
        record = await server.closed()
        assert [frame["kind"] for frame in record["frames"]] == ["text", "text", "binary", "text"]
        assert record["frames"][2]["base64"] == "AP8="
        assert record["frames"][0]["text"] == "hello"
        assert record["pings"][0]["text"] == "abc"
        assert record["pongs"][0]["text"] == "p"
        assert ["Sec-WebSocket-Protocol", "b, a"] in record["headers"]
        assert (record["closed_by"], record["close_code_received"]) == ("peer_close", 1000)

    asyncio.run(run())


def test_login_then_subscribe(server: Server) -> None:
    async def run() -> None:
        async with server.connect("/login?count=2") as socket:
            await socket.send("subscribe")
            assert json.loads(await socket.recv())["code"] == "login_required"
            await socket.send("login")
            assert json.loads(await socket.recv()) == {"event": "login", "ok": True}
            assert await is_quiet(socket)
            await socket.send("subscribe")
            assert [await socket.recv() for _ in range(3)] == ['{"event":"subscribed"}', "1", "2"]
        async with server.connect("/login?reject=1&feed=") as socket:
            await socket.send("login")
            assert json.loads(await socket.recv())["code"] == "denied"
        async with server.connect("/login?mute=1&feed=") as socket:
            await socket.send("login")
            assert await is_quiet(socket)

    asyncio.run(run())


def test_big_and_bomb(server: Server) -> None:
    async def run() -> None:
        for target in ("/big?size=16777216", "/big?size=16777216&fragment=100000"):
            async with server.connect(target) as socket:
                message = await socket.recv()
                assert len(message) == 16 << 20
                assert message[:12] == "012345678901"
        async with server.connect("/bomb?size=3500000", compression="deflate") as socket:
            assert await socket.recv() == bytes(3_500_000)
        async with server.connect("/bomb", compression="deflate", max_size=1 << 20) as socket:
            await receive_all(socket)
        assert (await server.closed())["close_code_received"] == 1009

    asyncio.run(run())


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/idle?status=503&retry_after=7", 503),
        ("/nowhere", 400),
        ("/idle?unknown=1", 400),
        ("/numbered?rate=many", 400),
        ("/idle?fault=nothing", 400),
        ("/idle?after=3", 400),
        ("/bomb", 400),
        ("/recording/none", 409),
    ],
)
def test_refused_upgrades(server: Server, target: str, status: int) -> None:
    response = asyncio.run(server.refused(target))
    assert response.status_code == status
    assert response.headers.get("Retry-After") == ("7" if status == 503 else None)


@pytest.mark.parametrize(
    ("fault", "frames", "by"),
    [
        ("drop&after=500", 500, "fault:drop"),
        ("reset&after=500", None, "fault:reset"),
        ("reset_at_byte&byte=0", 0, "fault:reset_at_byte"),
        ("reset_at_byte&byte=7777", None, "fault:reset_at_byte"),  # 50 frames and a half
        ("half_close&after=500", 500, "peer_eof"),
        ("close&code=4001&reason=bye&after=500", 500, "exchange_close"),
    ],
)
def test_faults_that_end_the_connection(server: Server, fault: str, frames: int | None, by: str) -> None:
    async def run() -> None:
        async with server.connect(f"/numbered?size=150&fault={fault}") as socket:
            received, closed = await receive_all(socket)
        numbers = [int(frame.split()[0]) for frame in received]
        assert numbers == list(range(1, len(numbers) + 1))
        assert frames is None or len(numbers) == frames
        assert (closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)) == ((4001, "bye") if "4001" in fault else None)
        record = await server.closed()
        assert record["closed_by"] == by
        assert record["last_number"] == (None if "byte=0" in fault else 51 if "byte" in fault else 500)
        assert "byte" not in fault or record["bytes_sent"] == int(fault.rsplit("=", 1)[1])

    asyncio.run(run())


@pytest.mark.parametrize(
    ("corruption", "code"),
    [("opcode", 1002), ("masked", 1002), ("rsv", 1002), ("utf8", 1007), ("continuation", 1002), ("long_ping", 1002)],
)
def test_corruption(server: Server, corruption: str, code: int) -> None:
    async def run() -> None:
        async with server.connect(f"/numbered?rate=100&fault=corrupt&corruption={corruption}&after=10") as socket:
            assert len((await receive_all(socket))[0]) == 10
        assert (await server.closed())["close_code_received"] == code

    asyncio.run(run())


def test_stall_silent_no_pong_and_lift(server: Server) -> None:
    async def answers_pings(socket: websockets.ClientConnection) -> bool:
        try:
            await asyncio.wait_for(await socket.ping(), 0.2)
        except TimeoutError:
            return False
        return True

    async def run() -> None:
        for kind, feeds, pongs in (("stall", False, True), ("silent", False, False), ("no_pong", True, False)):
            async with server.connect(f"/numbered?rate=200&feed=&fault={kind}&after=10") as socket:
                for _ in range(10):
                    await socket.recv()
                assert await answers_pings(socket) == pongs
                assert await is_quiet(socket) != feeds
                server.control("POST", "/fault", {"connection": "latest", "kind": "lift"})
                assert await answers_pings(socket)
                assert not await is_quiet(socket)

    asyncio.run(run())


def test_never_read(server: Server) -> None:
    async def flood(socket: websockets.ClientConnection) -> None:
        for _ in range(1000):
            await socket.send(bytes(100_000))

    async def run() -> None:
        async with server.connect("/idle?fault=never_read") as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flood(socket), 2)
            socket.transport.abort()

    asyncio.run(run())


def test_late_and_missing_handshakes(server: Server) -> None:
    async def run() -> None:
        for accept, target in (("normal", "/idle?fault=slow_handshake&ms=200"), ("slow_handshake", "/idle")):
            if accept != "normal":
                server.control("POST", "/accept", {"mode": accept, "ms": 200})
            begin = time.monotonic()
            async with server.connect(target):
                assert 0.2 <= time.monotonic() - begin < 2
        server.control("POST", "/accept", {"mode": "normal"})
        with pytest.raises(TimeoutError):
            async with server.connect("/idle?fault=never_upgrade", open_timeout=0.3):
                pass
        assert (await server.closed())["opened_at_unix_ns"] is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("refuse", ConnectionRefusedError),
        ("reset", (ConnectionResetError, websockets.InvalidMessage)),
        ("silent", TimeoutError),
        ("never_upgrade", TimeoutError),
    ],
)
def test_accept_modes(server: Server, mode: str, error: type[Exception]) -> None:
    async def run() -> None:
        async with server.connect("/echo") as before:
            server.control("POST", "/accept", {"mode": mode})
            with pytest.raises(error):
                async with server.connect("/idle", open_timeout=0.3):
                    pass
            await before.send("still here")
            assert await before.recv() == "still here"
        server.control("POST", "/accept", {"mode": "normal"})
        async with server.connect("/idle"):
            pass

    asyncio.run(run())


def test_drops_at_random_moments(server: Server) -> None:
    async def run() -> None:
        last = 0
        for attempt in range(20):
            async with server.connect("/numbered?rate=5000&size=100") as socket:
                reader = asyncio.create_task(receive_all(socket))
                await asyncio.sleep(0.02 + 0.003 * attempt)
                await asyncio.to_thread(server.control, "POST", "/fault", {"connection": "latest", "kind": "drop"})
                numbers = [int(frame.split()[0]) for frame in (await reader)[0]]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert numbers[0] > last
            last = numbers[-1]
            record = await server.closed()
            assert (record["first_number"], record["last_number"]) == (numbers[0], last)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("POST", "/feeds", {}, 405),
        ("GET", "/connections/999999", None, 404),
        ("GET", "/connections/first", None, 400),
        ("GET", "/connections?unknown=1", None, 400),
        ("POST", "/fault", {"connection": 1, "kind": "drop"}, 404),
        ("POST", "/fault", {"connection": "some", "kind": "drop"}, 400),
        ("POST", "/accept", {"mode": "oddly"}, 400),
        ("POST", "/accept", {"mode": "normal", "unknown": 1}, 400),
        ("POST", "/reset", {"unknown": 1}, 400),
        ("POST", "/send", [], 400),
    ],
)
def test_wrong_control_requests(server: Server, method: str, path: str, body: object, status: int) -> None:
    assert server.control(method, path, body, status)["error"]


@pytest.mark.parametrize("arguments", [["--unknown", "1"], ["--ws-port", "65536"], ["--ws-port"], ["stray"]])
def test_wrong_flags(arguments: list[str]) -> None:
    assert subprocess.run([BINARY, *arguments], capture_output=True, timeout=10).returncode == 2
