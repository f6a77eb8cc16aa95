"""Stories of what a release waits for before it begins, opens, or gets the alias."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from policies.admission import HOLD_TAG, SKIP_TAG, Column, Rules
from policies.calendar import Freeze, Window
from policies.guards import ErrorGuard, Guards
from policies.replay import Replay
from states.climb import MASKED
from states.consent import Signs, Verb, Word
from states.gates import position
from states.judging import UNPROVABLE
from states.machine import State
from states.quarantine import QUARANTINED
from states.release import Order, Release
from states.verbs import (
    approve_refusal,
    begin_refusal,
    promote_refusal,
    undo_refusal,
    unproven,
)
from states.world import Absent, Endpoint, GoldenTable, ModelVersion
from tests.states.story import SPEC, START, Story

FRIDAY = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)
OFFICE = Window.parse("Mon-Fri 09:00-17:00")
APPROVAL = "Approval_Check"


def story(**rules: object) -> Story:
    """An adopted endpoint with version 1, under these rules of admission."""
    one = Story()
    one.application = replace(
        one.application,
        spec=replace(SPEC, admission=Rules(**rules)),  # type: ignore[arg-type]
    )
    one.look()
    return one


def found(one: Story, number: int, attempt: int | None = None) -> Release:
    """The newest attempt at a version, or a certain one."""
    tries = [each for each in one.application.releases if each.version == str(number)]
    [chosen] = [each for each in tries if attempt in (None, each.attempt)][-1:]
    return chosen


def tag(one: Story, number: int, **tags: str | None) -> None:
    """Somebody sets tags, or takes them off."""
    known = one.versions[number]
    all_ = {**(known.tags or {}), **tags}
    kept = {key: value for key, value in all_.items() if value is not None}
    one.versions[number] = replace(known, tags=kept)


def say(one: Story, release: Release, *, verb: str = "approve", override: bool = False) -> None:
    """An operator's word about what is shown now."""
    finding = release.ask if verb == "approve" else position(release)
    assert finding is not None, f"nothing waits: {release.hold}"
    word = Word(verb=verb, finding=finding, seq=1, actor="ann", override=override)  # type: ignore[arg-type]
    one.application = one.application.with_release(replace(release, words=(*release.words, word)))


def ask_for(one: Story, number: int, verb: Verb = "release") -> None:
    """An operator asks for a version by name."""
    known = one.application.newest(str(number))
    state = known.state if known is not None else None
    assert begin_refusal(one.application, str(number), verb, state) is None
    one.application = one.application.with_release(
        Release(
            application="rag-chatbot",
            version=str(number),
            attempt=known.attempt + 1 if known is not None else 1,
            since=one.now,
            ordered=verb,
        )
    )


def confirm(one: Story, number: int) -> None:
    """Look until a version is stable."""
    for _ in range(400):
        one.look()
        if one.application.stable == str(number):
            return
    raise AssertionError(one.application)


# The calendar.


def test_outside_its_windows_a_release_waits_and_says_until_when() -> None:
    one = story(windows=(OFFICE,))
    one.now = FRIDAY + timedelta(hours=1)
    one.register(2)
    one.look(times=5)
    release = found(one, 2)
    assert release.state is State.REGISTERED
    assert release.hold is not None
    assert release.hold.endswith("opens Mon 2026-11-30 09:00 UTC")
    assert not release.needs_person
    assert one.names().count("release.held") == 1
    one.now = datetime(2026, 11, 30, 8, 59, 45, tzinfo=UTC)
    one.look()
    assert found(one, 2).state is State.PROVISIONING


def test_a_window_that_closes_does_not_stop_what_has_begun() -> None:
    one = story(windows=(OFFICE,))
    one.now = FRIDAY
    one.register(2)
    one.look()
    confirm(one, 2)


def test_in_a_freeze_nothing_opens_and_harm_still_goes_home() -> None:
    freeze = Freeze.between(date(2026, 11, 23), date(2026, 11, 23), reason="audit")
    one = story()
    one.register(2)
    one.until("Canary")
    spec = one.application.spec
    one.application = replace(
        one.application, spec=replace(spec, admission=Rules(freezes=(freeze,)))
    )
    one.look(times=100)
    assert one.live.step == 1
    assert one.live.hold == (
        "frozen (audit) until Tue 2026-11-24 00:00 UTC; going back is never frozen"
    )
    assert not one.live.needs_person
    one.error_rates["2"] = 0.2
    one.until("RolledBack")


