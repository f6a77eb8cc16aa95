"""The log as it is printed: each row at least once, as the journal has it, by whoever may."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.record.leases import PRINTER
from controller.record.lines import Line
from tests.simulation.platform import Clock
from tests.simulation.sending import RECENTLY_S

Tenure = tuple[str, int]
"""Whose right to print it is, and the how manieth: of a row, each prints one line."""


@dataclass
class Printing:
    """One replica goes through what is not printed yet."""

    tenure: Tenure
    held: bool
    """The lease of the log was its own as it began."""


@dataclass
class Log:
    """All lines of one run."""

    reader: sqlite3.Connection
    situations: Counter[str]
    by_lease: bool
    """One of the replicas prints; else each prints everything, once for each life of it."""
    clock: Clock
    lines: dict[int, Line] = field(default_factory=dict)
    """By number of the row, as it was printed first."""
    printed: set[tuple[Tenure, int]] = field(default_factory=set)
    """In which tenure, and of which row."""
    printing: dict[str, Printing] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def begins(self, actor: str, *, ours: bool) -> bool:
        """A replica asks whether the log is its own to print, and is told so."""
        if ours:
            held = self._holder.startswith(actor) or not self.by_lease
            tenure, number = self._tenure(actor)
            # Whoever only believes to hold the lease does not print in the holder's stead.
            self.printing[actor] = Printing((tenure if held else actor, number), held)
        return ours

    def line(self, actor: str, line: Mapping[str, Any]) -> None:
        """A line is printed: of what is committed, as JSON, and by the holder (S12, S25)."""
        seq, last = line["seq"], self.last_row
        json.dumps(line, allow_nan=False)
        assert seq <= last, f"line {seq} is printed, and {last} is committed"
        assert actor in self.printing, f"{actor} prints line {seq}, and has not asked who prints"
        self._by_the_holder(actor, seq)
        self._once(actor, seq)
        first = self.lines.setdefault(seq, dict(line))
        assert first == line, f"line {seq} was {first}, and is {line}"

    def _by_the_holder(self, actor: str, seq: int) -> None:
        """Where there are leases, whoever prints has that of the log, or had it as it began.

        When the record's clock was set, leases end for others before their holders can know.
        """
        if not self.by_lease or self._holder.startswith(actor):
            return
        held, now = self.printing[actor].held, self.clock.stage.now
        clock_set = any(at > now - RECENTLY_S for at in self.clock.jumps)
        self.situations["line printed after its lease was lost meanwhile"] += held
        self.situations["line printed after a set clock ended its lease"] += clock_set and not held
        told = f"{actor} prints line {seq}, and {self._holder or 'nobody'} has the log"
        assert held or clock_set, told

    def _once(self, actor: str, seq: int) -> None:
        """No line is printed again but after a death, or by one who has taken over."""
        again, mark = seq in self.lines, (self.printing[actor].tenure, seq)
        self.situations["line printed twice"] += again
        assert mark not in self.printed, f"line {seq} is printed twice, and nobody has taken over"
        self.printed.add(mark)

    def _tenure(self, actor: str) -> Tenure:
        """With leases their epoch, which each holder raises; without, the lives of a replica."""
        if not self.by_lease:
            return actor, self.deaths[actor]
        query = "SELECT epoch FROM leases WHERE application = ?"
        found = self.reader.execute(query, (PRINTER,)).fetchone()
        return PRINTER, found[0] if found is not None else 0

    @property
    def _holder(self) -> str:
        query = "SELECT replica FROM leases WHERE application = ?"
        found = self.reader.execute(query, (PRINTER,)).fetchone()
        return (found and found[0]) or ""

    def died(self, actor: str) -> None:
        """A replica is dead."""
        self.deaths[actor] += 1
        self.printing.pop(actor, None)

    @property
    def last_row(self) -> int:
        """The number of the journal's last row."""
        [(last,)] = self.reader.execute("SELECT value FROM counters WHERE name = 'seq'")
        return int(last)

    def complete(self, last: int) -> None:
        """Every row of the journal up to that one was printed at least once (S12)."""
        lost = sorted(set(range(1, last + 1)) - set(self.lines))
        assert not lost, f"lines {lost[:5]} of {last} were never printed"

    def as_the_journal(self, rows: Iterable[Line]) -> list[Line]:
        """The log is what the journal has, line by line; it is returned, with what is to come."""
        found: list[Line] = []
        for row in rows:
            line = self.lines.get(row["seq"], row)
            assert line == row, f"the log has {line}, and the journal {row}"
            found.append(line)
        return found
