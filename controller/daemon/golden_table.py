"""Golden queries in a Unity Catalog table: read once per release, and never logged.

Columns: `query` STRING or `request` STRING (a whole request as JSON), `expect` STRING (a JSON
object with the keys of `expect` in the configuration), and if wanted `repeat` and `must_pass` INT.
Other columns are the team's own. Rows are numbered in the order of their questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from controller.golden import MOST
from controller.sections.testing import Test
from controller.workspace import json_text
from controller.workspace.errors import Denied, Refused, Unreachable
from controller.workspace.names import identifier
from controller.workspace.statements import Parameter, Row
from policies.golden import GoldenQuery
from states.counted import Paths
from states.pinned import Pinned
from states.world import GoldenTable

QUESTIONS, EXPECT, TIMES = ("query", "request"), "expect", ("repeat", "must_pass")


class Statements(Protocol):
    """A SQL warehouse, as `controller.workspace.statements` asks it."""

    def rows(self, place: str, statement: str, parameters: Mapping[str, Parameter]) -> list[Row]:
        """All rows of a statement's result."""


class Unusable(Exception):  # noqa: N818 - a sentence for the operator
    """A table is not one of golden queries; the sentence names the row and the remedy."""


@dataclass(slots=True)
class GoldenReader:
    """Reads the table of an application, at the evidence's pace while it cannot be used."""

    statements: Statements
    asked_at: datetime | None = None
    asked: tuple[str, Paths] | None = None
    """The table, and how its release asks, and reads what is answered."""
    known: GoldenTable | None = None

    def look(
        self, pinned: Pinned, paths: Paths, now: datetime, every: timedelta
    ) -> GoldenTable | None:
        """What a release's table came to; None while the warehouse does not tell."""
        assert pinned.tests_table is not None, "asked for a release that has one"
        # One that lies ahead was asked before the clock was set back: nobody knows when.
        recent = self.asked_at is not None and timedelta() <= now - self.asked_at < every
        recent = recent and self.asked == (pinned.tests_table, paths)
        if recent and self.known is not None and self.known.trouble is not None:
            return self.known
        self.asked_at, self.asked = now, (pinned.tests_table, paths)
        self.known = self.read(pinned.tests_table, paths, MOST - len(pinned.tests))
        return self.known

    def read(self, table: str, paths: Paths, room: int = MOST) -> GoldenTable:
        """The queries of a table, or why it cannot be used; Unreachable, if nobody knows."""
        try:
            return GoldenTable(queries=self._queries(table, paths, room))
        except Unreachable:
            raise
        except Denied as error:
            return GoldenTable(trouble=str(error).replace("inference table", "table", 1))
        except Refused:
            told = "it cannot be read as a table: check tests.table and its three names"
            return GoldenTable(trouble=f"golden queries of {table}: {told}")
        except Unusable as error:
            return GoldenTable(trouble=f"golden queries of {table}: {error}")

    def _queries(self, table: str, paths: Paths, room: int) -> tuple[GoldenQuery, ...]:
        place, name = f"table {table}", identifier(table)
        there = [row[0] for row in self.statements.rows(place, f"DESCRIBE TABLE {name}", {})]
        asked = [column for column in QUESTIONS if column in there]
        if not asked or EXPECT not in there:
            raise Unusable("it needs a column query or request, and a column expect")
        columns = [*asked, EXPECT, *(column for column in TIMES if column in there)]
        statement = (
            f"SELECT {', '.join(columns)} FROM {name} "  # noqa: S608 - names of our own, and quoted
            f"ORDER BY {', '.join(asked)} LIMIT {room + 1}"
        )
        rows = self.statements.rows(place, statement, {})
        if not rows:
            raise Unusable("it has no rows")
        if len(rows) > room:
            raise Unusable(f"it has more than {room} rows: name a view with fewer")
        return tuple(
            self._query(number, dict(zip(columns, row, strict=True)), paths)
            for number, row in enumerate(rows, start=1)
        )

    def _query(self, number: int, row: Mapping[str, str | None], paths: Paths) -> GoldenQuery:
        stated: dict[str, Any] = {name: cell for name, cell in row.items() if cell is not None}
        for column in stated.keys() & {"request", EXPECT}:
            try:
                stated[column] = json_text.read(stated[column])
            except ValueError as error:
                raise Unusable(f"row {number}: {column}: is not JSON") from error
        if isinstance(stated.get(EXPECT), dict):
            # What a STRUCT does not say, it has as null.
            stated[EXPECT] = {key: it for key, it in stated[EXPECT].items() if it is not None}
        try:
            test = Test.model_validate(stated)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in (f"row {number}", *first["loc"]))
            raise Unusable(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
        if test.expect.max_tokens is not None and paths.tokens is None:
            told = "leave it out, or say in response.tokens where tokens are, for later releases"
            raise Unusable(f"row {number}: max_tokens: {told}")
        return test.golden(paths.question, quotable=False)
