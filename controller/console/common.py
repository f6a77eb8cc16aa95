"""What all commands share: options, exit codes, and how what goes wrong is told."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from controller.console import completing, reading
from controller.record.errors import OrderRefused, RecordError
from controller.settings import ProcessSettings, SettingsError

if TYPE_CHECKING:
    from controller.record.store import Store

DIFFERENT, USAGE, WORKSPACE, STORE, DEFECT = 1, 2, 5, 6, 70
"""Exit codes: a verdict that does not follow, bad usage or configuration, a workspace that cannot
be read, an unusable store, a defect of Headgate's own."""

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Selected = Annotated[
    str | None, typer.Argument(metavar="APP[/VERSION]", autocompletion=completing.releases)
]
Release = Annotated[
    str, typer.Argument(metavar="APP[/VERSION]", autocompletion=completing.releases)
]
Application = Annotated[str, typer.Argument(metavar="APP", autocompletion=completing.applications)]
Logs = Annotated[
    list[str] | None,
    typer.Option("--logs", metavar="FILE|-", help="Read the daemon's log instead of the store."),
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="The record; default: HEADGATE_STORE.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what can go wrong into its sentence on stderr, and its exit code."""
    try:
        yield
    except (SettingsError, OrderRefused, reading.ReadingError) as error:
        fail(str(error), USAGE)
    except RecordError as error:
        fail(str(error), STORE)


def fail(sentence: str, code: int) -> NoReturn:
    """End the command with a sentence on stderr."""
    sys.stderr.write(f"headgate: {sentence}\n")
    raise typer.Exit(code)


def opened(url: str | None) -> "Store":
    """The store that is named, or that of HEADGATE_STORE; one that must be there already."""
    from controller.record.store import Store  # noqa: PLC0415 - reading logs needs no database

    return Store(url or ProcessSettings.read().store, create=False)


def book_of(logs: list[str] | None, store: str | None) -> reading.Book:
    """The journal, from log lines or from the store: the same lines, so the same answers."""
    if logs and store:
        raise SettingsError("give --logs or --store, not both")
    if logs:
        lines = reading.read_lines(logs)
        found = list(lines)
        for place in lines.damaged:
            sys.stderr.write(f"headgate: {place} is damaged, and skipped\n")
        if not found:
            raise reading.UnreadableLog(f"{', '.join(logs)}: holds no line of Headgate's log")
        book = reading.fold(found)
        if lines.skipped and sys.stderr.isatty():
            sys.stderr.write(f"headgate: {lines.skipped} lines were not Headgate's, and skipped\n")
        return book
    record = opened(store)
    try:
        return reading.fold(record.journal())
    finally:
        record.close()
