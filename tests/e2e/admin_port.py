"""The admin port, as a prober, a scraper and a browser see it."""

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from tests.e2e.processes import PATIENCE_S, Gateway

ADMIN: dict[str, Any] = {"admin": {"address": "127.0.0.1:0"}}


@dataclass
class Page:
    status: int
    text: str
    headers: Message = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def admin_of(gateway: Gateway) -> str:
    """ "127.0.0.1:PORT", as the ready line tells it."""
    return dict(word.split("=", 1) for word in gateway.ready_line.split()[2:])["admin"]


async def get(gateway: Gateway, path: str, method: str = "GET") -> Page:
    request = urllib.request.Request(f"http://{admin_of(gateway)}{path}", method=method)

    def ask() -> Page:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as reply:
                return Page(reply.status, reply.read().decode(), reply.headers)
        except urllib.error.HTTPError as error:
            return Page(error.code, error.read().decode(), error.headers)

    return await asyncio.to_thread(ask)


async def shown(gateway: Gateway) -> list[str]:
    """Everything that the admin port shows."""
    pages = [await get(gateway, path) for path in ("/status.json", "/metrics", "/readyz", "/healthz", "/")]
    assert all(page.status in (200, 503) for page in pages)
    assert len(pages[0].json["use"]) == 9, pages[0]
    return [page.text for page in pages]


async def converse(gateway: Gateway, *parts: bytes) -> bytes:
    """Writes the parts on one connection and reads until the gateway ends it."""
    host, port = admin_of(gateway).rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionResetError:
        return b"(reset)"
    finally:
        writer.close()
