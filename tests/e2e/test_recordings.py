"""Each recording: every frame and every body, byte for byte, in order, exactly once; text as text, binary as binary."""

import asyncio
import base64
import gzip
import json

import pytest

import fairlead
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import PATIENCE_S, RECORDINGS, Exchange

NAMES = ["coinbase_ws", "bybit_ws", "binance_ws", "binance_futures_ws", "huobi_ws"]


def recorded(name: str) -> list[tuple[fairlead.FrameKind, bytes]]:
    """What the exchange once sent, as the recording has it."""
    path = RECORDINGS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no recording at {path}; FAIRLEAD_RECORDINGS names their directory")
    frames = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record.get("from") != "exchange":
                continue
            if "base64" in record:
                frames.append((fairlead.FrameKind.BINARY, base64.b64decode(record["base64"])))
            else:
                frames.append((fairlead.FrameKind.TEXT, record["text"].encode()))
    assert frames
    return frames


async def check_all(
    session: fairlead.Session, expected: list[tuple[fairlead.FrameKind, bytes]]
) -> fairlead.SessionEnded:
    """Reads a session to its end; all of what was expected came, and nothing else. Returns why it ended."""
    received: list[tuple[fairlead.FrameKind, bytes]] = []
    sequences: list[int] = []
    end: fairlead.SessionEnded | None = None
    try:
        async with session:
            async for entry in session.events():
                if isinstance(entry, fairlead.Frame):
                    received.append((entry.kind, entry.payload))
                if isinstance(entry, fairlead.Frame | fairlead.StateChanged):
                    sequences.append(entry.sequence)
                assert not isinstance(entry, fairlead.Gap)
    except fairlead.SessionEnded as ended:
        end = ended

    for position, (sent, came) in enumerate(zip(expected, received, strict=False)):
        assert came == sent, f"frame {position + 1} of {len(expected)}"
    assert len(received) == len(expected)
    assert sequences == list(range(1, len(sequences) + 1))
    assert end is not None
    return end


@pytest.mark.parametrize("deflate", ["", "&deflate=1", "&deflate=context"], ids=["plain", "deflate", "deflate-context"])
@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "wss") for name in NAMES), ("coinbase_ws", "ws"), ("huobi_ws", "ws")]
)
async def test_recording(client: fairlead.Gateway, exchange: Exchange, name: str, scheme: str, deflate: str) -> None:
    expected = recorded(name)
    url = f"{exchange.wss if scheme == 'wss' else exchange.ws}/recording/{name}?speed=flat&close=1000{deflate}"
    once = fairlead.Reconnect(enabled=False)
    session = client.websocket(
        url, start=fairlead.OLDEST, reconnect=once, permessage_deflate=bool(deflate), open_timeout=PATIENCE_S
    )
    end = await check_all(session, expected)
    assert end.reason is fairlead.Reason.PEER_CLOSED

    record = await exchange.closed()
    assert record["extensions"].startswith("permessage-deflate") if deflate else not record["extensions"]
    assert record["tls"] is (scheme == "wss")
    assert len(await exchange.connections()) == 1


# ---- Betfair's lines. ----


# One byte a write, through the fast part of the recording's beginning; else as much as there is.
@pytest.mark.parametrize("pieces", ["", "&write=1&count=20", "&write=1000"])
@pytest.mark.parametrize("endpoint", ["tls", "tcp"], indirect=True)
async def test_lines_of_betfair(client: fairlead.Gateway, endpoint: Endpoint, pieces: str) -> None:
    """JSON lines that end in CRLF, over TLS as Betfair has it: each is a frame without its CRLF."""
    expected = [(fairlead.FrameKind.BINARY, payload) for _, payload in recorded("betfair_tcp")]
    if "count=20" in pieces:
        expected = expected[:20]
    once = fairlead.Reconnect(enabled=False)
    path = f"/recording/betfair_tcp?speed=flat&close=1000&framing=delimiter&delimiter=%0d%0a{pieces}"
    session = endpoint.session(client, path, start=fairlead.OLDEST, reconnect=once, open_timeout=PATIENCE_S)
    end = await check_all(session, expected)
    assert end.reason is fairlead.Reason.CONNECTION_LOST, "a raw socket has no close frame"
    assert "bytes into a frame" not in end.message
    record = await endpoint.exchange.closed()
    assert record["kind"] == endpoint.scheme
    assert record["bytes_sent"] == sum(len(payload) + 2 for _, payload in expected)


# ---- HTTP. ----


def bodies(name: str) -> list[bytes]:
    """The bodies of the responses that an exchange once gave."""
    path = RECORDINGS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no recording at {path}; FAIRLEAD_RECORDINGS names their directory")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        recorded = [record["text"].encode() for record in map(json.loads, lines) if "url" in record]
    assert recorded
    return recorded


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", ["binance_http", "bitstamp_http"])
async def test_http_recording(client: fairlead.Gateway, exchange: Exchange, name: str, scheme: str) -> None:
    """Each body, byte for byte: one after the other on one connection, and all at once."""
    expected = bodies(name)
    url = f"{exchange.http if scheme == 'http' else exchange.https}/recording/{name}"
    for at, body in enumerate(expected):
        reply = await client.http.get(url, params={"index": at})
        assert reply.status == 200
        assert reply.body == body, f"body {at + 1} of {len(expected)}"
        assert reply.headers["x-recording-count"] == str(len(expected))
    assert len(await exchange.http_connections()) == 1
    together = await asyncio.gather(*(client.http.get(url, params={"index": at}) for at in range(len(expected))))
    assert [reply.body for reply in together] == expected
