from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.fuse import Fuse, Minute
from policies.guards import History
from policies.rollout import Rollout
from states.attempt import Attempt
from states.blocks import told as block_told
from states.consent import Signs
from states.desired import desired
from states.home import STALE_FOR
from states.machine import State
from states.plan import MoveAlias, Plan, Serve
from states.reconcile import reconcile
from states.release import Application, Order, Release
from states.span import Span, Split
from states.world import Absent, Endpoint, Evidence, Gone, Serving, World
from tests.policies.counts import arm, block
from tests.states.byhand import NOW, candidate, record, shown
from tests.states.story import QUICK, SOURCE, SPEC, Story, serving, version

HOUR = timedelta(hours=1)


@pytest.fixture
def story() -> Story:
    """An endpoint where version 1 has 100 %, adopted."""
    story = Story()
    story.look()
    return story


def test_an_endpoint_with_one_version_at_100_percent_is_adopted_as_stable(story: Story) -> None:
    assert story.application.stable == "1"
    assert story.calls == []
    assert story.names() == ["release.registered"]


def test_a_split_made_by_hand_is_not_adopted_but_asked_about() -> None:
    story = Story()
    story.edit(v1=60, v2=40)
    story.look(times=3)
    asking = story.application
    assert not asking.adopted
    assert "put one version of main.ml_models.rag_chatbot to 100 %" in (asking.hold or "")
    assert story.calls == []
    story.edit(v1=100, v2=0)
    story.look()
    assert story.application.adopted
    assert story.application.hold is None


def test_an_alias_that_points_elsewhere_is_asked_about() -> None:
    story = Story(alias="7")
    story.look()
    assert story.application.hold is not None
    assert "alias production names version 7" in story.application.hold


def test_versions_that_existed_at_adoption_do_not_start_by_themselves() -> None:
    story = Story()
    story.register(2)
    story.look(times=5)
    assert story.application.watermark == 2
    assert story.weight(1) == 100
    assert story.release is not None
    assert story.release.version == "1"


def test_a_good_version_climbs_step_by_step_to_production_and_becomes_stable(story: Story) -> None:
    story.register(2)
    weights = []
    for _ in range(200):
        story.look()
        weights.append(story.weight(2))
        if story.application.stable == "2":
            break
    assert list(dict.fromkeys(weights)) == [0, 5, 25, 50, 100]
    assert story.alias == "2"
    former = story.application.newest("1")
    assert former is not None
    assert former.state == "Retired"


def test_the_alias_moves_after_the_bake_and_never_before(story: Story) -> None:
    story.register(2)
    while story.alias == "1":
        assert story.live.state != "Production" if story.application.live else True
        story.look()
        moved = [call for call in story.calls if isinstance(call, MoveAlias)]
        if moved:
            break
    assert story.weight(2) == 100
    assert story.live.state == "Production"


def test_the_old_version_stays_ready_until_the_watch_has_ended(story: Story) -> None:
    story.register(2)
    story.until("Production")
    assert serving(v1=0, v2=100) == desired(story.application)
    while story.application.stable == "1":
        assert isinstance(story.endpoint, Endpoint)
        assert "rag_chatbot-v1" in story.endpoint.serving.shares
        story.look()
    story.look(after=60, times=70)
    assert story.endpoint.serving == serving(v2=100)  # type: ignore[union-attr]


def test_a_version_that_errs_in_canary_is_rolled_back_and_marked(story: Story) -> None:
    story.register(2)
    story.error_rates["2"] = 0.1
    release = story.until("RolledBack")
    assert "candidate" in release.because
    story.look(times=3)
    assert story.weight(1) == 100
    assert story.alias == "1"
    assert (story.versions[2].tags or {})["headgate.state"] == "RolledBack"
    assert story.application.live is None


def test_errors_on_both_versions_alike_blame_nobody(story: Story) -> None:
    story.register(2)
    story.error_rates = {"2": 0.05, "": 0.05}
    story.look(times=60)
    assert "RolledBack" not in [release.state for release in story.application.releases]


def test_a_version_that_fails_its_golden_queries_twice_never_meets_a_user(story: Story) -> None:
    story.register(2)
    story.golden_fails = frozenset({"2"})
    release = story.until("RolledBack")
    assert len(release.rounds) == 2
    assert all(
        call.serving.weight("rag_chatbot-v2") == 0
        for call in story.calls
        if isinstance(call, Serve)
    )


