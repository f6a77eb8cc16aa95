"""A replay, look by look: what it draws, folds and concludes, and what an undecided one opens."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.pairs import Pair, Reply
from policies.replay import Batch, Drawn, Replay, Replayed, folded
from policies.rollout import Rollout
from policies.verdict import Outcome
from states.machine import State, Trigger
from states.plan import Event
from states.release import Release
from states.replaying import (
    FAILING,
    MASKED,
    masked,
    replayed,
    undecided_rolls_back,
    unproven,
    unreplayed,
)
from states.spec import Spec
from states.world import Endpoint
from tests.states.records import (
    PINNED,
    application,
    endpoint,
    moved,
    release,
    told,
    turn,
)
from tests.states.story import SPEC, START, alike, serving

ASKING = Replay(requests=200)
PLAN = replace(PINNED, replay=ASKING)
IDS = tuple(f"request-{number:03}" for number in range(200))
SEEN = endpoint(serving(v1=100, v2=0))
BEGAN = timedelta(minutes=7)
FRESH = Replayed(began=BEGAN)
DRAWN = replace(FRESH, drawn=200, drawn_at=START - timedelta(minutes=1), left=IDS)
FAILED = Reply(failed=True)
GOLDENS = "3 of 3 golden queries failed on both versions: the environment is at fault"
REMEDY = "abort it, or set replay.on_undecided to go_on and restart the daemon"


def both_fail(request: str) -> Pair:
    """What stable has answered to a user, and neither answers now."""
    return replace(alike(request), candidate=FAILED, stable=FAILED, overlap=None)


def worse(request: str) -> Pair:
    return replace(alike(request), candidate=FAILED, overlap=None)


def trial(seen: Replayed | None = None, **facts: object) -> Release:
    """Version 2 in Testing, whose golden queries have passed."""
    made = release(State.TESTING, pinned=PLAN, replay=seen, in_state=BEGAN)
    return replace(made, **facts)  # type: ignore[arg-type]


def look(
    one: Release, brought: Drawn | Batch | None = None, seen: Endpoint | None = SEEN
) -> tuple[Release | None, Release, list[Event]]:
    """What is let on, what is recorded, and what is told."""
    made = turn(application(one), seen, replay=brought)
    on = replayed(made, one)
    return on, made.application.releases[0], made.events


def nothing(one: Release, brought: Drawn | Batch | None = None) -> bool:
    """Whether a look changes nothing, and lets nobody on."""
    return look(one, brought) == (None, one, [])


def test_without_a_plan_for_it_or_after_its_end_it_holds_nobody_back() -> None:
    for one in (
        trial(pinned=PINNED, hold=GOLDENS),
        trial(replace(DRAWN, outcome=Outcome.PASS), hold=GOLDENS),
        trial(replace(DRAWN, outcome=Outcome.INSUFFICIENT)),
    ):
        assert look(one) == (one, one, [])
        assert not unreplayed(one)
    assert not unreplayed(release(State.REGISTERED))
    for one in (trial(), trial(FRESH), trial(DRAWN)):
        assert unreplayed(one)


def test_it_begins_with_the_look_that_the_golden_queries_pass_in() -> None:
    began = trial(replay=Replayed(began=BEGAN))
    assert look(trial()) == (None, began, [])
    after = look(trial(hold=GOLDENS))
    assert after == (None, began, [told("release.freed", f"no longer: {GOLDENS}")])
    other = trial(hold="something")
    assert look(other) == (None, replace(began, hold="something"), [])


def test_behind_a_fallback_nothing_is_asked_until_it_is_off() -> None:
    assert masked(replace(SEEN, fallback=True))
    assert not masked(SEEN)
    assert not masked(None)
    batch = Batch(pairs=tuple(map(alike, IDS[:9])))
    held = trial(DRAWN, hold=MASKED, needs_person=True)
    hides = "AI Gateway's fallback hides errors of what is replayed: switch fallback_config off"
    assert look(trial(DRAWN), batch, replace(SEEN, fallback=True)) == (
        None,
        held,
        [told("release.held", hides, level="warning")],
    )
    freed = [told("release.freed", f"no longer: {MASKED}")]
    assert look(held) == (None, trial(DRAWN), freed)


def test_the_sample_is_drawn_once() -> None:
    on, after, events = look(trial(FRESH), Drawn(requests=IDS))
    assert on is None
    assert after == trial(replace(FRESH, drawn=200, drawn_at=START, left=IDS))
    because = "200 of stable's requests of the last 1 d are replayed"
    assert events == [told("replay.started", because, drawn=200)]
    assert nothing(trial(DRAWN), Drawn(requests=IDS[:9]))
    assert nothing(trial(FRESH), Batch(pairs=(alike(IDS[0]),))), "nobody has asked for it"
    fewer = Drawn(requests=IDS[:9], why="9 are all there are")
    _, after, events = look(trial(FRESH), fewer)
    assert after.replay == replace(
        FRESH, drawn=9, drawn_at=START, left=IDS[:9], why="9 are all there are"
    )
    assert events == [told("replay.started", "9 are all there are", drawn=9)]


def test_where_there_is_nothing_to_replay_it_ends_undecided_and_lets_on() -> None:
    none = Drawn(why="nothing of users is recorded")
    on, after, events = look(trial(FRESH), none)
    because = "replay of 0 recorded requests leaves undecided: nothing of users is recorded"
    ended = replace(
        FRESH,
        drawn=0,
        drawn_at=START,
        why=none.why,
        outcome=Outcome.INSUFFICIENT,
        because=because,
    )
    assert on == after == trial(ended)
    assert [one.name for one in events] == ["replay.started", "replay.finished"]
    assert (events[1].because, events[1].level) == (because, "warning")
    assert events[1].fields["verdict"] == "INSUFFICIENT"


def test_pairs_are_folded_in_and_told_as_they_come() -> None:
    batch = Batch(pairs=tuple(map(alike, IDS[:20])))
    on, after, events = look(trial(DRAWN), batch)
    assert on is None
    assert after == trial(folded(DRAWN, batch))
    assert after.replay is not None
    assert (after.replay.pairs, after.replay.left) == (20, IDS[20:])
    because = "20 of 200 recorded requests are replayed"
    assert events == [told("replay.batch", because, asked=20, drawn=200, pairs=20)]
    # The same again, as after a kill, is neither counted nor told.
    assert nothing(after, batch)
    assert nothing(after)


def test_numbers_have_their_thousands() -> None:
    ids = tuple(f"request-{number}" for number in range(2000))
    _, after, events = look(trial(FRESH), Drawn(requests=ids))
    assert events[0].because == "2,000 of stable's requests of the last 1 d are replayed"
    _, _, events = look(after, Batch(pairs=tuple(map(alike, ids[:1100]))))
    assert events[0].because == "1,100 of 2,000 recorded requests are replayed"


def test_while_the_environment_fails_it_is_held_until_a_batch_is_well() -> None:
    broken = Batch(pairs=tuple(map(both_fail, IDS[:4])))
    on, after, events = look(trial(DRAWN), broken)
    assert on is None
    assert FAILING == (
        "recorded requests that stable has answered fail on both versions: the environment is at "
        "fault"
    )
    assert after == trial(folded(DRAWN, broken), hold=FAILING)
    assert after.replay is not None
    assert after.replay.again == IDS[:4]
    assert events == [told("release.held", FAILING, level="warning")]
    assert nothing(after), "nothing new was asked"

    well = Batch(pairs=tuple(map(alike, IDS[4:8])))
    _, later, events = look(after, well)
    assert later == trial(folded(folded(DRAWN, broken), well))
    assert [one.name for one in events] == ["release.freed", "replay.batch"]
    other = trial(DRAWN, hold="something")
    assert look(other, well)[1].hold == "something"


GOOD = folded(DRAWN, Batch(pairs=tuple(map(alike, IDS[:-1]))))
"""All but one were answered as stable answers them."""
LAST = Batch(pairs=(alike(IDS[-1]),))


def test_a_version_that_answers_as_stable_does_passes_and_goes_on() -> None:
    assert nothing(trial(replace(DRAWN, left=IDS[:1]))), "one is left"
    on, after, events = look(trial(GOOD), LAST)
    ended = folded(GOOD, LAST)
    assert on == after
    assert on is not None
    assert on.replay is not None
    because = on.replay.because
    assert because.startswith(
        "replay of 200 recorded requests: no worse: errors 0, stable 0 of 200"
    )
    assert on == trial(replace(ended, outcome=Outcome.PASS, because=because))
    finished = events[-1]
    assert [one.name for one in events] == ["replay.batch", "replay.finished"]
    assert (finished.because, finished.level, finished.release) == (because, "info", ("2", 1))
    facts = dict(finished.fields)
    assert (facts.pop("verdict"), facts.pop("guard"), facts.pop("worst")) == ("PASS", "replay", [])
    assert (facts["pairs"], facts["drawn"], facts["passes_at"]) == (200, 200, 20)


def test_a_version_that_fails_what_stable_answers_goes_home() -> None:
    bad = Batch(pairs=tuple(map(worse, IDS[:40])))
    on, after, events = look(trial(DRAWN, hold=FAILING), bad)
    assert on is None
    because = (
        "replay of 40 recorded requests: errors 40, stable 0 of 40: worse by over 0.4 pp, evidence"
    )
    assert after.because.startswith(because)
    assert (after.state, after.hold) == (State.ROLLED_BACK, None)
    ended = folded(DRAWN, bad)
    assert after.replay == replace(
        ended, left=(), again=(), outcome=Outcome.FAIL, because=after.because
    )
    names = ["release.freed", "replay.batch", "replay.finished"]
    assert [one.name for one in events[:-1]] == names
    assert events[-1] == moved(
        Trigger.ROLL_BACK, State.TESTING, State.ROLLED_BACK, after.because, level="error"
    )
    finished = events[-2]
    assert (finished.level, finished.fields["verdict"]) == ("warning", "FAIL")
    assert finished.fields["guard"] == "errors"
    told_worst = [{"request": one.request, "why": one.why} for one in ended.worst]
    assert finished.fields["worst"] == told_worst
    assert [one["request"] for one in told_worst] == list(IDS[:10])


def test_it_ends_in_time_with_what_it_has() -> None:
    within = ASKING.within
    few = folded(DRAWN, Batch(pairs=tuple(map(alike, IDS[:20]))))
    assert nothing(trial(few, in_state=BEGAN + within - timedelta(seconds=1)))
    on, after, events = look(trial(few, in_state=BEGAN + within))
    assert on == after
    because = "replay of 20 recorded requests leaves undecided: 20 of 200 in 30 min"
    assert after.replay == replace(
        few,
        left=(),
        why="20 of 200 in 30 min",
        outcome=Outcome.INSUFFICIENT,
        because=because,
    )
    assert [(one.name, one.because, one.level) for one in events] == [
        ("replay.finished", because, "warning")
    ]
    # That nothing is left is no lack of time; that nothing was drawn is one.
    whole = folded(GOOD, LAST)
    on, _, _ = look(trial(whole, in_state=BEGAN + within))
    assert on is not None
    assert on.replay is not None
    assert (on.replay.outcome, on.replay.why) == (Outcome.PASS, "")
    on, _, _ = look(trial(FRESH, in_state=BEGAN + within))
    assert on is not None
    assert on.replay is not None
    assert (on.replay.outcome, on.replay.why) == (Outcome.INSUFFICIENT, "")


def test_a_hold_for_the_environment_ends_with_the_replay() -> None:
    few = folded(DRAWN, Batch(pairs=tuple(map(both_fail, IDS[:20]))))
    late = trial(few, in_state=BEGAN + ASKING.within, hold=FAILING)
    on, _, events = look(late)
    assert on is not None
    assert on.hold is None
    assert few.again
    assert on.replay is not None
    assert (on.replay.left, on.replay.again) == ((), ()), "nothing is asked any more"
    assert [one.name for one in events] == ["release.freed", "replay.finished"]
    other, _, _ = look(replace(late, hold="something"))
    assert other is not None
    assert other.hold == "something"


UNDECIDED = Replayed(drawn=20, pairs=20, outcome=Outcome.INSUFFICIENT, because="nobody knows")
ALONE = replace(PLAN, rollout=Rollout(steps=(100,)))
DISTURBED = replace(UNDECIDED, troubled=6)
LEANING = replace(
    folded(replace(DRAWN, left=IDS), Batch(pairs=tuple(map(worse, IDS[:3])))),
    outcome=Outcome.INSUFFICIENT,
    because="nobody knows",
)
NEVER = f"nobody knows, and no step below 100 % will decide it: {REMEDY}"


def kept(one: Release, spec: Spec = SPEC) -> str | None:
    return unproven(turn(application(one, spec=spec)), one)


@pytest.mark.parametrize(
    ("seen", "plan", "why"),
    [
        (UNDECIDED, PINNED, None),
        (None, PLAN, None),
        (None, ALONE, None),
        (replace(UNDECIDED, outcome=Outcome.PASS), ALONE, None),
        (replace(DISTURBED, outcome=Outcome.PASS), PLAN, None),
        (UNDECIDED, PLAN, None),
        (UNDECIDED, ALONE, NEVER),
        (DISTURBED, PLAN, f"nobody knows; {REMEDY}"),
        (DISTURBED, ALONE, NEVER),
        (LEANING, PLAN, f"nobody knows; {REMEDY}"),
        (LEANING, ALONE, NEVER),
        (UNDECIDED, replace(PLAN, rollout=Rollout(steps=(99, 100))), None),
    ],
)
def test_what_a_replay_leaves_undecided_is_asked_where_no_step_will_tell(
    seen: Replayed | None, plan: object, why: str | None
) -> None:
    assert kept(trial(seen, pinned=plan)) == why


def test_the_configuration_of_today_says_what_becomes_of_it() -> None:
    go_on, back, ask = (
        replace(ASKING, on_undecided=answer) for answer in ("go_on", "roll_back", "ask")
    )  # fmt: skip
    alone = trial(UNDECIDED, pinned=replace(ALONE, replay=go_on))
    assert kept(alone) is None, "as it was pinned, where nothing is configured today"
    assert kept(alone, replace(SPEC, replay=ask)) == NEVER
    asks = trial(UNDECIDED, pinned=ALONE)
    assert kept(asks, replace(SPEC, replay=go_on)) is None
    for pinned, today, rolls in (
        (back, None, True),
        (back, ask, False),
        (ask, back, True),
        (ask, None, False),
        (None, back, True),
        (None, None, False),
    ):
        one = trial(UNDECIDED, pinned=replace(PLAN, replay=pinned))
        known = application(one, spec=replace(SPEC, replay=today))
        assert undecided_rolls_back(turn(known), one) is rolls
