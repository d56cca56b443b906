"""What a wrong request is, and short ways to write one."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import Command, Heartbeat, Join, Open, ReconnectPolicy, Send, SetupStep, Target
from fairlead.v1.types_pb2 import Header, QuotaCharge
from tests.e2e.attach import Attachment, Status

# So low that a test reaches each of them.
LIMITS = {
    "sessions": 3,
    "streams": 3,
    "channels_per_stream": 4,
    "subscribers_per_session": 3,
    "message_bytes": "256KiB",
    "journal_bytes": "1MiB",
    "send_queue_bytes": "64KiB",
    "total_send_queue_bytes": "96KiB",
    "setup_steps": 3,
    "setup_bytes": "1KiB",
    "header_bytes": 512,
    "url_bytes": 512,
    "linger": "1s",
}

# Field 1000, a varint: no message has it.
UNKNOWN_FIELD = b"\xc0\x3e\x01"
CHARGE = QuotaCharge(key="orders")
ZERO = Duration()
NOT_AN_ENUM_VALUE = cast(Any, 99)


@dataclass(frozen=True)
class Wrong:
    """A command that is refused while the other channels of its stream go on."""

    name: str
    answer: str  # As docs/errors.md has it.
    says: str  # What the message must contain.
    # In it and in `before`, {ws} and {tcp} stand for URLs of the exchange, {exchange} for host and port of the first.
    command: Command
    url: str = "{ws}/idle"  # Put into an Open that has no target; empty: leave it without.
    before: tuple[Command, ...] = field(default=())  # Commands of the same stream that must succeed first.

    @property
    def sent(self) -> str:
        return str(self.command.WhichOneof("action") or "command").capitalize().replace("Set_target", "SetTarget")


@dataclass(frozen=True)
class Place:
    """Where calls are made: a gateway with a live session "good", which is open on `stream`."""

    channel: grpc.aio.Channel
    stream: Attachment
    ws: str
    http: str


@dataclass(frozen=True)
class WrongCall:
    """A request that ends its whole RPC."""

    name: str
    sent: str
    answer: str  # As docs/errors.md has it: the code, and the Failure's reason if there is a Failure.
    says: str
    make: Callable[[Place], Awaitable[Status]]


def refused(reason: str) -> str:
    return f"CommandResult {reason}"


def opening(
    name: str, reason: str, says: str, url: str = "{ws}/idle", before: Iterable[Command] = (), **fields: Any
) -> Wrong:
    return Wrong(name, refused(reason), says, Command(open=Open(**fields)), url, tuple(before))


def targeting(name: str, url: str, reason: str, says: str) -> Wrong:
    return Wrong(name, refused(reason), says, Command(open=Open()), url)


def header(name: str, headers: list[Header], says: str, reason: str = "INVALID_FIELD") -> Wrong:
    return opening(name, reason, says, url="", target=Target(url="{ws}/idle", headers=headers))


def step(name: str, reason: str, says: str, *steps: SetupStep) -> Wrong:
    return opening(name, reason, says, setup=steps)


def sending(name: str, reason: str, says: str, **fields: Any) -> Wrong:
    return Wrong(name, refused(reason), says, Command(send=Send(**fields)))


def beating(name: str, says: str, **fields: Any) -> Wrong:
    return opening(name, "INVALID_FIELD", says, heartbeat=Heartbeat(**fields))


def reconnecting(name: str, says: str, reason: str = "INVALID_FIELD", **fields: Any) -> Wrong:
    return opening(name, reason, says, reconnect=ReconnectPolicy(**fields))


def joining(name: str, reason: str, says: str, before: Iterable[Command] = (), **fields: Any) -> Wrong:
    return Wrong(name, refused(reason), says, Command(join=Join(**fields)), before=tuple(before))


def good_step(key: str = "login", **fields: Any) -> SetupStep:
    return SetupStep(key=key, payload=b"x", **fields)
