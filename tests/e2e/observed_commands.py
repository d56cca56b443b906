"""What each field of the commands does, and of the requests beside Attach."""

from fairlead.v1.session_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_SENT,
    OUTCOME_WRITTEN,
    OVERFLOW_DETACH,
    SESSION_STATE_CLOSED,
    SESSION_STATE_OPEN,
    START_OUTCOME_EPOCH_CHANGED,
    START_OUTCOME_LIVE,
    START_OUTCOME_RESUMED,
    Answer,
    Asked,
    Close,
    CloseSessionRequest,
    Command,
    Delivery,
    Detach,
    GetSessionRequest,
    Hold,
    Join,
    ListSessionsRequest,
    Open,
    Ping,
    Pong,
    Reconnect,
    Retention,
    Send,
    SetTarget,
    SetupStep,
    Start,
    TailRequest,
    Target,
)
from fairlead.v1.types_pb2 import (
    FRAME_KIND_BINARY,
    FRAME_KIND_TEXT,
    REASON_CLOSED,
    REASON_DETACHED,
    REASON_NOT_ASKED,
    REASON_NOT_OPEN,
    REASON_OVERFLOW,
    REASON_SESSION_NOT_FOUND,
    REASON_WAIT_EXPIRED,
    REASON_WRONG_GENERATION,
)
from tests.e2e.attach import Frame, sessions_of, span
from tests.e2e.observed import Stage, observes
from tests.e2e.observed_opens import SMALL

OLDEST = Start(oldest=Start.Oldest())


@observes("AttachRequest.commands", "Command.open", "Command.channel")
async def _(stage: Stage) -> None:
    assert (await stage.open(Open(), number=4_000_000_000)).channel == 4_000_000_000


@observes("Command.id")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, id=2**64 - 1, send=Send(payload=b"x")))
    assert (await stage.stream.result(2**64 - 1)).outcome == OUTCOME_WRITTEN


@observes("Command.join", "Join.session")
async def _(stage: Stage) -> None:
    await stage.open(Open(session="s"))
    await stage.stream.say(Command(channel=2, join=Join(session="s")))
    assert (await stage.stream.attached(2)).session == "s"


@observes("Join.identity")
async def _(stage: Stage) -> None:
    await stage.open(Open(session="s"))
    await stage.stream.say(
        Command(channel=2, id=1, join=Join(session="s", identity="another")),
        Command(channel=2, join=Join(session="s", identity="tests")),
    )
    assert (await stage.stream.result(1)).failure.reason == REASON_SESSION_NOT_FOUND
    assert (await stage.stream.attached(2)).session == "s"


@observes("Command.reconnect")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, reconnect=Reconnect()))
    assert (await stage.stream.state(1, SESSION_STATE_OPEN)).generation == 2


@observes("Open.ask_before_dial", "Command.answer", "Answer.number", "Answer.target")
async def _(stage: Stage) -> None:
    await stage.begin(Open(ask_before_dial=True))
    asked = await stage.stream.hear(Asked)
    assert (asked.key, asked.generation) == ("", 1)
    target = Target(url=f"{stage.exchange.ws}/idle?token=fresh")
    await stage.stream.say(
        Command(channel=1, id=1, answer=Answer(number=asked.number + 1)),
        Command(channel=1, id=2, answer=Answer(number=asked.number, target=target)),
    )
    assert (await stage.stream.result(1)).failure.reason == REASON_NOT_ASKED
    assert (await stage.stream.result(2)).outcome == OUTCOME_DONE
    await stage.stream.state(1, SESSION_STATE_OPEN)
    assert (await stage.exchange.connection())["target"] == "/idle?token=fresh"


@observes("SetupStep.ask", "Send.answers")
async def _(stage: Stage) -> None:
    await stage.begin(Open(setup=[SetupStep(key="login", ask=True)]))
    asked = await stage.stream.hear(Asked)
    assert (asked.key, asked.generation) == ("login", 1)
    await stage.stream.say(
        Command(channel=1, id=1, send=Send(payload=b"late", generation=2, answers="login")),
        Command(channel=1, id=2, send=Send(payload=b"signed", generation=1, answers="login")),
    )
    assert (await stage.stream.result(1)).failure.reason == REASON_WRONG_GENERATION
    assert (await stage.stream.result(2)).outcome == OUTCOME_WRITTEN
    await stage.stream.state(1, SESSION_STATE_OPEN)
    assert (await stage.stream.frame(1)).payload == b"signed"


