"""Headless Chromium, driven over its debugging pipe: one page, as a person at a screen of some size sees it."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.processes import PATIENCE_S, eventually

CHROMIUM = shutil.which("chromium")


class Browser:
    """Speaks the DevTools protocol: JSON messages, each with a zero byte behind it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._last = 0
        self._session = ""
        self.requested: list[str] = []  # URLs.
        self.complaints: list[str] = []  # Of the console: errors, and what a policy has blocked.

    async def begin(self) -> None:
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._call(f"{domain}.enable")

    async def screen(self, width: int, height: int, *, dark: bool = False) -> None:
        await self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])

    async def go(self, url: str) -> None:
        answer = await self._call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Waits until it is true of the page."""
        return await eventually(lambda: self.evaluate(expression), expression)

    async def screenshot(self, file: Path) -> None:
        answer = await self._call("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(answer["data"]))

    async def close(self) -> None:
        self._session = ""
        await self._call("Browser.close")

    async def _call(self, method: str, **parameters: Any) -> Any:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                if answer.get("id") == self._last:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    return answer["result"]
                self._notice(answer["method"], answer["params"])

    def _notice(self, event: str, what: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requested.append(what["request"]["url"])
        elif event == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.complaints.append(what["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(what["exceptionDetails"]))


@asynccontextmanager
async def browser(scratch: Path) -> AsyncIterator[Browser]:
    assert CHROMIUM, "Debian's chromium is not installed: run tests/setup/packages"
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # Its ends of the pipes are 3 and 4. Without its sandbox, since tests may run as root; it sees our own page only.
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-proxy-server",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]
    process = await asyncio.create_subprocess_exec(
        *["setpriv", "--pdeathsig", "KILL", "bash", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "bash"],
        *[CHROMIUM, *flags, "--remote-debugging-pipe", f"--user-data-dir={scratch / 'chromium'}"],
        pass_fds=(to_read, from_write),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(scratch)},
    )
    os.close(to_read)
    os.close(from_write)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_read, "rb"))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(to_write, "wb"))
    found = Browser(reader, asyncio.StreamWriter(transport, protocol, None, loop))
    try:
        await found.begin()
        yield found
        await found.close()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):  # It has ended by itself.
            process.kill()
        raise
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
        transport.close()
