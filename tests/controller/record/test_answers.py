"""Answers to changes by others: written where only operators write, each for one change."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from controller.record.errors import Conflict, OrderRefused
from controller.record.store import Store
from states.difference import Answer, Change
from states.machine import State
from states.plan import Plan
from states.release import Application
from states.world import Serving, Share
from tests.controller.record.earlier import store_of
from tests.controller.record.making import SPEC, release, store_in, write

FOUND = Serving(
    {
        "rag-v1": Share(model=SPEC.model, version="1", weight=100),
        "theirs": Share(model="main.other.model", version="4", weight=0),
    }
)
SHOWN = Change(
    number=3,
    endpoint=("theirs (version 4 of main.other.model) was added at 0 %",),
    serving=FOUND,
    named="1",
)


def show(store: Store, change: Change | None, **fields: object) -> Application:
    """Write down that this change is shown, and what else is said of the application."""
    loaded = store.load("rag", SPEC)
    changed = replace(
        loaded.application,
        stable="1",
        adopted=True,
        change=change,
        **fields,  # type: ignore[arg-type]
    )
    store.commit(loaded, Plan(application=changed))
    return store.load("rag", SPEC).application


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_in(tmp_path)
    write(store, release("1", State.PRODUCTION, confirmed=True))
    show(store, SHOWN, hold="changed by someone else")
    return store


def test_an_answer_is_for_the_change_that_is_shown_and_is_journalled(store: Store) -> None:
    said = store.give_answer("rag", "adopt", "ann", "it is theirs")
    assert said == (
        "rag: theirs (version 4 of main.other.model) was added at 0 %: is adopted as it was "
        "found, with the next look"
    )
    known = store.load("rag", SPEC).application
    assert known.answer == Answer(answer="adopt", difference=SHOWN.key)
    *_, line = store.journal()
    assert (line["event"], line["release"]) == ("order.given", "rag/1")
    assert (line["actor"], line["because"], line["answer"]) == ("ann", "it is theirs", "adopt")
    assert line["difference"] == list(SHOWN.difference)


def test_the_same_answer_twice_is_one_and_another_takes_its_place(store: Store) -> None:
    store.give_answer("rag", "adopt", "ann", "")
    before = store.last_seq()
    assert "answered before" in store.give_answer("rag", "adopt", "bob", "")
    assert store.last_seq() == before
    store.give_answer("rag", "revert", "bob", "")
    given = store.load("rag", SPEC).application.answer
    assert given == Answer(answer="revert", difference=SHOWN.key)
    assert store.last_seq() == before + 1


def test_a_pass_that_was_under_way_must_look_again_and_never_writes_the_answer(
    store: Store,
) -> None:
    loaded = store.load("rag", SPEC)
    store.give_answer("rag", "revert", "ann", "")
    with pytest.raises(Conflict):
        store.commit(loaded, Plan(application=loaded.application))
    later = store.load("rag", SPEC)
    store.commit(later, Plan(application=replace(later.application, answer=None)))
    assert store.load("rag", SPEC).application.answer is not None


@pytest.mark.parametrize(
    ("change", "word", "refusal"),
    [
        (None, "adopt", "nothing of rag is shown as changed by others: it waits for something"),
        (replace(SHOWN, named="9", alias=("alias production names version 9",)), "adopt", "point"),
        (Change(number=4, registry=("version 1 was deleted",)), "revert", "cannot be brought back"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(
    store: Store, change: Change | None, word: str, refusal: str
) -> None:
    show(store, change, hold="something else")
    before = store.last_seq()
    with pytest.raises(OrderRefused, match=refusal):
        store.give_answer("rag", "adopt" if word == "adopt" else "revert", "ann", "")
    assert store.last_seq() == before


def test_an_unknown_application_has_nothing_to_answer(store: Store) -> None:
    with pytest.raises(OrderRefused, match="no application chat"):
        store.give_answer("chat", "adopt", "ann", "")


def test_a_store_of_before_has_no_answers_and_takes_them_after(tmp_path: Path) -> None:
    old = tmp_path / "headgate.db"
    store_of("0001", old)
    Store(f"sqlite:///{old}").close()
    with sqlite3.connect(old) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(applications)")]
        given = [row[0] for row in connection.execute("SELECT answer FROM applications")]
    connection.close()
    assert "answer" in columns
    assert set(given) <= {None}
