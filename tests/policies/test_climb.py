"""A replay minute by minute: what is met, what is learnt, when a step opens, and what ends it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.backtest import Climb, End, Ending, Policy, Proof, relive, replay
from policies.bounds import CLOSES, LEANS, OPENS
from policies.evidence import NOTHING, Arm, Block, Coverage, Pair, Tally
from policies.guards import ErrorGuard, Guards, LatencyGuard
from policies.position import Waiting
from policies.rollout import Rollout
from policies.sequential import safety_after
from policies.standing import Standing
from policies.wealth import binary
from tests.policies.counts import TABLE, arm, block, errors_by, guards_by, set_to

MINUTE = timedelta(minutes=1)
QUICK = Rollout(
    steps=(5, 50, 100),
    settle=MINUTE,
    min_step=2 * MINUTE,
    bake=5 * MINUTE,
    watch=7 * MINUTE,
    patience=timedelta(hours=2),
)
ERRORS = errors_by(Guards(errors=ErrorGuard(margin=0.02)))
POLICY = Policy(rollout=QUICK, criteria=(ERRORS,))
BUSY, IDLE = arm(60_000), NOTHING
"""Enough in a minute to show what a step must show, and nothing."""
Arms = Callable[[Arm, int], Pair]


def record(minutes: int, stable: Arm = BUSY) -> list[Block]:
    return [replace(block(arm(1), stable, number=one), step=9) for one in range(1, minutes + 1)]


def evenly(stable: Arm, weight: int) -> Pair:
    """Requests and errors in proportion to the weight."""
    own = arm(stable.requests * weight // 100, stable.errors * weight // 100)
    return own, arm(stable.requests - own.requests, stable.errors - own.errors)


def noted(arms: Arms) -> tuple[Arms, list[tuple[int, int]]]:
    """The same, and each block's requests and the weight that they were split by."""
    met: list[tuple[int, int]] = []

    def note(stable: Arm, weight: int) -> Pair:
        met.append((stable.requests, weight))
        return arms(stable, weight)

    return note, met


def test_a_clean_climb_stays_as_long_as_each_step_must_and_exposes_each_steps_share() -> None:
    arms, met = noted(evenly)
    assert replay(POLICY, record(60), 0, arms) == Ending(
        end=End.OPENED,
        guard="",
        weight=100,
        time=2 * 2 * MINUTE + 12 * MINUTE,
        exposed=2 * 3000 + 2 * 30_000 + 12 * 60_000,
        failed=0,
    )
    assert [weight for _, weight in met] == [5] * 2 + [50] * 2 + [100] * 12


def test_counts_that_come_late_open_late_and_only_the_step_that_they_were_counted_on() -> None:
    """The first window after `settle` closes at 2 min, and is told of at 5; so on each step."""
    late = replace(POLICY, lag=3 * MINUTE)
    arms, met = noted(evenly)
    assert replay(late, record(60, arm(60_000, 600)), 0, arms) == Ending(
        end=End.OPENED,
        guard="",
        weight=100,
        time=(5 + 5 + 12 + 3) * MINUTE,
        exposed=5 * 3000 + 5 * 30_000 + 15 * 60_000,
        failed=5 * 30 + 5 * 300 + 15 * 600,
    )
    assert [weight for _, weight in met] == [5] * 5 + [50] * 5 + [100] * 15


def test_a_record_is_read_round_and_round_from_wherever_it_is_begun() -> None:
    """Windows at 0-1, 1-3 and 5-6 min: from the second on they end at 2, 5, 6, 8, 11, 12 min."""
    opened = block(NOTHING, NOTHING, number=0).opened_at
    windows = [
        replace(
            block(NOTHING, arm(requests)),
            opened_at=opened + begins * MINUTE,
            closed_at=opened + ends * MINUTE,
        )
        for requests, begins, ends in ((10, 0, 1), (20, 1, 3), (30, 5, 6))
    ]
    for patience, ends in ((2, 2), (3, 5), (5.5, 6), (6.5, 8), (11, 11), (11.5, 12)):
        policy = replace(POLICY, rollout=replace(QUICK, patience=patience * MINUTE))
        arms, met = noted(lambda _stable, _weight: (IDLE, IDLE))
        ending = replay(policy, windows, 1, arms)
        assert ending == Ending(
            end=End.UNDECIDED, guard="errors", weight=5, time=ends * MINUTE, exposed=0, failed=0
        )
        assert met == [(20, 5), (30, 5), (10, 5), (20, 5), (30, 5), (10, 5)][: len(met)]


