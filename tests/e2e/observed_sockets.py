"""What each field of SocketOptions does: the exchange cuts frames as its own preamble says, and must understand."""

from typing import Any

from fairlead.v1.session_pb2 import (
    Command,
    Delimiter,
    LengthPrefix,
    Open,
    Send,
    SocketOptions,
    Target,
    Unframed,
)
from fairlead.v1.types_pb2 import REASON_MESSAGE_TOO_LONG
from tests.e2e.observed import Stage, observes
from tests.e2e.processes import eventually


def raw(stage: Stage, path: str, **options: Any) -> Open:
    socket = SocketOptions(preamble=stage.exchange.preamble(path), **options)
    return Open(target=Target(url=stage.exchange.tcp), socket=socket)


async def exchanged(stage: Stage, framing: str, **options: Any) -> None:
    """Sends a frame to an exchange of this framing; it has come as one, and so has its echo."""
    await stage.open(raw(stage, f"/echo?{framing}", **options))
    await stage.stream.say(Command(channel=1, send=Send(payload=b"A\x0ba\x00bc")))
    assert (await stage.stream.frame(1)).payload == b"A\x0ba\x00bc"
    (received,) = (await stage.exchange.connection())["frames"]
    assert received["text"] == "A\x0ba\x00bc"


@observes("Open.socket", "SocketOptions.preamble")
async def _(stage: Stage) -> None:
    await stage.open(raw(stage, "/echo?tag=7"))

    async def target() -> str:
        heard: str = (await stage.exchange.connection())["target"]
        return heard

    assert await eventually(target, "the preamble has come") == "/echo?tag=7"


@observes("SocketOptions.max_frame_bytes")
async def _(stage: Stage) -> None:
    for number, limit in ((1, 100), (2, 99)):
        await stage.begin(raw(stage, "/big?size=100", max_frame_bytes=limit), number=number)
    assert len((await stage.stream.frame(1)).payload) == 100
    assert (await stage.lost(2)).cause.reason == REASON_MESSAGE_TOO_LONG


@observes("SocketOptions.delimiter", "Delimiter.bytes")
async def _(stage: Stage) -> None:
    await exchanged(stage, "framing=delimiter&delimiter=%7c%0a%7c", delimiter=Delimiter(bytes=b"|\n|"))


@observes("SocketOptions.length_prefix")
async def _(stage: Stage) -> None:
    await exchanged(stage, "framing=length", length_prefix=LengthPrefix())


@observes("LengthPrefix.width")
async def _(stage: Stage) -> None:
    await exchanged(stage, "framing=length&width=2", length_prefix=LengthPrefix(width=2))


@observes("LengthPrefix.little_endian")
async def _(stage: Stage) -> None:
    await exchanged(stage, "framing=length&order=little", length_prefix=LengthPrefix(little_endian=True))


@observes("LengthPrefix.counts_itself")
async def _(stage: Stage) -> None:
    await exchanged(stage, "framing=length&counts_itself=1", length_prefix=LengthPrefix(counts_itself=True))


@observes("SocketOptions.unframed")
async def _(stage: Stage) -> None:
    """Lines with their ends in them, though CRLF is the default that would have cut them off."""
    await stage.open(raw(stage, "/numbered?rate=1000&count=3&feed=", unframed=Unframed()))
    came = b""
    while len(came) < 9:
        came += (await stage.stream.frame(1)).payload
    assert came == b"1\r\n2\r\n3\r\n"
