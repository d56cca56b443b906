"""How long to wait before trying again."""

import asyncio
import random
from collections.abc import Callable

_FIRST_CAP = 0.05
_LAST_CAP = 5.0


def pause(attempt: int) -> float:
    """Give the pause before an attempt, counted from 0, in seconds.

    Drawn evenly between zero and a cap that doubles from 0.05 s to 5 s, so that the adapters of a restarted gateway do
    not come back all at once.
    """
    return random.uniform(0, min(_LAST_CAP, _FIRST_CAP * 2 ** min(attempt, 20)))  # noqa: S311 - no secret


class Reentry:
    """When a session that was refused for a passing reason is tried again, and for how long."""

    def __init__(self) -> None:
        self._attempt = 0
        self._ends: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def patient(self, patience: float) -> bool:
        """Whether less than `patience` seconds have passed since this was first asked; reset() begins anew."""
        now = asyncio.get_running_loop().time()
        if self._ends is None:
            self._ends = now + patience
        return now < self._ends

    def schedule(self, enter: Callable[[], None]) -> None:
        """Call `enter` after the next pause."""
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(pause(self._attempt), enter)
        self._attempt += 1

    def cancel(self) -> None:
        """Stop what is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reset(self) -> None:
        """Forget: the session was entered, or the stream is another."""
        self.cancel()
        self._attempt = 0
        self._ends = None
