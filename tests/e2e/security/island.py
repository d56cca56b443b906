"""A network of the test's own, in which every address is this machine's: who connects anywhere is seen.

A process in namespaces of its own (network, mounts, user) routes all addresses to loopback and hands out its sockets:
a TCP listener that every address of its port leads to, and the name server that resolvers ask there. A gateway that is
started with `prefix` lives in it; its Unix socket is reached from outside. Whatever it dials, at any port, the kernel
of that network counts.
"""

import asyncio
import ipaddress
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from tests.e2e.processes import PATIENCE_S

NAMESPACES = ["unshare", "--map-root-user", "--net", "--mount"]
INSIDE = Path(__file__).with_name("island_inside.py")
PERMITTED = "ip link set lo up && mount --bind /etc/hosts /etc/hosts"


@dataclass
class Island:
    """The network, seen from outside."""

    pid: int
    listener: socket.socket
    name_server: socket.socket
    arrivals: list[str] = field(default_factory=list)
    """Addresses that the gateway has connected to at `port`, as the listener's end has them, in order."""
    before: int = 0

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def prefix(self) -> list[str]:
        """For Gateway.start."""
        enter = ["nsenter", "--target", str(self.pid), "--user", "--net", "--mount", "--preserve-credentials"]
        return [*enter, "setpriv", "--pdeathsig", "KILL"]

    @property
    def dials(self) -> int:
        """Connections that were begun in it so far, at whatever port, so SYNs less those sent again."""
        names, values = (
            line.split() for line in Path(f"/proc/{self.pid}/net/snmp").read_text().splitlines() if line[:4] == "Tcp:"
        )
        return int(values[names.index("ActiveOpens")]) - self.before

    def arrived(self, at: socket.socket | asyncio.StreamWriter) -> str:
        """Notes a connection; gives the address that it was made to."""
        address = at.getsockname() if isinstance(at, socket.socket) else at.get_extra_info("sockname")
        text = str(address[0]).removeprefix("::ffff:")
        self.arrivals.append(text)
        return text


@contextmanager
def island(scratch: Path) -> Iterator[Island]:
    tried = subprocess.run([*NAMESPACES, "sh", "-c", PERMITTED], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"namespaces are not permitted here: {' '.join(NAMESPACES)}: {tried.stderr.strip()}")
    (scratch / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
    (scratch / "nsswitch.conf").write_text("hosts: files dns\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command: list[str | Path] = [*NAMESPACES, sys.executable, INSIDE, str(theirs.fileno()), str(scratch)]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        try:
            ours.settimeout(PATIENCE_S)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 2)
            assert len(descriptors) == 2, "the island has no sockets"
            listener, name_server = (socket.socket(fileno=each) for each in descriptors)
            with listener, name_server:
                made = Island(process.pid, listener, name_server)
                made.before = made.dials
                yield made
        finally:
            ours.close()
            process.wait(PATIENCE_S)


# ---- Names. ----

A, AAAA = 1, 28
Answer = Callable[[str], list[str]]


class NameServer(asyncio.DatagramProtocol):
    """Answers with the addresses that `names` has, and notes who was asked for; without an entry: no such name."""

    def __init__(self, names: dict[str, Answer]) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None
        self.asked: list[str] = []
        """Names whose IPv4 addresses were asked for; with each comes a question for its IPv6 addresses."""
        self._answers: dict[str, list[str]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, question: bytes, sender: tuple[str, int]) -> None:
        assert self._transport
        name, at = "", 12
        while question[at]:
            name += question[at + 1 : at + 1 + question[at]].decode() + "."
            at += 1 + question[at]
        name = name.rstrip(".")
        (kind,) = struct.unpack_from("!H", question, at + 1)
        # Both questions of a look-up have one answer: IPv4 is asked for first.
        if kind == A:
            self.asked.append(name)
            self._answers[name] = self._names[name](name) if name in self._names else []
        addresses = [ipaddress.ip_address(text) for text in self._answers.get(name, [])]
        records = [address.packed for address in addresses if (address.version == 4) == (kind == A)]
        code = 0 if name in self._names else 3  # NXDOMAIN
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(each)) + each for each in records)
        self._transport.sendto(head + question[12 : at + 5] + body, sender)
