"""Security cases 13 to 20: the gateway is no way into the network that it stands in.

All in a network in which every address would be reached, if it were dialled; `dials` counts what was, whatever its
port. The configuration allows any host and lifts no range.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from fairlead.v1.session_pb2 import Command, Open, ReconnectPolicy, Target
from fairlead.v1.types_pb2 import PHASE_NOT_SENT, REASON_EGRESS_DENIED
from tests.e2e.attach import Attachment, connected, span
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import asking, fields_of, response
from tests.e2e.security.island import Answer, Island, NameServer, island
from tests.e2e.security.ways import EVERY_WAY, QUIET, Refusal, refused, request_refused, session_refused

pytestmark = pytest.mark.plain

PUBLIC, PUBLIC_TOO, PRIVATE = "8.8.8.8", "1.1.1.1", "10.0.0.1"
METADATA = "169.254.169.254"
DENIED = ("EGRESS_DENIED", "NOT_SENT")
INVALID = ("INVALID_FIELD", "NOT_SENT")
# As docs/errors.md has them.
CODES = {"EGRESS_DENIED": "PERMISSION_DENIED", "INVALID_FIELD": "INVALID_ARGUMENT"}
WORLD = {"name": "world", "schemes": EVERY_WAY, "hosts": ["*"]}


@dataclass
class Place:
    """A gateway on its island."""

    network: Island
    names: NameServer
    channel: grpc.aio.Channel

    async def expect(self, authority: str, words: tuple[str, str], ways: list[str] = EVERY_WAY) -> list[Refusal]:
        """Asked for by every way, it is refused with these words and nothing is dialled."""
        refusals = []
        for scheme in ways:
            refusal = await refused(self.channel, scheme, authority)
            assert refusal.words == words, f"{scheme}://{authority}: {refusal}"
            assert refusal.code in ("", CODES[words[0]]), f"{scheme}://{authority}: {refusal}"
            refusals.append(refusal)
        assert self.network.dials == 0, f"{authority} was dialled"
        return refusals


@pytest.fixture
def network(scratch: Path, _processes: None) -> Iterator[Island]:
    with island(scratch) as made:
        yield made


Stay = Callable[..., Awaitable[Place]]


@pytest.fixture
async def stay(start_gateway: StartGateway, network: Island) -> AsyncIterator[Stay]:
    """Starts the gateway, and a server of these names."""
    async with _staying(start_gateway, network) as stay:
        yield stay


@asynccontextmanager
async def _staying(start_gateway: StartGateway, network: Island) -> AsyncIterator[Stay]:
    channels = []
    transports = []

    async def stay(rules: list[dict[str, object]] | None = None, **names: Answer) -> Place:
        gateway = start_gateway({"egress": {"rules": rules or [WORLD]}}, start=False)
        gateway.start(prefix=network.prefix)
        named = {name.replace("_", "."): answer for name, answer in names.items()}
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(lambda: NameServer(named), sock=network.name_server)
        transports.append(transport)
        channel = connected(gateway.address)
        channels.append(channel)
        return Place(network, server, await channel.__aenter__())

    yield stay
    for channel in channels:
        await channel.__aexit__(None, None, None)
    for transport in transports:
        transport.close()


UPGRADE_REFUSED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def answering(network: Island, answer: bytes) -> AsyncIterator[list[str]]:
    """Whatever is asked at the island's port, of whatever address: one answer, and the end. Gives what was asked."""
    asked: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        network.arrived(writer)
        try:
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The gateway has left.
        writer.close()

    async with await asyncio.start_server(talk, sock=network.listener.dup()):
        yield asked


async def test_the_island_sees_who_connects(stay: Stay, network: Island) -> None:
    """What the cases rest on: a public address is dialled, by each way, and both the listener and the kernel tell."""
    place = await stay(name_example=lambda _: [PUBLIC])
    async with answering(network, UPGRADE_REFUSED):
        reply = await response(place.channel, asking(f"http://{PUBLIC}:{network.port}/"))
        assert reply.status == 404
        ended = await session_refused(place.channel, f"ws://name.example:{network.port}/")
        assert ended.reason == "UPGRADE_REFUSED"
        ended = await session_refused(place.channel, f"ws://[2606:4700::1111]:{network.port}/")
        assert ended.reason == "UPGRADE_REFUSED"
    assert network.arrivals == [PUBLIC, PUBLIC, "2606:4700::1111"]
    assert network.dials == 3
    assert place.names.asked == ["name.example"]