def test_golden_queries_failing_on_both_versions_hold_and_blame_the_environment(
    story: Story,
) -> None:
    story.register(2)
    story.golden_fails = frozenset({"1", "2"})
    story.look(times=6)
    assert story.live.state == "Testing"
    assert "environment" in (story.live.hold or "")
    story.golden_fails = frozenset()
    story.until("Canary")


def test_a_version_that_cannot_be_deployed_is_rolled_back_and_not_asked_for_again(
    story: Story,
) -> None:
    story.register(2)
    story.undeployable = frozenset({"2"})
    story.until("RolledBack")
    sent = len(story.calls)
    story.look(times=20)
    assert [call for call in story.calls[sent:] if isinstance(call, Serve)] == []
    assert story.application.live is None


def test_a_paused_canary_does_not_climb_and_resuming_starts_its_proof_anew(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.look(times=40)
    assert story.weight(2) == 5
    story.order(Order.RUN)
    story.look()
    assert story.weight(2) == 5, "what was counted while paused opens nothing"
    story.look(times=4)
    assert story.weight(2) > 5


def test_a_paused_canary_still_rolls_back_on_harm(story: Story) -> None:
    """Pause holds exposure; it does not silence the alarm."""
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.error_rates["2"] = 0.1
    story.until("RolledBack")


def test_an_abort_goes_home_from_every_state() -> None:
    for state in ("Provisioning", "Testing", "Canary", "Production"):
        fresh = Story()
        fresh.look()
        fresh.register(2)
        if state in ("Provisioning", "Testing"):
            fresh.obeys = state != "Provisioning"
            fresh.golden_fails = frozenset({"1", "2"})
        fresh.until(state)
        fresh.order(Order.ABORT)
        fresh.obeys = True
        fresh.until("RolledBack")
        fresh.look(times=3)
        assert fresh.weight(1) == 100, state
        assert fresh.alias == "1", state
        assert fresh.application.live is None, state


def test_silence_of_the_inference_table_never_opens_and_in_the_end_shuts(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.table_speaks = False
    story.look(after=60, times=80)
    assert story.weight(2) == 5
    story.look(after=60, times=20)
    assert story.live.state == "Canary"
    assert story.live.shut
    assert story.weight(2) == 0
    story.table_speaks = True
    story.look(times=2)
    assert story.weight(2) == 5


def test_silence_that_lasts_keeps_it_shut_and_asks_a_person(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.table_speaks = False
    story.look(after=60, times=200)
    assert story.weight(2) == 0
    assert story.live.needs_person
    assert (story.live.hold or "").startswith("still shut: the inference table has told nothing")
    story.table_speaks = True
    story.until("Production")


def test_an_undecided_step_asks_a_person_after_its_patience(story: Story) -> None:
    story.requests_per_look = 20
    story.application = replace(
        story.application,
        spec=replace(SPEC, rollout=replace(QUICK, patience=timedelta(hours=1))),
    )
    story.pace = None
    story.register(2)
    story.until("Canary")
    story.look(times=130)
    assert story.live.needs_person
    assert "undecided after 1 h" in (story.live.hold or "")
    assert story.weight(2) == 5


def test_an_endpoint_too_quiet_to_compare_on_gets_one_step_and_says_so(story: Story) -> None:
    story.pace = 0.0001
    story.register(2)
    story.look()
    assert "as it looks now, no step below 100 can decide" in story.live.because
    assert story.until("Canary").steps == (100,)
    assert "no step below 100 can decide" in story.live.because


def test_a_quiet_hour_takes_no_step_from_a_release_on_an_endpoint_with_busy_days(
    story: Story,
) -> None:
    story.pace = 0.0
    story.minutes = tuple(
        Minute(ends_at=story.now - timedelta(minutes=back), requests=600 * (back > 60), errors=0)
        for back in range(1440)
    )
    story.register(2)
    assert story.until("Canary").steps == QUICK.steps


def test_what_the_table_tells_of_the_day_keeps_the_steps_where_no_metrics_did(
    story: Story,
) -> None:
    story.pace = 0.0
    story.history = History(requests=864_000)
    story.register(2)
    assert story.until("Canary").steps == QUICK.steps


def fallback(story: Story, *, on: bool) -> None:
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, fallback=on)


def test_fallback_hides_errors_so_no_canary_opens_while_it_is_on(story: Story) -> None:
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, fallback=True)
    story.register(2)
    story.look(times=10)
    assert story.live.state == "Testing"
    assert "fallback" in (story.live.hold or "")


def test_a_change_by_somebody_else_holds_and_shows_the_difference(story: Story) -> None:
    story.edit(v1=50, v7=50)
    story.look(times=3)
    assert "rag_chatbot-v7 (version 7 of main.ml_models.rag_chatbot) was added at 50 %" in (
        story.application.hold or ""
    )
    assert story.calls == []
    story.edit(v1=100)
    story.look()
    assert story.application.hold is None


def test_lowering_a_canary_by_hand_is_taken_as_an_abort(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=6)
    assert story.weight(2) >= 25
    story.edit(v1=99, v2=1)
    story.look()
    assert story.release is not None
    assert story.release.state == "RolledBack"
    story.look(times=3)
    assert story.weight(1) == 100


@pytest.mark.parametrize("sent", [1, 2])
def test_users_put_back_by_hand_stay_there_although_the_answer_to_an_old_call_was_lost(
    story: Story, sent: int
) -> None:
    """What was seen in effect does not come late; a call that was sent twice may, once more."""
    story.register(2)
    story.until("Canary")
    story.look()
    old, *others = [one for one in story.application.attempts if one.target.endswith("v2 0 %")]
    assert not others
    lost = tuple(replace(old, outcome="open", id=old.id + 100 * back) for back in range(sent))
    rest = tuple(one for one in story.application.attempts if one.id != old.id)
    story.application = replace(story.application, attempts=(*lost, *rest))
    story.look()
    assert story.weight(2) == 5
    story.edit(v1=100, v2=0)
    story.look()
    assert story.release is not None
    assert (story.release.state == "RolledBack") is (sent == 1)


def test_a_stale_answer_of_the_platform_is_not_believed(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    before, fresh = story.live, story.endpoint
    assert isinstance(fresh, Endpoint)
    story.endpoint = Endpoint(serving=serving(v1=100), config_version=1)
    story.look(times=3)
    assert story.live.state == before.state
    assert story.application.hold is None


def test_a_first_release_creates_the_endpoint_and_ends_in_production() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.look()
    assert story.weight(1) == 100 if isinstance(story.endpoint, Endpoint) else True
    story.until("Production")
    assert story.application.newest("1") is not None
    story.look(times=30)
    assert story.alias == "1"
    assert story.application.stable == "1"


def test_a_failed_first_release_leaves_the_alias_alone_and_asks_for_a_mended_version() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.golden_fails = frozenset({"1"})
    failed = story.until("RolledBack")
    assert failed.because == "1 of 1 golden queries failed twice: query 1: answer lacks 'ACID'"
    story.look(times=3)
    assert isinstance(story.alias, Absent)
    assert story.release is not None
    assert story.release.needs_person
    assert story.weight(1) == 100
    story.register(2)
    story.look(times=60)
    story.until("Production")
    story.look(times=40)
    assert story.application.stable == "2"
    assert story.application.unproven is None


def test_the_newest_waiting_version_begins_and_older_ones_are_superseded(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.register(3)
    story.register(4)
    story.look()
    assert story.live.version == "2", "a live release is not overtaken"
    while story.application.stable == "1":
        story.look()
    story.look(times=2)
    assert story.live.version == "4"
    third = story.application.newest("3")
    assert third is not None
    assert third.state == "Retired"
    assert "overtaken by version 4" in third.because


def test_a_version_marked_rolled_back_is_never_started_even_by_an_empty_store() -> None:
    story = Story()
    story.look()
    story.register(2, **{"headgate.state": "RolledBack"})
    story.look(times=5)
    assert story.application.live is None


def test_a_version_still_registering_waits_and_one_that_failed_is_refused(story: Story) -> None:
    story.register(2, status="PENDING_REGISTRATION")
    story.look(times=3)
    assert story.release is not None
    assert story.release.state == "Registered"
    assert not story.release.needs_person
    story.register(2, status="FAILED_REGISTRATION")
    story.look()
    assert story.release.state == "Retired"


def test_undeclared_variables_hold_the_first_write_to_a_strangers_endpoint() -> None:
    spec = replace(SPEC, environment_declared=False)
    story = Story(application=Application(name="rag-chatbot", spec=spec))
    story.look()
    story.register(2)
    story.look(times=3)
    assert story.calls == []
    assert story.release is not None
    assert "serving.environment" in (story.release.hold or "")


def test_a_call_that_takes_no_effect_is_sent_three_times_in_ten_minutes_at_most(
    story: Story,
) -> None:
    story.obeys = False
    story.register(2)
    story.look(after=10, times=50)
    assert len([call for call in story.calls if isinstance(call, Serve)]) == 3


@pytest.mark.parametrize("hold_back", [0, 20])
def test_behind_a_fallback_a_version_that_gets_all_users_at_once_is_hidden_too(
    story: Story, hold_back: int
) -> None:
    alone = replace(QUICK, steps=(100,), hold_back=hold_back)
    story.application = replace(story.application, spec=replace(SPEC, rollout=alone))
    fallback(story, on=True)
    story.register(2)
    story.until("Testing")
    story.look(times=20)
    assert story.live.state == "Testing"
    assert "fallback" in (story.live.hold or "")
    fallback(story, on=False)
    story.until("Production")


def test_a_first_release_has_nobody_who_could_answer_for_it() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.until("Testing")
    fallback(story, on=True)
    story.until("Production")


def test_downtime_shortens_no_stay(story: Story) -> None:
    story.application = replace(
        story.application, spec=replace(SPEC, rollout=Rollout(steps=(100,)))
    )
    story.register(2)
    story.until("Canary")
    story.look(times=3)
    before = story.live.on_step
    story.look(after=86_400)
    assert story.live.on_step - before == timedelta(minutes=1)


def test_a_table_that_is_new_takes_no_step_where_no_metrics_are_seen(story: Story) -> None:
    story.pace = None
    story.history = History(requests=40)
    story.register(2)
    assert story.until("Canary").steps == QUICK.steps


# One look at a record made by hand, whole.

NOTED = Signs(void=())
TESTED = candidate(state=State.TESTING, settled=True, weight_seen=0, signs=NOTED)
WELL = shown(serving(v1=100, v2=0))
ONE_POLL = timedelta(seconds=30)


def looked(known: Application, seen: Endpoint | Absent | None, **outside: Any) -> Plan:  # noqa: ANN401
    """A look at NOW, half a minute after the last one."""
    facts: dict[str, Any] = {"alias": "1", "versions": (version(1), version(2))} | outside
    before = known.looked_at or NOW - ONE_POLL
    world = replace(World(now=NOW, endpoint=seen), **facts)
    return reconcile(replace(known, looked_at=before), world)


def known_of(release: Release, **facts: object) -> Application:
    """A record that a look at a well endpoint leaves as it is, but for time."""
    known = record(
        release,
        of_model=SPEC.model,
        of_endpoint=SPEC.endpoint,
        seen=WELL.serving,
        seen_alias="1",
        seen_alias_of="production",
        endpoint_id="first",
        config_version=7,
        created_ms=1,
        followed={"serve": NOW, "alias": NOW},
        fallback=False,
    )
    return replace(known, **facts)  # type: ignore[arg-type]


def live_after(release: Release, **outside: Any) -> Release:  # noqa: ANN401
    """What becomes of a live release by a look that brings time alone."""
    live = looked(known_of(release), outside.pop("seen", WELL), **outside).application.live
    assert live is not None
    return live


@pytest.mark.parametrize(
    ("facts", "counted", "on_step", "undecided"),
    [
        ({}, 1, 1, 1),
        ({"settled": False}, 1, 0, 0),
        ({"order": Order.PAUSE}, 0, 1, 0),
        ({"hold": "asked"}, 0, 1, 0),
    ],
)
def test_time_is_counted_while_the_world_is_seen_and_nobody_stops_it(
    facts: dict[str, Any], counted: int, on_step: int, undecided: int
) -> None:
    minute = timedelta(minutes=1)
    spent = {"in_state": minute, "on_step": 2 * minute, "undecided": 3 * minute}
    release = replace(TESTED, **spent, **facts)  # type: ignore[arg-type]
    after = replace(
        release,
        in_state=minute + counted * ONE_POLL,
        on_step=2 * minute + on_step * ONE_POLL,
        undecided=3 * minute + undecided * ONE_POLL,
        split=Split(weights={"rag_chatbot-v1": 100}, seen_at=NOW),
    )
    if release.order is Order.PAUSE:
        after = replace(after, paused=True, pauses=1)
    assert live_after(release) == after


def test_what_stops_the_whole_application_stops_a_releases_deadlines_too() -> None:
    held = known_of(TESTED, hold="asked for 3 times: the calls have no effect")
    live = looked(held, WELL).application.live
    assert live is not None
    assert (live.in_state, live.on_step) == (TESTED.in_state, TESTED.on_step + ONE_POLL)


def test_time_in_which_no_controller_was_there_is_not_taken_from_a_versions_tests() -> None:
    assert live_after(TESTED, first=True).in_state == TESTED.in_state
    begun = replace(TESTED, state=State.PROVISIONING)
    building = live_after(begun, first=True, seen=replace(WELL, updating=True))
    assert building.in_state == begun.in_state + ONE_POLL, "Databricks went on"


@pytest.mark.parametrize("seen", [replace(WELL, updating=True), Absent()])
def test_what_cannot_be_asked_has_no_time_taken_for_its_tests_and_all_of_it_for_provisioning(
    seen: Endpoint | Absent,
) -> None:
    reverted: dict[str, Any] = {"asked": str(WELL.serving), "seen": None}
    live = looked(known_of(TESTED, **reverted), seen).application.live
    assert live is not None
    assert live.in_state == TESTED.in_state
    begun = replace(TESTED, state=State.PROVISIONING)
    live = looked(known_of(begun, **reverted), seen).application.live
    assert live is not None
    assert live.in_state == begun.in_state + ONE_POLL


@pytest.mark.parametrize(("before", "counted"), [(10, 10), (60, 60), (61, 60), (3600, 60), (0, 0)])
def test_a_gap_adds_no_more_than_two_looks(before: int, counted: int) -> None:
    known = known_of(TESTED, looked_at=NOW - timedelta(seconds=before))
    live = looked(known, WELL).application.live
    assert live is not None
    assert live.in_state == timedelta(seconds=counted)
    slow = looked(known, WELL, poll=timedelta(seconds=1)).application.live
    assert slow is not None
    assert slow.in_state == timedelta(seconds=min(counted, 2))


def test_unseen_no_time_passes() -> None:
    known = known_of(TESTED)
    plan = looked(known, None)
    assert plan.application == replace(known, looked_at=NOW)
    assert (plan.events, plan.calls) == ((), ())


def test_an_answer_older_than_one_before_is_not_believed_for_ten_minutes() -> None:
    stale = replace(WELL, config_version=6)
    known = known_of(TESTED)
    plan = looked(known, stale)
    assert plan.application == replace(known, looked_at=NOW, behind=timedelta())
    just = STALE_FOR - ONE_POLL
    for behind, believed in ((just, True), (just - timedelta(seconds=1), False)):
        after = looked(replace(known, behind=behind), stale).application
        assert after.behind == (None if believed else behind + ONE_POLL)
        assert after.config_version == (6 if believed else 7)
    renewed = looked(known, replace(stale, created_ms=2)).application
    assert (renewed.config_version, renewed.created_ms, renewed.behind) == (6, 2, None)
    older = looked(known, replace(WELL, created_ms=0, config_version=8)).application
    assert (older.config_version, older.behind) == (7, timedelta())


def test_no_answer_becomes_believed_while_nobody_looks_or_by_a_clock_that_was_set() -> None:
    stale = replace(WELL, config_version=6)
    last = NOW - timedelta(days=1)
    known = replace(known_of(TESTED), behind=timedelta(minutes=1), looked_at=last)
    for poll in (ONE_POLL, timedelta(minutes=5)):
        after = looked(known, stale, poll=poll).application
        assert (after.behind, after.config_version) == (timedelta(minutes=2), 7)


def test_an_answer_of_a_deleted_endpoint_is_not_taken_for_one_that_was_put_back() -> None:
    gone = looked(known_of(TESTED), Absent()).application
    known = Gone(created_ms=1, config_version=7)
    assert (gone.config_version, gone.gone) == (0, known)
    still = looked(gone, Absent()).application
    assert still.gone == known
    stale = looked(still, replace(WELL, config_version=6))
    assert (stale.application.seen, stale.application.behind) == (still.seen, timedelta())
    assert (stale.application.change, stale.calls) == (still.change, ())
    back = looked(stale.application, WELL).application
    assert (back.config_version, back.gone, back.behind) == (7, None, None)
    anew = looked(still, replace(WELL, created_ms=2, config_version=1)).application
    assert (anew.config_version, anew.gone, anew.created_ms) == (1, None, 2)


def test_where_creation_is_not_told_a_lower_version_after_a_deletion_is_one_made_anew() -> None:
    undated = replace(WELL, created_ms=0)
    gone = looked(replace(known_of(TESTED), created_ms=0), Absent()).application
    anew = looked(gone, replace(undated, config_version=1)).application
    assert (anew.config_version, anew.behind) == (1, None)


def test_an_endpoint_that_others_made_is_adopted_as_found() -> None:
    nothing = Application(name="rag-chatbot", spec=SPEC, adopted=True, ours=True)
    after = looked(nothing, shown()).application
    assert (after.ours, after.adopted, after.stable) == (False, True, "1")
    for facts in ({"asked": "rag_chatbot-v1 100 %"}, {"seen": serving(v1=100)}):
        kept = looked(replace(nothing, **facts), shown(owner="headgate")).application
        assert (kept.ours, kept.stable) == (True, None)
    assert looked(nothing, shown(Serving())).application.ours


def test_what_the_counting_source_brings_is_told_block_by_block() -> None:
    span = Span(number=1, step=1, weight=5, starts_at=NOW - HOUR, settled=True)
    release = replace(TESTED, state=State.CANARY, step=1, spans=(span,), sources={"errors": SOURCE})
    seen = shown(serving(v1=95, v2=5))
    known = known_of(release, seen=seen.serving)
    made = replace(block(arm(1), arm(9)), opened_at=NOW - ONE_POLL, closed_at=NOW)
    marks = {SOURCE: NOW - ONE_POLL, "metrics": NOW + HOUR}
    plan = looked(known, seen, evidence=Evidence(blocks=(made,), watermarks=marks))
    line = plan.events[0]
    assert (line.name, line.release, line.level) == ("evidence.block", ("2", 1), "info")
    assert line.because == "inference_table, 14:59:30 to 15:00:00 UTC"
    assert line.fields == block_told(made)
    live = plan.application.live
    assert live is not None
    assert live.blocks == (made,)
    assert live.watermarks == {SOURCE: NOW - ONE_POLL, "metrics": NOW}
    lower = looked(
        replace(plan.application, looked_at=NOW),
        seen,
        evidence=Evidence(watermarks={SOURCE: NOW - HOUR}),
    ).application.live
    assert lower is not None
    assert lower.watermarks == {SOURCE: NOW - HOUR, "metrics": NOW}
    assert lower.blocks == (made,)


def at(minutes: float, requests: int = 60) -> Minute:
    """A minute that ended so long before now."""
    return Minute(ends_at=NOW - timedelta(minutes=minutes), requests=requests, errors=0)


def test_a_day_of_minutes_is_remembered_each_once() -> None:
    known = replace(known_of(TESTED), minutes=(at(3), at(2)))
    after = looked(known, WELL, minutes=(at(2, 7), at(1), at(0))).application
    assert after.minutes == (at(3), at(2), at(1), at(0))
    assert looked(known, WELL).application.minutes == known.minutes
    day = tuple(at(1440 - number) for number in range(1440))
    full = looked(replace(known, minutes=day), WELL, minutes=(at(0),)).application.minutes
    assert full == (*day[1:], at(0))


def test_a_fuse_sees_the_minutes_that_began_after_it_was_set() -> None:
    span = Span(number=1, step=1, weight=5, starts_at=NOW - HOUR, settled=True)
    setting = Fuse(set_at=NOW - timedelta(minutes=5), permitted=0.5, dispersion=1.0, weight=5)
    release = replace(TESTED, state=State.CANARY, step=1, spans=(span,), fuse=setting)
    seen = shown(serving(v1=95, v2=5))
    known = known_of(release, seen=seen.serving)
    minutes = (at(6), at(5), at(4.5), at(4), at(3))
    first = looked(known, seen, minutes=minutes).application.live
    assert first is not None
    assert first.minutes == (at(4), at(3))
    had = known_of(replace(release, minutes=(at(4),)), seen=seen.serving)
    then = looked(had, seen, minutes=(at(4, 7), at(3), at(2))).application.live
    assert then is not None
    assert then.minutes == (at(4), at(3), at(2))
    unset = looked(known_of(replace(release, fuse=None), seen=seen.serving), seen, minutes=minutes)
    assert unset.application.live is not None
    assert unset.application.live.minutes == ()


@pytest.mark.parametrize(
    ("facts", "removed"),
    [
        ({}, True),
        ({"ended_at": NOW - HOUR + timedelta(seconds=1)}, False),
        ({"ended_at": None}, False),
    ],
)
def test_what_lost_its_users_long_ago_is_not_wanted_any_more(
    facts: dict[str, Any], *, removed: bool
) -> None:
    ended = candidate(state=State.ROLLED_BACK, settled=True, ended_at=NOW - HOUR, tagged=True)
    release = replace(ended, **facts)
    kept = WELL if release.ended_at else shown()
    known = known_of(release, seen=kept.serving)
    after = looked(known, kept).application.newest("2")
    assert after == replace(release, removed=removed)
    busy = looked(known, replace(kept, updating=True)).application.newest("2")
    assert busy == release


def test_one_is_taken_away_at_a_time() -> None:
    ended = candidate(state=State.ROLLED_BACK, settled=True, ended_at=NOW - HOUR, tagged=True)
    seen = shown(serving(v1=100, v2=0, v3=0))
    known = known_of(ended, seen=seen.serving).with_release(replace(ended, version="3"))
    plan = looked(known, seen, versions=tuple(map(version, (1, 2, 3))))
    assert [one.removed for one in plan.application.releases] == [False, True, False]
    assert plan.calls == (Serve(serving(v1=100, v3=0)),)
    after = plan.application
    assert (after.asked, after.asked_over) == (None, -1), "nobody knows yet that it is sent"


def sent(target: str, over: int, outcome: str = "open", *, ago: timedelta = HOUR) -> Attempt:
    return Attempt(kind="serve", target=target, at=NOW - ago, outcome=outcome, over=over)


@pytest.mark.parametrize(
    ("attempts", "asked"),
    [
        ((), ("before", 3)),
        ((sent("a", 5), sent("b", 6)), ("b", 6)),
        ((sent("a", 5, "done"), sent("b", 6, "refused")), ("a", 5)),
        ((sent("a", 5), sent("beside a change", 6)), ("a", 5)),
        ((sent("a", 5), sent("beside a change", 6), sent("beside one more", 6)), ("a", 5)),
        ((sent("b", 6, "refused"),), ("before", 3)),
        ((sent("a", 5, ago=2 * HOUR + timedelta(seconds=1)),), ("before", 3)),
        ((sent("a", 5, ago=2 * HOUR),), ("a", 5)),
        ((replace(sent("1", 6), kind="alias"),), ("before", 3)),
    ],
)
def test_what_was_asked_for_last_is_told_by_the_calls_that_may_have_been_sent(
    attempts: tuple[Attempt, ...], asked: tuple[str, int]
) -> None:
    """It is noted before they are forgotten; what came of others was known two hours ago."""
    known = known_of(
        TESTED,
        asked="before",
        asked_over=3,
        attempts=attempts,
        closings=("beside a change", "beside one more"),
    )
    known = replace(known, followed={**known.followed, "known": NOW - 2 * HOUR})
    after = looked(known, WELL).application
    assert (after.asked, after.asked_over) == asked


def test_what_closed_a_version_beside_a_change_may_be_what_is_wanted_later() -> None:
    home = str(serving(v1=100, v2=0))
    known = known_of(replace(TESTED, state=State.ROLLED_BACK, settled=False), closings=(home,))
    plan = looked(replace(known, seen=serving(v1=95, v2=5)), shown(serving(v1=95, v2=5)))
    assert [one.target for one in plan.calls if one.kind == "serve"] == [home]
    assert plan.application.closings == ()
