"""Every block of the README runs here, or says why it is only shown; every promise has its test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.settings import load
from states.machine import diagram
from tests.controller.house import House, opened
from tests.markdown import ROOT, Page

README = Page.of("README.md")
LOGS = Page.of("deploy/logs/README.md")
block = README.block


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log that tells of version 2's way up and version 3's way back."""
    with opened(tmp_path) as house:
        story = house.outside.story
        house.passes()
        story.register(2)
        _watch(house, "2", "Production")
        story.error_rates["3"] = 0.1
        story.register(3)
        _watch(house, "3", "RolledBack")
        path = tmp_path / "headgate.log"
        path.write_text("".join(json.dumps(line) + "\n" for line in house.store.journal()))
        yield path


def _watch(house: House, version: str, state: str) -> None:
    for _ in range(100):
        house.passes()
        newest = house.application().newest(version)
        if newest is not None and newest.state == state and not newest.live:
            return
    raise AssertionError(f"{version} never {state}")


def test_the_least_configuration_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(block("headgate validate", "yaml"))
    assert list(load(file).applications) == ["rag-chatbot"]


def test_a_configuration_with_every_gate_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(block("headgate validate, with every gate", "yaml"))
    told = _run(f"headgate validate --config {file}", tmp_path)
    for words in (
        "asks a person before the alias moves",
        "frozen (holidays)",
        "tested on staging endpoint rag-chatbot-endpoint-staging first",
        "up to 200 recorded requests are asked of both versions",
    ):
        assert words in told, words


def test_the_diagram_is_printed_from_the_table() -> None:
    assert block("python -m states", "mermaid").strip() == diagram()
    printed = subprocess.run(
        [sys.executable, "-m", "states"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert printed.stdout.strip() == diagram()


def test_the_log_alone_answers_the_questions_of_the_readme(log: Path) -> None:
    told = _run(block("with a log of the same story", "sh"), log.parent)
    assert "rag-chatbot/3" in told
    assert "more errors than stable" in told
    assert "replaced by version 2" in told
    assert "verdicts derived again, bit for bit" in told


def test_a_release_that_goes_wrong_is_told_by_one_command_from_the_log_alone(log: Path) -> None:
    shown = [
        one.text
        for page in (README, LOGS)
        for one in page.blocks
        if one.what == "a release goes wrong, told by the log of the same story"
    ]
    assert shown, "somewhere a reader sees it"
    for text in shown:
        prompt, _, expected = text.partition("\n")
        assert prompt.startswith("$ headgate ")
        told = _run(prompt.removeprefix("$ "), log.parent)
        # The page breaks what is one line of the terminal.
        assert told.split() == expected.split()
    for words in ("rag-chatbot/3", "errors:", "60 of 600", "12:24:30", "5 % of users", "1 min"):
        assert words in told, words


def test_a_plan_and_a_backtest_are_made_as_the_readme_says(log: Path) -> None:
    (log.parent / "headgate.yaml").write_text(block("headgate validate", "yaml"))
    told = _run(block("with a configuration, and the store of the same story", "sh"), log.parent)
    assert "finds errors from" in told
    assert "past releases, judged anew on their own counts" in told
    assert "splits of stable's own counts, 10 of each kind" in told


def _run(script: str, folder: Path) -> str:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    answer = subprocess.run(
        ["/bin/sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
