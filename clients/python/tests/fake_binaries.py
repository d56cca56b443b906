"""Stand-ins for the binaries, so that fairlead.testing is tested where they are not built: `fairlead` and `exchange`.

FAKE_FAULT makes them misbehave: NAME:silent, NAME:wrong (another program), NAME:crash (after the ready line),
NAME:stubborn (SIGTERM does not end it).
"""

import asyncio
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

HERE = Path(__file__).resolve().parents[1]


def install(place: Path) -> None:
    """Write both as executables that run this module."""
    for name in ("fairlead", "exchange"):
        script = place / name
        command = f'exec "{sys.executable}" -m tests.fake_binaries {name} "$@"'
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{HERE}:{HERE / "src"}" {command}\n')
        script.chmod(0o755)


class Control(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        self._answer({"connections": [], "requests": [], "id": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(self.path, body, file=sys.stderr, flush=True)  # noqa: T201
        if body.get("kind") == "nonsense":
            self._answer({"error": "there is no fault nonsense"}, 400)
        else:
            self._answer({"applied": [1, 2]})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, answer: object, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


def be_exchange(ca_file: Path) -> str:
    """Answer at the control endpoint; return what the ready line tells."""
    control = HTTPServer(("127.0.0.1", 0), Control)
    Thread(target=control.serve_forever, daemon=True).start()
    ca_file.write_text("a certificate")
    return f"ws=127.0.0.1:1 https=127.0.0.1:2 tcp=127.0.0.1:3 control=127.0.0.1:{control.server_port} ca=x"


def be_gateway(config_file: Path) -> str:
    """Serve on the socket that the configuration names; return what the ready line tells."""
    from tests.fake_gateway import FakeGateway  # noqa: PLC0415 - the exchange starts faster without gRPC

    config = json.loads(config_file.read_text())
    print(json.dumps(config), file=sys.stderr)  # noqa: T201
    started = Event()

    async def serve() -> None:
        async with FakeGateway("unix://" + config["listeners"][0]["unix"]["path"]):
            started.set()
            await asyncio.Event().wait()

    Thread(target=asyncio.run, args=[serve()], daemon=True).start()
    started.wait()
    return "unix=x"


def main(name: str, path: str, fault: str) -> None:
    """Be the binary until SIGTERM."""
    # Else the signal would end the process before anybody waits for it; threads inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ready = be_exchange(Path(path)) if name == "exchange" else be_gateway(Path(path))
    print(f"{name} is about to be ready", file=sys.stderr, flush=True)  # noqa: T201
    print("cat" if fault == "wrong" else name, "ready", ready, flush=True)  # noqa: T201
    if fault == "crash":
        os._exit(3)
    signal.sigwait({signal.SIGINT if fault == "stubborn" else signal.SIGTERM})
    os._exit(0)


if __name__ == "__main__":
    _, binary, _, argument = sys.argv  # A flag and its file.
    who, _, how = os.environ.get("FAKE_FAULT", "").partition(":")
    if who == binary and how == "silent":
        sys.exit("some reason")
    main(binary, argument, how if who == binary else "")
