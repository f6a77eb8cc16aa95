"""The guide's procedures, as they are printed: each line is typed, against a real record."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from states.release import Order
from tests.controller.house import NAME, House, opened
from tests.controller.postgres import Postgres
from tests.markdown import Page

PAGE = Page.of("deploy/guide/operations.md")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A canary under way, that somebody has paused; its store is the one of the shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_STORE", "sqlite:///headgate.db")
    with opened(tmp_path) as house:
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        house.store.give_order(NAME, "2", Order.PAUSE, "ann", "a look")
        house.passes(10)
        yield house


def typed(what: str, **variables: str) -> list[str]:
    """What each line of a block says, typed one after the other."""
    said: list[str] = []
    for line in PAGE.block(what, "sh").splitlines():
        for name, value in variables.items():
            line = line.replace(f'"${name}"', value)  # noqa: PLW2901 - as the shell does
        program, *words = shlex.split(line)
        assert program == "headgate", line
        file = Path(words.pop()) if ">" in words and words.pop(-2) else None
        told = CliRunner().invoke(app, words)
        assert told.exit_code == 0, f"{line}: {told.output}"
        if file is not None:
            file.write_text(told.stdout)
        said.append(told.stdout)
    return said


def test_who_is_called_sees_what_is_on_and_ends_it(house: House) -> None:
    status, explained, orders, aborted = typed("on call, with the store of a canary")
    assert f"{NAME}/2  Canary, step 1 of 4, 5 % of users, seen 5 %" in status
    assert "block 10, failed requests: candidate 0 of 300" in explained
    assert "ann ordered pause: a look" in orders
    assert aborted == f"{NAME}/2 is aborted: it goes back with the next look\n"
    house.passes(3)
    assert house.application().live is None
    assert house.outside.story.weight(1) == 100


def test_a_backup_is_tried_in_a_file_of_its_own_and_says_the_same(house: House) -> None:
    taken, restored, there, here = typed("a backup, and the drill of it")
    last = house.store.last_seq()
    assert f"up to seq {last}: " in taken
    assert f"the journal ends with seq {last}; " in restored
    assert "begin a new log file, and read the older ones apart, with --at" in restored
    assert _releases(there) == _releases(here) != []


def test_the_log_is_made_again_and_answers_as_the_record_does(house: House) -> None:
    rebuilt, status = typed("the log again")
    assert len(rebuilt.splitlines()) == house.store.last_seq()
    assert f"{NAME}/2  Canary, step 1 of 4, 5 % of users" in status


def test_a_record_moves_to_postgresql_with_a_canary_under_way(
    house: House, postgres: Postgres
) -> None:
    url = postgres.url(postgres.empty())
    _, restored, there = typed("from SQLite to PostgreSQL", POSTGRES=url)
    assert f"the journal ends with seq {house.store.last_seq()}; " in restored
    assert f"{NAME}/2  Canary, step 1 of 4, 5 % of users, seen 5 %" in there


def test_a_record_goes_back_to_the_schema_before_with_nothing_lost(house: House) -> None:
    before = list(house.store.journal())
    house.store.close()
    _, said = typed("back to an earlier schema")
    assert said.endswith(
        "has schema 0005 now, for the Headgate that wrote that, and nothing was lost\n"
    )
    with opened(Path()) as again:
        assert list(again.store.journal()) == before


def _releases(status: str) -> list[str]:
    return [line.partition(", for ")[0] for line in status.splitlines() if ", for " in line]
