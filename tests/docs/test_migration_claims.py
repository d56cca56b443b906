"""The pages docs/migrate_*.md: what they say of other libraries, and that no option of those is left out."""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import itertools
import operator
import re
import threading
from collections.abc import Callable, Generator
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import fairlead
from fairlead.testing import Stack
from tests.docs.migrations import needs_nautilus
from tests.e2e.processes import ROOT, eventually


@needs_nautilus
async def test_what_the_page_says_of_nautilus() -> None:
    """Threads, bytes, losses, pongs, suffixes, redirects."""
    pyo3 = importlib.import_module("nautilus_trader.core.nautilus_pyo3")
    seen: list[tuple[type, bool]] = []
    back: list[None] = []
    here = threading.get_ident()
    with Stack() as stack:
        exchange = stack.exchange

        async def connected(path: str, **options: Any) -> Any:
            def handler(raw: bytes) -> None:
                seen.append((type(raw), threading.get_ident() == here))
                raise ValueError("it is called on")

            config = pyo3.WebSocketConfig(exchange.ws + path, handler, [], **options)
            return await pyo3.WebSocketClient.connect(config, post_reconnection=lambda: back.append(None))

        client = await connected("/numbered?rate=100")
        await eventually(lambda: len(seen) > 2, "it reads")
        assert set(seen) == {(bytes, False)}
        await client.disconnect()

        async def is_lost_without_a_word() -> bool:
            client = await connected("/idle")
            exchange.fault("drop")
            try:
                await client.send_text(b"lost")
            except RuntimeError:  # This time it had noticed.
                return False
            count = len(back)
            await eventually(lambda: len(back) > count, "it has connected again")
            await client.disconnect()
            return not [frame for each in exchange.connections() for frame in exchange.connection(each["id"])["frames"]]

        await eventually(is_lost_without_a_word, "a send returns, and the frame is gone")

        client = await connected("/idle")
        exchange.accept("refuse")
        exchange.fault("drop")
        await eventually(client.is_reconnecting, "it has noticed")
        assert client.is_active()
        with pytest.raises(RuntimeError):
            await client.send_text(b"refused")
        await client.disconnect()
        exchange.accept("normal")

        client = await connected("/idle?fault=no_pong", heartbeat=1)
        await eventually(lambda: exchange.connection()["pings_received"] == 3, "it pings on")
        assert not client.is_reconnecting()
        await client.disconnect()
        exchange.accept("refuse")
        with pytest.raises(pyo3.WebSocketClientError):
            await connected("/idle")
        exchange.accept("normal")

        address = exchange.tcp.removeprefix("tcp://")
        config = pyo3.SocketConfig(address, False, b"\n", seen.append, heartbeat=(1, b"beat"))
        socket = await pyo3.SocketClient.connect(config)
        await socket.send(exchange.preamble("/idle?delimiter=%0A").removesuffix(b"\n"))
        await eventually(lambda: exchange.connection()["frames"], "its heartbeat comes with the suffix")
        await socket.close()

        http = pyo3.HttpClient()
        exchange.command("POST", "/answer", {"text": "HTTP/1.1 302 -\r\nLocation: /depth\r\nContent-Length: 0\r\n\r\n"})
        reply = await http.request(pyo3.HttpMethod.GET, exchange.http + "/echo")
        assert (reply.status, reply.headers) == (200, {})
        assert exchange.http_requests()[-1]["target"] == "/depth"


@pytest.mark.parametrize("method", ["put", "delete", "post"])
async def test_aiohttp_sends_some_requests_twice(method: str) -> None:
    """The page says so, and that Fairlead does not."""
    with Stack() as stack:
        exchange = stack.exchange

        def arrived(tag: str) -> int:
            return sum(request["target"] == f"/echo?tag={tag}" for request in exchange.http_requests())

        async with aiohttp.ClientSession() as session, fairlead.connect(stack.address) as gateway:
            exchange.http_fault("close_response_at", byte=0)
            with contextlib.suppress(aiohttp.ServerDisconnectedError):
                await session.request(method, exchange.http + "/echo?tag=aiohttp")
            exchange.http_fault("close_response_at", byte=0)
            with pytest.raises(fairlead.OutcomeUnknown):
                await gateway.http.request(method, exchange.http + "/echo?tag=fairlead")
        assert arrived("aiohttp") == (1 if method == "post" else 2)
        assert arrived("fairlead") == 1


