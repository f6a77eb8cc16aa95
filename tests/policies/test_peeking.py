"""However often one looks: healthy releases are blamed, and bad ones passed, as seldom as said."""

from random import Random

import pytest

from policies.bounds import CLOSES, FALSE_PASS, FALSE_ROLLBACK
from policies.evidence import Block
from policies.judge import harmful, no_worse
from policies.standing import Standing
from policies.verdict import Outcome
from tests.policies.counts import NOON, arm, block, drawn, errors_by, set_to
from tests.policies.worlds import CRITERIA, STABLE, Day, Version

SEED, RUNS = 20261124, 100
BY_CHANCE = 2
"""What a hundred runs may have above the bound, in all but one campaign of fifty."""


@pytest.mark.parametrize("wild", [False, True])
def test_all_guards_together_blame_a_healthy_version_in_one_of_a_hundred_at_most(
    *, wild: bool
) -> None:
    random, blamed = Random(SEED + wild), []  # noqa: S311 - repeatable, not secret
    for run in range(RUNS // 2):
        standing, day, blocks = Standing.start(CRITERIA), Day(random, wild=wild), list[Block]()
        for number in range(1, 25):
            step = 1 + number // 12
            blocks.append(day.block(number, step=step, whole=number > 20))
            standing = standing.after(blocks[-1])
            if standing.evidence() >= CLOSES:
                verdict = harmful(CRITERIA, tuple(blocks))
                assert verdict is not None
                blamed.append((run, verdict.because))
                break
    assert len(blamed) <= RUNS // 2 * FALSE_ROLLBACK + BY_CHANCE, f"seed {SEED}: {blamed}"


@pytest.mark.parametrize("shares", [(1, 19), (10, 10)])
@pytest.mark.parametrize("outages", [0.0, 0.02])
def test_on_a_quiet_endpoint_one_sided_minutes_blame_nobody(
    shares: tuple[int, int], outages: float
) -> None:
    """A few requests a block: many blocks have one arm alone, and some lie in an outage of both."""
    random, criterion, blamed = Random(SEED), errors_by(), 0  # noqa: S311
    for _ in range(RUNS):
        standing = Standing.start((criterion,), set_to(0.02))
        for number in range(1, 101):
            rate = 1.0 if random.random() < outages else 0.02
            arms = []
            for share in shares:
                requests = drawn(random, 1000, share * 0.4 / 1000)
                bad = sum(random.random() < rate for _ in range(requests))
                arms.append(arm(requests, bad))
            standing = standing.after(block(*arms, number=number))
            if standing.evidence() >= CLOSES:
                blamed += 1
                break
    assert blamed <= RUNS * FALSE_ROLLBACK + BY_CHANCE, f"seed {SEED}: {blamed} of {RUNS}"


AT_THE_MARGIN = {
    "errors": Version(errors=0.02),
    "latency": Version(slower=1.25),
    "answers": Version(faulty=0.05),
    "truth": Version(truth=0.75),
}
"""Exactly at the margin of the last compared step, with a margin of 1 pp for errors."""


@pytest.mark.parametrize("guard", AT_THE_MARGIN)
def test_a_version_that_is_worse_by_the_margin_passes_in_one_of_twenty_at_most(guard: str) -> None:
    criterion = next(one for one in CRITERIA if one.guard == guard)
    weight = 25 if guard == "errors" else 50
    random, passed = Random(SEED), 0  # noqa: S311
    for _ in range(RUNS // 2):
        day, blocks = Day(random, AT_THE_MARGIN[guard], requests=(60, 60)), list[Block]()
        for number in range(1, 13):
            blocks.append(day.block(number))
            if number % 3:
                continue
            verdict = no_worse(criterion, tuple(blocks), weight=weight, pace=None)
            if verdict.outcome is Outcome.PASS:
                passed += 1
                break
    allowed = RUNS / 2 * FALSE_PASS + 3
    assert passed <= allowed, f"seed {SEED}, from {NOON}: {passed} of {RUNS // 2}"


def test_an_equal_version_passes_every_guard_but_the_scarcest() -> None:
    """The bounds above are not kept by deciding nothing."""
    day = Day(Random(SEED), STABLE, requests=(150, 150))  # noqa: S311
    blocks = day.blocks(30)
    found = {
        one.guard: no_worse(one, blocks, weight=25, pace=None).outcome is Outcome.PASS
        for one in CRITERIA
    }
    assert found == dict.fromkeys(found, True), f"seed {SEED}"
