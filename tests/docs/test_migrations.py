"""The pages docs/migrate_*.md: the adapter of each, before and after, does the same at the same exchange."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fairlead
from fairlead.testing import SimulatedExchange, Stack
from tests.docs.migrations import ACK, FEED, Seen, adapter, files, load, needs_nautilus, networks
from tests.e2e.processes import PATIENCE_S, eventually


def received(exchange: SimulatedExchange) -> list[list[Any]]:
    """What the exchange got, as JSON, for each connection on which it got anything."""
    ids = [each["id"] for each in exchange.connections()]
    frames = [exchange.connection(each)["frames"] for each in ids]
    return [[json.loads(frame["text"]) for frame in each] for each in frames if each]


def ids(connections: list[list[Any]]) -> list[int]:
    """Of the orders among what the exchange got."""
    return [frame["id"] for each in connections for frame in each if frame["op"] == "order"]


LIBRARIES = ["websockets", "aiohttp", "nautilus"]
SIDES = [
    pytest.param(library, side, marks=needs_nautilus if (library, side) == ("nautilus", "before") else ())
    for library in LIBRARIES
    for side in ("before", "after")
]


def test_what_nautilus_has_before_compiles() -> None:
    compile(files("nautilus")["before.py"], "before.py", "exec")


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


@pytest.mark.parametrize(("library", "side"), SIDES[2:])
async def test_the_requests(library: str, side: str, tmp_path: Path) -> None:
    nautilus_before = (library, side) == ("nautilus", "before")
    with Stack() as stack:
        exchange = stack.exchange
        module = load(library, side, tmp_path)
        network = contextlib.nullcontext(module.HttpClient()) if nautilus_before else networks(library, side, stack)[0]
        async with network as http:
            rest = module.Rest(http, exchange.http)
            assert await rest.place("1", {"side": "buy"}) == "accepted"
            exchange.http_fault("close_response_at", byte=0, target="/order")
            assert await rest.place("2", {"side": "buy"}) == "unknown"
            nobody = module.Rest(http, "http://127.0.0.1:1")
            assert await nobody.place("3", {"side": "buy"}) == ("unknown" if nautilus_before else "not sent")
            if library == "aiohttp":
                exchange.http_fault("close_response_at", byte=0, target="/depth")
                assert len((await rest.depth())["bids"]) == 5
        targets = [request["target"] for request in exchange.http_requests()]
    assert targets == ["/order?id=1", "/order?id=2", *["/depth?levels=5"] * (2 if library == "aiohttp" else 0)]


async def test_the_raw_socket_of_nautilus(tmp_path: Path) -> None:
    """After only: what it was before needs a preamble that its clients cannot write."""
    with Stack() as stack:
        exchange = stack.exchange
        stream = load("nautilus", "after", tmp_path).stream
        async with (
            fairlead.connect(stack.address) as gateway,
            stream(gateway, exchange.tls, exchange.preamble(FEED)) as session,
        ):
            await session.send('{"op":"subscribe"}', setup_key="all")
            async for frame in session:
                if frame.text == "20":
                    exchange.fault("drop")
                if session.generation == 2 and frame.text.isdecimal():
                    break
        connections = received(exchange)
    assert [[frame["op"] for frame in each] for each in connections] == [["login", "subscribe"]] * 2
    assert len({each[0]["sign"] for each in connections}) == 2


@pytest.mark.parametrize("library", LIBRARIES)
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