def test_a_record_of_windows_without_length_is_none() -> None:
    opened = block(NOTHING, NOTHING).opened_at
    with pytest.raises(AssertionError) as refused:
        replay(POLICY, [replace(block(NOTHING, BUSY), closed_at=opened)], 0, evenly)
    assert str(refused.value).splitlines()[0] == "a window has a length"


@pytest.mark.parametrize(("settle", "opens"), [(3.9, 5), (4, 5), (4.1, 6)])
def test_safety_begins_with_the_first_window_that_opened_once_settle_was_over(
    settle: float, opens: int
) -> None:
    """Of windows of 0-2, 4-5 and 5-6 min."""
    opened = block(NOTHING, NOTHING, number=0).opened_at
    windows = [
        replace(
            block(NOTHING, BUSY),
            opened_at=opened + begins * MINUTE,
            closed_at=opened + ends * MINUTE,
        )
        for begins, ends in ((0, 2), (4, 5), (5, 6))
    ]
    policy = replace(POLICY, rollout=replace(QUICK, settle=settle * MINUTE, steps=(5, 100)))
    ending = replay(policy, windows, 0, evenly)
    assert ending.end is End.OPENED
    # Rounds are of 6 min: there are windows that end 12 min after each.
    assert ending.time == (opens + 12) * MINUTE


def test_the_longest_stay_ends_a_step_that_shows_nothing_and_not_one_that_does() -> None:
    policy = replace(POLICY, rollout=replace(QUICK, min_step=5 * MINUTE, patience=5 * MINUTE))
    assert replay(policy, record(60), 0, evenly).end is End.OPENED
    thin = replay(policy, record(60, arm(20)), 0, evenly)
    assert thin == Ending(
        end=End.UNDECIDED, guard="errors", weight=5, time=5 * MINUTE, exposed=5, failed=0
    )


def test_a_step_that_is_shown_to_be_safe_waits_while_harm_is_the_likelier() -> None:
    """A thousandth more errors in its second minute, and nobody asks after that."""
    policy = replace(POLICY, rollout=replace(QUICK, patience=6 * MINUTE))
    windows = [(IDLE, IDLE), (arm(3000, 12), arm(57_000, 57)), *[(IDLE, IDLE)] * 9]
    coming = iter(windows)
    assert replay(policy, record(9), 0, lambda _stable, _weight: next(coming)) == Ending(
        end=End.UNDECIDED, guard="", weight=5, time=6 * MINUTE, exposed=3000, failed=12
    )


def test_a_record_is_read_twenty_times_on_each_step_anew() -> None:
    """Two minutes open the first step; on the second the candidate is asked nothing."""

    def arms(stable: Arm, weight: int) -> Pair:
        return evenly(stable, weight) if weight == 5 else (IDLE, stable)

    patient = replace(POLICY, rollout=replace(QUICK, patience=timedelta(days=9)))
    assert replay(patient, record(2), 0, arms) == Ending(
        end=End.UNDECIDED,
        guard="errors",
        weight=50,
        time=(2 + 20 * 2) * MINUTE,
        exposed=6000,
        failed=0,
    )
    nothing = replay(patient, record(3), 0, lambda stable, _weight: (IDLE, stable))
    assert nothing.time == (20 * 3 + 1) * MINUTE


def test_a_failing_candidate_is_closed_on_the_step_that_it_fails_on() -> None:
    def arms(stable: Arm, weight: int) -> Pair:
        own, rest = evenly(stable, weight)
        return (own if weight == 5 else arm(own.requests, own.requests)), rest

    assert replay(POLICY, record(60), 0, arms) == Ending(
        end=End.CLOSED, guard="errors", weight=50, time=3 * MINUTE, exposed=36_000, failed=30_000
    )
    late = replace(POLICY, lag=2 * MINUTE)
    # Its step opened at 4 min; the first window on it is told of at 7.
    assert replay(late, record(60), 0, arms) == Ending(
        end=End.CLOSED,
        guard="errors",
        weight=50,
        time=7 * MINUTE,
        exposed=4 * 3000 + 3 * 30_000,
        failed=3 * 30_000,
    )


