"""Users who are split anew between two looks: what was counted meanwhile is told, not tested."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.evidence import Arm, Block
from policies.judge import harmful
from policies.standing import Standing
from states.judging import guards_of
from states.leap import leapt
from states.machine import State
from states.mixing import mixed_after, note_split
from states.release import Release
from states.span import Span, Split
from states.world import Absent
from tests.states import byhand
from tests.states.story import SOURCE, START, Story, serving

LOOK = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
TOOK = timedelta(seconds=4)
SEEN = byhand.NOW - LOOK
FIRST = Span(number=1, step=1, weight=5, starts_at=SEEN - MINUTE, settled=True)


def on_trial(weights: dict[str, int], state: State = State.CANARY, **facts: object) -> Release:
    split = Split(weights=weights, seen_at=SEEN)
    seen = {"state": state, "step": 1, "spans": (FIRST,), "settled": True, "split": split}
    return byhand.candidate(**(seen | facts))


def noted(release: Release, **weights: int) -> tuple[Release, object]:
    look = byhand.turn(byhand.record(release), byhand.shown(serving(**weights)), took=TOOK)
    return note_split(look, release)


def counted(**facts: object) -> Block:
    """A window in which half of the candidate's requests failed, and none of stable's."""
    made = Block(
        number=1,
        source=SOURCE,
        span=1,
        step=1,
        comparable=True,
        opened_at=START,
        closed_at=START + LOOK,
        candidate=Arm(requests=2000, errors=1000, server_errors=1000),
        stable=Arm(requests=2000, errors=0, server_errors=0),
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def climbing(**facts: object) -> Story:
    """Version 2 on its first step, whose split was seen once."""
    story = Story(**facts)  # type: ignore[arg-type]
    story.look()
    story.register(2)
    story.until("Canary")
    story.look()
    return story


def test_what_was_counted_between_two_splits_speaks_of_both() -> None:
    release, until = noted(on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}), v1=40, v2=60)
    assert until == SEEN
    between = Span(number=2, step=1, weight=5, starts_at=SEEN, settled=False)
    after = replace(between, number=3, starts_at=byhand.NOW + TOOK)
    assert release.spans == (FIRST, between, after)
    assert (release.mixed, release.settled) == ((2,), False)
    weights = {"rag_chatbot-v1": 40, "rag_chatbot-v2": 60}
    assert release.split == Split(weights=weights, seen_at=byhand.NOW)


def test_a_split_that_is_as_it_was_cuts_nothing() -> None:
    before = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5})
    after, until = noted(before, v2=5, v1=95, v3=0)
    assert until is None
    assert before.split is not None
    assert after == replace(before, split=replace(before.split, seen_at=byhand.NOW))


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        (State.TESTING, {}),
        (State.ROLLED_BACK, {}),
        (State.CANARY, {"spans": ()}),
        (State.CANARY, {"split": None}),
    ],
)
def test_where_nothing_is_counted_yet_or_any_more_the_split_is_remembered_alone(
    state: State, facts: dict[str, object]
) -> None:
    before = on_trial({"rag_chatbot-v1": 100}, state, **facts)
    after, until = noted(before, v1=95, v2=5)
    assert until is None
    weights = {"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}
    assert after == replace(before, split=Split(weights=weights, seen_at=byhand.NOW))


def test_a_watched_version_is_cut_too() -> None:
    release, until = noted(on_trial({"rag_chatbot-v2": 100}, State.PRODUCTION), v1=50, v2=50)
    assert until == SEEN
    assert [(one.weight, one.settled) for one in release.spans[1:]] == [(100, False)] * 2


@pytest.mark.parametrize("unseen", [None, Absent()])
def test_an_endpoint_that_is_not_seen_has_the_split_that_was_seen_last(
    unseen: Absent | None,
) -> None:
    release = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5})
    look = byhand.turn(byhand.record(release), unseen)
    assert note_split(look, release) == (release, None)


def test_a_source_that_had_not_told_so_far_when_the_split_was_last_seen_is_believed() -> None:
    block = counted()
    assert mixed_after(block, SEEN - LOOK, SEEN) == block
    assert mixed_after(block, SEEN, SEEN) == block
    later = SEEN + timedelta(seconds=1)
    assert mixed_after(block, later, SEEN) == replace(block, mixed=True, comparable=False)
    assert mixed_after(block, later, None) == block


def test_what_is_mixed_is_no_evidence_for_or_against_anybody() -> None:
    story = climbing()
    criteria = guards_of(story.live)
    bad = counted()
    assert harmful(criteria, (bad,)) is not None
    assert harmful(criteria, (replace(bad, mixed=True),)) is None
    before = Standing.start(criteria)
    for whole in (False, True):
        assert before.after(replace(bad, mixed=True, comparable=False, whole=whole)) == before


def test_a_bad_minute_that_only_one_of_them_had_users_in_blames_nobody() -> None:
    """Somebody gives the version all users in the middle of an outage that both would have had."""
    story = climbing()
    story.error_rates["2"] = 0.5
    story.edit(v1=0, v2=100)
    story.look()
    assert story.live.blocks[-1].mixed
    assert story.live.blocks[-1].candidate.errors > 0
    assert story.live.state is State.CANARY
    told = [one for one in story.events if one.name == "evidence.block" and one.fields.get("mixed")]
    assert told[-1].fields["candidate_errors"] == story.live.blocks[-1].candidate.errors


def test_what_a_step_of_headgates_own_brings_is_tested_from_its_first_user_on() -> None:
    story = climbing(error_rates={"2": 0.5})
    assert story.live.state is State.ROLLED_BACK
    assert (story.live.mixed, [one.mixed for one in story.live.blocks]) == ((), [False])


def test_a_step_that_nobody_looked_at_for_long_is_an_exception() -> None:
    story = Story(error_rates={"2": 0.5})
    story.look()
    story.register(2)
    story.until("Canary")
    story.look(after=61)
    assert story.live.state is State.CANARY
    assert (story.live.mixed, [one.mixed for one in story.live.blocks]) == ((2,), [True])


def test_a_gate_that_headgate_shuts_is_an_exception() -> None:
    """What shut it befell everybody, and then the version has no users to share the rest of it."""
    story = climbing()
    story.application = story.application.with_release(
        replace(story.live, shut=True, settled=False)
    )
    story.look()
    assert story.weight(2) == 0
    story.look()
    assert story.live.blocks[-1].mixed


def test_a_clock_that_is_set_moves_when_the_split_was_seen() -> None:
    release = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5})
    moved = leapt(byhand.record(release), MINUTE).live
    assert moved is not None
    assert moved.split == Split(weights=dict(release.split.weights), seen_at=SEEN + MINUTE)  # type: ignore[union-attr]
