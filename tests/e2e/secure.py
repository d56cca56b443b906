"""The end-to-end tests as they are, but over TLS, with a client certificate and a policy: FAIRLEAD_E2E=secure.

Gateways of a configuration without listeners of its own then have one for certificates alone, `gateway.address` is its
address, and whoever makes a channel to it shows one. What connects to the Unix socket by name goes on doing so.
"""

import atexit
import functools
import itertools
import os
import re
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import trustme

from tests.e2e.certificates import Pair, issue, pem_of

ON = os.environ.get("FAIRLEAD_E2E") == "secure"
NAME = "spiffe://firm/tests"
# Ports of these listeners: a gateway that is started again is where it was, and nobody else has taken it meanwhile.
_FIRST, _A_WORKER = 20_000, 1_000
_PLACE = "FAIRLEAD_E2E_PAPERS"
_numbers = itertools.count()


def listeners(unix: Path) -> dict[str, Any]:
    """A part of a gateway's configuration: the Unix socket, and TLS for who has a certificate; what that one may do."""
    papers = _papers()
    pair = {"certificate_file": str(papers / "gateway/cert.pem"), "key_file": str(papers / "gateway/key.pem")}
    tls = {**pair, "client_ca_file": str(papers / "authority.pem")}
    return {
        "listeners": [
            {"identity": "tests", "unix": {"path": str(unix)}},
            {"tcp": {"host": "127.0.0.1", "port": _free_port(), "tls": tls}},
        ],
        "callers": [{"identity": "tests", "certificates": [NAME]}],
        "policies": [{"identity": "tests", "methods": ["*"], "egress": ["*"], "http_methods": ["*"]}],
    }


def install() -> None:
    """From now on channels of this process to such listeners show the certificate. The tests' programs do so, too."""
    if not ON:
        return
    _papers()
    plain = grpc.aio.insecure_channel

    def channel(target: str, options: Any = None, *more: Any, **how: Any) -> grpc.aio.Channel:
        port = re.fullmatch(r"(?:ipv4:)?127\.0\.0\.1:(\d+)", target)
        if port is None or not _FIRST <= int(port[1]) < _FIRST + 10 * _A_WORKER:
            return plain(target, options, *more, **how)
        return grpc.aio.secure_channel(target, _credentials(), options, *more, **how)

    grpc.aio.insecure_channel = channel  # type: ignore[assignment,unused-ignore]


@functools.cache
def _papers() -> Path:
    """Made once, and found by the programs that the tests start."""
    if _PLACE in os.environ:
        return Path(os.environ[_PLACE])
    directory = TemporaryDirectory(prefix="fl-papers-")
    atexit.register(directory.cleanup)
    place = Path(directory.name)
    authority = trustme.CA()
    (place / "authority.pem").write_bytes(pem_of(authority))
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    Pair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()).write(place / "gateway")
    issue(authority, NAME).write(place / "tests")
    os.environ[_PLACE] = str(place)
    return place


@functools.cache
def _credentials() -> grpc.ChannelCredentials:
    files = ("authority.pem", "tests/key.pem", "tests/cert.pem")
    return grpc.ssl_channel_credentials(*((_papers() / file).read_bytes() for file in files))


def _free_port() -> int:
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "9")) or 0) % 10
    while True:
        port = _FIRST + worker * _A_WORKER + next(_numbers) % _A_WORKER
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
