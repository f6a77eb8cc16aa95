"""Where each line of a log stands, and what it is about: all that is kept of it while it is read.

A line itself is read again when an answer needs it: a log may be larger than the memory.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from controller.record.lines import HEARTBEAT, Line
from states.status import rfc3339

STAMP = len("2026-03-01T12:00:00.000000Z")
_GONE = -(1 << 62)


class Subject(NamedTuple):
    """What a line is about; a field that does not apply is None."""

    application: str | None = None
    release: str | None = None
    attempt: int | None = None
    told: bool = False
    """It carries the release's whole status."""


class Table:
    """Journal lines, or heartbeats, numbered in the order in which they were found."""

    def __init__(self) -> None:
        self.seqs = array("q")
        """Of a heartbeat the row that it speaks of the moment after."""
        self.stamps = array("q")
        self.places = array("q")
        self.about: dict[Subject, array[int]] = {}
        """The numbers of the lines about each subject."""

    def numbers(self, about: Subject) -> "array[int]":
        """The numbers of the lines about a subject, to be added to."""
        return self.about.setdefault(about, array("q"))

    def add(self, numbers: "array[int]", seq: int, stamp: int, place: int) -> None:
        """Take in a line about the subject of these numbers."""
        numbers.append(len(self.seqs))
        self.seqs.append(seq)
        self.stamps.append(stamp)
        self.places.append(place)

    def last(self, until: int | None) -> int | None:
        """The number of the line with the highest seq, of those written until then."""
        if until is None:
            number = self.seqs.index(max(self.seqs)) if self.seqs else None
        else:
            some = (one for one, stamp in enumerate(self.stamps) if stamp <= until)
            number = max(some, key=self.seqs.__getitem__, default=None)
        return None if number is None or self.seqs[number] == _GONE else number

    def drop(self, number: int) -> None:
        """A line that turned out to be damaged is as if it were not there."""
        self.seqs[number] = _GONE


class Index(ABC):
    """The journal lines and heartbeats of a log."""

    def __init__(self) -> None:
        self.rows, self.beats = Table(), Table()

    @abstractmethod
    def fetch(self, place: int) -> Line | None:
        """The line at a place; None where it turns out to be damaged."""

    def same(self, one: int, other: int) -> bool:
        """The lines at two places are the same, and not damaged."""
        line = self.fetch(one)
        return line is not None and line == self.fetch(other)

    def add(self, line: Line, place: int) -> None:
        """Take in a line that was parsed; one without a time counts as written long ago."""
        beat = line["event"] == HEARTBEAT
        table, seq = (self.beats, line["as_of_seq"]) if beat else (self.rows, line["seq"])
        try:
            stamp = stamp_of(line["timestamp"])
        except (KeyError, TypeError, ValueError):
            stamp = 0
        table.add(table.numbers(subject_of(line)), seq, stamp, place)

    def row(self, number: int) -> Line | None:
        """A journal line; None where it turns out to be damaged."""
        line = self.fetch(self.rows.places[number])
        return line if line is not None and line.get("seq") == self.rows.seqs[number] else None

    def beat(self, number: int) -> Line | None:
        """A heartbeat; None where it turns out to be damaged."""
        line = self.fetch(self.beats.places[number])
        known = line is not None and line.get("as_of_seq") == self.beats.seqs[number]
        return line if known else None


class Held(Index):
    """An index of lines that are at hand."""

    def __init__(self, lines: Iterable[Line]) -> None:
        super().__init__()
        self._lines: list[Line] = []
        for line in lines:
            self.add(line, len(self._lines))
            self._lines.append(line)

    def fetch(self, place: int) -> Line | None:
        """The line at a place."""
        return self._lines[place]


def subject_of(line: Line) -> Subject:
    """What a parsed line is about."""
    release = line.get("release")
    told = release is not None and "state" in line
    return Subject(line.get("application"), release, line.get("attempt"), told)


def stamp_of(text: str) -> int:
    """A time as a number that sorts as it does: ValueError for what is none in RFC 3339."""
    if len(text) != STAMP or not text.endswith("Z"):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("a time without its offset from UTC may be any")
        text = rfc3339(moment.astimezone(UTC))
    return int("".join(part for part in text[2:] if part.isdigit()))
