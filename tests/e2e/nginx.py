"""nginx as an exchange: from Debian's package, with a configuration and a prefix of the test's own."""

import asyncio
import contextlib
import gzip
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.e2e.processes import PATIENCE_S, eventually

BINARY = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
BIG = bytes(range(256)) * 12_000  # 3 MB, just below what a request accepts unless it says otherwise.
TEXT = b"compressed by the server " * 1000

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log info;
events {{ worker_connections 512; }}
http {{
  log_format line '$connection $connection_requests "$request" $status $request_length';
  access_log {prefix}/access.log line;
  client_body_temp_path {prefix}/body;
  proxy_temp_path {prefix}/proxy;
  fastcgi_temp_path {prefix}/fastcgi;
  uwsgi_temp_path {prefix}/uwsgi;
  scgi_temp_path {prefix}/scgi;
  client_max_body_size 30m;
  root {prefix}/files;
  {settings}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{secure} ssl;
    ssl_certificate {prefix}/certificate.pem;
    ssl_certificate_key {prefix}/key.pem;
    location / {{ }}
    location = /chunked {{ gzip on; gzip_min_length 1; gzip_types *; try_files /text =404; }}
    location = /status/404 {{ return 404 "not there"; }}
    location = /status/500 {{ return 500 "broken"; }}
    location = /status/503 {{ add_header Retry-After 7 always; return 503 "later"; }}
    location = /moved {{ return 302 /text; }}
    location = /method {{ return 200 "$args $request_method $content_length"; }}
    location /stored/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"""


@dataclass(frozen=True)
class Line:
    """One request, as nginx logs it."""

    connection: int
    number: int  # On its connection.
    request: str
    status: int


@dataclass
class Nginx:
    http: str
    https: str
    prefix: Path

    def lines(self) -> list[Line]:
        found = []
        for line in (self.prefix / "access.log").read_text().splitlines():
            connection, number, rest = line.split(" ", 2)
            request, _, end = rest[1:].partition('" ')
            found.append(Line(int(connection), int(number), request, int(end.split()[0])))
        return found

    async def logged(self, count: int) -> list[Line]:
        """nginx logs a request when it has answered it, which may be a moment after the answer has arrived."""
        await eventually(lambda: len(self.lines()) >= count, f"{count} requests are logged")
        return self.lines()


@asynccontextmanager
async def nginx(prefix: Path, authority: trustme.CA, settings: str = "") -> AsyncIterator[Nginx]:
    if BINARY is None:
        pytest.skip("nginx is not installed: run `make setup`")
    files = prefix / "files"
    (files / "stored").mkdir(parents=True)
    (files / "text").write_bytes(TEXT)
    (files / "text.gz").write_bytes(gzip.compress(TEXT))
    (files / "big").write_bytes(BIG)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(prefix / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(prefix / "certificate.pem"), append=True)
    # It cannot be asked for any free port, so these two are chosen; both are held until all are.
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        plain, secure = one.getsockname()[1], other.getsockname()[1]
    config = prefix / "nginx.conf"
    config.write_text(CONFIG.format(prefix=prefix, plain=plain, secure=secure, settings=settings))
    arguments = ["--pdeathsig", "KILL", BINARY, "-p", prefix, "-c", config, "-e", prefix / "start.log"]
    process = await asyncio.create_subprocess_exec(
        "setpriv",
        *map(str, arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.returncode is None, (prefix / "start.log").read_text() + (prefix / "error.log").read_text()
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", plain)):
            return True
        return False

    try:
        await eventually(listens, "nginx listens")
        yield Nginx(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", prefix)
        assert process.returncode is None, "nginx has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE_S)
