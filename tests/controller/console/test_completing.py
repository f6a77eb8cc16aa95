"""What a shell is offered, and that it is never told why there is nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from states.machine import State
from tests.controller.record.making import SPEC, plan, release, store_in


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADGATE_STORE", raising=False)
    return tmp_path


def tab(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    told = CliRunner().invoke(
        app,
        prog_name="headgate",
        env={
            "_HEADGATE_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(("headgate", *words)),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert told.stderr == ""
    return told.stdout.split()


def test_releases_of_the_store_are_offered_newest_first(here: Path) -> None:
    store = store_in(here)
    loaded = store.load("rag", SPEC)
    releases = [release(one, State.RETIRED, confirmed=True) for one in ("2", "10", "9")]
    store.commit(loaded, plan(loaded.application, *releases))
    store.close()
    assert tab("explain", "r") == ["rag"]
    assert tab("explain", "rag/") == ["rag/10", "rag/9", "rag/2"]
    assert tab("explain", "rag/1") == ["rag/10"]
    assert tab("undo", "r") == ["rag"]


@pytest.mark.parametrize(
    "text",
    ["{", "applications: [a]", "other: 1", "\u0000", None],
    ids=["yaml", "list", "else", "bytes", "none"],
)
def test_what_cannot_be_read_is_not_offered_without_a_word(here: Path, text: str | None) -> None:
    if text is not None:
        (here / "headgate.yaml").write_text(text)
        (here / "headgate.db").write_text("no store")
    assert tab("status", "r") == []


@pytest.mark.parametrize(
    ("shell", "offered"),
    [("zsh", "_arguments '*: :((\"rag-chatbot\"))'"), ("fish", "rag-chatbot")],
)
def test_other_shells_are_offered_the_same(here: Path, shell: str, offered: str) -> None:
    (here / "headgate.yaml").write_text("applications: {rag-chatbot: {}, search: {}}")
    told = CliRunner().invoke(
        app,
        prog_name="headgate",
        env={
            "_HEADGATE_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": "headgate status r",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )
    assert (told.stdout.strip(), told.stderr) == (offered, "")


def test_the_configuration_that_is_named_is_looked_into(here: Path) -> None:
    (here / "other.yaml").write_text("applications: {search: {}}")
    assert tab("plan", "--config", "other.yaml", "s") == ["search"]


def test_no_server_is_waited_for(here: Path) -> None:
    (here / "headgate.yaml").write_text("applications: {rag: {}}")
    assert tab("status", "--store", "postgresql://192.0.2.1/none", "r") == ["rag"]
