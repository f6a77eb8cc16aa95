"""One pass on a real store, with a small world outside; what crashes and operators do to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import delete, insert, text, update
from structlog.testing import capture_logs

from controller.daemon.backoff import TOLD_AT
from controller.daemon.lanes import Passes
from controller.daemon.leaps import Leaps
from controller.daemon.passes import Pass
from controller.daemon.quarantine import PACE_S, PERMITTED
from controller.record.budget import BUDGET, RESERVE, WINDOW, Budget
from controller.record.errors import StoreUnusable, Unreadable
from controller.record.loading import Loaded
from controller.record.printer import Printer
from controller.record.schema import APPLICATIONS, CALLS
from controller.record.store import Committed, Store
from controller.record.times import micros
from controller.workspace.errors import Refused, Unreachable
from controller.workspace.serving import ServingSettings
from policies.fuse import Minute
from states.desired import desired
from states.plan import Call, Event, Plan, Serve
from states.release import Application, Order
from states.world import Absent, Serving, Size, World
from tests.controller.daemon.test_lanes import soon
from tests.controller.house import NAME, House, opened
from tests.controller.record.making import written_since
from tests.states.story import SPEC


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def test_an_abort_that_lands_in_the_middle_of_a_pass_wins(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    before = house.outside.story.weight(2)

    def abort() -> None:
        house.outside.meanwhile = None
        house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")

    house.outside.meanwhile = abort
    house.passes()
    assert house.outside.story.weight(2) == before, "the pass that was overtaken sent nothing"
    house.passes(2)
    assert house.outside.story.weight(2) == 0
    newest = house.application().newest("2")
    assert newest is not None
    assert newest.state == "RolledBack"


def raises(house: House, serving: Serving) -> bool:
    """Whether what is to be served gives more users to the candidate, which has some."""
    return serving.weight("rag_chatbot-v2") > house.outside.story.weight(2) > 0


def until_called(house: House, orders: list[str]) -> None:
    """Look until the order was given."""
    for _ in range(100):
        house.passes()
        if orders:
            return
    raise AssertionError("no step opened")


def test_an_abort_between_commit_and_send_lets_nothing_out_that_raises(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    commit, orders, sent = house.store.commit, list[str](), list[int]()

    def committed(
        loaded: Loaded, plan: Plan, calls: Sequence[Call], *, lease: None, budget: Budget
    ) -> Committed:
        done = commit(loaded, plan, calls, lease, budget)
        if any(isinstance(one, Serve) and raises(house, one.serving) for one in calls):
            monkeypatch.undo()
            orders.append(house.store.give_order(NAME, "2", Order.ABORT, "anna", "", via="http"))
            sent.append(len(house.outside.sent))
        return done

    monkeypatch.setattr(house.store, "commit", committed)
    with capture_logs() as logs:
        until_called(house, orders)
    assert [len(house.outside.sent)] == sent, "it was written down, and is not sent"
    [unsent] = [line for line in logs if line["event"] == "call.unsent"]
    assert "an abort was ordered since it was written down" in unsent["because"]
    assert house.outcomes()[-1] == "unsent", "nobody waits for its effect"
    house.passes(1, after=0)
    assert house.outside.story.weight(2) == 0, "one look later its users are home"
    assert house.application().attempts[-1].outcome == "done"
    newest = house.application().newest("2")
    assert newest is not None
    assert newest.state == "RolledBack"


def test_an_abort_that_comes_while_a_raise_is_sent_is_the_next_thing_that_is_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    serve, orders = house.outside.serve, list[str]()

    def served(
        name: str,
        serving: Serving,
        settings: ServingSettings,
        sizes: Mapping[str, Size],
        *,
        on: str,
    ) -> None:
        if raises(house, serving):
            monkeypatch.undo()
            orders.append(house.store.give_order(NAME, "2", Order.ABORT, "anna", ""))
        serve(name, serving, settings, sizes, on=on)

    monkeypatch.setattr(house.outside, "serve", served)
    until_called(house, orders)
    assert house.outside.story.weight(2) > 0, "it was on its way already"
    house.passes(1, after=0)
    assert house.outside.story.weight(2) == 0
    house.passes(20)
    assert house.outside.story.weight(2) == 0, "nothing raises it any more"


def test_one_who_put_stable_to_100_by_hand_while_no_daemon_ran_has_aborted(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    sent = len(house.outside.sent)
    house.clock[0] += timedelta(hours=1)
    house.ticks[0] += 3600
    house.outside.story.edit(v1=100, v2=0)
    house.passes(3)
    newest = house.application().newest("2")
    assert newest is not None
    assert (newest.state, newest.settled) == ("RolledBack", True)
    assert "its weight was lowered by someone else, to 0 % of" in newest.because
    house.passes(30)
    assert house.outside.story.weight(2) == 0
    assert not [one for one in house.outside.sent[sent:] if one.startswith("serve")]


def test_a_crash_between_commit_and_call_costs_time_and_nothing_else(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes()
    attempts = house.application().attempts
    assert [attempt.outcome for attempt in attempts] == ["open"]
    assert house.outside.sent == []
    house.outside.dies = False
    house.passes()
    assert len(house.outside.sent) == 1
    house.until("Canary")


def down(*_: object, **__: object) -> NoReturn:
    """What a store answers that cannot be used."""
    raise StoreUnusable("the store is down for a moment")


@pytest.mark.parametrize("fails", ["the commit, which comes true", "the log", "what is asked last"])
def test_a_call_that_the_store_kept_from_being_sent_is_waited_for_by_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    house.passes()
    house.outside.story.register(2)
    commit = house.store.commit

    def committed(
        loaded: Loaded, plan: Plan, calls: Sequence[Call], *, lease: None, budget: Budget
    ) -> Committed:
        done = commit(loaded, plan, calls, lease, budget)
        if not calls:
            return done
        monkeypatch.undo()
        if fails.startswith("the commit"):
            down()
        place, name = {
            "the log": (house.one.printer, "print_new"),
            "what is asked last": (house.store, "homeward"),
        }[fails]
        monkeypatch.setattr(place, name, down)
        return done

    monkeypatch.setattr(house.store, "commit", committed)
    with pytest.raises(StoreUnusable):
        house.passes(3)
    monkeypatch.undo()
    assert house.outside.sent == []
    [attempt] = house.application().attempts
    assert attempt.outcome == "open", "so far nobody could write down that it was not sent"
    house.passes(1)
    first, second = house.application().attempts
    assert (first.id, first.outcome, second.outcome) == (attempt.id, "refused", "done")
    assert house.outside.sent == [f"serve {attempt.target}"], "once"


@pytest.mark.parametrize("meanwhile", ["settled", "gone"])
def test_what_has_become_of_a_call_that_was_not_sent_is_left_as_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    house.passes()
    house.outside.story.register(2)

    monkeypatch.setattr(house.store, "homeward", down)
    with pytest.raises(StoreUnusable):
        house.passes(3)
    monkeypatch.undo()
    assert house.outcomes() == ["open"]
    changed = {"settled": update(CALLS).values(outcome="done"), "gone": delete(CALLS)}[meanwhile]
    with house.store.writing() as connection:
        connection.execute(changed)
    house.passes()
    assert "refused" not in house.outcomes()
    house.until("Canary")


def test_a_commit_that_did_not_come_true_says_nothing_of_the_calls_of_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    leaps = Leaps(lambda: house.ticks[0])
    printer, outside, actor = Printer(house.store), house.outside, house.one.actor
    other = Pass(NAME, SPEC, house.store, printer, outside, actor, leaps)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:

        def overtaken(*_: object, **__: object) -> NoReturn:
            patch.undo()
            other.once()
            down()

        patch.setattr(house.store, "commit", overtaken)
        with pytest.raises(StoreUnusable):
            house.passes()
    assert {one.outcome for one in house.application().attempts} == {"done"}
    house.passes()
    assert {one.outcome for one in house.application().attempts} == {"done"}


def test_a_call_that_is_remembered_again_as_the_clock_was_set_back_may_still_come(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Unreachable("serving endpoint: 503")
    house.passes()
    house.outside.failing = None
    house.passes(after=3600)
    [old] = [one for one in house.outcomes() if one == "open"]

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "commit", down)
        with pytest.raises(StoreUnusable):
            house.passes()
    house.clock[0] -= timedelta(hours=1)
    house.passes()
    assert [one for one in house.outcomes() if one == "open"] == [old]


def test_of_several_calls_those_after_one_that_broke_the_pass_are_waited_for_by_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Production")
    house.passes(2)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    known = {one.id for one in house.application().attempts}

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "settle_call", down)
        with pytest.raises(StoreUnusable):
            house.passes(1)
    first, *rest = [one for one in house.application().attempts if one.id not in known]
    assert rest, "more was to be sent"
    house.passes(1)
    outcomes = {one.id: one.outcome for one in house.application().attempts}
    assert outcomes[first.id] == "open", "it was sent, and nobody knows what the answer was"
    assert {outcomes[one.id] for one in rest} == {"refused"}


def test_a_call_whose_outcome_is_unknown_stays_open_and_is_settled_by_looking(
    house: House,
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Unreachable("serving endpoint: 503")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["open"]
    house.outside.failing = None
    wanted = desired(house.application())
    assert wanted is not None
    house.outside.story.obey(Serve(wanted))
    house.passes()
    assert len(house.outside.sent) == 1, "it had taken effect: it is not sent again"


def test_a_refused_call_is_written_down_as_refused(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Refused("serving endpoint: busy")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["refused"]


def test_a_rollback_is_sent_while_the_way_forward_has_used_up_its_writes(house: House) -> None:
    house.passes()
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    spend(house, BUDGET - RESERVE - written(house))
    sent = len(house.outside.sent)
    house.passes(3)
    assert len(house.outside.sent) == sent, "no step opens on the reserve"
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes()
    assert story.weight(2) == 0, "the way back has its own share"
    assert BUDGET - RESERVE < written(house) <= BUDGET


def test_not_even_a_rollback_passes_what_the_workspace_takes(house: House) -> None:
    house.passes()
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    spend(house, BUDGET - written(house))
    before = story.weight(2)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes()
    assert story.weight(2) == before
    house.passes(after=300)
    assert story.weight(2) == 0, "it is sent as soon as there is room"


def spend(house: House, writes: int) -> None:
    """Let other applications of the workspace have written so often just now."""
    at = micros(house.clock[0])
    own = {"application": NAME, "kind": "gateway", "target": "theirs", "target_json": {}}
    rest = {"base_config_version": 1, "at": at, "outcome": "done", "because": ""}
    with house.store.writing() as connection:
        connection.execute(insert(CALLS), [own | rest] * writes)


def written(house: House) -> int:
    return written_since(house.store, house.clock[0] - WINDOW)


def test_the_journal_tells_every_change_once_and_without_gaps(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.story.error_rates["2"] = 0.2
    for _ in range(40):
        house.passes()
    lines = list(house.store.journal())
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    moves = [line["to_state"] for line in lines if line["event"] == "release.transition"]
    assert moves == ["Provisioning", "Testing", "Canary", "RolledBack"]
    assert not isinstance(house.outside.story.alias, Absent)
    assert house.outside.story.alias == "1"


def test_an_application_where_nothing_happens_writes_nothing(house: House) -> None:
    house.passes(2)
    row = house.store.load(NAME).row
    house.passes(20)
    assert house.store.load(NAME).row == row
    house.outside.story.register(2)
    house.until("Testing")
    assert house.store.load(NAME).row > row


def test_minutes_of_an_idle_endpoint_are_written_by_the_quarter_of_an_hour(house: House) -> None:
    writes = 0
    for number in range(60):
        minute = Minute(ends_at=house.clock[0], requests=60, errors=0)
        house.outside.story.minutes = (*house.outside.story.minutes, minute)
        row = house.store.load(NAME).row
        house.passes(after=60)
        writes += house.store.load(NAME).row > row
        known = house.store.load(NAME, SPEC).application.minutes
        assert number - len(known) < 15
    assert writes <= 60 / 15 + 1


def test_a_version_that_could_not_be_deployed_is_not_started_again(house: House) -> None:
    house.passes()
    story = house.outside.story
    story.undeployable = frozenset({"2"})
    story.register(2)
    house.passes(60)
    newest = house.application().newest("2")
    assert newest is not None
    assert (newest.state, newest.attempt, newest.settled) == ("RolledBack", 1, True)
    sent = len(house.outside.sent)
    house.passes(200, after=60)
    newest = house.application().newest("2")
    assert newest is not None
    assert newest.attempt == 1
    assert not any("v2" in one for one in house.outside.sent[sent:] if one.startswith("serve"))


def broken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a bug that nobody knew of")

    monkeypatch.setattr(house.outside, "look", fail)


def lanes(house: House, time: list[float]) -> Passes:
    return Passes({NAME: house.one}, house.store, lambda: time[0])


def beat(passes: Passes, house: House, times: int = 1) -> None:
    for _ in range(times):
        house.clock[0] += timedelta(seconds=30)
        house.ticks[0] += 30
        passes.start_due()
        soon("the pass ends", lambda: not passes.busy())


def test_passes_that_keep_failing_put_the_release_in_quarantine_until_the_cause_is_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    time = [0.0]
    passes, weight = lanes(house, time), house.outside.story.weight(2)
    with monkeypatch.context() as patch, capture_logs():
        broken(house, patch)
        beat(passes, house, PERMITTED - 1)
        live = house.application().live
        assert live is not None
        assert live.hold is None, "so often it may be chance"
        beat(passes, house)
        live = house.application().live
        assert live is not None
        assert live.needs_person
        assert "quarantined: its passes fail unexpectedly (LookupError)" in str(live.hold)
        looks = passes._quarantine.failures[NAME]
        beat(passes, house, 9)
        assert passes._quarantine.failures[NAME] == looks, "it is tried at a slow pace"
    time[0] += PACE_S
    beat(passes, house)
    live = house.application().live
    assert live is not None
    assert live.hold is None
    assert house.outside.story.weight(2) >= weight
    told = [one["event"] for one in house.store.journal() if one["event"] == "release.held"]
    assert len(told) == 1
    assert passes.end(10) == 0


def test_a_release_in_quarantine_goes_back_and_not_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.one.quarantine("its passes fail")
    monkeypatch.setattr(Pass, "run", Pass.once)
    before, sent = house.outside.story.weight(2), len(house.outside.sent)
    house.passes(30)
    assert house.outside.story.weight(2) == before
    assert len(house.outside.sent) == sent
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes(2)
    assert house.outside.story.weight(2) == 0


def test_harm_rolls_a_release_in_quarantine_back(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.one.quarantine("its passes fail")
    house.outside.story.error_rates["2"] = 0.5
    house.passes(20)
    assert house.outside.story.weight(2) == 0


def test_one_record_that_nobody_can_read_stops_no_other_and_status_says_so(house: House) -> None:
    house.passes()
    bad = {"name": "bad", "model": "main.a.bad", "endpoint": "bad", "alias": "x", "row": 1}
    with house.store.writing() as connection:
        connection.execute(insert(APPLICATIONS), [bad | {"body": {"watermark": "no number"}}])
    with pytest.raises(Unreadable, match="the record of bad in this store cannot be understood"):
        house.store.load("bad")
    house.outside.story.register(2)
    house.until("Canary")
    lines = {line["application"]: line for line in house.store.states()}
    assert "cannot be understood" in lines["bad"]["application_hold"]
    assert lines[NAME]["live"] == "2"


def test_a_call_that_was_never_sent_is_tried_again_at_the_next_look(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    unread = Unreachable("serving endpoint: 503")
    unread.outcome = "unsent"  # what the endpoint serves could not be read before it is changed
    house.outside.failing = unread
    house.passes()
    assert house.application().attempts == ()
    assert written_since(house.store, house.clock[0]) == 0
    house.outside.failing = None
    house.passes(after=1)
    assert [attempt.outcome for attempt in house.application().attempts] == ["done"]


def test_a_glance_finds_that_there_is_nothing_to_do_and_decides_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    whole, looked = house.outside.look, list[datetime]()

    def look(application: Application, now: datetime) -> World:
        looked.append(now)
        assert application.minutes, "by a look, all is decided that there is to know by"
        return whole(application, now)

    minute = Minute(ends_at=house.clock[0], requests=60, errors=0)
    loaded = house.store.load(NAME, SPEC)
    kept = replace(loaded.application, minutes=(minute,))
    house.store.commit(loaded, Plan(application=kept))
    monkeypatch.setattr(house.outside, "glance", whole)
    monkeypatch.setattr(house.outside, "look", look)
    house.passes(3)
    assert not looked
    house.outside.story.register(2)
    house.passes()
    assert looked == [house.clock[0]]
    assert house.application().live is not None


def test_what_is_remembered_of_a_commit_is_what_another_process_reads(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    states = set()
    for _ in range(60):
        house.passes()
        remembered = house.store.load(NAME, SPEC)
        other = Store(f"sqlite:///{house.store.path}", clock=lambda: house.clock[0], create=False)
        read = other.load(NAME, SPEC)
        other.close()
        assert replace(remembered, now=read.now) == read
        live = read.application.live
        states.add(live.state if live is not None else None)
    assert len(states) > 3


def test_a_version_that_does_not_exist_waits_for_a_person_and_an_abort_ends_it(
    house: House,
) -> None:
    house.passes()
    house.store.begin(NAME, "77", "release", "anna", "a slip of the finger")
    house.passes(3)
    waiting = house.application().newest("77")
    assert waiting is not None
    assert waiting.needs_person
    assert waiting.hold == "version 77 is not listed: abort it, unless it is to come"
    house.store.give_order(NAME, "77", Order.ABORT, "anna", "")
    house.passes()
    ended = house.application().newest("77")
    assert ended is not None
    assert (ended.state, ended.because) == ("Retired", "aborted before it began")
    assert not [one for one in house.outside.sent if one.startswith("serve")]


def patient(house: House) -> House:
    """Every wait as long as it may be."""
    actor = house.one.actor
    for backoff in (actor.backoff, actor.staging_backoff, actor.registry_backoff):
        backoff.draw = lambda *_: 1.0
    return house


def test_an_alias_that_moves_does_not_end_the_rest_that_the_endpoint_asked_for(
    house: House,
) -> None:
    patient(house).passes()
    house.outside.story.register(2)
    house.until("Production")
    sent = house.outside.sent
    house.outside.failing_at = {"serve": Unreachable("busy", retry_after_s=300)}
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")
    del sent[:]
    house.passes(after=1)
    assert [one.partition(" ")[0] for one in sent[:2]] == ["serve", "alias"], "in one pass"
    house.outside.story.alias = "2"  # and moved away again: it is sent once more, and taken
    house.passes(5, after=5)
    kinds = [one.partition(" ")[0] for one in sent]
    assert kinds.count("serve") == 1, "not even a rollback asks again within half a minute"
    assert kinds.count("alias") > 1
    house.passes(after=10)
    assert [one.partition(" ")[0] for one in sent].count("serve") == 2


def test_a_registry_that_fails_keeps_neither_a_release_nor_its_way_back_waiting(
    house: House,
) -> None:
    def passes_to_canary(version: int) -> int:
        house.outside.story.register(version)
        for number in range(100):
            house.passes()
            if house.outside.story.weight(version):
                return number
        raise AssertionError("never")

    patient(house).passes()
    usual = passes_to_canary(2)
    house.outside.failing_at = {"tag": Unreachable("down")}
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")
    house.passes(40)
    tags = [one for one in house.outside.sent if one.startswith("tag")]
    assert len(tags) > TOLD_AT, "waits are longer than a look by now"
    assert passes_to_canary(3) == usual
    for _ in range(40):
        del house.outside.sent[:]
        house.passes()
        if any(one.startswith("tag") for one in house.outside.sent):
            break
    assert any(one.startswith("tag") for one in house.outside.sent), "it failed just now"
    house.store.give_order(NAME, "3", Order.ABORT, "anna", "users complain")
    house.passes(after=1)
    assert house.outside.story.weight(3) == 0


def test_a_row_of_the_journal_that_nobody_can_read_keeps_nobody_from_going_home(
    house: House,
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    assert house.outside.story.weight(2) == 5
    seq = house.store.note(Event(name="daemon.started", because="a line that is about to be lost"))
    with house.store.writing() as connection:
        connection.execute(text("DROP TRIGGER journal_no_update"))
        damage = "UPDATE journal SET fields = '{broken' WHERE seq = :seq"
        connection.execute(text(damage), {"seq": seq})
    house.store.give_order(NAME, None, Order.ABORT, "ann", "it answers nonsense")
    house.passes(5)
    assert house.outside.story.weight(2) == 0
    with pytest.raises(
        Unreadable, match=r"the journal of this store after seq \d+ cannot be understood"
    ):
        house.one.printer.print_new()
