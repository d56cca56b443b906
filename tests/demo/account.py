"""Accounts for every number of a numbered feed: received once, or missing in exactly one blind window."""

from dataclasses import dataclass, field


class MismatchError(Exception):
    """What was received is not what was sent; says where."""


@dataclass
class Outage:
    """A time without a transport, between two numbers that were received."""

    after: int
    """The last number before it."""
    before: int
    """The first number after it."""
    blind_s: float
    """Between the last that was heard of the old transport and the first of the new one."""

    @property
    def missing(self) -> range:
        """The numbers that the exchange sent while nobody was connected; empty if it sent none."""
        return range(self.after + 1, self.before)


@dataclass
class Account:
    """Is told a journal's entries in the order in which they come; raises MismatchError at the first that is wrong."""

    received: int = 0
    sequence: int = 0
    """Of the latest entry; 0 before the first."""
    first: int | None = None
    last: int | None = None
    outages: list[Outage] = field(default_factory=list)
    _blind: list[float] = field(default_factory=list)
    """Blind windows since the latest number."""

    def entry(self, sequence: int) -> None:
        """Any entry: sequences have no holes."""
        if self.sequence and sequence != self.sequence + 1:
            raise MismatchError(f"sequence {sequence} follows {self.sequence}")
        self.sequence = sequence

    def blind_window(self, seconds: float) -> None:
        """A new transport says for how long nothing was heard."""
        self._blind.append(seconds)

    def number(self, number: int) -> Outage | None:
        """A number of the feed. Returns the outage that ends with it, if one does."""
        outage = None
        if self.last is None:
            self.first = number
        elif number <= self.last:
            raise MismatchError(f"number {number} came after {self.last}: twice, or out of order")
        elif self._blind:
            outage = Outage(self.last, number, sum(self._blind))
            if outage.missing and len(self._blind) != 1:
                raise MismatchError(f"{len(self._blind)} blind windows between {self.last} and {number}, not one")
            self.outages.append(outage)
        elif number != self.last + 1:
            raise MismatchError(f"number {number} follows {self.last}, and no blind window lies between them")
        self._blind.clear()
        self.last = number
        self.received += 1
        return outage

    @property
    def missing(self) -> int:
        """How many numbers the blind windows hold."""
        return sum(len(outage.missing) for outage in self.outages)

    def close(self) -> None:
        """Checks that nothing is unaccounted for."""
        if self.first is None or self.last is None:
            raise MismatchError("nothing was received")
        if self.received + self.missing != self.last - self.first + 1:
            raise MismatchError(f"{self.received} received and {self.missing} missing of {self.first} to {self.last}")
