"""A few seeds of what `make simulate` runs by the thousand, and proofs that it would notice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.simulation import bugs, campaign, crashes, layers
from tests.simulation.causes import EDIT, SOON_S, Causes, Rollback
from tests.simulation.draws import Draws
from tests.simulation.fate import Begin
from tests.simulation.record import ram_disk, template
from tests.simulation.run import BY_HAND, Options, run
from tests.simulation.shrink import shrunk
from tests.states.story import serving

FIRST, SEEDS = 1, 60
BACK = Rollback(
    version="2", entered=100.0, at=200.0, weight=10, serving=serving(v1=99, v2=1), because=""
)
EVERY = 149
"""Of the crash points, one in so many; `make simulate-crashes` takes all of them."""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A migrated store, on a RAM disk where there is one."""
    with TemporaryDirectory(dir=ram_disk()) as folder:
        yield template(Path(folder))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS, 4))
def test_whatever_fails_every_promise_is_kept_and_a_healed_world_comes_to_rest(
    seed: int, made: Path
) -> None:
    for one in range(seed, seed + 4):
        result = run(one, made)
        assert result.violation is None, campaign.how_to_repeat(result)
        assert result.false_rollbacks == (), "nor is any of these good releases unlucky"


@pytest.mark.parametrize("by_lease", [False, True])
def test_where_nothing_fails_a_good_version_gets_everybody_and_a_bad_one_nobody(
    made: Path, *, by_lease: bool
) -> None:
    good = run(1, made, Options(rates={}, begin=Begin(by_lease=by_lease)))
    assert good.violation is None, campaign.how_to_repeat(good)
    assert good.situations["retire from Production"] == 1
    assert not good.struck
    bad = run(1, made, Options(rates={}, begin=Begin(kinds=("errs",), by_lease=by_lease)))
    assert bad.violation is None, campaign.how_to_repeat(bad)
    assert bad.situations["roll_back from Canary"] == 1


def test_what_is_replayed_sends_a_bad_version_home_before_any_user_meets_it(made: Path) -> None:
    good = run(1, made, Options(rates={}, begin=Begin(replayed=True)))
    assert good.violation is None, campaign.how_to_repeat(good)
    assert good.situations["retire from Production"] == 1
    bad = run(1, made, Options(rates={}, begin=Begin(kinds=("errs",), replayed=True)))
    assert bad.violation is None, campaign.how_to_repeat(bad)
    assert bad.situations["roll_back from Testing"] == 1


def test_a_seed_tells_the_same_story_twice(made: Path) -> None:
    one, other = run(3, made), run(3, made)
    assert one.changes == other.changes
    assert one.struck == other.struck
    assert one.boundaries == other.boundaries


def test_a_fault_that_is_left_out_leaves_every_other_draw_where_it_was() -> None:
    rates = {"lost": 0.3, "late": 0.3}
    both, fewer = Draws(1, rates), Draws(1, rates, frozenset({"late"}))
    for draws in (both, fewer):
        for _ in range(200):
            draws.strikes("a/call.serve", ("late", "lost"))
            draws.share("a/wait")
    kept = [key for key in both.struck if key.endswith(":lost")]
    assert set(kept) <= set(fewer.struck)
    assert both.at("a/wait/7") == fewer.at("a/wait/7")


@pytest.mark.parametrize("part", range(3))
def test_a_death_at_any_place_changes_nothing_but_time(part: int) -> None:
    met = 0
    for point, result in crashes.enumerated(1, every=3 * EVERY, first=part * EVERY + 11):
        told = crashes.amiss(point, result)
        assert told is None, f"{point}: {told}\n{campaign.how_to_repeat(result)}"
        met += crashes.struck(point, result)
    assert met, "no point was met"


@pytest.mark.parametrize(
    ("because", "done", "excused"),
    [
        ("aborted by the operator", ("abort", 150.0, "2"), True),
        ("aborted by the operator", ("abort", 150.0, "3"), False),
        ("aborted by the operator", ("abort", 90.0, "2"), False),
        ("aborted by the operator", ("abort", 250.0, "2"), False),
        ("aborted by the operator", None, False),
        ("lowered by someone else", ("abort", 150.0, "2"), False),
        ("errors: 3 of 4 failed", ("abort", 150.0, "2"), False),
        ("golden queries failed twice", ("answers_astray", 150.0, "2"), True),
        ("golden queries failed twice", ("answers_astray", 99.0, "2"), False),
        ("Databricks could not deploy it", ("build", 150.0, "1"), False),
    ],
)
def test_a_rollback_is_excused_by_what_was_done_to_that_version_in_that_state(
    because: str, done: tuple[str, float, str] | None, *, excused: bool
) -> None:
    causes = Causes()
    if done is not None:
        causes.done(*done)
    assert bool(causes.excuse(replace(BACK, because=because))) is excused


@pytest.mark.parametrize(
    ("begun", "until", "excused"),
    [(50.0, 150.0, True), (50.0, 99.0, False), (201.0, 300.0, False), (10.0, None, True)],
)
def test_what_lasts_excuses_a_deadline_while_it_lasts_or_soon_after(
    begun: float, until: float | None, *, excused: bool
) -> None:
    causes, told = Causes(), replace(BACK, because="not ready after 13 min")
    slow = causes.begun("slow_update", begun)
    if until is not None:
        slow.until = until
    assert bool(causes.excuse(told)) is excused
    late = replace(told, at=until + SOON_S + 1) if until is not None else told
    assert bool(causes.excuse(late)) is (until is None)


