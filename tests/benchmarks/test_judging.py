"""The benchmark itself, run on a handful of releases with a peer in our place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import headgate
from tests.benchmarks.arena import Arena
from tests.benchmarks.headgate import BY_SESSION, HELD_BACK, NO_FUSE, PLAIN, TO_THE_END
from tests.benchmarks.judging import show
from tests.benchmarks.peers.ztest import RepeatedZ
from tests.benchmarks.studies import STUDIES, exposure, lags
from tests.benchmarks.study import Plan, Study, at_least

NAMES = (PLAIN, NO_FUSE, TO_THE_END, BY_SESSION, HELD_BACK)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The z-test under our names."""
    monkeypatch.setattr(headgate, "HEADGATE", dict.fromkeys(NAMES, RepeatedZ))
    monkeypatch.setattr(headgate, "FOLD", lambda blocks: blocks / 1000)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES.keys())
def test_every_study_measures_every_goal_and_can_be_shown(study: Callable[[Plan], Study]) -> None:
    with Arena(1) as arena:
        found = study(Plan(arena, 1, 1))
    assert found.rows
    assert all(goal.met is not None for goal in found.goals)
    console = Console(width=120, record=True, quiet=True)
    show(console, found)


def test_without_headgate_a_goal_is_not_met_but_unmeasured() -> None:
    study = Study("nothing", ())
    study.expect("ten", [], at_least(10.0))
    study.expect("ten", [11.0, 9.0], at_least(10.0))
    assert [goal.met for goal in study.goals] == [None, False]


def test_the_figures_are_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    from tests.benchmarks.drawing import draw  # noqa: PLC0415 - only this test needs matplotlib

    drawn = []
    for again in ("one", "two"):
        folder = tmp_path / again
        folder.mkdir()
        with Arena(3) as arena:
            plan = Plan(arena, 1, 1)
            studies = {study.__name__: {"rows": study(plan).rows} for study in (exposure, lags)}
        drawn.append([figure.read_bytes() for figure in draw(studies, folder)])
        assert json.loads(json.dumps(studies)) == studies
    assert drawn[0] == drawn[1]