async def test_case_13_the_metadata_address_is_refused(stay: Stay, network: Island) -> None:
    """As an address, by its name, and those of other clouds."""
    place = await stay(metadata_google_internal=lambda _: [METADATA])
    for host in (METADATA, "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200"):
        await place.expect(host + ":80", DENIED)
    for refusal in await place.expect("metadata.google.internal:80", DENIED):
        assert METADATA not in refusal.message, "what a name resolves to is not told"
    assert network.dials == 0


async def test_case_14_loopback_is_refused(stay: Stay, network: Island) -> None:
    """At a port where somebody listens on every address, and by names that /etc/hosts or DNS has for it."""
    place = await stay(loopback_example=lambda _: ["127.0.0.1"], six_example=lambda _: ["::1"])
    for host in ("127.0.0.1", "127.0.0.2", "127.255.255.254", "[::1]", "0.0.0.0", "[::]"):
        await place.expect(f"{host}:{network.port}", DENIED)
    for host in ("localhost", "loopback.example", "six.example"):
        await place.expect(f"{host}:{network.port}", DENIED)


async def test_case_15_private_and_mapped_addresses_are_refused(stay: Stay, network: Island) -> None:
    """Private ranges, and each form of IPv6 that carries such an address."""
    mapped = ["::ffff:10.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "::10.0.0.1", "::127.0.0.1"]
    tunnelled = ["64:ff9b::10.0.0.1", "2002:a00:1::1", "2001:0:a00:1::1", "fd00::1", "fe80::1", "fec0::1"]
    place = await stay(mapped_example=lambda _: ["::ffff:10.0.0.1"])
    for host in (PRIVATE, "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "240.0.0.1", "224.0.0.1"):
        await place.expect(f"{host}:{network.port}", DENIED)
    for host in (*mapped, *tunnelled):
        await place.expect(f"[{host}]:{network.port}", DENIED)
    await place.expect(f"mapped.example:{network.port}", DENIED)


async def test_case_16_odd_spellings_of_addresses_are_refused(stay: Stay, network: Island) -> None:
    """Decimal, octal, hexadecimal, short, with a dot too many, percent-encoded, beyond ASCII.

    They are no address and no host, and so INVALID_FIELD rather than EGRESS_DENIED: docs/errors.md. No name is asked.
    """
    place = await stay()
    for host in (
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "127.1",
        "127.0.1",
        "0",
        "127.0.0.1.",
        "127.00.00.01",
        "127.0.0.256",
        "127.0.0.1.1",
        "%31%32%37.0.0.1",
        "127%2e0.0.1",
        "127\u30020\u30020\u30021",
        "\uff11\uff12\uff17.0.0.1",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[v1.127]",
        f"{PUBLIC}@127.0.0.1",
        f"127.0.0.1\\@{PUBLIC}",
    ):
        await place.expect(f"{host}:{network.port}", INVALID)
    assert place.names.asked == []


def by_turns(*answers: list[str]) -> Answer:
    """One after the other, the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def test_case_17_a_name_that_turns_private_is_refused(stay: Stay, network: Island) -> None:
    """Rebinding: public at first, private from the next look-up on. One look-up a dial, and what it gave is dialled."""
    turning = by_turns([PUBLIC], [PRIVATE])
    place = await stay(request_example=turning, session_example=by_turns([PUBLIC], [PRIVATE]))
    async with answering(network, UPGRADE_REFUSED) as asked:
        url = f"http://request.example:{network.port}/"
        assert (await response(place.channel, asking(url))).status == 404
        refusal = await request_refused(place.channel, url)
        assert refusal.words == DENIED
        assert refusal.code == "PERMISSION_DENIED"
        assert "Host: request.example" in asked[0]

        # A session that reconnects by itself: the second dial ends it.
        stream = Attachment(place.channel)
        again = ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
        target = Target(url=f"ws://session.example:{network.port}/")
        await stream.say(Command(channel=1, open=Open(target=target, heartbeat=QUIET, reconnect=again)))
        ended = await stream.ended(1)
    assert (ended.cause.reason, ended.cause.phase) == (REASON_EGRESS_DENIED, PHASE_NOT_SENT)
    assert place.names.asked == ["request.example"] * 2 + ["session.example"] * 2
    assert network.arrivals == [PUBLIC, PUBLIC], "only what was checked is connected to"
    assert network.dials == 2


@pytest.mark.parametrize(
    "mixed", [[PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [PUBLIC, "::1"], ["2606:4700::1111", METADATA]]
)
async def test_case_18_a_name_with_a_public_and_a_private_address_is_refused(
    stay: Stay, network: Island, mixed: list[str]
) -> None:
    """Whichever comes first, of whichever family: the public one is not dialled either."""
    place = await stay(mixed_example=lambda _: mixed, good_example=lambda _: [PUBLIC, PUBLIC_TOO])
    await place.expect(f"mixed.example:{network.port}", DENIED)
    async with answering(network, UPGRADE_REFUSED):
        reply = await response(place.channel, asking(f"http://good.example:{network.port}/"))
    assert reply.status == 404
    assert network.arrivals == [PUBLIC]


async def test_case_19_a_redirect_to_the_metadata_address_is_not_followed(stay: Stay, network: Island) -> None:
    """A request's answer is the 302 itself; a session is told that its upgrade was refused."""
    place = await stay()
    location = f"http://{METADATA}:{network.port}/latest/meta-data/"
    for status in (301, 302, 303, 307, 308):
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        network.arrivals.clear()
        async with answering(network, head.encode()):
            reply = await response(place.channel, asking(f"http://{PUBLIC}:{network.port}/"))
            refusal = await session_refused(place.channel, f"ws://{PUBLIC}:{network.port}/")
        assert reply.status == status
        assert ("Location", location) in fields_of(reply)
        assert refusal.words == ("UPGRADE_REFUSED", "NOT_SENT")
        assert str(status) in refusal.message
        assert network.arrivals == [PUBLIC, PUBLIC]
    assert network.dials == 10


async def test_case_20_other_schemes_and_ports_are_refused(stay: Stay, network: Island) -> None:
    """A scheme that nobody speaks is no URL; a port is refused by rules that name theirs, as this one does."""
    rule: dict[str, object] = {**WORLD, "ports": [443, network.port]}
    place = await stay([rule])
    for scheme in ("file", "gopher", "ftp", "dict", "ldap", "jar", "unix", "data", "javascript", "ssh", "telnet", ""):
        for refusal in (
            await request_refused(place.channel, f"{scheme}://{PUBLIC}:{network.port}/etc/passwd"),
            await session_refused(place.channel, f"{scheme}://{PUBLIC}:{network.port}/etc/passwd"),
        ):
            assert refusal.words == INVALID, f"{scheme}: {refusal}"
            assert refusal.code in ("", "INVALID_ARGUMENT")
    # One way's schemes are not the other's.
    for scheme in ("ws", "tcp"):
        assert (await request_refused(place.channel, f"{scheme}://{PUBLIC}:{network.port}/")).words == INVALID
    assert (await session_refused(place.channel, f"http://{PUBLIC}:{network.port}/")).words == INVALID
    for port in (22, 25, 6379, 1, 65535):
        await place.expect(f"{PUBLIC}:{port}", DENIED)
    for no_port in ("0", "65536", "-1", "+443", "0443", "443x"):
        await place.expect(f"{PUBLIC}:{no_port}", INVALID)
    # A rule that names no plain scheme allows none: the same target with TLS would be dialled.
    assert network.dials == 0
    async with answering(network, UPGRADE_REFUSED):
        assert (await response(place.channel, asking(f"http://{PUBLIC}:{network.port}/"))).status == 404
    assert network.dials == 1
