"""What docs/performance.md says."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.contender import BODY_BYTES, FRAME_BYTES
from tests.bench.table import (
    ALL,
    BUSIEST_GENERATOR,
    GENERATOR,
    IDLE_CPU,
    MEMORY,
    OURS,
    P50,
    P99,
    PYTHON,
    RATE,
    Metric,
    Results,
    Spread,
    number,
)
from tests.bench.works import SATURATED_FRAMES, Length, Work


@dataclass(frozen=True)
class Origin:
    """Where and how a run was made."""

    command: str
    commit: str
    machine: str
    versions: str
    rounds: int
    length: Length


def metrics_of(work: Work) -> list[Metric]:
    if work.kind == "idle":
        return [MEMORY, IDLE_CPU]
    return [RATE, PYTHON, ALL] if work.saturated else [RATE, PYTHON, ALL, P50, P99]


def page(results: Results, origin: Origin, chart: str = "") -> str:
    lines = [
        "# Performance",
        "",
        f"Written by `{origin.command}` at commit {origin.commit}, on {origin.machine}, {origin.versions}.",
        "",
        "Fairlead beside what one would use instead, on the same work, in one interleaved run: every round runs every",
        "contender once, in rotated order, each in a fresh Python process. Figures are medians (least-greatest),",
        f"rounds: {origin.rounds}. Exchange, gateway and Python share the cores, and Fairlead's rows have one process",
        "more on them: rates on a machine of your own will differ, ratios less.",
        "",
        f"**Verdict: {_verdict(results)}**",
        "",
    ]
    if chart:
        lines += [f"![CPU and latency by contender]({chart})", ""]
    lines += _ratios(results) + _losses(results) + _figures(results) + _method(results, origin)
    return "\n".join(lines)


def _verdict(results: Results) -> str:
    complaints = results.complaints()
    return "not sound: " + "; ".join(complaints) if complaints else "sound: nobody lost a frame, the exchange kept up."


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(columns: Sequence[str], texts: int) -> list[str]:
    return [_row(columns), "|" + "---|" * texts + "---:|" * (len(columns) - texts)]


def _told(spread: Spread | None, empty: str = "") -> str:
    return spread.told() if spread else empty


def _ratios(results: Results) -> list[str]:
    columns = [RATE, PYTHON, ALL, P50, P99]
    lines = [
        "## How many times better Fairlead is",
        "",
        "Above 1 Fairlead is better, below 1 worse: rates are Fairlead's over theirs, the rest theirs over Fairlead's,",
        "each of one round.",
        "",
        *_head(["work", "beside", "rate", "Python CPU", "Python and gateway CPU", "p50", "p99"], 2),
    ]
    for work in results.works:
        if work.kind == "idle":
            continue
        for peer in work.contenders:
            if peer == OURS:
                continue
            cells = [_told(results.ratio(work, peer, column)) for column in columns]
            if not any(cells):
                missing = OURS if not results.spread(work, OURS, RATE) else peer
                cells[0] = f"{missing}: {results.reason(work, missing)}"
            lines.append(_row([work.name, peer, *cells]))
    return [*lines, ""]


def _losses(results: Results) -> list[str]:
    lines = [
        "## Where Fairlead loses",
        "",
        "A frame or a response that comes alone takes one hop more: two more wake-ups, and a gRPC message of its own,",
        "which costs Python more than reading a socket does. What Fairlead saves it saves by carrying many in one",
        "message, so it loses at low rates and with lone requests, and a client that hands each frame to a compiled",
        "callback in the process (picows) can be cheaper at any rate. It also uses a second process: on the whole",
        "machine the work is rarely less. A request is an RPC of its own: what an empty one reaches (*empty_rpc*)",
        "bounds what any gateway can reach this way, and is not far from aiohttp itself. Every median of this run",
        "below 1:",
        "",
    ]
    lost = False
    for work in results.works:
        for peer in work.contenders:
            metrics = [] if peer == OURS else results.losses(work, peer, metrics_of(work))
            told = [
                f"{one.title} {_median(results, work, OURS, one)} against {_median(results, work, peer, one)}"
                for one in metrics
            ]
            if told:
                lost = True
                lines.append(f"- {work.name}, {peer}: {'; '.join(told)}.")
    return [*lines, *([] if lost else ["- none."]), ""]


def _median(results: Results, work: Work, contender: str, metric: Metric) -> str:
    spread = results.spread(work, contender, metric)
    return number(spread.median) if spread else "?"


def _figures(results: Results) -> list[str]:
    lines = ["## Figures", "", "CPU is that of one frame or request.", ""]
    for work in results.works:
        columns = metrics_of(work) + ([] if work.kind == "idle" else [GENERATOR])
        lines += [f"### {work.name[0].upper()}{work.name[1:]}", "", *_head(["", *(one.title for one in columns)], 1)]
        for contender in work.contenders:
            cells = [_told(results.spread(work, contender, column)) for column in columns]
            if not any(cells):
                cells[0] = results.reason(work, contender)
            elif results.overloaded(work, contender):
                cells[-1] += ", too much"
            given = work.of(contender)
            beside = f", {given.count:,} sockets" if given != work else ""
            lines.append(_row([contender + beside, *cells]))
        lines.append("")
    return lines


def _method(results: Results, origin: Origin) -> list[str]:
    length = origin.length
    lines = ["## How it is measured", "", "Contenders, all under uvloop:", ""]
    lines += [f"- {about}" for _, about in sorted(results.abouts().items())]
    return [
        *lines,
        "",
        f"*feed*: texts of {FRAME_BYTES} B from the simulated exchange, which must stay below",
        f"{BUSIEST_GENERATOR * 100:.0f} % of a core, else the run is not sound. Every frame is kept, and checked when",
        "all is over: each number once and in order, at full length; a contender that loses one fails the run. What a",
        "program would do with a frame costs all of them the same and is not in the figures. Above 1,000 frames/s the",
        "frames of a millisecond are due together. Latency runs from when a frame was *due*, not from when it was",
        "written, so a backlog counts; it ends where the program has the frame, or the batch that it comes in.",
        "",
        f"*saturated*: at most {SATURATED_FRAMES:,} frames, as fast as they are read; the exchange is bound by its",
        "reader, or by its core. A feed that outruns its reader holds up the others' sockets; Fairlead keeps it in the",
        "session's journal, which is given room for all of it.",
        "",
        f"*HTTP GET*: an answer of {BODY_BYTES} B over kept-alive connections, each request sent when the one before",
        "it is answered. Status and length of every answer are checked. *empty_rpc* is no HTTP client: it asks the",
        "gateway itself, and shows what is left to gain between Python and gateway: what it costs, grpc.aio costs.",
        "",
        f"The first {length.warm_up_s:g} s are left out, the next {length.measured_s:g} s measured. CPU is user and",
        "system time of all threads of the process, from `/proc/PID/task/*/schedstat`.",
        "",
        "*idle*: sockets without heartbeats, 10 s in which nothing comes. Memory is what the gateway, or the Python",
        "process, has grown by.",
        "",
    ]
