"""A session that this program owns."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from fairlead._answers import Answers
from fairlead._channel import Channel
from fairlead._commands import SetupChange
from fairlead._stage import Stage
from fairlead.entries import LegChanged, Sent, StateChanged
from fairlead.errors import Failure, GatewayUnavailable, OutcomeUnknown, SendFailed, to_seconds, too_long
from fairlead.options import (
    BeforeDial,
    Headers,
    Payload,
    Span,
    Step,
    Target,
    as_kind,
    encode_payload,
    seconds,
    to_bytes,
    to_duration,
)
from fairlead.reader import Reader
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import FrameKind, Phase, Reason, SessionState


@dataclass(slots=True, eq=False)
class _Ping:
    pong: "asyncio.Future[float]"
    generation: int = 0
    """Of the transport that it was written to; 0: not known yet."""


class Session(Reader):
    """A session that this program owns and commands.

    Made by Gateway.websocket or Gateway.socket, used with `async with`, which enters at OPEN.

    When the stream to the gateway is lost, the client opens the session again, behind the last entry that it has, with
    the setup as it is then. It never does so after Superseded.
    """

    def __init__(
        self,
        channel: Channel,
        open_timeout: float,
        max_send_bytes: int,
        *,
        raw: bool,
        before_dial: BeforeDial | None = None,
    ) -> None:
        super().__init__(channel, open_timeout)
        self._answers = Answers(channel, before_dial, max_send_bytes, raw=raw)
        self._raw = raw
        self._max_send_bytes = max_send_bytes
        self._waiting_pings: dict[bytes, deque[_Ping]] = {}
        self._pings = 0
        channel.on_pong(self._on_pong)
        channel.observers.add(StateChanged, self._on_state_changed)
        channel.observers.add(LegChanged, self._on_leg_changed)

    async def send(
        self,
        payload: Payload,
        *,
        kind: FrameKind | None = None,
        max_wait: Span = 0,
        generation: int = 0,
        setup_key: str = "",
        forget_setup_keys: Iterable[str] = (),
    ) -> Sent:
        """Send a frame and return when it is in the kernel of the gateway's machine; str is TEXT, bytes BINARY.

        On a raw socket str is sent as UTF-8.

        kind: FrameKind.TEXT sends bytes as TEXT, for encoders that give bytes; FrameKind.BINARY sends str as BINARY,
          in UTF-8. Without meaning on a raw socket, which has no kinds. Raises ValueError for bytes that are to be TEXT
          and are not UTF-8.
        max_wait: how long to wait for an OPEN transport, and for the stream to the gateway; 0: fail at once.
        generation: not 0: send it only on this transport.
        setup_key: also store the frame as this setup step (subscribe); in place of one of the same key, or as the last.
        forget_setup_keys: also forget these steps (unsubscribe). Both only if the frame was written or may have been.

        Raises SendFailed if not a byte was written (again is safe), OutcomeUnknown if the exchange may have it.
        Cancelling it takes the frame back if it has not left this program; else the frame may be written, and the
        result is dropped, but for events(). Results travel behind frames: a program that sends must read, else its
        queue fills up and sends fail with LIMIT_REACHED.
        """
        payload = to_bytes(payload) if self._raw else as_kind(payload, kind)
        encoded, encoded_kind = encode_payload(payload)
        if len(encoded) > self._max_send_bytes:
            raise SendFailed(too_long("payload", len(encoded), self._max_send_bytes))
        change = None
        forget = tuple(forget_setup_keys)
        if setup_key or forget:
            change = SetupChange(Step(setup_key, payload) if setup_key else None, forget)
        wait = seconds(max_wait, "max_wait")
        if self._channel.stage is not Stage.ATTACHED:
            wait = await self._wait_attached(wait)
        self._channel.check_room(len(encoded))
        command = pb.Command(
            send=pb.Send(
                payload=encoded,
                kind=encoded_kind,
                generation=generation,
                max_wait=to_duration(wait, "max_wait"),
                setup_key=setup_key,
                forget_setup_keys=forget,
            )
        )
        result = await self._channel.perform(command, len(encoded), change)
        return Sent(result.outcome, result.generation, result.sequence, result.id)

    async def ping(self, payload: bytes | None = None, *, timeout: Span = 10) -> float:
        """Send a WebSocket ping and return the round trip between gateway and exchange in seconds.

        payload: at most 125 bytes; None: one that no other ping of this session has.

        Raises SendFailed if there is no OPEN transport, or it is a raw socket, OutcomeUnknown if the transport ends
        before the pong, or after `timeout`. Cancelling it is safe.
        """
        if payload is None:
            self._pings += 1
            payload = b"fairlead %d" % self._pings
        limit = seconds(timeout, "timeout")
        await self._channel.wait_attached(0)
        ping = _Ping(asyncio.get_running_loop().create_future())
        waiting = self._waiting_pings.setdefault(payload, deque())
        waiting.append(ping)
        try:
            async with asyncio.timeout(limit):
                result = await self._channel.perform(pb.Command(ping=pb.Ping(payload=payload)))
                ping.generation = result.generation
                return await ping.pong
        except TimeoutError:
            raise OutcomeUnknown(
                Failure(Reason.PONG_TIMEOUT, Phase.SENT_NO_REPLY, f"no pong within {limit} s")
            ) from None
        finally:
            if ping in waiting:
                waiting.remove(ping)
            if not waiting and self._waiting_pings.get(payload) is waiting:
                del self._waiting_pings[payload]
            if ping.pong.done() and not ping.pong.cancelled():
                ping.pong.exception()  # Else asyncio would complain of an exception that nobody took.

    async def reconnect(self, *, make_before_break: bool = False) -> None:
        """End the transport and have the gateway dial a new one; return when it has taken that up.

        The new transport is OPEN later: on_state tells.

        make_before_break: dial it beside the old one, as Reconnect.make_before_break says: without a blind window.
          StateChanged.overlap tells when it has taken the place, on_leg what becomes of the two. While one is being
          replaced already nothing more is done; in its overlap, the next comes after it.

        Raises SendFailed if refused, OutcomeUnknown if the stream to the gateway is lost. Cancelling it does not undo
        it.
        """
        await self._channel.wait_attached(0)
        await self._channel.perform(pb.Command(reconnect=pb.Reconnect(make_before_break=make_before_break)))

    async def set_target(self, url: str, headers: Headers = ()) -> None:
        """Say where the next transport goes; the one that is there goes on.

        url: any host that the egress rules allow; the scheme must be the session's. headers: in place of those before.
        Holds until the client opens the session again, after a lost stream to the gateway: before_dial is asked anew.

        Raises SendFailed if refused, OutcomeUnknown if the stream to the gateway is lost.
        """
        await self._channel.wait_attached(0)
        await self._channel.perform(pb.Command(set_target=pb.SetTarget(target=Target(url, headers).to_proto())))

    async def close(self, code: int = 0, reason: str = "", *, timeout: Span = 15) -> None:
        """Close the session for all its subscribers, with a close frame to the exchange, and wait for its end.

        Idempotent.

        What is queued can still be read; then iterations end normally. code and reason as in RFC 6455 section 7.4: 0
        means 1000, and the reason has at most 123 bytes. A raw socket has neither, and ends in order without them.

        Raises SendFailed if refused (InvalidRequest's reasons), OutcomeUnknown if the stream to the gateway is lost
        meanwhile or after `timeout`, GatewayUnavailable if there is no stream: then the client only forgets the
        session. After cancelling it, the session closes all the same.
        """
        if self._channel.stage in {Stage.ENDED, Stage.LEAVING}:
            return
        if self._channel.stage is not Stage.ATTACHED:
            self._channel.end(None)
            raise GatewayUnavailable(
                Failure(
                    message="there is no stream to the gateway: the session is forgotten, but was not told to close"
                )
            )
        limit = seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(limit):
                await self._channel.close(code, reason)
        except TimeoutError:
            raise OutcomeUnknown(Failure(message=f"the session did not end within {limit} s")) from None

    async def _wait_attached(self, wait: float) -> float:
        """Wait for the stream; return what is left of the wait for the exchange."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._channel.wait_attached(wait)
        return max(0.0, wait - (loop.time() - began))

    def _entered(self) -> asyncio.Event:
        return self._channel.opened

    def _on_pong(self, message: pb.Pong) -> None:
        for ping in self._waiting_pings.get(message.payload, ()):
            if not ping.pong.done():
                ping.pong.set_result(to_seconds(message.round_trip))
                return

    def _on_state_changed(self, event: StateChanged) -> None:
        # OPEN takes no transport away: if there was one before, LegChanged tells of its end.
        if event.state is not SessionState.OPEN:
            self._lose_pongs(event.cause)

    def _on_leg_changed(self, event: LegChanged) -> None:
        if event.generation and event.state in {SessionState.CLOSED, SessionState.RECONNECTING}:
            self._lose_pongs(event.cause, event.generation)

    def _lose_pongs(self, cause: Failure | None, generation: int = 0) -> None:
        """End the waiting for pongs of a transport that has ended; 0: of any."""
        if self._channel.cursor.former:
            return
        failure = cause or Failure(Reason.CONNECTION_LOST, message="the transport ended")
        for waiting in self._waiting_pings.values():
            for ping in waiting:
                if generation in {0, ping.generation} and not ping.pong.done():
                    ping.pong.set_exception(OutcomeUnknown(failure))
