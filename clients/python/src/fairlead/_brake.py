"""When the gateway is to hold a session."""

from collections.abc import Callable

from fairlead._commands import Commands
from fairlead._queue import EntryQueue
from fairlead.errors import Failure
from fairlead.v1.enums import Reason


class Brake:
    """Has the gateway hold a session whose queue is full, and go on when it is read.

    A result is an entry and travels behind the frames: while one is awaited the session is not held, else a program
    that sends while its queue is full would wait for ever. That ends when the queue is overfull.
    """

    def __init__(self, queue: EntryQueue, commands: Commands, tell: Callable[[bool], bool]) -> None:
        self.awaiting = 0
        """How many callers wait for results."""
        self._queue = queue
        self._commands = commands
        # Tells the gateway; False if the channel is not attached.
        self._tell = tell
        self._holding = False

    def reset(self) -> None:
        """Begin anew on another stream, where nothing is held."""
        self._holding = False

    def weigh(self) -> None:
        """Tell the gateway to hold the session, or to go on, if that has changed."""
        if self.awaiting and self._queue.overfull:
            self._commands.give_up(
                Failure(Reason.LIMIT_REACHED, message="the session's queue filled up before the result came: read it")
            )
        hold = self._queue.full and (not self.awaiting or self._queue.overfull)
        if hold != self._holding and self._tell(hold):
            self._holding = hold
