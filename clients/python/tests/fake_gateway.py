"""A gateway whose side of the dialogue a test plays: it reads commands, and writes the events that it wants."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc

from fairlead.v1 import http_pb2, http_pb2_grpc, session_pb2_grpc, types_pb2
from fairlead.v1 import session_pb2 as pb

# Long enough for a machine that is busy with something else; reached only when a test fails.
PATIENCE_S = 20.0
EPOCH = "epoch-1"


def varint(value: int) -> bytes:
    """Encode as protobuf does."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def status_details(failure: types_pb2.Failure, code: int = 3, message: str = "no") -> bytes:
    """Encode a google.rpc.Status with the failure as its detail."""

    def field(number: int, value: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(value)) + value

    detail = field(1, b"type.googleapis.com/fairlead.v1.Failure") + field(2, failure.SerializeToString())
    return b"\x08" + varint(code) + field(2, message.encode()) + field(3, detail)


def state(channel: int, to: str, sequence: int, generation: int = 1, **fields: Any) -> pb.Event:
    """Make a StateChanged, `to` being the state's name."""
    value = pb.SessionState.Value(f"SESSION_STATE_{to}")
    return pb.Event(
        state_changed=pb.StateChanged(channel=channel, state=value, sequence=sequence, generation=generation, **fields)
    )


def frames(
    channel: int,
    first: int,
    payloads: Sequence[bytes],
    generation: int = 1,
    kind: types_pb2.FrameKind.ValueType = types_pb2.FRAME_KIND_TEXT,
) -> pb.Event:
    """Make a Batch of one run, received at 1000 times their sequence."""
    run = pb.Run(
        channel=channel,
        first_sequence=first,
        count=len(payloads),
        kind=kind,
        generation=generation,
    )
    times = [1000 * (first + index) for index in range(len(payloads))]
    return pb.Event(batch=pb.Batch(runs=[run], payloads=payloads, receive_times_unix_ns=times))


def attached(channel: int, start: str = "NEW", session: str = "md", epoch: str = EPOCH, **fields: Any) -> pb.Event:
    """Make an Attached, `start` being the outcome's name; of an empty journal unless told otherwise."""
    fields = {"oldest_sequence": 1, "head_sequence": 0, "state": pb.SESSION_STATE_CONNECTING, **fields}
    return pb.Event(
        attached=pb.Attached(
            channel=channel,
            session=session,
            epoch=epoch,
            start=pb.StartOutcome.Value(f"START_OUTCOME_{start}"),
            **fields,
        )
    )


def result(command: pb.Command, outcome: str, sequence: int = 0, **failure: Any) -> pb.Event:
    """Make the command's result, `outcome` being the outcome's name."""
    return pb.Event(
        command_result=pb.CommandResult(
            channel=command.channel,
            id=command.id,
            sequence=sequence,
            outcome=pb.Outcome.Value(f"OUTCOME_{outcome}"),
            generation=1,
            failure=types_pb2.Failure(**failure) if failure else None,
        )
    )


def ended(channel: int, reason: types_pb2.Reason.ValueType, *, session_closed: bool = True) -> pb.Event:
    """Make an Ended."""
    cause = types_pb2.Failure(reason=reason, message=f"because {types_pb2.Reason.Name(reason)}")
    return pb.Event(ended=pb.Ended(channel=channel, cause=cause, session_closed=session_closed))


class Stream:
    """One Attach stream, from the gateway's side."""

    def __init__(self) -> None:
        self.requests: list[pb.AttachRequest] = []
        self.over = asyncio.Event()
        self.outgoing: asyncio.Queue[list[pb.Event] | _RefusedError | None] = asyncio.Queue()
        self._commands: asyncio.Queue[pb.Command] = asyncio.Queue()

    def take(self, request: pb.AttachRequest) -> None:
        """Note what came."""
        self.requests.append(request)
        for command in request.commands:
            self._commands.put_nowait(command)

    async def expect(self, action: str) -> pb.Command:
        """Return the next command, which must be of this kind."""
        command = await asyncio.wait_for(self._commands.get(), PATIENCE_S)
        assert command.WhichOneof("action") == action, command
        return command

    def idle(self) -> bool:
        """Whether all commands that came have been expected."""
        return self._commands.empty()

    def say(self, *events: pb.Event) -> None:
        """Write events, in one message."""
        self.outgoing.put_nowait(list(events))

    def end(self) -> None:
        """End the stream with status OK."""
        self.outgoing.put_nowait(None)

    def refuse(self, code: grpc.StatusCode, failure: types_pb2.Failure | None) -> None:
        """End the stream with a status, with the failure in its details or without."""
        self.outgoing.put_nowait(_RefusedError(code, failure))

    async def open(self, start: str = "NEW", epoch: str = EPOCH) -> pb.Command:
        """Take an Open and bring its session to OPEN: Attached, and entries 1 to 3."""
        command = await self.expect("open")
        channel = command.channel
        self.say(
            attached(channel, start, epoch=epoch),
            result(command, "DONE"),
            state(channel, "CONNECTING", 1, 0, attempt=1),
            state(channel, "OPENING", 2),
            state(channel, "OPEN", 3),
        )
        return command


