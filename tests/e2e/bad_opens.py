"""Wrong Opens and Joins, with the answers that docs/errors.md documents."""

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import (
    Command,
    Delivery,
    Heartbeat,
    Join,
    Open,
    Retention,
    SetupStep,
    Start,
    Target,
    Topic,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import FRAME_KIND_TEXT, Header, Match
from tests.e2e import bad_legs, bad_sockets
from tests.e2e.wrong import (
    CHARGE,
    NOT_AN_ENUM_VALUE,
    UNKNOWN_FIELD,
    ZERO,
    Wrong,
    beating,
    good_step,
    header,
    joining,
    opening,
    reconnecting,
    refused,
    step,
    targeting,
)

ANY = Match(contains=[b"x"])
SECOND = Duration(seconds=1)

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
    opening(
        "topic without a key", "INVALID_FIELD", "open.topics[0].key", topics=[Topic(match=ANY, max_silence=SECOND)]
    ),
    opening("topic without a match", "INVALID_FIELD", "open.topics[0].match", topics=[Topic(key="a")]),
    opening("topic without a silence", "INVALID_FIELD", "topics[0].max_silence", topics=[Topic(key="a", match=ANY)]),
    opening(
        "two topics of one key",
        "INVALID_FIELD",
        "open.topics[1].key: is the key of an earlier",
        topics=[Topic(key="a", match=ANY, max_silence=SECOND)] * 2,
    ),
    opening(
        "topics beyond the limit",
        "LIMIT_REACHED",
        "open.topics: limits.setup_steps is 3",
        topics=[Topic(key=key, match=ANY, max_silence=SECOND) for key in "abcd"],
    ),
    opening("connect charges", "NOT_IMPLEMENTED", "open.connect_charges:", connect_charges=[CHARGE]),
    opening("connection profile", "NOT_IMPLEMENTED", "open.profile:", profile="proxy"),
    # The URL.
    opening("target without URL", "INVALID_FIELD", "open.target.url: is required", url="", target=Target()),
    targeting("over-long URL", "{ws}/" + "x" * 600, "LIMIT_REACHED", "limits.url_bytes is 512"),
    targeting("URL with a space", "{ws}/a b", "INVALID_FIELD", "is not a URL by RFC 3986"),
    targeting("unknown scheme", "https://{exchange}/", "INVALID_FIELD", "the scheme must be ws, wss, tcp or tls"),
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
    beating("heartbeat every 9 ms", "open.heartbeat.interval: must be zero or", interval=Duration(nanos=9_000_000)),
    opening(
        "too many bytes of heartbeat",
        "LIMIT_REACHED",
        "open.heartbeat: limits.setup_bytes is 1024",
        heartbeat=Heartbeat(text="x" * 1000, keepalive=Match(contains=[b"y" * 25])),
    ),
    beating("write timeout of zero", "open.heartbeat.write_timeout: must not be zero", write_timeout=ZERO),
    # Reconnect.
    reconnecting("initial backoff of zero", "open.reconnect.initial_backoff: must not be", initial_backoff=ZERO),
    reconnecting(
        "max backoff below the initial one", "must not be below initial_backoff", max_backoff=Duration(nanos=1)
    ),
    reconnecting("backoff factor below 1", "open.reconnect.backoff_factor", backoff_factor=0.5),
    reconnecting("max age below a second", "open.reconnect.max_age", "INVALID_FIELD", max_age=Duration(nanos=1)),
    # Setup.
    step("setup step that does not ask", "INVALID_FIELD", "open.setup[0].ask: must be", SetupStep(key="a", ask=False)),
    step(
        "kind of a setup step that asks",
        "INVALID_FIELD",
        "open.setup[0].kind: is the answer's",
        SetupStep(key="login", ask=True, kind=FRAME_KIND_TEXT),
    ),
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
    opening(
        "linger of an anonymous session",
        "INVALID_FIELD",
        "open.retention.linger: an anonymous session ends with",
        retention=Retention(linger=Duration(seconds=1)),
    ),
    opening(
        "linger beyond the limit",
        "LIMIT_REACHED",
        "limits.linger is 1000 ms",
        session="long",
        retention=Retention(linger=Duration(seconds=2)),
    ),
    opening("dial timeout of zero", "INVALID_FIELD", "open.dial_timeout: must not be zero", dial_timeout=ZERO),
    # What is there already.
    opening(
        "Open of a live name that differs",
        "SESSION_LIVE",
        "open.websocket.permessage_deflate: differs from that of the live session",
        session="taken",
        websocket=WebSocketOptions(permessage_deflate=True),
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
    joining(
        "Join of another identity's session", "SESSION_NOT_FOUND", "of other, or", session="good", identity="other"
    ),
    joining("identity with a space", "INVALID_FIELD", "join.identity: must match", session="good", identity="a b"),
    joining("Join of an unknown session", "SESSION_NOT_FOUND", '"absent" is not a live session', session="absent"),
    joining(
        "more subscribers than a session may have",
        "LIMIT_REACHED",
        "limits.subscribers_per_session, 3,",
        session="good",
        before=[Command(channel=channel, join=Join(session="good")) for channel in (3, 4)],
    ),
    *bad_legs.OF_OPEN,
    *bad_sockets.OF_OPEN,
)
