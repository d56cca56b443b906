"""Answers that are no answers, or leave in doubt where they end: none is accepted, none reaches another request."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest

from fairlead.v1.http_pb2 import HttpResponse
from tests.e2e.attach import connected
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import ask, asking, response
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.bad_input

MALFORMED = json.loads((ROOT / "tests/support/malformed_responses.json").read_text())
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@dataclass(frozen=True)
class Case:
    """One of tests/support/malformed_responses.json; malformed_responses.h tells the fields."""

    name: str
    answer: bytes
    closes: bool
    method: str
    verdict: str


CASES = [
    Case(
        case["name"],
        (case["bytes"] + case.get("then", {}).get("text", "") * case.get("then", {}).get("times", 0)).encode("latin-1"),
        case.get("closes", False),
        "HEAD" if case.get("to_head") else "GET",
        case["verdict"],
    )
    for case in MALFORMED["cases"]
]


@pytest.fixture
async def channel(start_gateway: StartGateway) -> AsyncIterator[grpc.aio.Channel]:
    """To a gateway with the limits with which the verdicts are true."""
    limits = MALFORMED["limits"]
    gateway = start_gateway(
        {"http": {"response_header_bytes": limits["header_bytes"], "response_bytes": limits["body_bytes"]}}
    )
    async with connected(gateway.address) as channel:
        yield channel


def test_there_are_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert {case.verdict for case in CASES} == {
        "RESPONSE_INVALID",
        "RESPONSE_TOO_LONG",
        "CONNECTION_LOST",
        "NOT_REUSED",
    }


@pytest.mark.parametrize("pieces", [1, 2, 1000], ids=["whole", "halves", "bytes"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_malformed_responses(channel: grpc.aio.Channel, tls: ssl.SSLContext, secure: bool, pieces: int) -> None:
    """Each in one segment, in two, or byte by byte; each is followed by a good request, whose answer is its own."""

    async def converse(wire: Wire) -> None:
        while True:
            request = await wire.request()
            word, number = request.target[1:].split("/")
            if word == "good":
                await wire.answer(request.target.encode())
                continue
            case = CASES[int(number)]
            size = max(1, -(-len(case.answer) // pieces))
            for at in range(0, len(case.answer), size):
                await wire.write(case.answer[at : at + size])
                await asyncio.sleep(0)
            if not case.closes:
                assert await wire.until_gone() == b"", f"{case.name}: its connection was used again"
            return

    wrong: list[str] = []
    async with http_peer(converse, tls if secure else None) as server:
        for number, case in enumerate(CASES):
            if pieces > 2 and len(case.answer) > 200:
                continue  # Their many bytes are all alike.
            result = await ask(channel, asking(f"{server.url}/case/{number}", case.method))
            if isinstance(result, HttpResponse):
                verdict = "NOT_REUSED" if result.body in (b"", b"hello") else f"{result.body!r} was delivered"
            else:
                verdict = result.reason
                # Something has answered once as much has come as a version and a digit of the status take; or what came
                # is no response at all.
                begun = len(case.answer) >= len("HTTP/1.1 2") or verdict == "RESPONSE_INVALID"
                if result.phase not in ("SENT_NO_REPLY", "REPLIED" if begun else ""):
                    verdict += f" in phase {result.phase}"
            if verdict != case.verdict:
                wrong.append(f"{case.name}: {verdict} instead of {case.verdict}")
            good = await response(channel, asking(f"{server.url}/good/{number}"))
            if good.body != b"/good/%d" % number:
                wrong.append(f"{case.name}: the next request got {good.body!r}")
        for wire in server.wires:
            cases = [at for at, request in enumerate(wire.requests) if request.target.startswith("/case/")]
            assert cases in ([], [len(wire.requests) - 1]), "a connection carries nothing behind a malformed answer"
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("turns", [None, 0, 1, 3], ids=["one record", "one segment", "next turn", "later"])
async def test_leftovers_behind_an_answer(
    channel: grpc.aio.Channel, tls: ssl.SSLContext, secure: bool, turns: int | None
) -> None:
    """Whatever has come behind an answer, also where only TLS knows of it: the next request takes a new connection."""
    left = asyncio.Event()

    async def converse(wire: Wire) -> None:
        request = await wire.request()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target.encode())
        if turns is None:
            await wire.write(answer + EVIL)
        elif turns == 0:
            await wire.write(answer, EVIL)
        else:
            await wire.write(answer)
            for _ in range(turns):
                await asyncio.sleep(0)
            await wire.write(EVIL)
        left.set()
        assert await wire.until_gone() == b""

    async with http_peer(converse, tls if secure else None) as server:
        for number in range(50):
            left.clear()
            reply = await response(channel, asking(f"{server.url}/{number}"))
            assert reply.body == b"/%d" % number
            # What has not been sent yet nobody can see.
            await left.wait()
        assert len(server.wires) == 50


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_an_answer_that_nobody_asked_for(channel: grpc.aio.Channel, tls: ssl.SSLContext, secure: bool) -> None:
    """On an idle connection: it answers nothing, and the connection is done with."""
    served, unasked = asyncio.Event(), asyncio.Event()

    async def converse(wire: Wire) -> None:
        request = await wire.request()
        await wire.answer(request.target.encode())
        await served.wait()
        await wire.write(EVIL)
        unasked.set()
        assert await wire.until_gone() == b""

    async with http_peer(converse, tls if secure else None) as server:
        for number in range(20):
            served.clear()
            unasked.clear()
            assert (await response(channel, asking(f"{server.url}/{number}"))).body == b"/%d" % number
            served.set()
            await unasked.wait()
        assert len(server.wires) == 20
