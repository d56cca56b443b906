"""The gateway as this program sees it: one connection, one Attach stream, any number of sessions and requests."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc

from fairlead._calls import close_everywhere, get_anywhere, list_everywhere
from fairlead._channel import Channel
from fairlead._dial import ChannelOptions, Dial
from fairlead._proof import Proof
from fairlead._shards import Shards
from fairlead.http import Http
from fairlead.options import (
    HEAD,
    BeforeDial,
    Delimiter,
    Delivery,
    Framing,
    Headers,
    Heartbeat,
    Payload,
    Queue,
    Retention,
    Span,
    StartFrom,
    Step,
    Topic,
    encode_headers,
    seconds,
    to_bytes,
    to_duration,
)
from fairlead.reader import Reader
from fairlead.reconnecting import Dedupe, Reconnect
from fairlead.session import Session
from fairlead.summary import SessionSummary
from fairlead.tokens import Token
from fairlead.v1 import session_pb2 as pb

_DEFAULT_QUEUE = Queue()
_DEFAULT_FRAMING = Delimiter()


def connect(
    address: str | Sequence[str] | Mapping[str, str],
    *,
    credentials: grpc.ChannelCredentials | None = None,
    token: Token | None = None,
    connect_timeout: Span = 5,
    move_after: Span = 2,
    max_send_bytes: int = 4 * 1024 * 1024 - 64 * 1024,
    options: ChannelOptions = (),
) -> "Gateway":
    """Make a gateway object; `async with` connects it.

    address: unix:///path/to/socket or host:port. Several: sessions and requests are placed on them by a hash of
      their names and origins, as docs/sharding.md tells. The gateway's part in the hash is its address, or in a mapping
      from names to addresses its name.
    credentials: grpc.ssl_channel_credentials(...); None: no TLS, for Unix sockets and loopback.
    token: sent with every call as "authorization: Bearer TOKEN", over TLS only; None: the gateway knows this program
      by the client certificate in its credentials, or by the listener. For tokens that expire a function that gives
      the one of now: token_file(path), or one of yours. It is called on the event loop for each call to the gateway,
      and must return at once; a token that has to be fetched is fetched before by a task of yours. While it raises, or
      gives what cannot be sent, calls raise PermissionDenied, nothing of them is sent, and a lost stream stays away;
      while that is away, they raise GatewayUnavailable.
    connect_timeout: how long to try, when entering, until a gateway answers.
    move_after: of several gateways, how long one may be away before its sessions move to others; without meaning for
      one. Entering waits so long, too, and a second at least, for all of them to answer.
    max_send_bytes: the longest frame that send() takes, and the longest body of an HTTP request; must stay below the
      gateway's limits.message_bytes (4 MiB by default), since a longer frame would end the stream for all sessions.
    options: further gRPC channel arguments; they override the client's own, but grpc.enable_retries stays 0: gRPC would
      send an order twice.

    Raises ValueError for no address, for one twice, for one that gRPC does not know, for a token without credentials,
    and for one that is empty or has other characters than printable ASCII without spaces; TypeError for a token that is
    neither a text nor a plain function.
    """
    patience = seconds(move_after, "move_after")
    proof = Proof(token)
    dials = {name: Dial(each, credentials, options, proof) for name, each in _named(address).items()}
    return Gateway(Shards(dials, patience), seconds(connect_timeout, "connect_timeout"), max_send_bytes)


def _named(address: str | Sequence[str] | Mapping[str, str]) -> Mapping[str, str]:
    if isinstance(address, str):
        return {address: address}
    named = dict(address) if isinstance(address, Mapping) else {each: each for each in address}
    if len(named) != len(address) or len(set(named.values())) != len(named):
        raise ValueError("address: one gateway is given twice")
    if not all(named):
        raise ValueError("address: names must not be empty")
    if not named:
        raise ValueError("address: give at least one gateway")
    return named


class Gateway:
    """A connection to a gateway. Made by connect, used with `async with`; one for a program is enough.

    All sessions share one stream. When it is lost, or the gateway restarts, the client connects again by itself, for as
    long as it takes, with pauses of 0.05 s up to 5 s, and enters the sessions again. Methods must be called on one
    event loop.

    Of several gateways there is a stream to each. A session is where the hash of its name says; when its gateway is
    gone, it goes on in another journal elsewhere, as after a restart.
    """

    def __init__(self, shards: Shards, connect_timeout: float, max_send_bytes: int) -> None:
        self._shards = shards
        self._connect_timeout = connect_timeout
        self._max_send_bytes = max_send_bytes
        self._http = Http(shards, max_send_bytes)

    @property
    def http(self) -> Http:
        """Sends HTTP requests to exchanges."""
        return self._http

    @property
    def attached(self) -> bool:
        """Whether there is a stream to the gateway at the moment; of several, to one of them at least."""
        return any(link.streaming for link in self._shards.links)

    @property
    def shards(self) -> dict[str, bool]:
        """The gateways by their names, and whether each takes sessions now: it is there, and not about to stop."""
        return {link.name: link.usable for link in self._shards.links}

    async def __aenter__(self) -> Self:
        """Connect.

        Raises GatewayUnavailable, with address and hint, if no gateway answers within connect_timeout, and
        PermissionDenied at once if the gateway does not know this program, or there is no token to show. Of several
        gateways it is enough that one answers, and too much that one does not know this program.
        """
        await self._shards.start(self._connect_timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Call aclose()."""
        await self.aclose()

    async def aclose(self) -> None:
        """Leave all sessions and end the connection. Idempotent; leaves no task behind.

        If it is cancelled, what is left ends by itself, at once.
        """
        await self._shards.stop()

    def websocket(
        self,
        url: str,
        *,
        name: str = "",
        headers: Headers = (),
        setup: Iterable[Step] = (),
        before_dial: BeforeDial | None = None,
        # How it stays alive.
        heartbeat: Heartbeat | None = None,
        reconnect: Reconnect | None = None,
        topics: Iterable[Topic] = (),
        dial_timeout: Span | None = None,
        # Two transports.
        legs: int = 1,
        dedupe: Dedupe | None = None,
        max_leg_lag: Span | None = None,
        # How it is read.
        start: StartFrom = HEAD,
        delivery: Delivery | None = None,
        retention: Retention | None = None,
        queue: Queue = _DEFAULT_QUEUE,
        # WebSocket.
        subprotocols: Sequence[str] = (),
        permessage_deflate: bool = False,
        max_message_bytes: int | None = None,
        # The client's own.
        open_timeout: Span = 30,
    ) -> Session:
        """Make a WebSocket session that this program owns; `async with` opens it and enters when it is OPEN.

        url: ws:// or wss://.
        name: [A-Za-z0-9._:-]{1,128}, unique among this identity's live sessions; empty: anonymous.
        headers: sent with the upgrade request, in order.
        setup: what is sent on each new transport before it is OPEN, in order.
        before_dial: called with an Asked before each dial; gives a Target, a URL, or None for where the last dial went.
          For URLs and headers that hold a fresh token or listen key. While this program is away the session does not
          dial: it is WAITING. The call may take dial_timeout.
        topics: parts of the stream that must not fall silent; on_topic tells.
        dial_timeout: for name, connection, TLS and upgrade together; None: 10 s.
        legs: how many transports at once, at most 2. Of each frame the first copy is delivered; when one
          is lost the other goes on, without a blind window, and on_leg tells. Needs dedupe. Sends go to one of them,
          those with setup_key or forget_setup_keys to both.
        dedupe: how a frame that two transports bring is recognised, with legs and while one takes the other's place;
          None: not at all, both are delivered.
        max_leg_lag: one of two legs whose frames come so much later than the other's is replaced; None: 5 s; zero:
          never. Refused without legs.
        start: HEAD, OLDEST or After(epoch, sequence).
        queue: how much the client holds for a program that is busy.
        subprotocols: offered in this order; if any is offered, the exchange must choose one.
        max_message_bytes: the longest message accepted, after inflation; None: 3 MiB.
        open_timeout: how long `async with` waits for OPEN.

        Raises ValueError for a span or legs that are negative, for two setup steps with one key, and for a heartbeat of
        two kinds.
        """
        websocket = pb.WebSocketOptions(
            subprotocols=subprotocols, permessage_deflate=permessage_deflate, max_message_bytes=max_message_bytes
        )
        return self._own(
            pb.Open(session=name, target=pb.Target(url=url, headers=encode_headers(headers)), websocket=websocket),
            setup=setup,
            before_dial=before_dial,
            heartbeat=heartbeat,
            reconnect=reconnect,
            topics=topics,
            dial_timeout=dial_timeout,
            legs=legs,
            dedupe=dedupe,
            max_leg_lag=max_leg_lag,
            start=start,
            delivery=delivery,
            retention=retention,
            queue=queue,
            open_timeout=open_timeout,
        )

    def socket(
        self,
        url: str,
        *,
        framing: Framing = _DEFAULT_FRAMING,
        name: str = "",
        setup: Iterable[Step] = (),
        before_dial: BeforeDial | None = None,
        # How it stays alive.
        heartbeat: Heartbeat | None = None,
        reconnect: Reconnect | None = None,
        topics: Iterable[Topic] = (),
        dial_timeout: Span | None = None,
        # Two transports.
        legs: int = 1,
        dedupe: Dedupe | None = None,
        max_leg_lag: Span | None = None,
        # How it is read.
        start: StartFrom = HEAD,
        delivery: Delivery | None = None,
        retention: Retention | None = None,
        queue: Queue = _DEFAULT_QUEUE,
        # Raw socket.
        preamble: Payload = b"",
        max_frame_bytes: int | None = None,
        # The client's own.
        open_timeout: Span = 30,
    ) -> Session:
        r"""Make a raw TCP or TLS session that this program owns; it is used as one of websocket().

        A raw socket has no kinds of frames: str payloads (of send, setup and heartbeats) travel as UTF-8, and what
        comes is BINARY; frame.text decodes it. It has no pings and close codes either: Session.ping, a ping heartbeat
        and a close code are refused. Without a heartbeat of text or binary none is sent.

        url: tcp:// or tls://, host, port.
        framing: Delimiter(b"\r\n") unless told otherwise, LengthPrefix(...) or Unframed(); added to what is sent,
          removed from what is delivered.
        dial_timeout: for name, connection, TLS and preamble together; None: 10 s.
        preamble: written as it is, without framing, when the connection is there and before setup.
        max_frame_bytes: the longest frame accepted and sent, without its framing, or with Unframed the most that one
          read delivers; None: 3 MiB.

        The other parameters, and what is raised, are those of websocket().
        """
        socket = pb.SocketOptions(preamble=to_bytes(preamble), max_frame_bytes=max_frame_bytes)
        framing.write(socket)
        return self._own(
            pb.Open(session=name, target=pb.Target(url=url), socket=socket),
            setup=[step.as_bytes() for step in setup],
            before_dial=before_dial,
            heartbeat=heartbeat.as_bytes() if heartbeat else None,
            reconnect=reconnect,
            topics=topics,
            dial_timeout=dial_timeout,
            legs=legs,
            dedupe=dedupe,
            max_leg_lag=max_leg_lag,
            start=start,
            delivery=delivery,
            retention=retention,
            queue=queue,
            open_timeout=open_timeout,
        )

    def _own(
        self,
        entrance: pb.Open,
        *,
        setup: Iterable[Step],
        before_dial: BeforeDial | None,
        heartbeat: Heartbeat | None,
        reconnect: Reconnect | None,
        topics: Iterable[Topic],
        dial_timeout: Span | None,
        legs: int,
        dedupe: Dedupe | None,
        max_leg_lag: Span | None,
        start: StartFrom,
        delivery: Delivery | None,
        retention: Retention | None,
        queue: Queue,
        open_timeout: Span,
    ) -> Session:
        """Make the session, with what sessions on all transports have."""
        steps = list(setup)
        keyed = {step.key: step for step in steps}
        if len(keyed) != len(steps):
            raise ValueError("setup: keys must differ")
        raw = entrance.HasField("socket")
        entrance.MergeFrom(
            pb.Open(
                heartbeat=heartbeat.to_proto() if heartbeat else None,
                reconnect=reconnect.to_proto() if reconnect else None,
                delivery=delivery.to_proto() if delivery else None,
                retention=retention.to_proto() if retention else None,
                dial_timeout=to_duration(dial_timeout, "dial_timeout"),
                ask_before_dial=before_dial is not None,
                topics=[topic.to_proto() for topic in topics],
                # One is what absent means.
                legs=0 if legs == 1 else legs,
                dedupe=dedupe.to_proto() if dedupe else None,
                max_leg_lag=to_duration(max_leg_lag, "max_leg_lag"),
            )
        )
        channel = Channel(self._shards.route(entrance.session), entrance, start, keyed, queue)
        timeout = seconds(open_timeout, "open_timeout")
        return Session(channel, timeout, self._max_send_bytes, raw=raw, before_dial=before_dial)

    def join(
        self,
        name: str,
        *,
        identity: str = "",
        start: StartFrom = HEAD,
        delivery: Delivery | None = None,
        queue: Queue = _DEFAULT_QUEUE,
        open_timeout: Span = 30,
    ) -> Reader:
        """Make a reader of a live session; `async with` enters when the gateway has attached it.

        That does not wait for OPEN: the session may be in any state.

        identity: whose session; empty: this program's own. Another's needs a grant in the gateway's configuration.

        The other parameters are those of websocket().
        """
        entrance = pb.Join(session=name, identity=identity, delivery=delivery.to_proto() if delivery else None)
        channel = Channel(self._shards.route(name), entrance, start, {}, queue)
        return Reader(channel, seconds(open_timeout, "open_timeout"))

    async def sessions(self) -> list[SessionSummary]:
        """List this identity's live sessions, ordered by name.

        Of several gateways those that cannot be asked are left out (`shards` tells which), and a session that was moved
        may be listed twice, until the gateway that it left closes it.

        Raises GatewayUnavailable while there is no connection.
        """
        return await list_everywhere(self._shards.links)

    async def session(self, name: str) -> SessionSummary:
        """Get one session. Raises SessionNotFound, and GatewayUnavailable while there is no connection.

        Of several gateways each that may have it must say that it has not, to be sure.
        """
        return await get_anywhere(self._shards.ordered(name), name)

    async def close_session(self, name: str) -> None:
        """Close one session for all its subscribers, whoever owns it, and on all gateways; return when it is CLOSED.

        Raises SessionNotFound, GatewayUnavailable while there is no connection, OutcomeUnknown if that breaks
        meanwhile.
        """
        await close_everywhere(self._shards.ordered(name), name)
