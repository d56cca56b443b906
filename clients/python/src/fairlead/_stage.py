"""How far a channel is."""

import enum


class Stage(enum.Enum):
    """How far a channel is."""

    IDLE = enum.auto()
    """Not entered yet."""
    ENTERING = enum.auto()
    """Open or Join is written, or will be when there is a stream."""
    ATTACHED = enum.auto()
    """Attached has come: commands may be sent."""
    LEAVING = enum.auto()
    """Detach is written; Ended is awaited and all else dropped."""
    ENDED = enum.auto()
    """The end."""
