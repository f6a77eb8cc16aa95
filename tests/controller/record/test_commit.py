import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from controller.record.errors import Conflict, Taken
from controller.record.store import Store
from policies.fuse import DAY, Minute
from states.leap import leapt
from states.machine import State
from states.plan import MoveAlias, Plan, Serve
from states.release import Order
from states.spec import Spec
from states.world import Serving, Share
from tests.controller.record.conftest import Home
from tests.controller.record.making import (
    NOON,
    SPEC,
    block,
    plan,
    release,
    seqs,
    told,
    unchanged,
    write,
    written_since,
)


def test_an_unknown_application_is_fresh(store: Store) -> None:
    loaded = store.load("rag", SPEC)
    assert loaded.application.spec == SPEC
    assert not loaded.application.adopted
    assert loaded.row == 0


def test_what_was_committed_is_loaded(store: Store) -> None:
    live = release("2", State.CANARY, step=1, blocks=(block(1), block(2)))
    loaded = store.load("rag", SPEC)
    changed = replace(loaded.application, stable="1", adopted=True).with_release(live)
    store.commit(loaded, Plan(application=changed))
    assert store.load("rag", SPEC).application == changed
    assert store.applications() == ("rag",)


def test_only_accumulated_time_is_a_change_too(store: Store) -> None:
    write(store, release())
    loaded = store.load("rag", SPEC)
    waited = replace(loaded.application.releases[0], on_step=timedelta(seconds=30))
    store.commit(loaded, plan(loaded.application, waited))
    again = store.load("rag", SPEC)
    assert again.application.releases[0].on_step == timedelta(seconds=30)
    assert again.row == loaded.row + 1


def test_blocks_are_added_one_by_one(store: Store) -> None:
    write(store, release(blocks=(block(1),)))
    for number in (2, 3):
        loaded = store.load("rag", SPEC)
        (one,) = loaded.application.releases
        store.commit(
            loaded, plan(loaded.application, replace(one, blocks=(*one.blocks, block(number))))
        )
    (found,) = store.load("rag", SPEC).application.releases
    assert found.blocks == (block(1), block(2), block(3))


def test_of_two_writers_the_second_is_told_to_look_again(store: Store) -> None:
    write(store, release())
    loaded = store.load("rag", SPEC)
    store.commit(loaded, unchanged(loaded))
    before = list(store.journal())
    late = replace(loaded.application.releases[0], hold="late")
    with pytest.raises(Conflict):
        store.commit(loaded, plan(loaded.application, late, events=(told(late),)), [MoveAlias("2")])
    after = store.load("rag", SPEC).application
    assert after.releases[0].hold is None
    assert after.attempts == ()
    assert list(store.journal()) == before


def test_two_writers_who_both_saw_nothing_do_not_both_write(store: Store) -> None:
    first, second = store.load("rag", SPEC), store.load("rag", SPEC)
    store.commit(first, unchanged(first))
    with pytest.raises(Conflict):
        store.commit(second, unchanged(second))


@pytest.mark.parametrize("changes", [{"hold": "wait"}, {}])
def test_an_order_that_lands_in_between_wins(store: Store, changes: dict[str, str]) -> None:
    write(store, release("2", State.CANARY, step=1))
    loaded = store.load("rag", SPEC)
    store.give_order("rag", "2", Order.ABORT, "ann", "it smells")
    moved = replace(loaded.application.releases[0], **changes)  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        store.commit(loaded, plan(loaded.application, moved), [MoveAlias("2")])
    (found,) = store.load("rag", SPEC).application.releases
    assert found.order is Order.ABORT
    assert found.hold is None


def test_the_order_alone_is_a_fence(store: Store) -> None:
    """With the application's fence off: the release's own row has to notice."""
    write(store, release("2", State.CANARY, step=1))
    loaded = store.load("rag", SPEC)
    store.give_order("rag", "2", Order.ABORT, "ann", "it smells")
    unfenced = replace(loaded, row=store.load("rag", SPEC).row)
    moved = replace(loaded.application.releases[0], hold="wait")
    with pytest.raises(Conflict):
        store.commit(unfenced, plan(loaded.application, moved))