class HttpCall:
    """One HttpService.Send, from the gateway's side."""

    def __init__(self, request: http_pb2.HttpRequest, time_left: float, retries: list[str]) -> None:
        self.request = request
        self.retries = retries
        """What it says about them, in its metadata."""
        self.time_left = time_left
        """Seconds until the RPC's deadline, as it arrived."""
        self.cancelled = asyncio.Event()
        self.outcome: asyncio.Future[http_pb2.HttpResponse] = asyncio.get_running_loop().create_future()

    def reply(self, status: int = 200, body: bytes = b"", headers: Sequence[tuple[str, str]] = (), **more: Any) -> None:
        """Answer as the exchange."""
        fields = [types_pb2.Header(name=name, value=value) for name, value in headers]
        self.outcome.set_result(http_pb2.HttpResponse(status=status, body=body, headers=fields, attempts=1, **more))

    def refuse(self, code: grpc.StatusCode, failure: types_pb2.Failure | None) -> None:
        """End the RPC with a status, with the failure in its details or without."""
        self.outcome.set_exception(_RefusedError(code, failure))


class _RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, failure: types_pb2.Failure | None) -> None:
        super().__init__(code, failure)
        self.code = code
        self.failure = failure


class FakeGateway(session_pb2_grpc.SessionServiceServicer, http_pb2_grpc.HttpServiceServicer):
    """A server on a Unix socket, to be started and stopped like a gateway."""

    def __init__(self, address: str, credentials: grpc.ServerCredentials | None = None) -> None:
        self.address = address
        self.authorizations: list[tuple[str, list[str]]] = []
        """Of each call, its method and its authorization headers."""
        self._credentials = credentials
        self.sessions: list[pb.Session] = []
        self.closed: list[str] = []
        """Names of sessions that CloseSession has closed."""
        self.refusal: tuple[grpc.StatusCode, types_pb2.Failure | None] | None = None
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._calls: asyncio.Queue[HttpCall] = asyncio.Queue()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
        session_pb2_grpc.add_SessionServiceServicer_to_server(self, self._server)  # type: ignore[arg-type, no-untyped-call, unused-ignore]
        http_pb2_grpc.add_HttpServiceServicer_to_server(self, self._server)  # type: ignore[arg-type, no-untyped-call, unused-ignore]
        if self._credentials is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, self._credentials)
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.kill()

    async def kill(self) -> None:
        """Stop at once, without a word to anybody."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def stream(self) -> Stream:
        """Return the next Attach stream."""
        return await asyncio.wait_for(self._streams.get(), PATIENCE_S)

    async def http_call(self) -> HttpCall:
        """Return the next HTTP request."""
        return await asyncio.wait_for(self._calls.get(), PATIENCE_S)

    async def Send(self, request: http_pb2.SendRequest, context: Any) -> http_pb2.SendResponse:  # noqa: N802
        self._note("Send", context)
        retries = [value for key, value in context.invocation_metadata() if key == "fairlead-retries"]
        call = HttpCall(request.request, context.time_remaining(), retries)
        self._calls.put_nowait(call)
        try:
            return http_pb2.SendResponse(response=await call.outcome)
        except _RefusedError as refused:
            await _abort(context, refused.code, refused.failure)
        except asyncio.CancelledError:
            call.cancelled.set()
            raise

    async def Attach(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.AttachResponse]:  # noqa: N802
        self._note("Attach", context)
        stream = Stream()
        self._streams.put_nowait(stream)

        async def read() -> None:
            async for request in request_iterator:
                stream.take(request)

        reader = asyncio.create_task(read())
        try:
            while (events := await stream.outgoing.get()) is not None:
                if isinstance(events, _RefusedError):
                    await _abort(context, events.code, events.failure)
                yield pb.AttachResponse(events=events)
        finally:
            reader.cancel()
            stream.over.set()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Any) -> pb.ListSessionsResponse:  # noqa: N802
        self._note("ListSessions", context)
        await self._maybe_refuse(context)
        start = int(request.page_token or 0)
        end = start + min(request.page_size, 2)
        return pb.ListSessionsResponse(
            sessions=self.sessions[start:end], next_page_token=str(end) if end < len(self.sessions) else ""
        )

    async def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:  # noqa: N802
        self._note("GetSession", context)
        await self._maybe_refuse(context)
        await self._require(request.session, context)
        return pb.GetSessionResponse(session=next(each for each in self.sessions if each.name == request.session))

    async def CloseSession(self, request: pb.CloseSessionRequest, context: Any) -> pb.CloseSessionResponse:  # noqa: N802
        self._note("CloseSession", context)
        await self._maybe_refuse(context)
        await self._require(request.session, context)
        self.closed.append(request.session)
        self.sessions = [each for each in self.sessions if each.name != request.session]
        return pb.CloseSessionResponse()

    def Tail(self, request: pb.TailRequest, context: Any) -> AsyncIterator[pb.TailResponse]:  # noqa: N802
        raise NotImplementedError("the client does not call it")

    def Pipeline(self, request_iterator: Any, context: Any) -> AsyncIterator[http_pb2.PipelineResponse]:  # noqa: N802
        raise NotImplementedError("the client does not call it")

    def Download(self, request: Any, context: Any) -> AsyncIterator[http_pb2.DownloadResponse]:  # noqa: N802
        raise NotImplementedError("the client does not call it")

    def _note(self, method: str, context: Any) -> None:
        shown = [value for key, value in context.invocation_metadata() if key == "authorization"]
        self.authorizations.append((method, shown))

    async def _require(self, session: str, context: Any) -> None:
        if all(each.name != session for each in self.sessions):
            await _abort(
                context, grpc.StatusCode.NOT_FOUND, types_pb2.Failure(reason=types_pb2.REASON_SESSION_NOT_FOUND)
            )

    async def _maybe_refuse(self, context: Any) -> None:
        if self.refusal is not None:
            await _abort(context, *self.refusal)


async def _abort(context: Any, code: grpc.StatusCode, failure: types_pb2.Failure | None) -> NoReturn:
    metadata = (("grpc-status-details-bin", status_details(failure)),) if failure else ()
    await context.abort(code, "refused", metadata)
    raise AssertionError
