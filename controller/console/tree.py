"""Applications as trees: state, weight, why, guards, the way back, what comes next, what to do.

On a terminal with colours: glyphs, and lines that wrap under themselves. In a pipe, with NO_COLOR
or TERM=dumb: the same words in ASCII, and in a pipe one line for each fact unless COLUMNS is set.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text
from rich.tree import Tree

from controller.console.glance import Glance
from controller.record.redaction import printable
from policies.words import duration
from states.last_look import Look
from states.machine import State
from states.release import Order
from states.status import Status, seen_in_words
from states.way_back import READY

STYLES = {
    State.REGISTERED: "dim",
    State.PROVISIONING: "cyan",
    State.TESTING: "cyan",
    State.CANARY: "yellow",
    State.PRODUCTION: "green",
    State.ROLLED_BACK: "red",
    State.RETIRED: "dim",
}
GLYPHS = {
    State.REGISTERED: "○",
    State.PROVISIONING: "◔",
    State.TESTING: "◑",
    State.CANARY: "◕",
    State.PRODUCTION: "●",
    State.ROLLED_BACK: "✖",
    State.RETIRED: "·",
}
MARKS = {
    "PASS": ("✔", "pass", "green"),
    "INSUFFICIENT": ("…", "wait", "yellow"),
    "FAIL": ("✖", "FAIL", "red"),
    "BLIND": ("?", "BLIND", "red"),
    None: ("·", "--", "dim"),
}
"""Of each verdict: its glyph, its word where there are no glyphs, its colour. None: watched."""
ASCII = str.maketrans({"…": "...", "→": "->"})
"""Of our own sentences, what is not ASCII."""
GAP = 2
NARROWEST = 36
"""Columns below which no text stands beside its label: it follows it, as in a paragraph."""
UNBOUNDED = 1 << 14
"""Columns of a line in a pipe: nothing wraps."""


def console(file: IO[str] | None = None) -> Console:
    """The console that trees are printed to: as wide as its terminal, or as COLUMNS says."""
    made = Console(file=file, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = UNBOUNDED
    return made


def page(  # noqa: PLR0913 - as of `Page`
    console: Console,
    told: Sequence[Glance],
    now: datetime,
    *,
    store: str | None = None,
    footer: str = "",
    past: bool = False,
) -> "Page":
    """Applications, to print; of several, those at rest get one line each, below the others.

    `store`: to be named in the commands that are proposed. `footer`: how old all that is. `past`:
    it is over, and no command changes it.
    """
    return Page(told, now, fancy=_fancy(console), store=store, footer=footer, past=past)


class Fact:
    """A label and what it labels, which wraps under itself; where that is narrow, under two."""

    def __init__(self, label: str, told: Text, width: int = 0, *, style: str = "dim") -> None:
        self.label = label
        self.told = told
        self.width = width
        """Columns of the labels beside it."""
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its lines."""
        beside = options.max_width - self.width - GAP
        if self.width and beside >= NARROWEST:
            indent, room = self.width + GAP, beside
            label, body = Text(f"{self.label:<{indent}}"), self.told
        else:
            indent, room = GAP, options.max_width - GAP
            label = Text()
            told = f"{self.label}: " if self.label and self.width else ""
            body = Text.assemble((told, self._style), self.told)
        label.stylize(self._style)
        for index, line in enumerate(body.wrap(console, room)):
            line.rstrip()
            yield (label if index == 0 else Text(" " * indent)) + line


