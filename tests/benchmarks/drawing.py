"""The two figures: what a bad candidate costs, by the size of its fault and by the lag."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PER_SECOND = 100.0
STYLES = {
    "Headgate": ("#0b6e4f", "o"),
    "Headgate, no fuse": ("#7fb89f", "o"),
    "Argo, 1 min": ("#d1495b", "s"),
    "Argo, documented": ("#e8a0aa", "s"),
    "Flagger": ("#3066be", "^"),
    "Kayenta": ("#8f6593", "D"),
    "SageMaker, 1 min": ("#c98b1b", "v"),
    "SageMaker, guide": ("#e6c88a", "v"),
    "z-test": ("#999999", "x"),
}

Row = Mapping[str, Any]


def _lines(axes: Axes, rows: Sequence[Row], across: str) -> None:
    """One line for each system, in the order in which they came."""
    for name in dict.fromkeys(row["system"] for row in rows):
        mine = [row for row in rows if row["system"] == name]
        colour, mark = STYLES.get(name, ("#444444", "."))
        axes.plot(
            [row[across] for row in mine],
            [max(1.0, row["exposed_median"]) for row in mine],
            color=colour,
            marker=mark,
            label=name,
            linewidth=2.2 if name == "Headgate" else 1.4,
        )
    axes.set_yscale("log")
    axes.set_ylabel("candidate requests before rollback, median")
    axes.grid(visible=True, which="major", alpha=0.3)


def by_size(rows: Sequence[Row]) -> Figure:
    """Exposure against the candidate's error rate, with the least that any test could need."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    mine = [row for row in rows if row["per_second"] == PER_SECOND]
    _lines(axes, mine, "errors")
    bounds = {row["errors"]: row["bound"] for row in mine if row["bound"] is not None}
    axes.plot(list(bounds), list(bounds.values()), "k:", label="two-arm bound")
    axes.set_xscale("log")
    sizes = sorted({row["errors"] for row in mine})
    axes.set_xticks(sizes, [f"{size:.0%}" for size in sizes], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("candidate's error rate (stable: 0.5 %)")
    axes.set_title(f"{PER_SECOND:g} requests/s, no lag; a miss counts to the schedule's end")
    axes.legend(fontsize="small")
    return figure


def by_lag(rows: Sequence[Row]) -> Figure:
    """Exposure against the lag of the versions' windows."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    mine = [row for row in rows if row["world"] == "constant"]
    _lines(axes, mine, "lag_min")
    axes.set_xscale("symlog", linthresh=1.0)
    lags = sorted({row["lag_min"] for row in rows})
    axes.set_xticks(lags, [f"{lag:g}" for lag in lags], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(-0.1, 1.2 * lags[-1])
    axes.set_xlabel("minutes until a version's window arrives")
    axes.set_title("20 % errors, 10 requests/s")
    axes.legend(fontsize="small")
    return figure


def draw(studies: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what there are figures for; SVG, so that two runs of one seed can be compared."""
    figures = {
        "exposure-by-size": ("exposure", by_size),
        "exposure-by-lag": ("lags", by_lag),
    }
    drawn = []
    for name, (study, picture) in figures.items():
        if study in studies:
            drawn.append(folder / f"{name}.svg")
            with rc_context({"svg.hashsalt": "judging"}):
                picture(studies[study]["rows"]).savefig(drawn[-1], metadata={"Date": None})
    return drawn
