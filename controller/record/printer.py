"""From journal to log: every row is printed once it is committed, at least once, in order."""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import structlog

from controller.record.lines import Line, application_state
from controller.record.logging import ROWS
from controller.record.sink import Sink, Unwritten
from controller.record.store import Store
from states.release import Application

log = structlog.get_logger(ROWS)
passing = structlog.get_logger()
"""For what the next of its kind makes up for."""


class Printer:
    """Prints what the journal holds beyond what was printed before; threads may share it.

    Of several replicas one prints, whoever wrote the rows: `ours` tells whether this one does. One
    that takes over goes on from where the store knows the log to be printed.

    A log that cannot be written is nobody's failure: `trouble` tells of it, and the rows from there
    on are printed once it can be.
    """

    def __init__(
        self, store: Store, ours: Callable[[], bool] = lambda: True, sink: Sink | None = None
    ) -> None:
        """`sink` is what the log goes to, where anybody is told how that is."""
        self._store = store
        self.ours = ours
        self._sink = sink
        self._told_lost = 0
        self._printing = Lock()

    def trouble(self) -> str | None:
        """Why the log cannot be written, in one sentence; None while it can."""
        return self._sink.trouble if self._sink is not None else None

    @property
    def lost(self) -> int:
        """Lines that the log lacks: none of them are rows."""
        return self._sink.lost if self._sink is not None else 0

    def print_new(self) -> int:
        """Print all rows not yet printed; returns the number of the last one printed, ever."""
        with self._printing:
            # Also where nothing is to be printed: whoever waits for the log hears that it is back.
            writable = self._resumed()
            if not self.ours():
                self._store.others_print()
                return self._store.printed()
            last = self._store.printed()
            if not writable:
                return last
            with suppress(Unwritten):  # The sink tells why, and the row is the next to be printed.
                for line in self._store.journal(after=last):
                    self._print(line)
                    last = int(line["seq"])
                    # After the line is out, never before: a crash prints twice, and loses nothing.
                    self._store.mark_printed(last)
            return last

    def heartbeat(self, application: Application, as_of_seq: int) -> None:
        """Print an application's state as one line, after all rows that it rests on."""
        self.print_new()
        with self._printing:
            if self.ours():
                self._print(application_state(application, as_of_seq), passing)

    def _resumed(self) -> bool:
        """Whether the log can be written, as far as is known; tell it when it can be again."""
        if self.trouble() is None:
            return True
        lost = self.lost
        try:
            log.warning(
                "log.resumed",
                lost=lost - self._told_lost,
                because="the log can be written again: all rows of the journal follow",
            )
        except Unwritten:
            return False
        self._told_lost = lost
        return True

    @staticmethod
    def _print(line: Line, to: structlog.typing.FilteringBoundLogger = log) -> None:
        told = dict(line)
        event, level = told.pop("event"), told.pop("level", "info")
        getattr(to, level)(event, **told)
