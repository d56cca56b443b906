"""The one Attach stream of a gateway object: kept up, shared by all channels."""

import asyncio
import contextlib
import logging
import secrets
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import grpc

from fairlead import _backoff
from fairlead._cancellation import raise_if_cancelled
from fairlead._dial import Connection, Dial
from fairlead._ports import ChannelPort, Watch
from fairlead._proof import UNPROVEN, NoToken
from fairlead.errors import (
    Failure,
    FairleadError,
    GatewayUnavailable,
    InvalidRequest,
    NotImplementedByGateway,
    PermissionDenied,
    error_of_rpc,
)
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import Phase

if TYPE_CHECKING:
    from fairlead.entries import CommandResult

_log = logging.getLogger("fairlead")

# A gateway takes gRPC messages of 4 MiB by default; a message of many commands stays far below.
_REQUEST_BYTES = 1024 * 1024
# What may wait while gRPC does not take more; beyond it sends are refused.
_OUTGOING_BYTES = 16 * 1024 * 1024
# An attempt to connect again gives up after this long, so that one that hangs does not keep the others from being made.
_ATTEMPT_S = 5.0
# A stream that lived this long was a good one: the next loss begins with short pauses.
_STABLE_S = 5.0
# What will not mend by trying again.
_FATAL = (PermissionDenied, NotImplementedByGateway, InvalidRequest)

_NOT_CONNECTED = "the gateway object is not connected: use `async with`"


class _Outgoing(NamedTuple):
    """A command that has not been handed to gRPC."""

    command: pb.Command
    size: int
    result: "asyncio.Future[CommandResult] | None"


