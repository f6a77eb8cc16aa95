"""Who is asked which endpoint to start from: a person at a terminal, and nobody else."""

import io
import sys

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from controller.console.init import _chosen
from controller.settings import SettingsError

THERE = {"rag-b": ("main.ml.b",), "rag-a": ("main.ml.a",)}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, words: str) -> Terminal:
    monkeypatch.setattr(sys, "stdin", Terminal(words))
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    return seen


def test_a_person_picks_an_endpoint_or_takes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = typed(monkeypatch, "rag-b\n")
    assert _chosen(THERE) == "rag-b"
    assert "rag-a: main.ml.a\n  rag-b: main.ml.b" in seen.getvalue()
    typed(monkeypatch, "\n")
    assert _chosen(THERE) == "rag-a"


def test_where_no_endpoint_serves_a_model_it_says_how_to_begin() -> None:
    with pytest.raises(SettingsError, match=r"say --model catalog\.schema\.model"):
        _chosen({})


@pytest.mark.parametrize("name", ["", "..", "../../x", "a/b", "a\nb"])
def test_what_can_be_no_endpoints_name_is_refused_before_anybody_is_asked(name: str) -> None:
    told = CliRunner().invoke(app, ["init", "--endpoint", name, "--output", "-"])
    assert told.exit_code == 2
    assert "no endpoint has such a name" in told.stderr
