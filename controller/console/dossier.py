"""`headgate report APP/VERSION`: the account of a release, as a page and in a terminal."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.console.account import INTERVAL, Account, Compared, Guarded, Rate, Source, at_of
from controller.console.charts import Point, Series, plot
from controller.console.page import Child, element, page, pairs, section, table
from controller.console.reading import own
from controller.console.render import in_words, print_history
from controller.console.tables import WIDE
from controller.record.lines import Line
from controller.record.redaction import printable
from policies.blindness import named
from policies.words import amount, duration, percent

ELSEWHERE = ("evidence.block", "gate.verdict")
"""Events that the timeline leaves out: counts and verdicts have parts of their own."""
VERDICTS = ("gate.verdict", "fuse.blown", "evidence.blind", "evidence.seen")
RATES = ("", "candidate", "its rate", "95 % interval", "stable", "its rate", "95 % interval")
LONG = timedelta(days=2)


def document(told: Account) -> str:
    """The account as one HTML page."""
    return page(
        f"{_name(told)}: {told.status['state']}",
        pairs(_summary(told)),
        _post_mortem(told),
        section("Users", *_weights(told)),
        section("Both versions", *_versions(told)),
        section("Evidence", *_evidence(told)),
        _events(
            "Verdicts", told, ("gate.verdict", "fuse.blown", "evidence.blind", "evidence.seen")
        ),
        _events("Golden queries", told, ("tests.finished",)),
        _events("Holds", told, ("release.held", "release.freed", "endpoint.foreign_change")),
        _events("Orders", told, ("order.given",)),
        section("Timeline", _lines("What happened, but for counts and verdicts", _timeline(told))),
    )


def show(console: Console, told: Account) -> None:
    """The same in a terminal, without plots."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    _say(console, Text(printable(f"{_name(told)}  {told.status['state']}"), style="bold"))
    for label, text in (*_summary(told), *_mortem_rows(told)):
        if text:
            _say(console, Text(f"  {label:<18}{printable(text)}"))
    for guard in told.guards:
        _title(console, f"{_guard_title(guard)}, by the {named(guard.source)}")
        console.print(_grid(RATES, [_rates_of(*row, guard) for row in _rows(guard)]))
    if told.guards:
        _say(console, Text(INTERVAL, style="dim"))
    if told.sources:
        _title(console, "Evidence")
        console.print(_grid(SOURCES, [_source(one) for one in told.sources]))
        _say(console, Text(_expected(told), style="dim"))
    for title, events in (
        ("Verdicts", VERDICTS),
        ("Holds and orders", ("release.held", "release.freed", "order.given")),
    ):
        if rows := told.of(*events):
            _title(console, title)
            print_history(console, rows)
    _title(console, "Timeline")
    print_history(console, _timeline(told))


def _name(told: Account) -> str:
    attempt = told.status["attempt"]
    return told.status["release"] + (f", attempt {attempt}" if attempt > 1 else "")