def test_a_freeze_keeps_a_tested_version_from_its_first_users_and_then_lets_it_go_on() -> None:
    one = story()
    one.register(2)
    one.until("Testing")
    freeze = Freeze.between(START, START + timedelta(hours=3))
    spec = replace(one.application.spec, admission=Rules(freezes=(freeze,)))
    one.application = replace(one.application, spec=spec)
    one.look(times=200)
    assert one.live.state is State.TESTING, "its deadline does not run meanwhile"
    assert one.weight(2) == 0
    confirm(one, 2)


def test_a_person_may_override_the_calendar_and_nothing_else() -> None:
    one = story(windows=(OFFICE,))
    one.now = FRIDAY + timedelta(hours=1)
    one.register(2)
    one.look()
    release = found(one, 2)
    assert promote_refusal(one.application, release, override=False) is not None
    assert promote_refusal(one.application, release, override=True) is None
    say(one, release, verb="promote", override=True)
    one.look()
    assert found(one, 2).state is State.PROVISIONING


# Tags that hold and skip.


def test_a_version_tagged_to_be_held_begins_once_the_tag_goes() -> None:
    one = story()
    one.register(2, **{HOLD_TAG: ""})
    one.look(times=3)
    assert found(one, 2).state is State.REGISTERED
    assert found(one, 2).needs_person
    tag(one, 2, **{HOLD_TAG: None})
    one.look()
    assert found(one, 2).state is State.PROVISIONING


def test_a_tag_set_on_the_way_keeps_a_release_where_it_is() -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    tag(one, 2, **{HOLD_TAG: "wait for legal"})
    one.look(times=60)
    assert (one.live.state, one.live.step) == (State.CANARY, 1)
    assert HOLD_TAG in (one.live.hold or "")
    told = one.names().count("release.held")
    one.look(times=10)
    assert one.names().count("release.held") == told, "it is told once"
    tag(one, 2, **{HOLD_TAG: None})
    confirm(one, 2)


def test_a_version_tagged_to_be_skipped_never_starts_and_the_next_one_does() -> None:
    one = story()
    one.register(2, **{SKIP_TAG: "yes"})
    one.look()
    assert found(one, 2).state is State.RETIRED
    assert SKIP_TAG in found(one, 2).because
    one.register(3)
    one.look()
    assert found(one, 3).state is State.PROVISIONING


# The input schema.

QUERY = Column(name="query", type="string")


def with_inputs(one: Story, number: int, *columns: Column) -> None:
    known = one.versions.get(number) or ModelVersion(
        version=str(number), status="READY", tags={}, has_signature=True
    )
    one.versions[number] = replace(known, inputs=columns)


def test_a_new_required_column_holds_until_a_person_approves_exactly_that() -> None:
    one = story()
    with_inputs(one, 1, QUERY)
    with_inputs(one, 2, QUERY, Column(name="lang", type="string"))
    one.look(times=2)
    release = found(one, 2)
    assert release.needs_person
    assert "lang (string) is new and required" in (release.hold or "")
    say(one, release)
    # The world is another one when the word is heard: it was about something else.
    with_inputs(one, 1, QUERY, Column(name="user", type="string"))
    with_inputs(one, 2, QUERY, Column(name="lang", type="long"))
    one.look()
    assert found(one, 2).state is State.REGISTERED
    say(one, found(one, 2))
    one.look()
    assert found(one, 2).state is State.PROVISIONING


def test_optional_and_dropped_columns_ask_nobody() -> None:
    one = story()
    with_inputs(one, 1, QUERY, Column(name="old", type="string"))
    with_inputs(one, 2, QUERY, Column(name="k", type="long", required=False))
    one.look()
    assert found(one, 2).state is State.PROVISIONING


