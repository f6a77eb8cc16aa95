"""What the journal tells of in the long run: decisions, their pace, and how long evidence failed.

A pure fold of the journal, so that a daemon that begins anew counts on from where it was. Times are
the store's. Nothing here is written back.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from controller.record.schema import JOURNAL
from controller.record.times import moment
from policies.verdict import Outcome
from states.machine import State, Trigger

DECISION_S: Final = (
    60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0,
)  # fmt: skip
"""Upper bounds, in seconds, of how long a step took to be decided on: a minute to three days."""
SHUT_S: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper bounds, in seconds, of how long the gate took to be seen shut."""
AT_ONCE: Final = 2000
"""Rows per read: a reader that lingers would keep writers waiting."""
EVENTS: Final = (
    "gate.verdict", "release.transition", "release.settled", "endpoint.update",
    "release.freed", "evidence.seen",
)  # fmt: skip


@dataclass
class Spread:
    """A histogram: how many values lie below each bound, and their sum."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    """By bound, not added up; the last is for what lies above all of them."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


EXPOSED: Final = (State.CANARY, State.PRODUCTION)
"""The states in which a release has users."""
Mark = tuple[str, int]
"""A release as the journal names it: its key and its attempt."""


@dataclass
class Tally:
    """The journal up to a row, counted."""

    seq: int = 0
    """The last row that was counted."""
    verdicts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By application, guard and outcome: told when one changes or decides."""
    transitions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By application, trigger and state that was entered."""
    decided: dict[str, Spread] = field(
        default_factory=lambda: defaultdict(lambda: Spread(DECISION_S))
    )
    """By trigger, from a step's opening to the decision that ended it."""
    shut: dict[str, Spread] = field(default_factory=lambda: defaultdict(lambda: Spread(SHUT_S)))
    """By trigger, from deciding that a version's users go back to seeing them gone."""
    _blind: dict[str, timedelta] = field(default_factory=lambda: defaultdict(timedelta))
    _blind_since: dict[str, datetime] = field(default_factory=dict)
    _opened: dict[Mark, datetime] = field(default_factory=dict)
    _shutting: dict[Mark, tuple[str, datetime]] = field(default_factory=dict)
    _away: set[Mark] = field(default_factory=set)
    """The releases whose users were seen gone, and that were not given any since."""

    def blind(self, now: datetime) -> Mapping[str, timedelta]:
        """By application, for how long its counting source was broken while a release needed it."""
        found = dict(self._blind)
        for name, since in self._blind_since.items():
            found[name] = found.get(name, timedelta()) + max(now - since, timedelta())
        return found

    @property
    def blind_now(self) -> frozenset[str]:
        """The applications whose source is broken now."""
        return frozenset(self._blind_since)

    def read(self, connection: Connection, last: int) -> bool:
        """Count some of the rows up to `last`; whether all of them are counted by now."""
        until = min(self.seq + AT_ONCE, last)
        for row in connection.execute(_ROWS, {"after": self.seq, "until": until}):
            mark = (row.release or "", row.attempt or 0)
            self.add(row.event, row.application, mark, moment(row.at), row.fields)
        self.seq = max(self.seq, until)
        return self.seq >= last

    def add(
        self, event: str, application: str | None, mark: Mark, at: datetime, told: Mapping[str, Any]
    ) -> None:
        """Count one row."""
        if application is None:
            return
        match event:
            case "gate.verdict":
                self._judged(application, at, told)
            case "release.transition":
                self._moved(application, mark, at, told)
            case "release.settled":
                self._seen_gone(mark, at)
            case "endpoint.update":
                shares = told.get("versions")
                if shares is not None and not shares.get(mark[0].rpartition("/")[2]):
                    self._seen_gone(mark, at)
            case "evidence.seen" | "release.freed":
                self._sees(application, at)

    def _judged(self, application: str, at: datetime, told: Mapping[str, Any]) -> None:
        outcome = str(told.get("verdict"))
        self.verdicts[application, str(told.get("guard")), outcome] += 1
        if outcome == Outcome.BLIND.value:
            self._blind_since.setdefault(application, at)

    def _moved(self, application: str, mark: Mark, at: datetime, told: Mapping[str, Any]) -> None:
        trigger, to_state = str(told.get("trigger")), str(told.get("to_state"))
        self.transitions[application, trigger, to_state] += 1
        opened = self._opened.pop(mark, None)
        if opened is not None:
            self.decided[trigger].add((at - opened).total_seconds())
        if trigger != Trigger.RETREAT:
            self._sees(application, at)
        if to_state == State.CANARY and trigger != Trigger.RETREAT:
            self._opened[mark] = at
        if trigger not in (Trigger.RETREAT, Trigger.ROLL_BACK):
            self._away.discard(mark)
            self._shutting.pop(mark, None)
        elif told.get("from_state") in EXPOSED and mark not in self._away:
            self._shutting.setdefault(mark, (trigger, at))

    def _seen_gone(self, mark: Mark, at: datetime) -> None:
        """The first look that saw none of the users that were sent back."""
        begun = self._shutting.pop(mark, None)
        if begun is not None:
            trigger, since = begun
            self.shut[trigger].add((at - since).total_seconds())
            self._away.add(mark)

    def _sees(self, application: str, at: datetime) -> None:
        since = self._blind_since.pop(application, None)
        if since is not None:
            self._blind[application] += max(at - since, timedelta())


_ROWS = (
    select(
        JOURNAL.c.seq,
        JOURNAL.c.at,
        JOURNAL.c.event,
        JOURNAL.c.application,
        JOURNAL.c.release,
        JOURNAL.c.attempt,
        JOURNAL.c.fields,
    )
    .where(
        JOURNAL.c.seq > bindparam("after"),
        JOURNAL.c.seq <= bindparam("until"),
        JOURNAL.c.event.in_(EVENTS),
    )
    .order_by(JOURNAL.c.seq)
)
