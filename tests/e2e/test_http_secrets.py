"""Nothing secret of a request or of its answer gets into the log, at its most talkative, nor into an error."""

import asyncio

import grpc
import pytest

from fairlead.v1.http_pb2 import HttpRequest, HttpResponse, QueryParameter
from tests.e2e.admin_port import ADMIN, shown
from tests.e2e.attach import connected, span, status_of
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import SEND, Failed, ask, asking, begin, headers, response
from tests.e2e.http_peer import Wire, http_peer
from tests.e2e.processes import Exchange

pytestmark = pytest.mark.bad_input

# One for each place, so that a leak tells where it comes from.
PATH, QUERY, PARAMETER, USER, HEADER, BODY, NAME, THEIR_HEADER, THEIR_BODY, THEIR_REASON, NOISE = CANARIES = [
    f"canary-{place}-5ecre7"
    for place in (
        "path",
        "query",
        "parameter",
        "user",
        "header",
        "body",
        "name",
        "header2",
        "body2",
        "reason2",
        "noise",
    )
]
HEAD = f"HTTP/1.1 200 {THEIR_REASON}\r\nX-Secret: {THEIR_HEADER}\r\n"
ANSWERS = {
    "/good": HEAD + f"Content-Length: {len(THEIR_BODY)}\r\n\r\n{THEIR_BODY}",
    "/refused": HEAD.replace("200", "403") + f"Content-Length: {len(THEIR_BODY)}\r\n\r\n{THEIR_BODY}",
    "/no-http": THEIR_BODY,
    "/bad-status": f"HTTP/1.1 2x0 {THEIR_REASON}\r\n\r\n",
    "/bad-header": HEAD + f"X {THEIR_HEADER}: x\r\n\r\n",
    "/bad-length": HEAD + f"Content-Length: {THEIR_BODY}\r\n\r\n",
    "/bad-coding": HEAD + f"Transfer-Encoding: {THEIR_HEADER}\r\n\r\n",
    "/bad-chunk": HEAD + f"Transfer-Encoding: chunked\r\n\r\n{THEIR_BODY}\r\n",
    "/bad-trailer": HEAD + f"Transfer-Encoding: chunked\r\n\r\n0\r\nX {THEIR_HEADER}\r\n\r\n",
    "/long-header": HEAD + f"X: {THEIR_HEADER * 10_000}\r\n\r\n",
    "/long-body": HEAD + f"Content-Length: 10000\r\n\r\n{THEIR_BODY * 400}",
    "/cut": HEAD + f"Content-Length: 1000\r\n\r\n{THEIR_BODY}",
    "/leftover": HEAD + f"Content-Length: 0\r\n\r\n{THEIR_BODY}",
}


def secretly(url: str, **fields: object) -> HttpRequest:
    """With secrets wherever a request may have them."""
    return asking(
        f"{url}?token={QUERY}",
        "POST",
        headers=headers(("Authorization", HEADER)),
        query=[QueryParameter(key="signature", value=PARAMETER)],
        body=BODY.encode(),
        max_response_bytes=1000,
        **fields,  # type: ignore[arg-type]
    )


async def answers(wire: Wire) -> None:
    while True:
        request = await wire.request()
        path = request.target.partition("?")[0]
        if path == "/silent":
            await wire.until_gone()
            return
        await wire.write(ANSWERS[path].encode())
        if path == "/cut":
            return


def mistaken(url: str) -> list[HttpRequest]:
    """Refused before anything is sent, each for a place with a secret in it."""
    wrong = [secretly(f"{url}/good") for _ in range(8)]
    wrong[0].headers[0].value += "\r\n"
    wrong[1].headers[0].name = f"X {NAME}"
    wrong[2].url += "#x"
    wrong[3].url = wrong[3].url.replace("http://", f"http://{USER}:{USER}@")
    wrong[4].url += f"&{QUERY} {PATH}"
    wrong[5].query[0].value *= 1000
    wrong[6].headers[0].value *= 1000
    wrong[7].method = f"GET /{NAME}"
    return wrong


async def test_secrets_stay_secret(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"log": {"level": "debug"}, "tls": {"system_authorities": True}, **ADMIN})
    told: list[str] = []
    async with connected(gateway.address) as channel, http_peer(answers) as server:
        elsewhere = [
            secretly("http://127.0.0.1:1/"),
            secretly("http://192.0.2.1/"),
            secretly("http://exchange.invalid/"),
            secretly(server.url.replace("http:", "https:"), timeout=1),
            secretly(f"{exchange.https}/echo"),
            secretly(f"{server.url}/silent", timeout=0.2),
        ]
        requests = [secretly(server.url + path) for path in ANSWERS]
        results = [await ask(channel, request) for request in (*requests, *elsewhere, *mistaken(server.url))]
        for path, result in zip(ANSWERS, results, strict=False):
            if path in ("/good", "/refused", "/leftover"):
                assert isinstance(result, HttpResponse), result
            else:
                assert isinstance(result, Failed), f"{path} {result}"
        assert all(isinstance(result, Failed) for result in results[len(ANSWERS) :])
        told += [str(result) for result in results if isinstance(result, Failed)]
        call = begin(channel, secretly(f"{server.url}/silent"))
        await asyncio.sleep(0.05)
        call.cancel()
        noise: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SEND)
        told.append(str(await status_of(noise(b"\x0a\xff" + NOISE.encode()))))
        waits = asking(f"{server.url}/good?{QUERY}", max_wait=span(30))
        assert (await response(channel, waits)).body == THEIR_BODY.encode()
        told += await shown(gateway)
        (arrived,) = [request for request in server.requests if request.target.startswith("/refused")]
    assert f"token={QUERY}&signature={PARAMETER}" in arrived.target, "the exchange was given the secrets"
    assert arrived.values("Authorization") == [HEADER]
    assert await gateway.terminate() == 0
    told.append(gateway.log)
    leaked = {canary for canary in CANARIES for text in told if canary in text}
    assert not leaked
    assert "http.dial" in gateway.log, "there is a log"
    assert any("RESPONSE_INVALID" in text for text in told), "there are error texts"
