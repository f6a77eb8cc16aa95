"""What operators say of a release, through the real store: written, journalled, fenced, refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.record.errors import Conflict, OrderRefused
from controller.record.store import Store
from states.machine import State
from states.release import Application, Order, Release
from tests.controller.record.conftest import Home
from tests.controller.record.making import NOON, SPEC, plan, release, unchanged, write

ASK = "the first users"


@pytest.fixture
def store(home: Home) -> Store:
    store = home.store()
    loaded = store.load("rag", SPEC)
    application = replace(loaded.application, adopted=True, stable="3", former="2")
    stable = release("3", State.PRODUCTION, confirmed=True)
    tried = [
        release("1", State.ROLLED_BACK),
        release("2", State.RETIRED, confirmed=True),
    ]
    store.commit(loaded, plan(application, stable, *tried))
    return store


def asking(store: Store, version: str = "4") -> Release:
    one = release(version, State.TESTING, hold="waits for approval", ask=ASK, needs_person=True)
    write(store, one)
    return one


def record(store: Store) -> Application:
    return store.load("rag", SPEC).application


def newest(store: Store, version: str) -> Release:
    found = record(store).newest(version)
    assert found is not None
    return found


def test_an_approval_is_bound_to_what_was_asked_and_to_its_journal_row(store: Store) -> None:
    asking(store)
    said = store.approve("rag", None, "ann", "looks good")
    assert said.startswith(f"rag/4 is approved: {ASK}")
    *_, line = store.journal()
    assert (line["event"], line["actor"], line["reason"]) == ("order.given", "ann", "looks good")
    [word] = newest(store, "4").words
    assert (word.verb, word.finding, word.seq, word.actor) == ("approve", ASK, line["seq"], "ann")


def test_an_approval_twice_is_one(store: Store) -> None:
    asking(store)
    store.approve("rag", "4", "ann", "")
    before = store.last_seq()
    assert "ordered before" in store.approve("rag", "4", "bob", "")
    assert store.last_seq() == before


def test_a_word_makes_the_pass_under_way_look_again_and_no_commit_takes_it_back(
    store: Store,
) -> None:
    asking(store)
    loaded = store.load("rag", SPEC)
    store.approve("rag", "4", "ann", "")
    with pytest.raises(Conflict):
        store.commit(loaded, unchanged(loaded))
    loaded = store.load("rag", SPEC)
    changed = replace(newest(store, "4"), hold="something else")
    store.commit(loaded, plan(loaded.application, changed))
    assert [one.verb for one in newest(store, "4").words] == ["approve"]


def test_where_nothing_waits_there_is_nothing_to_approve(store: Store) -> None:
    write(store, release("4", State.CANARY, step=1))
    before = store.last_seq()
    with pytest.raises(OrderRefused, match="nothing of rag/4 waits for approval: it is in Canary"):
        store.approve("rag", None, "ann", "")
    assert store.last_seq() == before


def test_promote_says_and_journals_what_it_overrides(store: Store) -> None:
    write(store, release("4", State.CANARY, step=1, hold="undecided after 24 h"))
    with pytest.raises(OrderRefused, match="undecided after 24 h; `--override` goes past that"):
        store.promote("rag", "4", "ann", "")
    said = store.promote("rag", "4", "ann", "we know why", override=True)
    assert "past this: it is held: undecided after 24 h" in said
    *_, line = store.journal()
    assert line["overrides"] == ["it is held: undecided after 24 h"]
    assert (line["actor"], line["reason"]) == ("ann", "we know why")


def test_a_version_is_released_by_name_however_old_and_as_a_new_attempt(store: Store) -> None:
    assert store.begin("rag", "2", "release", "ann", "back then") == (
        "rag/2 is released, as attempt 2"
    )
    one = newest(store, "2")
    assert (one.state, one.attempt, one.ordered) == (State.REGISTERED, 2, "release")
    *_, given, registered = store.journal()
    assert (given["event"], given["actor"], given["reason"]) == ("order.given", "ann", "back then")
    assert (registered["event"], registered["attempt"]) == ("release.registered", 2)
    before = store.last_seq()
    assert "ordered before" in store.begin("rag", "2", "release", "bob", "")
    assert store.last_seq() == before


def test_a_version_that_nobody_has_heard_of_waits_for_the_registry_to_list_it(
    store: Store,
) -> None:
    store.begin("rag", "77", "release", "ann", "")
    assert newest(store, "77").state is State.REGISTERED


def test_attempts_are_counted_on_for_a_version_that_is_no_longer_loaded(store: Store) -> None:
    write(store, *(release(str(number), State.RETIRED) for number in range(10, 40)))
    assert record(store).newest("1") is None, "it is too old to be loaded"
    store.begin("rag", "1", "retry", "ann", "")
    assert newest(store, "1").attempt == 2
    assert record(store).newest("2") is not None, "undo needs it, however old"


def test_what_waits_by_itself_is_replaced_by_what_a_person_asks_for(store: Store) -> None:
    write(store, release("4"))
    store.begin("rag", "4", "release", "ann", "")
    waiting = [one for one in record(store).releases if one.version == "4"]
    assert [(one.attempt, one.order, one.ordered) for one in waiting] == [
        (1, Order.ABORT, None),
        (2, Order.RUN, "release"),
    ]


@pytest.mark.parametrize(
    ("version", "verb", "refusal"),
    [
        ("3", "release", "it is stable, and has the users already"),
        ("2", "retry", "cannot retry rag/2: it is Retired; `headgate release rag/2`"),
        ("9", "retry", "cannot retry rag/9: it was never released"),
        ("07", "release", "07 is no version"),
        ("x", "release", "x is no version"),
        ("0", "release", "0 is no version: name it by its number, rag/7"),
        ("-1", "release", "-1 is no version"),
        (None, "release", "name the version to release"),
    ],
)
def test_what_makes_no_sense_is_refused(
    store: Store, version: str | None, verb: str, refusal: str
) -> None:
    before = store.last_seq()
    with pytest.raises(OrderRefused, match=refusal):
        store.begin("rag", version, verb, "ann", "")  # type: ignore[arg-type]
    assert store.last_seq() == before


def test_retry_without_a_version_takes_what_was_rolled_back_last(store: Store) -> None:
    later = NOON + timedelta(hours=1)
    write(store, release("4", State.ROLLED_BACK, since=later))
    assert store.begin("rag", None, "retry", "ann", "").startswith("rag/4 is released")


def test_undo_under_way_is_an_abort(store: Store) -> None:
    write(store, release("4", State.PRODUCTION))
    assert store.undo("rag", "ann", "").startswith("rag/4 is aborted")
    assert newest(store, "4").order is Order.ABORT


def test_undo_at_rest_releases_the_version_before(store: Store) -> None:
    said = store.undo("rag", "ann", "bad answers")
    assert said.startswith("rag/2 is released, as attempt 2: it takes all users back from")
    assert newest(store, "2").ordered == "undo"


def test_undo_on_the_way_home_is_refused(store: Store) -> None:
    write(store, release("4", State.ROLLED_BACK, settled=False))
    with pytest.raises(OrderRefused, match="is on its way home already"):
        store.undo("rag", "ann", "")


def test_nothing_is_ordered_of_an_application_whose_record_is_of_another_model(
    store: Store,
) -> None:
    write(store, release("4", State.CANARY))
    loaded = store.load("rag", SPEC)
    strayed = replace(loaded.application, of_model="main.ml_models.another")
    store.commit(loaded, plan(strayed, *strayed.releases))
    with pytest.raises(OrderRefused, match=r"would be done: the configuration names model"):
        store.give_order("rag", "4", Order.ABORT, "ann", "")
    with pytest.raises(OrderRefused, match="would be done"):
        store.undo("rag", "ann", "")


def test_an_answer_says_what_the_application_as_a_whole_waits_for_first(store: Store) -> None:
    asking(store)
    loaded = store.load("rag", SPEC)
    held = replace(loaded.application, hold="changed by someone else")
    store.commit(loaded, plan(held))
    first = "; it waits for something else first: changed by someone else"
    assert store.approve("rag", "4", "ann", "").endswith(first)
    store.give_order("rag", "4", Order.PAUSE, "ann", "")
    assert store.give_order("rag", "4", Order.RUN, "ann", "").endswith(first)