@pytest.mark.parametrize(("kind", "excused"), [("slow_update", True), ("unready", False)])
def test_a_slow_update_takes_as_long_in_a_world_that_has_healed(
    kind: str, *, excused: bool
) -> None:
    causes = Causes()
    causes.begun(kind, 50.0)
    causes.healed(90.0)
    late = replace(BACK, because="not ready after 13 min", at=90.0 + SOON_S + 1)
    assert bool(causes.excuse(late)) is excused


def test_what_ended_too_late_for_a_replay_is_why_tests_took_too_long() -> None:
    causes = Causes()
    causes.begun("queries_unanswered", 50.0, until=150.0)
    late = replace(BACK, because="not through its tests after 5 min", at=150.0 + SOON_S + 200)
    assert not causes.excuse(late)
    assert causes.excuse(replace(late, needed=240.0))


def test_a_weight_was_lowered_if_somebody_lowered_it_to_what_was_seen_then() -> None:
    told, causes = replace(BACK, because="lowered by someone else"), Causes()
    causes.serves(EDIT, 150.0, serving(v1=80, v2=20))
    causes.serves(EDIT, 90.0, serving(v1=99, v2=1))
    assert not causes.excuse(told), "raised, or lowered before"
    causes.serves(EDIT, 150.0, serving(v1=99, v2=1))
    assert causes.excuse(told) == EDIT
    assert not causes.excuse(replace(told, serving=serving(v1=100, v2=0))), "nobody did that"


@pytest.mark.parametrize("name", bugs.BUGS)
def test_a_bug_can_be_put_in_where_the_code_is_now(name: str) -> None:
    with bugs.BUGS[name]():
        pass


@pytest.mark.parametrize(
    ("name", "first"),
    # From this seed on it takes few: those before take a minute.
    [
        ("trust the 200", 20),
        ("alias too early", 1),
        ("act before commit", 1),
        ("a gap in the journal", 1),
        ("ours is taken for theirs", 1),
        ("a restart ages a release", 2),
        ("time in a state stands still", 3),
        ("the way home waits a minute after a raise", 17),
        ("no budget", 3),
    ],
)
def test_a_bug_that_is_put_in_is_found(name: str, first: int) -> None:
    caught = bugs.hunt(name, limit_s=60, first=first)
    assert caught.seed is not None, caught.noticed


@pytest.mark.parametrize(
    ("name", "seed", "promise"),
    [
        ("errors are lost", 24, "is confirmed, and fails 10.0% of users"),
        ("harm is never seen", 24, "10 % are left on it"),
        ("failed golden queries are lost", 1, "which is not fit, is given"),
        ("a rebuild is taken for theirs", 17, "is said to be changed by someone else"),
        ("the alias is sent first", 31, "the alias is sent home before the users"),
        ("the way home has no reserve", 33, "the way home is kept back"),
        ("a line is printed wrong", 1, "and the journal"),
        ("everything is printed again", 1, "is printed twice, and nobody has taken over"),
        ("every replica prints", 2, "has the log"),
    ],
)
def test_a_bug_breaks_the_very_promise_that_is_there_for_it(
    name: str, seed: int, promise: str, made: Path
) -> None:
    options = bugs.NARROW.get(name, Options())
    assert bugs.broken(seed, made, options) == "", "it is kept without the bug"
    with bugs.BUGS[name]():
        assert promise in bugs.broken(seed, made, options)


@pytest.mark.parametrize("kind", ["good", "errs", "untrue"])
def test_nobody_is_called_where_databricks_builds_an_endpoint_anew(kind: str, made: Path) -> None:
    calm = Options(rates={"rebuild": 0.15}, begin=Begin(kinds=(kind,)))
    rebuilt = 0
    for seed in range(1, 4):
        result = run(seed, made, calm)
        assert result.violation is None, campaign.how_to_repeat(result)
        seen = result.situations
        assert not [name for name in seen if name.startswith("endpoint.foreign_change")]
        assert not seen[BY_HAND]
        rebuilt += len(result.struck)
    assert rebuilt, "nothing was built anew"


def test_a_campaign_bears_as_many_wrong_proofs_as_chance_may_bring_and_no_more() -> None:
    few, many = campaign.Found(worse=100), campaign.Found(worse=100)
    few.wrong_proofs = [{}] * 8
    many.wrong_proofs = [{}] * 15
    assert campaign.Found().wrongly == 1.0
    assert few.wrongly > campaign.UNLUCKY > many.wrongly


@pytest.mark.parametrize("name", layers.LAYERS)
def test_a_layer_of_safety_holds_alone_where_all_fall_without_it(name: str) -> None:
    # The seeds before it make nothing of a stale answer.
    first = 4 if name == "config_version" else 1
    shown = layers.show(name, range(first, first + 2))
    assert not shown.broken
    assert shown.seed is not None, shown.noticed


def test_a_failure_shrinks_to_the_few_faults_that_it_takes(made: Path) -> None:
    with bugs.BUGS["retry inside a call"]():
        # From this seed on, the one that finds it has twice as many faults as may be left.
        caught = bugs.hunt("retry inside a call", limit_s=60, first=4)
        assert caught.seed is not None, caught.noticed
        assert len(run(caught.seed, made).struck) > 20
        _, result = shrunk(caught.seed, Options(), budget=12, say=lambda _: None)
    assert result.violation is not None
    assert len(result.struck) < 12, result.struck
