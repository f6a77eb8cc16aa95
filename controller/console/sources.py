"""Where `status` reads from, once or again and again: a store that goes on, a log that grows."""

import io
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from controller.console import logs, reading
from controller.console.reading import Book, fold
from controller.console.remote import Daemon
from controller.record.lines import HEARTBEAT_EVERY, Line
from policies.words import duration

if TYPE_CHECKING:
    from controller.record.store import Store

LEAST_SILENCE = timedelta(minutes=2)
"""No daemon is called dead before that: a pass may take its time."""
LOOKS = 4
"""So many looks that were due, and not written down, are a daemon that seems dead."""
UNTOLD = "no release is live: this does not tell whether a daemon runs; its /healthz does"
"""At rest nothing is written that a daemon which was killed would be missed by."""
PULSE = timedelta(seconds=15)
"""How often the record is asked when it was last looked at, while nothing else happens in it."""


class Source(Protocol):
    """Lines that may become more."""

    def read(self) -> Book:
        """What they tell now; `ReadingError` or `RecordError`, if they cannot be read."""

    def news(self, now: datetime) -> bool:
        """Whether there may be more to read than at the last time."""

    def silence(self, now: datetime) -> str | None:
        """Why the daemon seems dead; None while nothing says so."""

    @property
    def untold(self) -> str | None:
        """That nothing would say so; None while something would."""

    @property
    def told_at(self) -> datetime | None:
        """When the last thing was told; None, if nothing says when."""


class StoreSource:
    """A store, of which the applications alone are read in which something happened."""

    def __init__(
        self, store: "Store", poll: timedelta, selection: str | None = None, *, all_: bool = False
    ) -> None:
        application, _, version = (selection or "").partition("/")
        self._store = store
        self._poll = poll
        self._names = [application] if application else None
        self._every = bool(version)
        self._whole = all_
        self._beats: dict[str, Line] = {}
        self._seq = -1
        self._asked_at: datetime | None = None
        self._gone: str | None = None

    def read(self) -> Book:
        """The heartbeats of now; the whole journal where those do not tell enough."""
        seq = self._store.last_seq()
        changed = self._names
        if self._seq >= 0:
            rows = self._store.journal(after=self._seq)
            rung = {str(line["application"]) for line in rows if "application" in line}
            changed = [name for name in rung | self._live if not self._names or name in self._names]
        beats = self._store.states(changed, every=self._every)
        self._beats |= {str(line["application"]): line for line in beats}
        self._seq = seq
        self._ask_for_daemon()
        unknown = self._names is not None and not self._beats
        if self._whole or unknown:
            return self.whole()
        # One that was not read again was rung by no row until then: it tells of that row as well,
        # and a book takes no heartbeat of before its first line.
        return fold({**line, "as_of_seq": seq} for line in self._beats.values())

    def whole(self) -> Book:
        """All that the store has ever told: what is asked about may be long over."""
        return fold(self._store.journal())

    def news(self, now: datetime) -> bool:
        """Whether a row was written, or a look may have been."""
        due = self._asked_at is None or not timedelta() <= now - self._asked_at < PULSE
        if due:
            self._asked_at = now
            self._ask_for_daemon()
        return self._store.last_seq() != self._seq or (due and bool(self._live))

    def silence(self, now: datetime) -> str | None:
        """A live release was not looked at for several polls, or no daemon runs."""
        looked = {name: self._looked_at(name) for name in sorted(self._live)}
        limit = max(LOOKS * self._poll, LEAST_SILENCE)
        for name, at in looked.items():
            if at is not None and now - at > limit:
                return (
                    f"nobody has looked at {name} for {duration(now - at)}: the daemon seems dead"
                )
        return self._gone

    @property
    def untold(self) -> str | None:
        """Looks at a live release are written down, and replicas; else nothing is."""
        return None if self._live or self._store.shared or self._gone else UNTOLD

    @property
    def told_at(self) -> datetime | None:
        """When a live release was last looked at."""
        return max((at for name in self._live if (at := self._looked_at(name))), default=None)

    @property
    def _live(self) -> set[str]:
        return {name for name, line in self._beats.items() if line.get("live")}

    def _ask_for_daemon(self) -> None:
        """Of what rests no look is written down: there is but what daemons wrote of themselves."""
        from controller.record.hearing import gone  # noqa: PLC0415 - logs need no database

        self._gone = gone(self._store)

    def _looked_at(self, name: str) -> datetime | None:
        told = self._beats[name].get("looked_at")
        return datetime.fromisoformat(told) if isinstance(told, str) else None


