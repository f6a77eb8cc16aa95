"""`headgate backup` and `headgate restore`: a backup counts once it was restored and checked."""

from collections.abc import Sequence
from pathlib import Path

from controller.console.reading import Book, LogTooLate, UnknownSelection, UnreadableLog, fold
from controller.record import backup
from controller.record.errors import BackupUnusable
from controller.record.store import Store
from states.status import LATER, Status


def back_up(store: Store, path: Path) -> str:
    """Write a backup, and say what it holds."""
    taken = backup.take(store, path, whole)
    return f"{path} holds {store.place.name} up to seq {taken.seq}: {taken.rows} rows, checked"


def restored(path: Path, url: str, *, replace: bool) -> str:
    """Restore a backup, and say what was done."""
    found = backup.read(path)
    aside = backup.restore(found, url, whole, replace=replace)
    told = f"restored {path} of {found.at}: the journal ends with seq {found.seq}"
    told = told if aside is None else f"{told}; what was there is now {aside}"
    return (
        f"{told}; what a log has beyond that seq is of another history: begin a new log file, and "
        "read the older ones apart, with --at"
    )


def whole(store: Store) -> None:
    """See that the journal has no gap, and that folding it gives what the tables say.

    Of every application that either of them knows, with or without releases.
    """
    last = store.last_seq()
    rows = list(store.journal())
    if [line["seq"] for line in rows] != list(range(1, last + 1)):
        raise BackupUnusable(f"the journal of {store.place.name} has a gap: use another backup")
    for read in store.everything().values():
        if isinstance(read, str):
            raise BackupUnusable(f"what cannot be read is no backup: {read}")
    beats = store.states()
    try:
        told, found = fold(rows), fold(beats)
    except UnreadableLog as error:
        raise BackupUnusable(f"the journal of {store.place.name} is damaged: {error}") from error
    for name in sorted({line["application"] for line in (*rows, *beats) if "application" in line}):
        if not _agree(told, found, name):
            raise BackupUnusable(
                f"the journal and the tables of {store.place.name} disagree about {name}: "
                "compare `headgate history` with `headgate status`"
            )


def _statuses(book: Book, name: str) -> Sequence[Status] | None:
    """What a book tells of an application; None, if that names a release that is not there."""
    try:
        return book.statuses(name)
    except UnknownSelection:
        return ()
    except LogTooLate:
        return None


def _agree(told: Book, found: Book, name: str) -> bool:
    """Whether the journal tells what the tables say, as far as the version that wrote it did."""
    one, other = _statuses(told, name), _statuses(found, name)
    if one is None or other is None or len(one) != len(other):
        return False
    untold = _untold(told, found, name) if one else ()
    return all(
        _essence(a, a, untold) == _essence(b, a, untold) for a, b in zip(one, other, strict=True)
    )


def _untold(told: Book, found: Book, name: str) -> Sequence[str]:
    """What earlier versions did not tell of users whom others moved: where they were seen."""
    journal, tables = ("weights_seen" in book.facts(name) for book in (told, found))
    return ("weight_seen",) if tables and not journal else ()


def _essence(status: Status, told: Status, untold: Sequence[str]) -> dict[str, object]:
    """A status without what earlier versions did not tell: the numbers in a hold's sentence, and
    some fields.
    """  # noqa: D205 - one sentence
    untold = (*untold, *(LATER if told["evidence_span"] is None else ()))
    essence = {name: value for name, value in status.items() if name not in untold}
    return essence | {"hold": "held" if status["hold"] else None}
