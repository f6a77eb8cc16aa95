"""Headgate's judgement beside the peers', on the same seeded releases: `make bench-judging`.

It prints a table for each question, tells which promised figures were met, writes
build/bench/judging.json, and draws what a bad candidate costs against the size of its fault and
against the lag. One seed gives the same figures again, save those of time.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.arena import Arena
from tests.benchmarks.studies import STUDIES, each
from tests.benchmarks.study import Plan, Study

FOLDER = Path(__file__).parents[2] / "build/bench"
RELEASES, QUICK = 400, 40
PROMISED = 3
"""A share that is promised is measured on so many times as many releases."""

CIRCUMSTANCES = {"world", "per_second", "lag_min", "errors", "slower", "fault", "bound"}
SHARES = {"rolled_back", "rolled_back_at_most", "promoted", "fused", "errors"}
HEADS = {
    "per_second": "req/s",
    "rolled_back": "rolled back",
    "rolled_back_at_most": "at most",
    "exposed_median": "exposed",
    "exposed_p90": "p90",
    "failed_mean": "failed",
    "minutes_to_promotion_median": "median min",
    "minutes_to_promotion_p90": "p90 min",
    "times_bound_median": "x bound",
    "times_bound_p90": "x bound p90",
    "lag_min": "lag min",
}


def _cell(key: str, value: Any) -> str:  # noqa: ANN401 - figures and names
    if value is None:
        return "-"
    if key in SHARES:
        return f"{100 * value:.3g} %"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


def table(study: Study) -> Table:
    """What tells the rows apart, and the figures that the study shows."""
    told = [
        key
        for key, value in study.rows[0].items()
        if key == "system" or (key in CIRCUMSTANCES and len({row[key] for row in study.rows}) > 1)
    ]
    found = Table(title=study.title, title_justify="left")
    for key in (*told, *study.shown):
        left = isinstance(study.rows[0][key], str)
        found.add_column(HEADS.get(key, key), justify="left" if left else "right")
    for row in study.rows:
        found.add_row(*(_cell(key, row[key]) for key in (*told, *study.shown)))
    return found


def show(console: Console, study: Study) -> None:
    """The table, and below it the goals."""
    if study.rows:
        console.print(table(study))
    for goal in study.goals:
        word = {True: "met", False: "MISSED", None: "-"}[goal.met]
        console.print(f"  {word:7}{goal.sentence}: {goal.measured}", highlight=False)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few releases: a look, no figures")
    parser.add_argument("--only", choices=list(STUDIES), help="one study")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rollouts", type=int, help=f"of each kind (default {RELEASES})")
    return parser.parse_args()


def main() -> None:
    """Run the studies, and leave the figures behind."""
    asked, console = arguments(), Console(width=120)
    releases = asked.rollouts or (QUICK if asked.quick else RELEASES)
    found: dict[str, Any] = {"seed": asked.seed, "releases": releases, "studies": {}}
    began = time.monotonic()
    with Arena(asked.seed) as arena:
        for name, study in each(Plan(arena, releases, PROMISED * releases), asked.only):
            show(console, study)
            found["studies"][name] = asdict(study)
    found["seconds"] = round(time.monotonic() - began)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "judging.json").write_text(json.dumps(found, indent=2) + "\n")
    from tests.benchmarks.drawing import draw  # noqa: PLC0415 - matplotlib takes seconds

    for figure in draw(found["studies"], FOLDER):
        console.print(f"drawn: {figure}", highlight=False)
    console.print(f"{found['seconds']} s with seed {asked.seed}", highlight=False)


if __name__ == "__main__":
    main()