def test_at_100_percent_a_candidate_is_held_to_what_stable_did_on_the_last_compared_step() -> None:
    """As often as stable fails, and far more: of 1 % failures, and of 5 %."""

    def arms(times: int) -> Arms:
        def made(stable: Arm, weight: int) -> Pair:
            own, rest = evenly(stable, weight)
            return (arm(own.requests, own.errors * times) if weight == 100 else own), rest

        return made

    blocks = record(60, arm(60_000, 600))
    assert replay(POLICY, blocks, 0, arms(1)).end is End.OPENED
    assert replay(POLICY, blocks, 0, arms(5)) == Ending(
        end=End.CLOSED,
        guard="errors",
        weight=100,
        time=5 * MINUTE,
        exposed=6000 + 60_000 + 60_000,
        failed=60 + 600 + 3000,
    )


def test_what_one_arm_alone_saw_on_a_step_is_not_held_against_the_next() -> None:
    """Five failures while nobody asked stable; then a minute in which nobody asked the candidate.

    Put together they would close the gate.
    """
    policy = replace(POLICY, rollout=replace(QUICK, min_step=3 * MINUTE))
    windows = [evenly(BUSY, 5)] * 2 + [(arm(5, 5), IDLE), (IDLE, BUSY)] + [evenly(BUSY, 50)] * 60
    coming = iter(windows)
    ending = replay(policy, record(30), 0, lambda _stable, _weight: next(coming))
    assert ending.end is End.OPENED
    joined = iter([*windows[:1], *windows[2:]])
    ending = replay(policy, record(30), 0, lambda _stable, _weight: next(joined))
    assert (ending.end, ending.weight) == (End.CLOSED, 5)


def test_a_windows_requests_are_met_of_the_source_that_counts_errors() -> None:
    latency = guards_by(only=("latency",))[0]
    from_metrics = replace(ERRORS, source="metrics")
    assert POLICY.source == TABLE
    assert replace(POLICY, criteria=(latency, from_metrics)).source == "metrics"
    assert replace(POLICY, criteria=(latency,)).source == TABLE
    assert replace(POLICY, criteria=(replace(latency, source="query"), latency)).source == TABLE
    assert replace(POLICY, criteria=()).source is None
    climb = Climb.start(replace(POLICY, criteria=(latency, from_metrics)))
    climb.meet(block(arm(10, 4), arm(5), source=TABLE))
    climb.meet(block(arm(7, 3), arm(5), source="metrics"))
    climb.meet(block(arm(20, 1), arm(5), source="metrics"))
    assert (climb.exposed, climb.failed) == (27, 4)


def test_a_proof_waits_for_both_arms_and_folds_them_as_a_step_does() -> None:
    question = ERRORS.safety(5)
    begun = Proof(question.unproven(5))
    one_sided = begun.after(ERRORS, 5, block(arm(7), IDLE))
    assert one_sided.wealth == begun.wealth
    assert one_sided.waiting == Waiting(1, binary(7, 0), binary(0, 0))
    both = one_sided.after(ERRORS, 5, block(arm(3, 1), arm(90)))
    pair = (binary(7, 0) + binary(3, 1), binary(0, 0) + binary(90, 0))
    assert both == Proof(safety_after(question.comparison, begun.wealth, pair), Waiting(1))


def test_a_proof_is_of_windows_of_its_step_and_source_and_of_guards_that_decide() -> None:
    observed = replace(ERRORS, observe=True, guard="observed")
    other = replace(ERRORS, source="metrics", guard="other")
    climb = Climb.start(replace(POLICY, criteria=(ERRORS, observed, other)))
    clean = block(arm(500), arm(9500))
    for left_out in (replace(clean, comparable=False), replace(clean, step=2)):
        climb.learn(left_out)
        assert climb.proofs == {}
    climb.learn(clean)
    unproven = Proof(ERRORS.safety(5).unproven(5))
    assert climb.proofs == {"errors": unproven.after(ERRORS, 5, clean)}
    short = [climb.short]
    climb.learn(replace(clean, source="metrics"))
    assert climb.proofs["other"] == climb.proofs["errors"]
    assert [*short, climb.short] == ["other", None]
    assert climb.may_open
    # All of them were folded for harm, whatever step they are of.
    parts = [replace(clean, comparable=False), replace(clean, step=2), clean]
    start = Standing.start((ERRORS, observed, other))
    assert climb.standing == start.after(*parts, replace(clean, source="metrics"))


