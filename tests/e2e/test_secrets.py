"""Nothing secret gets into the log, at its most talkative, nor into what the gateway says of errors."""

from collections.abc import Callable

import grpc

from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    Close,
    Command,
    CommandResult,
    Ended,
    GetSessionRequest,
    Heartbeat,
    ListSessionsRequest,
    Open,
    Ping,
    ReconnectPolicy,
    Send,
    SetupStep,
    SocketOptions,
    StateChanged,
    Target,
)
from fairlead.v1.types_pb2 import Header, Match
from tests.e2e.admin_port import ADMIN, shown
from tests.e2e.attach import Attachment, Frame, Item, connected, sessions_of, span, status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Exchange

# One for each place, so that a leak tells where it comes from.
QUERY, USER, HEADER, SETUP, EXPECT, BEAT, SENT, PINGED, OUR_REASON, THEIR_REASON, NOISE = CANARIES = [
    f"canary-{place}-5ecre7"
    for place in ("query", "user", "header", "setup", "expect", "beat", "sent", "pinged", "ours", "theirs", "noise")
]
SENT_BACK = SETUP.encode()
GOOD = 100
ONCE = ReconnectPolicy(enabled=False)


def opening(url: str, **fields: object) -> Open:
    return Open(
        target=Target(url=url, headers=[Header(name="Authorization", value=HEADER)]),
        heartbeat=Heartbeat(interval=span(0.02), text=BEAT),
        setup=[SetupStep(key="login", payload=SETUP.encode(), expect=Match(contains=[b"never", EXPECT.encode()]))],
        reconnect=ONCE,
        **fields,  # type: ignore[arg-type]
    )


def raw_opening(exchange: Exchange, url: str, path: str, **fields: object) -> Open:
    """The same on a raw socket, whose preamble has the query."""
    preamble = exchange.preamble(f"{path}&token={QUERY}")
    return Open(
        target=Target(url=url),
        socket=SocketOptions(preamble=preamble, max_frame_bytes=1000),
        heartbeat=Heartbeat(interval=span(0.02), binary=BEAT.encode()),
        setup=[SetupStep(key="login", payload=SETUP.encode(), expect=Match(contains=[b"never", EXPECT.encode()]))],
        reconnect=ONCE,
        **fields,  # type: ignore[arg-type]
    )


def raw_ends(exchange: Exchange) -> dict[str, Open]:
    tcp, tls = exchange.tcp, exchange.tls
    cut = raw_opening(exchange, tcp, "/echo?fault=partial&after=2")
    with_delimiter = raw_opening(exchange, tcp, "/echo?tag=1")
    with_delimiter.setup[0].payload = f"{SETUP}\r\n".encode()
    beating = raw_opening(exchange, tcp, "/echo?tag=1")
    beating.heartbeat.binary = f"{BEAT}\r\n".encode()
    return {
        "raw, cut inside a frame": cut,
        "raw, too long": raw_opening(exchange, tcp, "/big?size=2000"),
        "raw, dropped": raw_opening(exchange, tcp, "/idle?fault=drop"),
        "raw, untrusted": raw_opening(exchange, tls.replace("127.0.0.1", "localhost"), "/idle?tag=1"),
        "raw, with a query": raw_opening(exchange, f"{tcp}/?token={QUERY}", "/idle?tag=1"),
        "raw, delimiter in setup": with_delimiter,
        "raw, delimiter in heartbeat": beating,
    }