class Link:
    """Connects, writes the channels' commands, reads the gateway's events, and connects again when the stream is lost.

    Owned by a Gateway. One task reads and supervises, another writes while there is a stream, and one a lost connection
    waits for the HTTP requests on it; stop() ends all.
    """

    def __init__(self, dial: Dial, name: str = "", watch: Watch | None = None) -> None:
        self.name = name or dial.address
        # Whether sessions no longer wait for it. Whoever watches decides.
        self.gone = False
        # Whether the gateway has said that it is about to stop; until there is another stream.
        self.draining = False
        # Sessions that this client owned here, and entered elsewhere.
        self.left: set[str] = set()
        self._dial = dial
        self._watch = watch
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        # Whether the task has been cancelled.
        self._ending = False
        self._leftovers: dict[asyncio.Task[None], Connection] = {}
        self._streaming = False
        self._error: FairleadError | None = None
        self._over = False
        self._channels: dict[int, ChannelPort] = {}
        self._numbers = count(1)
        # Ids of an earlier life of this program may come back out of a journal: begin where it did not.
        self._ids = count(secrets.randbits(62) + 1)
        self._tickets = count(-1, -1)
        self._outgoing: dict[int, _Outgoing] = {}
        self._outgoing_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._hurry = asyncio.Event()

    @property
    def streaming(self) -> bool:
        """Whether there is a stream that takes commands."""
        return self._streaming

    @property
    def usable(self) -> bool:
        """Whether sessions can be entered now."""
        return self._streaming and not self.draining

    @property
    def error(self) -> FairleadError | None:
        """Why the latest stream was lost, or the latest attempt to connect failed."""
        return self._error

    @property
    def refused(self) -> bool:
        """Whether there will be no other stream, for what error says."""
        return self._over

    @property
    def channels(self) -> list[ChannelPort]:
        """The channels that are on it, or wait for it."""
        return list(self._channels.values())

    def owned(self) -> set[str]:
        """Names of the named sessions that this program owns on it."""
        return {channel.owned for channel in self._channels.values() if channel.owned}

    @property
    def address(self) -> str:
        """Where the gateway is."""
        return self._dial.address

    @property
    def running(self) -> bool:
        """Whether there is a stream or there will be one again."""
        return self._task is not None and not self._task.done() and not self._ending

    @property
    def connection(self) -> Connection:
        """The connection, for unary calls.

        Raises GatewayUnavailable while there is none, and what this client was refused with if there will be none.
        """
        if self._connection is not None:
            return self._connection
        if self._over and self._error is not None:
            raise type(self._error)(replace(self._error.failure, phase=Phase.NOT_SENT))
        why = (self._error.message if self._error else "not yet") if self.running else _NOT_CONNECTED
        message = f"no connection to the gateway at {self._dial.address}: {why}"
        raise GatewayUnavailable(Failure(phase=Phase.NOT_SENT, message=message))

    async def start(self, timeout: float) -> None:
        """Connect. Raises GatewayUnavailable after `timeout` seconds, and what will not mend at once."""
        self._begin_anew()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        for attempt in count():
            try:
                connection = await self._dial.connect(max(0.001, deadline - loop.time()))
                break
            except GatewayUnavailable:
                pause = max(0.01, _backoff.pause(attempt))
                if loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
        self._connection = connection
        self._start_task(connection)
        try:
            # Entering returns with the stream there, so that a first Open leaves at once.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self.stop()
            raise

    def begin(self) -> None:
        """Connect without waiting for it, for as long as it takes."""
        self._begin_anew()
        self._start_task(None)

    def _start_task(self, connection: Connection | None) -> None:
        self._task = asyncio.create_task(self._run(connection), name="fairlead link")
        self._task.add_done_callback(self._forget_task)

    def _forget_task(self, task: "asyncio.Task[None]") -> None:
        # Its traceback has the call, and gRPC's connection stays open for as long as there is one.
        if self._task is task:
            self._task = None

    def require_token(self) -> None:
        """Raise PermissionDenied if there is no token to show."""
        self._dial.proof.show()

    def hurry(self) -> None:
        """Try to connect now if it waits to try again."""
        self._hurry.set()

    async def stop(self) -> None:
        """End all channels and tasks and close the connection. Idempotent, and may be cancelled."""
        if ending := self.end():
            await asyncio.wait(ending)

    def end(self) -> set[asyncio.Task[None]]:
        """End all channels, have all tasks close their connections and end, and return those. Idempotent."""
        for channel in self.channels:
            channel.end(None)
        for connection in self._leftovers.values():
            connection.drop()
        ending = set(self._leftovers)
        if self._task is not None and not self._task.done():
            ending.add(self._task)
            if not self._ending:  # A second time might keep it from ending as it should.
                self._ending = True
                self._task.cancel()
        return ending

    def register(self, channel: ChannelPort) -> int:
        """Give a channel its number. Numbers are never used again: nothing late can be taken for something new."""
        if self._over and self._error is not None:
            raise self._error
        if not self.running:
            raise GatewayUnavailable(Failure(message=_NOT_CONNECTED))
        number = next(self._numbers)
        self._channels[number] = channel
        return number

    def remove(self, number: int) -> None:
        """Forget a channel that has ended."""
        self._channels.pop(number, None)

    def next_id(self) -> int:
        """Give an id for a command."""
        return next(self._ids)

    def has_room(self, size: int) -> bool:
        """Whether a command of so many bytes may still be submitted."""
        return self._outgoing_bytes + size <= _OUTGOING_BYTES

    def submit(self, command: pb.Command, size: int = 0, result: "asyncio.Future[CommandResult] | None" = None) -> None:
        """Write a command, together with all others of this turn of the event loop.

        Dropped if there is no stream. Whoever cancels the result withdraws the command.
        """
        if not self._streaming:
            return
        self._outgoing[command.id or next(self._tickets)] = _Outgoing(command, size, result)
        self._outgoing_bytes += size
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def withdraw(self, command_id: int) -> bool:
        """Take a command back; False if it was handed to gRPC already."""
        taken = self._outgoing.pop(command_id, None)
        if taken is None:
            return False
        self._outgoing_bytes -= taken.size
        return True

    async def _run(self, connection: Connection | None) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        try:
            while True:
                if connection is not None:
                    began = loop.time()
                    error = self._error = await self._serve(connection)
                    if isinstance(error, _FATAL) and not (error.reason in UNPROVEN and connection.outdated):
                        raise error
                    attempt = 0 if loop.time() - began >= _STABLE_S else attempt
                    await self._pause(attempt)
                attempt += 1
                try:
                    connection = await self._dial.connect(_ATTEMPT_S)
                except FairleadError as failed:
                    if isinstance(failed, _FATAL) and not isinstance(failed, NoToken):
                        raise
                    news = isinstance(failed, NoToken) and not isinstance(self._error, NoToken)
                    level = logging.WARNING if news else logging.DEBUG
                    _log.log(level, "attempt %d to reach the gateway failed: %s", attempt, failed)
                    self._error = failed
                    await self._pause(attempt)
                    connection = None
        except _FATAL as refusal:
            _log.error("the gateway at %s refuses this client: %s", self._dial.address, refusal)
            self._give_up(refusal)
        except Exception as bug:
            # Whoever reads a session must not wait for ever because of a mistake of ours.
            _log.exception("the client failed")
            self._give_up(FairleadError(Failure(message=f"the client failed: {bug!r}")))
        finally:
            self._connection = None

    def _begin_anew(self) -> None:
        if self.running:
            raise RuntimeError("the gateway object is connected already")
        self._ending = False
        self._over = False
        self._error = None

    async def _pause(self, attempt: int) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_backoff.pause(attempt)):
                await self._hurry.wait()

    def _give_up(self, error: FairleadError) -> None:
        self._error = error
        self._over = True
        if self._watch is not None:
            self._watch.on_refused(self)
        for channel in self.channels:
            channel.end(error)

    async def _serve(self, connection: Connection) -> FairleadError:
        """Run one stream until it is lost; return why."""
        self._connection = connection
        call = connection.stub.Attach(credentials=connection.shown)
        self._streaming = True
        self.draining = False
        lost = False
        writer = asyncio.create_task(self._write(call), name="fairlead writer")
        try:
            for channel in self.channels:
                channel.stream_up()
            if self._watch is not None:
                self._watch.on_up(self)
            error = await self._read(call)
            lost = True
            # Before anything is awaited: what is submitted from here on was not sent, and what waits in _outgoing
            # neither.
            self._streaming = False
            _log.warning("the stream to the gateway at %s is lost: %s", self._dial.address, error)
            for channel in self.channels:
                channel.stream_lost(error)
            self._outgoing.clear()
            self._outgoing_bytes = 0
            if self._watch is not None:
                self._watch.on_lost(self)
        finally:
            self._streaming = False
            self._connection = None
            call.cancel()
            writer.cancel()
            # First, since waiting may be cancelled.
            if lost and connection.in_use:
                self._leave_to_requests(connection)
            else:
                await connection.close()
            await asyncio.wait([writer])
        return error

    def _leave_to_requests(self, connection: Connection) -> None:
        """Let HTTP requests that are in flight end: a gateway that stops, or ends a stream, still answers them."""
        closing = asyncio.create_task(connection.close_unused(), name="fairlead last requests")
        self._leftovers[closing] = connection
        closing.add_done_callback(self._leftovers.pop)

    async def _read(self, call: "grpc.aio.StreamStreamCall[pb.AttachRequest, pb.AttachResponse]") -> FairleadError:
        try:
            while True:
                response = await call.read()
                if response is grpc.aio.EOF or not isinstance(response, pb.AttachResponse):
                    return GatewayUnavailable(Failure(message="the gateway ended the stream"))
                for event in response.events:
                    self._dispatch(event)
        except grpc.aio.AioRpcError as error:
            raise_if_cancelled()
            return error_of_rpc(error, writes=False)

    def _dispatch(self, event: pb.Event) -> None:
        kind = event.WhichOneof("event")
        if kind == "batch":
            batch = event.batch
            # A slice is a list of its own, and made faster than list() would.
            payloads, received_at = batch.payloads[:], batch.receive_times_unix_ns[:]
            if len(batch.runs) == 1:
                self._deliver(batch.runs[0], payloads, received_at)
                return
            start = 0
            for run in batch.runs:
                end = start + run.count
                self._deliver(run, payloads[start:end], received_at[start:end])
                start = end
        elif kind == "draining":
            self.draining = True
            if self._watch is not None:
                self._watch.on_draining(self)
            _log.info("the gateway at %s is about to stop; the client will attach again", self._dial.address)
        elif kind is not None:
            channel = self._channels.get(getattr(event, kind).channel)
            if channel is not None:
                channel.on_event(kind, event)

    def _deliver(self, run: pb.Run, payloads: list[bytes], received_at: list[int]) -> None:
        channel = self._channels.get(run.channel)
        if channel is not None:
            channel.on_frames(run, payloads, received_at)

    async def _write(self, call: "grpc.aio.StreamStreamCall[pb.AttachRequest, pb.AttachResponse]") -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                commands = self._gather()
                if commands:
                    await call.write(pb.AttachRequest(commands=commands))
                    continue
                self._wake = loop.create_future()
                try:
                    await self._wake
                finally:
                    self._wake = None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # The stream is over; the reader learns why.

    def _gather(self) -> list[pb.Command]:
        commands: list[pb.Command] = []
        total = 0
        for ticket, (command, size, result) in list(self._outgoing.items()):
            if result is not None and result.cancelled():
                continue  # Its sender, who is about to run, withdraws it.
            if commands and total + size > _REQUEST_BYTES:
                break
            del self._outgoing[ticket]
            commands.append(command)
            total += size
        self._outgoing_bytes -= total
        return commands
