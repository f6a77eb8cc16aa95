"""The daemon's log in files: found among other programs' lines, behind others' prefixes.

A line is taken where it begins as the daemon's lines begin, alone or behind a prefix known here.
What it says of itself there is all that is read of it at first: decoding each line would take
several times as long.
"""

import gzip
import io
import json
import os
import re
import stat
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Final, cast

from controller.console.index import Index, Subject, Table
from controller.console.reading import UnreadableLog, checked
from controller.record.lines import HEARTBEAT, Line

if TYPE_CHECKING:
    from array import array

LONGEST: Final = 1 << 20
"""Bytes of a line; what is longer is none of the daemon's."""
MOST_NAMED = 20
"""Damaged lines that are named; of more it is only told how many there are."""
STDIN = "-"
_KEPT_OPEN, _IN_MEMORY, _AT_ONCE = 200, 1 << 25, 1 << 18
_SPOOL, _OFFSETS = 0, 40
"""A place is a file's number and an offset in it, of 40 bits; file 0 is our copy."""
_MOST = 10**18
_HEARTBEAT = HEARTBEAT.encode()

LOGGED = ("timestamp", "level", "event")
"""What every line of the daemon's log has."""
_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_ENVELOPES: Final = ("log", "MESSAGE", "message", "line")
"""Where Docker's json-file, journald, shippers and Loki's client keep a line in an object."""

_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_DAY = rb"[A-Z][a-z]{2} "
_PREFIX = (
    rb"(?:\xef\xbb\xbf)?(?:"
    # kubectl --prefix, Docker Compose, docker logs -t and kubectl --timestamps, CRI's files
    rb"(?:\[pod/[^\]\s]{1,300}\] )?(?:[\w.-]{1,100} +\| )?(?:%(time)s (?:std(?:out|err) F )?)?|"
    # journald's and syslog's short forms: a time, the host, the program
    rb"(?:<\d{1,3}>)?(?:%(day)s[ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?|(?:%(day)s)?%(time)s(?: UTC)?|"
    rb"\[ *\d+\.\d+\]|\d{9,11}\.\d{6}) \S{1,255} [^\s:\[]{1,128}(?:\[\d{1,10}\])?: |"
    # syslog, RFC 5424
    rb"<\d{1,3}>1 %(time)s \S+ \S+ \S+ \S+ (?:-|(?:\[[^\]]*\])+) (?:\xef\xbb\xbf)?"
    rb")"
) % {b"time": _TIME, b"day": _DAY}
_NUMBER, _NAME = rb"(\d{1,18})(?=[,}])", rb'"([^"\\]*)"'
_HEAD: Final = re.compile(
    _PREFIX + rb'()\{"timestamp": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)", '
    rb'"level": "[a-z]+", "event": "([a-z_]+\.[a-z_]+)"'
    rb'(?:, "seq": ' + _NUMBER + rb")?"
    rb'(?:, "application": ' + _NAME + rb")?"
    rb'(?:(?:, "schema": \d{1,9})?, "as_of_seq": ' + _NUMBER + rb")?"
    rb'(?:, "release": ' + _NAME + rb")?"
    rb'(?:, "attempt": ' + _NUMBER + rb")?"
    rb'(?:, "version": "\d{1,18}")?'
    rb'(?:, "state": "([A-Za-z]+)")?'
    # Whole: another key follows, or none. Two programs' lines may have run into one another.
    rb'(?:\}|, "(?!(?:seq|application|as_of_seq|release|attempt|version|state)")[a-z_]+": )'
)
_BEFORE: Final = re.compile(_PREFIX + rb"(?=\{)")
_CRI: Final = re.compile(_TIME + rb" (std(?:out|err)) ([PF])[^ ]* ")


