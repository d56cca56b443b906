"""A session that this program reads; what reading is for owners too."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from operator import length_hint
from types import TracebackType
from typing import Any, Self, TypeVar

from fairlead._channel import Channel, Stage
from fairlead._queue import Event, Item
from fairlead.entries import (
    Attached,
    Batch,
    CommandResult,
    Entry,
    EpochChanged,
    Frame,
    Gap,
    LegChanged,
    StateChanged,
    TopicChanged,
)
from fairlead.errors import Failure, OpenTimeout, SessionEnded
from fairlead.options import After
from fairlead.v1.enums import Phase, Reason, SessionState

_log = logging.getLogger("fairlead")

_T = TypeVar("_T")


class Reader:
    """A session as one of its subscribers sees it. Made by Gateway.join, used with `async with`.

    `async for frame in reader` yields frames; batches() and events() read the same queue in other shapes. One task
    reads at a time; a second gets RuntimeError. Whoever breaks out of a loop may begin another: nothing is lost in
    between. All loops end normally when this program closed or left the session, and raise SessionEnded, with the
    cause, when it ended otherwise.

    The client reads the gateway's stream whether or not this program reads: it queues up to the marks in Queue, and
    then has the gateway hold the session. Methods must be called on the event loop on which the gateway object lives.
    """

    def __init__(self, channel: Channel, open_timeout: float) -> None:
        self._channel = channel
        self._open_timeout = open_timeout
        # The batch that is being read frame by frame: an iterator over its frames, and below it the one over its
        # payloads, which shows how many are left.
        self._frames: Iterator[Frame] = iter(())
        self._payloads: Iterator[bytes] = iter(())
        self._batch: Batch | None = None
        # The journal of what was taken from the queue, and the last sequence of that, read or not.
        self._epoch: str | None = None
        self._reached = 0

    @property
    def name(self) -> str:
        """The session's name; an anonymous session has one after it was entered."""
        return self._channel.name

    @property
    def state(self) -> SessionState | None:
        """The newest state that has arrived, which may be ahead of what was read; None while not attached."""
        return self._channel.state

    @property
    def generation(self) -> int:
        """Of the transport that sends go to, as of the newest state; frames of another may come beside it."""
        return self._channel.generation

    @property
    def epoch(self) -> str | None:
        """Identity of the journal; with a frame's sequence, what After needs. None before the session was entered."""
        return self._channel.epoch

    @property
    def position(self) -> After | None:
        """Behind what this program has read: kept, and given as `start` to the next run, it goes on from there.

        Of a loop over frames the frame that was given last belongs to it, of batches() the whole batch. Keep it when
        the frame is dealt with: what was read after that will come again. None before the first loop has begun.
        """
        return None if self._epoch is None else After(self._epoch, self._reached - length_hint(self._payloads))

    @property
    def attached(self) -> bool:
        """Whether entries come at the moment; False without a stream to the gateway, and after the end."""
        return self._channel.stage is Stage.ATTACHED

    @property
    def setup_keys(self) -> tuple[str, ...]:
        """Keys of the setup steps that this client would open the session with again; empty for readers."""
        return tuple(self._channel.setup)

    async def __aenter__(self) -> Self:
        """Call open()."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Call aclose()."""
        await self.aclose()

    async def open(self) -> None:
        """Enter the session, and return when entries can come; an owner's when it is OPEN.

        Raises what the gateway refuses it with (InvalidRequest, PermissionDenied, SessionNotFound, SessionLive,
        LimitReached ...), SessionEnded if it ends before it is OPEN, OpenTimeout after open_timeout, GatewayUnavailable
        if the gateway object is not connected. The session is left again if this raises or is cancelled. It can be
        entered once.
        """
        if self._channel.stage is not Stage.IDLE:
            raise RuntimeError("a session can be entered once: make another")
        self._channel.enter()
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._entered().wait()
        except TimeoutError:
            await self._channel.leave()
            raise self._too_late() from None
        except asyncio.CancelledError:
            await self._channel.leave()
            raise
        # Else it has lived: its entries are there to be read, and why it ended comes behind them.
        if self._entered() in self._channel.too_soon:
            raise self._channel.error or SessionEnded(Failure(Reason.CLOSED, message="closed while it was opened"))

    async def aclose(self) -> None:
        """Leave the session: detach.

        When the last subscriber has left, the session closes: an anonymous one at once, a named one after its linger.
        Idempotent; returns within 5 s, whatever happens.
        """
        await self._channel.leave()

    def on_state(self, callback: Callable[[StateChanged], object]) -> None:
        """Call back at each state change, when it arrives: before the frames queued ahead of it are read.

        The callback must not block. What it raises is logged. For state changes in order with frames use events().
        """
        self._channel.observers.add(StateChanged, callback)

    def on_leg(self, callback: Callable[[LegChanged], object]) -> None:
        """Call back when a transport beside the session's own has come or gone, as on_state does."""
        self._channel.observers.add(LegChanged, callback)

    def on_topic(self, callback: Callable[[TopicChanged], object]) -> None:
        """Call back when a topic becomes stale or is heard again, as on_state does."""
        self._channel.observers.add(TopicChanged, callback)

    def on_gap(self, callback: Callable[[Gap], object]) -> None:
        """Call back at each gap, when it arrives, as on_state does."""
        self._channel.observers.add(Gap, callback)

    def on_epoch(self, callback: Callable[[EpochChanged], object]) -> None:
        """Call back when the session goes on in another journal, as on_state does."""
        self._channel.observers.add(EpochChanged, callback)

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Yield frames. Cancelling the wait loses nothing.

        Events between the frames are passed over; a gap that no on_gap callback takes is logged as a warning.
        """
        return _Iteration(self._next_frame)

    def batches(self) -> AsyncIterator[Batch]:
        """Yield frames as columns: the cheapest way to read a busy session. Otherwise as iterating over frames."""
        return _Iteration(self._next_batch)

    def events(self) -> AsyncIterator[Entry]:
        """Yield everything in the order in which it happened: frames, and the events between them."""
        return _Iteration(self._next_entry)

    async def _next_frame(self) -> Frame:
        while True:
            # A loop in place of next(): it costs less when there is a frame, and needs no exception when there is none.
            for frame in self._frames:
                return frame
            self._begin(await self._fetch_batch())

    async def _next_batch(self) -> Batch:
        left = length_hint(self._payloads)
        if left and self._batch is not None:
            self._frames = iter(())
            self._payloads = iter(())
            return self._batch.tail(left)
        return await self._fetch_batch()

    async def _next_entry(self) -> Entry:
        while True:
            for frame in self._frames:
                return frame
            item = await self._take()
            if not isinstance(item, Batch):
                return item
            self._begin(item)

    def _begin(self, batch: Batch) -> None:
        self._batch = batch
        self._payloads = iter(batch.payloads)
        self._frames = batch.iterate(self._payloads)

    async def _fetch_batch(self) -> Batch:
        while True:
            item = await self._take()
            if isinstance(item, Batch):
                return item
            self._pass_over(item)

    async def _take(self) -> Item:
        item = await self._channel.queue.get()
        match item:
            case None:
                raise StopAsyncIteration
            case Batch():
                self._reached = item.last_sequence
            case StateChanged() | LegChanged() | CommandResult() | TopicChanged():
                self._reached = item.sequence
            case Gap():
                self._reached = item.to_sequence
            case Attached():
                self._epoch, self._reached = item.epoch, item.position
        return item

    def _pass_over(self, event: Event) -> None:
        if isinstance(event, Gap) and not self._channel.observers.heed(Gap):
            _log.warning("session %s: entries %d to %d are lost", self.name, event.from_sequence, event.to_sequence)
        if isinstance(event, EpochChanged) and not self._channel.observers.heed(EpochChanged):
            _log.warning("session %s: goes on in another journal; what came in between is not known", self.name)

    def _entered(self) -> asyncio.Event:
        return self._channel.attached

    def _too_late(self) -> OpenTimeout:
        last = self._channel.last_failure or Failure(phase=Phase.NOT_SENT, message="no answer from the gateway")
        state = self.state.name if self.state is not None else "not attached"
        return OpenTimeout(
            Failure(
                last.reason,
                last.phase,
                f"session {self.name!r} was not entered within {self._open_timeout} s ({state}): {last.message}",
                last.retry_after,
            )
        )


class _Iteration(AsyncIterator[_T]):
    """An iteration without a state of its own; a generator would keep what it holds when a loop is broken out of."""

    def __init__(self, take: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self._take = take

    def __anext__(self) -> Coroutine[Any, Any, _T]:
        return self._take()
