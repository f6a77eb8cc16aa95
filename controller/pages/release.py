"""One release as a page: its account in tables and plots, for a file and for the daemon."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil, floor
from xml.etree.ElementTree import Element

from controller.console.account import INTERVAL, Account, Compared, Rate, at_of
from controller.console.dossier import (
    RATES,
    SOURCES,
    VERDICTS,
    expected,
    guard_title,
    mortem_rows,
    name_of,
    rates_of,
    rows_of,
    source_cells,
    summary,
    timeline,
)
from controller.console.reading import own
from controller.console.render import in_words
from controller.pages.charts import Point, Series, plot
from controller.pages.page import Child, element, moment, page, pairs, section, table
from controller.record.lines import Line
from policies.blindness import named
from policies.words import amount, percent
from states.machine import State

TICKS = 6
"""Round times along a plot, at most."""
APART_S = (
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)
BEYOND = "What reaches beyond a plot's top is cut off there: of few requests intervals are wide."
LONG, SHORT = timedelta(days=2), timedelta(minutes=6)
MARKED = ("warning", "error")
"""Levels that a line names."""
SAFETY = ("PASS", "INSUFFICIENT")
"""Verdicts that speak of one step; harm is that of the whole release."""
GUARDS = ("guard", "last verdict", "at", "why")
KINDS = {
    State.PRODUCTION: "good",
    State.ROLLED_BACK: "wrong",
    State.PROVISIONING: "going",
    State.TESTING: "going",
    State.CANARY: "going",
}


def document(told: Account) -> str:
    """The account as one HTML page of its own."""
    return page(title(told), *parts(told))


def title(told: Account) -> str:
    """What the page of a release is called."""
    return f"{name_of(told)}: {told.status['state']}"


def badge(state: str) -> Element:
    """A state, as a word in a frame of its own form."""
    return element("span", state, class_=f"state {KINDS.get(State(state), 'still')}")


def parts(told: Account) -> list[Child]:
    """The account, part by part."""
    return [
        pairs(
            ("state", _state(told)) if name == "state" else (name, text)
            for name, text in summary(told)
        ),
        _post_mortem(told),
        _guards(told),
        section("Users", *_weights(told)),
        section("Both versions", *_versions(told)),
        section("Evidence", *_evidence(told)),
        _events("Verdicts", told, VERDICTS),
        _events("Golden queries", told, ("tests.finished",)),
        _events("Holds", told, ("release.held", "release.freed", "endpoint.foreign_change")),
        _events("Orders", told, ("order.given", "order.refused")),
        section("Timeline", lines("What happened, but for counts and verdicts", timeline(told))),
    ]


def _state(told: Account) -> Element:
    one = told.status
    settled = "" if one["settled"] else ", not settled yet"
    since = moment(datetime.fromisoformat(one["since"]))
    return element("span", badge(one["state"]), " since ", since, f" UTC{settled}")


def lines(caption: str, rows: Sequence[Line]) -> Element:
    """Journal lines: when, what and why."""
    cells = [(moment(at_of(line)), _what(line), str(line.get("because", ""))) for line in rows]
    return table(caption, ("at (UTC)", "what", "why"), cells, titled=True, kind="stack journal")


def _what(line: Line) -> Element:
    level = line.get("level")
    mark = element("b", f"{level}: ") if level in MARKED else None
    return element("span", mark, in_words(line))


def _post_mortem(told: Account) -> Child:
    rows = mortem_rows(told)
    if not rows:
        return None
    (_, story), *numbers = rows
    made = section("Post-mortem", element("p", story), pairs(numbers))
    made.set("class", "bad")
    return made


def _guards(told: Account) -> Child:
    """Where each guard stands."""
    if not told.verdicts:
        return None
    cells = [
        (
            str(line.get("guard")),
            f"{line.get('verdict')}{', observed' if line.get('observe') else ''}",
            f"{own(line, 'weight')} %" if line.get("verdict") in SAFETY else "-",
            str(line.get("because", "")),
        )
        for line in told.verdicts
    ]
    return section("Guards", table("Guards", GUARDS, cells, titled=True))


def _weights(told: Account) -> list[Child]:
    end = told.until.timestamp()
    wanted = [Point(at=one.at.timestamp(), value=one.weight) for one in told.moments]
    seen = [
        Point(at=one.at.timestamp(), value=one.weight_seen)
        for one in told.moments
        if one.weight_seen is not None
    ]
    each = [("wanted", wanted), ("seen", seen)]
    series = [
        Series(name=name, points=[*some, Point(at=end, value=some[-1].value)], stepped=True)
        for name, some in each
        if some
    ]
    drawn = plot(
        "Percent of users, as wanted and as seen on the endpoint",
        series,
        across=_clock(told),
        ticks=_ticks(told),
        upwards=lambda value: f"{value:g} %",
        most=100,
    )
    # Of one day the date is said once: the table is as wide as a phone then.
    days = {one.at.date() for one in told.moments}
    alone = len(days) == 1
    rows = [
        (
            moment(one.at, day=not alone),
            one.state,
            str(one.step or "-"),
            f"{one.weight} %",
            "-" if one.weight_seen is None else f"{one.weight_seen} %",
        )
        for one in told.moments
    ]
    headings = ("from", "state", "step", "wanted", "seen")
    on = f"on {min(days)}, " if alone else ""
    caption = f"States and weights, {on}by UTC"
    return [drawn, table(caption, headings, rows, kind="narrow")]


def _versions(told: Account) -> list[Child]:
    if not told.guards:
        return [element("p", "Nothing was counted by version.")]
    found: list[Child] = []
    for guard in told.guards:
        heading = f"{guard_title(guard)}, by the {named(guard.source)}"
        series = [
            _series("candidate", guard.points, lambda one: one.candidate),
            _series("stable", guard.points, lambda one: one.stable),
        ]
        upwards = percent if guard.share else amount
        rows = [rates_of(*row, guard) for row in rows_of(guard)]
        found += [
            element("h3", heading),
            plot(
                heading,
                series,
                across=_clock(told),
                upwards=upwards,
                ticks=_ticks(told),
                titled=True,
            ),
            table(heading, RATES, rows, titled=True, kind="stack dense rates"),
        ]
    return [*found, element("p", f"{INTERVAL} {BEYOND}", class_="note")]


def _series(
    name: str, points: Sequence[Compared], arm: Callable[[Compared], Rate | None]
) -> Series:
    found = [
        Point(at=one.closed.timestamp(), value=rate.value, low=rate.low, high=rate.high)
        for one in points
        if (rate := arm(one)) is not None
    ]
    return Series(name=name, points=found)


def _evidence(told: Account) -> list[Child]:
    if not told.sources:
        return [element("p", "No source has counted anything yet.")]
    rows = [source_cells(one) for one in told.sources]
    counted = table("What each source has told", SOURCES, rows, kind="stack dense")
    return [counted, element("p", expected(told), class_="note")]


def _events(heading: str, told: Account, events: tuple[str, ...]) -> Element | None:
    rows = told.of(*events)
    return section(heading, lines(heading, rows)) if rows else None


def _clock(told: Account) -> Callable[[float], str]:
    """Times of day, to the second where it took minutes; dates where it took days."""
    took = told.until - told.moments[0].at if told.moments else timedelta()
    form = "%b %d" if took > LONG else "%H:%M" if took > SHORT else "%H:%M:%S"
    return lambda at: f"{datetime.fromtimestamp(at, told.until.tzinfo):{form}}"


def _ticks(told: Account) -> list[float]:
    """Round times between the first line and the last one."""
    if not told.moments:
        return []
    first, last = told.moments[0].at.timestamp(), told.until.timestamp()
    apart = next((one for one in APART_S if (last - first) / one <= TICKS), APART_S[-1])
    start = ceil(first / apart)
    return [number * apart for number in range(start, floor(last / apart) + 1)]
