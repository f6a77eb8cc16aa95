"""`status --watch` and `status --wait`: what is told anew whenever record or log goes on."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Literal

from rich.console import Console
from rich.live import Live

from controller.console import tree
from controller.console.common import complain
from controller.console.glance import Glance, glances
from controller.console.reading import LogTooLate, ReadingError, UnknownSelection
from controller.console.remote import DaemonUnreachable
from controller.console.sources import Source, StoreSource
from controller.record.errors import RecordError
from controller.record.redaction import printable
from policies.words import duration
from states.machine import State
from states.status import Status

PACE_S = 1.0
"""How often it is asked whether there is news, in seconds."""
SPARED = 10
"""Reading may take one part in so many of the time: a huge log is read anew less often."""
DONE, FAILED, PERSON, LATE = 0, 1, 3, 4
"""Exit codes of `--wait`."""

Goal = Literal["production", "confirmed"]


class Clock:
    """The time, and a way to let it pass."""

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that nobody sets."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        time.sleep(seconds)


class Watch:
    """What was selected, looked at again and again."""

    def __init__(
        self,
        source: Source,
        selection: str | None,
        clock: Clock,
        *,
        all_: bool = False,
        awaited: bool = False,
    ) -> None:
        """`awaited`: a release that is not there yet is none, and no error."""
        self._source = source
        self._selection = selection
        self._all = all_
        self._awaited = awaited
        self.clock = clock
        self.trouble: str | None = None
        """Why nothing newer can be read; None while it can."""
        self.told: list[Glance] = []

    def first(self) -> None:
        """Read it for the first time; what is wrong then is wrong for good."""
        try:
            self.told = look(self._source, self._selection, all_=self._all)
        except UnknownSelection:
            application, slash, _ = (self._selection or "").partition("/")
            if not self._awaited or not slash:
                raise
            known = {one.name for one in look(self._source, None, all_=False)}
            if known and application not in known:
                raise
            self.told = []

    def changes(self, *, until: float | None = None) -> Iterator[bool]:
        """Once each second whether it was read anew, for ever or until so many seconds on end."""
        begun, spent = self.clock.monotonic(), 0.0
        while until is None or self.clock.monotonic() - begun < until:
            self.clock.sleep(max(PACE_S, SPARED * spent))
            started = self.clock.monotonic()
            yield self._again()
            spent = self.clock.monotonic() - started

    def _again(self) -> bool:
        """Read it anew if there is news; trouble passes, as a daemon's store comes back."""
        try:
            if self.trouble is None and not self._source.news(self.clock.now()):
                return False
            self.told = self._read()
        except (ReadingError, RecordError, DaemonUnreachable) as error:
            self.trouble = str(error)
            return False
        self.trouble = None
        return True

    def _read(self) -> list[Glance]:
        try:
            return glances(self._source.read(), self._selection, all_=self._all)
        except (UnknownSelection, LogTooLate):
            if not self._awaited:
                raise
            return []

    @property
    def warning(self) -> str | None:
        """What speaks against that it is still as it is shown; None while nothing does."""
        return self.trouble or self._source.silence(self.clock.now())

    @property
    def footer(self) -> str:
        """How old what is shown is, and the warning."""
        return footer(self._source, self.clock.now(), self.warning)


def look(source: Source, selection: str | None, *, all_: bool) -> list[Glance]:
    """What was selected, at a glance; of a store, also what is over for so long that only the
    whole journal tells of it.
    """  # noqa: D205 - one sentence
    book = source.read()
    try:
        return glances(book, selection, all_=all_)
    except LogTooLate:
        if not isinstance(source, StoreSource):
            raise
        return glances(source.whole(), selection, all_=all_)


def footer(source: Source, now: datetime, warning: str | None) -> str:
    """How old what was read is, and what speaks against that it is still so, as far as is told."""
    parts = (age(source.told_at, now), warning or source.untold)
    return "; ".join(part for part in parts if part)


