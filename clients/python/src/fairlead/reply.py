"""What the exchange answered to an HTTP request."""

import email.utils
import json
import time
from codecs import lookup
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, Self, overload

from fairlead.errors import Failure, FairleadError, to_seconds
from fairlead.v1 import http_pb2 as pb
from fairlead.v1.enums import Phase


class HeaderFields:
    """A reply's header fields, in the exchange's order, repetition kept; names compare without regard to case.

    headers["name"] is the first value of that name; iterating yields (name, value) pairs as they came.
    """

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)
        by_name: dict[str, list[str]] = {}
        for name, value in self._pairs:
            by_name.setdefault(name.lower(), []).append(value)
        self._by_name = by_name

    def __getitem__(self, name: str) -> str:
        """Give the first value. Raises KeyError if there is none of this name."""
        try:
            return self._by_name[name.lower()][0]
        except KeyError:
            raise KeyError(name) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        """Give the number of fields; repeated ones count each time."""
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderFields) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        """Give the names: values may be secrets, and a repr ends in logs."""
        return f"<HeaderFields {', '.join(name for name, _ in self._pairs)}>"

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the first value, or the default."""
        values = self._by_name.get(name.lower())
        return values[0] if values else default

    def get_all(self, name: str) -> list[str]:
        """Give all values in order; empty if there is none of this name."""
        return list(self._by_name.get(name.lower(), ()))


@dataclass(frozen=True, slots=True)
class HttpTiming:
    """How long each phase of a request took in the gateway, in seconds; None: it did not happen."""

    pool_wait: float | None = None
    """Until the request had a connection, making one included."""
    resolve: float | None = None
    """The exchange's name, if a connection was made for this request."""
    connect: float | None = None
    """TCP's handshake, likewise."""
    tls: float | None = None
    """TLS's handshake, likewise."""
    first_byte: float | None = None
    """From the start of writing the request to the first byte of the response."""
    total: float | None = None
    """From the arrival of the request at the gateway to the last byte of the response."""
    quota_wait: float | None = None
    """Always None in this version."""


class HttpReply:
    """The exchange's reply to a request, whatever its status."""

    __slots__ = ("_fields", "_message", "_method", "_url", "body", "status")

    def __init__(self, message: pb.HttpResponse, method: str, url: str) -> None:
        self.status: int = message.status
        """200 to 999."""
        self.body: bytes = message.body
        """As the exchange sent it, without the chunks' framing; a content coding (gzip) is not undone."""
        self._message = message
        self._method = method
        self._url = url
        self._fields: HeaderFields | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[pb.HttpResponse, str, str]]:
        """Pickle what it was made of."""
        return type(self), (self._message, self._method, self._url)

    def __repr__(self) -> str:
        """Give the status and the body's length: the rest may be secret, and a repr ends in logs."""
        return f"<HttpReply {self.status}, {len(self.body)} bytes>"

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def headers(self) -> HeaderFields:
        """The header fields, or those that the request asked for. Made on the first access."""
        if self._fields is None:
            self._fields = HeaderFields((field.name, field.value) for field in self._message.headers)
        return self._fields

    @property
    def text(self) -> str:
        """The body as str, in the charset that Content-Type names, else UTF-8; what does not decode is replaced."""
        return self.body.decode(self._charset(), errors="replace")

    def json(self, *, parse_float: Callable[[str], Any] | None = None) -> Any:
        """Parse the body as JSON.

        parse_float: makes the numbers that have a fraction, for example decimal.Decimal; None: float.

        Raises ValueError if the body is not JSON.
        """
        return json.loads(self.body, parse_float=parse_float)

    def raise_for_status(self) -> Self:
        """Return the reply itself if the status is below 400. Raises HttpStatusError otherwise."""
        if self.status < 400:
            return self
        # Without the query, which may hold keys and signatures.
        message = f"{self._method} {self._url.partition('?')[0]}: the exchange answered {self.status}"
        raise HttpStatusError(Failure(phase=Phase.REPLIED, message=message, retry_after=self._retry_after()), self)

    @property
    def timing(self) -> HttpTiming:
        """How long each phase took."""
        timing = self._message.timing

        return HttpTiming(**{field.name: to_seconds(span) for field, span in timing.ListFields()})

    @property
    def reused_connection(self) -> bool:
        """Whether the connection had carried a request before."""
        return self._message.reused_connection

    def _charset(self) -> str:
        content_type = Message()
        content_type["Content-Type"] = self.headers.get("Content-Type", "")
        charset = content_type.get_content_charset("utf-8")
        try:
            return lookup(charset).name
        except LookupError:
            return "utf-8"

    def _retry_after(self) -> float | None:
        """Retry-After in seconds (RFC 9110 section 10.2.3): a number or a date."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdecimal():
            return float(text)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None


class HttpStatusError(FairleadError):
    """The exchange answered with 4xx or 5xx; raised by HttpReply.raise_for_status alone.

    The phase is REPLIED, and retry_after what the reply says. What a 5xx means for an order, the exchange's
    documentation must tell.
    """

    def __init__(self, failure: Failure, reply: HttpReply) -> None:
        super().__init__(failure)
        self.reply = reply
        """The whole reply."""

    def __reduce__(self) -> tuple[type[Self], tuple[Failure, HttpReply]]:
        """Pickle both: an exception's own way would leave out the reply."""
        return type(self), (self.failure, self.reply)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.reply.status
