"""HTTP requests to exchanges, over the gateway's pools of kept-alive connections."""

import asyncio
import json as jsonlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypedDict, Unpack

import grpc
from google.protobuf.duration_pb2 import Duration

from fairlead._base import Base
from fairlead._cancellation import cancellations, raise_if_cancelled
from fairlead._shards import Shards
from fairlead.errors import Failure, OutcomeUnknown, SendFailed, error_of_request, too_long
from fairlead.options import Headers, Payload, Span, seconds
from fairlead.reply import HttpReply
from fairlead.v1 import http_pb2 as pb

ParameterValue = str | int | float | Decimal
"""What a query parameter may be: str as it is, True and False as true and false, a number without exponent."""
Parameters = (
    Mapping[str, ParameterValue | Sequence[ParameterValue]]
    | Iterable[tuple[str, ParameterValue | Sequence[ParameterValue]]]
)
"""Query parameters in order; a list or tuple repeats its key, and pairs may repeat keys, too."""

# The gateway's default for max_wait, which the RPC's deadline has to cover.
_MAX_WAIT_S = 1.0
# The gateway answers 50 ms before the RPC's deadline: its answer, which alone proves how far the request got, comes
# before gRPC gives up, unless the gateway is gone.
_MARGIN_S = 1.0


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of Http.request, which tells what they mean."""

    params: Parameters | None
    headers: Headers
    json: object
    body: Payload | None
    timeout: Span
    max_wait: Span | None
    response_headers: Iterable[str]
    max_response_bytes: int | None


class Http:
    """Sends HTTP requests through the gateway: Gateway.http.

    Any HTTP status is a reply; reply.raise_for_status() makes an exception of 4xx and 5xx. Redirects are not followed,
    and nothing is ever sent twice, neither by the client nor by the gateway. Any number of requests may be in flight.
    """

    def __init__(self, shards: Shards, max_send_bytes: int, base: Base | None = None) -> None:
        self._shards = shards
        self._max_send_bytes = max_send_bytes
        self._base = base or Base()

    def at(self, base_url: str, *, headers: Headers = ()) -> "Http":
        """Give what sends requests to one exchange: paths in place of URLs, and the same headers with each.

        base_url: http:// or https://, a host, and a path if need be: "https://api.example.com/v3". What is given as a
          request's url is appended to it, with a "/" between them, and never taken for a URL of its own: no part of
          the base is dropped, and no other host is reached.
        headers: sent with each request, before the request's own; where it has fields of a name, without regard to
          case, those take the place of these.

        Connections are the gateway's, and shared with all others to this exchange. at() of what at() gave goes on from
        there.

        Raises ValueError for a base_url with a query or fragment, and a request for a whole URL.
        """
        return Http(self._shards, self._max_send_bytes, self._base.extend(base_url, headers))

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Parameters | None = None,
        headers: Headers = (),
        json: object = None,
        body: Payload | None = None,
        timeout: Span = 10.0,
        max_wait: Span | None = None,
        response_headers: Iterable[str] = (),
        max_response_bytes: int | None = None,
    ) -> HttpReply:
        """Send one request and return the exchange's reply, whatever its status.

        method: GET, POST ...; any RFC 9110 token but CONNECT.
        url: http:// or https://; may have a query, to which params are appended. Of what at() gave: a path.
        params: appended to the URL in this order, percent-encoded by the gateway: all but letters, digits and "-._~".
        headers: sent in this order; names may repeat if they are given as pairs. Framing headers are the gateway's.
        json: sent as compact JSON in UTF-8, with Content-Type application/json unless headers have one; None: no body
          (JSON's null is body=b"null").
        body: sent as it is, str as UTF-8; the other way to give a body.
        timeout: from the first byte of work to the last of the response; zero is refused.
        max_wait: how long to wait for a free connection; None: 1 s; zero: fail at once if none is free.
        response_headers: only these come back, without regard to case; empty: all.
        max_response_bytes: the longest body accepted; None or 0: the gateway's http.response_bytes.

        error.may_have_been_sent tells of each error below whether the exchange may have the request.
        Raises before anything is sent: GatewayUnavailable while there is no connection to the gateway; InvalidRequest,
        PermissionDenied, LimitReached ... if the gateway refuses it; SendFailed if the connection to the exchange could
        not be made, or not in time. Raises ResponseUnusable if the exchange's answer is not valid HTTP or is too long,
        and OutcomeUnknown, its base class, if the exchange may have the request and no answer came; also when the
        gateway does not answer. Raises ValueError or TypeError for arguments that cannot be sent.

        The call to the gateway ends after timeout, max_wait and a second. Cancelling it cancels the request, and closes
        its connection: the exchange may have it.
        """
        message = pb.SendRequest()
        request = message.request
        request.method = method = method.upper()
        request.url = url = self._base.join(url)
        if params is not None:
            _write_query(request, params)
        self._write_content(request, self._base.fields(headers), json, body)
        deadline = _write_span(request.timeout, timeout, "timeout") + _MARGIN_S
        deadline += _MAX_WAIT_S if max_wait is None else _write_span(request.max_wait, max_wait, "max_wait")
        if response_headers:
            _write_names(request, response_headers)
        if max_response_bytes:
            request.max_response_bytes = max_response_bytes
        link = self._shards.link_for(url)
        connection = link.connection
        cancelled = cancellations()
        try:
            response = await connection.send(message, deadline)
        except grpc.aio.AioRpcError as error:
            raise_if_cancelled(cancelled)
            raise error_of_request(error, link.address) from None
        except asyncio.CancelledError:
            # grpc.aio says the same when the connection was closed under the call: by this program or its Gateway.
            raise_if_cancelled(cancelled)
            raise OutcomeUnknown(Failure(message="the connection to the gateway was closed meanwhile")) from None
        return HttpReply(response.response, method, url)

    def get(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a GET; see request()."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a HEAD; see request()."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send an OPTIONS; see request()."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a POST; see request()."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a PUT; see request()."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a PATCH; see request()."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> Coroutine[Any, Any, HttpReply]:
        """Send a DELETE; see request()."""
        return self.request("DELETE", url, **options)

    def _write_content(self, request: pb.HttpRequest, headers: Headers, json: object, body: Payload | None) -> None:
        content_type = ""
        if json is not None:
            if body is not None:
                raise ValueError("json, body: give one of them")
            body = jsonlib.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            content_type = "application/json"
        if headers or content_type:
            _write_headers(request, headers, content_type)
        if body is not None:
            encoded = body.encode() if isinstance(body, str) else body
            try:
                request.body = encoded
            except TypeError:
                raise TypeError(f"body: give bytes or str, not {type(body).__name__}") from None
            if len(encoded) > self._max_send_bytes:
                raise SendFailed(too_long("body", len(encoded), self._max_send_bytes))


# These write into the message in place: building parts and copying them in takes twice as long.


def _write_headers(request: pb.HttpRequest, headers: Headers, content_type: str) -> None:
    """Write the headers, and a Content-Type, unless it is empty or they have one."""
    add = request.headers.add
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        try:
            add(name=name, value=value)
        except TypeError:
            raise TypeError(f"headers: names and values are str; {name!r} is given as {type(value).__name__}") from None
        if content_type and name.lower() == "content-type":
            content_type = ""
    if content_type:
        add(name="Content-Type", value=content_type)


def _write_query(request: pb.HttpRequest, params: Parameters) -> None:
    if isinstance(params, (str, bytes)):  # type: ignore[unreachable]
        raise TypeError("params: give a mapping or pairs; a query that is encoded already belongs into the url")
    add = request.query.add
    for key, value in params.items() if isinstance(params, Mapping) else params:
        if not isinstance(key, str):
            raise TypeError(f"params: keys are str, not {type(key).__name__}")
        if type(value) is str:
            add(key=key, value=value)
        elif isinstance(value, list | tuple):
            for each in value:
                add(key=key, value=_encode_parameter(key, each))
        else:
            add(key=key, value=_encode_parameter(key, value))


def _encode_parameter(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__str__(value)
    if isinstance(value, float):
        # float's own repr has the fewest digits that give the same number again; subclasses print otherwise.
        value = Decimal(float.__repr__(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"params: {key!r} is not finite")
        return format(value, "f")  # Without exponent, which not every exchange reads.
    raise TypeError(f"params: {key!r} is {type(value).__name__}; give str, int, float, Decimal or bool, or a list")


def _write_names(request: pb.HttpRequest, names: Iterable[str]) -> None:
    if isinstance(names, str):
        raise TypeError("response_headers: give names, not one str")
    request.response_header_names.extend(names)


def _write_span(duration: Duration, span: Span, field: str) -> float:
    """Write a span, zero as a present zero; return it in seconds."""
    value = seconds(span, field)
    duration.seconds, duration.nanos = divmod(round(value * 1_000_000_000), 1_000_000_000)
    return value
