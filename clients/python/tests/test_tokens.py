"""A function that gives the token of now, and a file that has it."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental
import pytest

import fairlead
from fairlead import _backoff
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import PATIENCE_S, FakeGateway, Stream, attached, frames
from tests.fleet import check_no_task_is_left, until
from tests.test_token import TOKEN, UNIX, local


class Source:
    """Gives tokens, each as often as it is asked, until there is a next one."""

    def __init__(self, now: object) -> None:
        self.now = now
        self.asked = 0

    def __call__(self) -> str:
        """Give the token of now, or raise it."""
        self.asked += 1
        if isinstance(self.now, BaseException):
            raise self.now
        return self.now  # type: ignore[return-value]


@asynccontextmanager
async def connected(socket: str, token: fairlead.Token) -> AsyncIterator[tuple[FakeGateway, fairlead.Gateway]]:
    async with (
        FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake,
        fairlead.connect(fake.address, credentials=local(), token=token) as gateway,
    ):
        yield fake, gateway


async def opened(fake: FakeGateway, gateway: fairlead.Gateway) -> tuple[Stream, fairlead.Session]:
    stream = await fake.stream()
    session = gateway.websocket("ws://exchange/ws", name="md")
    opening = asyncio.create_task(session.open())
    await stream.open()
    await opening
    return stream, session


async def read_to_the_end(session: fairlead.Session) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for _ in session:
            pass


async def test_a_function_is_asked_for_each_call(socket: str) -> None:
    numbers = count(1)
    async with connected(socket, lambda: f"token-{next(numbers)}") as (fake, gateway):
        fake.sessions = [pb.Session(name="md")]
        await fake.stream()
        await gateway.sessions()
        await gateway.session("md")
        asking = asyncio.create_task(gateway.http.get("http://exchange/"))
        await fake.http_call()
        asking.cancel()
        await gateway.close_session("md")
        assert fake.authorizations == [
            ("ListSessions", ["Bearer token-1"]),
            ("Attach", ["Bearer token-1"]),  # What has just been taken.
            ("ListSessions", ["Bearer token-2"]),
            ("GetSession", ["Bearer token-3"]),
            ("Send", ["Bearer token-4"]),
            ("CloseSession", ["Bearer token-5"]),
        ]


async def test_a_session_that_comes_back_shows_the_next_token(socket: str) -> None:
    source = Source("first")
    async with connected(socket, source) as (fake, gateway):
        stream, session = await opened(fake, gateway)
        source.now = "second"
        fake.authorizations.clear()
        stream.end()
        stream = await fake.stream()
        command = await stream.expect("open")
        stream.say(attached(command.channel, "RESUMED", head_sequence=3), frames(command.channel, 4, [b"on"]))
        assert [frame.payload async for frame in take_one(session)] == [b"on"]
        assert fake.authorizations == [("ListSessions", ["Bearer second"]), ("Attach", ["Bearer second"])]


async def take_one(session: fairlead.Session) -> AsyncIterator[fairlead.Frame]:
    async with asyncio.timeout(PATIENCE_S):
        async for frame in session:
            yield frame
            return


async def test_each_of_several_gateways_is_shown_it(socket: str) -> None:
    source = Source("first")
    servers = [FakeGateway(f"{socket}{number}", grpc.local_server_credentials(UNIX)) for number in range(2)]
    addresses = [server.address for server in servers]
    async with (
        servers[0] as one,
        servers[1] as two,
        fairlead.connect(addresses, credentials=local(), token=source) as gateway,
    ):
        assert [await fake.stream() for fake in (one, two)]
        source.now = "second"
        assert await gateway.sessions() == []
        for fake in (one, two):
            assert [shown for _, shown in fake.authorizations] == [["Bearer first"]] * 2 + [["Bearer second"]]


async def test_without_one_several_gateways_are_not_entered(socket: str) -> None:
    source = Source(RuntimeError(TOKEN))
    with pytest.raises(fairlead.PermissionDenied, match="raised RuntimeError"):
        async with fairlead.connect([f"{socket}0", f"{socket}1"], credentials=local(), token=source):
            pass
    check_no_task_is_left()


NO_TOKENS: list[tuple[object, str]] = [
    (ValueError(TOKEN), "raised ValueError"),
    (asyncio.CancelledError(), "raised CancelledError"),
    (FileNotFoundError(2, "No such file", "/run/t"), "raised FileNotFoundError: No such file: '/run/t'"),
    (OSError(TOKEN), "raised OSError"),
    (None, "gave NoneType, not str"),
    (TOKEN.encode(), "gave bytes, not str"),
    ("", "gave what cannot be sent: must be printable ASCII without spaces, and not empty"),
    (TOKEN + "\n", "gave what cannot be sent: must be printable ASCII without spaces, and not empty"),
    (TOKEN + "ä", "gave what cannot be sent: must be printable ASCII without spaces, and not empty"),
]


@pytest.mark.parametrize(("token", "why"), NO_TOKENS)
async def test_a_function_that_gives_none_is_told_of_at_once(
    socket: str, token: object, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = Source(token)
    async with FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake:
        with pytest.raises(fairlead.PermissionDenied) as error:
            async with fairlead.connect(fake.address, credentials=local(), token=source):
                pass
        assert error.value.message == f"token: the function that gives it {why}"
        assert error.value.phase is fairlead.Phase.NOT_SENT
        assert error.value.__cause__ is (token if isinstance(token, BaseException) else None)
        assert (source.asked, fake.authorizations) == (1, [])
    assert TOKEN not in f"{error.value!r} {error.value} {caplog.text}"


async def test_what_has_to_be_awaited_is_no_token(socket: str) -> None:
    async def fetch() -> str:
        return TOKEN

    class Fetcher:
        async def __call__(self) -> str:
            return TOKEN

    wrong: list[Any] = [fetch, partial(fetch), Fetcher()]
    for token in wrong:
        with pytest.raises(TypeError, match=r"^token: nobody would await this function"):
            fairlead.connect(socket, credentials=local(), token=token)
    with pytest.raises(TypeError, match=r"^token: give str, or a function that gives it, not bytes"):
        fairlead.connect(socket, credentials=local(), token=TOKEN.encode())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="never without TLS"):
        fairlead.connect(socket, token=lambda: TOKEN)

    def hidden() -> Any:
        return fetch()

    with pytest.raises(fairlead.PermissionDenied, match="gave coroutine, not str"):
        async with fairlead.connect(socket, credentials=local(), token=hidden):
            pass


async def test_without_a_token_calls_are_not_made_and_the_stream_goes_on(socket: str) -> None:
    source = Source(TOKEN)
    async with connected(socket, source) as (fake, gateway):
        stream, session = await opened(fake, gateway)
        fake.authorizations.clear()
        source.now = RuntimeError(TOKEN)
        with pytest.raises(fairlead.PermissionDenied, match="raised RuntimeError"):
            await gateway.sessions()
        with pytest.raises(fairlead.PermissionDenied):
            await gateway.close_session("md")
        with pytest.raises(fairlead.PermissionDenied) as error:
            await gateway.http.post("http://exchange/orders")
        assert not error.value.may_have_been_sent
        assert fake.authorizations == []
        stream.say(frames(1, 4, [b"on"]))
        assert [frame.payload async for frame in take_one(session)] == [b"on"]
        source.now = TOKEN
        await gateway.sessions()


@pytest.mark.parametrize("lost", ["the stream ended", "its token was revoked"])
async def test_a_session_that_cannot_show_one_comes_back_when_there_is_one_again(
    socket: str, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    """As it would if the gateway was away: with pauses, and whoever calls meanwhile is told why."""
    source = Source(TOKEN)
    async with connected(socket, source) as (fake, gateway):
        stream, session = await opened(fake, gateway)
        fake.authorizations.clear()
        source.now, source.asked = RuntimeError(TOKEN), 0
        if lost == "the stream ended":
            stream.end()
        else:
            revoked(fake, stream)
        await until(lambda: source.asked >= 4)
        with pytest.raises(fairlead.GatewayUnavailable, match="the function that gives it raised RuntimeError") as away:
            await gateway.http.post("http://exchange/orders")
        assert not away.value.may_have_been_sent
        assert fake.authorizations == []
        source.now = "second"
        stream = await fake.stream()
        command = await stream.expect("open")
        stream.say(attached(command.channel, "RESUMED", head_sequence=3), frames(command.channel, 4, [b"on"]))
        assert [frame.payload async for frame in take_one(session)] == [b"on"]
        assert fake.authorizations == [("ListSessions", ["Bearer second"]), ("Attach", ["Bearer second"])]
    told = [record.getMessage() for record in caplog.records if "raised RuntimeError" in record.getMessage()]
    assert len(told) == 1
    assert TOKEN not in caplog.text


async def test_the_pauses_grow_while_there_is_none(socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []

    def note(attempt: int) -> float:
        pauses.append(attempt)
        return 0.001

    monkeypatch.setattr(_backoff, "pause", note)
    source = Source(TOKEN)
    async with connected(socket, source) as (fake, gateway):
        stream, _ = await opened(fake, gateway)
        source.now = RuntimeError()
        stream.end()
        await until(lambda: len(pauses) >= 5)
    assert pauses[:5] == [0, 1, 2, 3, 4]


def revoked(fake: FakeGateway, stream: Stream) -> None:
    """End the stream because of its token, which the gateway knows no longer."""
    fake.authorizations.clear()
    stream.refuse(grpc.StatusCode.PERMISSION_DENIED, types_pb2.Failure(reason=types_pb2.REASON_REVOKED))


async def test_a_stream_whose_token_is_revoked_comes_back_with_the_next(socket: str) -> None:
    source = Source("first")
    async with connected(socket, source) as (fake, gateway):
        stream, session = await opened(fake, gateway)
        source.now = "second"
        revoked(fake, stream)
        stream = await fake.stream()
        command = await stream.expect("open")
        assert command.open.start.after.sequence == 3
        assert fake.authorizations == [("ListSessions", ["Bearer second"]), ("Attach", ["Bearer second"])]
        # There is no next one.
        revoked(fake, stream)
        with pytest.raises(fairlead.PermissionDenied) as error:
            await read_to_the_end(session)
        assert error.value.reason is fairlead.Reason.REVOKED
        assert fake.authorizations == []


async def test_a_function_that_makes_tokens_does_not_have_a_refused_client_try_for_ever(socket: str) -> None:
    numbers = count(1)
    async with connected(socket, lambda: f"token-{next(numbers)}") as (fake, gateway):
        stream, session = await opened(fake, gateway)
        fake.refusal = (grpc.StatusCode.UNAUTHENTICATED, types_pb2.Failure(reason=types_pb2.REASON_UNAUTHENTICATED))
        revoked(fake, stream)
        with pytest.raises(fairlead.PermissionDenied) as error:
            await read_to_the_end(session)
        assert error.value.reason is fairlead.Reason.UNAUTHENTICATED
        # The attempt, and one with what was the next token by then.
        assert [method for method, _ in fake.authorizations] == ["ListSessions"] * 2


async def test_an_attempt_whose_token_is_replaced_meanwhile_is_made_once_more(
    socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it comes back, and when it is entered."""
    source = Source("first")
    unknown = types_pb2.Failure(reason=types_pb2.REASON_UNAUTHENTICATED)
    refuse = FakeGateway._maybe_refuse

    async def only_the_next(fake: FakeGateway, context: Any) -> None:
        """Know the next token alone, which comes while the one before is looked at."""
        source.now = "second"
        shown = fake.authorizations[-1][1]
        fake.refusal = None if shown == ["Bearer second"] else (grpc.StatusCode.UNAUTHENTICATED, unknown)
        await refuse(fake, context)

    async with connected(socket, source) as (fake, gateway):
        stream, session = await opened(fake, gateway)
        fake.authorizations.clear()
        monkeypatch.setattr(FakeGateway, "_maybe_refuse", only_the_next)
        shown = [("ListSessions", ["Bearer first"]), ("ListSessions", ["Bearer second"]), ("Attach", ["Bearer second"])]
        stream.end()
        stream = await fake.stream()
        command = await stream.expect("open")
        stream.say(attached(command.channel, "RESUMED", head_sequence=3), frames(command.channel, 4, [b"on"]))
        assert [frame.payload async for frame in take_one(session)] == [b"on"]
        assert fake.authorizations == shown
        fake.authorizations.clear()
        source.now = "first"
        async with fairlead.connect(fake.address, credentials=local(), token=source):
            await fake.stream()
        assert fake.authorizations == shown


