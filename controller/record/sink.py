"""The sink: where the lines of the log go. Writing may fail there, and nobody else fails with it.

A full disk, or a reader that has gone or hangs, must keep no rollback from being sent: what may be
lost is lost and counted, and what may not stays with whoever has it, until the sink takes it.
"""

import errno
import io
import os
import select
import stat
import sys
from contextlib import suppress
from threading import Lock
from typing import Protocol, TextIO

PATIENCE_S = 2.0
"""How long a reader that takes nothing is waited for, once; from then on it is only asked."""


class Unwritten(Exception):  # noqa: N818 - it names a condition
    """A line is not in the log, or not all of it; the message is a sentence for operators."""


class _Takes(Protocol):
    def __call__(self, data: bytes, patience_s: float, /) -> int:
        """Take some of it, one byte at least, and in so many seconds; how many it took."""


class Sink:
    """A stream, line by line, past Python's buffers; threads may share it.

    Those would keep what failed and try it again with the next line, or lose half of it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._takes, self._rest = _end_of(stream)
        self._encoding = stream.encoding or "utf-8"
        self._writing = Lock()
        self.trouble: str | None = None
        """Why it cannot be written, in one sentence; None while it can."""
        self.lost = 0
        """Lines that were not written, and never will be."""

    def write(self, text: str) -> None:
        """A line that may be lost; during trouble it is, until `deliver` has ended that."""
        with self._writing:
            if self.trouble is not None or not self._put(text):
                self.lost += 1

    def deliver(self, text: str) -> None:
        """A line that may not be lost: `Unwritten` where it is to be given again later."""
        with self._writing:
            if not self._put(text):
                raise Unwritten(self.trouble)

    def _put(self, text: str) -> bool:
        line = text.encode(self._encoding, "backslashreplace")
        try:
            self._finish()
            self._rest = line
            self._finish()
        except OSError as error:
            if self._rest is line:
                # Nothing of it is out. One that was begun is finished before the next: half a line
                # would make that one unreadable, too.
                self._rest = b""
            self._failed(error)
            return False
        self.trouble = None
        return True

    def _finish(self) -> None:
        patience_s = PATIENCE_S if self.trouble is None else 0.0
        while self._rest:
            self._rest = self._rest[self._takes(self._rest, patience_s) :]

    def _failed(self, error: OSError) -> None:
        known = self.trouble is not None
        self.trouble = (
            f"log: stdout cannot be written ({error.strerror or error}): releases are looked after "
            "all the same; make room, or restart its reader, and the daemon where that has gone"
        )
        if not known:
            _complain(self.trouble)


def _end_of(stream: TextIO) -> tuple[_Takes, bytes]:
    """What takes bytes to the end of a stream, and what the line there still lacks."""
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:  # it is in memory

        def takes(data: bytes, _patience_s: float, /) -> int:
            stream.write(data.decode(stream.encoding or "utf-8"))
            return len(data)

        return takes, b""
    return _in_time(number), _lacking(number)


def _in_time(number: int) -> _Takes:
    """What writes to a file, and to a pipe no more than it has room for: that cannot block."""
    ready = select.poll()
    ready.register(number, select.POLLOUT)

    def takes(data: bytes, patience_s: float, /) -> int:
        if not ready.poll(1000 * patience_s):
            raise TimeoutError(errno.ETIMEDOUT, "its reader takes nothing")
        return os.write(number, data[: select.PIPE_BUF])

    return takes


def _lacking(number: int) -> bytes:
    """The end of the last line in a file, where an earlier process could not write it any more."""
    # Of a pipe or a terminal there is no past; a file that may not be read is taken as it is.
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(number).st_mode):
            with open(f"/dev/fd/{number}", "rb") as file:  # noqa: PTH123 - it has no other name
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    return b"" if file.read(1) == b"\n" else b"\n"
    return b""


def _complain(sentence: str) -> None:
    """Once for each trouble, on stderr: of a daemon without HTTP nobody else would know."""
    if sys.stderr is None:  # it was closed as the process began
        return
    # Past its buffer: what fails there would fail again at the end, and change the exit code.
    with suppress(OSError):  # Both may be one pipe: then there is nobody to tell.
        _in_time(sys.stderr.fileno())(f"headgate: {sentence}\n".encode(), 0.0)
