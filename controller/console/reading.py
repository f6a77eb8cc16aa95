"""What `status`, `history` and `explain` answer, from lines alone: the same for store and log.

Lines are folded by `seq`, so doubled or shuffled ones change nothing. A window of a log answers
what it can prove: a release's own line carries its whole status, and a heartbeat carries all that
is shown of its application. For anything else it says that it begins too late.
"""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from controller.places import meant
from controller.record.lines import HEARTBEAT, STATUS, Line
from states.machine import State
from states.status import Status

ROLLED_BACK, PERSON, FINE = 1, 3, 0
"""Exit codes of reading commands, the worst first."""

LOGGED = ("timestamp", "level", "event")
"""What every line of the daemon's log has."""

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


class Lines:
    """The journal lines and heartbeats in some files, read as they are asked for.

    Whatever else stands in the files is skipped: `skipped` counts what another program wrote, and
    `damaged` names what was cut short, or is no JSON although it begins like it.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self.skipped = 0
        self.damaged: list[str] = []

    def __iter__(self) -> Iterator[Line]:
        self.skipped, self.damaged = 0, []
        for path in self._paths:
            try:
                with _opened(path) as file:
                    yield from self._parsed(path, file)
            except (OSError, EOFError, gzip.BadGzipFile) as error:
                reason = getattr(error, "strerror", None) or "it is damaged"
                raise UnreadableLog(f"{path} cannot be read: {reason}") from error

    def _parsed(self, path: str, file: IO[bytes]) -> Iterator[Line]:
        for number, raw in enumerate(file, start=1):
            try:
                line = json.loads(raw)
            except ValueError:
                if raw.lstrip().startswith(b"{"):
                    self.damaged.append(f"{path}:{number}")
                elif raw.strip():
                    self.skipped += 1
                continue
            if _numbered(line):
                yield line
            elif not _told(line):
                self.skipped += 1


def read_lines(paths: Sequence[str] | str) -> Lines:
    """Our lines in JSON-lines files, plain or .gz; `-` is standard input."""
    return Lines([paths] if isinstance(paths, str) else list(paths))


def _opened(path: str) -> AbstractContextManager[IO[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    if path.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return Path(path).open("rb")


def _told(line: object) -> bool:
    """It has the form of the daemon's lines; those that tell of no change have no number."""
    return isinstance(line, dict) and all(isinstance(line.get(name), str) for name in LOGGED)


def _numbered(line: Any) -> bool:  # noqa: ANN401 - any JSON value
    """It is a line of the journal, or a heartbeat."""
    if not isinstance(line, dict) or not isinstance(line.get("event"), str):
        return False
    number = line.get("as_of_seq" if line["event"] == HEARTBEAT else "seq")
    return isinstance(number, int) and not isinstance(number, bool)


@dataclass
class _Application:
    """What is known of an application at the end of the lines."""

    facts: Line = field(default_factory=dict)
    releases: dict[Key, Status] = field(default_factory=dict)
    """Each release as last told, without what it had from the application as a whole."""

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
        wanted = ("stable", "live", "unproven", "application_hold")
        self.facts = {name: line[name] for name in wanted if name in line}
        if line["event"] == HEARTBEAT:
            for told in line["releases"]:
                self._learn_release(told)
        elif "state" in line and "release" in line:
            reason = line.get("state_because", line.get("because", ""))
            self._learn_release({**line, "because": reason})

    def _learn_release(self, told: Line) -> None:
        own = {name: told.get(name) for name in STATUS}
        if own["hold"] is not None and own["hold"] == self.facts.get("application_hold"):
            own |= {"hold": None, "needs_person": False}
        State(told["state"])
        datetime.fromisoformat(told["since"])
        self.releases[str(int(told["version"])), int(told["attempt"])] = cast("Status", own)

    def status(self, key: Key) -> Status:
        """A release's status at the end of the lines, whichever line changed it.

        Stable has no line of its own when the live release climbs: it has the rest of the traffic.
        """
        told = self.releases[key]
        told = {**told, "stable": self.facts.get("stable"), "weight": self._weight(key)}
        live = self.releases[self.live] if self.live else None
        rest = live["weight_seen"] if live and self.live != key else None
        if rest is not None and key == self.newest(told["stable"]):
            told["weight_seen"] = 100 - rest
        hold = self.facts.get("application_hold")
        if hold is not None and told["hold"] is None and key in self.shown:
            told |= {"hold": hold, "needs_person": True, "next": None}
        return told

    def _weight(self, key: Key) -> int:
        told, live = self.releases[key], self.live
        incumbent = self.facts.get("stable") or self.facts.get("unproven")
        if key == self.newest(incumbent) and live != key:
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


