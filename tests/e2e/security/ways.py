"""The two ways out, behind one face: an HTTP request and a session are asked for a URL, and tell how that failed."""

from typing import Any, NamedTuple

import grpc

from fairlead.v1 import types_pb2
from fairlead.v1.http_pb2 import HttpResponse
from fairlead.v1.session_pb2 import (
    OUTCOME_NOT_SENT,
    Command,
    CommandResult,
    Ended,
    Heartbeat,
    Open,
    ReconnectPolicy,
    Target,
)
from fairlead.v1.types_pb2 import Header
from tests.e2e.attach import Attachment, span
from tests.e2e.http_calls import ask, asking

REQUESTS, SESSIONS, RAW = ["http", "https"], ["ws", "wss"], ["tcp", "tls"]
EVERY_WAY = [*REQUESTS, *SESSIONS, *RAW]
PLAIN = ["http", "ws", "tcp"]
QUIET = Heartbeat(interval=span(0))


class Refusal(NamedTuple):
    """How it failed, in words. `code` is the RPC's; a session's failures come in events, which have none."""

    code: str
    reason: str
    phase: str
    message: str

    @property
    def words(self) -> tuple[str, str]:
        return self.reason, self.phase


async def request_refused(channel: grpc.aio.Channel, url: str, method: str = "GET", **fields: Any) -> Refusal:
    result = await ask(channel, asking(url, method, **fields))
    assert not isinstance(result, HttpResponse), f"{url} was answered: {result}"
    return Refusal(result.code, result.reason, result.phase, result.message)


async def opening_refused(channel: grpc.aio.Channel, opening: Open) -> Refusal:
    """An Open that is refused, or whose only dial fails."""
    stream = Attachment(channel)
    await stream.say(Command(channel=1, id=1, open=opening))
    result = await stream.hear(CommandResult)
    failure = result.failure
    if result.outcome != OUTCOME_NOT_SENT:
        ended = await stream.hear(Ended)
        assert ended.session_closed
        failure = ended.cause
    stream.cancel()
    reason, phase = types_pb2.Reason.Name(failure.reason), types_pb2.Phase.Name(failure.phase)
    return Refusal("", reason.removeprefix("REASON_"), phase.removeprefix("PHASE_"), failure.message)


def once(url: str, headers: list[Header] | None = None, **fields: Any) -> Open:
    """An Open that dials once."""
    reconnect = ReconnectPolicy(enabled=False)
    return Open(target=Target(url=url, headers=headers), heartbeat=QUIET, reconnect=reconnect, **fields)


async def session_refused(channel: grpc.aio.Channel, url: str, **fields: Any) -> Refusal:
    return await opening_refused(channel, once(url, **fields))


async def refused(channel: grpc.aio.Channel, scheme: str, authority: str, path: str = "/x?y=z") -> Refusal:
    """By whichever way the scheme is of. A raw socket has no path."""
    if scheme in REQUESTS:
        return await request_refused(channel, f"{scheme}://{authority}{path}")
    return await session_refused(channel, f"{scheme}://{authority}{path if scheme in SESSIONS else ''}")
