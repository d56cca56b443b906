"""Where a channel is in its session's journal."""

from fairlead.options import After, Start, StartFrom
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import StartOutcome


class Cursor:
    """The last entry that a channel was given, and of which journal."""

    def __init__(self, start: StartFrom) -> None:
        self.epoch: str | None = None
        # Whether what comes is of a former journal: entries of that tell nothing of the session as it is.
        self.former = False
        self.sequence = 0
        self._start = start

    @property
    def wanted(self) -> StartFrom:
        """Where the next Open or Join is to begin."""
        return self._start if self.epoch is None else After(self.epoch, self.sequence)

    def attach(self, message: pb.Attached) -> bool:
        """Go where Attached says; return whether that is another journal than before."""
        outcome, wanted = StartOutcome(message.start), self.wanted
        changed = outcome is StartOutcome.EPOCH_CHANGED or (self.epoch is not None and self.epoch != message.epoch)
        self.enter(message)
        if isinstance(wanted, After) and outcome is StartOutcome.RESUMED:
            self.sequence = wanted.sequence
        elif outcome is StartOutcome.LIVE and wanted is Start.HEAD:
            self.sequence = message.head_sequence
        return changed

    def enter(self, message: pb.Attached) -> None:
        """Go before the oldest entry of a journal."""
        self.epoch = message.epoch
        self.former = message.former
        self.sequence = message.oldest_sequence - 1

    def advance(self, first: int, last: int) -> bool:
        """Go behind these entries; False if they are not the next ones."""
        if first != self.sequence + 1 or last < first:
            return False
        self.sequence = last
        return True
