"""Wrong requests about raw sockets, with the answers that docs/errors.md documents."""

from typing import Any

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import (
    Close,
    Command,
    Delimiter,
    Heartbeat,
    LengthPrefix,
    Open,
    Ping,
    Retention,
    Send,
    SetupStep,
    SocketOptions,
    Target,
    Unframed,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import FRAME_KIND_TEXT, Header, Match
from tests.e2e.processes import Exchange
from tests.e2e.wrong import Wrong, opening, refused, targeting

RAW = "{tcp}"
SECOND = Duration(seconds=1)


def raw(name: str, says: str, reason: str = "INVALID_FIELD", **fields: Any) -> Wrong:
    return opening(name, reason, says, url=RAW, **fields)


def beating_raw(name: str, says: str, socket: SocketOptions | None = None, **heartbeat: Any) -> Wrong:
    return raw(name, says, socket=socket, heartbeat=Heartbeat(**heartbeat))


OF_OPEN = (
    targeting("raw socket with a path", "{tcp}/ws", "INVALID_FIELD", "a raw socket has no path and no query"),
    targeting("raw socket with a query", "{tcp}?token=x", "INVALID_FIELD", "target.url: a raw socket has no path"),
    targeting("raw socket without port", "tls://exchange.example", "INVALID_FIELD", "target.url: a raw socket needs"),
    opening("raw socket options of a WebSocket", "INVALID_FIELD", "open.socket: is for", socket=SocketOptions()),
    raw("WebSocket options of a raw socket", "open.websocket: is for ws://", websocket=WebSocketOptions()),
    opening(
        "headers of a raw socket",
        "INVALID_FIELD",
        "open.target.headers: a raw socket has none",
        url="",
        target=Target(url=RAW, headers=[Header(name="X-Who", value="me")]),
    ),
    # Framing.
    raw(
        "delimiter of 17 bytes",
        "open.socket.delimiter.bytes: must have 1 to 16 bytes",
        socket=SocketOptions(delimiter=Delimiter(bytes=b"x" * 17)),
    ),
    raw(
        "length prefix of 3 bytes",
        "open.socket.length_prefix.width: must be 1, 2 or 4",
        socket=SocketOptions(length_prefix=LengthPrefix(width=3)),
    ),
    raw(
        "max_frame_bytes of zero",
        "open.socket.max_frame_bytes: must not be zero",
        socket=SocketOptions(max_frame_bytes=0),
    ),
    raw(
        "max_frame_bytes beyond the limit",
        "open.socket.max_frame_bytes: at most 258048: limits.message_bytes less 4096",
        "LIMIT_REACHED",
        socket=SocketOptions(max_frame_bytes=256 << 10),
    ),
    raw(
        "preamble beyond the limit",
        "open.socket.preamble: limits.setup_bytes is 1024",
        "LIMIT_REACHED",
        socket=SocketOptions(preamble=b"x" * 1025),
    ),
    raw(
        "journal below one frame",
        "open.retention.journal_bytes: must be at least 258112, socket.max_frame_bytes and 64",
        retention=Retention(journal_bytes=2000),
    ),
    # Heartbeat.
    beating_raw("ping heartbeat of a raw socket", "open.heartbeat: a raw socket has neither", ping="ping"),
    beating_raw("text heartbeat of a raw socket", "open.heartbeat: a raw socket has neither pings", text="ping"),
    beating_raw("raw heartbeats of nothing", "open.heartbeat.interval: needs binary on a raw", interval=SECOND),
    beating_raw("heartbeat with the delimiter in it", "open.heartbeat.binary: has the delimiter", binary=b"ping\r\n"),
    beating_raw(
        "heartbeat whose tokens may become the delimiter",
        "open.heartbeat.binary: its tokens become digits",
        SocketOptions(delimiter=Delimiter(bytes=b"7")),
        binary=b"beat {n}",
    ),
    beating_raw(
        "heartbeat that its tokens make too long for the prefix",
        "open.heartbeat.binary: has 257 bytes; the length prefix can tell 255",
        SocketOptions(length_prefix=LengthPrefix(width=1)),
        binary=b"x" * 237 + b"{n}",
    ),
    beating_raw(
        "empty heartbeat without framing",
        "open.heartbeat.binary: is empty: without framing",
        SocketOptions(unframed=Unframed()),
        binary=b"",
    ),
    beating_raw(
        "pong timeout for a raw heartbeat that has no answer",
        "open.heartbeat.pong_timeout: a text or binary heartbeat needs keepalive",
        binary=b"ping",
        pong_timeout=SECOND,
    ),
    # Setup.
    raw(
        "setup step of text on a raw socket",
        "open.setup[0].kind: a raw socket has no text frames",
        setup=[SetupStep(key="login", payload=b"x", kind=FRAME_KIND_TEXT)],
    ),
    raw(
        "setup step with the delimiter in it",
        "open.setup[0].payload: has the delimiter in it",
        setup=[SetupStep(key="login", payload=b"one\r\ntwo", expect=Match(contains=[b"ok"]))],
    ),
    raw(
        "setup step too long for the prefix",
        "open.setup[0].payload: has 255 bytes; the length prefix can tell 254 at most",
        socket=SocketOptions(length_prefix=LengthPrefix(width=1, counts_itself=True)),
        setup=[SetupStep(key="login", payload=b"x" * 255)],
    ),
)


def commanding(name: str, says: str, command: Command, **framing: Any) -> Wrong:
    """A command to a raw session that is OPEN."""
    socket = SocketOptions(preamble=Exchange.preamble("/idle"), **framing)
    before = Command(channel=2, open=Open(target=Target(url=RAW), socket=socket))
    command.channel = 2
    return Wrong(name, refused("INVALID_FIELD"), says, command, before=(before,))


def sending_raw(name: str, says: str, send: Send, **framing: Any) -> Wrong:
    return commanding(name, says, Command(send=send), **framing)


# Sent on the channel of a raw session.
OF_CHANNEL = (
    sending_raw("text on a raw socket", "send.kind: a raw socket has", Send(payload=b"x", kind=FRAME_KIND_TEXT)),
    sending_raw("frame with the delimiter in it", "send.payload: has the delimiter in it", Send(payload=b"a\r\nb")),
    sending_raw(
        "frame whose end makes a delimiter too early",
        "send.payload: has the delimiter",
        Send(payload=b"a|"),
        delimiter=Delimiter(bytes=b"||"),
    ),
    sending_raw(
        "frame too long for the prefix",
        "send.payload: has 65536 bytes; the length prefix can tell 65535 at most",
        Send(payload=b"x" * 65536),
        length_prefix=LengthPrefix(width=2),
    ),
    sending_raw("empty frame without framing", "send.payload: is empty: without framing", Send(), unframed=Unframed()),
    commanding("ping on a raw socket", "ping: a raw socket has no pings", Command(ping=Ping())),
    commanding("close code on a raw socket", "close: a raw socket has no close", Command(close=Close(code=1000))),
    commanding("close reason on a raw socket", "close: a raw socket has no", Command(close=Close(reason="bye"))),
)

# The session begins, and ends for good: what is wrong shows when it dials.
OF_DIAL = (
    Wrong(
        "raw socket without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows tcp://127.0.0.1:1;",
        Command(open=Open()),
        "tcp://127.0.0.1:1",
    ),
    Wrong(
        "scheme without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows tls://127.0.0.1:1;",
        Command(open=Open()),
        "tls://127.0.0.1:1",
    ),
)