async def test_what_else_the_gateway_forbids_is_final_whatever_the_token(socket: str) -> None:
    numbers = count(1)
    async with connected(socket, lambda: f"token-{next(numbers)}") as (fake, gateway):
        stream, session = await opened(fake, gateway)
        fake.authorizations.clear()
        stream.refuse(grpc.StatusCode.PERMISSION_DENIED, types_pb2.Failure(reason=types_pb2.REASON_NOT_GRANTED))
        with pytest.raises(fairlead.PermissionDenied):
            await read_to_the_end(session)
        assert fake.authorizations == []


async def test_it_is_never_sent_over_what_is_not_encrypted(fake: FakeGateway) -> None:
    """Not even with credentials that are none: gRPC itself refuses."""
    none = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call, unused-ignore]
    for token in (TOKEN, lambda: TOKEN):
        with pytest.raises(fairlead.PermissionDenied, match="security level") as error:
            async with fairlead.connect(fake.address, credentials=none, token=token):
                pass
        assert TOKEN not in str(error.value)
    assert fake.authorizations == []


# One in a file.


def test_a_file_is_read_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is in it is taken; while that cannot be sent, what was in it before."""
    file = tmp_path / "token"
    give = fairlead.token_file(str(file))
    with pytest.raises(FileNotFoundError):
        give()
    file.write_text(f" {TOKEN}\r\n")
    assert give() == TOKEN
    # As it is done in place, by a rename, and by a link that is changed.
    file.write_text("second")
    assert give() == "second"
    (tmp_path / "next").write_text("third\n")
    (tmp_path / "next").rename(file)
    assert give() == "third"
    file.unlink()
    (tmp_path / "fourth").write_text("fourth")
    file.symlink_to(tmp_path / "fourth")
    assert give() == "fourth"
    assert not caplog.records
    for wrong in ("", "a b", "geheimnis-ä"):
        file.write_text(wrong)
        assert (give(), give()) == ("fourth", "fourth")
    file.unlink()
    assert give() == "fourth"
    assert len(caplog.records) == 1
    assert f"no token in {file}, the one before goes on" in caplog.text
    file.write_text("fifth")
    assert give() == "fifth"
    file.unlink()
    assert give() == "fifth"
    assert len(caplog.records) == 2
    assert "geheimnis" not in caplog.text
    assert repr(give) == f"token_file({str(file)!r})"


async def test_a_file_that_has_none_is_named(socket: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with FakeGateway(socket, grpc.local_server_credentials(UNIX)) as fake:
        for content, why in [(None, f"raised FileNotFoundError: No such file or directory: '{file}'"), ("", "be sent")]:
            if content is not None:
                file.write_text(content)
            with pytest.raises(fairlead.PermissionDenied, match=re.escape(why)):
                async with fairlead.connect(fake.address, credentials=local(), token=fairlead.token_file(file)):
                    pass
        assert fake.authorizations == []
