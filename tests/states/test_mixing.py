"""Users who are split anew between two looks: what was counted meanwhile is told, not tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from policies.evidence import Arm, Block
from policies.fuse import Minute
from policies.judge import harmful
from policies.standing import Standing
from states.judging import guards_of
from states.leap import leapt
from states.machine import State
from states.mixing import note_cuts, note_split
from states.release import Release
from states.span import Span, Split
from states.status import rfc3339
from states.status import status as status_of
from states.world import Absent, Evidence, Serving, Size, World
from tests.states import byhand
from tests.states.story import QUICK, SOURCE, START, Story, serving

LOOK = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
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


@dataclass
class Followed(Story):
    """A story whose counts are of the split that users really had, 15 s after it was asked for."""

    late: timedelta = timedelta()
    """How late the table is."""
    took: timedelta = timedelta()
    """How long a look takes."""
    splits: list[tuple[datetime, Serving]] = field(default_factory=list)
    outage: tuple[datetime, datetime] | None = None
    """When half of all requests fail, whoever gets them."""

    def world(self) -> World:
        return replace(super().world(), took=self.took)

    def _activate(self, wanted: Serving, sizes: Mapping[str, Size] | None = None) -> None:
        self.splits.append((self.now + LOOK / 2, wanted))
        super()._activate(wanted, sizes)

    def _evidence(self) -> Evidence | None:
        now, self.now = self.now, self.now - self.late
        found, self.now = super()._evidence(), now
        return found

    def _block(
        self, source: str, span: Span, window: tuple[datetime, datetime], live: Release
    ) -> Block:
        made, (opened, closed) = super()._block(source, span, window, live), window
        name, each = self.application.entity(live.version), self.requests_per_look / (LOOK / SECOND)
        seconds = [opened + n * SECOND for n in range(round((closed - opened) / SECOND))]
        got, failed = [0.0, 0.0], [0.0, 0.0]
        for second in seconds:
            own = each * self._split_at(second).weight(name) / 100
            for arm, (version, number) in enumerate(((live.version, own), ("", each - own))):
                got[arm] += number
                failed[arm] += number * self._rate(version, second)
        candidate, stable = (
            Arm(requests=round(many), errors=round(bad), server_errors=0)
            for many, bad in zip(got, failed, strict=True)
        )
        return replace(made, candidate=candidate, stable=stable)

    def _rate(self, version: str, moment: datetime) -> float:
        struck = self.outage is not None and self.outage[0] <= moment < self.outage[1]
        return 0.5 if struck else self.error_rates.get(version, 0.0)

    def _split_at(self, moment: datetime) -> Serving:
        return next((one for at, one in reversed(self.splits) if at <= moment), serving(v1=100))


def climbing(**facts: object) -> Followed:
    """Version 2 on its first step, whose split was seen once."""
    story = Followed(**facts)  # type: ignore[arg-type]
    story.look()
    story.register(2)
    story.until("Canary")
    story.look()
    return story


def test_what_was_counted_between_two_splits_speaks_of_both() -> None:
    before = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}, on_step=MINUTE)
    release, until = noted(before, v1=40, v2=60)
    assert until == SEEN
    between = Span(number=2, step=1, weight=60, starts_at=SEEN, settled=False)
    after = replace(between, number=3, starts_at=byhand.NOW + TOOK)
    assert release.spans == (FIRST, between, after)
    assert (release.mixed, release.settled, release.on_step) == ((2,), False, timedelta())
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
    """Somebody gives the version all users, and just then everything fails for a moment."""
    story = climbing()
    story.edit(v1=0, v2=100)
    story.outage = (story.now + LOOK / 2, story.now + LOOK)
    story.look(times=4)
    assert story.live.state is State.CANARY
    [mixed] = [one for one in story.live.blocks if one.mixed]
    assert mixed.candidate.errors > 1000
    assert mixed.stable.requests > 1000 > mixed.stable.errors == 0
    told = [one for one in story.events if one.name == "evidence.block" and one.fields.get("mixed")]
    assert [one.fields["candidate_errors"] for one in told] == [mixed.candidate.errors]


def test_a_bad_version_that_somebody_gives_all_users_goes_back_by_what_it_does_alone() -> None:
    story = climbing()
    story.look(times=3)
    story.error_rates["2"] = 0.5
    story.edit(v1=0, v2=100)
    story.look(times=2)
    assert story.live.state is State.ROLLED_BACK
    assert "(50 %) at 100 %: more errors" in story.live.because


def test_what_was_told_before_the_cut_was_known_is_asked_again_and_nothing_is_lost() -> None:
    """The counts of minutes come with the very look that sees somebody's edit."""
    story = climbing()
    story.table_speaks = False
    story.error_rates["2"] = 0.5
    story.look(times=10)
    known, mark = story.live.blocks, story.live.watermarks
    story.table_speaks = True
    story.edit(v1=0, v2=100)
    story.look()
    assert (story.live.blocks, story.live.watermarks) == (known, mark)
    story.look()
    assert story.live.state is State.ROLLED_BACK
    fresh = story.live.blocks[len(known) :]
    assert [one.number for one in fresh] == [*range(len(known) + 1, len(known) + len(fresh) + 1)]
    assert fresh[0].opened_at == known[-1].closed_at
    assert all(one.opened_at == before.closed_at for before, one in pairwise(fresh))
    assert sum(one.candidate.errors for one in fresh if not one.mixed) > 1000


def test_a_source_that_has_not_told_so_far_is_believed_at_that_look() -> None:
    story = climbing(late=LOOK)
    story.look()
    known = len(story.live.blocks)
    story.edit(v1=0, v2=100)
    story.look()
    assert [one.mixed for one in story.live.blocks[known:]] == [False]