class Log(Index):
    """The journal lines and heartbeats in some files.

    Whatever else stands in the files is skipped: `skipped` counts what another program wrote,
    `damaged` names what was cut short, up to `MOST_NAMED` lines, and `cut` the compressed files
    that were.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self.skipped = self.damages = 0
        self.damaged: list[str] = []
        self.cut: list[str] = []
        # What cannot be read twice, or not as it stands, is copied to a file without a name.
        self._files: list[IO[bytes]] = [_spool()]
        self._spooled = 0
        weakref.finalize(self, _close, self._files)
        self._subjects: dict[_Key, tuple[Table, array[int]]] = {}
        self._parts: dict[bytes, bytes] = {}
        """What is still to be continued, by the stream that it came from."""
        for path in paths:
            self._read(path)
        if self.empty and self.cut:
            raise UnreadableLog(f"{self.cut[0]} cannot be read: it is damaged")

    @property
    def empty(self) -> bool:
        """There is no line of the daemon's that tells of its releases."""
        return not (self.rows.seqs or self.beats.seqs)

    def fetch(self, place: int) -> Line | None:
        """Read a line again, and decode it."""
        line = _decoded(self._again(place))
        return line if line is not None and _numbered(line) else None

    def __iter__(self) -> Iterator[Line]:
        """The lines that can be decoded: the journal's, then the heartbeats, as they were found."""
        for places in (self.rows.places, self.beats.places):
            yield from filter(None, map(self.fetch, places))

    def same(self, one: int, other: int) -> bool:
        """The lines at two places are the same, byte for byte or decoded."""
        return self._again(one).rstrip() == self._again(other).rstrip() or super().same(one, other)

    def _again(self, place: int) -> bytes:
        file = self._files[place >> _OFFSETS]
        file.seek(place & ((1 << _OFFSETS) - 1))
        return file.readline(LONGEST)

    def _read(self, path: str) -> None:
        kept = False
        try:
            file, in_place = _opened(path)
            try:
                kept = in_place and len(self._files) <= _KEPT_OPEN
                self._scan(path, file, len(self._files) if kept else _SPOOL)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                self.cut.append(path)
            finally:
                if kept:
                    # The same file, whatever has its name by now; of it few lines are wanted.
                    self._files.append(os.fdopen(os.dup(file.fileno()), "rb"))
                if path != STDIN:
                    file.close()
        except OSError as error:
            raise UnreadableLog(f"{path} cannot be read: {error.strerror or error}") from error
        if self._parts:
            self._damage(f"{path}, at its end,")
            self._parts.clear()

    def _scan(self, path: str, file: IO[bytes], source: int = _SPOOL) -> None:
        base = source << _OFFSETS
        for number, (at, raw) in enumerate(_lines(file), start=1):
            if not self._taken(raw, base + at if source else None):
                self._odd(raw, f"{path}:{number}")

    def _taken(self, raw: bytes, place: int | None) -> bool:
        """Take in a line that begins as the daemon prints its own; without a place it is copied."""
        found = _HEAD.match(raw)
        if found is None or not raw.endswith((b"}\n", b"}", b"}\r\n")):
            return False
        _, stamp, event, seq, application, as_of, release, attempt, state = found.groups()
        beat = event == _HEARTBEAT
        position = as_of if beat else seq
        if position is None:
            return False
        key = (application, release, attempt, state is not None, beat)
        table, numbers = self._subjects.get(key) or self._subject(key)
        start = found.start(1)
        place = self._keep(raw[start:]) if place is None else place + start
        # `Table.add`, without its call.
        numbers.append(len(table.seqs))
        table.seqs.append(int(position))
        table.stamps.append(int(stamp[2:].translate(None, b"-T:.Z")))
        table.places.append(place)
        return True

    def _subject(self, key: "_Key") -> tuple[Table, "array[int]"]:
        application, release, attempt, told, beat = key
        subject = Subject(
            application=_text(application),
            release=_text(release),
            attempt=None if attempt is None else int(attempt),
            told=told and release is not None,
        )
        table = self.beats if beat else self.rows
        self._subjects[key] = table, table.numbers(subject)
        return self._subjects[key]

    def _odd(self, raw: bytes, where: str) -> None:
        """Take in a line that does not begin as the daemon prints its own.

        It may be wrapped, in parts, written in another way, damaged, or another program's.
        """
        text = raw.rstrip(b"\r\n")
        whole = self._unwrapped(text)
        if not whole.strip() or (whole is not text and self._taken(whole, None)):
            return
        behind = _BEFORE.match(whole)
        body = whole[behind.end() :] if behind else b""
        ours = body.startswith(b'{"timestamp"')
        if not ours and b'"seq"' not in body and b'"as_of_seq"' not in body:
            self.skipped += 1
            return
        line = _decoded(body)
        if line is not None and _numbered(line):
            try:
                self.add(checked(line), self._spooled)
            except (UnreadableLog, ValueError):
                self._damage(where)
            else:
                self._keep(body)
        elif line is None and ours:
            self._damage(where)
        elif line is None or not _told(line):
            self.skipped += 1

    def _unwrapped(self, text: bytes) -> bytes:
        """A line without what a container's runtime or a shipper put around it.

        Empty, where it is but a part of one: runtimes cut long lines into parts.
        """
        if found := _CRI.match(text):
            stream, more, own = found[1], found[2] == b"P", text[found.end() :]
            if not more and stream not in self._parts:
                return own
        elif _enveloped(text) and (around := _decoded(text)) is not None:
            inner = next((around[name] for name in _ENVELOPES if name in around), None)
            if not isinstance(inner, str) or _told(around):
                return text
            stream, own = (
                str(around.get("stream")).encode(errors="replace"),
                inner.encode(errors="replace"),
            )
            more = "stream" in around and not inner.endswith("\n")
        else:
            return text
        joined = self._parts.pop(stream, b"") + own
        if not more or len(joined) > LONGEST:
            return joined.strip()
        self._parts[stream] = joined
        return b""

    def _keep(self, body: bytes) -> int:
        """Copy a line, and tell its place."""
        place = self._spooled
        self._spooled += self._files[_SPOOL].write(body.rstrip(b"\r\n") + b"\n")
        return place

    def _damage(self, where: str) -> None:
        self.damages += 1
        if len(self.damaged) < MOST_NAMED:
            self.damaged.append(where)


