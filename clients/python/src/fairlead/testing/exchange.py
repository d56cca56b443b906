"""The simulated exchange, as a test commands it."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead.testing.process import Binary, Process, StackError

SCHEMES = ("ws", "wss", "http", "https", "tcp", "tls")

_CONTROL_PATIENCE_S = 30.0

Connections = int | str | Mapping[str, str]
"""An id, "latest", "all" or {"target": SUBSTRING}, among the open connections."""


class SimulatedExchange(Process):
    """An exchange that numbers what it sends, remembers what it receives, and misbehaves on command.

    Made by Stack. The path and query behind its base URLs choose what it does: ws + "/numbered?rate=100". Its help,
    and tests/exchange/README.md of the checkout, list the feeds, faults and answers. The methods are not coroutines:
    they ask the exchange, which answers at once, and raise StackError if it refuses.
    """

    def __init__(self, scratch: Path) -> None:
        super().__init__(Binary("exchange", "FAIRLEAD_EXCHANGE"), scratch / "exchange.log")
        self.ca_file = scratch / "ca.pem"
        """The authority that its certificate for wss, https and tls is from; the stack's gateway trusts it."""
        self._at: Mapping[str, str] = {}

    def launch(self) -> None:
        """Start it on free ports of loopback."""
        self._at = self.start("--ca-out", str(self.ca_file))

    @property
    def schemes(self) -> list[str]:
        """What it listens for."""
        return [scheme for scheme in SCHEMES if scheme in self._at]

    @property
    def ws(self) -> str:
        """ws://HOST:PORT."""
        return self._url("ws")

    @property
    def wss(self) -> str:
        """wss://HOST:PORT."""
        return self._url("wss")

    @property
    def http(self) -> str:
        """http://HOST:PORT."""
        return self._url("http")

    @property
    def https(self) -> str:
        """https://HOST:PORT."""
        return self._url("https")

    @property
    def tcp(self) -> str:
        """tcp://HOST:PORT, the whole target: preamble() chooses the feed."""
        return self._url("tcp")

    @property
    def tls(self) -> str:
        """tls://HOST:PORT, the whole target: preamble() chooses the feed."""
        return self._url("tls")

    @staticmethod
    def preamble(target: str) -> bytes:
        """Give the preamble that chooses a raw socket's feed, such as "/numbered?framing=delimiter&rate=100"."""
        return f"FAIRLEAD-TEST {target}\n".encode()

    def fault(self, kind: str, connection: Connections = "latest", **how: Any) -> list[int]:
        """Misbehave on live sockets: drop, reset, stall, silent, no_pong ...; return the ids of those that do."""
        applied: list[int] = self.command("POST", "/fault", {"kind": kind, "connection": connection, **how})["applied"]
        return applied

    def http_fault(self, kind: str, **how: Any) -> None:
        """Misbehave at the next HTTP requests."""
        self.command("POST", "/http_fault", {"kind": kind, **how})

    def accept(self, mode: str, **how: Any) -> None:
        """Treat new connections so: normal, refuse, reset, silent, never_upgrade, slow_handshake (ms=)."""
        self.command("POST", "/accept", {"mode": mode, **how})

    def send(self, connection: Connections = "latest", **what: str) -> None:
        """Send one message outside the feed: text=, base64=, ping= or pong=."""
        self.command("POST", "/send", {"connection": connection, **what})

    def connections(self) -> list[dict[str, Any]]:
        """Give all socket connections, oldest first, without their frames."""
        found: list[dict[str, Any]] = self.command("GET", "/connections")["connections"]
        return found

    def connection(self, which: int | str = "latest") -> dict[str, Any]:
        """Give one connection, with the frames that it received."""
        record: dict[str, Any] = self.command("GET", f"/connections/{which}")
        return record

    def http_requests(self) -> list[dict[str, Any]]:
        """Give all HTTP requests in the order of their first bytes, complete or not."""
        found: list[dict[str, Any]] = self.command("GET", "/http/requests")["requests"]
        return found

    def command(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the control endpoint, and return its answer. Raises StackError if it refuses or does not answer."""
        request = urllib.request.Request(  # noqa: S310 - the scheme is http
            self._url("http", "control") + path, None if body is None else json.dumps(body).encode(), method=method
        )
        # Without proxies of the environment: the exchange is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_CONTROL_PATIENCE_S) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise StackError(f"the exchange refuses {method} {path} {dict(body or {})}: {said}") from None
        except OSError as error:
            raise StackError(f"the exchange does not answer {method} {path}: {error}\n{self.log}") from None

    def _url(self, scheme: str, listener: str = "") -> str:
        place = self._at.get(listener or scheme)
        if place is None:
            state = "has no listener for it: build a newer one" if self._at else "was not started"
            raise StackError(f"{listener or scheme}: the exchange {state}")
        return f"{scheme}://{place}"