def test_the_releases_own_row_alone_is_a_fence(store: Store) -> None:
    """With the application's fence off: another writer's change of the release is noticed."""
    write(store, release("2", State.CANARY, step=1))
    loaded = store.load("rag", SPEC)
    write(store, release("2", State.CANARY, step=1, hold="theirs"))
    unfenced = replace(loaded, row=store.load("rag", SPEC).row)
    moved = replace(loaded.application.releases[0], hold="ours")
    with pytest.raises(Conflict):
        store.commit(unfenced, plan(loaded.application, moved))


def test_a_failure_in_the_middle_writes_nothing(store: Store) -> None:
    write(store, release("2", State.CANARY, step=1))
    loaded = store.load("rag", SPEC)
    second = release("3", State.CANARY, step=1)
    with pytest.raises(IntegrityError, match="releases"):
        store.commit(
            loaded,
            plan(replace(loaded.application, stable="9"), second, events=(told(second),)),
        )
    assert store.load("rag", SPEC) == loaded
    assert list(seqs(store)) == [1]


def test_one_release_ends_and_the_next_begins_in_one_commit(store: Store) -> None:
    write(store, release("3", State.CANARY, step=1), release("2"))
    loaded = store.load("rag", SPEC)
    ended = replace(loaded.application.releases[1], state=State.RETIRED)
    begun = replace(loaded.application.releases[0], state=State.PROVISIONING)
    store.commit(loaded, plan(loaded.application, begun, ended))
    live = store.load("rag", SPEC).application.live
    assert live is not None
    assert live.version == "2"


def test_two_applications_never_share_an_endpoint(store: Store) -> None:
    write(store, release())
    other = store.load("other", replace(SPEC, alias="other"))
    with pytest.raises(Taken, match="rag has the endpoint rag-endpoint"):
        store.commit(other, unchanged(other))
    without = Spec(model=SPEC.model, endpoint="elsewhere", alias=None)
    third = store.load("third", without)
    store.commit(third, unchanged(third))


def test_calls_are_open_until_they_are_settled(home: Home) -> None:
    clock, store = home.clock, home.store()
    loaded = store.load("rag", SPEC)
    serve = Serve(Serving({"rag-v2": Share(model="m", version="2", weight=100)}))
    committed = store.commit(loaded, unchanged(loaded), [serve, MoveAlias("2")])
    store.settle_call(committed.calls[1], "refused", "no: Bearer abcdefgh12345678")
    first, second = store.load("rag", SPEC).application.attempts
    assert (first.kind, first.target, first.outcome) == ("serve", serve.target, "open")
    assert (second.id, second.outcome) == (committed.calls[1], "refused")
    assert written_since(store, clock.now) == 2
    clock.turn(minutes=21)
    assert store.load("rag", SPEC).application.attempts == ()
    assert written_since(store, clock.now) == 0


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_calls_are_remembered_as_long_as_they_should_be_when_the_clock_is_set(
    home: Home, hours: int
) -> None:
    clock, store = home.clock, home.store()
    loaded = store.load("rag", SPEC)
    store.commit(loaded, unchanged(loaded), [MoveAlias("2")])
    clock.turn(minutes=1)
    later = store.load("rag", SPEC)
    clock.turn(hours=hours)
    moved = leapt(replace(later.application, looked_at=later.now), timedelta(hours=hours))
    store.commit(later, Plan(application=moved), [MoveAlias("3")])
    clock.turn(minutes=18)
    one, other = store.load("rag", SPEC).application.attempts
    assert (one.target, other.target) == ("2", "3")
    assert other.at - one.at == timedelta(minutes=1)
    clock.turn(minutes=1, seconds=30)
    [left] = store.load("rag", SPEC).application.attempts
    assert left.target == "3"


