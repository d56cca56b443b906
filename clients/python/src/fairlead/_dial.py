"""Makes a connection to the gateway: address, channel options, and the first question that shows who is there."""

import asyncio
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc

from fairlead._cancellation import raise_if_cancelled
from fairlead._proof import UNPROVEN, NoToken, Proof
from fairlead.errors import Failure, FairleadError, GatewayUnavailable, PermissionDenied, error_of_rpc
from fairlead.v1 import http_pb2, http_pb2_grpc, session_pb2_grpc
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import Phase

if TYPE_CHECKING:
    from fairlead.v1.http_pb2_grpc import HttpServiceAsyncStub
    from fairlead.v1.session_pb2_grpc import SessionServiceAsyncStub

ChannelOptions = Sequence[tuple[str, int | str]]

_OPTIONS: ChannelOptions = (
    # The gateway's ceiling for a message (limits.message_bytes). One message above the limit would kill the whole
    # stream.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # Finds a half-open connection within 40 s, also while nothing is sent.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Keeps the window small: what a busy program has not read waits in the gateway's journal, where its age and its
    # loss are known, and not in megabytes of socket buffers. Saves the probes, too.
    ("grpc.http2.bdp_probe", 0),
    # Each attempt dials by itself; gRPC would share its own, longer, pauses among channels to one address.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy for exchanges is no way to the gateway.
    ("grpc.enable_http_proxy", 0),
)
# Behind the user's options, which override the others.
_FIXED: ChannelOptions = (
    # A send that is retried behind our back could be written twice.
    ("grpc.enable_retries", 0),
)
# Says so of each Send: else the gateway sees to it that gRPC retries none, at the cost of a write.
_NO_RETRIES = grpc.aio.Metadata(("fairlead-retries", "off"))

_NOTHING = Proof(None)


class Connection:
    """A connection to a gateway that has answered. Whoever has it closes it."""

    def __init__(self, channel: grpc.aio.Channel, proof: Proof, shown: grpc.CallCredentials | None) -> None:
        self.proof = proof
        # What the first question showed, and the stream shows.
        self.shown = shown
        self.stub = cast("SessionServiceAsyncStub", session_pb2_grpc.SessionServiceStub(channel))
        self._channel = channel
        self._send = cast("HttpServiceAsyncStub", http_pb2_grpc.HttpServiceStub(channel)).Send
        self._requests = 0
        self._unused = asyncio.Event()
        self._leaving = False

    @property
    def outdated(self) -> bool:
        """Whether there is another token now than the one that was shown, or none, and so perhaps another soon."""
        try:
            return self.proof.show() is not self.shown
        except NoToken:
            return True

    @property
    def in_use(self) -> bool:
        """Whether HTTP requests are in flight."""
        return self._requests > 0

    async def send(self, request: http_pb2.SendRequest, timeout: float) -> http_pb2.SendResponse:
        """Call HttpService.Send with a deadline in seconds.

        Raises PermissionDenied if there is no token to show, AioRpcError, and CancelledError if the connection is
        closed meanwhile.
        """
        self._requests += 1
        try:
            return await self._send(request, timeout=timeout, metadata=_NO_RETRIES, credentials=self.proof.show())
        finally:
            self._requests -= 1
            if self._leaving and not self._requests:
                self._unused.set()

    async def close(self) -> None:
        """End the connection and all calls on it."""
        await self._channel.close()

    async def close_unused(self) -> None:
        """End the connection when the last request in flight has ended, at its deadline at the latest.

        To be called when no more begin. Cancelling it ends the connection at once, if it has begun; drop() always.
        """
        self._leaving = True
        try:
            if self._requests:
                await self._unused.wait()
        finally:
            await self.close()

    def drop(self) -> None:
        """Have close_unused() wait no longer."""
        self._unused.set()


@dataclass(frozen=True, slots=True)
class Dial:
    """Where the gateway is and how to reach it."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: ChannelOptions
    proof: Proof = _NOTHING

    def __post_init__(self) -> None:
        """Raise ValueError for an address with a scheme that gRPC does not have, and for a token without TLS."""
        scheme, separator, _ = self.address.partition("://")
        if not self.address or (separator and scheme not in {"unix", "dns", "ipv4", "ipv6"}):
            raise ValueError(f"address {self.address!r}: give unix:///path/to/socket or host:port")
        if self.proof.given and self.credentials is None:
            raise ValueError("token: is sent with credentials only, never without TLS")

    async def connect(self, timeout: float) -> Connection:
        """Make one attempt, of at most `timeout` seconds.

        Raises GatewayUnavailable if nothing answers, PermissionDenied if there is no token to show, and what the
        gateway answers otherwise. Cancelling it is safe.

        If a token is refused, and there is another one by then, that is tried, too; no third one is.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        shown = self.proof.show()
        try:
            return await self._ask(shown, timeout)
        except PermissionDenied as refused:
            again = self.proof.show()
            if refused.reason not in UNPROVEN or again is shown:
                raise
        return await self._ask(again, max(0.001, deadline - loop.time()))

    async def _ask(self, shown: grpc.CallCredentials | None, timeout: float) -> Connection:
        options = list({**dict(_OPTIONS), **dict(self.options), **dict(_FIXED)}.items())
        if self.credentials is None:
            channel = grpc.aio.insecure_channel(self.address, options=options)
        else:
            channel = grpc.aio.secure_channel(self.address, self.credentials, options=options)
        connection = Connection(channel, self.proof, shown)
        try:
            # A listening port is not yet a gateway: this shows that one is there and knows us.
            await connection.stub.ListSessions(
                pb.ListSessionsRequest(page_size=1), timeout=timeout, credentials=connection.shown
            )
        except BaseException as error:
            await connection.close()
            if not isinstance(error, grpc.aio.AioRpcError):
                raise
            raise_if_cancelled()
            raise self._explain(error_of_rpc(error, writes=False)) from None
        return connection

    def _explain(self, error: FairleadError) -> FairleadError:
        if not isinstance(error, GatewayUnavailable):
            return error
        message = f"no gateway at {self.address}: {error.message} ({self._hint()})"
        return GatewayUnavailable(Failure(error.reason, Phase.NOT_SENT, message, error.retry_after))

    def _hint(self) -> str:
        if not self.address.startswith("unix:"):
            return "is fairlead running, and listening there? It prints its addresses when it is ready"
        path = Path("/" + self.address.removeprefix("unix:").lstrip("/")) if "unix:/" in self.address else None
        if path is None:
            return "a relative path counts from this program's directory; is fairlead running?"
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return f"there is no {path}; is fairlead running, with this socket in its configuration?"
        except PermissionError:
            return f"this user may not reach {path}"
        if not stat.S_ISSOCK(mode):
            return f"{path} is not a socket"
        return f"{path} is there, but nobody answers; is fairlead running, and may this user write to the socket?"
