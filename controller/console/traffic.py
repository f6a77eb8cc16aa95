"""`headgate report APP`: an endpoint's days by version, as a table, as JSON, and as a page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.address import is_loopback
from controller.console.tables import WIDE
from controller.pages.charts import DASHES, Point, Series, plot
from controller.pages.page import element, page, pairs, section, table
from controller.record.redaction import printable
from controller.settings import ApplicationSettings, ProcessSettings, SettingsError
from policies.words import amount, percent

if TYPE_CHECKING:
    from controller.workspace.days import Day

DAY_S = 86_400
LATE = (
    "Databricks writes the table within an hour, as best it can: the newest hour may yet grow, and "
    "requests that failed before a model ran may be missing."
)
HEADINGS = (
    *("day", "version", "requests", "errors", "error rate", "rejected (429)"),
    *("mean latency", "p95 latency"),
)
TOKENS = ("tokens per answer", "tokens")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the inference table says of one application's last days."""

    application: str
    endpoint: str
    table: str
    days: int
    counts_tokens: bool
    emulated: bool
    """It comes from the sandbox, and proves nothing of Databricks."""
    read_at: datetime
    rows: tuple["Day", ...]

    def as_json(self) -> dict[str, Any]:
        """The same as `--json` prints it; latencies in milliseconds, rates as shares of one."""
        return {
            "schema": 1,
            "application": self.application,
            "endpoint": self.endpoint,
            "table": self.table,
            "emulated": self.emulated,
            "days": self.days,
            "read_at": self.read_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "rows": [asdict(row) | {"error_rate": row.error_rate} for row in self.rows],
        }

    @property
    def headings(self) -> tuple[str, ...]:
        """The columns of the table."""
        return (*HEADINGS, *(TOKENS if self.counts_tokens else ()))

    def cells(self, row: "Day") -> tuple[str, ...]:
        """A row of the table in words."""
        told = (
            row.day,
            row.name,
            f"{row.requests:,}",
            f"{row.errors:,}",
            percent(row.error_rate),
            f"{row.rejected:,}",
            _length(row.mean_ms),
            _length(row.p95_ms),
        )
        if not self.counts_tokens:
            return told
        tokens = (row.mean_tokens, row.all_tokens)
        return (*told, *("-" if one is None else amount(one) for one in tokens))

    @property
    def place(self) -> str:
        """Where it was read, and that it is emulated, if it is."""
        told = f"{self.endpoint}, by inference table {self.table}"
        return f"{told}, in an emulated workspace" if self.emulated else told


def read(name: str, settings: ApplicationSettings, process: ProcessSettings, days: int) -> Traffic:
    """Ask the endpoint's inference table; raises the workspace's errors and `SettingsError`."""
    # The workspace's clients take seconds to import, and reading a log needs none.
    from controller.workspace.client import connect  # noqa: PLC0415
    from controller.workspace.days import Days  # noqa: PLC0415
    from controller.workspace.serving import Endpoints  # noqa: PLC0415
    from states.world import Endpoint  # noqa: PLC0415

    if process.warehouse is None:
        raise SettingsError(
            "DATABRICKS_WAREHOUSE_ID is not set: name the SQL warehouse that is to count"
        )
    client = connect()
    endpoint = Endpoints(client).observe(settings.endpoint)
    if not isinstance(endpoint, Endpoint):
        raise SettingsError(f"there is no endpoint {settings.endpoint} yet: nothing was counted")
    if endpoint.inference_table is None:
        raise SettingsError(
            f"endpoint {settings.endpoint} has no inference table: enable it in AI Gateway"
        )
    tokens = settings.response.tokens
    known = {name: share.version for name, share in endpoint.serving.shares.items()}
    rows = Days(client, process.warehouse).read(
        endpoint.inference_table, settings.endpoint, days, tokens, known
    )
    return Traffic(
        application=name,
        endpoint=settings.endpoint,
        table=endpoint.inference_table,
        days=days,
        counts_tokens=tokens is not None,
        emulated=is_loopback(urlsplit(client.config.host or "").hostname or ""),
        read_at=datetime.now(UTC),
        rows=rows,
    )


