"""Where a session is entered: on which gateway, as which channel of its stream, at first and when it comes back."""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from fairlead._backoff import Reentry
from fairlead._cursor import Cursor
from fairlead._entrance import Entrance
from fairlead._link import Link
from fairlead._ports import ChannelPort
from fairlead._route import Route
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import Reason

if TYPE_CHECKING:
    import asyncio

    from fairlead.entries import CommandResult

_log = logging.getLogger("fairlead")

# How long the client goes on entering a session that it had when the gateway refuses for a reason that passes.
REENTRY_PATIENCE_S = 90.0

_PASSING = {Reason.SESSION_NOT_FOUND, Reason.LIMIT_REACHED, Reason.DRAINING}


class Place:
    """The gateway where a session is, or is to be entered, and what is said to it there.

    Owned by the session's channel, which decides whether it is to be entered; this says where and when.
    """

    def __init__(self, channel: ChannelPort, route: Route, entrance: Entrance, cursor: Cursor) -> None:
        self._channel = channel
        self._route = route
        self._link = route.home
        # Where it was looked for without success; of a session that others own nobody knows where it has moved.
        self._tried: set[Link] = set()
        self._entrance = entrance
        self._cursor = cursor
        self._number = 0
        # Of the Open or Join on this stream; 0: there is none, or it was refused, or the session has ended since.
        self._entrance_id = 0
        # Whether the session may be live because of an Open of ours.
        self._returning = False
        self._reentry = Reentry()

    @property
    def shard(self) -> str:
        """The gateway's name."""
        return self._link.name

    @property
    def owned(self) -> str:
        """The session's name, if it has one that was given, and this program owns it; else empty."""
        return "" if self._entrance.joins else self._entrance.session

    @property
    def written(self) -> bool:
        """Whether an Open or Join is written to the stream that is there, and neither refused nor over."""
        return self._link.streaming and self._entrance_id != 0

    def has_room(self, size: int) -> bool:
        """Whether a command of so many bytes may still be submitted."""
        return self._link.has_room(size)

    def next_id(self) -> int:
        """Give an id for a command."""
        return self._link.next_id()

    def submit(self, command: pb.Command, size: int = 0, result: "asyncio.Future[CommandResult] | None" = None) -> None:
        """Write a command of this channel's; see Link.submit."""
        command.channel = self._number
        self._link.submit(command, size, result)

    def withdraw(self, command_id: int) -> bool:
        """Take a command back; False if it was handed to gRPC already."""
        return self._link.withdraw(command_id)

    # How it is entered.

    async def seek(self) -> None:
        """Ask the gateways that are there whether one has the session, if there are several."""
        if self._entrance.session and self._entrance.own:
            await self._route.seek(self._entrance.session)

    def board(self) -> None:
        """Enter at first, now or when there is a stream. Raises GatewayUnavailable if there will be none."""
        self._board(self._route.place())

    def enter(self) -> None:
        """Write Open or Join, if there is a stream."""
        if not self._link.streaming:
            return
        self._reentry.cancel()
        self._entrance_id = self._link.next_id()
        command = self._entrance.command(self._number, self._entrance_id, self._cursor.wanted)
        self._link.submit(command, command.ByteSize())

    def leave(self) -> None:
        """Forget it: the channel has ended."""
        self._reentry.cancel()
        self._link.remove(self._number)

    # What becomes of it.

    def decides(self, result: "CommandResult") -> bool:
        """Whether a result is that of Open or Join."""
        return result.id == self._entrance_id

    def entered(self) -> None:
        """Note that it is attached."""
        self._returning = True
        self._reentry.reset()
        self._tried.clear()

    def refused(self, reason: Reason) -> bool:
        """Enter elsewhere, or here again later, if that may help; False if not."""
        self._entrance_id = 0
        if reason is Reason.SESSION_NOT_FOUND:
            self._tried.add(self._link)
            if self.move(self._tried):
                return True
        elif reason is Reason.DRAINING and self.move():
            return True
        if not (self._returning and reason in _PASSING and self._reentry.patient(REENTRY_PATIENCE_S)):
            return False
        self._tried.clear()
        # Not as late as retry_after: a gateway that drains is gone then at the latest, and its successor, or another,
        # may be there long before. The end of the stream, or the next refusal, finds it.
        self._reentry.schedule(self._channel.stream_up)
        return True

    def ended(self) -> None:
        """Note that the gateway has ended it."""
        self._entrance_id = 0

    def drained(self) -> bool:
        """Whether it is to be entered again, as another gateway will take the place of this one."""
        return self._reentry.patient(REENTRY_PATIENCE_S)

    def come_back(self) -> None:
        """Enter elsewhere, or here again later."""
        if not self.move():
            self._reentry.schedule(self._channel.stream_up)

    def lost(self) -> None:
        """Note that the stream is lost."""
        self._returning = self._returning or self._entrance_id != 0
        self._entrance_id = 0
        self._reentry.reset()

    def move(self, tried: Collection[Link] = ()) -> bool:
        """Enter on a gateway other than this and those tried; False if there is none.

        Called while nothing of it is on this one.
        """
        link = self._route.elsewhere({self._link, *tried}) or (self._route.later() if self._link.refused else None)
        if link is None:
            return False
        _log.info("session %s moves from gateway %s to %s", self._channel.name, self._link.name, link.name)
        self._link.remove(self._number)
        if self.owned and self._returning:
            self._link.left.add(self.owned)
        self._reentry.cancel()
        self._board(link)
        return True

    def _board(self, link: Link) -> None:
        self._link = link
        self._number = link.register(self._channel)
        self.enter()
