"""The adapters of the pages docs/migrate_*.md, before and after, as modules.

The blocks of a page that are files are written into a directory, and imported from there.

nautilus_trader has 100 MB and is not among what tests require: what its page has before is compiled and no more, and
runs only where somebody has installed it.
"""

import asyncio
import contextlib
import importlib
import importlib.util
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

import fairlead
from fairlead.testing import Stack
from tests.docs.blocks import files_of
from tests.e2e.processes import ROOT

# An exchange that wants a login and subscriptions, sends 500 numbers a second, and acknowledges orders.
ORDER, ACK = '"op": "order"', '{"event":"ack"}'
FEED = f"/login?rate=500&reply_to={quote(ORDER)}&reply={quote(ACK)}"

needs_nautilus = pytest.mark.skipif(
    importlib.util.find_spec("nautilus_trader") is None,
    reason="nautilus_trader is not installed: before.py is only compiled",
)


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
