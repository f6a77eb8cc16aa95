"""What all commands share: options, exit codes, and how what goes wrong is told."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from controller.console import completing, reading
from controller.console.moments import moment_of
from controller.console.remote import Daemon, DaemonUnreachable
from controller.record.errors import OrderRefused, RecordError
from controller.record.redaction import printable, without_secrets
from controller.settings import ProcessSettings, RemoteSettings, SettingsError, password_of

if TYPE_CHECKING:
    from controller.console.logs import Log
    from controller.record.sink import Sink
    from controller.record.store import Store

DIFFERENT, USAGE, WORKSPACE, STORE, DEFECT = 1, 2, 5, 6, 70
"""Exit codes: a verdict that does not follow, bad usage or configuration, a workspace or a daemon
that cannot be asked, an unusable store, a defect of Headgate's own."""
UNWRITTEN, FORSAKEN = 74, 141
"""An output that has no room (`sysexits.h`: EX_IOERR), and one whose reader went before all was
told (as shells tell of SIGPIPE)."""

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
    typer.Option(
        "--logs",
        metavar="FILE...|-",
        help="Read the daemon's log, plain or gzip, instead of the store.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="What was known then: a time, 12:30 of today (UTC), -10m."
    ),
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="The record; default: HEADGATE_STORE.")
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Ask this daemon instead of the store; default: HEADGATE_URL."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


class ReadingCommand(TyperCommand):
    """A command whose `--logs` takes all files that follow, as a shell makes them of `*.log*`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's own
        """Name the option before each of its files."""
        spread: list[str] = []
        more = False
        for before, one in zip(["", *args], args, strict=False):
            more = before == "--logs" or (more and Path(one).is_file())
            spread += ["--logs", one] if more and before != "--logs" else [one]
        return super().parse_args(ctx, spread)


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what can go wrong into its sentence on stderr, and its exit code."""
    try:
        yield
    except SettingsError as error:
        # A file may have several mistakes, each of which is a line.
        *others, last = str(error).split("\n")
        for one in others:
            complain(one)
        fail(last, USAGE)
    except (OrderRefused, reading.ReadingError) as error:
        fail(str(error), USAGE)
    except RecordError as error:
        fail(str(error), STORE)
    except DaemonUnreachable as error:
        fail(str(error), WORKSPACE)


@contextmanager
def acting() -> Iterator[None]:
    """For what acts by itself, read or not: there a pipe that broke is not `| head`, but a defect.

    Its log is no such pipe: that raises nothing.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise RuntimeError("a connection broke where nobody expected it") from error


def logging_to_stdout(mode: str) -> "Sink":
    """Set the log up; a stdout that is closed is refused, as any file may get its number."""
    from controller.record.logging import configure_logging  # noqa: PLC0415 - most need no structlog

    if sys.stdout is None:
        raise SettingsError("stdout is closed, and the log goes there: lead it to a file or a pipe")
    return configure_logging(mode)


def say(sentence: str) -> None:
    """A sentence on stdout, as one line whatever others have named things."""
    sys.stdout.write(f"{printable(sentence)}\n")


def complain(sentence: str) -> None:
    """A sentence on stderr, as one line whatever others have named things."""
    sys.stderr.write(f"headgate: {printable(without_secrets(sentence))}\n")


def fail(sentence: str, code: int) -> NoReturn:
    """End the command with a sentence on stderr."""
    complain(sentence)
    raise typer.Exit(code)


def opened(url: str | None) -> "Store":
    """The store that is named, or that of HEADGATE_STORE; one that must be there already."""
    from controller.record.store import Store  # noqa: PLC0415 - reading logs needs no database

    return Store(store_of(url), create=False)


def store_of(url: str | None) -> str:
    """The URL of `--store`, or that of HEADGATE_STORE; an argument is no place for a password."""
    if url is not None and password_of(url):
        raise SettingsError(
            "--store holds a password, which everybody on this machine can see: set HEADGATE_STORE "
            "to that URL instead, or leave the password to PGPASSFILE"
        )
    return url or ProcessSettings.read().store


def daemon_of(store: str | None, url: str | None) -> Daemon | None:
    """The daemon to ask: that of --url or of HEADGATE_URL; None where the store is meant."""
    if store and url:
        raise SettingsError("give --url or --store, not both")
    remote = None if store else RemoteSettings.read(url)
    return Daemon(remote) if remote is not None else None


def actor() -> str:
    """Who gives an order: the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def book_of(logs: list[str] | None, store: str | None, at: datetime | None = None) -> reading.Book:
    """The journal, from log lines, a daemon or the store: the same lines, so the same answers.

    `at`: what was known then.
    """
    if logs and store:
        raise SettingsError("give --logs or --store, not both")
    if logs:
        return reading.fold(_log_of(logs), at)
    daemon = daemon_of(store, None)
    if daemon is not None:
        return reading.fold(daemon.journal(), at)
    record = opened(store)
    try:
        return reading.fold(record.journal(), at)
    finally:
        record.close()


def then(at: str | None) -> datetime | None:
    """The moment of `--at`."""
    return None if at is None else moment_of(at, datetime.now(UTC))


def _log_of(paths: list[str]) -> "Log":
    from controller.console.logs import read_lines  # noqa: PLC0415 - reading the store needs none

    log = read_lines(paths)
    for place in log.damaged:
        sys.stderr.write(f"headgate: {place} is damaged, and skipped\n")
    if log.damages > len(log.damaged):
        sys.stderr.write(f"headgate: {log.damages - len(log.damaged)} more are damaged\n")
    for path in log.cut:
        sys.stderr.write(f"headgate: {path} is damaged: it is read as far as it can be\n")
    if log.empty:
        raise reading.UnreadableLog(
            f"{', '.join(paths)}: holds no line of Headgate's log, as HEADGATE_LOG=json writes it"
        )
    if log.skipped:
        lines = "1 line was" if log.skipped == 1 else f"{log.skipped:,} lines were"
        sys.stderr.write(f"headgate: {lines} not Headgate's, and skipped\n")
    return log