def ends(exchange: Exchange) -> dict[str, Open]:
    """Sessions that fail, each in its way, with secrets everywhere."""
    secret = f"token={QUERY}"
    without_answer = opening(f"{exchange.ws}/login?mute=1&{secret}")
    without_answer.setup[0].timeout.CopyFrom(span(0.2))
    rejected = opening(f"{exchange.ws}/login?reject=1&{secret}")
    rejected.setup[0].reject.contains.append(b"error")
    silent = opening(f"{exchange.ws}/echo?{secret}")
    silent.setup[0].expect.contains[:] = [SETUP.encode()]
    silent.heartbeat.keepalive.contains.append(b"canary")
    silent.heartbeat.idle_timeout.CopyFrom(span(0.3))
    wrong_header = opening(f"{exchange.ws}/idle?{secret}")
    wrong_header.target.headers[0].value = f"{HEADER}\r\n"
    return {
        "refused": opening(f"{exchange.ws}/idle?status=403&{secret}"),
        "unknown to the exchange": opening(f"{exchange.ws}/nowhere?{secret}"),
        "never upgraded": opening(f"{exchange.ws}/idle?fault=never_upgrade&{secret}", dial_timeout=span(0.2)),
        "not listening": opening(f"ws://127.0.0.1:1/?{secret}"),
        "forbidden": opening(f"ws://192.0.2.1/?{secret}"),
        "untrusted": opening(f"wss://localhost:{exchange.wss.rsplit(':', 1)[1]}/echo?{secret}"),
        "without answer": without_answer,
        "rejected": rejected,
        "idle": silent,
        "corrupt": opening(f"{exchange.ws}/idle?fault=corrupt&{secret}"),
        "closed by it": opening(f"{exchange.ws}/idle?fault=close&reason={THEIR_REASON}&{secret}"),
        "dropped": opening(f"{exchange.ws}/idle?fault=drop&{secret}"),
        # Refused at once.
        "user in the URL": opening(f"ws://{USER}:{USER}@127.0.0.1/?{secret}"),
        "no URL": opening(f"{exchange.ws}/ ?{secret}"),
        "fragment": opening(f"{exchange.ws}/?{secret}#{QUERY}"),
        "over-long": opening(f"{exchange.ws}/?{secret}{'x' * 10_000}"),
        "wrong header": wrong_header,
        **raw_ends(exchange),
    }


def told(item: Item) -> str:
    """All that an event tells, but for what it is to deliver: payloads, and the exchange's own words."""
    if isinstance(item, Frame):
        return ""
    if isinstance(item, StateChanged):
        item.ClearField("close_reason")
    return str(item)


async def test_secrets_stay_secret(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"log": {"level": "debug"}, "tls": {"system_authorities": True}, **ADMIN})
    texts: list[str] = []
    failed: set[int] = set()
    sessions = ends(exchange)
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)

        async def until(condition: Callable[[], object]) -> None:
            while not condition():
                for item in await stream.read():
                    texts.append(told(item))
                    refused = isinstance(item, CommandResult) and item.outcome == OUTCOME_NOT_SENT and item.id < GOOD
                    if isinstance(item, Ended | CommandResult) and (refused or isinstance(item, Ended)):
                        failed.add(item.channel)

        await stream.say(*(Command(channel=n, id=n, open=each) for n, each in enumerate(sessions.values(), start=1)))
        await until(lambda: len(failed) == len(sessions))

        # One that works, and ends with a reason; a wrong Send, a wrong Close, a Send too late.
        good = opening(f"{exchange.ws}/echo?token={QUERY}", session="good")
        good.setup[0].expect.contains[:] = [SETUP.encode()]
        await stream.say(Command(channel=GOOD, open=good))
        await until(lambda: SENT_BACK in [frame.payload for frame in stream.heard(Frame)])
        described = [
            str(await sessions_of(channel).GetSession(GetSessionRequest(session="good"))),
            str(await sessions_of(channel).ListSessions(ListSessionsRequest())),
            *await shown(gateway),
        ]
        await stream.say(
            Command(channel=GOOD, id=GOOD + 1, send=Send(payload=SENT.encode(), setup_key="more")),
            Command(channel=GOOD, id=GOOD + 2, send=Send(payload=SENT.encode() + b"\xff")),
            Command(channel=GOOD, id=GOOD + 3, ping=Ping(payload=PINGED.encode())),
            Command(channel=GOOD, id=GOOD + 4, ping=Ping(payload=PINGED.encode() * 10)),
            Command(channel=GOOD, id=GOOD + 5, close=Close(code=1005, reason=OUR_REASON)),
            Command(channel=GOOD, id=GOOD + 6, close=Close(reason=OUR_REASON)),
            Command(channel=GOOD, id=GOOD + 7, send=Send(payload=SENT.encode())),
        )
        await until(lambda: GOOD in failed)
        await stream.say_bytes(b"\x0a\xff" + NOISE.encode())
        status = await stream.status()
        assert status.code is grpc.StatusCode.INVALID_ARGUMENT
        missing = await status_of(sessions_of(channel).GetSession(GetSessionRequest(session="good")))
        texts += [str(status), str(missing), *described]

    assert f"/echo?token={QUERY}" in str(await exchange.connections()), "the exchange was given the secrets"
    texts += await shown(gateway)
    assert await gateway.terminate() == 0
    texts.append(gateway.log)
    leaked = {canary for canary in CANARIES for text in texts if canary in text}
    assert not leaked
    assert "session.state" in gateway.log, "there is a log"
    assert any("REASON_SETUP_REJECTED" in text for text in texts), "there are error texts"
