"""From journal to log: every row is printed once it is committed, at least once, in order."""

from collections.abc import Callable
from threading import Lock

import structlog

from controller.record.lines import Line, application_state
from controller.record.store import Store
from states.release import Application


class Printer:
    """Prints what the journal holds beyond what was printed before; threads may share it.

    Of several replicas one prints, whoever wrote the rows: `ours` tells whether this one does. One
    that takes over goes on from where the store knows the log to be printed.
    """

    def __init__(self, store: Store, ours: Callable[[], bool] = lambda: True) -> None:
        self._store = store
        self.ours = ours
        self._log = structlog.get_logger()
        self._printing = Lock()

    def print_new(self) -> int:
        """Print all rows not yet printed; returns the number of the last one printed, ever."""
        with self._printing:
            if not self.ours():
                self._store.forget_printed()
                return self._store.printed()
            last = self._store.printed()
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
                self._print(application_state(application, as_of_seq))

    def _print(self, line: Line) -> None:
        told = dict(line)
        event, level = told.pop("event"), told.pop("level", "info")
        getattr(self._log, level)(event, **told)
