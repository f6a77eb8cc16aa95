"""An endpoint's days by version, as `report.sql` counts them: the statement that people can paste.

The command and the file cannot drift: this module runs the file's text, with one word of it put
otherwise where the system table that names versions may not be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from databricks.sdk import WorkspaceClient

from controller.workspace.counting import in_sql
from controller.workspace.errors import Denied, Refused
from controller.workspace.statements import Row, Statements

SQL = Path(__file__).with_name("report.sql").read_text(encoding="utf-8")
SYSTEM = "system.serving.served_entities"
NOBODY = """(
    SELECT
      CAST(NULL AS STRING) AS served_entity_id,
      CAST(NULL AS STRING) AS served_entity_name,
      CAST(NULL AS STRING) AS entity_version,
      CAST(NULL AS STRING) AS endpoint_name,
      CAST(NULL AS TIMESTAMP) AS change_time
  )"""
ALL = "all"
"""What stands for a version in the rows that count all of them."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """What one version, or all of them, did in one day by UTC."""

    day: str
    """Its date, as in `2026-11-23`."""
    version: str | None
    """The model's version; `all`; or None where only the served entity is known."""
    entity: str
    """The served entity's name, or else its id; empty for all."""
    requests: int
    errors: int
    rejected: int
    mean_ms: float | None
    """Of answers; None, if there was none."""
    p95_ms: float | None
    mean_tokens: float | None
    all_tokens: float | None

    @property
    def error_rate(self) -> float:
        """The share of requests that went wrong, from 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def name(self) -> str:
        """How the version is called in a table."""
        if self.version == ALL:
            return "all versions"
        return f"version {self.version}" if self.version is not None else self.entity


class Days:
    """Asks for the days of one endpoint at a time."""

    def __init__(
        self, client: WorkspaceClient, warehouse_id: str, *, deadline_s: float = 300
    ) -> None:
        """Asked by a person, who may wait until a warehouse has started: minutes, then."""
        self._statements = Statements(client, warehouse_id, deadline_s=deadline_s)

    def read(
        self, table: str, endpoint: str, days: int, tokens: str | None, known: Mapping[str, str]
    ) -> tuple[Day, ...]:
        """The last `days` days, today as far as it has come; raises this package's errors.

        `tokens` is the JSON path of a response's tokens, if they are to be counted; `known` are the
        versions of served entities by name, for where the system table tells of none.
        """
        given: dict[str, str | int | None] = {
            "table": table,
            "endpoint": endpoint,
            "days": days,
            "tokens": None if tokens is None else in_sql(tokens),
        }
        try:
            rows = self._rows(SQL, table, given)
        except (Denied, Refused):
            # Most people may not read system tables. If it was something else, it fails again.
            rows = self._rows(_unnamed(), table, given)
        return tuple(sorted((_day(row, known) for row in rows), key=_place))

    def _rows(self, sql: str, table: str, given: Mapping[str, str | int | None]) -> list[Row]:
        return self._statements.rows(f"inference table {table}", sql, given)


def _unnamed() -> str:
    """The statement without the system table, as its own comment describes."""
    place = f"FROM {SYSTEM}\n"
    assert SQL.count(place) == 1, "the statement reads the system table in one place"
    return SQL.replace(place, f"FROM {NOBODY} AS nobody\n")


def _place(day: Day) -> tuple[str, bool, int, str]:
    """By day, then by the number of the version; all of them come last."""
    number = day.version if day.version and day.version.isdigit() else "0"
    return day.day, day.version == ALL, int(number), day.entity


def _day(row: Row, known: Mapping[str, str]) -> Day:
    day, version, entity, requests, errors, _, rejected, *means = row
    mean_ms, p95_ms, mean_tokens, all_tokens = (
        None if cell is None else float(cell) for cell in means
    )
    return Day(
        day=day or "",
        version=version or known.get(entity or ""),
        entity=entity or "",
        requests=int(requests or 0),
        errors=int(errors or 0),
        rejected=int(rejected or 0),
        mean_ms=mean_ms,
        p95_ms=p95_ms,
        mean_tokens=mean_tokens,
        all_tokens=all_tokens,
    )
