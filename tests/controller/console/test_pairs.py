import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.console import render
from controller.console.cli import app
from controller.console.reading import fold
from policies.pairs import Pair
from policies.replay import Replay
from tests.controller.console.test_reading import APP, Recorded
from tests.states.story import ANSWERED, SPEC, alike


def lost(request: str) -> Pair:
    """The candidate has lost the sources of every fourth request."""
    if int(request.rsplit("-", 1)[1]) % 4:
        return alike(request)
    return replace(alike(request), candidate=replace(ANSWERED, sources=0), overlap=None)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Recorded]:
    """Version 2 was rolled back by its replay."""
    recorded = Recorded().keep(tmp_path)
    recorded.spec = replace(SPEC, replay=Replay())
    recorded.recorded, recorded.paired = 200, lost
    recorded.look(times=2)
    recorded.register(2)
    recorded.until("RolledBack")
    yield recorded
    recorded.store.close()


def test_explaining_shows_the_verdict_of_the_replay_and_its_worst_pairs(story: Recorded) -> None:
    console = Console(file=io.StringIO(), highlight=False, width=200)
    told = fold(story.lines).explain(f"{APP}/2")
    render.print_explanation(console, told, story.now)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Replay" in text
    assert "replay FAIL: replay of 60 recorded requests: without sources 15, stable 0 of 60" in text
    assert "request-0   sources lost" in text
    assert "replayed 40 of 200" in text


def test_the_pairs_are_told_by_request_id_from_the_record_alone(
    story: Recorded, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    said = CliRunner().invoke(app, ["pairs", APP, "--store", url])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith(f"{APP}/2: replay of 60 recorded requests")
    assert "request-0  sources lost\n" in said.stdout
    found = json.loads(CliRunner().invoke(app, ["pairs", APP, "--store", url, "--json"]).stdout)
    assert found[0] == {"request": "request-0", "why": "sources lost", "score": 1.0}
    assert len(found) == 10
    assert story.release is not None


def test_what_cannot_be_shown_is_a_sentence(
    story: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert story.release is not None
    monkeypatch.delenv("DATABRICKS_WAREHOUSE_ID", raising=False)
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    for arguments, sentence in (
        ([f"{APP}/9"], "no such release has been replayed in this store"),
        ([APP, "--text"], "DATABRICKS_WAREHOUSE_ID: name the SQL warehouse"),
    ):
        said = CliRunner().invoke(app, ["pairs", *arguments, "--store", url])
        assert said.exit_code == 2
        assert sentence in said.stderr