async def test_a_timeout_of_aiohttp_does_not_tell_whether_it_was_sent() -> None:
    """The page says so, and that Fairlead's does."""
    config = {"http": {"connections_per_pool": 1}}
    with Stack(config=config) as stack:
        http = stack.exchange.http
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
            fairlead.connect(stack.address) as gateway,
        ):
            short = aiohttp.ClientTimeout(total=0.1)
            busy = asyncio.create_task(session.get(http + "/slow?ms=400&tag=first"))
            await eventually(lambda: len(stack.exchange.http_requests()) == 1, "the connection is taken")
            with pytest.raises(TimeoutError):
                await session.post(http + "/order?id=1", timeout=short)
            await busy
            with pytest.raises(TimeoutError):
                await session.post(http + "/slow?ms=400&tag=second", timeout=short)

            slow = asyncio.create_task(gateway.http.get(http + "/slow?ms=400&tag=third"))
            await eventually(lambda: len(stack.exchange.http_requests()) == 3, "the connection is taken")
            with pytest.raises(fairlead.SendFailed) as not_sent:
                await gateway.http.post(http + "/order?id=2", max_wait=0.1)
            await slow
            with pytest.raises(fairlead.OutcomeUnknown) as unknown:
                await gateway.http.post(http + "/slow?ms=400&tag=fourth", timeout=0.1)
        assert (not_sent.value.may_have_been_sent, unknown.value.may_have_been_sent) == (False, True)
        targets = [request["target"] for request in stack.exchange.http_requests()]
        assert targets == [f"/slow?ms=400&tag={tag}" for tag in ("first", "second", "third", "fourth")]


async def test_websockets_does_not_pause_after_a_short_life() -> None:
    """The page says so, and that Fairlead does."""
    paused = []

    def pauses() -> Generator[float]:
        paused.append(1)
        yield from itertools.repeat(0.01)

    with Stack() as stack:
        url = stack.exchange.ws + "/numbered?rate=1000&fault=drop&after=1&tag="
        lives = 0
        async for socket in connect(url + "websockets", reconnect_delays=pauses):
            with contextlib.suppress(ConnectionClosed):
                async for _ in socket:
                    pass
            lives += 1
            if lives == 5:
                break
        assert not paused

        changes = []
        reconnect = fairlead.Reconnect(initial_backoff=0.05)
        async with (
            fairlead.connect(stack.address) as gateway,
            gateway.websocket(url + "fairlead", reconnect=reconnect) as session,
        ):
            async for entry in session.events():
                if isinstance(entry, fairlead.StateChanged) and entry.retry_in is not None:
                    changes.append(entry)
                    if len(changes) == 4:
                        break
        assert [change.attempt for change in changes] == [2, 3, 4, 5]
        assert any(change.retry_in for change in changes)


OLD: dict[str, list[Callable[..., Any]]] = {
    "websockets": [connect],
    "aiohttp": [
        aiohttp.ClientSession,
        aiohttp.ClientSession._request,
        aiohttp.ClientSession._ws_connect,
        aiohttp.TCPConnector,
        aiohttp.ClientTimeout,
        aiohttp.ClientWSTimeout,
    ],
}


RECONNECT = [
    f"reconnect_{what}" for what in ("timeout_ms", "delay_initial_ms", "delay_max_ms", "backoff_factor", "jitter_ms")
]
NAUTILUS = {
    "WebSocketConfig": {"url", "handler", "headers", "heartbeat", "heartbeat_msg", "ping_handler", *RECONNECT},
    "SocketConfig": {"url", "ssl", "suffix", "handler", "heartbeat", *RECONNECT, "certs_dir"},
    "HttpClient": {"default_headers", "header_keys", "keyed_quotas", "default_quota", "timeout_secs"},
    "WebSocketClient.connect": {"config", "post_reconnection", "keyed_quotas", "default_quota"},
    "SocketClient.connect": {"config", "post_connection", "post_reconnection", "post_disconnection"},
    "HttpClient.request": {"$self", "method", "url", "headers", "body", "keys", "timeout_secs"},
}


def test_every_option_of_nautilus_has_its_place() -> None:
    page = (ROOT / "docs/migrate_nautilus.md").read_text()
    told = set(re.findall(r"`(\w+)", page.partition("## Option by option")[2]))
    missing = set().union(*NAUTILUS.values()) - told - {"config", "$self"}
    assert not missing


@needs_nautilus
def test_these_are_the_options_of_nautilus() -> None:
    assert f"(here: {version('nautilus_trader')};" in (ROOT / "docs/migrate_nautilus.md").read_text()
    pyo3 = importlib.import_module("nautilus_trader.core.nautilus_pyo3")
    for name, options in NAUTILUS.items():
        signature = operator.attrgetter(name)(pyo3).__text_signature__
        assert {each.partition("=")[0].strip() for each in signature.strip("()").split(",")} == options


@pytest.mark.parametrize("library", OLD)
def test_every_option_has_its_place(library: str) -> None:
    """Of the version that is installed, which is the one that the page names."""
    page = (ROOT / f"docs/migrate_{library}.md").read_text()
    assert f"(here: {version(library)})" in page
    told = set(re.findall(r"`(\w+)", page.partition("## Option by option")[2]))
    options = {name for each in OLD[library] for name in inspect.signature(each).parameters}
    missing = options - told - {"self", "kwargs", "str_or_url"}
    assert not missing
