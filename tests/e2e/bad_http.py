"""Wrong HTTP requests, with the answers that docs/errors.md documents."""

from typing import Any, cast

import grpc
from google.protobuf.duration_pb2 import Duration

from fairlead.v1.http_pb2 import IDEMPOTENCY_SAFE, HttpRequest, QueryParameter, SendRequest
from fairlead.v1.types_pb2 import Header
from tests.e2e.attach import Status, status_of
from tests.e2e.http_calls import SEND
from tests.e2e.wrong import CHARGE, UNKNOWN_FIELD, ZERO, Place, WrongCall

INVALID = "INVALID_ARGUMENT INVALID_FIELD"
UNKNOWN = "INVALID_ARGUMENT UNKNOWN_FIELD"
NOT_YET = "UNIMPLEMENTED NOT_IMPLEMENTED"
LIMIT = "RESOURCE_EXHAUSTED LIMIT_REACHED"
DENIED = "PERMISSION_DENIED EGRESS_DENIED"


def asking(name: str, answer: str, says: str, **fields: Any) -> WrongCall:
    """A GET of the exchange's /echo, with these fields. {http} and {port} in the URL stand for the exchange."""
    request = HttpRequest(**{"method": "GET", "url": "{http}/echo", **fields})
    return sent(name, answer, says, SendRequest(request=request))


def sent(name: str, answer: str, says: str, message: SendRequest | bytes) -> WrongCall:
    async def make(place: Place) -> Status:
        whole = message
        if isinstance(whole, SendRequest):
            filled = SendRequest.FromString(whole.SerializeToString())
            if filled.HasField("request"):
                port = place.http.rsplit(":", 1)[1]
                filled.request.url = filled.request.url.replace("{http}", place.http).replace("{port}", port)
            whole = filled.SerializeToString()
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = place.channel.unary_unary(SEND)
        return await status_of(send(whole))

    return WrongCall(name, "HttpService.Send", answer, says, make)


def heading(name: str, says: str, *headers: tuple[str, str], answer: str = INVALID) -> WrongCall:
    return asking(name, answer, says, headers=[Header(name=each, value=value) for each, value in headers])


def targeting(name: str, url: str, says: str, answer: str = INVALID) -> WrongCall:
    return asking(name, answer, says, url=url)


def method(name: str, method: str, says: str) -> WrongCall:
    return asking(name, INVALID, f"request.method: {says}", method=method)


