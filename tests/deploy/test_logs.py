"""The recipes for the log answer as Headgate does; those that need a server of others are shown."""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import jq
import pytest

from controller.console.reading import Book, fold, own
from controller.record.lines import Line
from deploy.sandbox.workspace import Settings
from states.release import Order
from tests.controller.console.test_reading import APP, Recorded
from tests.deploy.sandbox.stage import Stage
from tests.markdown import Page

PAGE = Page.of("deploy/logs/README.md")
RUN = {one.what: one.text for one in PAGE.blocks if one.how == "run"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """A good release, a bad one, an aborted one and a stranger; some lines came twice."""
    story = Recorded().keep(tmp_path_factory.mktemp("story"))
    story.look(times=2)
    story.register(2)
    story.until("Production")
    story.look(times=60)
    story.error_rates["3"] = 0.1
    story.register(3)
    story.until("RolledBack")
    story.look(times=3)
    story.register(4)
    story.until("Canary")
    story.order(Order.ABORT)
    story.look(times=3)
    story.edit(v2=80, v9=20)
    story.look(times=2)
    found = [*story.lines, *story.store.states()]
    story.store.close()
    return [*found, *found[5:20]]


@pytest.fixture(scope="module")
def book(lines: list[Line]) -> Book:
    return fold(lines)


@pytest.fixture(scope="module")
def warehouse(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A warehouse that has the log, one line a row."""
    with Stage({}, Settings(data=tmp_path_factory.mktemp("data"))) as stage:
        stage.rows("CREATE SCHEMA main.ops")
        stage.rows("CREATE TABLE main.ops.headgate_log (line STRING) USING DELTA")
        quoted = (json.dumps(one).replace("\\", "\\\\").replace("'", "\\'") for one in lines)
        told = ", ".join(f"('{one}')" for one in quoted)
        stage.rows(f"INSERT INTO main.ops.headgate_log VALUES {told}")  # noqa: S608 - our own lines
        yield stage


def test_every_recipe_runs_here_or_is_only_shown() -> None:
    transcript = "a release goes wrong, told by the log of the same story"
    assert set(RUN) == {transcript, *JQ, *SQL}


def rollbacks(book: Book) -> list[Line]:
    rows = (line for line in book.history() if line["event"] == "release.transition")
    return [line for line in rows if line["to_state"] == "RolledBack"]


def rates(book: Book) -> list[str]:
    found: dict[tuple[str, int], list[int]] = {}
    for line in book.history():
        if line["event"] == "evidence.block":
            key = line["release"], own(line, "step")
            requests, errors = found.setdefault(key, [0, 0])
            counted = line["candidate_requests"], line["candidate_errors"]
            found[key] = [requests + counted[0], errors + counted[1]]
    return [
        f"{release} step {step}: {100 * errors / requests:g}"
        for (release, step), (requests, errors) in sorted(found.items())
        if requests
    ]


JQ: dict[str, Callable[[Book], list[str]]] = {
    "jq, rollbacks": lambda book: [
        f"{line['timestamp']} {line['release']}: {line['because']}" for line in rollbacks(book)
    ],
    "jq, states": lambda book: [
        f"{one['release']} {one['state']} {_told(book, one['release'])['weight']} %"
        for one in book.statuses(all_=True)
    ],
    "jq, orders": lambda book: [
        f"ann {line['order']} {line['release']}: because"
        for line in book.history(APP)
        if line["event"] == "order.given"
    ],
    "jq, people": lambda book: [
        f"{line['timestamp']} {line['release']}: {line['because']}"
        for line in book.history(APP)
        if line["event"] in ("release.held", "endpoint.foreign_change") and line["needs_person"]
    ],
    "jq, rates": rates,
}


def _told(book: Book, release: str) -> Line:
    """The last line of a release."""
    return [line for line in book.history() if line.get("release") == release][-1]


@pytest.mark.parametrize("name", JQ)
def test_jq_answers_as_headgate_does(name: str, lines: list[Line], book: Book) -> None:
    program, options, expected = "", "", JQ[name](book)
    words = shlex.split(RUN[name])
    assert (words[0], words[-1]) == ("jq", "headgate.log")
    _, options, program, _ = words
    text = "\n".join(map(json.dumps, lines))
    told = jq.compile(program).input_text(text, slurp="s" in options).all()
    assert told == expected
    assert told, "nothing that was asked for is in the log"


SQL: dict[str, Callable[[Book], list[list[Any]]]] = {
    "sql, rollbacks": lambda book: [
        [line["timestamp"], line["release"], line["because"]] for line in rollbacks(book)
    ],
    "sql, states": lambda book: [
        [one["release"], one["state"], str(_told(book, one["release"])["weight"])]
        for one in book.statuses(all_=True)
    ],
    "sql, harm": lambda book: [
        [line["release"], line["guard"], str(line["bad"]), str(line["shut_after_s"])]
        for line in book.history()
        if line["event"] == "release.post_mortem" and "guard" in line
    ],
}


@pytest.mark.parametrize("name", SQL)
def test_databricks_sql_answers_as_headgate_does(name: str, warehouse: Stage, book: Book) -> None:
    told = warehouse.rows(RUN[name])
    assert [row for row in told if None not in row] == SQL[name](book)
    assert told, "nothing that was asked for is in the log"
