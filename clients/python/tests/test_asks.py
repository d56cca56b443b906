"""What the gateway asks for, and the callbacks that answer."""

import asyncio
import logging

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import fairlead
from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2
from tests.fake_gateway import FakeGateway, Stream, attached, result


def asked(key: str = "", generation: int = 1, number: int = 1) -> pb.Event:
    deadline = Timestamp(seconds=1_700_000_000)
    return pb.Event(asked=pb.Asked(channel=1, generation=generation, key=key, number=number, deadline=deadline))


async def opened(stream: Stream) -> pb.Open:
    command = await stream.expect("open")
    stream.say(attached(1), result(command, "DONE"))
    return command.open


async def test_a_step_with_a_function_is_signed_when_asked_for(gateway: fairlead.Gateway, stream: Stream) -> None:
    async def sign(question: fairlead.Asked) -> str:
        assert question == fairlead.Asked("login", 3, 1_700_000_000_000_000_000, 5)
        return "signed"

    session = gateway.websocket("ws://exchange/ws", setup=[fairlead.Step("login", sign, expect="ok")])
    opening = asyncio.create_task(session.open())
    open_ = await opened(stream)
    assert open_.setup[0] == pb.SetupStep(key="login", ask=True, expect=types_pb2.Match(contains=[b"ok"]))
    assert not open_.ask_before_dial
    stream.say(asked("login", 3, 5))
    command = await stream.expect("send")
    assert command.send == pb.Send(payload=b"signed", kind=types_pb2.FRAME_KIND_TEXT, generation=3, answers="login")
    events = session.events()
    assert isinstance(await anext(events), fairlead.Attached)
    assert isinstance(await anext(events), fairlead.Asked)
    await gateway.aclose()
    with pytest.raises(fairlead.FairleadError):
        await opening


async def test_a_plain_function_on_a_raw_socket_gives_bytes(gateway: fairlead.Gateway, stream: Stream) -> None:
    session = gateway.socket("tls://exchange:1", setup=[fairlead.Step("login", lambda _: "naïve")])
    opening = asyncio.create_task(session.open())
    await opened(stream)
    stream.say(asked("login"))
    command = await stream.expect("send")
    assert (command.send.payload, command.send.kind) == ("naïve".encode(), types_pb2.FRAME_KIND_BINARY)
    await gateway.aclose()
    with pytest.raises(fairlead.FairleadError):
        await opening


@pytest.mark.parametrize(
    ("given", "target"),
    [
        (None, None),
        ("ws://exchange/key", pb.Target(url="ws://exchange/key")),
        (
            fairlead.Target("ws://exchange/key", {"X-Token": "t"}),
            pb.Target(url="ws://exchange/key", headers=[types_pb2.Header(name="X-Token", value="t")]),
        ),
    ],
)
async def test_before_dial_gives_the_target(
    gateway: fairlead.Gateway, stream: Stream, given: str | fairlead.Target | None, target: pb.Target | None
) -> None:
    session = gateway.websocket("ws://exchange/ws", before_dial=lambda _: given)
    opening = asyncio.create_task(session.open())
    assert (await opened(stream)).ask_before_dial
    stream.say(asked(number=7))
    assert (await stream.expect("answer")).answer == pb.Answer(number=7, target=target)
    await gateway.aclose()
    with pytest.raises(fairlead.FairleadError):
        await opening


async def test_a_callback_that_fails_answers_nothing_and_is_logged(
    gateway: fairlead.Gateway, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    def fail(_: fairlead.Asked) -> str:
        failed.set()
        raise RuntimeError("the vault is closed")

    def too_long(_: fairlead.Asked) -> str:
        return "x" * 5_000_000

    session = gateway.websocket("ws://exchange/ws", setup=[fairlead.Step("a", fail), fairlead.Step("b", too_long)])
    opening = asyncio.create_task(session.open())
    await opened(stream)
    stream.say(asked("a"), asked("b"), asked("c"), asked())
    await failed.wait()
    await gateway.aclose()
    with pytest.raises(fairlead.FairleadError):
        await opening
    assert stream.idle()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        "session md: the callback for setup step 'a' failed",
        "session md: the callback for setup step 'b' failed",
        "session md: there is no callback for setup step 'c', which the gateway asks for",
        "session md: there is no callback for the dial, which the gateway asks for",
    ]


async def test_a_new_question_takes_the_place_of_the_old_one(gateway: fairlead.Gateway, stream: Stream) -> None:
    cancelled: list[int] = []
    begun = asyncio.Event()

    async def sign(question: fairlead.Asked) -> str:
        if question.generation == 1:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(question.generation)
                raise
        return f"for {question.generation}"

    session = gateway.websocket("ws://exchange/ws", setup=[fairlead.Step("login", sign)])
    opening = asyncio.create_task(session.open())
    await opened(stream)
    stream.say(asked("login", 1))
    await begun.wait()
    stream.say(asked("login", 2))
    assert (await stream.expect("send")).send.payload == b"for 2"
    await gateway.aclose()
    with pytest.raises(fairlead.FairleadError):
        await opening
    assert cancelled == [1]


async def test_a_lost_stream_ends_the_answering_and_the_next_asks_anew(fake: FakeGateway) -> None:
    asks: list[int] = []
    waiting = asyncio.Event()

    async def sign(question: fairlead.Asked) -> str:
        asks.append(question.number)
        if len(asks) == 1:
            waiting.set()
            await asyncio.Event().wait()
        return "signed"

    async with fairlead.connect(fake.address) as gateway:
        stream = await fake.stream()
        session = gateway.websocket("ws://exchange/ws", name="md", setup=[fairlead.Step("login", sign)])
        opening = asyncio.create_task(session.open())
        await opened(stream)
        stream.say(asked("login", 1, 4))
        await waiting.wait()
        stream.end()
        stream = await fake.stream()
        assert (await opened(stream)).setup[0].ask
        stream.say(asked("login", 1, 4))
        assert (await stream.expect("send")).send.payload == b"signed"
        assert asks == [4, 4]
    with pytest.raises(fairlead.FairleadError):
        await opening


async def test_set_target_is_a_command(stream: Stream, session: fairlead.Session) -> None:
    setting = asyncio.create_task(session.set_target("ws://other/ws", [("A", "1"), ("A", "2")]))
    command = await stream.expect("set_target")
    assert command.set_target.target == pb.Target(
        url="ws://other/ws",
        headers=[types_pb2.Header(name="A", value="1"), types_pb2.Header(name="A", value="2")],
    )
    stream.say(result(command, "DONE"))
    await setting
