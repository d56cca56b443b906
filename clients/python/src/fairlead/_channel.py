"""One session on the Attach stream: its cursor, its queue, and coming back after a loss."""

import asyncio
import logging
from collections.abc import Callable

from fairlead._brake import Brake
from fairlead._commands import Commands, SetupChange, failed
from fairlead._cursor import Cursor
from fairlead._entrance import Entrance
from fairlead._observers import Observers
from fairlead._place import Place
from fairlead._queue import EntryQueue, Event, Item
from fairlead._route import Route
from fairlead._stage import Stage
from fairlead.entries import (
    Asked,
    Attached,
    Batch,
    CommandResult,
    Detached,
    EpochChanged,
    Gap,
    LegChanged,
    StateChanged,
    TopicChanged,
)
from fairlead.errors import (
    Failure,
    FairleadError,
    GatewayUnavailable,
    OutcomeUnknown,
    SendFailed,
    SessionEnded,
    error_of_end,
    error_of_refusal,
)
from fairlead.options import Queue, StartFrom, Step
from fairlead.v1 import session_pb2 as pb
from fairlead.v1.enums import FrameKind, Outcome, Reason, SessionState

_log = logging.getLogger("fairlead")

# How long detaching waits for the gateway's word. It matters to nobody but the log.
LEAVE_TIMEOUT_S = 5.0


