"""Security case 27: an exchange that does not prove who it is gets not one byte of what is meant for it."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.certificates import old
from tests.e2e.http_calls import asking, response
from tests.e2e.security.ways import Refusal, refused

SECURE = ["https", "wss", "tls"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HOST = "localhost"
REJECTED = ("CERTIFICATE_REJECTED", "NOT_SENT")
FAILED = ("TLS_FAILED", "NOT_SENT")
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass
class Impostor:
    """A TLS server that takes whatever comes."""

    port: int = 0
    handshakes: int = 0
    asked_for: list[str | None] = field(default_factory=list)
    """Names that clients told by SNI."""
    received: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def impostor(context: ssl.SSLContext, strict: bool = False) -> AsyncIterator[Impostor]:
    """`strict`: it knows no such name, and says so."""
    server = Impostor()

    def named(_: object, name: str | None, __: ssl.SSLContext) -> int | None:
        server.asked_for.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if strict else None

    context.sni_callback = named

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.handshakes += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            server.received += await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(take, "127.0.0.1", 0, family=socket.AF_INET, ssl=context)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def self_signed(scratch: Path) -> ssl.SSLContext:
    """For the right names, and signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    addresses = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST), addresses]), critical=False)
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = scratch / "self-signed.pem"
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(encoding) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def shows(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


Wrong = Callable[[trustme.CA, Path], ssl.SSLContext]
WRONG: dict[str, Wrong] = {
    "self-signed": lambda _, scratch: self_signed(scratch),
    "wrong host": lambda authority, _: shows(authority.issue_cert("elsewhere.example", "127.0.0.2")),
    "a label too many": lambda authority, _: shows(authority.issue_cert("www.localhost", "*.localhost")),
    "expired": lambda authority, _: shows(
        authority.issue_cert(HOST, "127.0.0.1", not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    ),
    "not yet valid": lambda authority, _: shows(
        authority.issue_cert(HOST, "127.0.0.1", not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    ),
    "unknown authority": lambda _, __: shows(trustme.CA().issue_cert(HOST, "127.0.0.1")),
    "name in the common name alone": lambda authority, _: shows(
        authority.issue_cert("elsewhere.example", common_name=HOST)
    ),
}


def expect(refusal: Refusal, words: tuple[str, str], server: Impostor) -> None:
    assert refusal.words == words, refusal
    assert refusal.code in ("", "UNAVAILABLE")
    assert not server.handshakes, "the handshake was finished"
    assert not server.received, "something was sent"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wrong", WRONG)
async def test_case_27_who_shows_a_wrong_certificate_gets_nothing(
    channel: grpc.aio.Channel, authority: trustme.CA, scratch: Path, wrong: str, version: ssl.TLSVersion
) -> None:
    """CERTIFICATE_REJECTED, in the handshake, by each way and to name and address: "do not verify" does not exist."""
    context = WRONG[wrong](authority, scratch)
    context.minimum_version = context.maximum_version = version
    async with impostor(context) as server:
        for scheme in SECURE:
            for host in (HOST, "127.0.0.1"):
                expect(await refused(channel, scheme, f"{host}:{server.port}"), REJECTED, server)
    assert server.asked_for.count(HOST) == len(SECURE), "it was there, and was asked"


@pytest.mark.parametrize("strict", [False, True])
async def test_case_27_without_a_match_by_server_name_nothing_is_sent(
    channel: grpc.aio.Channel, authority: trustme.CA, strict: bool
) -> None:
    """A host of several names that ours is none of: it shows another's certificate, or ends the handshake."""
    async with impostor(shows(authority.issue_cert("others.example")), strict) as server:
        for scheme in SECURE:
            words = FAILED if strict else REJECTED
            expect(await refused(channel, scheme, f"{HOST}:{server.port}"), words, server)
    assert server.asked_for == [HOST] * len(SECURE), "each way tells the name"


@pytest.mark.parametrize("version", VERSIONS)
async def test_case_27_who_shows_the_right_certificate_is_asked(
    channel: grpc.aio.Channel, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    """It is the certificate that is rejected above: the same server with a good one is written to."""
    context = shows(authority.issue_cert(HOST, "127.0.0.1"))
    context.minimum_version = context.maximum_version = version
    async with impostor(context) as server:
        for host in (HOST, "127.0.0.1"):
            assert (await response(channel, asking(f"https://{host}:{server.port}/right"))).status == 200
        upgrade = await refused(channel, "wss", f"{HOST}:{server.port}", "/right")
        assert upgrade.reason == "UPGRADE_REFUSED"
    assert server.handshakes == 3
    assert server.received.count(b"GET /right HTTP/1.1\r\n") == 3


async def test_case_27_old_tls_gets_nothing(channel: grpc.aio.Channel, authority: trustme.CA) -> None:
    """TLS 1.1 at most: no handshake."""
    async with impostor(old(shows(authority.issue_cert(HOST, "127.0.0.1")))) as server:
        for scheme in SECURE:
            expect(await refused(channel, scheme, f"127.0.0.1:{server.port}"), FAILED, server)
