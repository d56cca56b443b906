"""An Attach stream as the generated stub has it, for dialogues: commands go in, events come out, one by one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2  # type: ignore[import-untyped]

from fairlead.v1 import types_pb2
from fairlead.v1.session_pb2 import (
    SESSION_STATE_OPEN,
    Asked,
    Attached,
    AttachRequest,
    AttachResponse,
    Batch,
    Command,
    CommandResult,
    Draining,
    Ended,
    Gap,
    LegChanged,
    Open,
    Pong,
    StateChanged,
    TopicChanged,
)
from fairlead.v1.session_pb2_grpc import SessionServiceStub
from tests.e2e.processes import PATIENCE_S

if TYPE_CHECKING:
    from fairlead.v1.session_pb2_grpc import SessionServiceAsyncStub

ATTACH = "/fairlead.v1.SessionService/Attach"


@dataclass(frozen=True)
class Frame:
    """One frame, out of its batch's columns."""

    channel: int
    sequence: int
    generation: int
    kind: int
    payload: bytes
    received_unix_ns: int


Item: TypeAlias = (
    Frame | Attached | StateChanged | CommandResult | Gap | Asked | TopicChanged | LegChanged | Pong | Ended | Draining
)
T = TypeVar(
    "T", Frame, Attached, StateChanged, CommandResult, Gap, Asked, TopicChanged, LegChanged, Pong, Ended, Draining
)


@dataclass(frozen=True)
class Status:
    """How an RPC ended. No failure: the status comes from gRPC itself."""

    code: grpc.StatusCode
    details: str
    failure: types_pb2.Failure | None


def span(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


def seconds(span: Duration) -> float:
    return span.seconds + span.nanos / 1e9


class StreamOver(Exception):
    """The stream ended before what was waited for came."""


class Attachment:
    """Events wait in order until somebody asks for them; asking for one leaves those before it where they are."""

    def __init__(self, channel: grpc.aio.Channel, *headers: tuple[str, str]) -> None:
        self._call = channel.stream_stream(
            ATTACH, request_serializer=_serialized, response_deserializer=AttachResponse.FromString
        )(metadata=headers)
        self._items: list[Item] = []

    async def say(self, *commands: Command) -> None:
        await self._call.write(AttachRequest(commands=commands))

    async def say_bytes(self, message: bytes) -> None:
        """Writes what the stub would never serialise."""
        await self._call.write(message)

    async def open(self, channel: int, opening: Open) -> Attached:
        """Opens a session and waits until it is OPEN."""
        await self.say(Command(channel=channel, open=opening))
        attached = await self.attached(channel)
        await self.state(channel, SESSION_STATE_OPEN)
        return attached

    async def half_close(self) -> None:
        await self._call.done_writing()

    def cancel(self) -> None:
        self._call.cancel()

    async def read(self) -> list[Item]:
        """Waits for the next message; its items are also kept for `hear`."""
        # Not wait_for: it swallows a cancellation that comes together with a message.
        async with asyncio.timeout(PATIENCE_S):
            response = await self._call.read()
        if not isinstance(response, AttachResponse):
            status = await self.status()
            raise StreamOver(f"the stream ended with {status}; not asked for: {self._items[-20:]}")
        items = _items(response)
        self._items += items
        return items

    async def next(self) -> Item:
        """Takes the next item, whatever it is."""
        while not self._items:
            await self.read()
        return self._items.pop(0)

    async def hear(self, kind: type[T], fits: Callable[[T], bool] = lambda item: True) -> T:
        """Waits for the first item of this kind that fits, and takes it."""
        begin = 0
        while True:
            for at in range(begin, len(self._items)):
                item = self._items[at]
                if isinstance(item, kind) and fits(item):
                    return self._items.pop(at)  # type: ignore[return-value]  # isinstance has said so
            begin = len(self._items)
            try:
                await self.read()
            except TimeoutError:
                raise AssertionError(
                    f"no such {kind.__name__} within {PATIENCE_S} s; came: {self._items[-20:]}"
                ) from None

    async def result(self, command_id: int) -> CommandResult:
        return await self.hear(CommandResult, lambda item: item.id == command_id)

    async def attached(self, channel: int) -> Attached:
        return await self.hear(Attached, lambda item: item.channel == channel)

    async def state(self, channel: int, state: int) -> StateChanged:
        return await self.hear(StateChanged, lambda item: item.channel == channel and item.state == state)

    async def ended(self, channel: int) -> Ended:
        return await self.hear(Ended, lambda item: item.channel == channel)

    async def frame(self, channel: int) -> Frame:
        return await self.hear(Frame, lambda item: item.channel == channel)

    async def frames(self, channel: int, count: int) -> list[Frame]:
        return [await self.frame(channel) for _ in range(count)]

    def heard(self, kind: type[T]) -> list[T]:
        """Everything of this kind that has come and was not asked for."""
        return [item for item in self._items if isinstance(item, kind)]

    async def status(self) -> Status:
        return await status_of(self._call)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of gRPC, as a program would make it that expects long messages."""
    async with grpc.aio.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        yield channel


def sessions_of(channel: grpc.aio.Channel) -> "SessionServiceAsyncStub":
    """The generated stub, as what it is on an asyncio channel."""
    return cast("SessionServiceAsyncStub", SessionServiceStub(channel))


async def status_of(call: grpc.aio.Call) -> Status:
    """Waits for an RPC's end; reads the Failure out of grpc-status-details-bin with Google's own message."""
    code = await asyncio.wait_for(call.code(), PATIENCE_S)
    trailing = await call.trailing_metadata()
    failure = None
    for key, value in trailing or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            assert status.code == code.value[0], "the details have another code"
            failure = types_pb2.Failure()
            assert len(status.details) == 1
            assert status.details[0].Unpack(failure)
            assert failure.message == status.message == (await call.details())
    return Status(code, await call.details() or "", failure)


def _serialized(message: AttachRequest | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _items(response: AttachResponse) -> list[Item]:
    items: list[Item] = []
    for event in response.events:
        if event.HasField("batch"):
            items += _frames(event.batch)
        else:
            item = getattr(event, event.WhichOneof("event") or "")
            items.append(item)
    return items


def _frames(batch: Batch) -> list[Frame]:
    frames: list[Frame] = []
    columns = zip(batch.payloads, batch.receive_times_unix_ns, strict=True)
    for run in batch.runs:
        for at in range(run.count):
            payload, received = next(columns)
            frames.append(Frame(run.channel, run.first_sequence + at, run.generation, run.kind, payload, received))
    assert next(columns, None) is None, "the runs' counts do not add up to the columns' length"
    return frames