def _summary(told: Account) -> list[tuple[str, str]]:
    one = told.status
    seen, hold = one["weight_seen"], one["hold"] or ""
    steps = ", ".join(f"{step} %" for step in one["steps"])
    settled = "" if one["settled"] else ", not settled yet"
    return [
        ("state", f"{one['state']}{settled}, since {_time(one['since'])} UTC"),
        ("because", one["because"]),
        ("users", f"{one['weight']} %" + ("" if seen is None else f", seen {seen} %")),
        ("met it", _met(told)),
        ("steps", steps + (f"; on step {one['step']}" if one["step"] else "")),
        ("hold", hold + (" (a person must act)" if hold and one["needs_person"] else "")),
        ("order", one["order"] if one["order"] != "run" else ""),
        ("next", one["next"] or ""),
        ("at the earliest", _time(one["earliest"] or "")),
        ("rollback", one["rollback"] or ""),
        ("stable", one["stable"] or "none"),
        ("told until", f"{told.until:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _met(told: Account) -> str:
    """Who met the version, and for how long."""
    users = told.users
    if users.since is None:
        return "nobody"
    counted = "" if users.requests is None else f"{users.requests:,} requests that were counted; "
    until = "" if users.until is None else f" to {users.until:%Y-%m-%d %H:%M:%S}"
    most = f"at most {users.weight} % of users, for {duration(users.open_s)}"
    return f"{counted}{most}: {users.since:%Y-%m-%d %H:%M:%S}{until} UTC"


def _post_mortem(told: Account) -> Child:
    rows = _mortem_rows(told)
    if not rows:
        return None
    made = section("Post-mortem", pairs(rows))
    made.set("class", "bad")
    return made


def _mortem_rows(told: Account) -> list[tuple[str, str]]:
    """What was told after the rollback, and the requests that were looked up; nothing before."""
    line = told.post_mortem
    if line is None:
        return []
    ids = ", ".join(told.request_ids)
    found = next(iter(told.of("release.examples")), None)
    looked_up = str(found.get("because", "")) if found else ""
    if told.found is not None:
        looked_up = f"asked again: {told.found.sentence}"
    guard = own(line, "guard")
    if guard is not None and not ids:
        ids = "none were looked up, or found"
    since, until = own(line, "first_bad_from"), own(line, "first_bad_until")
    minute = f"{_time(str(since))} to {_time(str(until))[11:]} UTC" if since and until else ""
    kinds = own(line, "kinds")
    by_kind = [
        f"{one[1]} {one[0]}"
        for one in (kinds if isinstance(kinds, list) else ())
        if isinstance(one, list) and len(one) == 2 and one[1]  # noqa: PLR2004 - a pair
    ]
    return [
        ("post-mortem", str(line.get("because", ""))),
        ("guard", str(guard or "none")),
        ("first bad minute", minute),
        ("requests", _number(own(line, "requests"))),
        ("bad", _number(own(line, "bad"))),
        ("by kind", ", ".join(by_kind)),
        ("at most", _with(own(line, "users_weight"), "% of users")),
        ("shut after", _length(own(line, "shut_after_s"))),
        ("lag in force", _length(own(line, "lag_s"))),
        ("not counted", _number(own(line, "uncounted"))),
        ("request ids", ids),
        ("looked up", looked_up),
    ]


def _weights(told: Account) -> list[Child]:
    end = told.until.timestamp()
    wanted = [Point(at=one.at.timestamp(), value=one.weight) for one in told.moments]
    seen = [
        Point(at=one.at.timestamp(), value=one.weight_seen)
        for one in told.moments
        if one.weight_seen is not None
    ]
    lines = [("wanted", wanted), ("seen", seen)]
    series = [
        Series(name=name, points=[*some, Point(at=end, value=some[-1].value)], stepped=True)
        for name, some in lines
        if some
    ]
    drawn = plot(
        "Percent of users, as wanted and as seen on the endpoint",
        series,
        across=_clock(told),
        upwards=lambda value: f"{value:g} %",
        most=100,
    )
    rows = [
        (
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.state,
            str(one.step),
            f"{one.weight} %",
            "-" if one.weight_seen is None else f"{one.weight_seen} %",
        )
        for one in told.moments
    ]
    headings = ("from (UTC)", "state", "step", "wanted", "seen")
    return [drawn, table("States and weights", headings, rows)]


def _versions(told: Account) -> list[Child]:
    if not told.guards:
        return [element("p", "Nothing was counted by version.")]
    found: list[Child] = []
    for guard in told.guards:
        title = f"{_guard_title(guard)}, by the {named(guard.source)}"
        series = [
            _series("candidate", guard.points, lambda one: one.candidate),
            _series("stable", guard.points, lambda one: one.stable),
        ]
        upwards = percent if guard.share else amount
        found += [
            element("h3", title),
            plot(title, series, across=_clock(told), upwards=upwards),
            table(title, RATES, [_rates_of(*row, guard) for row in _rows(guard)]),
        ]
    return [*found, element("p", INTERVAL, class_="note")]


def _series(
    name: str, points: Sequence[Compared], arm: Callable[[Compared], Rate | None]
) -> Series:
    found = [
        Point(at=one.closed.timestamp(), value=rate.value, low=rate.low, high=rate.high)
        for one in points
        if (rate := arm(one)) is not None
    ]
    return Series(name=name, points=found)


def _guard_title(guard: Guarded) -> str:
    observed = " (it only observes)" if guard.observe else ""
    return f"{guard.guard}: {guard.noun}{observed}"


def _rows(guard: Guarded) -> list[tuple[str, Compared]]:
    return [*((f"step {step}", one) for step, one in guard.steps), ("whole", guard.whole)]


def _rates_of(name: str, one: Compared, guard: Guarded) -> tuple[str, ...]:
    return (name, *_rate(one.candidate, guard), *_rate(one.stable, guard))


def _rate(rate: Rate | None, guard: Guarded) -> tuple[str, str, str]:
    if rate is None:
        return "-", "-", "-"
    words = percent if guard.share else amount
    many = f"{rate.seen:,} answers" if rate.bad is None else f"{rate.bad:,} of {rate.seen:,}"
    return many, words(rate.value), f"{words(rate.low)} to {words(rate.high)}"


SOURCES = (
    *("source", "windows", "from (UTC)", "to (UTC)", "requests", "of nobody", "rows too late"),
    *("told after, median", "at most"),
)


def _evidence(told: Account) -> list[Child]:
    if not told.sources:
        return [element("p", "No source has counted anything yet.")]
    counted = table("What each source has told", SOURCES, [_source(one) for one in told.sources])
    return [counted, element("p", _expected(told), class_="note")]


def _source(one: Source) -> tuple[str, ...]:
    return (
        named(one.name),
        f"{one.blocks:,}",
        f"{one.opened:%Y-%m-%d %H:%M:%S}",
        f"{one.closed:%Y-%m-%d %H:%M:%S}",
        f"{one.requests:,}",
        f"{one.unattributed:,}",
        f"{one.late_rows:,}",
        duration(one.median_lag_s),
        duration(one.longest_lag_s),
    )


def _expected(told: Account) -> str:
    if told.expected_lag_s is None:
        return "How late the table's rows were in stable's last day was not told."
    late = duration(told.expected_lag_s)
    return f"In stable's last day 95 % of the table's rows came within {late}."


def _events(title: str, told: Account, events: tuple[str, ...]) -> Element | None:
    rows = told.of(*events)
    return section(title, _lines(title, rows)) if rows else None


def _lines(caption: str, rows: Sequence[Line]) -> Element:
    headings = ("at (UTC)", "what", "why")
    cells = [
        (f"{at_of(line):%Y-%m-%d %H:%M:%S}", in_words(line), str(line.get("because", "")))
        for line in rows
    ]
    return table(caption, headings, cells)


def _timeline(told: Account) -> list[Line]:
    return [line for line in told.lines if line["event"] not in ELSEWHERE]


def _clock(told: Account) -> Callable[[float], str]:
    """Times of day; dates where it took days."""
    long = told.until - told.moments[0].at > LONG if told.moments else False
    form = "%b %d" if long else "%H:%M"
    return lambda at: f"{datetime.fromtimestamp(at, told.until.tzinfo):{form}}"


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = Table(box=box.SIMPLE, pad_edge=False)
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(one)) for one in row))
    return grid


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _with(value: object, unit: str) -> str:
    return f"{value} {unit}" if isinstance(value, int) else ""


def _length(value: object) -> str:
    return duration(value) if isinstance(value, int | float) else ""


def _time(stamp: str) -> str:
    return stamp[:19].replace("T", " ")


def _title(console: Console, title: str) -> None:
    _say(console, Text(""))
    _say(console, Text(printable(title), style="bold"))


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
