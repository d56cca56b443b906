"""Raw sockets that are not ours: conversations over asyncio, and the programs `openssl s_server` and `socat`."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import PATIENCE_S, eventually


def queues(near: tuple[str, int], far: tuple[str, int]) -> tuple[int, int]:
    """Bytes that one end of a connection has not read, and that it has written and the other end's kernel has not.

    Whoever's end it is: asked by sock_diag(7), because /proc/net/tcp takes some milliseconds.
    """
    addresses = socket.inet_aton(near[0]) + bytes(12) + socket.inet_aton(far[0]) + bytes(12)
    any_interface, no_cookie = 0, 0xFFFFFFFF
    connection = struct.pack("!HH", near[1], far[1]) + addresses + struct.pack("=III", any_interface, *[no_cookie] * 2)
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + connection
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as ask:  # NETLINK_SOCK_DIAG
        ask.send(struct.pack("=IHHII", 16 + len(request), 20, 1, 1, 0) + request)  # SOCK_DIAG_BY_FAMILY
        answer = ask.recv(65536)
    if struct.unpack_from("=IH", answer)[1] != 20:
        raise ConnectionResetError("there is no such connection any more")
    unread, unacknowledged = struct.unpack_from("=II", answer, 72)
    return unread, unacknowledged


@dataclass
class RawLine:
    """One connection, as the server has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), PATIENCE_S)

    async def until(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(end), PATIENCE_S)

    async def rest(self) -> bytes:
        """All up to the gateway's end."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_alone(self, data: bytes) -> None:
        """Sends it, and waits until the gateway has read it: what follows comes with another read."""
        await self.send(data)
        ours, theirs = (self.writer.get_extra_info(name) for name in ("sockname", "peername"))
        while queues(ours, theirs)[1] or queues(theirs, ours)[0]:  # noqa: ASYNC110  # The kernel tells nobody.
            await asyncio.sleep(0)


@dataclass
class RawServer:
    """Where a peer listens, and what went wrong in its conversations."""

    url: str
    failures: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def raw_peer(
    converse: Callable[[RawLine], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Holds a conversation on each connection, then ends it. What failed in one fails the test."""
    server = RawServer("")
    talking: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await converse(RawLine(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The gateway has left.
        except Exception as failure:
            server.failures.append(failure)
        finally:
            talking.discard(task)
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, family=socket.AF_INET, ssl=tls)
    server.url = f"{'tls' if tls else 'tcp'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
    if server.failures:
        raise server.failures[0]


def free_port() -> int:
    """For programs that cannot choose one and tell it. Somebody else may take it before they do, if rarely."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Program:
    """A server of somebody else's as a process, on a port of its own; can be killed and started again."""

    def __init__(self, *command: str | Path) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            # Even if the tests are killed, what they started ends with them.
            "setpriv", "--pdeathsig", "KILL", *self._command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    def listens(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, f"{self._command[0]} ended with {self._process.returncode}"
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)

    async def kill(self) -> None:
        """SIGKILL: the kernel ends its connections."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def program(port: int, *command: str | Path) -> AsyncIterator[Program]:
    running = Program(*command)
    await running.start()
    try:
        await eventually(lambda: running.listens(port), f"{command[0]} listens")
        yield running
    finally:
        await running.kill()
