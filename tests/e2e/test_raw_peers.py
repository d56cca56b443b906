"""Raw sockets end to end against programs that are not ours: `openssl s_server` and `socat`."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import fairlead
from fairlead import FrameKind, Reason, SessionState
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import Gateway, eventually
from tests.e2e.raw_peers import Program, free_port, program

LF = fairlead.Delimiter(b"\n")
PROMPT = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.05)


@dataclass(frozen=True)
class Peer:
    """A server that answers each line with one: as it is, or reversed."""

    url: str
    program: Program
    answer: Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def gateway(start_gateway: StartGateway, authority: trustme.CA, scratch: Path) -> Gateway:
    """A gateway that trusts the peers."""
    file = scratch / "peers-ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return start_gateway({"tls": {"ca_files": [str(file)], "system_authorities": False}})


def tool(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is not installed: run `make setup`"
    return path


def certificate(signer: trustme.CA, scratch: Path, *names: str) -> Path:
    """Key and chain in one file."""
    file = scratch / "peer.pem"
    issued = signer.issue_cert(*names)
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    return file


@asynccontextmanager
async def openssl(file: Path, *options: str) -> AsyncIterator[Peer]:
    """Reverses each line, LF excepted."""
    port = free_port()
    command = [tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(file), "-rev", "-quiet"]
    async with program(port, *command, *options) as running:
        yield Peer(f"tls://127.0.0.1:{port}", running, lambda line: line[::-1])


@asynccontextmanager
async def socat(file: Path | None) -> AsyncIterator[Peer]:
    """Sends back all that comes; ends with its first connection."""
    port = free_port()
    listen = f"OPENSSL-LISTEN:{port},cert={file},verify=0" if file else f"TCP-LISTEN:{port}"
    async with program(port, tool("socat"), f"{listen},bind=127.0.0.1,reuseaddr", "PIPE") as running:
        yield Peer(f"{'tls' if file else 'tcp'}://127.0.0.1:{port}", running, lambda line: line)


@pytest.fixture(params=["openssl", "socat-tls", "socat-tcp"])
def serve(
    request: pytest.FixtureRequest, authority: trustme.CA, scratch: Path
) -> Callable[[], AbstractAsyncContextManager[Peer]]:
    """Each program, with a certificate that the gateway trusts."""

    def serve() -> AbstractAsyncContextManager[Peer]:
        file = certificate(authority, scratch, "127.0.0.1")
        if request.param == "openssl":
            return openssl(file)
        return socat(file if request.param == "socat-tls" else None)

    return serve


async def hear(session: fairlead.Reader, count: int) -> list[fairlead.Frame]:
    frames: list[fairlead.Frame] = []
    async for frame in session:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


async def test_lines_there_and_back(
    serve: Callable[[], AbstractAsyncContextManager[Peer]], client: fairlead.Gateway
) -> None:
    lines = [b"hello", b"two words", b"ascii \x01\x7f", b"x" * 10_000, *(b"line %d" % number for number in range(500))]
    async with serve() as peer, client.socket(peer.url, framing=LF, start=fairlead.OLDEST) as session:
        for line in lines:
            await session.send(line)
        heard = await hear(session, len(lines))
        assert {frame.kind for frame in heard} == {FrameKind.BINARY}
        assert [frame.payload for frame in heard] == [peer.answer(line) for line in lines]
        assert [frame.sequence for frame in heard] == sorted(frame.sequence for frame in heard)


async def test_killed_and_started_again(
    serve: Callable[[], AbstractAsyncContextManager[Peer]], client: fairlead.Gateway
) -> None:
    """SIGKILL: the session dials until somebody listens again, performs its setup and goes on by itself."""
    async with serve() as peer:
        hello = fairlead.Step("hello", "abc", expect=peer.answer(b"abc"))
        session = client.socket(peer.url, framing=LF, setup=[hello], start=fairlead.OLDEST, reconnect=PROMPT)
        async with session:
            for generation in (1, 2, 3):

                def opened(generation: int = generation) -> bool:
                    return session.generation == generation and session.state is SessionState.OPEN

                await eventually(opened, f"OPEN, generation {generation}")
                await session.send(b"of %d" % generation, generation=generation)
                setup, answer = await hear(session, 2)
                assert (setup.payload, answer.payload) == (peer.answer(b"abc"), peer.answer(b"of %d" % generation))
                assert {setup.generation, answer.generation} == {generation}
                if generation < 3:
                    await peer.program.kill()
                    await eventually(lambda: session.state is not SessionState.OPEN, "the loss is told")
                    await peer.program.start()


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_certificate_that_is_not_trusted_is_fatal(
    client: fairlead.Gateway, authority: trustme.CA, scratch: Path, wrong: str
) -> None:
    signer = trustme.CA() if wrong == "authority" else authority
    file = certificate(signer, scratch, "example.com" if wrong == "name" else "127.0.0.1")
    async with openssl(file) as peer:
        with pytest.raises(fairlead.SessionEnded) as ended:
            await client.socket(peer.url, framing=LF).open()
    assert ended.value.reason is Reason.CERTIFICATE_REJECTED
    assert ended.value.phase is fairlead.Phase.NOT_SENT


async def test_certificate_for_a_name(client: fairlead.Gateway, authority: trustme.CA, scratch: Path) -> None:
    """One for "localhost" alone fits the name, and not the address behind it."""
    async with openssl(certificate(authority, scratch, "localhost")) as peer:
        named = peer.url.replace("127.0.0.1", "localhost")
        async with client.socket(named, framing=LF, start=fairlead.OLDEST) as session:
            await session.send("hello")
            assert (await hear(session, 1))[0].text == "olleh"
        with pytest.raises(fairlead.SessionEnded) as ended:
            await client.socket(peer.url, framing=LF).open()
    assert ended.value.reason is Reason.CERTIFICATE_REJECTED


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_server_of_another_protocol(
    client: fairlead.Gateway, authority: trustme.CA, scratch: Path, version: str
) -> None:
    """It refuses whoever offers protocols, but not its own (RFC 7301 section 3.2): a raw socket offers none."""
    async with (
        openssl(certificate(authority, scratch, "127.0.0.1"), "-alpn", "fix.5", version) as peer,
        client.socket(peer.url, framing=LF, start=fairlead.OLDEST) as session,
    ):
        await session.send("hello")
        assert (await hear(session, 1))[0].text == "olleh"


async def test_no_tls_there(client: fairlead.Gateway) -> None:
    """tls:// to a plain server: told as what it is, and never plain."""
    async with socat(None) as peer:
        session = client.socket(
            peer.url.replace("tcp", "tls"), framing=LF, reconnect=fairlead.Reconnect(enabled=False), dial_timeout=5
        )
        with pytest.raises(fairlead.SessionEnded) as ended:
            await session.open()
    assert ended.value.reason is Reason.TLS_FAILED


async def test_what_is_under_way_when_we_end(client: fairlead.Gateway) -> None:
    """socat ends its side when ours has ended, after it has sent back what was under way: all of it comes."""
    async with socat(None) as peer:
        session = client.socket(peer.url, framing=LF, start=fairlead.OLDEST)
        await session.open()
        await asyncio.gather(*(session.send(b"%d" % number) for number in range(100)))
        await session.close()
        heard = [int(frame.payload) async for frame in session]
    assert heard == list(range(100))
