"""A session that this program reads; what reading is for owners too."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from operator import length_hint
from types import TracebackType
from typing import Any, Self, TypeVar

from fairlead._channel import Channel
from fairlead._observers import require_plain
from fairlead._queue import Event, Item
from fairlead._stage import Stage
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

    on_frame or on_batch, called before the session is entered, takes the place of loops and queue: frames are given to
    a plain function as they arrive, and ended() waits for the end.
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
        # Whether frames go to a callback, and nothing to the queue.
        self._calls_back = False

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
        return self._channel.cursor.epoch

    @property
    def position(self) -> After | None:
        """Behind what this program has read: kept, and given as `start` to the next run, it goes on from there.

        Of a loop over frames the frame that was given last belongs to it, of batches() the whole batch. Keep it when
        the frame is dealt with: what was read after that will come again. None before the first loop has begun.

        With on_frame and on_batch what the callback was given belongs to it, from within the call on, unless the
        callback raised. None before the session was entered.
        """
        return None if self._epoch is None else After(self._epoch, self._reached - length_hint(self._payloads))

    @property
    def shard(self) -> str:
        """The gateway where the session is, or where it is being entered: as connect() was given it."""
        return self._channel.shard

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
        LimitReached ...), SessionEnded if it ends before it is OPEN, what a callback for frames raised until then,
        OpenTimeout after open_timeout, GatewayUnavailable if the gateway object is not connected. The session is left
        again if this raises or is cancelled. It can be entered once.
        """
        if self._channel.stage is not Stage.IDLE:
            raise RuntimeError("a session can be entered once: make another")
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._channel.enter()
                await self._entered().wait()
        except TimeoutError:
            await self._channel.leave()
            raise self._too_late() from None
        except asyncio.CancelledError:
            await self._channel.leave()
            raise
        # Else it has lived: its entries are there to be read, and why it ended comes behind them.
        if self._entered() in self._channel.too_soon:
            raise (
                self._channel.raised
                or self._channel.error
                or SessionEnded(Failure(Reason.CLOSED, message="closed while it was opened"))
            )

    async def aclose(self) -> None:
        """Leave the session: detach.

        When the last subscriber has left, the session closes: an anonymous one at once, a named one after its linger.
        Idempotent; returns within 5 s, whatever happens.
        """
        await self._channel.leave()

    async def ended(self) -> None:
        """Return when the session has ended because this program closed or left it; else raise why it ended.

        Raises what loops raise, SessionEnded above all, or what the callback of on_frame or on_batch raised. Any number
        of tasks may wait. Without such a callback somebody must read: the end comes behind the frames.
        """
        await self._channel.gone.wait()
        why = self._channel.raised or self._channel.error
        if why is not None:
            raise why

    def on_frame(self, callback: Callable[[Frame], object]) -> None:
        """Call back with each frame as it arrives, from the task that reads the gateway's stream: nothing is queued.

        To be called once, before the session is entered (`async with`), so that no frame comes before it: after that,
        or while a loop reads, it raises RuntimeError, and so does a loop over a session that has a callback.
        TypeError for a coroutine function, which nobody would await.

        Frames, and the callbacks of on_state, on_topic, on_gap and on_epoch, are called in the order in which the
        session has them. Inside the call, and after it, `position` is behind this frame.

        The callback must not block: no session of this gateway object gets anything, and no other task runs, before it
        returns. That is the only brake: what it is too slow for waits in the gateway's journal, as far as that goes;
        Queue's marks mean nothing. Commands are sent from tasks that it makes.

        A callback that raises is not called again: `position` stays before its frame, the exception is logged, the
        session is left (as by aclose()), and ended() raises the exception. Other sessions go on.
        """
        self._call_back(callback, partial(self._give_frames, callback))

    def on_batch(self, callback: Callable[[Batch], object]) -> None:
        """Call back with frames as columns, as they arrive: the cheapest way. Otherwise as on_frame does.

        A batch is handled as a whole: inside the call `position` is behind its last frame, and before its first one if
        the callback raises.
        """
        self._call_back(callback, partial(self._give_batch, callback))

    def on_state(self, callback: Callable[[StateChanged], object]) -> None:
        """Call back at each state change, when it arrives: before the frames queued ahead of it are read.

        The callback must not block. What it raises is logged. For state changes in order with frames use events(), or
        on_frame and on_batch, with which nothing is queued.
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
        if self._calls_back:
            raise RuntimeError("the session's frames go to its callback, and to no loop: await ended() in place of it")
        item = await self._channel.queue.get()
        if item is None:
            raise StopAsyncIteration
        self._note(item)
        return item

    def _note(self, item: Item) -> None:
        match item:
            case Batch():
                self._reached = item.last_sequence
            case StateChanged() | LegChanged() | CommandResult() | TopicChanged():
                self._reached = item.sequence
            case Gap():
                self._reached = item.to_sequence
            case Attached():
                self._epoch, self._reached = item.epoch, item.position

    def _call_back(self, callback: Callable[..., object], give: Callable[[Batch], None]) -> None:
        require_plain(callback)
        if self._calls_back:
            raise RuntimeError("the session's frames go to a callback already: have that one pass them on")
        if self._channel.stage is not Stage.IDLE or self._channel.queue.awaited:
            raise RuntimeError(
                "frames may have gone to the queue already: make the session, register the callback, and enter it then"
            )
        self._calls_back = True
        self._channel.deliver = partial(self._deliver, give)

    def _deliver(self, give: Callable[[Batch], None], item: Item) -> None:
        """Take the queue's place."""
        self._note(item)
        if isinstance(item, Batch):
            give(item)
        else:
            self._pass_over(item)

    def _give_frames(self, callback: Callable[[Frame], object], batch: Batch) -> None:
        attached = Stage.ATTACHED
        self._payloads = iter(batch.payloads)
        for frame in batch.iterate(self._payloads):
            try:
                callback(frame)
            except (Exception, asyncio.CancelledError) as raised:
                self._stop_before(frame.sequence, raised)
            if self._channel.stage is not attached:  # Because it raised, or made an eager task that left the session.
                return

    def _give_batch(self, callback: Callable[[Batch], object], batch: Batch) -> None:
        try:
            callback(batch)
        except (Exception, asyncio.CancelledError) as raised:
            self._stop_before(batch.first_sequence, raised)

    def _stop_before(self, sequence: int, raised: Exception | asyncio.CancelledError) -> None:
        self._payloads = iter(())
        self._reached = sequence - 1
        if isinstance(raised, asyncio.CancelledError):
            # From a future that was cancelled. Nobody cancels the task that reads, nor the one that waits for the end.
            cancelled, raised = raised, RuntimeError("the callback raised CancelledError")
            raised.__cause__ = cancelled
        self._channel.fail(raised, f"frame {sequence}")

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
