"""What each field of Open does."""

import base64

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import (
    OVERFLOW_DETACH,
    SESSION_STATE_OPEN,
    START_OUTCOME_EPOCH_CHANGED,
    START_OUTCOME_NEW,
    START_OUTCOME_RESUMED,
    Command,
    Delivery,
    Detach,
    Heartbeat,
    Hold,
    Open,
    ReconnectPolicy,
    Retention,
    Send,
    SetupStep,
    Start,
    Target,
    Topic,
    TopicChanged,
    WebSocketOptions,
)
from fairlead.v1.types_pb2 import (
    FRAME_KIND_BINARY,
    REASON_ATTEMPTS_EXHAUSTED,
    REASON_CONNECTION_LOST,
    REASON_DIAL_TIMEOUT,
    REASON_IDLE_TIMEOUT,
    REASON_MAX_AGE,
    REASON_MESSAGE_TOO_LONG,
    REASON_OUTAGE_EXHAUSTED,
    REASON_OVERFLOW,
    REASON_PONG_TIMEOUT,
    REASON_SETUP_REJECTED,
    REASON_SETUP_TIMEOUT,
    REASON_TOPIC_STALE,
    REASON_WRITE_TIMEOUT,
    Header,
    Match,
)
from tests.e2e.attach import Frame, seconds, span
from tests.e2e.observed import Stage, observes
from tests.e2e.processes import eventually

OFTEN = span(0.02)
NEVER = span(0)


@observes("Open.session")
async def _(stage: Stage) -> None:
    assert (await stage.begin(Open(session="md"))).session == "md"
    assert (await stage.session("md")).name == "md"
    assert (await stage.begin(Open(), number=2)).session.startswith("~")


@observes("Open.target", "Target.url")
async def _(stage: Stage) -> None:
    await stage.open(Open(target=Target(url=f"{stage.exchange.ws}/echo?tag=7")))
    assert (await stage.exchange.connection())["target"] == "/echo?tag=7"


@observes("Target.headers", "Header.name", "Header.value")
async def _(stage: Stage) -> None:
    url = f"{stage.exchange.ws}/echo"
    await stage.open(Open(target=Target(url=url, headers=[Header(name="X-Api", value="k 1")])))
    assert ["X-Api", "k 1"] in (await stage.exchange.connection())["headers"]


@observes("Open.start")
async def _(stage: Stage) -> None:
    assert (await stage.begin(Open())).start == START_OUTCOME_NEW
    start = Start(after=Start.After(epoch="of another life", sequence=5))
    assert (await stage.begin(Open(start=start), number=2)).start == START_OUTCOME_EPOCH_CHANGED


@observes("Open.dial_timeout")
async def _(stage: Stage) -> None:
    await stage.begin(Open(dial_timeout=span(0.2)), "/idle?fault=never_upgrade")
    assert (await stage.lost()).cause.reason == REASON_DIAL_TIMEOUT


# ---- WebSocket. ----


@observes("Open.websocket", "WebSocketOptions.subprotocols")
async def _(stage: Stage) -> None:
    await stage.open(Open(websocket=WebSocketOptions(subprotocols=["v2.json", "v1.json"])))
    record = await stage.exchange.connection()
    assert record["subprotocol"] == "v2.json"
    assert ["Sec-WebSocket-Protocol", "v2.json, v1.json"] in record["headers"]


@observes("WebSocketOptions.permessage_deflate")
async def _(stage: Stage) -> None:
    for number, offered in ((1, False), (2, True)):
        await stage.open(Open(websocket=WebSocketOptions(permessage_deflate=offered)), "/echo?deflate=1", number)
        assert bool((await stage.exchange.connection())["extensions"]) is offered


@observes("WebSocketOptions.max_message_bytes")
async def _(stage: Stage) -> None:
    for number, limit in ((1, 100), (2, 99)):
        await stage.begin(Open(websocket=WebSocketOptions(max_message_bytes=limit)), "/big?size=100", number)
    assert len((await stage.stream.frame(1)).payload) == 100
    assert (await stage.lost(2)).cause.reason == REASON_MESSAGE_TOO_LONG