def show(console: Console, told: Traffic) -> None:
    """Print the table; a file or a pipe has no edge to fit in."""
    title = Text(printable(told.application), style="bold")
    console.print(title.append(f"  {printable(told.place)}", style="not bold"), soft_wrap=True)
    if not told.rows:
        console.print(Text(_nothing(told)), soft_wrap=True)
        return
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    shown = Table(box=box.SIMPLE, pad_edge=False)
    for number, heading in enumerate(told.headings):
        shown.add_column(heading, overflow="fold", justify="left" if number < 2 else "right")  # noqa: PLR2004 - names
    last = ""
    for row in told.rows:
        day, *rest = told.cells(row)
        shown.add_row(Text("" if day == last else day), *(Text(printable(one)) for one in rest))
        last = day
    console.print(shown)
    console.print(Text(LATE, style="dim"), soft_wrap=True)


def document(told: Traffic) -> str:
    """The same as one HTML page, with plots."""
    about = pairs(
        (
            ("endpoint", told.endpoint),
            ("inference table", told.table),
            ("workspace", "emulated: it proves nothing of Databricks" if told.emulated else ""),
            ("days", f"{told.days}, by UTC; read {told.read_at:%Y-%m-%d %H:%M} UTC"),
            ("left out", "Headgate's own requests"),
        )
    )
    if not told.rows:
        return page(_title(told), about, element("p", _nothing(told)))
    counts = table(
        "Each day's requests, errors and latency, by version; latency is that of answers",
        told.headings,
        [told.cells(row) for row in told.rows],
    )
    return page(
        _title(told),
        about,
        section("By day", *_plots(told)),
        section("Table", counts, element("p", LATE, class_="note")),
    )


def _title(told: Traffic) -> str:
    return f"{told.application}: requests, errors and latency by day"


def _nothing(told: Traffic) -> str:
    return f"no request of users in the last {told.days} days is in the table. {LATE}"


def _plots(told: Traffic) -> list[Any]:
    wanted: list[tuple[str, Callable[[Day], float | None], Callable[[float], str]]] = [
        ("Requests per day", lambda row: float(row.requests), _count),
        ("Error rate", lambda row: row.error_rate, percent),
        ("Mean latency of answers", lambda row: row.mean_ms, _length),
        ("p95 latency of answers", lambda row: row.p95_ms, _length),
    ]
    if told.counts_tokens:
        wanted.append(("Tokens per answer", lambda row: row.mean_tokens, amount))
    lines = _lines(told.rows)
    left_out = len({row.name for row in told.rows}) - len(lines)
    found: list[Any] = []
    for title, number, words in wanted:
        series = [_series(name, rows, number) for name, rows in lines.items()]
        found.append(plot(title, series, across=_date, upwards=words))
    if left_out:
        told_of = f"The busiest versions are drawn; the {left_out} others are in the table."
        found.append(element("p", told_of, class_="note"))
    return found


def _lines(rows: Sequence["Day"]) -> dict[str, list["Day"]]:
    """The rows of all versions together, and of the busiest single ones."""
    by_name: dict[str, list[Day]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    busiest = sorted(
        by_name, key=lambda name: sum(row.requests for row in by_name[name]), reverse=True
    )
    kept = set(busiest[: len(DASHES)])
    return {name: by_name[name] for name in sorted(by_name) if name in kept}


def _series(name: str, rows: Sequence["Day"], number: Callable[["Day"], float | None]) -> Series:
    points = [
        Point(at=_start(row.day), value=value) for row in rows if (value := number(row)) is not None
    ]
    return Series(name=name, points=sorted(points, key=lambda one: one.at))


def _start(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def _date(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%b %d}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"


def _length(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:,.0f} ms"
