"""What a session told of its frames and transports, kept by a task that reads it, and whether it all adds up."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import fairlead
from fairlead import Frame, LegChanged, SessionState, StateChanged
from tests.e2e.processes import eventually


@dataclass
class Account:
    """Frames of a feed have a whole number: {"seq": N} or {"sequence": N}; others are kept as they are."""

    numbers: dict[int, list[int]] = field(default_factory=dict)
    """Of each number the generations that brought it, in order."""
    journalled: Counter[int] = field(default_factory=Counter)
    """Frames by generation."""
    heard: list[int] = field(default_factory=list)
    """When each frame came to the gateway, ns since 1970."""
    others: list[Frame] = field(default_factory=list)
    """Frames without a number."""
    entries: list[StateChanged | LegChanged | fairlead.CommandResult | fairlead.TopicChanged] = field(
        default_factory=list
    )
    disordered: list[str] = field(default_factory=list)
    """Numbers that one transport brought out of order."""
    _newest: Counter[int] = field(default_factory=Counter)

    def take(self, entry: fairlead.Entry) -> None:
        match entry:
            case Frame():
                self.journalled[entry.generation] += 1
                self.heard.append(entry.received_at)
                message = json.loads(entry.payload)
                number = message.get("seq", message.get("sequence"))
                if type(number) is int:
                    self._number(number, entry.generation)
                else:
                    self.others.append(entry)
            case StateChanged() | LegChanged() | fairlead.CommandResult() | fairlead.TopicChanged():
                self.entries.append(entry)
            case fairlead.Gap() | fairlead.Detached():
                raise AssertionError(f"the test is too slow for its journal, or its stream is lost: {entry}")

    def _number(self, number: int, generation: int) -> None:
        self.numbers.setdefault(number, []).append(generation)
        if number <= self._newest[generation]:
            self.disordered.append(f"{number} after {self._newest[generation]} on {generation}")
        self._newest[generation] = number

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits until the condition holds of what was read."""
        try:
            await eventually(holds, what)
        except AssertionError as late:
            raise AssertionError(f"{late}; told: {self.told[-30:]}") from None

    @property
    def states(self) -> list[StateChanged]:
        return [entry for entry in self.entries if isinstance(entry, StateChanged)]

    @property
    def legs(self) -> list[LegChanged]:
        return [entry for entry in self.entries if isinstance(entry, LegChanged)]

    def told_entries(self) -> list[StateChanged | LegChanged]:
        return [entry for entry in self.entries if isinstance(entry, StateChanged | LegChanged)]

    @property
    def told(self) -> list[str]:
        """States and legs in short, in order: "OPEN 1", "leg OPENING 2 CAUSE"."""
        return [
            " ".join(
                filter(
                    None,
                    [
                        "leg" if isinstance(entry, LegChanged) else "",
                        entry.state.name,
                        str(entry.generation),
                        entry.cause.reason.name if entry.cause else "",
                    ],
                )
            )
            for entry in self.entries
            if isinstance(entry, StateChanged | LegChanged)
        ]

    def after_open(self) -> list[str]:
        """What was told behind the first OPEN."""
        told = self.told
        return told[told.index("OPEN 1") + 1 :]

    def leg(self, state: SessionState, generation: int) -> LegChanged | None:
        """The last thing of this kind that was told of a leg."""
        found = [leg for leg in self.legs if (leg.state, leg.generation) == (state, generation)]
        return found[-1] if found else None

    def rotations(self) -> list[StateChanged]:
        return [state for state in self.states if state.overlap is not None]

    def missing(self, last: int) -> list[int]:
        """Of all numbers from the first one that came on, up to `last`."""
        return sorted(set(range(min(self.numbers, default=last), last + 1)) - set(self.numbers))

    def repeated(self) -> dict[int, list[int]]:
        return {number: brought for number, brought in self.numbers.items() if len(brought) > 1}

    async def whole(self, last: int) -> None:
        """Waits for all numbers up to `last`; checks that none is missing, none came twice, and their order."""
        await self.until(lambda: last in self.numbers and not self.missing(last), f"all numbers up to {last}")
        assert not self.repeated()
        assert not self.disordered

    def never_down(self) -> None:
        """Since it was OPEN, the session was nothing else."""
        states = self.states
        first = next(at for at, state in enumerate(states) if state.state is SessionState.OPEN)
        for state in states[first + 1 :]:
            assert state.state is SessionState.OPEN, self.told
            assert state.overlap is not None, self.told
        generations = [state.generation for state in states[first:]]
        assert generations == sorted(set(generations)), "generations never go back, and never repeat"

    def adds_up(self, summary: fairlead.SessionSummary) -> None:
        """Of each transport: what is in the journal is what it received, less copies. The feed stands still.

        For a session that never was without a transport: of the ends of the others nothing is told.
        """
        tallies = self.ends_add_up(summary)
        assert set(self.journalled) <= set(tallies), "nobody told of the end of a transport"
        assert summary.received_frames == sum(received for received, _ in tallies.values())

    def ends_add_up(self, summary: fairlead.SessionSummary) -> dict[int, tuple[int, int]]:
        """The same of those whose end is told, and of those that are there; returns what they received, and copies."""
        tallies = {leg.generation: (leg.received_frames, leg.copies) for leg in summary.legs}
        for leg in self.legs:
            if leg.generation and leg.state in {SessionState.CLOSED, SessionState.RECONNECTING}:
                assert leg.generation not in tallies, f"{leg.generation} has ended twice, or is there still"
                tallies[leg.generation] = (leg.received_frames, leg.copies)
        sums = {generation: received - copies for generation, (received, copies) in tallies.items()}
        assert sums == {generation: self.journalled[generation] for generation in sums}
        return tallies


@asynccontextmanager
async def accounted(session: fairlead.Reader) -> AsyncIterator[Account]:
    """Opens the session, and reads it until the end of the block."""
    account = Account()

    async def read() -> None:
        async for entry in session.events():
            account.take(entry)

    async with session:
        reading = asyncio.create_task(read())
        try:
            yield account
        finally:
            failed = reading.done() and not reading.cancelled() and reading.exception()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if failed:
                raise failed
