"""A stdout of a test's own, on real files: its disk is full at will, its reader goes or hangs."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import structlog

from controller.record.logging import configure_logging
from controller.record.sink import Sink


@dataclass
class Stdout:
    """What a process would have as stdout, appended to a file."""

    stream: TextIO
    file: Path
    sink: Sink
    ends: list[int] = field(default_factory=list)
    """Of pipes that nobody reads."""

    def lead_to(self, path: Path) -> None:
        """Let what is written from now on go there, as another disk under the same file would."""
        there = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(there, self.stream.fileno())
        os.close(there)

    def fill(self) -> None:
        """No byte more has room."""
        self.lead_to(Path("/dev/full"))

    def free(self) -> None:
        """There is room again."""
        self.lead_to(self.file)

    def close(self) -> None:
        """Whoever read it is gone: `tee` has died."""
        reads, writes = os.pipe()
        os.dup2(writes, self.stream.fileno())
        os.close(writes)
        os.close(reads)

    def hang(self) -> int:
        """Whoever reads it has fallen asleep, and their pipe is full; its other end."""
        reads, writes = os.pipe()
        size = fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4 * os.sysconf("SC_PAGE_SIZE"))
        os.write(writes, b"\n" * size)
        os.dup2(writes, self.stream.fileno())
        os.close(writes)
        self.ends.append(reads)
        return reads

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What is in the file; each line is whole."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @property
    def seqs(self) -> list[int]:
        """The numbers of the journal's rows, as they stand there."""
        return [line["seq"] for line in self.lines if "seq" in line]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event."""
        return [line for line in self.lines if line["event"] == event]


@contextmanager
def stdout(folder: Path) -> Iterator[Stdout]:
    """The log goes there; afterwards logging is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level, file = root.handlers, root.level, folder / "headgate.log"
    with file.open("a") as stream:
        made = Stdout(stream, file, configure_logging("json", stream))
        yield made
        for end in made.ends:
            os.close(end)
    root.handlers, root.level = handlers, level
    structlog.configure(**before)
