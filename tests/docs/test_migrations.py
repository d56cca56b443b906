"""The pages docs/migrate_*.md: the adapter of each, before and after, does the same at the same exchange.

The blocks of a page that are files are written into a directory, and imported from there.
"""

import asyncio
import contextlib
import importlib.util
import inspect
import itertools
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import fairlead
from fairlead.testing import SimulatedExchange, Stack
from tests.docs.blocks import files_of
from tests.e2e.processes import BUILD, PATIENCE_S, ROOT, eventually

# An exchange that wants a login and subscriptions, sends 500 numbers a second, and acknowledges orders.
ORDER, ACK = '"op": "order"', '{"event":"ack"}'
FEED = f"/login?rate=500&reply_to={quote(ORDER)}&reply={quote(ACK)}"


@pytest.fixture(autouse=True)
def _binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_BINARY", str(BUILD / "fairlead"))
    monkeypatch.setenv("FAIRLEAD_EXCHANGE", str(BUILD / "exchange"))


def files(library: str) -> dict[str, str]:
    return files_of((ROOT / f"docs/migrate_{library}.md").read_text())


def load(library: str, side: str, folder: Path) -> Any:
    """Imports before.py or after.py of a page."""
    path = folder / f"{side}.py"
    path.write_text(files(library)[path.name])
    spec = importlib.util.spec_from_file_location(f"migrate_{library}_{side}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Seen:
    """What an adapter gave away."""

    numbers: list[int] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    rebuilt: int = 0

    def take(self, frame: str | bytes) -> None:
        text = frame if isinstance(frame, str) else frame.decode()
        if text.startswith("{"):
            self.others.append(text)
        else:
            self.numbers.append(int(text))

    def rebuild(self) -> None:
        self.rebuilt += 1


def networks(library: str, side: str, stack: Stack) -> list[contextlib.AbstractAsyncContextManager[Any]]:
    """What the page's classes are made with, before the URL."""
    if side == "after":
        return [fairlead.connect(stack.address)]
    return [aiohttp.ClientSession()] if library == "aiohttp" else []


@contextlib.asynccontextmanager
async def adapter(library: str, side: str, folder: Path, stack: Stack, seen: Seen) -> AsyncIterator[Any]:
    """Runs the page's adapter; one that fails fails the test."""
    made = load(library, side, folder).Adapter
    async with contextlib.AsyncExitStack() as exits:
        first = [await exits.enter_async_context(each) for each in networks(library, side, stack)]
        running = made(*first, stack.exchange.ws + FEED, seen.take, seen.rebuild)
        task = asyncio.create_task(running.run())
        try:
            yield running
            assert not task.done(), "it ended by itself"
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            raise task.exception() or AssertionError("it swallowed the cancellation")


def received(exchange: SimulatedExchange) -> list[list[Any]]:
    """What the exchange got, as JSON, for each connection on which it got anything."""
    ids = [each["id"] for each in exchange.connections()]
    frames = [exchange.connection(each)["frames"] for each in ids]
    return [[json.loads(frame["text"]) for frame in each] for each in frames if each]


def ids(connections: list[list[Any]]) -> list[int]:
    """Of the orders among what the exchange got."""
    return [frame["id"] for each in connections for frame in each if frame["op"] == "order"]


SIDES = [(library, side) for library in ("websockets", "aiohttp") for side in ("before", "after")]


@pytest.mark.parametrize(("library", "side"), SIDES)
async def test_the_adapter(library: str, side: str, tmp_path: Path) -> None:
    seen = Seen()
    outcomes: dict[int, str] = {}

    async def order(running: Any) -> str:
        number = len(outcomes) + 1
        outcomes[number] = outcome = await running.order({"op": "order", "id": number})
        return str(outcome)

    async def order_until(running: Any, wanted: str) -> None:
        async def is_so() -> bool:
            return await order(running) == wanted

        await eventually(is_so, f"an order is {wanted}")

    with Stack() as stack:
        exchange = stack.exchange
        async with adapter(library, side, tmp_path, stack, seen) as running:
            await eventually(lambda: len(seen.numbers) >= 20, "it reads")
            assert seen.rebuilt == 0
            assert await order(running) == "sent"
            await eventually(lambda: ACK in seen.others, "the order is acknowledged")
            await running.subscribe("trades.btc")

            exchange.fault("drop")
            await eventually(lambda: seen.rebuilt == 1, "it has connected again")
            count = len(seen.numbers)
            await eventually(lambda: len(seen.numbers) >= count + 20, "it reads again")
            await order_until(running, "sent")

            exchange.accept("refuse")
            exchange.fault("drop")
            await order_until(running, "not sent")
            exchange.accept("normal")
            await eventually(lambda: seen.rebuilt == 2, "it has connected a third time")
            await order_until(running, "sent")
            last = max(outcomes)
            await eventually(lambda: last in ids(received(exchange)), "the last order arrives")
        connections = received(exchange)

    assert seen.numbers == sorted(set(seen.numbers)), "numbers are in order, and none came twice"
    assert len(connections) == 3
    for each, topics in zip(connections, (["book.btc"], *[["book.btc", "trades.btc"]] * 2), strict=True):
        assert each[0]["op"] == "login"
        assert [frame["topic"] for frame in each[1 : 1 + len(topics)]] == topics
    assert len({each[0]["sign"] for each in connections}) == 3, "each login is signed anew"
    orders = ids(connections)
    assert len(orders) == len(set(orders)), "no order came twice"
    assert not {number for number in orders if outcomes[number] == "not sent"}
    assert {1, max(outcomes)} <= set(orders)


@pytest.mark.parametrize("side", ["before", "after"])
async def test_the_requests_of_aiohttp(side: str, tmp_path: Path) -> None:
    with Stack() as stack:
        exchange = stack.exchange
        async with networks("aiohttp", side, stack)[0] as network:
            made = load("aiohttp", side, tmp_path).Rest
            rest = made(network, exchange.http)
            exchange.http_fault("close_response_at", byte=0, target="/depth")
            assert len((await rest.depth())["bids"]) == 5
            assert await rest.place("1", {"side": "buy"}) == "accepted"
            exchange.http_fault("close_response_at", byte=0, target="/order")
            assert await rest.place("2", {"side": "buy"}) == "unknown"
            nobody = made(network, "http://127.0.0.1:1")
            assert await nobody.place("3", {"side": "buy"}) == "not sent"
        targets = [request["target"] for request in exchange.http_requests()]
    assert targets == ["/depth?levels=5", "/depth?levels=5", "/order?id=1", "/order?id=2"]


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
            busy = asyncio.create_task(session.get(http + "/slow?ms=1000&tag=first"))
            await eventually(lambda: len(stack.exchange.http_requests()) == 1, "the connection is taken")
            with pytest.raises(TimeoutError):
                await session.post(http + "/order?id=1", timeout=short)
            await busy
            with pytest.raises(TimeoutError):
                await session.post(http + "/slow?ms=1000&tag=second", timeout=short)

            slow = asyncio.create_task(gateway.http.get(http + "/slow?ms=1000&tag=third"))
            await eventually(lambda: len(stack.exchange.http_requests()) == 3, "the connection is taken")
            with pytest.raises(fairlead.SendFailed) as not_sent:
                await gateway.http.post(http + "/order?id=2", max_wait=0.1)
            await slow
            with pytest.raises(fairlead.OutcomeUnknown) as unknown:
                await gateway.http.post(http + "/slow?ms=1000&tag=fourth", timeout=0.1)
        assert (not_sent.value.may_have_been_sent, unknown.value.may_have_been_sent) == (False, True)
        targets = [request["target"] for request in stack.exchange.http_requests()]
        assert targets == [f"/slow?ms=1000&tag={tag}" for tag in ("first", "second", "third", "fourth")]


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


@pytest.mark.parametrize("library", OLD)
def test_every_option_has_its_place(library: str) -> None:
    """Of the version that is installed, which is the one that the page names."""
    page = (ROOT / f"docs/migrate_{library}.md").read_text()
    assert f"(here: {version(library)})" in page
    told = set(re.findall(r"`(\w+)", page.partition("## Option by option")[2]))
    options = {name for each in OLD[library] for name in inspect.signature(each).parameters}
    missing = options - told - {"self", "kwargs", "str_or_url"}
    assert not missing


@pytest.mark.parametrize("library", ["websockets", "aiohttp"])
def test_the_test_of_the_page(library: str, tmp_path: Path) -> None:
    for name, text in files(library).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["fairlead.testing.plugin"]\n')
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
