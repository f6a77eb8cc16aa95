"""Forecasts and backtests, for eyes."""

from collections.abc import Sequence
from datetime import timedelta

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.console.backtest import LIMITS, Relived, Report, Trial
from controller.console.planning import Plan, judged_by
from controller.record.redaction import printable
from policies.backtest import End
from policies.forecast import Forecast, StepForecast
from policies.rollout import WHOLE
from policies.words import amount, duration, percent, points

WIDE = 120
"""Columns that a table may take where no terminal sets a limit."""


def show_plan(console: Console, plan: Plan) -> None:
    """Print what a release would take, find and cost."""
    told, traffic = plan.forecast, plan.traffic
    at = f"at {amount(traffic.requests_per_second)} requests/s and {duration(traffic.lag)} of lag"
    title = Text(printable(plan.application), style="bold")
    _say(console, title.append(f"  {printable(plan.endpoint)}, {at}", style="not bold"))
    _say(console, f"  judged: {judged_by(plan) or 'nothing'}")
    steps = ", ".join(f"{step} %" for step in told.pinned)
    _say(console, f"  steps {steps}: {told.because}")
    for one in told.steps:
        if not one.decides:
            _say(console, Text(f"  {_undecided(one, traffic.lag)}", style="yellow"))
    if told.steps:
        _show(console, _steps(told.steps))
    _say(console, f"  {_end(told)}")
    _say(
        console,
        f"  warehouse awake for {duration(told.warehouse)}, {told.looks:,} looks; provisioned "
        f"{duration(told.provisioning)} of served entities",
    )
    for line in plan.assumed:
        _say(console, Text(f"  assumed: {printable(line)}", style="dim"))


def _end(told: Forecast) -> str:
    """When it comes to its end, or where it stops."""
    if told.to_whole is None or told.to_production is None or told.to_confirmed is None:
        return f"it climbs no further than {told.stops_at} %: see rollout.on_undecided"
    whole, end = duration(told.to_whole), duration(told.to_production)
    last = f"{told.last} % of users" if told.last < WHOLE else "all users"
    alias = "all of them, and the alias," if told.last < WHOLE else "the alias"
    return f"{last} after {whole}, {alias} after {end}, stable after {duration(told.to_confirmed)}"


def _undecided(one: StepForecast, lag: timedelta) -> str:
    """A step that cannot decide in time, named with what it lacks."""
    if not one.slowest:
        return f"{one.weight} % has no guard that decides"
    need = next(need for need in one.needs if need.guard == one.slowest)
    lacks = "no number of requests is enough" if need.requests is None else "traffic is too low"
    if need.time is not None:
        lacks = f"{need.requests:,} requests take {duration(need.time)}"
        lacks += f", and are told of {duration(lag)} later" if lag else ""
    return f"{one.weight} % cannot decide within patience: {one.slowest}: {lacks}"


def _steps(steps: Sequence[StepForecast]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    headings = (
        "step, margin",
        "takes",
        "waits for",
        "finds errors from",
        "total failure shut after",
    )
    for heading in (*headings, "exposed", "if never found"):
        table.add_column(heading, overflow="fold")
    for one in steps:
        need = next((need for need in one.needs if need.guard == one.slowest), None)
        needed = "nothing"
        if need is not None:
            number = "never" if need.requests is None else f"{need.requests:,}"
            needed = f"{need.guard}: {number}"
        shut = f"{duration(one.found)} ({one.by})" if one.found is not None else "not on this step"
        table.add_row(
            f"{one.weight} %{f', {points(one.margin)}' if one.margin is not None else ''}",
            duration(one.time) if one.time is not None else "never",
            needed,
            percent(one.smallest) if one.smallest is not None else "undetectable",
            shut,
            f"{one.failing:,.0f}",
            f"{one.undetected:,.0f}",
        )
    return table


def show_backtest(console: Console, report: Report) -> None:
    """Print what one or two policies would have done, application by application."""
    relived = {one.application for one in report.relived}
    for name in sorted(relived | {one.application for one in report.trials}):
        past = [one for one in report.relived if one.application == name]
        trials = [one for one in report.trials if one.application == name]
        _say(console, Text(printable(name), style="bold"))
        if past:
            _say(console, "  past releases, judged anew on their own counts")
            _show(console, _past(past))
        if trials:
            _say(console, f"  splits of stable's own counts, {trials[0].trials:,} of each kind")
            _show(console, _splits(trials))
    for word, lines in (("not tried", report.notes), ("limit", LIMITS)):
        for line in lines:
            _say(console, Text(f"  {word}: {printable(line)}", style="dim"))


def _past(relived: Sequence[Relived]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("policy", "release", "was", "would be", "after", "its requests"):
        table.add_column(heading, overflow="fold")
    for one in relived:
        told = {
            End.CLOSED: f"closed by {one.guard} at {one.weight} %",
            End.OPENED: f"not stopped, up to {one.weight} %",
            End.UNDECIDED: f"undecided at {one.weight} %, short of {one.guard}",
        }[End(one.end)]
        attempt = f" ({one.attempt})" if one.attempt > 1 else ""
        table.add_row(
            printable(one.policy),
            f"{one.release.rpartition('/')[2]}{attempt}",
            one.state,
            told,
            duration(one.seconds),
            f"{one.exposed:,}",
        )
    return table


def _splits(trials: Sequence[Trial]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    headings = ("policy", "candidate", "closed", "went up", "undecided", "closed after")
    for heading in (*headings, "its requests"):
        table.add_column(heading, overflow="fold")
    for one in trials:
        table.add_row(
            printable(one.policy),
            one.harm,
            *(percent(count / one.trials) for count in (one.closed, one.opened, one.undecided)),
            "" if one.seconds is None else duration(one.seconds),
            "" if one.exposed is None else f"{one.exposed:,.0f}",
        )
    return table


def _show(console: Console, table: Table) -> None:
    """Print a table; a file or a pipe has no edge to fit in."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    console.print(table)


def _say(console: Console, told: str | Text) -> None:
    console.print(Text(told) if isinstance(told, str) else told, soft_wrap=True)