# ---- Heartbeat. ----


async def beat(stage: Stage, what: str, heartbeat: Heartbeat) -> str:
    """The first heartbeat that the exchange received, as text."""
    heartbeat.interval.CopyFrom(OFTEN)
    await stage.open(Open(heartbeat=heartbeat))

    async def received() -> list[dict[str, str]]:
        beats: list[dict[str, str]] = (await stage.exchange.connection())[what]
        return beats

    (first, *_) = await eventually(received, f"a heartbeat among the {what}")
    return first["text"] if "text" in first else base64.b64decode(first["base64"]).decode() + " in binary"


@observes("Open.heartbeat", "Heartbeat.interval")
async def _(stage: Stage) -> None:
    assert await beat(stage, "pings", Heartbeat()) == ""


@observes("Heartbeat.ping")
async def _(stage: Stage) -> None:
    assert await beat(stage, "pings", Heartbeat(ping="ping {n}")) == "ping 1"


@observes("Heartbeat.text")
async def _(stage: Stage) -> None:
    assert await beat(stage, "frames", Heartbeat(text="text {n}")) == "text 1"


@observes("Heartbeat.binary")
async def _(stage: Stage) -> None:
    assert await beat(stage, "frames", Heartbeat(binary=b"bytes {n}")) == "bytes 1 in binary"


@observes("Heartbeat.pong_timeout")
async def _(stage: Stage) -> None:
    heartbeat = Heartbeat(interval=OFTEN, pong_timeout=span(0.2))
    await stage.open(Open(heartbeat=heartbeat), "/idle?fault=no_pong")
    assert (await stage.lost()).cause.reason == REASON_PONG_TIMEOUT


@observes("Heartbeat.idle_timeout")
async def _(stage: Stage) -> None:
    await stage.open(Open(heartbeat=Heartbeat(idle_timeout=span(0.2))), "/idle")
    assert (await stage.lost()).cause.reason == REASON_IDLE_TIMEOUT


@observes("Heartbeat.keepalive")
async def _(stage: Stage) -> None:
    """The echo of the heartbeat is its answer, and so its round trip, only if it matches."""
    heartbeat = Heartbeat(interval=OFTEN, text="beat", keepalive=Match(contains=[b"beat"]))
    await stage.open(Open(session="matching", heartbeat=heartbeat))
    heartbeat.ClearField("keepalive")
    await stage.open(Open(session="not", heartbeat=heartbeat), number=2)
    for number in (1, 2):
        await stage.stream.frames(number, 3)
    assert (await stage.session("matching")).HasField("heartbeat_round_trip")
    assert not (await stage.session("not")).HasField("heartbeat_round_trip")


@observes("Heartbeat.write_timeout")
async def _(stage: Stage) -> None:
    await stage.open(Open(heartbeat=Heartbeat(write_timeout=span(0.2))), "/idle?fault=never_read")
    send = Command(channel=1, send=Send(payload=b"x" * (1 << 20)))
    await stage.stream.say(*([send] * 12))
    assert (await stage.lost()).cause.reason == REASON_WRITE_TIMEOUT


# ---- Reconnect. ----


async def pauses(stage: Stage, path: str, policy: ReconnectPolicy, count: int) -> list[float]:
    await stage.begin(Open(reconnect=policy), path)
    return [seconds((await stage.lost()).retry_in) for _ in range(count)]


@observes("Open.reconnect", "ReconnectPolicy.enabled")
async def _(stage: Stage) -> None:
    await stage.begin(Open(reconnect=ReconnectPolicy(enabled=False)), "/idle?fault=drop")
    assert (await stage.stream.ended(1)).cause.reason == REASON_CONNECTION_LOST


@observes("ReconnectPolicy.first_retry_at_once")
async def _(stage: Stage) -> None:
    always_stable = ReconnectPolicy(stable_after=NEVER, first_retry_at_once=False)
    assert (await pauses(stage, "/idle?fault=drop", always_stable, 1))[0] > 0


