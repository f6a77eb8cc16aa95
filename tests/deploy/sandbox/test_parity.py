"""PARITY.md: every route has a row, and every row is marked and names a test that is there."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.routing import Route

from deploy.sandbox.app import build
from deploy.sandbox.workspace import Settings

ROOT = Path(__file__).parents[3]
PARITY = ROOT / "deploy/sandbox/PARITY.md"
MARKS = {"docs", "vendor code", "unverified", "own"}
_TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>test_\w+)`")
_ROUTE = re.compile(r"`(?P<verbs>[A-Z, ]+) (?P<path>/\S+)`")


class Row(NamedTuple):
    """One claim: what the sandbox does, where that is known from, and what shows it."""

    what: str
    source: str
    mark: str
    witness: str


def _rows() -> list[Row]:
    rows = []
    for line in PARITY.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[1] == "source" or set(cells[0]) == {"-"}:
            continue
        assert len(cells) == len(Row._fields), line
        rows.append(Row(*cells))
    return rows


ROWS = _rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what[:60])
def test_every_row_is_marked_and_names_a_test_that_is_there(row: Row) -> None:
    assert row.mark in MARKS, row
    assert row.source, row
    named = list(_TEST.finditer(row.witness))
    assert named, f"no test in {row}"
    for test in named:
        path = ROOT / "tests" / test["file"]
        assert path.is_file(), f"{path} of {row}"
        assert re.search(rf"^def {test['name']}\(", path.read_text(), re.MULTILINE), row


def test_every_route_has_a_row_and_every_row_of_a_route_a_route(tmp_path: Path) -> None:
    app = build(Settings(data=tmp_path))
    app.state.workspace.database.connection.close()
    there = set()
    for route in app.routes:
        assert isinstance(route, Route)
        there |= {(verb, route.path) for verb in (route.methods or set()) - {"HEAD"}}
    told = {
        (verb, found["path"])
        for row in ROWS
        for found in _ROUTE.finditer(row.what)
        for verb in found["verbs"].split(", ")
    }
    assert there - told == set(), "routes without a row in PARITY.md"
    assert told - there == set(), "rows of routes that the sandbox does not have"