def test_what_matters_is_loaded_however_old_it_is(store: Store) -> None:
    old = [
        release("1", State.PRODUCTION, confirmed=True),
        release("2", State.RETIRED, ended_at=store.now()),
        release("3"),
        release("4", State.RETIRED),
    ]
    newer = [release(str(number), State.RETIRED) for number in range(5, 25)]
    loaded = store.load("rag", SPEC)
    store.commit(loaded, plan(replace(loaded.application, stable="1"), *old, *newer))
    found = store.load("rag", SPEC).application
    versions = [one.version for one in found.releases]
    assert versions == ["1", "2", "3", *(str(number) for number in range(5, 25))]


def test_a_version_too_old_to_be_loaded_does_not_look_new(store: Store) -> None:
    write(store, *[release(str(number), State.RETIRED) for number in range(1, 26)])
    found = store.load("rag", SPEC).application
    assert found.newest("5") is None
    assert found.watermark == 5


def test_of_older_versions_the_newest_attempt_is_loaded(store: Store) -> None:
    write(store, release("2", State.RETIRED), release("2", State.RETIRED, attempt=2))
    (found,) = store.load("rag", SPEC).application.releases
    assert found.attempt == 2


def test_the_endpoints_minutes_are_kept_for_a_day_and_read_once(home: Home) -> None:
    store = home.store()
    minutes = tuple(
        Minute(ends_at=NOON + timedelta(minutes=number), requests=600, errors=number % 3)
        for number in range(DAY + 30)
    )
    for since in (0, 10, 30):
        loaded = store.load("rag", SPEC)
        kept = replace(loaded.application, minutes=minutes[since : since + DAY])
        store.commit(loaded, plan(kept))
        assert store.load("rag").application.minutes == kept.minutes
    assert home.store().load("rag").application.minutes == minutes[-DAY:]
    [(rows,)] = home.ask("SELECT count(*) FROM minutes")
    assert rows == DAY


def test_what_is_remembered_of_a_load_is_what_a_fresh_look_would_find(home: Home) -> None:
    """Another process writes in between, or does not: memory makes no difference but in speed."""
    store, other = home.store(), home.store()
    write(store, release("2", State.CANARY, step=1, blocks=(block(1),)))
    luck = random.Random(5)  # noqa: S311 - who comes next is no secret
    for number in range(60):
        writer = luck.choice((store, other))
        match luck.choice(("wait", "wait", "order", "block", "move", "settle")):
            case "order":
                order = luck.choice((Order.PAUSE, Order.RUN))
                writer.give_order("rag", "2", order, "ann", "")
            case "block":
                loaded = writer.load("rag", SPEC)
                (one,) = loaded.application.releases
                more = replace(one, blocks=(*one.blocks, block(len(one.blocks) + 1)))
                writer.commit(loaded, plan(loaded.application, more))
            case "move":
                loaded = writer.load("rag", SPEC)
                moved = replace(loaded.application, config_version=number)
                (call,) = writer.commit(loaded, Plan(application=moved), [MoveAlias("2")]).calls
            case "settle" if number > 30:
                writer.settle_call(call, "done", "")
            case _:
                home.clock.turn(seconds=30)
                loaded = writer.load("rag", SPEC)
                writer.commit(loaded, Plan(application=replace(loaded.application, looked_at=NOON)))
        fresh = home.store()
        for one_ in (store, other):
            assert one_.load("rag", SPEC) == fresh.load("rag", SPEC)
            assert one_.load("rag").application == fresh.load("rag").application


def test_an_idle_application_comes_without_its_minutes_unless_all_of_it_is_asked_for(
    home: Home,
) -> None:
    minutes = tuple(
        Minute(ends_at=NOON + timedelta(minutes=number), requests=600, errors=0)
        for number in range(4)
    )
    store = home.store()
    loaded = store.load("rag", whole=False)
    store.commit(loaded, Plan(application=replace(loaded.application, minutes=minutes[:3])))
    glanced = store.load("rag", whole=False)
    assert glanced.application.minutes == ()
    assert store.load("rag").application.minutes == minutes[:3]
    # Told again with what is new, they are there once.
    store.commit(glanced, Plan(application=replace(glanced.application, minutes=minutes)))
    assert store.load("rag", whole=False).application.minutes == ()
    assert store.load("rag").application.minutes == minutes
    assert home.store().load("rag").application.minutes == minutes
