"""Wrong requests, one line each, with the answers that docs/errors.md documents. test_bad_input.py sends them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import (
    Answer,
    Close,
    Command,
    Delivery,
    Heartbeat,
    Join,
    Open,
    Ping,
    Reconnect,
    ReconnectPolicy,
    Retention,
    Send,
    SetTarget,
    SetupStep,
    SocketOptions,
    Start,
    Target,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import Header, Match, QuotaCharge

# So low that a test reaches each of them.
LIMITS = {
    "sessions": 3,
    "streams": 3,
    "channels_per_stream": 4,
    "subscribers_per_session": 3,
    "message_bytes": "256KiB",
    "journal_bytes": "1MiB",
    "send_queue_bytes": "64KiB",
    "total_send_queue_bytes": "96KiB",
    "setup_steps": 3,
    "setup_bytes": "1KiB",
    "header_bytes": 512,
    "url_bytes": 512,
}

# Field 1000, a varint: no message has it.
UNKNOWN_FIELD = b"\xc0\x3e\x01"
CHARGE = QuotaCharge(key="orders")
ZERO = Duration()
NOT_AN_ENUM_VALUE = cast(Any, 99)


@dataclass(frozen=True)
class Wrong:
    """A command that is refused while the other channels of its stream go on."""

    name: str
    answer: str  # As docs/errors.md has it.
    says: str  # What the message must contain. {ws} and {exchange} stand for the exchange's URL and its host and port.
    command: Command
    url: str = "{ws}/idle"  # Put into an Open that has no target; empty: leave it without.
    before: tuple[Command, ...] = field(default=())  # Commands of the same stream that must succeed first.

    @property
    def sent(self) -> str:
        return str(self.command.WhichOneof("action") or "command").capitalize().replace("Set_target", "SetTarget")


def refused(reason: str) -> str:
    return f"CommandResult {reason}"


def opening(
    name: str, reason: str, says: str, url: str = "{ws}/idle", before: Iterable[Command] = (), **fields: Any
) -> Wrong:
    return Wrong(name, refused(reason), says, Command(open=Open(**fields)), url, tuple(before))


def targeting(name: str, url: str, reason: str, says: str) -> Wrong:
    return Wrong(name, refused(reason), says, Command(open=Open()), url)


def header(name: str, headers: list[Header], says: str, reason: str = "INVALID_FIELD") -> Wrong:
    return opening(name, reason, says, url="", target=Target(url="{ws}/idle", headers=headers))


def step(name: str, reason: str, says: str, *steps: SetupStep) -> Wrong:
    return opening(name, reason, says, setup=steps)


def sending(name: str, reason: str, says: str, **fields: Any) -> Wrong:
    return Wrong(name, refused(reason), says, Command(send=Send(**fields)))


def beating(name: str, says: str, **fields: Any) -> Wrong:
    return opening(name, "INVALID_FIELD", says, heartbeat=Heartbeat(**fields))


def reconnecting(name: str, says: str, reason: str = "INVALID_FIELD", **fields: Any) -> Wrong:
    return opening(name, reason, says, reconnect=ReconnectPolicy(**fields))


def joining(name: str, reason: str, says: str, before: Iterable[Command] = (), **fields: Any) -> Wrong:
    return Wrong(name, refused(reason), says, Command(join=Join(**fields)), before=tuple(before))


def good_step(key: str = "login", **fields: Any) -> SetupStep:
    return SetupStep(key=key, payload=b"x", **fields)


# Sent on a channel of its own.
OF_OPEN = (
    Wrong(
        "Open with an unknown field",
        refused("UNKNOWN_FIELD"),
        "Command.open: field number 1000",
        Command(open=Open.FromString(UNKNOWN_FIELD)),
    ),
    step(
        "setup step with an unknown field",
        "UNKNOWN_FIELD",
        "Command.open.setup: field number 1000",
        SetupStep.FromString(good_step().SerializeToString() + UNKNOWN_FIELD),
    ),
    opening("session name with a space", "INVALID_FIELD", "open.session: must match", session="market data"),
    opening("Open without target", "INVALID_FIELD", "open.target: is required", url=""),
    opening("raw socket options", "NOT_IMPLEMENTED", "open.socket:", socket=SocketOptions()),
    opening("ask before dial", "NOT_IMPLEMENTED", "open.ask_before_dial:", ask_before_dial=True),
    opening("connect charges", "NOT_IMPLEMENTED", "open.connect_charges:", connect_charges=[CHARGE]),
    opening("connection profile", "NOT_IMPLEMENTED", "open.profile:", profile="proxy"),
    # The URL.
    opening("target without URL", "INVALID_FIELD", "open.target.url: is required", url="", target=Target()),
    targeting("over-long URL", "{ws}/" + "x" * 600, "LIMIT_REACHED", "limits.url_bytes is 512"),
    targeting("URL with a space", "{ws}/a b", "INVALID_FIELD", "is not a URL by RFC 3986"),
    targeting("unknown scheme", "https://{exchange}/", "INVALID_FIELD", "the scheme must be ws or wss"),
    targeting("tcp scheme", "tcp://{exchange}", "NOT_IMPLEMENTED", "the scheme tcp is not implemented"),
    targeting("user name in the URL", "ws://user:secret@{exchange}/", "INVALID_FIELD", "a user name or password"),
    targeting("fragment in the URL", "{ws}/idle#top", "INVALID_FIELD", "a fragment is not allowed"),
    targeting("URL without host", "ws:///idle", "INVALID_FIELD", "a host is required"),
    targeting("port 0", "ws://127.0.0.1:0/", "INVALID_FIELD", "the port must be 1 to 65535"),
    targeting("text behind the port", "{ws}x/", "INVALID_FIELD", "the host or the port is malformed"),
    targeting("address of a future version", "ws://[v1.x]/", "INVALID_FIELD", "an address of an unknown version"),
    targeting("host with an empty label", "ws://a..example/", "INVALID_FIELD", "an empty label"),
    targeting("host longer than a name", "ws://" + "a." * 150 + "b/", "INVALID_FIELD", "longer than 253 bytes"),
    targeting("label longer than a label", "ws://" + "a" * 64 + ".example/", "INVALID_FIELD", "longer than 63 bytes"),
    targeting("percent-encoded host", "ws://ex%61mple/", "INVALID_FIELD", "must be punycode"),
    targeting("label that ends in a hyphen", "ws://a-.example/", "INVALID_FIELD", "begins or ends with '-'"),
    targeting("oddly spelt IPv4 address", "ws://0x7f000001/", "INVALID_FIELD", "an odd spelling of an IPv4 address"),
    # Upgrade headers.
    header("header name with a space", [Header(name="X Y", value="1")], "headers[0].name: not a token"),
    header("header that belongs to Fairlead", [Header(name="HOST", value="x")], "HOST belongs to Fairlead"),
    header("header value with CR LF", [Header(name="X", value="1\r\nY: 2")], "headers[0].value: has a control"),
    header("header value that ends in a space", [Header(name="X", value="1 ")], "begins or ends with white space"),
    header("too many bytes of headers", [Header(name="X", value="v" * 600)], "limits.header_bytes is", "LIMIT_REACHED"),
    # Where to start, and the WebSocket.
    opening(
        "Open AFTER without epoch",
        "INVALID_FIELD",
        "open.start.after.epoch",
        start=Start(after=Start.After(sequence=1)),
    ),
    opening(
        "subprotocol with a space",
        "INVALID_FIELD",
        "open.websocket.subprotocols: must be tokens",
        websocket=WebSocketOptions(subprotocols=["v1 json"]),
    ),
    opening(
        "too many subprotocols",
        "INVALID_FIELD",
        "open.websocket.subprotocols: must be at most 32",
        websocket=WebSocketOptions(subprotocols=[f"v{n}" for n in range(33)]),
    ),
    opening(
        "max_message_bytes of zero",
        "INVALID_FIELD",
        "open.websocket.max_message_bytes: must not be zero",
        websocket=WebSocketOptions(max_message_bytes=0),
    ),
    opening(
        "max_message_bytes beyond the limit",
        "LIMIT_REACHED",
        "limits.message_bytes less 4096",
        websocket=WebSocketOptions(max_message_bytes=256 << 10),
    ),
    # Heartbeat.
    beating("negative duration", "open.heartbeat.interval: must be a span", interval=Duration(seconds=-1)),
    beating("ping that its tokens make too long", "open.heartbeat.ping: ", ping="{n}" * 7),
    beating("empty keepalive pattern", "open.heartbeat.keepalive.contains", keepalive=Match(contains=[b""])),
    beating(
        "pong timeout for a text that has no answer",
        "open.heartbeat.pong_timeout: a text or binary",
        text="ping",
        pong_timeout=Duration(seconds=1),
    ),
    beating("write timeout of zero", "open.heartbeat.write_timeout: must not be zero", write_timeout=ZERO),
    # Reconnect.
    reconnecting("initial backoff of zero", "open.reconnect.initial_backoff: must not be", initial_backoff=ZERO),
    reconnecting(
        "max backoff below the initial one", "must not be below initial_backoff", max_backoff=Duration(nanos=1)
    ),
    reconnecting("backoff factor below 1", "open.reconnect.backoff_factor", backoff_factor=0.5),
    reconnecting("max age", "open.reconnect.max_age", "NOT_IMPLEMENTED", max_age=Duration(seconds=1)),
    reconnecting("make before break", "open.reconnect.make_before_break", "NOT_IMPLEMENTED", make_before_break=True),
    # Setup.
    step("setup step that asks", "NOT_IMPLEMENTED", "open.setup[0].ask", SetupStep(key="login", ask=True)),
    step("setup step with charges", "NOT_IMPLEMENTED", "open.setup[0].charges", good_step(charges=[CHARGE])),
    step("setup step without key", "INVALID_FIELD", "open.setup[0].key: must match", SetupStep(payload=b"x")),
    step("two setup steps of one key", "INVALID_FIELD", "open.setup[1].key: is the key", good_step(), good_step()),
    step("setup step without payload", "INVALID_FIELD", "open.setup[0].payload: is required", SetupStep(key="login")),
    step("setup step of an unknown kind", "INVALID_FIELD", "open.setup[0].kind", good_step(kind=NOT_AN_ENUM_VALUE)),
    step(
        "setup text that is not UTF-8",
        "INVALID_FIELD",
        "open.setup[0].payload: a text",
        SetupStep(key="login", payload=b"\xff"),
    ),
    step(
        "empty expect pattern",
        "INVALID_FIELD",
        "open.setup[0].expect.contains",
        good_step(expect=Match(contains=[b""])),
    ),
    step(
        "reject without expect",
        "INVALID_FIELD",
        "open.setup[0].reject: needs",
        good_step(reject=Match(contains=[b"no"])),
    ),
    step("step timeout of zero", "INVALID_FIELD", "open.setup[0].timeout: must not be zero", good_step(timeout=ZERO)),
    step("too many setup steps", "LIMIT_REACHED", "limits.setup_steps is 3", *(good_step(f"s{n}") for n in range(4))),
    step(
        "too many bytes of setup",
        "LIMIT_REACHED",
        "limits.setup_bytes is 1024",
        SetupStep(key="a", payload=b"x" * 1025),
    ),
    # Delivery, retention, dial.
    opening(
        "unknown overflow policy",
        "INVALID_FIELD",
        "open.delivery.overflow",
        delivery=Delivery(overflow=NOT_AN_ENUM_VALUE),
    ),
    opening(
        "max delay beyond a second",
        "INVALID_FIELD",
        "open.delivery.max_delay: must be at most 1 s",
        delivery=Delivery(max_delay=Duration(seconds=2)),
    ),
    opening(
        "journal below one message",
        "INVALID_FIELD",
        "open.retention.journal_bytes: must be at least",
        retention=Retention(journal_bytes=1000),
    ),
    opening(
        "journal beyond the limit",
        "LIMIT_REACHED",
        "limits.journal_bytes is 1048576",
        retention=Retention(journal_bytes=2 << 20),
    ),
    opening("linger", "NOT_IMPLEMENTED", "open.retention.linger", retention=Retention(linger=Duration(seconds=30))),
    opening("dial timeout of zero", "INVALID_FIELD", "open.dial_timeout: must not be zero", dial_timeout=ZERO),
    # What is there already.
    opening(
        "Open of a live name",
        "SESSION_LIVE",
        '"taken" is live',
        session="taken",
        before=[Command(channel=3, open=Open(session="taken"))],
    ),
    opening(
        "more channels than a stream may have",
        "LIMIT_REACHED",
        "limits.channels_per_stream, 4,",
        before=[Command(channel=channel, join=Join(session="good")) for channel in (3, 4)]
        + [Command(channel=5, open=Open())],
    ),
    opening(
        "more sessions than the gateway may have",
        "LIMIT_REACHED",
        "limits.sessions, 3,",
        before=[Command(channel=channel, open=Open()) for channel in (3, 4)],
    ),
    # Joins.
    joining("Join of nothing", "INVALID_FIELD", "join.session: must match"),
    joining("Join of another identity's session", "NOT_IMPLEMENTED", "join.identity", session="good", identity="other"),
    joining("Join of an unknown session", "SESSION_NOT_FOUND", '"absent" is not a live session', session="absent"),
    joining(
        "more subscribers than a session may have",
        "LIMIT_REACHED",
        "limits.subscribers_per_session, 3,",
        session="good",
        before=[Command(channel=channel, join=Join(session="good")) for channel in (3, 4)],
    ),
)

# Sent on the channel of a good session.
OF_CHANNEL = (
    Wrong("command without action", refused("INVALID_FIELD"), "has no action", Command()),
    Wrong(
        "command with an unknown field",
        refused("UNKNOWN_FIELD"),
        "Command: field number 1000",
        Command.FromString(UNKNOWN_FIELD),
    ),
    Wrong("SetTarget", refused("NOT_IMPLEMENTED"), "set_target:", Command(set_target=SetTarget())),
    Wrong("Answer", refused("NOT_IMPLEMENTED"), "answer:", Command(answer=Answer(key="login"))),
    Wrong("Open twice on one channel", refused("CHANNEL_IN_USE"), "channel: 1 is in use", Command(open=Open())),
    sending("text that is not UTF-8", "INVALID_FIELD", "send.payload: a text frame", payload=b"\xff\xfe"),
    sending("frame of an unknown kind", "INVALID_FIELD", "send.kind", payload=b"x", kind=NOT_AN_ENUM_VALUE),
    sending("Send with charges", "NOT_IMPLEMENTED", "send.charges", payload=b"x", charges=[CHARGE]),
    sending("Send with a permit", "NOT_IMPLEMENTED", "send.permit", payload=b"x", permit="p"),
    sending("Send that answers", "NOT_IMPLEMENTED", "send.answers", payload=b"x", answers="login"),
    sending("max wait beyond a year", "INVALID_FIELD", "send.max_wait", payload=b"x", max_wait=Duration(seconds=10**9)),
    sending("setup key with a space", "INVALID_FIELD", "send.setup_key", payload=b"x", setup_key="a b"),
    sending(
        "key to forget with a space", "INVALID_FIELD", "send.forget_setup_keys: must match", forget_setup_keys=["a b"]
    ),
    sending(
        "too many keys to forget", "INVALID_FIELD", "more than limits.setup_steps, 3", forget_setup_keys=list("abcd")
    ),
    sending("wrong generation", "WRONG_GENERATION", "the command is for 7", payload=b"x", generation=7),
    sending(
        "stored setup beyond the bytes",
        "LIMIT_REACHED",
        "limits.setup_bytes are stored",
        payload=b"x" * 1025,
        setup_key="a",
    ),
    Wrong(
        "stored setup beyond the steps",
        refused("LIMIT_REACHED"),
        "limits.setup_steps are stored",
        Command(send=Send(payload=b"x", setup_key="d")),
        before=tuple(Command(channel=1, send=Send(payload=b"x", setup_key=key)) for key in "abc"),
    ),
    Wrong("ping payload too long", refused("INVALID_FIELD"), "ping.payload", Command(ping=Ping(payload=b"x" * 126))),
    Wrong(
        "Reconnect that makes before it breaks",
        refused("NOT_IMPLEMENTED"),
        "reconnect.make_before_break",
        Command(reconnect=Reconnect(make_before_break=True)),
    ),
    Wrong("close code 1005", refused("INVALID_FIELD"), "close.code", Command(close=Close(code=1005))),
    Wrong("close reason too long", refused("INVALID_FIELD"), "close.reason", Command(close=Close(reason="x" * 124))),
)

NEVER_OPEN = Open(target=Target(url="{ws}/idle?fault=never_upgrade"))
NO_PONG = Open(target=Target(url="{ws}/idle?fault=no_pong"))
PATIENT = Duration(seconds=600)

# Sent on a channel that is not as it should be.
OF_STATE = (
    Wrong(
        "command on an unknown channel",
        refused("CHANNEL_UNKNOWN"),
        "channel: 9 is not open",
        Command(channel=9, ping=Ping()),
    ),
    Wrong(
        "Send by a reader",
        refused("NOT_OWNER"),
        "only the session's owner",
        Command(channel=2, send=Send(payload=b"x")),
        before=(Command(channel=2, join=Join(session="good")),),
    ),
    Wrong(
        "Send when not OPEN",
        refused("NOT_OPEN"),
        "the session is CONNECTING",
        Command(channel=2, send=Send(payload=b"x")),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send whose wait is over",
        refused("WAIT_EXPIRED"),
        "no OPEN transport within max_wait",
        Command(channel=2, send=Send(payload=b"x", max_wait=Duration(nanos=1_000_000))),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send into a full queue",
        refused("LIMIT_REACHED"),
        "limits.send_queue_bytes, 65536",
        Command(channel=2, send=Send(payload=b"x" * (64 << 10), max_wait=PATIENT)),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send when all queues together are full",
        refused("LIMIT_REACHED"),
        "limits.total_send_queue_bytes, 98304",
        Command(channel=3, send=Send(payload=b"x" * (50 << 10), max_wait=PATIENT)),
        before=(
            Command(channel=2, open=NEVER_OPEN),
            Command(channel=3, open=NEVER_OPEN),
            Command(channel=2, send=Send(payload=b"x" * (50 << 10), max_wait=PATIENT)),
        ),
    ),
    Wrong(
        "more pings than may wait for their pong",
        refused("LIMIT_REACHED"),
        "16 pings wait",
        Command(channel=2, ping=Ping(payload=b"17")),
        before=(
            Command(channel=2, open=NO_PONG),
            *(Command(channel=2, ping=Ping(payload=b"%d" % n)) for n in range(16)),
        ),
    ),
)

# The session begins, and ends for good: what is wrong shows when it dials.
OF_DIAL = (
    Wrong(
        "host without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows ws://exchange.invalid:80",
        Command(open=Open()),
        "ws://exchange.invalid/",
    ),
    Wrong(
        "port without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows ws://127.0.0.1:1;",
        Command(open=Open()),
        "ws://127.0.0.1:1/",
    ),
    Wrong(
        "name of an address that is not public",
        "Ended EGRESS_DENIED",
        "an address of localhost is not public",
        Command(open=Open()),
        "ws://localhost/",
    ),
)

COMMANDS = OF_OPEN + OF_CHANNEL + OF_STATE + OF_DIAL
