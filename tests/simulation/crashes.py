"""Every place where one release passes the outside, with a death there: exhaustive, not sampled.

One replica takes a good version, a bad one, and one that is staged through; each place that it came
by is then run once more for each way to fail there: dead before it, dead after it, and, where
something is written or sent, done without anybody learning of it.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.simulation.campaign import pooled
from tests.simulation.fate import Begin
from tests.simulation.promises import Move
from tests.simulation.record import ram_disk, template
from tests.simulation.run import BY_HAND, Options, Result, run

SEED = 1
STORIES = {
    "good": Begin(replicas=1),
    "bad": Begin(replicas=1, kinds=("errs",)),
    "staged": Begin(replicas=1, kinds=("untrue",), staging=True),
}
UNKNOWN = {
    "store.write": "store_unknown",
    "call.serve": "unanswered",
    "call.alias": "unanswered",
    "call.tag": "unanswered",
    "call.create_staging": "unanswered",
    "call.remove_staging": "unanswered",
}
"""Where something is done, and the fault by which nobody learns of it."""


@dataclass(frozen=True)
class Point:
    """A way to fail at a place."""

    story: str
    where: str
    """Replica, place, side and number: `a/store.write/before/7`."""
    fault: str
    moves: tuple[Move, ...] = field(repr=False)
    """What the releases of the story go through where nothing fails."""

    @property
    def options(self) -> Options:
        """A run in which just this goes wrong."""
        return Options(rates={}, begin=STORIES[self.story], forced={self.where: self.fault})


def points(made: Path) -> list[Point]:
    """All of them: `before`, `after` and `applied-unknown` at each place of every story."""
    found: list[Point] = []
    for story, begun in STORIES.items():
        plain = run(SEED, made, Options(rates={}, begin=begun, notes_places=True))
        assert plain.violation is None, plain.violation
        assert not plain.situations[BY_HAND], f"the story {story} needs a person"
        for where in plain.passed:
            found.append(Point(story, where, "crash", plain.moves))
            replica, place, side, number = where.split("/")
            if side == "before" and place in UNKNOWN:
                unknown = f"{replica}/{place}/{number}"
                found.append(Point(story, unknown, UNKNOWN[place], plain.moves))
    return found


def enumerated(workers: int, every: int = 1, first: int = 0) -> Iterator[tuple[Point, Result]]:
    """Run each point, or one in so many of them."""
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder:
        made = template(Path(folder))
        chosen = points(made)[first::every]
        yield from pooled(partial(_one, made), chosen, workers)


def _one(made: Path, point: Point) -> tuple[Point, Result]:
    return point, run(SEED, made, point.options)


def amiss(point: Point, result: Result) -> str | None:
    """What a failure has changed beside time: a promise, the story, or who had to see to it."""
    if result.violation is not None:
        return result.violation
    if result.moves != point.moves:
        return f"the story became another: {result.moves}, not {point.moves}"
    return "a person had to put it right" if result.situations[BY_HAND] else None


def struck(point: Point, result: Result) -> bool:
    """The point was reached: the fault did happen."""
    return f"{point.where}:{point.fault}" in result.struck