class Page:
    """All that one screen shows."""

    def __init__(  # noqa: PLR0913 - of which each screen needs its own
        self,
        told: Sequence[Glance],
        now: datetime,
        *,
        fancy: bool,
        store: str | None = None,
        footer: str = "",
        past: bool = False,
    ) -> None:
        self._told = told
        self._now = now
        self._fancy = fancy
        self._store = store
        self._footer = footer
        self._past = past

    def show(self, console: Console) -> None:
        """Print it, once."""
        console.print(self, end="")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Each application's lines."""
        if not self._told:
            yield Text("No application has a release yet.")
        several = len(self._told) > 1
        for one in self._told:
            if not (several and one.idle):
                yield from self._tree(one, console, options)
        for one in self._told:
            if several and one.idle:
                yield Fact("", headline(one.releases[0], self._now, fancy=self._fancy, idle=True))
        if self._footer:
            yield Fact("", self._words(self._footer, "dim"))

    def _tree(self, one: Glance, console: Console, options: ConsoleOptions) -> RenderResult:
        root = Tree(Text(printable(one.name), style="bold"), guide_style="dim")
        if one.waiting is not None:
            root.add(self._fact("hold", f"{one.waiting} (a person must act)", "yellow"))
        for release in one.queued:
            root.add(Fact("", self._waiting(release)))
        for release in one.releases:
            text = headline(release, self._now, fancy=self._fancy, changed=one.changed)
            branch = root.add(Fact("", text))
            facts = list(self._facts(one, release))
            width = max((len(fact.label) for fact in facts), default=0)
            for fact in facts:
                fact.width = width
                branch.add(fact)
        if one.facts.get("applying"):
            root.add(self._fact("apply", str(one.facts["applying"]), "yellow"))
        drawn = options.update(width=options.max_width)
        drawn.encoding = options.encoding if self._fancy else "ascii"
        for line in console.render_lines(root, drawn, pad=False):
            yield from line
            yield Segment.line()

    def _waiting(self, one: Status) -> Text:
        """One line for what has not begun."""
        why = self._words(f"; {one['hold'] or one['because']}")
        return headline(one, self._now, fancy=self._fancy) + why

    def _facts(self, one: Glance, release: Status) -> Iterator[Fact]:
        yield self._fact("why here", release["because"])
        if release["hold"] is not None:
            asks = " (a person must act)" * release["needs_person"]
            yield self._fact("hold", f"{release['hold']}{asks}", "yellow")
        if release["order"] != Order.RUN:
            yield self._fact("order", release["order"], "yellow")
        looks = one.looks(release)
        for look in looks:
            yield self._guard(look)
        if release["rollback"] is not None:
            style = "green" if release["rollback"] == READY else "red"
            yield self._fact("rollback", release["rollback"], style)
        if release["next"] is not None:
            yield self._fact("next", self._next(release, looks))
        commands = [] if self._past else one.commands(release, self._store)
        if commands:
            yield Fact("you can", Text("\n".join(map(printable, commands)), style="cyan"))

    def _next(self, one: Status, looks: Sequence[Look]) -> str:
        """What comes next, when at the earliest, and when the guards may have enough."""
        told = str(one["next"])
        if one["earliest"] is not None:
            earliest = datetime.fromisoformat(one["earliest"])
            at, left = _clock(earliest, self._now), earliest - self._now
            compared = bool(looks) and looks[0]["verdict"] is not None
            if left > timedelta():
                told += f"; {at} at the earliest (in {duration(_whole(left))})"
            elif not compared:
                told += f"; its time was over at {at}: what was counted till then is told of later"
        waits = [look for look in looks if look["verdict"] == "INSUFFICIENT"]
        waits = [look for look in waits if not look["observe"] and one["order"] == Order.RUN]
        if waits and all("seconds_missing" in look for look in waits):
            last = max(waits, key=lambda look: float(look["seconds_missing"]))
            told += f"; {last['guard']} may have enough in {duration(last['seconds_missing'])}"
        return told

    def _guard(self, look: Look) -> Fact:
        glyph, word, style = MARKS.get(look.get("verdict"), MARKS[None])
        mark = glyph if self._fancy else word
        observed = " (observed)" if look.get("observe") else ""
        label = f"{mark:<{1 if self._fancy else 4}} {printable(str(look.get('guard')))}{observed}"
        return Fact(label, self._words(str(look.get("because"))), style=style)

    def _fact(self, label: str, told: str, style: str = "") -> Fact:
        return Fact(label, self._words(told, style), len(label))

    def _words(self, told: str, style: str = "") -> Text:
        plain = told if self._fancy else told.translate(ASCII)
        return Text(printable(plain), style=style)


def headline(
    one: Status, now: datetime, *, fancy: bool, idle: bool = False, changed: bool = False
) -> Text:
    """A release in one line: state, step, weight wanted and seen, and for how long.

    `changed`: what others changed waits for an answer.
    """
    state = State(one["state"])
    glyph = f"{GLYPHS[state]} " if fancy else ""
    text = Text.assemble((glyph, STYLES[state]), (printable(one["release"]), "bold"))
    text.append(f" (attempt {one['attempt']})" if one["attempt"] > 1 else "")
    text.append("  ").append(state.value, style=STYLES[state])
    if one["steps"] and one["step"] and not idle:
        text.append(f", step {one['step']} of {len(one['steps'])}")
    text.append(f", {one['weight']} % of users")
    if state is State.CANARY and not one["weight"]:
        text.append(", gate shut", style="yellow")
    seen = one["weight_seen"]
    if seen is not None and not idle:
        text.append(
            seen_in_words(one, changed=changed), style="yellow" if seen != one["weight"] else None
        )
    if not one["settled"]:
        text.append(", not settled yet", style="yellow")
    age = duration(_whole(now - datetime.fromisoformat(one["since"])))
    return text.append(f", for {age}")


def _fancy(console: Console) -> bool:
    """Whether glyphs and colours reach whoever reads."""
    plain = console.no_color or console.is_dumb_terminal
    return console.is_terminal and not plain and console.encoding.startswith("utf")


def _clock(moment: datetime, now: datetime) -> str:
    """A time of day, with its date unless that is today's."""
    day = "" if moment.date() == now.astimezone(UTC).date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M:%S} UTC"


def _whole(length: timedelta) -> timedelta:
    return timedelta(seconds=max(0, int(length.total_seconds())))