def test_counts_that_come_as_the_gate_is_seen_shut_close_it_for_good() -> None:
    story = Followed(error_rates={"": 0.001})
    story.look()
    minutes(story, 60, errors=30)
    story.register(2)
    story.table_speaks = False
    story.until("Canary")
    story.look()
    story.error_rates["2"] = 0.5
    while not story.live.shut:
        story.look(after=60)
        minutes(story, 1, errors=1200)
    story.table_speaks = True
    story.look()
    assert story.live.shut
    story.look()
    assert story.live.state is State.ROLLED_BACK


def minutes(story: Story, count: int, *, errors: int) -> None:
    """The endpoint's own metrics tell of so many more minutes, up to now."""
    ends = [story.now - back * MINUTE for back in reversed(range(count))]
    fresh = (Minute(ends_at=one, requests=12_000, errors=errors) for one in ends)
    story.minutes = (*story.minutes, *fresh)


def test_the_rest_of_a_slow_look_is_of_both_splits_too() -> None:
    story = climbing()
    story.took = 20 * SECOND
    story.edit(v1=40, v2=60)
    story.look()
    between, after = story.live.spans[-2:]
    assert story.live.mixed == (between.number,)
    assert (between.starts_at, after.starts_at) == (story.now - LOOK, story.now + story.took)


def test_what_was_moved_and_put_back_has_its_whole_stay_before_it() -> None:
    story = climbing()
    story.register(2)
    while not (story.live.step == 3 and story.live.settled):
        story.look()
    story.look()
    assert story.live.on_step == LOOK
    story.edit(v1=40, v2=60)
    story.look()
    story.edit(v1=50, v2=50)
    story.look()
    assert (story.live.settled, story.live.on_step) == (True, timedelta())
    early = status_of(story.application, story.live)["earliest"]
    assert early == rfc3339(story.now + QUICK.min_step)
    while story.live.step == 3:
        story.look()
    assert story.now == datetime.fromisoformat(early)


def test_what_a_step_of_headgates_own_brings_is_tested_from_its_first_user_on() -> None:
    story = climbing(error_rates={"2": 0.5})
    assert story.live.state is State.ROLLED_BACK
    assert (story.live.mixed, [one.mixed for one in story.live.blocks]) == ((), [False])


def test_a_step_that_nobody_looked_at_for_long_is_no_exception() -> None:
    story = Followed(error_rates={"2": 0.5})
    story.look()
    story.register(2)
    story.until("Canary")
    story.look(after=61)
    assert (story.live.state, story.live.mixed) == (State.CANARY, (2,))
    while story.live.state is State.CANARY:
        story.look()
    assert story.live.state is State.ROLLED_BACK


def test_a_clock_that_is_set_moves_when_the_split_was_seen() -> None:
    release = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5})
    moved = leapt(byhand.record(release), MINUTE).live
    assert moved is not None
    assert moved.split == Split(weights=dict(release.split.weights), seen_at=SEEN + MINUTE)  # type: ignore[union-attr]
    assert moved.ahead == -MINUTE, "the workspace's clock was not set"


@pytest.mark.parametrize("by", [-timedelta(days=1), -3 * MINUTE, 3 * MINUTE, timedelta(days=1)])
def test_where_only_the_warehouse_tells_that_the_clock_was_set_the_stay_begins_anew(
    by: timedelta,
) -> None:
    weights = {"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}
    marks = {SOURCE: SEEN - by, "metrics": byhand.NOW - by + SECOND}
    release = on_trial(weights, lead=MINUTE + by, watermarks=marks, on_step=MINUTE)
    evidence = Evidence(watermarks={SOURCE: byhand.NOW}, lead=MINUTE)
    seen = byhand.shown(serving(v1=95, v2=5))
    look = byhand.turn(byhand.record(release), seen, took=TOOK, evidence=evidence)
    after, since = note_cuts(look, release)
    assert since == SEEN, "when a source last told something, on the clock as it is set now"
    between = replace(FIRST, number=2, starts_at=SEEN, settled=False)
    now = replace(between, number=3, starts_at=byhand.NOW + TOOK)
    assert after == replace(
        release,
        spans=(FIRST, between, now),
        mixed=(1, 2),
        settled=False,
        on_step=timedelta(),
        split=Split(weights=weights, seen_at=byhand.NOW),
        watermarks={SOURCE: SEEN, "metrics": byhand.NOW},
        lead=MINUTE,
        ahead=-by,
    )
    assert note_cuts(look, after) == (after, None), "once"


def test_two_measures_of_a_lead_may_differ_by_what_their_statements_waited() -> None:
    weights = {"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}
    seen = byhand.shown(serving(v1=95, v2=5))

    def since(had: timedelta | None, told: timedelta | None) -> datetime | None:
        release = on_trial(weights, lead=had)
        evidence = Evidence(watermarks={SOURCE: byhand.NOW}, lead=told)
        look = byhand.turn(byhand.record(release), seen, evidence=evidence)
        return note_cuts(look, release)[1]

    assert since(MINUTE, timedelta()) is None
    assert since(2 * MINUTE - SECOND, timedelta()) is None
    assert since(2 * MINUTE, timedelta()) == FIRST.starts_at, "nothing was told before"
    assert since(None, 60 * MINUTE) is since(60 * MINUTE, None) is None, "it was not measured"


def test_an_old_date_of_the_workspaces_answers_is_no_leap() -> None:
    """What stands between may answer from its memory; judging would be cut again and again."""
    release = on_trial({"rag_chatbot-v1": 95, "rag_chatbot-v2": 5}, ahead=SECOND)
    seen = byhand.shown(serving(v1=95, v2=5))
    look = byhand.turn(byhand.record(release), seen, ahead=-10 * MINUTE, evidence=Evidence())
    assert note_cuts(look, release)[1] is None
