"""What earlier versions left is read, gone on with, and told apart from what is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.record.printer import Printer
from controller.record.schema import VERSION
from controller.record.store import Store
from policies.verdict import RULES
from states.status import Status
from states.world import Endpoint
from tests.controller.house import NAME, House, opened
from tests.controller.record.earlier import NAMES, STORES, Earlier, left, store_of


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def earlier(name: str, tmp_path: Path) -> Earlier:
    found = left(name)
    (tmp_path / "headgate.log").write_text(found.log)
    return found


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Result]:
    """A command that answers from the log alone."""

    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--logs", str(tmp_path / "headgate.log")])

    return asked


WORDS = {"next", "hold"}
"""What comes next may be said in other words by now."""


def live_of(earlier: Earlier) -> Status:
    return next(one for one in earlier.statuses if one["state"] == "Canary")


def test_its_log_tells_today_what_it_told_then(
    earlier: Earlier, ask: Callable[..., Result]
) -> None:
    told = ask("status", "--json", "--all")
    found: list[dict[str, Any]] = json.loads(told.stdout)
    for now, then in zip(found, earlier.statuses, strict=True):
        assert {key: now[key] for key in then.keys() - WORDS} == {
            key: value for key, value in then.items() if key not in WORDS
        }
    shown = ask("status")
    live = live_of(earlier)
    assert f"{NAME}/{live['version']}  Canary, step 2 of 4, 25 % of users" in shown.stdout
    for one in earlier.statuses:
        release = f"{NAME}/{one['version']}"
        account = ask("explain", release)
        assert (account.exit_code, account.stderr) == (0, "")
        if one["state"] != "Registered":
            assert one["because"] in account.stdout
        history = ask("history", release)
        assert (history.exit_code, history.stderr) == (0, "")
        assert release in history.stdout


@pytest.mark.parametrize("name", STORES, indirect=True)
def test_its_store_prints_its_log_again_line_by_line(
    name: str, earlier: Earlier, tmp_path: Path
) -> None:
    store_of(name, tmp_path / "headgate.db")
    Store(f"sqlite:///{tmp_path / 'headgate.db'}").close()
    told = CliRunner().invoke(
        app, ["rebuild-log", "--store", f"sqlite:///{tmp_path / 'headgate.db'}"]
    )
    assert told.exit_code == 0
    assert list(map(json.loads, told.stdout.splitlines())) == list(
        map(json.loads, earlier.log.splitlines())
    )


def test_its_verdicts_follow_or_are_said_to_be_another_versions(
    name: str, earlier: Earlier, ask: Callable[..., Result]
) -> None:
    """If it fails for what today's code left: raise `policies.verdict.RULES`, and add a folder."""
    judged = [one for one in earlier.statuses if f'"{NAME}/{one["version"]}"' in earlier.log]
    for one in judged:
        told = ask("explain", f"{NAME}/{one['version']}", "--recompute")
        if name == "0001":
            never = "was never judged" in told.stdout
            assert never or "an earlier Headgate wrote them" in told.stderr
            assert told.exit_code == (0 if never else 2)
        elif name == "0002-first" and "no verdict" not in told.stdout:
            assert told.exit_code == 2
            assert "were given by another Headgate, which judged or worded them" in told.stdout
        else:
            assert told.exit_code == 0, told.output
            assert "bit for bit\n" in told.stdout or "has no verdict" in told.stdout


def test_what_was_changed_in_a_log_of_todays_rules_is_still_a_forgery(
    earlier: Earlier, ask: Callable[..., Result], tmp_path: Path
) -> None:
    log = tmp_path / "headgate.log"
    log.write_text(earlier.log.replace('"candidate_errors": ', '"candidate_errors": 1'))
    forged = ask("explain", f"{NAME}/3", "--recompute").exit_code
    assert forged == (1 if f'"rules": {RULES},' in earlier.log else 2)


@pytest.mark.parametrize("name", STORES, indirect=True)
def test_its_canary_goes_on_to_the_end_in_todays_hands(
    name: str, earlier: Earlier, tmp_path: Path
) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    store_of(name, folder / "headgate.db")
    with opened(folder) as house:
        version = _taken_up(house, earlier)
        house.one.printer = Printer(house.store)
        weights = [25]
        for _ in range(80):
            house.passes()
            weights.append(house.outside.story.weight(int(version)))
            application = house.application()
            assert application.hold is None
            if application.stable == version:
                break
        assert application.stable == version
        assert weights == sorted(weights), "it opens step by step, and nobody is sent home"
        assert house.outside.story.alias == version
        with house.store.reading() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        assert found == VERSION


def _taken_up(house: House, earlier: Earlier) -> str:
    """The world as that version left it."""
    live = live_of(earlier)
    house.clock[0] = earlier.now
    house.outside.platform = None
    story = house.outside.story
    for one in earlier.statuses:
        tags = {"headgate.state": one["state"]} if one["state"] == "RolledBack" else {}
        if one["version"] != "1":
            story.register(int(one["version"]), **tags)
    story.alias = live["stable"]
    story.edit(**{f"v{version}": weight for version, weight in earlier.weights.items()})
    assert isinstance(story.endpoint, Endpoint)
    known = house.application().config_version
    story.endpoint = replace(story.endpoint, config_version=known)
    return live["version"]