HTTP_CALLS = (
    sent("SendRequest that is no protobuf", "UNIMPLEMENTED", "", b"\x0a\xff"),
    sent("SendRequest with an unknown field", UNKNOWN, "SendRequest: field number 1000", UNKNOWN_FIELD),
    sent("SendRequest beyond the limit", "RESOURCE_EXHAUSTED", "", b"\x0a" + b"x" * (300 << 10)),
    sent("Send of nothing", INVALID, "request: is required", b""),
    sent(
        "HTTP request with an unknown field",
        UNKNOWN,
        "SendRequest.request: field number 1000",
        SendRequest(request=HttpRequest.FromString(UNKNOWN_FIELD)),
    ),
    asking(
        "query parameter with an unknown field",
        UNKNOWN,
        "SendRequest.request.query: field number 1000",
        query=[QueryParameter(key="k"), QueryParameter.FromString(UNKNOWN_FIELD)],
    ),
    asking("HTTP request with charges", NOT_YET, "request.charges", charges=[CHARGE]),
    asking("HTTP request with a permit", NOT_YET, "request.permit", permit="p"),
    asking("HTTP request with an idempotency", NOT_YET, "request.idempotency", idempotency=IDEMPOTENCY_SAFE),
    asking("idempotency that does not exist", NOT_YET, "request.idempotency:", idempotency=cast(Any, 99)),
    asking("HTTP request with a profile", NOT_YET, "request.profile", profile="p"),
    # The request line.
    method("HTTP request without method", "", "is required"),
    method("method in small letters", "get", "must be capitals"),
    method("method with CR LF", "GET / HTTP/1.1\r\nX: y\r\n", "must be capitals, as"),
    method("over-long method", "X" * 33, "has more than 32 bytes"),
    method("CONNECT", "CONNECT", "CONNECT asks for a tunnel"),
    targeting("HTTP request without URL", "", "request.url: "),
    targeting("HTTP request to a WebSocket", "ws://127.0.0.1:{port}/", "request.url: the scheme must be http or https"),
    targeting(
        "user name in a request's URL", "http://me:secret@127.0.0.1:{port}/", "request.url: a user name or password"
    ),
    targeting("fragment in a request's URL", "{http}/#there", "request.url: a fragment"),
    targeting("request's URL with a space", "{http}/a b", "request.url: is not a URL"),
    targeting("request's URL with CR LF", "{http}/ HTTP/1.1\r\nX: y", "request.url: is not a URL by RFC 3986"),
    targeting("over-long URL of a request", "{http}/" + "x" * 512, "request.url: ", LIMIT),
    asking(
        "query that makes the URL over-long",
        LIMIT,
        "request.query: ",
        url="{http}/" + "x" * 200,
        query=[QueryParameter(key="k", value="v" * 400)],
    ),
    # Headers.
    heading("request header name with CR LF", "request.headers[0].name: not a token", ("X-A\r\nX-B", "b")),
    heading("request header value with CR LF", "request.headers[0].value: has a control", ("X-A", "a\r\nX-B: b")),
    heading("request header value with NUL", "request.headers[1].value: has a control", ("A", "a"), ("X-A", "a\0")),
    heading("request header value that ends in a tab", "request.headers[0].value: begins or ends", ("X-A", "a\t")),
    heading("Host of the caller's", "request.headers[0].name: Host belongs", ("Host", "elsewhere")),
    heading("Content-Length of the caller's", "CONTENT-length belongs", ("CONTENT-length", "5")),
    heading("Transfer-Encoding of the caller's", "Transfer-Encoding belongs", ("Transfer-Encoding", "chunked")),
    heading("Connection of the caller's", "Connection belongs", ("Connection", "close")),
    heading("Expect of the caller's", "Expect belongs", ("Expect", "100-continue")),
    heading("header for a proxy", "Proxy-Authorization belongs", ("Proxy-Authorization", "x")),
    heading("too many bytes of request headers", "limits.header_bytes is 512", ("X-A", "x" * 510), answer=LIMIT),
    # The rest.
    asking("request timeout of zero", INVALID, "request.timeout", timeout=ZERO),
    asking("negative request timeout", INVALID, "request.timeout: ", timeout=Duration(seconds=-1)),
    asking("negative max wait of a request", INVALID, "request.max_wait: ", max_wait=Duration(seconds=-1)),
    asking("response header name with a colon", INVALID, "request.response_header_names", response_header_names=["a:"]),
    asking(
        "too many bytes of response header names",
        LIMIT,
        "request.response_header_names: ",
        response_header_names=["x" * 300] * 2,
    ),
    asking("response beyond the limit", LIMIT, "request.max_response_bytes: at most", max_response_bytes=1 << 20),
    # Egress.
    targeting(
        "HTTP host without an egress rule",
        "http://exchange.invalid/",
        "no rule allows http://exchange.invalid:80",
        DENIED,
    ),
    targeting("HTTP port without an egress rule", "http://127.0.0.1:1/", "no rule allows http://127.0.0.1:1;", DENIED),
    targeting(
        "HTTP scheme without an egress rule", "https://127.0.0.1:{port}/", "no rule allows https://127.0.0.1:", DENIED
    ),
    targeting(
        "HTTP name of an address that is not public",
        "http://localhost/",
        "an address of localhost is not public",
        DENIED,
    ),
)
