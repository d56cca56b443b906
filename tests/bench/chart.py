"""The chart beside the table."""

from pathlib import Path

from tests.bench.table import P50, PYTHON, Metric, Results

COLOURS = {
    "fairlead": "#0b6e4f",
    "websockets": "#c44536",
    "aiohttp": "#2c5d8f",
    "picows": "#e09f3e",
    "httpx": "#7b2d8b",
    "nautilus": "#5c5c5c",
    "empty_rpc": "#9bbfae",
}
PANELS: list[tuple[Metric, str]] = [
    (PYTHON, "Python CPU a frame or request, us"),
    (P50, "median latency, us"),
]


def draw(results: Results, path: Path) -> None:
    """One row a work, one dot a contender with least and greatest; logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    works = [work for work in results.works if work.kind != "idle"]
    figure, panels = pyplot.subplots(1, len(PANELS), sharey=True, figsize=(12, 1.5 + 0.5 * len(works)))
    for panel, (metric, title) in zip(panels, PANELS, strict=True):
        for contender, colour in COLOURS.items():
            found = [
                (row, spread)
                for row, work in enumerate(works)
                if contender in work.contenders and (spread := results.spread(work, contender, metric))
            ]
            if not found:
                continue
            offset = (list(COLOURS).index(contender) - 2.5) * 0.12
            panel.errorbar(
                [spread.median for _, spread in found],
                [row + offset for row, _ in found],
                xerr=[
                    [spread.median - spread.least for _, spread in found],
                    [spread.greatest - spread.median for _, spread in found],
                ],
                fmt="o",
                color=colour,
                label=contender,
                markersize=7 if contender == "fairlead" else 5,
            )
        panel.set_xscale("log")
        panel.set_title(f"{title} (less is better)", fontsize=10)
        panel.grid(axis="x", which="both", alpha=0.25)
    panels[0].set_yticks(range(len(works)), [work.name for work in works], fontsize=8)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(COLOURS), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