@observes("Command.set_target", "SetTarget.target")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    target = Target(url=f"{stage.exchange.ws}/idle?token=next")
    await stage.stream.say(
        Command(channel=1, id=1, set_target=SetTarget(target=target)), Command(channel=1, reconnect=Reconnect())
    )
    assert (await stage.stream.result(1)).outcome == OUTCOME_DONE
    assert (await stage.stream.state(1, SESSION_STATE_OPEN)).generation == 2
    assert (await stage.exchange.connection())["target"] == "/idle?token=next"


@observes("Command.detach")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, detach=Detach()))
    assert (await stage.stream.ended(1)).cause.reason == REASON_DETACHED


@observes("Command.close", "Close.code", "Close.reason")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, close=Close(code=3001, reason="done for today")))
    assert (await stage.stream.ended(1)).cause.reason == REASON_CLOSED
    record = await stage.exchange.closed()
    assert (record["close_code_received"], record["close_reason_received"]) == (3001, "done for today")


@observes("Command.hold", "Hold.on")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(
        Command(channel=1, id=1, hold=Hold(on=True)),
        Command(channel=1, send=Send(payload=b"one")),
        Command(channel=1, id=2, ping=Ping(payload=b"behind")),
    )
    # The echo came before the pong, and waits.
    assert (await stage.stream.hear(Pong)).payload == b"behind"
    assert not stage.stream.heard(Frame)
    await stage.stream.say(Command(channel=1, id=3, hold=Hold()))
    assert (await stage.stream.frame(1)).payload == b"one"


# ---- Where delivery begins. ----


async def five_entries(stage: Stage) -> str:
    """A session with CONNECTING, OPENING, OPEN and two echoes; returns its epoch."""
    attached = await stage.open(Open(session="s"))
    await stage.stream.say(*[Command(channel=1, send=Send(payload=text)) for text in (b"one", b"two")])
    assert [frame.sequence for frame in await stage.stream.frames(1, 2)] == [4, 5]
    return attached.epoch


async def first_frame(stage: Stage, start: Start, outcome: int) -> Frame:
    """The first frame that a reader is given, when there is one more."""
    await stage.stream.say(Command(channel=2, join=Join(session="s", start=start)))
    assert (await stage.stream.attached(2)).start == outcome
    await stage.stream.say(Command(channel=1, send=Send(payload=b"three")))
    return await stage.stream.frame(2)


@observes("Start.head")
async def _(stage: Stage) -> None:
    await five_entries(stage)
    assert (await first_frame(stage, Start(head=Start.Head()), START_OUTCOME_LIVE)).payload == b"three"


@observes("Join.start", "Start.oldest")
async def _(stage: Stage) -> None:
    await five_entries(stage)
    assert (await first_frame(stage, OLDEST, START_OUTCOME_LIVE)).payload == b"one"


@observes("Start.after", "After.epoch", "After.sequence")
async def _(stage: Stage) -> None:
    epoch = await five_entries(stage)
    after = Start(after=Start.After(epoch=epoch, sequence=4))
    assert (await first_frame(stage, after, START_OUTCOME_RESUMED)).payload == b"two"
    assert (await stage.stream.frame(2)).payload == b"three"
    await stage.stream.say(Command(channel=2, detach=Detach()))
    await stage.stream.ended(2)
    after.after.epoch = "another"
    assert (await first_frame(stage, after, START_OUTCOME_EPOCH_CHANGED)).payload == b"one"


@observes("Join.delivery")
async def _(stage: Stage) -> None:
    opening = Open(session="s", websocket=SMALL, retention=Retention(journal_bytes=2000))
    await stage.open(opening, "/numbered?count=100&start=subscribe")
    await stage.stream.say(
        Command(channel=2, join=Join(session="s", delivery=Delivery(overflow=OVERFLOW_DETACH))),
        Command(channel=2, hold=Hold(on=True)),
        Command(channel=1, send=Send(payload=b"subscribe")),
    )
    ended = await stage.stream.ended(2)
    assert (ended.cause.reason, ended.session_closed) == (REASON_OVERFLOW, False)


# ---- Send and Ping. ----


@observes("Command.send", "Send.payload")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, send=Send(payload=b"as text")))
    frame = await stage.stream.frame(1)
    assert (frame.payload, frame.kind) == (b"as text", FRAME_KIND_TEXT)


