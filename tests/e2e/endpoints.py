"""The simulated exchange behind each kind of socket: what holds for all of them is written once and run over each."""

from dataclasses import dataclass
from typing import Any

import fairlead
from fairlead.v1.session_pb2 import Heartbeat, Open, SocketOptions, Target, WebSocketOptions
from fairlead.v1.types_pb2 import FRAME_KIND_BINARY, FRAME_KIND_TEXT, FrameKind
from tests.e2e.processes import Exchange

SCHEMES = ["ws", "wss", "tcp", "tls"]
RAW = ["tcp", "tls"]
SECURE = ["wss", "tls"]
WEBSOCKET = ["ws", "wss"]


@dataclass(frozen=True)
class Endpoint:
    """One kind of socket of one exchange. Paths choose feeds and faults: in the URL, or in a raw socket's preamble."""

    scheme: str
    exchange: Exchange

    @property
    def is_raw(self) -> bool:
        return self.scheme in RAW

    @property
    def base(self) -> str:
        """The URL without a path; of a raw socket it is the whole."""
        address: str = getattr(self.exchange, self.scheme)
        return address

    @property
    def kind(self) -> "FrameKind.ValueType":
        """Of the exchange's texts, as they are delivered."""
        return FRAME_KIND_BINARY if self.is_raw else FRAME_KIND_TEXT

    def opening(self, path: str, *, most_bytes: int | None = None, **fields: Any) -> Open:
        """An Open that gets `path`; most_bytes is the longest frame accepted."""
        if self.is_raw:
            socket = SocketOptions(preamble=self.exchange.preamble(path), max_frame_bytes=most_bytes)
            return Open(target=Target(url=self.base), socket=socket, **fields)
        websocket = WebSocketOptions(max_message_bytes=most_bytes)
        return Open(target=Target(url=self.base + path), websocket=websocket, **fields)

    def beating(self, words: str, **fields: Any) -> Heartbeat:
        """Heartbeats of these words, as text where there is text."""
        return Heartbeat(binary=words.encode(), **fields) if self.is_raw else Heartbeat(text=words, **fields)

    def session(self, client: fairlead.Gateway, path: str, **options: Any) -> fairlead.Session:
        """A session of the Python client that gets `path`."""
        if self.is_raw:
            return client.socket(self.base, preamble=self.exchange.preamble(path), **options)
        return client.websocket(self.base + path, **options)

    async def stop_feed(self, name: str) -> int:
        """On all connections that have it; returns the last number that one of them was sent."""
        await self.exchange.fault("stall", {"target": f"feed={name}"})
        return max(record["last_number"] or 0 for record in await self.exchange.connections(f"feed={name}"))

    def check_goodbye(self, record: dict[str, Any], code: int, reason: str = "") -> None:
        """The gateway ended this connection in order: with a close frame, or a raw socket with its end alone."""
        if self.is_raw:
            assert record["closed_by"] == "peer_eof"
        else:
            assert record["closed_by"] == "peer_close"
            assert (record["close_code_received"], record["close_reason_received"]) == (code, reason)