def test_the_guard_that_is_short_is_the_farthest_from_its_proof() -> None:
    names = ("near", "far", "done")
    guards = tuple(replace(ERRORS, guard=name, source=name) for name in names)
    climb = Climb.start(replace(POLICY, criteria=(*guards, replace(ERRORS, observe=True))))
    for name, requests in zip(names, (20, 10, 2000), strict=True):
        climb.learn(block(arm(requests), arm(19 * requests), source=name))
    assert climb.short == "far"
    assert not climb.may_open
    climb.learn(block(arm(2000), arm(38_000), source="far"))
    assert climb.short == "near"
    climb.learn(block(arm(2000), arm(38_000), source="near"))
    assert climb.short is None


def test_no_step_opens_while_harm_is_the_likelier_though_safety_is_shown() -> None:
    """A thousandth more errors: within the margin of a first step, and likelier harm than not."""
    climb = Climb.start(POLICY)
    climb.learn(block(arm(3000, 12), arm(57_000, 57)))
    assert climb.short is None
    assert LEANS < climb.standing.evidence() < CLOSES
    assert climb.harmed is None
    assert not climb.may_open
    climb.learn(block(arm(9000, 9), arm(57_000, 57)))
    assert climb.standing.evidence() <= LEANS
    assert climb.may_open


def test_the_next_step_begins_with_nothing_shown() -> None:
    climb = Climb.start(POLICY, set_to(0.3))
    assert climb == Climb(
        policy=POLICY, standing=Standing.start((ERRORS,), set_to(0.3)), weight=5, step=1
    )
    climb.learn(block(arm(500), arm(9500)))
    climb.meet(block(arm(500, 2), arm(9500)))
    before = climb.standing
    climb.open(7 * MINUTE)
    assert climb == Climb(
        policy=POLICY,
        standing=before,
        weight=50,
        step=2,
        since=7 * MINUTE,
        exposed=500,
        failed=2,
    )
    assert climb.short == "errors"
    climb.learn(block(arm(500), arm(500), step=2))
    assert climb.proofs["errors"].wealth.evidence >= OPENS
    assert climb.ended(End.UNDECIDED, "errors", 9 * MINUTE) == Ending(
        end=End.UNDECIDED, guard="errors", weight=50, time=9 * MINUTE, exposed=500, failed=2
    )


def test_the_guard_that_closes_is_the_one_whose_evidence_weighs_most() -> None:
    both = guards_by(Guards(latency=LatencyGuard()), only=("errors", "latency"))
    counts = (90, 88, 60, 58, 55, 50, 45, 40, 30, 20, 10, 5, 5, 5)
    slow, usual = Tally(seen=100, counts=counts), Tally(seen=100, counts=(50,) + (0,) * 13)
    slower = block(arm(100, latency=slow), arm(1900, latency=usual))
    climb = Climb.start(replace(POLICY, criteria=both))
    for _ in range(5):
        climb.learn(slower)
    assert climb.harmed == "latency"
    failing = Climb.start(replace(POLICY, criteria=both))
    failing.learn(block(arm(100, 90), arm(1900)))
    assert failing.harmed == "errors"


def spans(*parts: tuple[int, int, int, Arm, Arm]) -> list[Block]:
    """Blocks of a minute each: span, step, how many, and both arms; whole at the third step."""
    found: list[Block] = []
    for span, step, number, candidate, stable in parts:
        found += [
            block(
                candidate,
                stable,
                number=len(found) + 1 + one,
                span=span,
                step=step,
                whole=step == 3,
            )
            for one in range(number)
        ]
    return found


WEIGHTS = {1: 5, 2: 50, 3: 100}


