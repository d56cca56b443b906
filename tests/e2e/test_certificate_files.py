"""Certificates, keys and authorities of a listener that are replaced while it serves."""

import asyncio
import os
from pathlib import Path

import pytest
from cryptography import x509

from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import sessions_of
from tests.e2e.callers import Papers, Serve, channel_to, connect, issue_server
from tests.e2e.certificates import Pair, context_of, knock, pem_of, served_certificate
from tests.e2e.processes import Exchange, eventually

pytestmark = pytest.mark.plain


async def test_a_replaced_certificate_disturbs_nobody(
    serve: Serve, papers: Papers, exchange: Exchange, scratch: Path
) -> None:
    gateway = serve(certificates=True)
    trust = context_of(papers.gateways, scratch, papers.feeds)
    before = await asyncio.to_thread(served_certificate, gateway.grpc, trust)
    calls = 0
    over = asyncio.Event()

    async with (
        channel_to(gateway, papers, papers.feeds) as channel,
        connect(gateway, papers, papers.feeds) as client,
        client.websocket(f"{exchange.ws}/echo", name="md") as session,
    ):
        sent = received = 0

        async def call() -> None:
            nonlocal calls
            while not over.is_set():
                await sessions_of(channel).ListSessions(pb.ListSessionsRequest())
                calls += 1

        async def echo() -> None:
            nonlocal sent, received
            await session.send("0")
            sent = 1
            async for frame in session:
                assert frame.text == str(received)
                received += 1
                if over.is_set():
                    return
                await session.send(str(sent))
                sent += 1

        running = asyncio.gather(call(), echo())
        try:
            for _ in range(2):
                replacement = issue_server(papers.gateways)
                replacement.write(scratch / "tls")
                expected = x509.load_pem_x509_certificate(replacement.certificate)

                async def served(expected: x509.Certificate = expected) -> bool:
                    assert not running.done(), "a call or a stream has failed"
                    return await asyncio.to_thread(served_certificate, gateway.grpc, trust) == expected

                await eventually(served, "new connections see the new certificate")
                # On the old connections, with the new certificate in place.
                so_far, echoed = calls, received
                await eventually(lambda n=so_far, m=echoed: calls > n + 10 and received > m + 10, "calls go on")  # type: ignore[misc]
                assert expected != before
        finally:
            over.set()
        await running
        assert [each.generation for each in [await client.session("md")]] == [1]


async def test_a_replaced_authority_of_clients(serve: Serve, papers: Papers, scratch: Path) -> None:
    """New connections need a certificate of the new one; who is connected goes on."""
    gateway = serve(certificates=True)
    ours = context_of(papers.gateways, scratch, papers.feeds)
    theirs = context_of(papers.gateways, scratch, papers.strange)
    assert knock(gateway.grpc, ours).has_settings
    assert not knock(gateway.grpc, theirs).has_settings
    async with connect(gateway, papers, papers.feeds) as client:
        new = scratch / "clients.new"
        new.write_bytes(pem_of(papers.strangers))
        os.replace(new, scratch / "clients.pem")

        async def changed() -> bool:
            return (await asyncio.to_thread(knock, gateway.grpc, theirs)).has_settings

        await eventually(changed, "the new authority's clients are served")
        told = knock(gateway.grpc, ours)
        assert (told.http2, bool(told.ended)) == (b"", True)
        assert await client.sessions() == []


async def test_a_key_that_does_not_match_is_not_taken(serve: Serve, papers: Papers, scratch: Path) -> None:
    """The pair that was there goes on, for new connections, too, and the next one that matches is taken."""
    gateway = serve(certificates=True)
    trust = context_of(papers.gateways, scratch, papers.feeds)
    before = served_certificate(gateway.grpc, trust)
    replacement = issue_server(papers.gateways)
    Pair(replacement.certificate, papers.server.key).write(scratch / "tls")

    async def told() -> bool:
        assert await asyncio.to_thread(served_certificate, gateway.grpc, trust) == before
        return "are no certificate and its key: key values mismatch" in gateway.log

    await eventually(told, "the log tells that they do not match")
    assert served_certificate(gateway.grpc, trust) == before
    replacement.write(scratch / "tls")
    expected = x509.load_pem_x509_certificate(replacement.certificate)

    async def served() -> bool:
        return await asyncio.to_thread(served_certificate, gateway.grpc, trust) == expected

    await eventually(served, "the pair that matches is taken")
    assert gateway.log.count("WARN listener.certificate") == 1
    assert "PRIVATE KEY" not in gateway.log


@pytest.mark.parametrize("file", ["tls/key.pem", "tls/cert.pem", "clients.pem"])
async def test_a_file_that_is_gone_or_empty_is_not_taken(
    serve: Serve, papers: Papers, scratch: Path, file: str
) -> None:
    gateway = serve(certificates=True)
    trust = context_of(papers.gateways, scratch, papers.feeds)
    for wrong in ("is empty", "is gone"):
        (scratch / file).write_bytes(b"") if wrong == "is empty" else (scratch / file).unlink()
        said = gateway.log.count("WARN listener.certificate")

        async def told(said: int = said) -> bool:
            assert (await asyncio.to_thread(knock, gateway.grpc, trust)).has_settings
            return gateway.log.count("WARN listener.certificate") == said + 1

        await eventually(told, f"the log tells that {file} {wrong}")


async def test_a_key_that_does_not_match_at_the_start(serve: Serve, papers: Papers, scratch: Path) -> None:
    gateway = serve()
    assert await gateway.terminate() == 0
    Pair(issue_server(papers.gateways).certificate, papers.server.key).write(scratch / "tls")
    with pytest.raises(AssertionError, match="status 1"):
        gateway.start()
    gateway.kill()