@observes("Send.kind")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, send=Send(payload=b"\xff", kind=FRAME_KIND_BINARY)))
    frame = await stage.stream.frame(1)
    assert (frame.payload, frame.kind) == (b"\xff", FRAME_KIND_BINARY)


@observes("Send.generation")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(*[Command(channel=1, id=n, send=Send(payload=b"x", generation=n)) for n in (1, 2)])
    assert (await stage.stream.result(1)).outcome == OUTCOME_WRITTEN
    assert (await stage.stream.result(2)).failure.reason == REASON_WRONG_GENERATION


@observes("Send.max_wait")
async def _(stage: Stage) -> None:
    await stage.begin(Open(), "/idle?fault=never_upgrade")
    await stage.stream.say(
        Command(channel=1, id=1, send=Send(payload=b"x")),
        Command(channel=1, id=2, send=Send(payload=b"x", max_wait=span(0.05))),
    )
    for number, reason in ((1, REASON_NOT_OPEN), (2, REASON_WAIT_EXPIRED)):
        result = await stage.stream.result(number)
        assert (result.outcome, result.failure.reason) == (OUTCOME_NOT_SENT, reason)


@observes("Send.setup_key", "Send.forget_setup_keys")
async def _(stage: Stage) -> None:
    await stage.open(Open(session="s"))
    await stage.stream.say(*[Command(channel=1, id=n, send=Send(payload=b"x", setup_key=f"k{n}")) for n in (1, 2)])
    await stage.stream.result(2)
    assert (await stage.session("s")).setup_keys == ["k1", "k2"]
    await stage.stream.say(Command(channel=1, id=3, send=Send(payload=b"x", forget_setup_keys=["k1", "none"])))
    await stage.stream.result(3)
    assert (await stage.session("s")).setup_keys == ["k2"]


@observes("Command.ping", "Ping.payload")
async def _(stage: Stage) -> None:
    await stage.open(Open())
    await stage.stream.say(Command(channel=1, ping=Ping(payload=b"\x00\xff")))
    assert (await stage.stream.hear(Pong)).payload == b"\x00\xff"


# ---- From the outside. ----


@observes("TailRequest.session", "TailRequest.max_entries")
async def _(stage: Stage) -> None:
    await five_entries(stage)
    answers = await stage.tail(TailRequest(session="s", start=OLDEST, max_entries=4), count=5)
    assert [answer.sequence for answer in answers] == [1, 2, 3, 4]
    assert answers[-1].text == "one"


@observes("TailRequest.start")
async def _(stage: Stage) -> None:
    epoch = await five_entries(stage)
    after = Start(after=Start.After(epoch=epoch, sequence=4))
    assert [answer.text for answer in await stage.tail(TailRequest(session="s", start=after), count=1)] == ["two"]


@observes("ListSessionsRequest.page_size", "ListSessionsRequest.page_token")
async def _(stage: Stage) -> None:
    for number, name in enumerate(["c", "a", "b"], start=1):
        await stage.begin(Open(session=name), number=number)
    sessions = sessions_of(stage.channel)
    page = await sessions.ListSessions(ListSessionsRequest(page_size=2))
    assert [session.name for session in page.sessions] == ["a", "b"]
    page = await sessions.ListSessions(ListSessionsRequest(page_token=page.next_page_token))
    assert [session.name for session in page.sessions] == ["c"]
    assert not page.next_page_token


@observes("GetSessionRequest.session")
async def _(stage: Stage) -> None:
    for number, name in ((1, "a"), (2, "b")):
        await stage.begin(Open(session=name), number=number)
    answer = await sessions_of(stage.channel).GetSession(GetSessionRequest(session="b"))
    assert answer.session.name == "b"


@observes("CloseSessionRequest.session")
async def _(stage: Stage) -> None:
    for number, name in ((1, "a"), (2, "b")):
        await stage.open(Open(session=name), number=number)
    await sessions_of(stage.channel).CloseSession(CloseSessionRequest(session="b"))
    assert (await stage.stream.ended(2)).session_closed
    await stage.stream.state(2, SESSION_STATE_CLOSED)
    await stage.stream.say(Command(channel=1, id=1, hold=Hold()))
    assert (await stage.stream.result(1)).outcome == OUTCOME_DONE
