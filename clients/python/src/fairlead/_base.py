"""What the requests of one exchange have in common: Http.at."""

import re
from collections.abc import Iterable, Mapping

from fairlead.options import Headers

_BASE = re.compile(r"https?://[^/?#]+(/[^?#]*)?", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Base:
    """A URL that requests' paths are appended to, and header fields that they are sent with."""

    def __init__(self, url: str = "", headers: Headers = ()) -> None:
        self._url = url.rstrip("/")
        self._headers = tuple(pairs(headers))

    def join(self, url: str) -> str:
        """Append a path, with its query if it has one.

        Raises ValueError for a whole URL: what the headers hold may be meant for this exchange alone.
        """
        if not self._url:
            return url
        if _ABSOLUTE.match(url):
            raise ValueError("url: give a path: base_url says the rest")
        return self._url + ("" if not url or url[0] in "/?" else "/") + url

    def fields(self, headers: Headers) -> Headers:
        """Give the header fields of a request: those of the base, but for names that the request has, then its own."""
        if not self._headers:
            return headers
        own = list(pairs(headers))
        names = {name.lower() for name, _ in own}
        return [*(field for field in self._headers if field[0].lower() not in names), *own]

    def extend(self, url: str, headers: Headers) -> "Base":
        """Give a base below this one. Raises ValueError for what is none."""
        joined = self.join(url)
        if not _BASE.fullmatch(joined):
            raise ValueError(
                "base_url: give http:// or https://, a host, and perhaps a path, but no query and no fragment"
            )
        return Base(joined, self.fields(headers))


def pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    """Give header fields as pairs."""
    return headers.items() if isinstance(headers, Mapping) else headers