class Channel:
    """The client's side of one channel; Session and Reader are its faces.

    Owned by its face, called by the link from the task that reads the stream. Everything happens on one event loop.
    """

    def __init__(
        self, route: Route, entrance: pb.Open | pb.Join, start: StartFrom, setup: dict[str, Step], marks: Queue
    ) -> None:
        self.stage = Stage.IDLE
        self.name = entrance.session
        self.cursor = Cursor(start)
        self.state: SessionState | None = None
        self.generation = 0
        self.last_failure: Failure | None = None
        self.error: FairleadError | None = None
        self.setup = setup
        self.queue = EntryQueue(marks, on_drained=self._drained)
        self.commands = Commands(setup)
        self._brake = Brake(self.queue, self.commands, self._tell_hold)
        self.observers = Observers()
        # Who takes what comes. A face that calls back with frames puts itself in place of the queue.
        self.deliver: Callable[[Item], None] = self._enqueue
        # What its callback raised.
        self.raised: Exception | None = None
        self.attached = asyncio.Event()
        self.opened = asyncio.Event()
        self.gone = asyncio.Event()
        self.too_soon: set[asyncio.Event] = set()
        self._place = Place(self, route, Entrance(entrance, setup), self.cursor)
        self._pong: Callable[[pb.Pong], None] = lambda _: None
        self._on_end: Callable[[], None] = lambda: None
        self._closing = False

    # Called by the faces.

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.stage is Stage.ENDED

    @property
    def shard(self) -> str:
        """The name of the gateway where it is, or will be entered."""
        return self._place.shard

    @property
    def owned(self) -> str:
        """The session's name, if it has one that was given, and this program owns it; else empty."""
        return self._place.owned

    async def enter(self) -> None:
        """Write Open or Join now, or when there is a stream. Raises GatewayUnavailable if there will be none."""
        self.stage = Stage.ENTERING
        await self._place.seek()
        if self.ended:  # Left meanwhile.
            return
        try:
            self._place.board()
        except FairleadError:
            self.stage = Stage.IDLE
            raise

    def on_pong(self, callback: Callable[[pb.Pong], None]) -> None:
        """Tell who takes pongs."""
        self._pong = callback

    def on_end(self, callback: Callable[[], None]) -> None:
        """Tell who is to know that it is over."""
        self._on_end = callback

    async def wait_attached(self, max_wait: float) -> None:
        """Return when commands may be sent.

        Raises SendFailed when max_wait seconds have passed, or the session has ended.
        """
        try:
            async with asyncio.timeout(max_wait):
                while self.stage is Stage.ENTERING and max_wait > 0:
                    await self.attached.wait()
        except TimeoutError:
            raise failed(Reason.WAIT_EXPIRED, f"no stream to the gateway within {max_wait} s") from None
        if self.stage is Stage.ENTERING:
            raise failed(Reason.NOT_OPEN, "there is no stream to the gateway at the moment, and max_wait is 0")
        if self.stage is not Stage.ATTACHED:
            cause = self.error.failure if self.error else Failure(Reason.DETACHED, message="this program left it")
            raise failed(cause.reason, f"the session is not attached: {cause.message}")

    def check_room(self, size: int) -> None:
        """Raise SendFailed if a command of so many bytes would have to wait where nothing may pile up."""
        if self.queue.overfull:
            raise failed(Reason.LIMIT_REACHED, "the session's queue is full, and results travel behind frames: read it")
        if not self._place.has_room(size):
            raise failed(Reason.LIMIT_REACHED, "the gateway takes no more commands at the moment")

    async def perform(
        self, command: pb.Command, size: int = 0, change: SetupChange | None = None, *, final: bool = False
    ) -> CommandResult:
        """Write a command and return its result. Raises SendFailed or OutcomeUnknown.

        Cancelling it takes the command back if it has not been handed to gRPC, unless it is final; else its result is
        dropped when it comes.
        """
        command.id = self._place.next_id()
        result = self.commands.add(command.id, change)
        self._place.submit(command, size, None if final else result)
        self._brake.awaiting += 1
        self._brake.weigh()
        try:
            return await result
        except asyncio.CancelledError:
            if final or self._place.withdraw(command.id):
                self.commands.withdraw(command.id)
            raise
        finally:
            self._brake.awaiting -= 1
            self._brake.weigh()

    async def close(self, code: int, reason: str) -> None:
        """Close the session for all and wait for its end.

        Raises SendFailed if refused, OutcomeUnknown if the stream is lost.
        """
        self._closing = True
        try:
            await self.perform(pb.Command(close=pb.Close(code=code, reason=reason)), final=True)
        except (SendFailed, OutcomeUnknown) as error:
            if isinstance(error, SendFailed) and self.stage is not Stage.ENDED:
                self._closing = False
                raise
            # Ended may come before the result, or for another reason at the same time.
            if isinstance(self.error, GatewayUnavailable):
                raise
        await self.gone.wait()

    async def leave(self) -> None:
        """Detach. Idempotent; ends after LEAVE_TIMEOUT_S at the latest."""
        if self.stage in {Stage.ENTERING, Stage.ATTACHED} and self._place.written:
            self.stage = Stage.LEAVING
            self.queue.finish(None)
            self._lose_commands(Failure(Reason.DETACHED, message="this program left the session"))
            self._place.submit(pb.Command(detach=pb.Detach()))
        try:
            if self.stage is Stage.LEAVING:
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await self.gone.wait()
        except TimeoutError:
            _log.warning("the gateway did not confirm that session %s was left", self.name)
        finally:
            self.end(None)

    def fail(self, raised: Exception, what: str) -> None:
        """Leave and end at once: this program's callback for `what` has raised. Called by deliver."""
        _log.error("session %s: the callback for %s failed, and the session is left", self.name, what, exc_info=raised)
        if self.stage is not Stage.ENDED:
            self.raised = raised
            self._break_off(Failure(Reason.DETACHED, message=f"this program's callback for {what} raised {raised!r}"))

    # Called by the link.

    def stream_up(self) -> None:
        """Enter the session: a new stream is there."""
        if self.stage is Stage.ENTERING:
            self._place.enter()

    def stream_lost(self, error: FairleadError) -> None:
        """Prepare to come back: the stream is gone."""
        if self.stage is Stage.LEAVING:
            self.end(None)
        elif self._closing:
            self.end(error)
        else:
            self._go_away(error)
            self._place.lost()

    def move_on(self) -> None:
        """Enter elsewhere: the gateway is gone."""
        if self.stage is Stage.ENTERING:
            self._place.move()

    def end(self, error: FairleadError | None) -> None:
        """End for good, with an error unless this program wanted it. Idempotent."""
        if self.stage is Stage.ENDED:
            return
        self.stage = Stage.ENDED
        self.error = error
        self._place.leave()
        self._lose_commands(
            error.failure if error else Failure(Reason.CLOSED, message="this program closed the session")
        )
        self.queue.finish(error)
        self._on_end()
        # Who waits for these waits no longer, and can see which of them never came about.
        self.too_soon = {event for event in (self.attached, self.opened) if not event.is_set()}
        for event in (self.attached, self.opened, self.gone):
            event.set()

    def on_frames(self, run: pb.Run, payloads: list[bytes], received_at: list[int]) -> None:
        """Take frames."""
        if self.stage is not Stage.ATTACHED:
            return
        if not len(payloads) == len(received_at) == run.count:
            self._violated(f"a run of {run.count} frames has {len(payloads)} payloads and {len(received_at)} times")
        elif run.count and self._advance(run.first_sequence, run.first_sequence + run.count - 1):
            self.deliver(Batch(payloads, received_at, run.first_sequence, run.generation, FrameKind(run.kind)))

    def on_event(self, kind: str, event: pb.Event) -> None:
        """Take an event that is not a batch."""
        if kind == "ended":
            self._on_ended(event.ended)
        elif kind == "command_result":
            self._on_command_result(event.command_result)
        elif kind == "attached" and self.stage is Stage.ENTERING:
            self._on_attached(event.attached)
        elif self.stage is Stage.ATTACHED:
            self._on_occurrence(kind, event)

    def _on_occurrence(self, kind: str, event: pb.Event) -> None:
        """Take what only an attached channel gets."""
        if kind == "attached":
            self._on_next_journal(event.attached)
        elif kind == "state_changed":
            self._on_state_changed(StateChanged.from_proto(event.state_changed))
        elif kind in {"topic_changed", "leg_changed"}:
            topic = kind == "topic_changed"
            entry = TopicChanged.from_proto(event.topic_changed) if topic else LegChanged.from_proto(event.leg_changed)
            if self._advance(entry.sequence, entry.sequence):
                self._emit(entry)
        elif kind == "gap":
            gap = Gap(event.gap.from_sequence, event.gap.to_sequence)
            if self._advance(gap.from_sequence, gap.to_sequence):
                self._emit(gap)
        elif kind == "asked":
            self._emit(Asked.from_proto(event.asked))
        elif kind == "pong":
            self._pong(event.pong)

    def _on_attached(self, message: pb.Attached) -> None:
        changed = self.cursor.attach(message)
        self.name = message.session
        self.stage = Stage.ATTACHED
        self._place.entered()
        self._brake.reset()
        self.attached.set()
        self._enter_journal(message, EpochChanged if changed else Attached)
        self._brake.weigh()

    def _on_next_journal(self, message: pb.Attached) -> None:
        if not self.cursor.former:
            self._violated("a journal ended that was not a former one")
            return
        self.cursor.enter(message)
        self._enter_journal(message, EpochChanged)

    def _enter_journal(self, message: pb.Attached, kind: type[Attached]) -> None:
        self.generation = message.generation
        self._emit(kind.from_proto(message, self.cursor.sequence))
        self._enter_state(SessionState(message.state))

    def _on_state_changed(self, event: StateChanged) -> None:
        if not self._advance(event.sequence, event.sequence):
            return
        if self.cursor.former:
            self._emit(event)
        else:
            self.generation = event.generation
            self.last_failure = event.cause or self.last_failure
            self._emit(event)
            self._enter_state(event.state)

    def _enter_state(self, state: SessionState) -> None:
        self.state = state
        if state is SessionState.OPEN:
            self.opened.set()

    def _on_command_result(self, message: pb.CommandResult) -> None:
        result = CommandResult.from_proto(message)
        if result.sequence:
            if self.stage is not Stage.ATTACHED or not self._advance(result.sequence, result.sequence):
                return
            self._emit(result)
            if self.cursor.former:  # Its ids are those of commands that are over.
                return
        elif self._place.decides(result) and self.stage in {Stage.ENTERING, Stage.LEAVING}:
            if result.outcome is Outcome.NOT_SENT:
                self._on_refused(result.failure or Failure(message="refused without a reason"))
            return
        self.commands.settle(result)

    def _on_refused(self, failure: Failure) -> None:
        if self.stage is Stage.LEAVING:
            self.end(None)
        elif not self._place.refused(failure.reason):
            self.end(error_of_refusal(failure) if self.cursor.epoch is None else error_of_end(failure))

    def _on_ended(self, message: pb.Ended) -> None:
        self._place.ended()
        failure = Failure.from_proto(message.cause)
        if self.stage is Stage.LEAVING or (self._closing and message.session_closed):
            self.end(None)
        elif failure.reason is Reason.DRAINING and self._place.drained():
            self._go_away(error_of_refusal(failure))
            self._place.come_back()
        else:
            self.end(error_of_end(failure))

    def _go_away(self, error: FairleadError) -> None:
        if self.stage is Stage.ATTACHED:
            self._emit(Detached(error))
        self.stage = Stage.ENTERING
        self.state = None
        self.attached.clear()
        self._lose_commands(error.failure)

    # Small steps.

    def _advance(self, first: int, last: int) -> bool:
        if not self.cursor.advance(first, last):
            self._violated(f"sequences {first} to {last} came after {self.cursor.sequence}")
            return False
        return True

    def _violated(self, what: str) -> None:
        # Going on would hide a loss, or give something twice.
        _log.error("session %s: the gateway broke the protocol: %s", self.name, what)
        self._break_off(Failure(message=f"the gateway broke the protocol: {what}"))

    def _break_off(self, failure: Failure) -> None:
        if self.stage is Stage.ATTACHED:
            self._place.submit(pb.Command(detach=pb.Detach()))
        self.end(SessionEnded(failure))

    def _emit(self, event: Event) -> None:
        self.deliver(event)
        self.observers.tell(event, self.name)

    def _enqueue(self, item: Item) -> None:
        self.queue.put(item)
        if self.queue.full:
            self._brake.weigh()

    def _drained(self) -> None:
        self._brake.weigh()

    def _tell_hold(self, on: bool) -> bool:
        if self.stage is not Stage.ATTACHED:
            return False
        self._place.submit(pb.Command(hold=pb.Hold(on=on)))
        return True

    def _lose_commands(self, failure: Failure) -> None:
        self.commands.lose(failure, self._place.withdraw)
