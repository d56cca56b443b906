"""Security case 33: a secret that goes through the gateway is nowhere in what the gateway tells of itself.

test_secrets.py and test_http_secrets.py have many more places, one by one. There are neither traces nor a status page.
Tail and deliveries are left out: payloads are their purpose.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from fairlead.v1.http_pb2 import HttpResponse, QueryParameter, SendRequest
from fairlead.v1.session_pb2 import (
    OUTCOME_WRITTEN,
    Close,
    Command,
    GetSessionRequest,
    ListSessionsRequest,
    Open,
    Send,
    SetupStep,
    Target,
)
from fairlead.v1.types_pb2 import Header
from tests.e2e.attach import Attachment, connected, sessions_of, status_of
from tests.e2e.callers import DESK, FEEDS, Papers, channel_to, sha256, tls_listener
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import ask, asking, headers, http_of
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import Exchange, Gateway
from tests.e2e.security.ways import QUIET, once, opening_refused

PLACES = ("token", "wrongtoken", "header", "query", "parameter", "body", "ours", "theirs", "answer", "setup", "frame")
MARK = "c4n4ry"
CANARIES = {place: f"{place}-{MARK}" for place in PLACES}


@pytest.fixture
def telling(start_gateway: StartGateway, papers: Papers, scratch: Path) -> Gateway:
    """A gateway that logs whatever it may, and knows a caller by a token."""
    secure = tls_listener(papers, scratch)
    callers = [{"identity": "feeds", "token_sha256": [sha256(CANARIES["token"])]}]
    unix = {"identity": "feeds", "unix": {"path": str(scratch / "fairlead.sock")}}
    return start_gateway(
        {**secure, "callers": callers, "listeners": [unix, *secure["listeners"]], "log": {"level": "debug"}}
    )


@pytest.fixture
async def inside(telling: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with connected(telling.address) as channel:
        yield channel


async def test_case_33_secrets_of_requests_are_told_nowhere(telling: Gateway, inside: grpc.aio.Channel) -> None:
    """Header, query, body, and all of an answer: answered, refused, failed and malformed."""
    told: list[str] = []

    async def converse(wire: Wire) -> None:
        answers = {"/good": "HTTP/1.1 200", "/bad": "HTTP/9.9 200", "/long": "HTTP/1.1 200"}
        request = await wire.request()
        path = request.target.partition("?")[0]
        body = CANARIES["answer"] * (1 if path == "/good" else 1000)
        head = f"{answers[path]} {CANARIES['answer']}\r\nX: {CANARIES['answer']}\r\nContent-Length: {len(body)}\r\n\r\n"
        await wire.write(head.encode() + body.encode())

    async with http_peer(converse) as server:
        urls = [server.url + path for path in ("/good", "/bad", "/long", "/#f", "/a b")]
        for url in [*urls, "http://127.0.0.1:1/", "http://10.0.0.1/", "http://x.invalid/", "ftp://x/"]:
            request = asking(
                f"{url}?key={CANARIES['query']}",
                "POST",
                headers=headers(("X-Api-Key", CANARIES["header"])),
                query=[QueryParameter(key="signature", value=CANARIES["parameter"])],
                body=CANARIES["body"].encode(),
                max_response_bytes=1000,
            )
            result = await ask(inside, request)
            assert isinstance(result, HttpResponse) == (url == urls[0]), result
            told += [] if isinstance(result, HttpResponse) else [str(result)]
        arrived = str(server.requests)
    assert all(CANARIES[place] in arrived for place in ("header", "query", "parameter", "body")), "they were sent"
    assert len(told) == 8
    await expect_secret(telling, told)


async def test_case_33_secrets_of_sessions_are_told_nowhere(
    telling: Gateway, inside: grpc.aio.Channel, exchange: Exchange
) -> None:
    """Header, query, setup and frames, the close reason of either side; GetSession and ListSessions, too."""
    header = Header(name="X-Api-Key", value=CANARIES["header"])
    query = f"token={CANARIES['query']}"
    stream = Attachment(inside)
    target = Target(url=f"{exchange.ws}/echo?{query}", headers=[header])
    steps = [SetupStep(key="login", payload=CANARIES["setup"].encode())]
    await stream.open(1, Open(session="s", target=target, heartbeat=QUIET, setup=steps))
    await stream.say(Command(channel=1, id=1, send=Send(payload=CANARIES["frame"].encode(), setup_key="more")))
    assert (await stream.result(1)).outcome == OUTCOME_WRITTEN
    sessions = sessions_of(inside)
    told = [str(await sessions.GetSession(GetSessionRequest(session="s")))]
    told.append(str(await sessions.ListSessions(ListSessionsRequest())))
    assert f"{exchange.ws}" in told[0], "it is described"
    await stream.say(Command(channel=1, id=2, close=Close(reason=CANARIES["ours"])))
    told += [str(await stream.result(2)), str(await stream.ended(1))]

    ends = [
        f"{exchange.ws}/idle?fault=close&code=4000&reason={CANARIES['theirs']}&{query}",
        f"{exchange.ws}/idle?status=401&{query}",
        f"{exchange.ws}/idle?fault=corrupt&{query}",
        f"ws://10.0.0.1/?{query}",
        f"ws://127.0.0.1:1/?{query}",
        f"{exchange.ws}/ ?{query}",
    ]
    for url in ends:
        told.append(str(await opening_refused(inside, once(url, [header], setup=steps))))
    arrived = str(await exchange.connection(1))
    assert all(CANARIES[place] in arrived for place in ("header", "query", "setup", "frame", "ours")), "they were sent"
    await expect_secret(telling, told)


async def test_case_33_a_token_is_told_nowhere(telling: Gateway, papers: Papers) -> None:
    """Right or wrong, sent with calls that are served and that are not."""
    told = []
    async with channel_to(telling, papers) as channel:
        for place in ("token", "wrongtoken"):
            metadata = (("authorization", f"Bearer {CANARIES[place]}"),)
            listed = sessions_of(channel).ListSessions(ListSessionsRequest(), metadata=metadata)
            status = await status_of(listed)
            assert status.code.name == ("OK" if place == "token" else "UNAUTHENTICATED")
            told += [str(status), str(await listed.initial_metadata()), str(await listed.trailing_metadata())]
            request = SendRequest(request=asking("http://127.0.0.1:1/"))
            told.append(str(await status_of(http_of(channel).Send(request, metadata=metadata))))
    assert not [name for name in (FEEDS, DESK) if name in str(told)]
    await expect_secret(telling, told)


async def expect_secret(gateway: Gateway, told: list[str]) -> None:
    assert await gateway.terminate() == 0
    told.append(gateway.log + gateway.ready_line + gateway.rest_of_output())
    leaked = {text[max(0, text.index(MARK) - 100) : text.index(MARK) + 20] for text in told if MARK in text}
    assert not leaked
    assert "gateway.stopped" in gateway.log, "there is a log"
