"""Who is called back when something happens to a session."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import TypeVar

from fairlead._queue import Event

_log = logging.getLogger("fairlead")

EventT = TypeVar("EventT", bound=Event)


class Observers:
    """Callbacks by the kind of event, called in the order in which they were added."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[type, Callable[[Event], object]]] = []

    def add(self, kind: type[EventT], callback: Callable[[EventT], object]) -> None:
        """Call back for events of this kind."""

        def call(event: Event) -> object:
            return callback(event) if isinstance(event, kind) else None

        self._callbacks.append((kind, call))

    def heed(self, kind: type) -> bool:
        """Whether somebody is called back for events of this kind."""
        return any(heeded is kind for heeded, _ in self._callbacks)

    def tell(self, event: Event, session: str) -> None:
        """Call back; what a callback raises is logged, with the session's name."""
        for kind, callback in self._callbacks:
            if isinstance(event, kind):
                try:
                    callback(event)
                except (Exception, asyncio.CancelledError):
                    _log.exception("session %s: a callback for %s failed", session, kind.__name__)


def require_plain(callback: Callable[..., object]) -> None:
    """Raise TypeError for what cannot be called, or would have to be awaited or iterated over to do anything."""
    if not callable(callback):
        raise TypeError(f"a callback is a function, not {type(callback).__name__}")
    for function in (callback, type(callback).__call__):
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "nobody would await this callback: give a plain function, which may make tasks, or read in a loop"
            )