def test_stable_whose_input_cannot_be_read_is_no_good_news() -> None:
    one = story()
    one.versions[1] = replace(one.versions[1], has_signature=None)
    with_inputs(one, 2, QUERY)
    one.look()
    assert "cannot be read to be compared" in (found(one, 2).hold or "")
    say(one, found(one, 2))
    one.look()
    assert found(one, 2).state is State.PROVISIONING


# Approval.


def test_before_the_first_users_a_person_is_asked_once_the_tests_have_passed() -> None:
    one = story(approval="before_canary")
    one.register(2)
    one.until("Testing")
    one.look(times=10)
    assert one.live.ask == "the first users"
    assert one.live.needs_person
    assert one.weight(2) == 0
    say(one, one.live)
    one.look(times=2)
    assert one.live.state is State.CANARY
    assert "approved by ann" in one.live.because


def test_before_production_a_person_is_asked_at_the_end_of_the_bake() -> None:
    one = story(approval="before_production")
    one.register(2)
    one.until("Canary")
    one.look(times=200)
    assert one.live.baking
    assert one.alias == "1", "the alias has not moved"
    assert (one.live.ask or "").startswith("production")
    assert approve_refusal(one.live) is None
    say(one, one.live)
    confirm(one, 2)
    assert one.alias == "2"


def test_with_nothing_to_approve_there_is_a_sentence() -> None:
    one = story(approval="before_production")
    one.register(2)
    one.until("Canary")
    assert approve_refusal(one.live) == (
        "nothing of rag-chatbot/2 waits for approval: it is in Canary"
    )


def test_a_deployment_jobs_tag_approves_if_it_is_set_while_the_release_is_under_way() -> None:
    one = story(approval="before_canary")
    one.register(2)
    one.look()
    tag(one, 2, **{APPROVAL: "Approved"})
    one.until("Canary")
    assert f"approved by {APPROVAL}" in one.live.because


def test_a_tag_that_was_there_at_registration_is_void_until_it_is_set_again() -> None:
    one = story(approval="before_canary")
    one.register(2, **{APPROVAL: "Approved"})
    one.until("Testing")
    one.look(times=10)
    assert one.live.state is State.TESTING
    assert f"{APPROVAL} was set too early to count" in (one.live.hold or "")
    tag(one, 2, **{APPROVAL: None})
    one.look()
    tag(one, 2, **{APPROVAL: "Approved"})
    one.look(times=2)
    assert one.weight(2) == 5


def test_approval_of_one_attempt_is_none_of_the_next() -> None:
    one = story(approval="before_canary")
    one.register(2)
    one.until("Testing")
    one.look(times=2)
    tag(one, 2, **{APPROVAL: "Approved"})
    one.until("Canary")
    one.order(Order.ABORT)
    one.look(times=10)
    ask_for(one, 2, "retry")
    one.look(times=10)
    again = found(one, 2)
    assert (again.attempt, again.state) == (2, State.TESTING)
    assert again.ask == "the first users"


def test_a_tag_set_before_the_bake_ended_is_no_word_on_the_bake() -> None:
    one = story(approval="before_production")
    one.register(2)
    one.until("Canary")
    tag(one, 2, **{APPROVAL: "Approved"})
    one.look(times=200)
    assert one.live.baking
    assert one.live.signs == Signs(approved=(APPROVAL,), void=(APPROVAL,))
    tag(one, 2, **{APPROVAL: "no"})
    one.look()
    tag(one, 2, **{APPROVAL: "Approved"})
    one.look()
    assert one.live.state is State.PRODUCTION


# Order.


def test_every_version_has_its_turn_oldest_first() -> None:
    one = story(order="every")
    one.register(2)
    one.register(3)
    one.register(4)
    for number in (2, 3, 4):
        confirm(one, number)
    assert found(one, 2).because == "replaced by version 3"


def test_where_every_version_has_its_turn_none_overtakes_one_that_is_held() -> None:
    one = story(order="every", required_tags=("git_sha",))
    one.register(2)
    one.register(3, git_sha="1f")
    one.look(times=3)
    assert found(one, 3).hold == "waits for version 2, which comes first"
    tag(one, 2, git_sha="0e")
    confirm(one, 3)
    assert found(one, 2).because == "replaced by version 3"


# Release, retry, undo.


