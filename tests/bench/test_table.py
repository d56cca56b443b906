"""What the benchmark makes of its measurements. The contenders need not be installed."""

import math

import pytest

from tests.bench.contender import FRAME_BYTES, LostFrames, Site, Tape
from tests.bench.measure import Mark, Order, figures, percentiles
from tests.bench.page import Origin, page
from tests.bench.table import P50, PYTHON, RATE, Measurement, Metric, Results, Spread, number, rotated
from tests.bench.works import FULL, HTTP, Work, all_works, few_works

FEED = Work("feed", rate=1000)
SATURATED = Work("feed")
REQUESTS = Work("http", count=64)


def measured(round_: int, contender: str, work: Work = FEED, **changes: float) -> Measurement:
    usual = {"rate": 1000.0, "python_us": 10.0, "gateway_us": 0.0, "p50_us": 100.0, "p99_us": 200.0}
    return Measurement(
        round_, work.of(contender).name, contender, about=contender, figures=usual | {"generator_share": 0.1} | changes
    )


def frame(number_: int, due: int = 0) -> bytes:
    return f"{number_} {due} ".encode().ljust(FRAME_BYTES, b"x")


def test_rotation_gives_everyone_each_place() -> None:
    contenders = ("a", "b", "c")
    orders = [rotated(contenders, round_) for round_ in range(3)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert rotated(contenders, 3) == orders[0]
    assert all(sorted(order) == sorted(contenders) for order in orders)


def test_a_spread_is_the_median_with_least_and_greatest() -> None:
    assert Spread.of([5, 1, 2]) == Spread(2, 1, 5)
    assert Spread.of([]) is None
    assert Spread(2.0, 1.0, 1234.4).told() == "2.00 (1.00-1,234)"
    assert Spread(2.0, 2.0, 2.0).told() == "2.00"
    assert [number(value) for value in (0.123, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]


def test_ratios_are_of_one_round_each_and_above_one_where_fairlead_is_better() -> None:
    results = Results(
        [FEED],
        [
            measured(1, "fairlead", rate=200.0, python_us=5.0),
            measured(1, "picows", rate=100.0, python_us=10.0),
            # A noisy round halves both: its ratio is the same.
            measured(2, "fairlead", rate=100.0, python_us=10.0),
            measured(2, "picows", rate=50.0, python_us=20.0),
            # Nothing to compare with.
            measured(3, "fairlead", rate=1.0, python_us=1000.0),
        ],
    )
    assert results.ratio(FEED, "picows", RATE) == Spread(2, 2, 2)
    assert results.ratio(FEED, "picows", PYTHON) == Spread(2, 2, 2)
    assert results.ratio(FEED, "aiohttp", RATE) is None


@pytest.mark.parametrize(
    ("metric", "changes", "lost"),
    [
        (P50, {"p50_us": 101.0}, True),
        (P50, {"p50_us": 99.0}, False),
        (RATE, {"rate": 995.0}, False),  # The pace that was asked for, as far as a clock can tell.
        (RATE, {"rate": 900.0}, True),
    ],
)
def test_losses_are_told(metric: Metric, changes: dict[str, float], lost: bool) -> None:
    results = Results([FEED], [measured(1, "fairlead", FEED, **changes), measured(1, "picows")])
    assert results.losses(FEED, "picows", [metric]) == ([metric] if lost else [])
    told = "picows: " in page(results, ORIGIN).split("## Where Fairlead loses")[1].split("## ")[0]
    assert told == lost


def test_a_sound_run() -> None:
    assert Results([FEED], [measured(1, "fairlead"), measured(1, "picows")]).complaints() == []


def test_a_failure_makes_the_run_unsound() -> None:
    lost = Measurement(1, FEED.name, "picows", failed="LostFrames: frame 7")
    results = Results([FEED], [measured(1, "fairlead"), lost])
    assert results.complaints() == [f"{FEED.name}: picows failed: LostFrames: frame 7"]
    assert "**Verdict: not sound: " in page(results, ORIGIN)


def test_what_a_contender_cannot_do_does_not() -> None:
    unable = Measurement(1, FEED.name, "nautilus", not_measured="cannot be given a private CA")
    results = Results([FEED], [measured(1, "fairlead"), unable])
    assert results.complaints() == []
    assert "| nautilus | not measured: cannot be given a private CA |" in page(results, ORIGIN)


def test_but_a_run_without_fairlead_proves_nothing() -> None:
    absent = Measurement(1, REQUESTS.name, "fairlead", not_measured="no HTTP")
    results = Results([REQUESTS], [absent, measured(1, "aiohttp", REQUESTS)])
    assert results.complaints() == [f"{REQUESTS.name}: Fairlead not measured: no HTTP"]


@pytest.mark.parametrize(
    ("work", "shares", "sound"),
    [
        (FEED, (0.61, 0.61, 0.1), False),
        (FEED, (0.61, 0.59, 0.1), True),  # The median counts: one noisy round does not.
        (REQUESTS, (0.61,), False),
        (SATURATED, (0.99,), True),  # Bound by construction.
    ],
)
def test_a_busy_exchange_makes_the_run_unsound(work: Work, shares: tuple[float, ...], sound: bool) -> None:
    measurements = [measured(round_, "fairlead", work, generator_share=share) for round_, share in enumerate(shares, 1)]
    results = Results([work], measurements)
    assert (results.complaints() == []) == sound
    assert ("too much" not in page(results, ORIGIN)) == sound


def test_idle_sockets_are_compared_per_socket() -> None:
    work = Work("idle", count=10_000)
    assert (work.of("fairlead").count, work.of("websockets").count) == (10_000, 1_000)
    idle = [
        Measurement(1, work.of(name).name, name, figures={"kib": kib, "idle_ms": 1.0})
        for name, kib in (("fairlead", 50.0), ("websockets", 25.0))
    ]
    text = page(Results([work], idle), ORIGIN)
    assert "| websockets, 1,000 sockets | 25.0 | 1.00 |" in text
    assert "memory a socket, KiB 50.0 against 25.0" in text


def test_the_page_tells_where_it_comes_from_and_has_every_work() -> None:
    works = [*all_works(10_000), *few_works()]
    text = page(Results(works, []), ORIGIN, chart="chart.png")
    for part in (
        "`make bench` at commit abc",
        "2 cores",
        "Python 3",
        "rounds: 5",
        "](chart.png)",
        *(w.name for w in works),
    ):
        assert part.lower() in text.lower()


def test_names_of_works_differ() -> None:
    names = [work.name for work in all_works(10_000)]
    assert len(set(names)) == len(names)
    assert {work.contenders for work in few_works()} == {work.contenders for work in all_works(1)}
    assert REQUESTS.contenders == HTTP


def test_figures_between_marks() -> None:
    whole, begin, end = Mark(0, 0, 0, 0, 0), Mark(1, 100, 1, 5, 0.1), Mark(3, 300, 2, 6, 0.3)
    assert figures(begin, end) == pytest.approx(
        {"rate": 100, "python_us": 5000, "gateway_us": 5000, "generator_us": 1000, "generator_share": 0.1}
    )
    # What runs ahead of Python is counted from the start.
    assert figures(begin, end, whole)["gateway_us"] == pytest.approx(20_000)
    with pytest.raises(AssertionError, match="nothing was done"):
        figures(end, end)


def test_percentiles() -> None:
    found = percentiles(range(101))
    assert (found["p50_us"], found["p99_us"], found["samples"]) == (50, 99, 101)


def test_a_tape_keeps_frames_and_when_they_came() -> None:
    tape = Tape("ws://x", saturated=False)
    tape.one(frame(1, due=1000))
    tape.many([frame(2, due=2000), frame(3, due=3000)])
    tape.check()
    first, second, third = tape.arrived
    assert first <= second == third
    assert tape.latencies_us(1, 3) == [(second - 2000) / 1e3, (third - 3000) / 1e3]


def test_a_tape_of_a_saturated_feed_keeps_no_times() -> None:
    tape = Tape("ws://x", saturated=True)
    tape.one(frame(1))
    tape.many([frame(2)])
    tape.check()
    assert tape.arrived == []


@pytest.mark.parametrize(
    "frames",
    [
        [frame(2)],  # The first is missing.
        [frame(1), frame(3)],
        [frame(1), frame(1)],
        [frame(1), frame(3), frame(2)],
        [frame(1), frame(2)[:-1]],
    ],
)
def test_a_tape_finds_what_is_lost(frames: list[bytes]) -> None:
    tape = Tape("ws://x", saturated=True, payloads=frames)
    with pytest.raises(LostFrames):
        tape.check()


def test_an_order_survives_the_command_line() -> None:
    order = Order("picows", REQUESTS, FULL, "http://x", "wss://y", Site("ca.pem", "unix:z"), 7, 0)
    assert Order.from_json(order.to_json()) == order
    assert math.isclose(order.length.warm_up_s, 1.0)


ORIGIN = Origin("make bench", "abc", "2 cores of X", "Python 3.11", 5, FULL)