class DaemonSource:
    """A daemon elsewhere, whose journal is read on: it answers, and so it is not dead."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._lines: list[Line] = []

    def read(self) -> Book:
        """All that it has told by now."""
        self._take()
        return fold(self._lines)

    def news(self, now: datetime) -> bool:  # noqa: ARG002 - the daemon tells by itself
        """Whether it has told more."""
        had = len(self._lines)
        self._take()
        return len(self._lines) > had

    def silence(self, now: datetime) -> str | None:  # noqa: ARG002 - as above
        """Nothing: one that does not answer is trouble, and told as such."""
        return None

    @property
    def untold(self) -> str | None:
        """Nothing: it answers."""
        return None

    @property
    def told_at(self) -> datetime | None:
        """When the newest line was written."""
        return datetime.fromisoformat(self._lines[-1]["timestamp"]) if self._lines else None

    def _take(self) -> None:
        last = int(self._lines[-1]["seq"]) if self._lines else 0
        self._lines += self._daemon.journal(last)


class LogSource:
    """Log files: what is plain is followed as it grows, also into the file that comes after it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._files = [_Followed(path) for path in paths]
        self._lines: list[Line] = []
        self._told_at: datetime | None = None

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def read(self) -> Book:
        """All lines that are there by now."""
        self._take()
        return fold(self._lines)

    def news(self, now: datetime) -> bool:  # noqa: ARG002 - a file tells by itself
        """Whether lines were added."""
        had = len(self._lines)
        self._take()
        return len(self._lines) > had

    def silence(self, now: datetime) -> str | None:
        """No line has come where a heartbeat was due."""
        if self._told_at is None:
            names = ", ".join(file.path for file in self._files)
            return f"{names}: holds no line of Headgate's log yet"
        if now - self._told_at <= 2 * HEARTBEAT_EVERY:
            return None
        return (
            f"the log has been silent for {duration(now - self._told_at)}, and one line is due "
            f"every {duration(HEARTBEAT_EVERY)}: the daemon seems dead, or its log does not arrive"
        )

    @property
    def untold(self) -> str | None:
        """Nothing: of what rests a line is due, too."""
        return None

    @property
    def told_at(self) -> datetime | None:
        """When the newest line was written."""
        return self._told_at

    def _take(self) -> None:
        for file in self._files:
            for line in file.fresh():
                self._lines.append(line)
                told = line.get("timestamp")
                if isinstance(told, str):
                    at = datetime.fromisoformat(told)
                    self._told_at = max(at, self._told_at or at)


class _Followed:
    """One file of a log, with how far it was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._rest = b""
        """The begin of a line that was not written to its end yet."""
        self._over = False

    def close(self) -> None:
        """Close what is open of it."""
        if self._file is not None:
            self._file.close()

    def fresh(self) -> list[Line]:
        """The lines that were added since the last time; of what cannot grow, all of them once."""
        if self._over:
            return []
        try:
            if self._file is None and not logs.grows(self.path):
                self._over = True
                return list(logs.read_lines(self.path))
            return self._added()
        except OSError as error:
            if self._file is not None and isinstance(error, FileNotFoundError):
                return []  # between a file that was moved away and the next one
            why = error.strerror or "it is damaged"
            raise reading.UnreadableLog(f"{self.path} cannot be read: {why}") from error

    def _added(self) -> list[Line]:
        if self._file is None:
            self._file = Path(self.path).open("rb")  # noqa: SIM115 - it is read on and on
        data = self._file.read()
        there, own = os.stat(self.path), os.fstat(self._file.fileno())  # noqa: PTH116 - as fstat
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            data += self._file.read() + b"\n"
            self._file.close()
            self._file = Path(self.path).open("rb")  # noqa: SIM115 - as above
            data += self._file.read()
        elif there.st_size < self._file.tell():
            self._file.seek(0)  # emptied, and begun anew
            data += b"\n" + self._file.read()
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return list(logs.lines_in(self.path, io.BytesIO(whole + end))) if end else []