@observes("ReconnectPolicy.stable_after")
async def _(stage: Stage) -> None:
    assert await pauses(stage, "/idle?fault=drop", ReconnectPolicy(stable_after=NEVER), 3) == [0, 0, 0]


@observes("ReconnectPolicy.initial_backoff")
async def _(stage: Stage) -> None:
    """With the default a first pause below a millisecond comes once in 500 times; three of them never do."""
    policy = ReconnectPolicy(initial_backoff=span(0.001))
    caps = (0.001, 0.002, 0.004)
    for pause, cap in zip(await pauses(stage, "/idle?status=500", policy, 3), caps, strict=True):
        assert pause <= cap


@observes("ReconnectPolicy.max_backoff")
async def _(stage: Stage) -> None:
    policy = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
    assert max(await pauses(stage, "/idle?status=500", policy, 10)) <= 0.01


@observes("ReconnectPolicy.backoff_factor")
async def _(stage: Stage) -> None:
    policy = ReconnectPolicy(initial_backoff=span(0.01), backoff_factor=1)
    assert max(await pauses(stage, "/idle?status=500", policy, 10)) <= 0.01


@observes("ReconnectPolicy.max_attempts")
async def _(stage: Stage) -> None:
    await stage.begin(Open(reconnect=ReconnectPolicy(max_attempts=2)), "/idle?status=500")
    assert (await stage.stream.ended(1)).cause.reason == REASON_ATTEMPTS_EXHAUSTED
    assert len(await stage.exchange.connections()) == 2


@observes("ReconnectPolicy.max_outage")
async def _(stage: Stage) -> None:
    await stage.begin(Open(reconnect=ReconnectPolicy(max_outage=Duration(nanos=1))), "/idle?status=500")
    assert (await stage.stream.ended(1)).cause.reason == REASON_OUTAGE_EXHAUSTED


# ---- Setup. ----


@observes("Open.setup", "SetupStep.key", "SetupStep.payload")
async def _(stage: Stage) -> None:
    step = SetupStep(key="login", payload=b"let me in")
    assert (await stage.open(Open(setup=[step]))).setup_keys == ["login"]
    (frame,) = (await stage.exchange.connection())["frames"]
    assert (frame["kind"], frame["text"]) == ("text", "let me in")


@observes("SetupStep.kind")
async def _(stage: Stage) -> None:
    await stage.open(Open(setup=[SetupStep(key="login", payload=b"\xff", kind=FRAME_KIND_BINARY)]))
    (frame,) = (await stage.exchange.connection())["frames"]
    assert (frame["kind"], frame["base64"]) == ("binary", "/w==")


@observes("SetupStep.expect", "Match.contains")
async def _(stage: Stage) -> None:
    """OPEN comes behind the frame that was expected."""
    step = SetupStep(key="login", payload=b"login", expect=Match(contains=[b"login", b"true"]))
    await stage.begin(Open(setup=[step]), "/login")
    opened = await stage.stream.state(1, SESSION_STATE_OPEN)
    answer = await stage.stream.frame(1)
    assert answer.payload == b'{"event":"login","ok":true}'
    assert answer.sequence == opened.sequence - 1


@observes("SetupStep.reject")
async def _(stage: Stage) -> None:
    step = SetupStep(
        key="login", payload=b"login", expect=Match(contains=[b"true"]), reject=Match(contains=[b"denied"])
    )
    await stage.begin(Open(setup=[step]), "/login?reject=1")
    assert (await stage.stream.ended(1)).cause.reason == REASON_SETUP_REJECTED


@observes("SetupStep.timeout")
async def _(stage: Stage) -> None:
    step = SetupStep(key="login", payload=b"login", expect=Match(contains=[b"true"]), timeout=span(0.2))
    await stage.begin(Open(setup=[step]), "/login?mute=1")
    assert (await stage.lost()).cause.reason == REASON_SETUP_TIMEOUT


# ---- Delivery and retention. ----

SMALL = WebSocketOptions(max_message_bytes=1000)