_Key = tuple[bytes | None, bytes | None, bytes | None, bool, bool]
"""What a line is about, as it is written there; whether it carries a state, and is a heartbeat."""


def read_lines(paths: Sequence[str] | str) -> Log:
    """The daemon's lines in files, plain or gzip; `-` is standard input."""
    return Log([paths] if isinstance(paths, str) else list(paths))


def lines_in(path: str, file: IO[bytes]) -> Iterator[Line]:
    """The daemon's lines in what was read of a file already."""
    log = Log(())
    log._scan(path, file)  # noqa: SLF001 - of this module
    return iter(log)


def grows(path: str) -> bool:
    """Whether a file can be read on as lines are added: neither standard input nor compressed."""
    if path == STDIN:
        return False
    file, again = _opened(path)
    file.close()
    return again


def _opened(path: str) -> tuple[IO[bytes], bool]:
    """A file, whatever it is called, and whether its lines can be read again where they stand."""
    if path == STDIN:
        file = io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer))
    else:
        file = io.BufferedReader(io.FileIO(path), _AT_ONCE)
    begins = file.peek(8)[:8]
    other = next((name for magic, name in _OTHERS.items() if begins.startswith(magic)), None)
    if path != STDIN and (other is not None or begins.startswith(_GZIP)):
        file.close()
    if other is not None:
        raise UnreadableLog(
            f"{path} is compressed by {other}: give it decompressed, by a pipe and --logs -"
        )
    if begins.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(file if path == STDIN else path)), False
    return file, path != STDIN and stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines of a file and where they begin, but for those that are too long to be ours."""
    at = 0
    for raw in iter(partial(file.readline, LONGEST), b""):
        yield at, raw if len(raw) < LONGEST else b"too long"
        at += len(raw)
        while len(raw) == LONGEST and not raw.endswith(b"\n"):
            raw = file.readline(LONGEST)  # noqa: PLW2901 - the rest of the same line
            at += len(raw)


def _enveloped(text: bytes) -> bool:
    """It may be an object that holds a part of a line, or one of the daemon's."""
    return text.startswith(b'{"log":') or (text.startswith(b"{") and b'seq\\"' in text)


def _decoded(raw: bytes) -> Line | None:
    """The object that a line is; None where it is none."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _told(line: Line) -> bool:
    """It has the form of the daemon's lines; those that tell of no change have no number."""
    return all(isinstance(line.get(name), str) for name in LOGGED)


def _numbered(line: Line) -> bool:
    """It is a line of the journal, or a heartbeat."""
    number = line.get("as_of_seq" if line.get("event") == HEARTBEAT else "seq")
    known = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _MOST
    return known and _told(line)


def _text(name: bytes | None) -> str | None:
    return None if name is None else name.decode(errors="replace")


def _spool() -> IO[bytes]:
    return cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))


def _close(files: list[IO[bytes]]) -> None:
    for file in files:
        file.close()
