"""Callers of a listener that names no identity: what they show, and the listener's configuration."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
import trustme

import fairlead
from fairlead.v1 import http_pb2, quota_pb2
from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import Status, status_of
from tests.e2e.certificates import Pair, issue, pem_of
from tests.e2e.processes import PATIENCE_S, Gateway

FEEDS, DESK = "spiffe://firm/feeds", "desk.firm.example"
# Of these tests alone; what must not be told has a word of its own.
TOKENS = {"feeds": "token-feeds-5ecre7", "desk": "token-desk-5ecre7"}
UNKNOWN = "token-unknown-5ecre7"
SECRET = "5ecre7"

SERVICES = [
    service
    for file in (pb.DESCRIPTOR, http_pb2.DESCRIPTOR, quota_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
]


class Papers:
    """All certificates, made once."""

    def __init__(self) -> None:
        self.gateways = trustme.CA()
        self.clients = trustme.CA()
        self.strangers = trustme.CA()
        self.server = issue_server(self.gateways)
        self.feeds = issue(self.clients, FEEDS)
        self.desk = issue(self.clients, DESK)
        self.both = issue(self.clients, FEEDS, DESK)
        self.unknown = issue(self.clients, "spiffe://firm/nobody")
        self.common = issue(self.clients, common_name=DESK)
        self.expired = issue(self.clients, FEEDS, expired=True)
        self.strange = issue(self.strangers, FEEDS)


def issue_server(authority: trustme.CA) -> Pair:
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    return Pair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())


class Serve(Protocol):
    """Starts a gateway whose one listener names no identity. Its files are in scratch/tls."""

    def __call__(self, *, certificates: bool = False, **config: Any) -> Gateway: ...


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def tls_listener(papers: Papers, scratch: Path, *, certificates: bool = False) -> dict[str, Any]:
    """A configuration of one listener that names no identity. Writes its files: scratch/tls, a link, has the pair."""
    files = scratch / "tls"
    papers.server.write(files)
    (scratch / "clients.pem").write_bytes(pem_of(papers.clients))
    tls = {"certificate_file": str(files / "cert.pem"), "key_file": str(files / "key.pem")}
    if certificates:
        tls["client_ca_file"] = str(scratch / "clients.pem")
    callers = [
        {"identity": "feeds", "certificates": [FEEDS], "token_sha256": [sha256(TOKENS["feeds"])]},
        {"identity": "desk", "certificates": [DESK], "token_sha256": [sha256(TOKENS["desk"])]},
    ]
    return {
        "listeners": [{"tcp": {"host": "127.0.0.1", "tls": tls}}],
        "callers": callers,
        "policies": [everything(identity) for identity in ("feeds", "desk", "house")],
        "log": {"level": "debug"},
    }


def everything(identity: str) -> dict[str, Any]:
    """A policy that grants all that there is."""
    return {"identity": identity, "methods": ["*"], "egress": ["*"], "http_methods": ["*"]}


def policy(identity: str, **other: Any) -> dict[str, Any]:
    """The same, but for these fields."""
    return {**everything(identity), **other}


def credentials(papers: Papers, pair: Pair | None = None) -> grpc.ChannelCredentials:
    if pair is None:
        return grpc.ssl_channel_credentials(pem_of(papers.gateways))
    return grpc.ssl_channel_credentials(pem_of(papers.gateways), pair.key, pair.certificate)


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


REQUESTS: dict[str, bytes] = {
    "GetSession": pb.GetSessionRequest(session="md").SerializeToString(),
    "CloseSession": pb.CloseSessionRequest(session="md").SerializeToString(),
    "Tail": pb.TailRequest(session="md").SerializeToString(),
}


async def call_everything(channel: grpc.aio.Channel, *headers: tuple[str, str]) -> dict[str, Status]:
    """How each RPC of the API ends; streams are half-closed, so that they do."""
    ends = {}
    for service in SERVICES:
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            request = REQUESTS.get(method.name, b"")
            call: Any
            rpc: Any
            if method.client_streaming:
                rpc = channel.stream_stream(path)
                call = rpc(metadata=headers)
                await call.done_writing()
            elif method.server_streaming:
                rpc = channel.unary_stream(path)
                call = rpc(request, metadata=headers)
            else:
                rpc = channel.unary_unary(path)
                call = rpc(request, metadata=headers)
            ends[method.name] = await status_of(call)
    assert {"ListSessions", "GetSession", "CloseSession", "Attach", "Tail", "Send", "Acquire"} <= ends.keys()
    return ends


@asynccontextmanager
async def channel_to(gateway: Gateway, papers: Papers, pair: Pair | None = None) -> AsyncIterator[grpc.aio.Channel]:
    # A pool of its own: what other tests' channels have waited for is not this one's.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(gateway.grpc, credentials(papers, pair), options) as channel:
        yield channel


def connect(gateway: Gateway, papers: Papers, pair: Pair | None = None, **how: Any) -> fairlead.Gateway:
    return fairlead.connect(
        gateway.grpc,
        credentials=credentials(papers, pair),
        connect_timeout=how.pop("connect_timeout", PATIENCE_S),
        **how,
    )
