"""The status page, in Debian's Chromium. FAIRLEAD_SCREENSHOTS names a directory to keep what was seen."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.v1.session_pb2 import Open, Target
from tests.e2e.admin_port import ADMIN, admin_of, get
from tests.e2e.attach import Attachment, connected
from tests.e2e.browser import Browser, browser
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import asking, response
from tests.e2e.processes import Exchange, Gateway

# Rows of a table, as they are seen.
ROWS = "[...document.querySelectorAll('#{} tbody tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
PHONE, DESK = 360, 1280


async def rows(page: Browser, table: str) -> list[list[str]]:
    found: list[list[str]] = await page.evaluate(ROWS.format(table))
    return found


@pytest.fixture
async def page(scratch: Path) -> AsyncIterator[Browser]:
    async with browser(scratch) as page:
        yield page


@pytest.fixture
async def busy(start_gateway: StartGateway, exchange: Exchange) -> AsyncIterator[Gateway]:
    """A gateway with a session that works, one that cannot, and a pool."""
    gateway = start_gateway(ADMIN)
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(session="md", target=Target(url=f"{exchange.ws}/numbered?rate=200&token=5ecre7")))
        await stream.open(2, Open(session="down", target=Target(url=f"{exchange.ws}/echo?token=5ecre7")))
        await exchange.accept("refuse", on="ws")
        await exchange.fault("drop", {"target": "/echo"})
        assert (await response(channel, asking(f"{exchange.http}/echo?token=5ecre7"))).status == 200
        yield gateway


async def test_shows_what_there_is_and_follows_it(
    busy: Gateway, exchange: Exchange, page: Browser, scratch: Path
) -> None:
    keep = Path(os.environ.get("FAIRLEAD_SCREENSHOTS", scratch))
    await page.screen(DESK, 900)
    await page.go(f"http://{admin_of(busy)}/")
    await page.until("document.querySelector('#states .bad')?.innerText === '1 RECONNECTING'")
    # A rate needs two answers: it is drawn again without a reload.
    await page.until(
        "parseInt(document.querySelector('#sessions tbody tr:nth-child(2) td:nth-child(7)').innerText) > 100"
    )
    down, md = await rows(page, "sessions")
    assert down[:5] == ["tests / down", exchange.ws, "RECONNECTING", "1", "1"]
    assert down[8] != "", "the last failure's reason"
    assert md[:5] == ["tests / md", exchange.ws, "OPEN", "1", "1"]
    reconnects = await rows(page, "reconnects")
    assert {row[1] for row in reconnects} == {"tests / down"}
    assert reconnects[0][3] == "CONNECT_FAILED"
    assert await rows(page, "pools") == [[exchange.http, "tests", "1", "0", "0", "0"]]
    use = {row[0]: row[1:3] for row in await rows(page, "use")}
    assert use["sessions"] == ["2", "10,000"]
    assert use["streams"] == ["1", "1,000"]
    await page.screenshot(keep / "desk.png")

    # What changes is shown, in the page that is there.
    await page.evaluate("document.body.dataset.mark = 'the same page'")
    await exchange.accept("normal", on="ws")
    await page.until("document.querySelector('#states').innerText.trim() === '2 OPEN'")
    assert await page.evaluate("document.body.dataset.mark") == "the same page"

    ours = f"http://{admin_of(busy)}/"
    assert {url.removeprefix(ours) for url in page.requested if not url.startswith("data:")} == {
        "",
        "status.css",
        "status.js",
        "status.json",
    }
    assert page.complaints == []
    assert "5ecre7" not in await page.evaluate("document.documentElement.outerHTML")


@pytest.mark.parametrize("dark", [False, True])
async def test_fits_a_phone(busy: Gateway, page: Browser, scratch: Path, dark: bool) -> None:
    keep = Path(os.environ.get("FAIRLEAD_SCREENSHOTS", scratch))
    await page.screen(PHONE, 740, dark=dark)
    await page.go(f"http://{admin_of(busy)}/")
    await page.until("document.querySelectorAll('#sessions tbody tr').length === 2")
    await page.screenshot(keep / f"phone-{'dark' if dark else 'light'}.png")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE, "nothing is beside the screen"
    small = await page.evaluate(
        "[...document.querySelectorAll('td, th, p, li')].filter(each => each.offsetParent && "
        "parseFloat(getComputedStyle(each).fontSize) < 12).length"
    )
    assert small == 0
    paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(16, 22, 29)" if dark else "rgb(255, 255, 255)")


async def test_tells_that_the_gateway_is_gone(start_gateway: StartGateway, page: Browser) -> None:
    gateway = start_gateway(ADMIN)
    await page.go(f"http://{admin_of(gateway)}/")
    await page.until("document.getElementById('pulse').innerText === 'live'")
    assert "No session is open." in await page.evaluate("document.body.innerText")
    assert await gateway.terminate() == 0
    await page.until("document.getElementById('pulse').innerText.startsWith('no answer')")


async def test_status_json_is_whole(busy: Gateway) -> None:
    page = await get(busy, "/status.json")
    assert page.headers["Content-Type"] == "application/json"
    assert page.headers["Cache-Control"] == "no-store"
    assert "5ecre7" not in json.dumps(page.json)
    md = next(row for row in page.json["sessions"]["rows"] if row["name"] == "md")
    assert md["frames_in"] > 0
