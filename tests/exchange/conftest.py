"""Fixtures: one running exchange a module, seen plain and through TLS."""

import asyncio
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("FAIRLEAD_EXCHANGE", ROOT / "build/release/exchange"))
RECORDINGS = pathlib.Path(os.environ.get("FAIRLEAD_RECORDINGS", ROOT.parent / "shared/recordings"))

# States of linux/tcp_states.h.
TCP_CLOSE = 7
TCP_CLOSE_WAIT = 8


class Peer:
    """A plain blocking socket to the exchange, or one with TLS."""

    def __init__(self, address: str, tls: ssl.SSLContext | None) -> None:
        port = int(address.rsplit(":", 1)[1])
        plain = socket.create_connection(("127.0.0.1", port), 10)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) if tls else plain

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, until: bytes) -> bytes:
        """Bytes up to and with `until`; nothing may follow it."""
        received = b""
        while not received.endswith(until):
            received += self.socket.recv(65536) or pytest.fail(f"the end, after {received!r}")
        return received

    def rest(self) -> tuple[bytes, str]:
        """All bytes until the connection ends, and how: fin, reset, or truncated (TLS: FIN without close_notify)."""
        received, end = b"", "fin"
        try:
            while piece := self.socket.recv(65536):
                received += piece
        except ConnectionResetError:
            return received, "reset"
        except ssl.SSLError:
            end = "truncated"
        # Through TLS, Python tells a reset like an end; the kernel knows better.
        return received, "reset" if self.tcp_state() == TCP_CLOSE else end

    def await_fin(self) -> None:
        """Waits for the exchange's FIN without reading it, as that would be the end of Python's TLS."""
        deadline = time.monotonic() + 10
        while self.tcp_state() != TCP_CLOSE_WAIT:
            assert time.monotonic() < deadline, "there comes no FIN"

    def tcp_state(self) -> int:
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    def is_quiet(self) -> bool:
        self.socket.settimeout(0.2)
        try:
            return not self.socket.recv(1) and pytest.fail("the connection ended")
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)


class Server:
    """One running exchange, seen plain or through TLS."""

    def __init__(self, addresses: dict[str, str], tls: bool) -> None:
        self.addresses = addresses
        self.control_address = addresses["control"]
        self.tls = ssl.create_default_context(cafile=addresses["ca"]) if tls else None
        if self.tls:
            self.tls.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self.url = self._url("wss" if tls else "ws")
        self.http_url = self._url("https" if tls else "http")

    def _url(self, scheme: str) -> str:
        port = self.addresses[scheme].rsplit(":", 1)[1]
        return f"{scheme}://localhost:{port}" if self.tls else f"{scheme}://127.0.0.1:{port}"

    def connect(self, target: str, **options: Any) -> connect:
        options = {
            "compression": None,
            "max_size": None,
            "max_queue": None,
            "ping_interval": None,
            "close_timeout": 0.3,
        } | options
        return connect(self.url + target, ssl=self.tls, **options)

    def http(self) -> Peer:
        return Peer(self.addresses["https" if self.tls else "http"], self.tls)

    def raise_how_it_ends(self, sent: bytes) -> None:
        with self.http() as peer:
            peer.send(sent)
            if peer.rest()[1] == "reset":
                raise ConnectionResetError

    def unannounced(self) -> Peer:
        """A raw socket that has sent nothing yet."""
        return Peer(self.addresses["tls" if self.tls else "tcp"], self.tls)

    def raw(self, target: str) -> Peer:
        """A raw socket that has sent its preamble."""
        peer = self.unannounced()
        peer.send(f"FAIRLEAD-TEST {target}\n".encode())
        return peer

    def control(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.control_address}{path}", method=method, data=text)
        try:
            with urllib.request.urlopen(request) as reply:
                code, answer = reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            code, answer = error.code, json.load(error)
        assert code == status, answer
        return answer

    async def closed(self) -> Any:
        """The latest connection's record, once it is closed."""
        for _ in range(200):
            record = self.control("GET", "/connections/latest")
            if record["state"] == "closed":
                return record
            await asyncio.sleep(0.01)
        raise AssertionError("the connection does not close")

    async def refused(self, target: str, **options: Any) -> websockets.Response:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with self.connect(target, **options):
                pass
        return caught.value.response


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    ca = tmp_path_factory.mktemp("exchange") / "ca.pem"
    with subprocess.Popen(
        [BINARY, "--ca-out", ca, "--recordings", RECORDINGS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield dict(word.split("=", 1) for word in process.stdout.readline().split()[2:])
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture(params=["plain", "tls"])
def server(addresses: dict[str, str], request: pytest.FixtureRequest) -> Server:
    server = Server(addresses, request.param == "tls")
    server.control("POST", "/reset", {"connections": True})
    return server
