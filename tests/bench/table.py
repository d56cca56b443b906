"""From single measurements to medians with spread, ratios, and a verdict."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.works import Work

# Above this share of a core it would be the exchange that is measured.
BUSIEST_GENERATOR = 0.60
OURS = "fairlead"


@dataclass(frozen=True)
class Measurement:
    """One contender at one work in one round."""

    round: int
    work: str
    contender: str
    about: str = ""
    """How the contender is configured."""
    figures: dict[str, float] = field(default_factory=dict)
    not_measured: str = ""
    """Why there are no figures, if that is as it should be."""
    failed: str = ""
    """Why there are none, if it should not be."""


@dataclass(frozen=True)
class Spread:
    """A median over rounds, with the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        found = list(values)
        return cls(statistics.median(found), min(found), max(found)) if found else None

    def told(self) -> str:
        median, least, greatest = number(self.median), number(self.least), number(self.greatest)
        return median if least == greatest else f"{median} ({least}-{greatest})"


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Metric:
    """One column."""

    title: str
    of: Callable[[dict[str, float]], float | None]
    more_is_better: bool = False


RATE = Metric("per second", lambda figures: figures.get("rate"), more_is_better=True)
PYTHON = Metric("Python CPU, us", lambda figures: figures.get("python_us"))
ALL = Metric(
    "Python and gateway CPU, us",
    lambda figures: figures["python_us"] + figures["gateway_us"] if "python_us" in figures else None,
)
P50 = Metric("p50, us", lambda figures: figures.get("p50_us"))
P99 = Metric("p99, us", lambda figures: figures.get("p99_us"))
GENERATOR = Metric("exchange, % of a core", lambda figures: share * 100 if (share := _share(figures)) else None)
MEMORY = Metric("memory a socket, KiB", lambda figures: figures.get("kib"))
IDLE_CPU = Metric("CPU in 10 s, ms", lambda figures: figures.get("idle_ms"))


def _share(figures: dict[str, float]) -> float | None:
    return figures.get("generator_share")


def rotated(contenders: Sequence[str], by: int) -> list[str]:
    """So that over the rounds everyone runs first, last and behind everyone else."""
    start = by % len(contenders)
    return [*contenders[start:], *contenders[:start]]


class Results:
    """All measurements of a run."""

    def __init__(self, works: Sequence[Work], measurements: Iterable[Measurement]) -> None:
        self.works = list(works)
        self.measurements = list(measurements)

    def of(self, work: Work, contender: str) -> list[Measurement]:
        name = work.of(contender).name
        return [one for one in self.measurements if (one.work, one.contender) == (name, contender)]

    def spread(self, work: Work, contender: str, metric: Metric) -> Spread | None:
        values = (metric.of(one.figures) for one in self.of(work, contender))
        return Spread.of(value for value in values if value is not None)

    def ratio(self, work: Work, peer: str, metric: Metric) -> Spread | None:
        """How many times better Fairlead is: below 1 it loses. Each round's own ratio, so that its noise cancels."""
        theirs = {one.round: metric.of(one.figures) for one in self.of(work, peer)}
        ratios = []
        for one in self.of(work, OURS):
            mine, other = metric.of(one.figures), theirs.get(one.round)
            if mine and other:
                ratios.append(mine / other if metric.more_is_better else other / mine)
        return Spread.of(ratios)

    def reason(self, work: Work, contender: str) -> str:
        """Why there are no figures."""
        told = {one.not_measured or (one.failed and "failed") for one in self.of(work, contender) if not one.figures}
        return "not measured: " + (", ".join(sorted(told)) or "not reached")

    def abouts(self) -> dict[str, str]:
        return {one.contender: one.about for one in self.measurements if one.about}

    def losses(self, work: Work, peer: str, metrics: Sequence[Metric]) -> list[Metric]:
        """Where a median says that Fairlead is worse."""
        lost = []
        for metric in metrics:
            ratio = self.ratio(work, peer, metric)
            # At a given pace everybody reaches it, give or take what the clock gives.
            enough = 0.99 if metric is RATE and work.rate else 1.0
            if ratio is not None and ratio.median < enough:
                lost.append(metric)
        return lost

    def complaints(self) -> list[str]:
        """Why this run proves nothing; none: it is sound."""
        found = [f"{one.work}: {one.contender} failed: {one.failed}" for one in self.measurements if one.failed]
        for work in self.works:
            for contender in work.contenders:
                if contender == OURS and not any(one.figures for one in self.of(work, OURS)):
                    found.append(f"{work.name}: Fairlead {self.reason(work, OURS)}")
                busy = self.overloaded(work, contender)
                if busy > 0:
                    found.append(f"{work.name}, {contender}: the exchange took {busy * 100:.0f} % of a core")
        return list(dict.fromkeys(found))

    def overloaded(self, work: Work, contender: str) -> float:
        """The exchange's share of a core if that is too much; 0: it is not. Flat out it is bound by construction."""
        share = Spread.of(share for one in self.of(work, contender) if (share := _share(one.figures)) is not None)
        return share.median if share and not work.saturated and share.median > BUSIEST_GENERATOR else 0.0
