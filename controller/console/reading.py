"""What `status`, `history` and `explain` answer, from lines alone: the same for store and log.

Lines are folded by `seq`, so doubled or shuffled ones change nothing. A window of a log answers
what it can prove: a release's own line carries its whole status, and a heartbeat carries all that
is shown of its application. For anything else it says that it begins too late.
"""

import itertools
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from controller.console.index import Held, Index, Subject, Table, stamp_of
from controller.places import meant
from controller.record.lines import FACTS, HEARTBEAT, STATUS, Line
from states.machine import State
from states.status import Status, last_seen, rfc3339

ROLLED_BACK, PERSON, FINE = 1, 3, 0
"""Exit codes of reading commands, the worst first."""

Key = tuple[str, int]
"""Version and attempt."""


class ReadingError(Exception):
    """A question that these lines cannot answer; the message is a sentence for operators."""


class LogTooLate(ReadingError):  # noqa: N818 - it names a condition
    """The log begins after what was asked about."""


class LogMixed(ReadingError):  # noqa: N818
    """The lines come from more than one store."""


class UnknownSelection(ReadingError):  # noqa: N818
    """There is no such application or release."""


class UnreadableLog(ReadingError):  # noqa: N818
    """A log file cannot be read."""


@dataclass
class _Application:
    """What is known of an application at the end of the lines."""

    facts: Line = field(default_factory=dict)
    releases: dict[Key, Status] = field(default_factory=dict)
    """Each release as last told, without what it had from the application as a whole."""
    looks: dict[Key, tuple[int, list[Line]]] = field(default_factory=dict)
    """What a heartbeat told of a release's guards, and the stretch of evidence it told of."""

    def newest(self, version: str | None) -> Key | None:
        """The latest attempt at a version that the lines tell of."""
        return max((key for key in self.releases if key[0] == version), default=None)

    @property
    def live(self) -> Key | None:
        """The live release: of its version, the latest attempt that has begun."""
        begun = [
            key
            for key, status in self.releases.items()
            if key[0] == self.facts.get("live")
            and status["state"] not in (State.REGISTERED, State.RETIRED)
        ]
        return max(begun, default=None)

    @property
    def shown(self) -> set[Key]:
        """Stable, live, serving without proof, or held before it began until a person acts."""
        found = (self.newest(self.facts.get("stable")), self.newest(self.facts.get("unproven")))
        asking = {
            key
            for key, status in self.releases.items()
            if status["state"] == State.REGISTERED and status["needs_person"]
        }
        return {key for key in (self.live, *found) if key is not None} | asking

    @property
    def missing(self) -> bool:
        """A release is shown that the lines do not tell of."""
        named = (self.facts.get(name) for name in ("stable", "live", "unproven"))
        return any(version is not None and self.newest(version) is None for version in named)

    def learn(self, line: Line) -> None:
        """Take in a journal line or a heartbeat."""
        self.facts = {name: line[name] for name in FACTS if name in line}
        if line["event"] == HEARTBEAT:
            for told in line["releases"]:
                self._learn_release(told)
        elif "state" in line and "release" in line:
            reason = line.get("state_because", line.get("because", ""))
            self._learn_release({**line, "because": reason})

    def _learn_release(self, told: Line) -> None:
        for name, kinds in _KINDS.items():
            # What is new is absent in lines of an earlier Headgate, and may be null.
            found = told.get(name) if NONE in kinds else told[name]
            if type(found) not in kinds:
                raise TypeError(f"{name!r} is {type(found).__name__}")
        own = {name: told.get(name) for name in STATUS}
        if own["hold"] is not None and own["hold"] == self.facts.get("application_hold"):
            own |= {"hold": None, "needs_person": False}
        State(told["state"])
        datetime.fromisoformat(told["since"])
        if own["earliest"] is not None:
            datetime.fromisoformat(own["earliest"])
        key = str(int(told["version"])), int(told["attempt"])
        self.releases[key] = cast("Status", own)
        if "guards" in told and "evidence_span" in told and "event" not in told:
            self.looks[key] = told["evidence_span"], told["guards"]

    def status(self, key: Key) -> Status:
        """A release's status at the end of the lines, whichever line changed it.

        Stable has no line of its own when the live release climbs: it has the rest of the traffic.
        """
        told = self.releases[key]
        told = {**told, "stable": self.facts.get("stable"), "weight": self._weight(key)}
        live = self.releases[self.live] if self.live else None
        rest = live["weight_seen"] if live and self.live != key else None
        seen = self.facts.get("weights_seen")
        if isinstance(seen, dict):
            if key == self.newest(told["version"]):
                told["weight_seen"] = last_seen(seen, told["version"], told["weight_seen"])
        elif rest is not None and key == self.newest(told["stable"]):
            told["weight_seen"] = 100 - rest
        hold = self.facts.get("application_hold")
        # A change by others waits for an answer, whatever else the release that tells it waits for.
        first = self.facts.get("changed_by_others") and key == (self.live or self._incumbent)
        if hold is not None and (first or (told["hold"] is None and key in self.shown)):
            told |= {"hold": hold, "needs_person": True, "next": None}
        return told

    @property
    def _incumbent(self) -> Key | None:
        """What serves beside the live release, proven or not."""
        return self.newest(self.facts.get("stable") or self.facts.get("unproven"))

    def _weight(self, key: Key) -> int:
        told, live = self.releases[key], self.live
        if key == self._incumbent and live != key:
            return 100 - (self.releases[live]["weight"] if live else 0)
        return 0 if told["state"] == State.ROLLED_BACK else told["weight"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a release is where it is."""

    status: Status
    verdicts: tuple[Line, ...]
    """Of each guard the last verdict, which decided or is still short of deciding."""
    tests: tuple[Line, ...]
    replay: tuple[Line, ...]
    holds: tuple[Line, ...]
    post_mortem: tuple[Line, ...]
    """What was told after its rollback, and some of its bad requests; nothing before."""
    history: tuple[Line, ...]

    @property
    def changed(self) -> bool:
        """What others changed waits for an answer, by the release's last line."""
        return bool(self.history and self.history[-1].get("changed_by_others"))


class Book:
    """All that a log tells: the state at its end, and the way to it.

    At its end, or at a moment: what had been told until then.
    """

    def __init__(self, index: Index, at: datetime | None = None) -> None:
        self._index, self._at = index, at
        self._until = None if at is None else stamp_of(rfc3339(at))
        self._last = max(self._end(index.rows, index.row), self._end(index.beats, index.beat))
        self._numbers = self._in_order()
        self.begins = self._last + 1 - self._numbers.index(0)
        """The first line of the unbroken run that leads to the last one."""
        first = min((seq for seq in index.rows.seqs if seq > 0), default=self.begins)
        self.gap = first < self.begins <= self._last
        """Lines of before are there, but not the one that leads on from them."""
        if not self._last:
            self.begins = first
        self._known: dict[str, _Application] = {}

    def _end(self, table: Table, get: Callable[[int], Line | None]) -> int:
        """The highest seq of a table's lines, of those written until then; 0 without any."""
        while (number := table.last(self._until)) is not None:
            if get(number) is not None:
                return table.seqs[number]
            table.drop(number)
        return 0

    def _in_order(self) -> "array[int]":
        """The lines' numbers, from 1, counted back from the last one; 0 where one is missing."""
        seqs = self._index.rows.seqs
        found = array("q", bytes(8 * (len(seqs) + 1)))
        for number, seq in enumerate(seqs):
            back = self._last - seq
            if 0 <= back < len(found) and seq > 0:
                known = found[back]
                found[back] = 1 + (self._one_of(known - 1, number) if known else number)
        return found

    def _one_of(self, one: int, other: int) -> int:
        """Which of two lines with the same seq to read: they are the same, or one is damaged."""
        index, places = self._index, self._index.rows.places
        if index.same(places[one], places[other]) or index.row(other) is None:
            return one
        if index.row(one) is None:
            return other
        raise LogMixed(
            f"two different lines have seq {index.rows.seqs[one]}: the log of one store at a time, "
            "or of the time since its restore, can be read"
        )

    def row(self, seq: int) -> Line:
        """The line with this seq, one of those from the first to the last."""
        line = self._index.row(self._numbers[self._last - seq] - 1)
        if line is None:
            raise _damaged(f"seq {seq}", "it cannot be decoded")
        return line

    def _rows(
        self, wanted: Callable[[Subject], bool], application: str | None = None
    ) -> Iterator[Line]:
        """The lines about what is wanted, of one application or of all, in order."""
        rows = self._index.rows
        about = self._subjects[application] if application else rows.about.items()
        found = {
            seq
            for subject, numbers in about
            if wanted(subject)
            for seq in map(rows.seqs.__getitem__, numbers)
            if self.begins <= seq <= self._last
        }
        return map(self.row, sorted(found))

    @cached_property
    def _subjects(self) -> Mapping[str | None, list[tuple[Subject, "array[int]"]]]:
        """What the lines about each application are about, and their numbers."""
        found = defaultdict(list)
        for subject, numbers in self._index.rows.about.items():
            found[subject.application].append((subject, numbers))
        return found

    @cached_property
    def _names(self) -> list[str]:
        """The applications that the lines tell of."""
        rows, beats = self._index.rows, self._index.beats
        told = {
            subject.application
            for subject, numbers in rows.about.items()
            if any(self.begins <= rows.seqs[one] <= self._last for one in reversed(numbers))
        }
        beating = {one.application for one in beats.about} - told - {None}
        told |= {name for name in beating if name and next(self._beats(name), None)}
        return sorted(name for name in told if name is not None)

    def _beats(self, name: str) -> Iterator[Line]:
        """The heartbeats of an application that can be used, the latest first.

        One tells of the moment after its row: what changed between it and the first row is unknown.
        """
        beats = self._index.beats
        usable = [
            number
            for number in beats.about.get(Subject(name), ())
            if beats.seqs[number] >= self.begins - 1
            and (self._until is None or beats.stamps[number] <= self._until)
        ]
        usable.sort(key=lambda one: (beats.seqs[one], beats.stamps[one]), reverse=True)
        for number in usable:
            line = self._index.beat(number)
            if line is not None and _sound(line):
                yield line

    def _application(self, name: str) -> "_Application":
        """What is known of an application.

        Each release's last line tells all of it, and so does the last heartbeat. Only what neither
        names is looked for in earlier heartbeats: no line has changed it since.
        """
        if name not in self._known:
            known = self._learnt(name, itertools.islice(self._beats(name), 1))
            self._known[name] = self._learnt(name, self._beats(name)) if known.missing else known
        return self._known[name]

    def _learnt(self, name: str, beats: Iterable[Line]) -> "_Application":
        rows = self._index.rows
        last: dict[int, bool] = {}
        for subject, numbers in self._subjects[name]:
            seqs = map(rows.seqs.__getitem__, numbers)
            seq = max((one for one in seqs if self.begins <= one <= self._last), default=0)
            last[seq] = subject.told
        newest = max(last, default=0)
        needed = [seq for seq, told in last.items() if seq and (told or seq == newest)]
        known = _Application()
        lines = [*map(self.row, needed), *reversed(list(beats))]
        # A heartbeat tells of the moment after its row: the order of equals in a sort is kept.
        for line in sorted(lines, key=_position):
            known.learn(checked(line))
        return known

    @property
    def whole(self) -> bool:
        """Nothing is missing before the first line."""
        return self.begins <= 1

    def statuses(self, selection: str | None = None, *, all_: bool = False) -> list[Status]:
        """The stable and the live release of each application, or what was selected.

        `all_`: every attempt at every version. Sorted by application, version and attempt.
        """
        application, version = _parsed(selection)
        if all_ and not self.whole:
            raise self._too_late("every release")
        found: list[Status] = []
        for name in self._chosen(application):
            newest = None if version is None else self._release(name, version)
            known = self._application(name)
            keys = set(known.releases) if all_ else known.shown
            if newest is not None:
                keys = {key for key in known.releases if key[0] == newest[0]} if all_ else {newest}
            elif known.missing:
                raise self._too_late(name)
            found += [known.status(key) for key in sorted(keys, key=_order)]
        return found

    def waiting(self, selection: str | None = None) -> dict[str, str]:
        """Applications that wait for a person and have no release to show it by, and why."""
        application, _ = _parsed(selection)
        chosen = {name: self._application(name) for name in self._chosen(application)}
        return {
            name: str(known.facts["application_hold"])
            for name, known in chosen.items()
            if "application_hold" in known.facts and not known.shown
        }

    def history(self, selection: str | None = None) -> list[Line]:
        """Everything that happened to what was selected, in order."""
        return list(self.told(selection))

    def told(self, selection: str | None = None) -> Iterator[Line]:
        """The history line by line: a log's whole history may be larger than the memory."""
        application, version = _parsed(selection)
        if application is None:
            known, rows = self.whole, self._rows(lambda _: True)
        elif version is None:
            self._chosen(application)
            known, rows = self.whole, self._rows(lambda _: True, application)
        else:
            self._release(application, version)
            key = f"{application}/{version}"
            told = list(self._rows(lambda one: one.release == key, application))
            known, rows = self.whole or _from_the_start(told), iter(told)
        if not known:
            raise self._too_late(selection or "everything")
        return rows

    def explain(self, selection: str) -> Explanation:
        """Why a release is where it is; of an application: its live release, or stable."""
        application, version = _parsed(selection)
        assert application is not None, "an explanation is of something"
        if version is None:
            (status, *_) = self._foremost(application)
        else:
            self._release(application, version)
            (status,) = self.statuses(selection)
        rows = self.history(status["release"])
        own = [line for line in rows if line.get("attempt") == status["attempt"]]
        after = ("release.post_mortem", "release.examples")
        held = ("release.held", "release.freed", "endpoint.foreign_change", "evidence.blind")
        return Explanation(
            status=status,
            verdicts=_last_verdicts(own),
            tests=tuple(line for line in own if line["event"] == "tests.finished"),
            replay=tuple(line for line in own if line["event"] == "replay.finished"),
            holds=tuple(line for line in own if line["event"] in held),
            post_mortem=tuple(line for line in own if line["event"] in after),
            history=tuple(rows),
        )

    def attempt(self, selection: str) -> tuple[str, list[Line]]:
        """The release that `explain` would explain, and all lines of its attempt."""
        told = self.explain(selection)
        own = [line for line in told.history if line.get("attempt") == told.status["attempt"]]
        return told.status["release"], own

    def verdicts(self, status: Status) -> tuple[Line, ...]:
        """Of each guard of a release the last verdict that the lines tell of."""
        return _last_verdicts(self.lines_of(status))

    def queued(self, application: str) -> list[Status]:
        """The releases that wait to begin, and are not among the statuses for that."""
        if application not in self._names:
            return []
        known = self._application(application)
        waiting = {
            key for key, one in known.releases.items() if one["state"] == State.REGISTERED
        } - known.shown
        newest = {key for key in waiting if known.newest(key[0]) == key}
        return [known.status(key) for key in sorted(newest, key=_order)]

    def looks_told(self, status: Status) -> list[Line]:
        """What a heartbeat told of a release's guards; nothing, where proof began anew since."""
        known = self._application(status["application"])
        span, looks = known.looks.get((status["version"], status["attempt"]), (0, []))
        return looks if span == status["evidence_span"] else []

    def lines_of(self, status: Status) -> list[Line]:
        """The lines of one attempt, as far as they are there."""
        key = status["release"], status["attempt"]
        return list(
            self._rows(lambda one: (one.release, one.attempt) == key, status["application"])
        )

    def facts(self, application: str) -> Line:
        """What is true of an application as a whole at the end of the lines (`lines.FACTS`)."""
        return self._application(application).facts

    @property
    def told_at(self) -> str | None:
        """When the newest line was written; None, if it does not say."""
        index = self._index
        tables = ((index.rows, index.row), (index.beats, index.beat))
        newest = [
            get(number) for table, get in tables if (number := table.last(self._until)) is not None
        ]
        times = [line["timestamp"] for line in newest if line is not None and "timestamp" in line]
        return max(times, default=None)

    def _foremost(self, application: str) -> list[Status]:
        shown = self.statuses(application)
        if not shown:
            raise UnknownSelection(f"{application} has no release that is stable or under way")
        live = self._application(application).live
        return sorted(shown, key=lambda one: (one["version"], one["attempt"]) != live)

    def _chosen(self, application: str | None) -> list[str]:
        names = self._names
        if application in names:
            return [application]
        if application is None and (names or self.whole):
            return names
        if not self.whole:
            raise self._too_late(application or "any application")
        told = meant(str(application), names, "there is") if names else "; there is none yet"
        raise UnknownSelection(f"there is no application {application}{told}")

    def _release(self, application: str, version: str) -> Key:
        self._chosen(application)
        known = self._application(application)
        newest = known.newest(version)
        if newest is None and not self.whole:
            known = self._known[application] = self._learnt(application, self._beats(application))
            newest = known.newest(version)
        if newest is not None:
            return newest
        if not self.whole:
            raise self._too_late(f"{application}/{version}")
        versions = sorted({key[0] for key in known.releases}, key=int)
        there = ", ".join(f"{application}/{one}" for one in versions)
        raise UnknownSelection(
            f"there is no release {application}/{version}; "
            + (f"there is {there}" if there else f"{application} has none yet")
        )

    def _too_late(self, asked: str) -> LogTooLate:
        remedy = (
            f"{self._state_from(asked.partition('/')[0])}give the earlier files as well, or read "
            "the store with --store"
        )
        if self.begins > self._last:
            then = f" until {rfc3339(self._at)}" if self._at else ""
            return LogTooLate(f"these lines tell nothing of {asked}{then}: {remedy}")
        time = self.row(self.begins).get("timestamp", "an unknown time")
        if self.gap:
            return LogTooLate(
                f"the log has a gap, and tells nothing sure of {asked}: seq {self.begins - 1} is "
                f"missing or damaged, which comes before {time}; {remedy}"
            )
        return LogTooLate(
            f"the log begins too late for {asked}: its first line is seq {self.begins}, at "
            f"{time}; {remedy}"
        )

    def _state_from(self, name: str) -> str:
        """From when on the state of an application is told, by its first usable heartbeat."""
        beats = self._index.beats
        some = (
            (beats.stamps[number], number)
            for number in beats.about.get(Subject(name), ())
            if beats.seqs[number] >= self.begins - 1
        )
        first = next(filter(None, (self._index.beat(number) for _, number in sorted(some))), None)
        if first is not None:
            return f"it tells the state of {name} from {first.get('timestamp')} on; "
        told = f"it tells the state of {name} from the next {HEARTBEAT} line of it on; "
        return told if name in self._names else ""


def fold(lines: Iterable[Line] | Index, at: datetime | None = None) -> Book:
    """Fold lines by `seq`; the order in which they come, and how often, makes no difference.

    `at`: as if that were the end of the log.
    """
    return Book(lines if isinstance(lines, Index) else Held(map(checked, lines)), at)


def checked(line: Line) -> Line:
    """The same line; `UnreadableLog`, where what it tells of a release is damaged."""
    try:
        for name, kind in (("application", str), ("release", str), ("attempt", int)):
            if name in line and type(line[name]) is not kind:
                raise TypeError(f"{name!r} is {type(line[name]).__name__}")  # noqa: TRY301
        if "application" in line:
            _Application().learn(line)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(f"seq {_position(line)[0]} ({line['event']})", _lacking(error)) from error
    return line


def _sound(line: Line) -> bool:
    try:
        checked(line)
    except UnreadableLog:
        return False
    return True


def _damaged(where: str, why: str) -> UnreadableLog:
    return UnreadableLog(
        f"{where} is damaged: {why}; read the store with --store, or an undamaged copy"
    )


def _last_verdicts(rows: Iterable[Line]) -> tuple[Line, ...]:
    """The last verdict of each guard, in the order in which the guards first spoke."""
    last: dict[str, Line] = {}
    for line in rows:
        if line["event"] == "gate.verdict":
            # Harm that is only observed ends nothing: the guard goes on to speak of safety.
            harm = line.get("observe") and line.get("verdict") == "FAIL"
            last[f"{line.get('guard')}{', observed' if harm else ''}"] = line
    return tuple(last.values())


def own(line: Line, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """An event's own field: where the status has one of that name, the event's noun is in front."""
    noun = str(line["event"]).rsplit(".", 1)[-1]
    return line.get(f"{noun}_{name}", line.get(name))


def exit_code(statuses: Iterable[Status], waiting: Iterable[str] = ()) -> int:
    """The worst of: rolled back, a person must act, nothing wrong."""
    told = list(statuses)
    if any(one["state"] == State.ROLLED_BACK for one in told):
        return ROLLED_BACK
    if any(one["needs_person"] for one in told) or any(waiting):
        return PERSON
    return FINE


def _parsed(selection: str | None) -> tuple[str | None, str | None]:
    if selection is None:
        return None, None
    application, slash, version = selection.partition("/")
    if not application or (slash and not (version.isascii() and version.isdigit())):
        raise UnknownSelection(
            f"{selection!r} selects nothing: write APP or APP/VERSION, like rag-chatbot/7"
        )
    return application, version or None


def _position(line: Line) -> tuple[int, bool]:
    beat = line["event"] == HEARTBEAT
    return int(line["as_of_seq"] if beat else line["seq"]), beat


def _kinds(annotation: Any) -> frozenset[type]:  # noqa: ANN401 - an annotation of any form
    """The types of JSON's values that a field may have."""
    parts = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return frozenset(get_origin(one) or one for one in parts)


NONE = type(None)
_KINDS = {name: _kinds(kind) for name, kind in get_type_hints(Status).items()}


def _lacking(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _order(key: Key) -> tuple[int, int]:
    return int(key[0]), key[1]


def _from_the_start(rows: Sequence[Line]) -> bool:
    first = rows[0] if rows else {}
    return first.get("event") == "release.registered" and first.get("attempt") == 1
