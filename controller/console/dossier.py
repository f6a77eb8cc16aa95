"""`headgate report APP/VERSION`: the account of a release, in words, and in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.console.account import INTERVAL, Account, Compared, Guarded, Rate, Source
from controller.console.reading import own
from controller.console.render import print_history
from controller.console.tables import WIDE
from controller.record.lines import Line
from controller.record.redaction import printable
from policies.blindness import named
from policies.words import amount, duration, percent
from states.status import seen_in_words

ELSEWHERE = ("evidence.block", "gate.verdict")
"""Events that the timeline leaves out: counts and verdicts have parts of their own."""
VERDICTS = ("gate.verdict", "fuse.blown", "evidence.blind", "evidence.seen")
RATES = ("", "candidate", "its rate", "95 % interval", "stable", "its rate", "95 % interval")


def show(console: Console, told: Account) -> None:
    """The same in a terminal, without plots."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    _say(console, Text(printable(f"{name_of(told)}  {told.status['state']}"), style="bold"))
    for label, text in (*summary(told), *mortem_rows(told)):
        if text:
            _say(console, Text(f"  {label:<18}{printable(text)}"))
    for guard in told.guards:
        _title(console, f"{guard_title(guard)}, by the {named(guard.source)}")
        console.print(_grid(RATES, [rates_of(*row, guard) for row in rows_of(guard)]))
    if told.guards:
        _say(console, Text(INTERVAL, style="dim"))
    if told.sources:
        _title(console, "Evidence")
        console.print(_grid(SOURCES, [source_cells(one) for one in told.sources]))
        _say(console, Text(expected(told), style="dim"))
    for title, events in (
        ("Verdicts", VERDICTS),
        ("Holds and orders", ("release.held", "release.freed", "order.given")),
    ):
        if rows := told.of(*events):
            _title(console, title)
            print_history(console, rows)
    _title(console, "Timeline")
    print_history(console, timeline(told))


def name_of(told: Account) -> str:
    """The release, and which attempt at it, if not the first."""
    attempt = told.status["attempt"]
    return told.status["release"] + (f", attempt {attempt}" if attempt > 1 else "")


def summary(told: Account) -> list[tuple[str, str]]:
    """What a release is in, and why; what is empty does not apply."""
    one = told.status
    hold = one["hold"] or ""
    steps = ", ".join(f"{step} %" for step in one["steps"])
    settled = "" if one["settled"] else ", not settled yet"
    return [
        ("state", f"{one['state']}{settled}, since {_time(one['since'])} UTC"),
        ("because", one["because"]),
        ("users", f"{one['weight']} %{seen_in_words(one, changed=told.changed)}"),
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


def mortem_rows(told: Account) -> list[tuple[str, str]]:
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


def guard_title(guard: Guarded) -> str:
    """What a guard counts."""
    observed = " (it only observes)" if guard.observe else ""
    return f"{guard.guard}: {guard.noun}{observed}"


def rows_of(guard: Guarded) -> list[tuple[str, Compared]]:
    """A guard's counts by step, and as a whole."""
    return [*((f"step {step}", one) for step, one in guard.steps), ("whole", guard.whole)]


def rates_of(name: str, one: Compared, guard: Guarded) -> tuple[str, ...]:
    """A row of `RATES`."""
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


def source_cells(one: Source) -> tuple[str, ...]:
    """A row of `SOURCES`."""
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


def expected(told: Account) -> str:
    """How late the table's rows were to be expected."""
    if told.expected_lag_s is None:
        return "How late the table's rows were in stable's last day was not told."
    late = duration(told.expected_lag_s)
    return f"In stable's last day 95 % of the table's rows came within {late}."


def timeline(told: Account) -> list[Line]:
    """What happened, but for what has parts of its own."""
    return [line for line in told.lines if line["event"] not in ELSEWHERE]


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
