"""What each field of HttpRequest does."""

import json

from fairlead.v1.http_pb2 import HttpRequest, HttpResponse, QueryParameter, SendRequest
from fairlead.v1.types_pb2 import Header
from tests.e2e.attach import span
from tests.e2e.http_calls import Failed, all_of, ask, asking, fields_of, headers, response
from tests.e2e.observed import Stage, observes


async def arrived(stage: Stage, request: HttpRequest) -> tuple[str, str, list[list[str]], str]:
    """The request, as the exchange echoes it: method, target, headers, body in base64."""
    echo = json.loads((await response(stage.channel, request)).body)
    return echo["method"], echo["target"], echo["headers"], echo["body_base64"]


async def failed(stage: Stage, request: HttpRequest) -> Failed:
    result = await ask(stage.channel, request)
    assert isinstance(result, Failed), result
    return result


@observes("SendRequest.request", "HttpRequest.method")
async def _(stage: Stage) -> None:
    assert SendRequest(request=HttpRequest(method="DELETE")).request.method == "DELETE"
    assert (await arrived(stage, asking(f"{stage.exchange.http}/echo", "DELETE")))[0] == "DELETE"


@observes("HttpRequest.url")
async def _(stage: Stage) -> None:
    assert (await arrived(stage, asking(f"{stage.exchange.http}/echo?a=1&a=2")))[1] == "/echo?a=1&a=2"


@observes("HttpRequest.headers")
async def _(stage: Stage) -> None:
    sent = headers(("X-B", "1"), ("x-a", "2"), ("X-B", "3"))
    got = (await arrived(stage, asking(f"{stage.exchange.http}/echo", headers=sent)))[2]
    assert [pair for pair in got if pair[0].lower().startswith("x-")] == [["X-B", "1"], ["x-a", "2"], ["X-B", "3"]]
    assert sent[0] == Header(name="X-B", value="1")


@observes("HttpRequest.body")
async def _(stage: Stage) -> None:
    assert (await arrived(stage, asking(f"{stage.exchange.http}/echo", "PUT", body=b"\x00\xff")))[3] == "AP8="


@observes("HttpRequest.query", "QueryParameter.key", "QueryParameter.value")
async def _(stage: Stage) -> None:
    query = [QueryParameter(key=key, value=value) for key, value in (("b", "1 &"), ("a", ""), ("b", "2"))]
    assert (await arrived(stage, asking(f"{stage.exchange.http}/echo", query=query)))[1] == "/echo?b=1%20%26&a=&b=2"


@observes("HttpRequest.timeout")
async def _(stage: Stage) -> None:
    result = await failed(stage, asking(f"{stage.exchange.http}/slow?ms=600000", timeout=0.1))
    assert result.words == ("REQUEST_TIMEOUT", "SENT_NO_REPLY")
    assert "100 ms" in result.message


@observes("HttpRequest.max_wait")
async def _(stage: Stage) -> None:
    """64 connections are busy: who waits for as long as it takes is answered, who does not is not sent."""
    url = f"{stage.exchange.http}/slow?ms=500"
    results = await all_of(
        stage.channel,
        *[asking(url)] * 65,
        *[asking(f"{url}&tag=impatient", max_wait=span(0.001))] * 65,
    )
    assert all(isinstance(result, HttpResponse) for result in results[:65])
    waited = [result for result in results[65:] if isinstance(result, Failed)]
    assert waited
    assert {result.words for result in waited} == {("WAIT_EXPIRED", "NOT_SENT")}


@observes("HttpRequest.response_header_names")
async def _(stage: Stage) -> None:
    request = asking(f"{stage.exchange.http}/headers", response_header_names=["Set-Cookie"])
    assert fields_of(await response(stage.channel, request)) == [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]


@observes("HttpRequest.max_response_bytes")
async def _(stage: Stage) -> None:
    url = f"{stage.exchange.http}/big?size=100"
    assert len((await response(stage.channel, asking(url, max_response_bytes=100))).body) == 100
    result = await failed(stage, asking(url, max_response_bytes=99))
    assert result.words == ("RESPONSE_TOO_LONG", "REPLIED")