def age(at: datetime | None, now: datetime) -> str:
    """How old what was told at a time is; nothing, where no time was told."""
    if at is None:
        return ""
    past = max(timedelta(), timedelta(seconds=(now - at) // timedelta(seconds=1)))
    return f"as of {at:%Y-%m-%d %H:%M:%S} UTC, {duration(past)} ago"


def on_terminal(console: Console, watch: Watch, store: str | None) -> None:
    """Show the trees, and the age of what is shown, until somebody ends it."""

    def page() -> tree.Page:
        return tree.page(console, watch.told, watch.clock.now(), store=store, footer=watch.footer)

    with Live(page(), console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        for _ in watch.changes():
            live.update(page(), refresh=True)


def in_pipe(out: IO[str], watch: Watch, *, as_json: bool) -> None:
    """One line for each release, and one more whenever it changes, until somebody ends it."""
    known = Known(out, watch.clock, as_json=as_json)
    known.tell(watch.told)
    warned = False
    for _ in watch.changes():
        known.tell(watch.told)
        warned = _warn(watch, warned=warned)


def _warn(watch: Watch, *, warned: bool) -> bool:
    """Say once that the daemon seems dead, or nothing can be read, and once that it is over."""
    warning = watch.warning
    if (warning is not None) != warned:
        complain(f"{warning or 'what was silent goes on'}")
    return warning is not None


class Known:
    """What was told of each release, so that it is told once."""

    def __init__(self, out: IO[str], clock: Clock, *, as_json: bool = False) -> None:
        self._out = out
        self._clock = clock
        self._as_json = as_json
        self._told: dict[str, tuple[object, ...]] = {}

    def tell(self, told: Sequence[Glance]) -> None:
        """Write a line for each release that is new, or other than it was told."""
        for glance in told:
            for one, line in zip(reversed(glance.releases), glance.as_json(), strict=True):
                mark = _mark(one)
                key = f"{one['release']}#{one['attempt']}"
                if self._told.get(key) != mark:
                    self._told[key] = mark
                    self._say(
                        json.dumps(line)
                        if self._as_json
                        else self._line(one, changed=glance.changed)
                    )
            if glance.waiting is not None and self._told.get(glance.name) != (glance.waiting,):
                self._told[glance.name] = (glance.waiting,)
                if not self._as_json:
                    self._say(printable(f"{self._now()}  {glance.name}  held: {glance.waiting}"))

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()

    def _line(self, one: Status, *, changed: bool) -> str:
        headline = tree.headline(one, self._clock.now(), fancy=False, changed=changed).plain
        why = f"held: {one['hold']}" if one["hold"] else one["because"]
        blocked = one["rollback"] or ""
        told = f"; rollback {blocked}" if blocked.startswith("blocked") else ""
        return printable(f"{self._now()}  {headline}: {why}{told}".translate(tree.ASCII))

    def _now(self) -> str:
        return f"{self._clock.now():%Y-%m-%d %H:%M:%S}"


def wait(out: IO[str], watch: Watch, selection: str, goal: Goal, timeout: timedelta | None) -> int:
    """Follow one release until it has come to its end, or a person must act; an exit code."""
    known, limit = Known(out, watch.clock), timeout.total_seconds() if timeout else None
    if not watch.told:
        complain(f"{selection} is not registered yet: it is waited for")
    known.tell(watch.told)
    code, warned = outcome(watch.told, goal), False
    changes = watch.changes(until=limit)
    while code is None:
        if next(changes, None) is None:
            told = f"{selection} has not come to its end within {duration(timeout or timedelta())}"
            complain(f"{told}")
            return LATE
        known.tell(watch.told)
        warned = _warn(watch, warned=warned)
        code = outcome(watch.told, goal)
    return code


def outcome(told: Sequence[Glance], goal: Goal) -> int | None:
    """What a release has come to, as an exit code; None while it is under way."""
    newest = [one for glance in told for one in glance.releases[:1]]
    if not newest:
        return None
    one, facts = newest[0], told[0].facts
    live, asks = facts.get("live") == one["version"], bool(facts.get("application_hold"))
    match State(one["state"]):
        case State.ROLLED_BACK:
            return FAILED if one["settled"] or one["needs_person"] else None
        case State.RETIRED:
            # One that served, and was replaced since, had come to its end before. One with users
            # has them from others, whether it ever served or not.
            return DONE if one["weight_seen"] == 0 else FAILED
        case State.PRODUCTION if one["settled"] and (goal == "production" or not live):
            return DONE
        case _:
            return PERSON if one["needs_person"] or asks else None


def _mark(one: Status) -> tuple[object, ...]:
    """What makes a release other than it was; reasons and blocked ways back included."""
    names = ("state", "settled", "order", "hold", "step", "weight", "weight_seen", "because")
    return (*(one.get(name) for name in names), one["rollback"])