@pytest.mark.parametrize(
    ("blocks", "end", "guard", "weight"),
    [
        # Shown on its last step; short of it there; and at 100 %, where nothing is left to show.
        (spans((1, 1, 3, arm(500), arm(9500))), End.OPENED, "", 5),
        (spans((1, 1, 3, arm(5), arm(95))), End.UNDECIDED, "errors", 5),
        (spans((1, 1, 3, arm(5), arm(95)), (2, 3, 1, arm(100), IDLE)), End.OPENED, "", 100),
        # What the first step has shown speaks for no other, nor before a pause for what is after.
        (spans((1, 1, 3, arm(500), arm(9500)), (2, 2, 2, arm(5), arm(5))),
         End.UNDECIDED, "errors", 50),
        (spans((1, 1, 3, arm(500), arm(9500)), (2, 1, 2, arm(5), arm(95))),
         End.UNDECIDED, "errors", 5),
        (spans((1, 1, 3, arm(5), arm(95)), (2, 2, 2, arm(500), arm(500))), End.OPENED, "", 50),
    ],
)  # fmt: skip
def test_a_relived_release_comes_to_what_its_last_step_has_shown(
    blocks: Sequence[Block], end: End, guard: str, weight: int
) -> None:
    for lag in (timedelta(), timedelta(minutes=90)):
        assert relive(replace(POLICY, lag=lag), blocks, WEIGHTS) == Ending(
            end=end,
            guard=guard,
            weight=weight,
            time=len(blocks) * MINUTE + lag,
            exposed=sum(one.candidate.requests for one in blocks),
            failed=0,
        )


def test_a_release_was_at_the_weights_that_its_own_steps_had() -> None:
    """Not at those that the policy begins with: 150 requests show 3 pp, and not 0.5 pp."""
    tight = replace(POLICY, criteria=(errors_by(),))
    blocks = spans((1, 1, 2, arm(75), arm(75)))
    for weight, end, guard in ((5, End.OPENED, ""), (50, End.UNDECIDED, "errors")):
        ending = relive(tight, blocks, {1: weight, 2: 100})
        assert (ending.weight, ending.end, ending.guard) == (weight, end, guard)


def test_a_step_that_no_weight_is_told_of_had_all_users() -> None:
    blocks = spans((1, 1, 2, arm(5), arm(95)), (2, 3, 2, arm(100), IDLE))
    ending = relive(POLICY, blocks, {1: 5, 2: 50})
    assert (ending.weight, ending.end) == (100, End.UNDECIDED)


@pytest.mark.parametrize(("seconds", "met"), [(0, 1), (59, 1), (60, 2), (119, 2), (120, 3)])
def test_whoever_asked_until_the_counts_came_was_exposed(seconds: int, met: int) -> None:
    """The first minute closes the gate; a window that ends as it is told of is among them."""
    blocks = spans((1, 1, 9, arm(30, 29), arm(570)))
    lag = timedelta(seconds=seconds)
    assert relive(replace(POLICY, lag=lag), blocks, WEIGHTS) == Ending(
        end=End.CLOSED,
        guard="errors",
        weight=5,
        time=MINUTE + lag,
        exposed=30 * met,
        failed=29 * met,
    )


def test_a_relived_release_is_judged_as_counted_whatever_the_metrics_told() -> None:
    """What only the metrics saw is charged to a candidate when it is to open, and not here."""
    cover = Coverage(requests=600, failed=600, seen=600, seen_failed=0)
    blocks = [replace(one, coverage=cover) for one in spans((1, 1, 3, arm(500), arm(9500)))]
    assert relive(POLICY, blocks, WEIGHTS).end is End.OPENED
    assert replay(POLICY, blocks, 0, lambda _s, weight: evenly(BUSY, weight)).end is End.OPENED


def test_no_step_opens_while_its_counts_lie_above_the_hard_limit() -> None:
    climb = Climb.start(POLICY)
    climb.learn(block(arm(3_000, 153, 153), arm(57_000, 2_750, 2_750)))
    assert climb.short is None
    assert climb.standing.evidence() <= LEANS
    opens = [climb.may_open]
    climb.learn(block(arm(3_000, 140, 140), arm(57_000, 2_750, 2_750)))
    assert [*opens, climb.may_open] == [False, True]
    climb.open(timedelta(hours=1))
    assert climb.own == [], "each step has its own"