def test_an_old_version_is_released_by_name_although_newer_ones_serve() -> None:
    one = story()
    one.register(2)
    confirm(one, 2)
    ask_for(one, 1)
    confirm(one, 1)
    assert (one.weight(1), one.alias) == (100, "1")
    one.look(times=50)
    assert one.application.stable == "1", "and the newer one does not come back by itself"


def test_what_was_rolled_back_is_tried_again_when_a_person_says_so() -> None:
    one = story()
    one.golden_fails = frozenset({"2"})
    one.register(2)
    one.until("RolledBack")
    one.look(times=5)
    one.golden_fails = frozenset()
    one.look(times=50)
    assert found(one, 2).attempt == 1, "not by itself"
    ask_for(one, 2, "retry")
    confirm(one, 2)
    assert [each.state for each in one.application.releases if each.version == "2"] == [
        State.ROLLED_BACK,
        State.PRODUCTION,
    ]


def test_a_first_release_that_failed_is_tried_again_while_it_serves_without_proof() -> None:
    one = Story(endpoint=Absent(), alias=Absent(), versions={})
    one.golden_fails = frozenset({"1"})
    one.register(1)
    one.until("RolledBack")
    one.look(times=3)
    assert one.application.unproven == "1"
    one.golden_fails = frozenset()
    ask_for(one, 1, "retry")
    for _ in range(200):
        one.look()
        assert one.weight(1) == 100, "its users stay"
    assert (one.application.stable, one.alias) == ("1", "1")


def test_undo_takes_all_users_back_at_once_when_the_earlier_version_passes_its_tests() -> None:
    one = story(approval="before_canary", windows=(Window.parse("Sun 01:00-02:00"),))
    spec = one.application.spec
    one.application = replace(one.application, spec=replace(spec, admission=Rules()))
    one.register(2)
    confirm(one, 2)
    one.application = replace(one.application, spec=spec)
    assert one.application.former == "1"
    ask_for(one, 1, "undo")
    begun = one.now
    while one.alias != "1":
        one.look()
        assert one.now - begun < timedelta(minutes=5), one.application.live
    assert one.weight(1) == 100
    confirm(one, 1)
    assert one.application.former == "2"


def test_undo_waits_for_nothing_but_what_the_version_needs_to_serve() -> None:
    one = story()
    one.register(2)
    confirm(one, 2)
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, fallback=True)
    one.versions[1] = replace(one.versions[1], has_signature=False)
    one.look()
    ask_for(one, 1, "undo")
    confirm(one, 1)


def test_undo_does_not_go_back_to_what_fails_its_tests() -> None:
    one = story()
    one.register(2)
    confirm(one, 2)
    one.golden_fails = frozenset({"1"})
    ask_for(one, 1, "undo")
    one.look(times=20)
    assert one.weight(2) == 100
    assert one.application.stable == "2"


def test_there_is_nothing_to_undo_before_anything_was_replaced() -> None:
    one = story()
    assert "which version was stable before 1" in (undo_refusal(one.application) or "")


# Promote.


def test_promote_opens_the_next_step_without_proof_only_by_override_and_only_one() -> None:
    one = story()
    one.table_speaks = False
    one.register(2)
    one.until("Canary")
    one.look(times=3)
    assert "`--override`" in (promote_refusal(one.application, one.live, override=False) or "")
    assert any(told.startswith("errors: ") for told in unproven(one.live))
    say(one, one.live, verb="promote", override=True)
    one.look(times=3)
    assert one.live.step == 2
    assert "promoted by ann, past what is not shown" in one.live.because
    one.look(times=20)
    assert one.live.step == 2, "the word was for one step"


@pytest.mark.parametrize("lacking", ["a source of errors", "a guard that decides"])
def test_a_word_that_opens_what_nothing_can_prove_opens_one_step_and_no_more(lacking: str) -> None:
    one = story()
    assert isinstance(one.endpoint, Endpoint)
    if lacking == "a source of errors":
        one.endpoint = replace(one.endpoint, inference_table=None, capture_off=True)
    else:
        observing = Guards(errors=ErrorGuard(observe=True))
        one.application = replace(
            one.application, spec=replace(one.application.spec, guards=observing)
        )
    one.register(2)
    one.until("Testing")
    one.look(times=2)
    assert one.live.needs_person
    say(one, one.live, verb="promote", override=True)
    one.look(times=60)
    assert one.live.step == 1
    assert one.live.hold == UNPROVABLE
    assert one.live.needs_person
    assert UNPROVABLE in (promote_refusal(one.application, one.live, override=False) or "")
    say(one, one.live, verb="promote", override=True)
    one.look(times=60)
    assert one.live.step == 2, "each step that nothing proves is opened by a word of its own"


