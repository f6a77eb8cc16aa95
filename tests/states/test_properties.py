"""Whatever happens outside, in whatever order: the promises hold, and healing leads home.

`HYPOTHESIS_PROFILE=nightly` runs a longer campaign; a failure prints how to repeat it. Half of the
days are a first release's: each half has the time of a test of its own.
"""

import os

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from states.desired import desired, desired_alias
from states.machine import State
from states.release import Order
from states.world import Endpoint
from tests.states.oaths import check, check_steady
from tests.states.wild import Action, Wild, adopted

QUIET = 20
"""Looks without any call, over more than the ten minutes that calls are remembered."""
BOUND = 400
"""Looks within which a healed world must be at rest."""

settings.register_profile("make-test", max_examples=50)
settings.register_profile("nightly", max_examples=2_500)
PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "make-test"))
EXAMPLES = settings(
    PROFILE,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

LOOKS = st.tuples(st.just("look"), st.integers(1, 12))
HAPPENINGS = st.tuples(
    st.sampled_from(
        [
            "register", "register", "order", "fate", "fate", "edit", "alias",
            "blind", "stale", "errors", "answers", "fallback", "gone",
            "worse", "silence", "counts",
            "answer", "answer", "theirs", "drop", "resize", "delete", "anew", "staging",
            "freeze", "tag", "word", "word", "begin",
        ]
    ),
    st.integers(0, 59),
)  # fmt: skip
DAYS = st.lists(LOOKS | HAPPENINGS | LOOKS, min_size=8, max_size=50)


def look(wild: Wild, times: int, after: float = 30) -> int:
    """Look and check; how many looks went by since the last call."""
    quiet, last = 0, None
    for _ in range(times):
        before = wild.application
        world, plan = wild.turn(after)
        wild.worlds.append(world)
        check(before, world, plan)
        if last is not None:
            check_steady(*last, world, plan)
        last = world, plan
        quiet = 0 if plan.calls else quiet + 1
    return quiet


def live_through(wild: Wild, day: list[Action]) -> None:
    """Everything that happens in a day, and the looks between."""
    look(wild, 1)
    wild.do(("register", 0))
    for name, number in day:
        note(f"{name} {number}: {told_of(wild)}")
        if name == "look":
            look(wild, number)
        else:
            wild.do((name, number))


def told_of(wild: Wild) -> str:
    application = wild.application
    states = [f"{one.version} {one.state} {one.step}" for one in application.releases]
    seen = wild.endpoint.serving if isinstance(wild.endpoint, Endpoint) else wild.endpoint
    return f"{states}, {seen}, alias {wild.alias}, hold {application.hold}"


@pytest.mark.parametrize("first", [False, True], ids=["adopted", "first"])
@EXAMPLES
@given(
    day=DAYS,
    rich=st.booleans(),
    hold_back=st.sampled_from([0, 5]),
    staged=st.booleans(),
    approval=st.sampled_from(["none", "none", "before_canary", "before_production"]),
    order=st.sampled_from(["newest", "every"]),
)
def test_no_day_breaks_a_promise_and_every_healed_world_comes_to_rest(  # noqa: PLR0913
    day: list[Action],
    *,
    first: bool,
    rich: bool,
    hold_back: int,
    staged: bool,
    approval: str,
    order: str,
) -> None:
    wild = adopted(first=first, rich=rich, hold_back=hold_back, staged=staged)
    wild.rule(approval=approval, order=order)
    live_through(wild, day)
    wild.heal()
    quiet = 0
    for _ in range(BOUND):
        quiet = quiet + 1 if look(wild, 1, 60) else 0
        if quiet >= QUIET and at_rest(wild):
            break
    note(f"healed: {told_of(wild)}")
    assert quiet >= QUIET, f"calls have no end: {wild.calls[-4:]}"
    assert at_rest(wild), told_of(wild)
    assert home(wild), told_of(wild)
    assert tidy(wild), f"{wild.others} are left behind: {told_of(wild)}"


def at_rest(wild: Wild) -> bool:
    """Nothing is under way outside; every release has ended, or waits for a person and says why."""
    application = wild.application
    if wild.in_flight:
        return False
    if application.hold is not None:
        return True
    waiting = [one for one in application.releases if one.state is State.REGISTERED]
    moving = [application.live] if application.live is not None else waiting
    return all(one.hold is not None or one.order is Order.PAUSE for one in moving)


def home(wild: Wild) -> bool:
    """The endpoint and the alias are as wanted, or a sentence says why not."""
    application = wild.application
    if application.hold is not None:
        return True
    wanted, named = desired(application), desired_alias(application)
    served = wild.endpoint.serving if isinstance(wild.endpoint, Endpoint) else None
    return wanted in (None, served) and named in (None, wild.alias)


def tidy(wild: Wild) -> bool:
    """No staging endpoint of ours is there, but one that is wanted.

    What a call made that arrived a second time is not known from a copy: it is left and told.
    """
    live = wild.application.live
    left = any(wild.firsts.get(one.made_for) == one.id for one in wild.others.values())
    return not left or (live is not None and live.on_staging)
