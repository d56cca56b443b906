"""The bearer token: with every call over a channel that has credentials, and nowhere else."""

import asyncio
import logging

import grpc
import pytest

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import FakeGateway

TOKEN = "canary-5ecre7"  # noqa: S105 - of this test alone
UNIX = grpc.LocalConnectionType.UDS


def local() -> grpc.ChannelCredentials:
    """Give credentials that gRPC lets call credentials through, without certificates."""
    return grpc.local_channel_credentials(UNIX)


async def test_it_is_sent_with_every_call(socket: str) -> None:
    async with (
        FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake,
        fairlead.connect(fake.address, credentials=local(), token=TOKEN) as gateway,
    ):
        fake.sessions = [pb.Session(name="md")]
        await fake.stream()
        await gateway.sessions()
        await gateway.session("md")
        await gateway.close_session("md")
        asking = asyncio.create_task(gateway.http.get("http://exchange/"))
        await fake.http_call()
        asking.cancel()
        assert {method for method, _ in fake.authorizations} == {
            "Attach",
            "ListSessions",
            "GetSession",
            "CloseSession",
            "Send",
        }
        assert {tuple(shown) for _, shown in fake.authorizations} == {(f"Bearer {TOKEN}",)}


async def test_without_one_nothing_is_sent(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    await gateway.sessions()
    assert {tuple(shown) for _, shown in fake.authorizations} == {()}


async def test_a_gateway_that_does_not_know_it_is_not_asked_again(
    socket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake:
        fake.refusal = (grpc.StatusCode.UNAUTHENTICATED, types_pb2.Failure(reason=types_pb2.REASON_UNAUTHENTICATED))
        with pytest.raises(fairlead.PermissionDenied) as error:
            async with fairlead.connect(fake.address, credentials=local(), token=TOKEN):
                pass
        assert error.value.reason is fairlead.Reason.UNAUTHENTICATED
        assert len(fake.authorizations) == 1
        assert TOKEN not in f"{error.value!r} {error.value}"
    assert TOKEN not in caplog.text


async def test_a_client_that_is_refused_when_it_comes_back_gives_up(
    socket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake,
        fairlead.connect(fake.address, credentials=local(), token=TOKEN) as gateway,
    ):
        stream = await fake.stream()
        session = gateway.websocket("ws://exchange/ws", name="md")
        opening = asyncio.create_task(session.open())
        await stream.open()
        await opening
        fake.refusal = (grpc.StatusCode.UNAUTHENTICATED, types_pb2.Failure(reason=types_pb2.REASON_UNAUTHENTICATED))
        stream.end()
        with pytest.raises(fairlead.PermissionDenied):
            async for _ in session:
                pass
    assert "refuses this client" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["", " ", "a b", "a\n", "a\r\nx: y", "\0", "a\x7f", "geheimnis-ä", "a\t"])
def test_what_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"^token: ") as error:
        fairlead.connect("127.0.0.1:1", credentials=local(), token=token)
    assert len(token) < 3 or token not in str(error.value)


def test_it_is_refused_without_credentials() -> None:
    with pytest.raises(ValueError, match=r"^token: ") as error:
        fairlead.connect("127.0.0.1:1", token=TOKEN)
    assert TOKEN not in str(error.value)


def test_it_is_shown_nowhere() -> None:
    gateway = fairlead.connect("127.0.0.1:1", credentials=local(), token=TOKEN)
    link = gateway._shards.links[0]
    shown = [repr(gateway), str(gateway), repr(link), repr(link._dial)]
    assert not [text for text in shown if TOKEN in text]