def test_promote_does_not_wait_for_the_least_stay_where_all_is_shown() -> None:
    one = story()
    one.requests_per_look = 200_000
    spec = one.application.spec
    slow = replace(spec.rollout, min_step=timedelta(hours=5))
    one.application = replace(one.application, spec=replace(spec, rollout=slow))
    one.register(2)
    one.until("Canary")
    one.look(times=20)
    assert one.live.step == 1
    assert promote_refusal(one.application, one.live, override=False) is None
    say(one, one.live, verb="promote")
    one.look(times=2)
    assert one.live.step == 2


def test_promote_ends_the_bake() -> None:
    one = story()
    spec = one.application.spec
    long = replace(spec.rollout, bake=timedelta(days=3))
    one.application = replace(one.application, spec=replace(spec, rollout=long))
    one.register(2)
    one.until("Canary")
    while not (one.live.baking and one.live.settled):
        one.look()
    assert "nothing has counted yet" in (
        promote_refusal(one.application, one.live, override=False) or ""
    )
    one.look(times=20)
    assert promote_refusal(one.application, one.live, override=False) is None
    say(one, one.live, verb="promote")
    one.look(times=2)
    assert one.live.state is State.PRODUCTION


@pytest.mark.parametrize("state", ["Testing", "Canary"])
def test_a_word_from_before_a_pause_opens_nothing_after_it(state: str) -> None:
    one = story()
    one.table_speaks = False
    if state == "Testing":
        one.golden_fails = frozenset({"1", "2"})
    one.register(2)
    one.until(state)
    one.look(times=2)
    say(one, one.live, verb="promote", override=True)
    for _ in range(2):
        one.order(Order.PAUSE)
        one.look(times=3)
        one.order(Order.RUN)
        one.look(times=5)
    assert (one.live.state, one.live.step) == (state, int(state == "Canary"))
    say(one, one.live, verb="promote", override=True)
    one.look(times=2)
    assert one.live.step == 1 + int(state == "Canary")


def test_where_nothing_counts_a_bake_is_not_ended_before_it_has_lasted_at_all() -> None:
    one = Story(endpoint=Absent(), alias=Absent())
    one.until("Testing")
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, inference_table=None, capture_off=True)
    one.until("Canary")
    while not one.live.settled:
        one.look()
    assert not one.live.sources
    why = promote_refusal(one.application, one.live, override=False) or ""
    assert "nothing has counted yet" in why
    one.look(times=2)
    assert promote_refusal(one.application, one.live, override=False) is None


def test_no_word_silences_harm() -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    one.error_rates["2"] = 0.3
    say(one, one.live, verb="promote", override=True)
    one.look(times=6)
    assert found(one, 2).state is State.ROLLED_BACK
    why = promote_refusal(one.application, found(one, 2), override=True)
    assert "`headgate retry`" in (why or "")


@pytest.mark.parametrize("order", [Order.PAUSE, Order.ABORT])
def test_promote_is_refused_while_another_order_stands(order: Order) -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    one.order(order)
    assert promote_refusal(one.application, one.live, override=True) is not None


def test_promote_opens_a_gate_that_was_shut_only_by_override() -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    one.application = one.application.with_release(replace(one.live, shut=True, settled=False))
    one.table_speaks = False
    one.look(times=3)
    assert one.weight(2) == 0
    assert "its gate is shut" in (promote_refusal(one.application, one.live, override=False) or "")
    say(one, one.live, verb="promote", override=True)
    one.look(times=2)
    assert not one.live.shut
    assert one.live.step == 1