@observes("Open.delivery", "Delivery.overflow")
async def _(stage: Stage) -> None:
    small = Retention(journal_bytes=2000)
    opening = Open(delivery=Delivery(overflow=OVERFLOW_DETACH), websocket=SMALL, retention=small)
    await stage.open(opening, "/numbered?count=100&start=subscribe")
    await stage.stream.say(Command(channel=1, hold=Hold(on=True)), Command(channel=1, send=Send(payload=b"subscribe")))
    assert (await stage.stream.ended(1)).cause.reason == REASON_OVERFLOW


@observes("Delivery.max_delay")
async def _(stage: Stage) -> None:
    """Frames that come 10 ms apart travel together, as they may wait for each other for a second."""
    await stage.begin(Open(delivery=Delivery(max_delay=span(1))), "/numbered?rate=100&count=300")
    most = frames = 0
    while frames < 300:
        together = len([item for item in await stage.stream.read() if isinstance(item, Frame)])
        most, frames = max(most, together), frames + together
    assert most > 30


@observes("Open.retention", "Retention.journal_bytes")
async def _(stage: Stage) -> None:
    opening = Open(session="s", websocket=SMALL, retention=Retention(journal_bytes=2000))
    await stage.begin(opening, "/numbered?count=100")
    await stage.stream.hear(Frame, lambda frame: frame.payload == b"100")
    session = await stage.session("s")
    assert session.oldest_sequence > 50
    assert session.journal_bytes <= 2000


@observes("ReconnectPolicy.max_age")
async def _(stage: Stage) -> None:
    await stage.open(Open(reconnect=ReconnectPolicy(max_age=span(1))))
    assert (await stage.lost()).cause.reason == REASON_MAX_AGE
    assert (await stage.stream.state(1, SESSION_STATE_OPEN)).generation == 2
    assert (await stage.exchange.closed(1))["close_code_received"] == 1000


@observes("Open.topics", "Topic.key", "Topic.match", "Topic.max_silence")
async def _(stage: Stage) -> None:
    """Two topics, one of which the feed has."""
    silences = {"x": 60, "y": 0.2}
    topics = [Topic(key=k, match=Match(contains=[k.encode()]), max_silence=span(s)) for k, s in silences.items()]
    attached = await stage.open(Open(session="s", topics=topics), "/numbered?rate=100&size=10")
    changed = await stage.stream.hear(TopicChanged)
    assert (changed.key, changed.stale, changed.HasField("last_heard")) == ("y", True, False)
    assert changed.sequence > attached.head_sequence
    await stage.stream.hear(Frame)
    x, y = (await stage.session("s")).topics
    assert (x.key, x.stale, x.HasField("last_heard")) == ("x", False, True)
    assert (y.key, y.stale, y.HasField("last_heard")) == ("y", True, False)


@observes("Topic.reconnect")
async def _(stage: Stage) -> None:
    topic = Topic(key="y", match=Match(contains=[b"y"]), max_silence=span(0.1), reconnect=True)
    await stage.open(Open(topics=[topic]))
    assert (await stage.lost()).cause.reason == REASON_TOPIC_STALE
    assert (await stage.stream.state(1, SESSION_STATE_OPEN)).generation == 2


@observes("Retention.linger")
async def _(stage: Stage) -> None:
    """Without it the session is over as soon as nobody reads it."""
    for linger, start in ((span(60), START_OUTCOME_RESUMED), (NEVER, START_OUTCOME_EPOCH_CHANGED)):
        opening = Open(session=f"s-{linger.seconds}", retention=Retention(linger=linger))
        attached = await stage.open(opening)
        await stage.stream.say(Command(channel=1, detach=Detach()))
        await stage.stream.ended(1)
        opening.start.after.epoch = attached.epoch
        assert (await stage.begin(opening)).start == start
        await stage.stream.say(Command(channel=1, detach=Detach()))
        await stage.stream.ended(1)


@observes("Retention.journal_age")
async def _(stage: Stage) -> None:
    await stage.begin(Open(session="s", retention=Retention(journal_age=span(0.1))), "/numbered?rate=100&count=50")
    await stage.stream.hear(Frame, lambda frame: frame.payload == b"50")
    assert (await stage.session("s")).oldest_sequence > 1
