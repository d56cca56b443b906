"""Certificates of callers and gateways, and TLS by hand: what a peer is told before it has proved who it is."""

import datetime
import socket
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.processes import PATIENCE_S

# What a client of HTTP/2 says first: the preface and an empty SETTINGS frame.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
SETTINGS = 4
ALERT = 21  # The kind of a TLS record.


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path) -> None:
        """As cert.pem and key.pem, both new at once: a link to their directory is changed."""
        inner = directory.with_name(f"{directory.name}.{len(list(directory.parent.iterdir()))}")
        inner.mkdir()
        (inner / "cert.pem").write_bytes(self.certificate)
        (inner / "key.pem").write_bytes(self.key)
        link = inner.with_suffix(".new")
        link.symlink_to(inner.name)
        link.rename(directory)


def pem_of(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


def issue(authority: trustme.CA, *names: str, common_name: str = "", expired: bool = False) -> Pair:
    """A client's certificate. A name with "://" is a URI, others are DNS names; trustme makes no URIs."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(hours=-1 if expired else 24)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        alternatives = [x509.UniformResourceIdentifier(n) if "://" in n else x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not common_name)
    return Pair(
        builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def context_of(authority: trustme.CA, scratch: Path, pair: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts this authority and shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem_of(authority).decode())
    context.set_alpn_protocols(["h2"])
    if pair:
        file = scratch / f"client-{len(list(scratch.iterdir()))}.pem"
        file.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(file)
    return context


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """TLS 1.1 at most, which OpenSSL does at its lowest level of security only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@dataclass(frozen=True)
class Told:
    """What a peer got to read, and what ended it; no reason: the gateway went on."""

    http2: bytes
    ended: str

    @property
    def has_settings(self) -> bool:
        return len(self.http2) >= 9 and self.http2[3] == SETTINGS


def knock(address: str, context: ssl.SSLContext) -> Told:
    """Says hello over TLS, and reads until the gateway's SETTINGS or the end.

    With TLS 1.3 a client is done with its handshake before the server has seen its certificate.
    """
    host, port = address.rsplit(":", 1)
    told = b""
    try:
        with (
            socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection,
            context.wrap_socket(connection, server_hostname=host) as stream,
        ):
            stream.sendall(HELLO)
            while len(told) < 9:
                part = stream.recv(4096)
                if not part:
                    return Told(told, "end of stream")
                told += part
    except TimeoutError:
        raise AssertionError("neither an answer nor an end") from None
    except OSError as error:  # ssl.SSLError, too
        return Told(told, str(error))
    return Told(told, "")


def knock_plainly(address: str) -> bytes:
    """Says hello without TLS, and reads until the end."""
    host, port = address.rsplit(":", 1)
    told = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(HELLO)
            while part := connection.recv(4096):
                told += part
        except ConnectionError:
            pass
    return told


def served_certificate(address: str, context: ssl.SSLContext) -> x509.Certificate:
    """The gateway's own."""
    host, port = address.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as stream,
    ):
        der = stream.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)
