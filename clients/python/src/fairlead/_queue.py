"""What has come for one session and has not been read yet."""

import asyncio
from collections import deque
from collections.abc import Callable

from fairlead.entries import (
    Asked,
    Attached,
    Batch,
    CommandResult,
    Detached,
    Gap,
    LegChanged,
    StateChanged,
    TopicChanged,
)
from fairlead.errors import FairleadError
from fairlead.options import Queue

Event = StateChanged | LegChanged | CommandResult | TopicChanged | Gap | Asked | Attached | Detached
Item = Batch | Event

# What an entry that is no frame counts as, in bytes.
_EVENT_BYTES = 64


class EntryQueue:
    """A queue of batches and events with one consumer.

    It measures itself; the channel decides what a full queue means.
    """

    def __init__(self, marks: Queue, on_drained: Callable[[], None]) -> None:
        self._marks = marks
        self._on_drained = on_drained
        self._items: deque[tuple[Item, int, int]] = deque()
        self._frames = 0
        self._bytes = 0
        self._full = False
        self._waiter: asyncio.Future[None] | None = None
        self._finished = False
        self._error: FairleadError | None = None

    @property
    def full(self) -> bool:
        """Whether it has reached a high mark and not yet come down to the low mark, half of it."""
        return self._full

    @property
    def overfull(self) -> bool:
        """Whether it has reached four times a high mark."""
        return self._frames >= 4 * self._marks.frames or self._bytes >= 4 * self._marks.bytes

    @property
    def awaited(self) -> bool:
        """Whether somebody waits in get()."""
        return self._waiter is not None

    def put(self, item: Item) -> None:
        """Append an item; none is refused."""
        if isinstance(item, Batch):
            frames, size = len(item.payloads), sum(map(len, item.payloads))
        else:
            frames, size = 1, _EVENT_BYTES
        self._items.append((item, frames, size))
        self._frames += frames
        self._bytes += size
        if self._frames >= self._marks.frames or self._bytes >= self._marks.bytes:
            self._full = True
        self._wake()

    def finish(self, error: FairleadError | None) -> None:
        """End the queue: once it is empty, get() returns None, or raises the error. The first call counts."""
        if not self._finished:
            self._finished = True
            self._error = error
            self._wake()

    async def get(self) -> Item | None:
        """Take the next item; None when the queue has ended.

        Cancelling it is safe: nothing is taken before it returns. Raises the error that the queue was finished with,
        and RuntimeError if somebody else is waiting already.
        """
        while not self._items:
            if self._finished:
                if self._error is not None:
                    raise self._error
                return None
            if self._waiter is not None:
                raise RuntimeError("two tasks read one session; let one read and pass on")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item, frames, size = self._items.popleft()
        self._frames -= frames
        self._bytes -= size
        if self._full and 2 * self._frames <= self._marks.frames and 2 * self._bytes <= self._marks.bytes:
            self._full = False
            self._on_drained()
        return item

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
