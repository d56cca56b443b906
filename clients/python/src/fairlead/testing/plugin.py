"""Fixtures for pytest: put `pytest_plugins = ["fairlead.testing.plugin"]` into the top conftest.py.

It is no entry point, so that no other run of pytest imports gRPC. Needs the extra `testing`. The logs of gateway and
exchange are shown for each test that fails while they run.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

import fairlead
from fairlead.testing.exchange import SimulatedExchange
from fairlead.testing.stack import Stack

_fixture: Callable[..., Any] = pytest.fixture
try:
    import pytest_asyncio
except ImportError:  # pragma: no cover - the fixtures that are not asynchronous need nothing but pytest
    pass
else:
    _fixture = pytest_asyncio.fixture(loop_scope="function")


@pytest.fixture
def fairlead_stack() -> Iterator[Stack]:
    """Start a gateway and a simulated exchange of this test's own; connect to fairlead_stack.address."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def fairlead_exchange(fairlead_stack: Stack) -> SimulatedExchange:
    """Give the simulated exchange: .ws, .wss, .http, .https, .tcp, .tls, .fault(...), .accept(...)."""
    return fairlead_stack.exchange


@_fixture
async def fairlead_gateway(fairlead_stack: Stack) -> AsyncIterator[fairlead.Gateway]:
    """Connect to the gateway, on pytest-asyncio's loop for functions; tests on other loops connect by themselves."""
    async with fairlead.connect(fairlead_stack.address) as gateway:
        yield gateway


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Show the logs of what runs while a test fails."""
    report = yield
    if report.failed:
        for stack in Stack.running:
            for name, log in stack.logs().items():
                report.sections.append((f"log of {name}", log))
    return report