def test_no_word_opens_a_gate_while_nobody_would_see_the_version_fail() -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    one.table_speaks = False
    while not (one.live.shut and one.live.settled):
        one.look()
    assert "has told nothing for" in (one.live.because or "")
    why = promote_refusal(one.application, one.live, override=True) or ""
    assert "nobody would see it fail: the inference table has told nothing for" in why
    one.table_speaks = True
    one.look()
    assert promote_refusal(one.application, one.live, override=True) is None


def refused_and_not_obeyed(one: Story, why: str) -> None:
    """An override in Testing is refused with this, and would not be obeyed."""
    assert why in (promote_refusal(one.application, one.live, override=True) or "")
    say(one, one.live, verb="promote", override=True)
    one.look(times=5)
    assert one.live.state == "Testing", "as it says: no word would be obeyed"


def test_no_word_goes_past_golden_queries_that_nobody_has_read_or_asked() -> None:
    one = story()
    one.application = replace(
        one.application, spec=replace(one.application.spec, tests_table="main.ml_models.golden")
    )
    one.golden = GoldenTable(trouble="main.ml_models.golden cannot be read: grant SELECT on it")
    one.register(2)
    one.until("Testing")
    one.look()
    assert "grant SELECT" in (one.live.hold or "")
    refused_and_not_obeyed(
        one, "its golden queries are not read yet: main.ml_models.golden cannot be read"
    )


def test_no_word_goes_past_a_replay_that_has_yet_to_be_done() -> None:
    one = story()
    one.application = replace(one.application, spec=replace(one.application.spec, replay=Replay()))
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, fallback=True)
    one.register(2)
    one.until("Testing")
    one.look(times=3)
    refused_and_not_obeyed(
        one, "recorded requests are still to be replayed: AI Gateway's fallback hides"
    )


def test_a_word_goes_past_an_environment_in_which_golden_queries_fail() -> None:
    one = story()
    one.golden_fails = frozenset({"1", "2"})
    one.register(2)
    one.until("Testing")
    one.look(times=2)
    assert promote_refusal(one.application, one.live, override=True) is None
    say(one, one.live, verb="promote", override=True)
    one.until("Canary")


def test_no_word_opens_a_version_that_the_registry_does_not_list() -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    missed = replace(one.live, unlisted=True)
    assert "registry's list" in (promote_refusal(one.application, missed, override=True) or "")


def test_a_paused_bake_is_approved_once_it_goes_on_since_it_begins_anew() -> None:
    one = story(approval="before_production")
    one.register(2)
    one.until("Canary")
    while one.live.ask is None:
        one.look()
    one.order(Order.PAUSE)
    one.look()
    assert "its bake begins anew with `headgate resume`" in (approve_refusal(one.live) or "")
    say(one, one.live)
    one.order(Order.RUN)
    one.look(times=20)
    assert one.live.state == "Canary", "as it says: a word on the bake before would be void"
    assert approve_refusal(one.live) is None
    say(one, one.live)
    one.until("Production")


def test_before_the_first_users_an_approval_holds_over_a_pause() -> None:
    one = story(approval="before_canary")
    one.register(2)
    one.until("Testing")
    while one.live.ask is None:
        one.look()
    one.order(Order.PAUSE)
    one.look()
    assert approve_refusal(one.live) is None
    say(one, one.live)
    one.order(Order.RUN)
    one.until("Canary")


@pytest.mark.parametrize("why", [MASKED, f"{QUARANTINED}it failed"])
def test_no_word_goes_past_what_makes_a_comparison_blind_or_a_pass_fail(why: str) -> None:
    one = story()
    one.register(2)
    one.until("Canary")
    held = replace(one.live, hold=why)
    assert why in (promote_refusal(one.application, held, override=True) or "")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("Registered", "it has not begun"),
        ("Provisioning", "not ready yet"),
        ("Testing", "its golden queries are being asked"),
        ("Production", "it has all users and the alias"),
    ],
)
def test_where_there_is_no_next_step_promote_says_so(state: str, words: str) -> None:
    one = story()
    one.register(2)
    if state != "Registered":
        one.until(state)
    release = (
        found(one, 2)
        if state != "Registered"
        else Release(application="rag-chatbot", version="2", since=START)
    )
    assert words in (promote_refusal(one.application, release, override=True) or "")
