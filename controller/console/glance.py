"""One application at a glance: its releases, what their guards say by now, and what can be done."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller.console.reading import Book
from controller.console.recompute import NotJudgeable, bench_of, counted
from controller.record.lines import Line
from states.last_look import Look, last_looks
from states.machine import State
from states.options import of_application, options
from states.status import Status

Mark = tuple[str, int]
"""A release's key and attempt."""
UNJUDGED = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What judging may trip over, where the lines are of another Headgate, or a pass is in trouble."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What one screen tells of an application."""

    name: str
    releases: tuple[Status, ...]
    """The newest version first."""
    queued: tuple[Status, ...] = ()
    """What waits to begin, beside them; the newest version first."""
    facts: Line = field(default_factory=dict)
    """What is true of the application as a whole (`lines.FACTS`)."""
    waiting: str | None = None
    """Why it waits for a person, where no release is there to show it by."""
    guards: Mapping[Mark, Sequence[Look]] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """What others changed waits for an answer."""
        return bool(self.facts.get("changed_by_others"))

    @property
    def idle(self) -> bool:
        """One version serves, nothing is under way, and nobody is asked for anything."""
        quiet = ("live", "application_hold", "applying", "unproven")
        settled = [one["state"] == State.PRODUCTION and one["settled"] for one in self.releases]
        told = any(self.facts.get(name) for name in quiet) or self.queued
        return settled == [True] and not told

    def looks(self, one: Status) -> Sequence[Look]:
        """What the guards of a release said last."""
        return self.guards.get((one["release"], one["attempt"]), ())

    def commands(self, one: Status, store: str | None = None) -> list[str]:
        """What can be done with a release, as lines to be pasted into a shell."""
        where = f" --store {shlex.quote(store)}" if store else ""
        verbs = options(one, self.facts, self.looks(one))
        return [f"headgate {_said(verb, one)}{where}" for verb in verbs]

    def as_json(self) -> list[dict[str, Any]]:
        """The status objects, each with its guards, what is applied, and the verbs that it takes.

        Oldest version first, as `--json` prints them.
        """
        return [
            {
                **one,
                "guards": list(self.looks(one)),
                "applying": self.facts.get("applying") if self._serves(one) else None,
                "can": options(one, self.facts, self.looks(one)),
            }
            for one in reversed(self.releases)
        ]

    def _serves(self, one: Status) -> bool:
        return one["version"] in (self.facts.get("stable"), self.facts.get("unproven"))


def glances(book: Book, selection: str | None = None, *, all_: bool = False) -> list[Glance]:
    """Each application that was selected, sorted by name; `ReadingError` as of `Book.statuses`."""
    told, waiting = book.statuses(selection, all_=all_), book.waiting(selection)
    found = arranged(told, waiting, book)
    if all_ or "/" in (selection or ""):
        return found
    return [replace(one, queued=tuple(reversed(book.queued(one.name)))) for one in found]


def arranged(
    statuses: Iterable[Status], waiting: Mapping[str, str], book: Book | None = None
) -> list[Glance]:
    """The same of status objects that were read already."""
    by_name: dict[str, list[Status]] = {name: [] for name in waiting}
    for one in statuses:
        by_name.setdefault(one["application"], []).append(one)
    return [
        Glance(
            name=name,
            releases=tuple(reversed(own)),
            facts=book.facts(name) if book is not None else {},
            waiting=waiting.get(name),
            guards={
                (one["release"], one["attempt"]): guards_of(book, one)
                for one in own
                if book is not None and one["state"] in (State.CANARY, State.PRODUCTION)
            },
        )
        for name, own in sorted(by_name.items())
    ]


def guards_of(book: Book, one: Status) -> list[Look]:
    """What each guard of a release on trial says by now.

    From its blocks, where the lines tell of all of them; else as the last heartbeat told; else what
    each guard said when that last changed.
    """
    if one["version"] != book.facts(one["application"]).get("live"):
        return []
    rows = book.lines_of(one)
    judged = [line for line in rows if line["event"] == "release.judged"]
    if judged and one["evidence_span"] is not None:
        blocks = [counted(line) for line in rows if line["event"] == "evidence.block"]
        whole = [block for block in blocks if block is not None]
        if [block.number for block in whole] == list(range(1, len(blocks) + 1)):
            try:
                return last_looks(bench_of(one["release"], judged[-1]), whole, one)
            except (NotJudgeable, *UNJUDGED):
                return _said_last(book, one)
    return book.looks_told(one) or _said_last(book, one)


def _said_last(book: Book, one: Status) -> list[Look]:
    """What each guard said when that last changed."""
    names = ("guard", "verdict", "because")
    return [
        {name: line.get(name) for name in names} | {"observe": bool(line.get("observe"))}
        for line in book.verdicts(one)
    ]


def _said(verb: str, one: Status) -> str:
    word, *given = verb.split(" ")
    to = one["application"] if of_application(word) else one["release"]
    return " ".join((word, shlex.quote(to), *given))
