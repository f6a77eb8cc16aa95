"""The commands that ask something of a release, as an operator types them."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.console import reading
from controller.console.cli import app
from controller.record.store import Store
from states.machine import State
from tests.controller.record.making import SPEC, plan, release, store_in


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = store_in(tmp_path)
    loaded = store.load("rag", SPEC)
    application = replace(loaded.application, adopted=True, stable="2", former="1")
    releases = [
        release("1", State.RETIRED, confirmed=True),
        release("2", State.PRODUCTION, confirmed=True),
        release("3", State.ROLLED_BACK),
        release("4", hold="waits", ask="its input", needs_person=True),
    ]
    store.commit(loaded, plan(application, *releases))
    store.close()
    return f"sqlite:///{tmp_path / 'headgate.db'}"


def typed(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--store", url])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("approve", "rag/4", "--reason", "fine"), "rag/4 is approved: its input; it goes on"),
        (("release", "rag/1"), "rag/1 is released, as attempt 2"),
        (("retry", "rag/3"), "rag/3 is released, as attempt 2"),
        (("retry", "rag"), "rag/3 is released, as attempt 2"),
        (
            ("undo", "rag"),
            "rag/1 is released, as attempt 2",
        ),
    ],
)
def test_what_was_done_is_one_sentence_and_saying_it_twice_does_it_once(
    url: str, words: tuple[str, ...], said: str
) -> None:
    first, again = typed(url, *words), typed(url, *words)
    assert (first.exit_code, first.stdout[: len(said)]) == (0, said)
    assert again.exit_code == 0
    assert "(it was ordered before)" in again.stdout


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("approve", "rag/3"), "rag/3 is RolledBack and over"),
        (("promote", "rag/4", "--override"), "cannot promote rag/4: it waits"),
        (("release", "rag/2"), "it is stable, and has the users already"),
        (("release", "rag"), "name the version to release: rag/VERSION"),
        (("retry", "rag/1"), "cannot retry rag/1: it is Retired"),
        (("undo", "chat"), "there is no application chat"),
        (("undo", "rag", "--reason", "x" * 2001), "a reason has 2,000 characters at most"),
        (("undo", "rga"), "no application rga in this store; did you mean rag?"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    url: str, words: tuple[str, ...], refusal: str
) -> None:
    told = typed(url, *words)
    assert told.exit_code == 2
    assert refusal in told.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("abort", "\udcff"),
        ("adopt", "\udcff"),
        ("retry", "rag/\udcff"),
        ("undo", "rag", "--reason", "\udcff"),
    ],
)
def test_what_is_not_utf_8_is_no_order(url: str, words: tuple[str, ...]) -> None:
    told = typed(url, *words)
    assert told.exit_code == 2
    assert "an order is written in UTF-8, and its application, version, reason" in told.stderr


def test_nor_is_one_by_a_user_whose_name_is_not(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann\udcff")
    told = typed(url, "approve", "rag/4")
    assert (told.exit_code, "(LOGNAME) is not: correct that" in told.stderr) == (2, True)


def test_the_log_alone_tells_of_an_attempt_that_was_asked_for(url: str) -> None:
    assert typed(url, "release", "rag/1", "--reason", "the old one").exit_code == 0
    store = Store(url, create=False)
    book = reading.fold(store.journal())
    store.close()
    [told] = book.statuses("rag/1")
    assert (told["state"], told["attempt"]) == ("Registered", 2)
    given = [row for row in book.history("rag/1") if row["event"] == "order.given"]
    assert [(row["verb"], row["reason"]) for row in given] == [("release", "the old one")]