class Book:
    """All that a set of lines tells: the state at their end, and the way to it."""

    def __init__(self, rows: dict[int, Line], heartbeats: Iterable[Line]) -> None:
        beats = sorted(heartbeats, key=lambda line: int(line["as_of_seq"]))
        last = max([*rows, *(int(line["as_of_seq"]) for line in beats)], default=0)
        self.begins = last + 1
        """The first line of the unbroken run that leads to the last one."""
        while self.begins - 1 in rows:
            self.begins -= 1
        self.rows = [rows[seq] for seq in range(self.begins, last + 1)]
        self.gap = any(seq < self.begins for seq in rows)
        """Lines of before are there, but not the one that leads on from them."""
        self._applications: dict[str, _Application] = {}
        usable = [line for line in beats if line["as_of_seq"] >= self.begins - 1]
        # A heartbeat tells of the moment after its row: the order of equals in a sort is kept.
        for line in sorted([*self.rows, *usable], key=_position):
            if "application" in line:
                known = self._applications.setdefault(line["application"], _Application())
                try:
                    known.learn(line)
                except (KeyError, TypeError, ValueError) as error:
                    where = f"seq {_position(line)[0]} ({line['event']})"
                    raise UnreadableLog(
                        f"{where} is damaged: {_lacking(error)}; read the store with --store, or "
                        "an undamaged copy"
                    ) from error

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
            known = self._applications[name]
            keys = set(known.releases) if all_ else known.shown
            if version is not None:
                newest = self._release(name, version)
                keys = {key for key in known.releases if key[0] == version} if all_ else {newest}
            elif known.missing:
                raise self._too_late(name)
            found += [known.status(key) for key in sorted(keys, key=_order)]
        return found

    def waiting(self, selection: str | None = None) -> dict[str, str]:
        """Applications that wait for a person and have no release to show it by, and why."""
        application, _ = _parsed(selection)
        chosen = {name: self._applications[name] for name in self._chosen(application)}
        return {
            name: str(known.facts["application_hold"])
            for name, known in chosen.items()
            if "application_hold" in known.facts and not known.shown
        }

    def history(self, selection: str | None = None) -> list[Line]:
        """Everything that happened to what was selected, in order."""
        application, version = _parsed(selection)
        if application is None:
            rows, known = self.rows, self.whole
        elif version is None:
            self._chosen(application)
            rows = [line for line in self.rows if line.get("application") == application]
            known = self.whole
        else:
            self._release(application, version)
            key = f"{application}/{version}"
            rows = [line for line in self.rows if line.get("release") == key]
            known = self.whole or _from_the_start(rows)
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
        key = status["release"], status["attempt"]
        rows = [line for line in self.rows if (line.get("release"), line.get("attempt")) == key]
        return _last_verdicts(rows)

    def _foremost(self, application: str) -> list[Status]:
        shown = self.statuses(application)
        if not shown:
            raise UnknownSelection(f"{application} has no release that is stable or under way")
        live = self._applications[application].live
        return sorted(shown, key=lambda one: (one["version"], one["attempt"]) != live)

    def _chosen(self, application: str | None) -> list[str]:
        names = sorted(self._applications)
        if application in self._applications:
            return [application]
        if application is None and (names or self.whole):
            return names
        if not self.whole:
            raise self._too_late(application or "any application")
        told = meant(str(application), names, "there is") if names else "; there is none yet"
        raise UnknownSelection(f"there is no application {application}{told}")

    def _release(self, application: str, version: str) -> Key:
        self._chosen(application)
        known = self._applications[application]
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
        remedy = "give the earlier files as well, or read the store with --store"
        if not self.rows:
            return LogTooLate(f"these lines tell nothing of {asked}: {remedy}")
        first = self.rows[0]
        if self.gap:
            return LogTooLate(
                f"the log has a gap, and tells nothing sure of {asked}: seq {self.begins - 1} is "
                f"missing or damaged, which comes before {first.get('timestamp', 'its next line')};"
                f" {remedy}"
            )
        return LogTooLate(
            f"the log begins too late for {asked}: its first line is seq {self.begins}, at "
            f"{first.get('timestamp', 'an unknown time')}; {remedy}"
        )


def fold(lines: Iterable[Line]) -> Book:
    """Fold lines by `seq`; the order in which they come, and how often, makes no difference."""
    rows: dict[int, Line] = {}
    heartbeats: list[Line] = []
    for line in lines:
        if line["event"] == HEARTBEAT:
            heartbeats.append(line)
            continue
        known = rows.setdefault(line["seq"], line)
        if known != line:
            raise LogMixed(
                f"two different lines have seq {line['seq']}: the log of one store at a time, "
                "or of the time since its restore, can be read"
            )
    return Book(rows, heartbeats)


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


def _lacking(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _order(key: Key) -> tuple[int, int]:
    return int(key[0]), key[1]


def _from_the_start(rows: Sequence[Line]) -> bool:
    first = rows[0] if rows else {}
    return first.get("event") == "release.registered" and first.get("attempt") == 1
