"""`headgate status`: what state each release is in, and why; once, on and on, or until its end."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer

from controller.console import reading, tree, watching
from controller.console.common import (
    At,
    Json,
    Logs,
    ReadingCommand,
    Selected,
    StoreUrl,
    book_of,
    complain,
    daemon_of,
    in_words,
    opened,
    then,
)
from controller.console.glance import Glance, glances
from controller.console.sources import DaemonSource, LogSource, Source, StoreSource
from controller.console.watching import Clock, Goal, Watch
from controller.settings import ProcessSettings, SettingsError, length_of

app = typer.Typer()
INTERRUPTED = 130
"""Exit code after Ctrl-C, as that of `run`."""

Watching = Annotated[
    bool, typer.Option("-w", "--watch", help="Go on: refresh, or in a pipe one line per change.")
]
Waiting = Annotated[
    bool, typer.Option("--wait", help="End with the release: 0 good, 1 back, 3 ask, 4 too late.")
]
For = Annotated[
    Goal,
    typer.Option("--for", help="What --wait waits for: all users and alias, or the watch's end."),
]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="2h", help="Longest that --wait waits.")
]


@app.command(cls=ReadingCommand)
def status(  # noqa: PLR0913, PLR0917 - typer's way: its options
    selection: Selected = None,
    logs: Logs = None,
    store: StoreUrl = None,
    at: At = None,
    all_: Annotated[bool, typer.Option("--all", help="Every release, ended ones too.")] = False,  # noqa: FBT002 - typer's way
    as_json: Json = False,  # noqa: FBT002
    watch: Watching = False,  # noqa: FBT002
    wait: Waiting = False,  # noqa: FBT002
    goal: For = "confirmed",
    timeout: Timeout = None,
) -> None:
    """What state each release is in, and why; exit 1 rolled back, 3 a person must act.

    Ctrl-C ends --watch and --wait with 130.
    """
    with in_words():
        limit, moment = _limit(selection, wait=wait, watch=watch, timeout=timeout), then(at)
        if moment is not None and (wait or watch):
            raise SettingsError("--at is about what is past: nothing changes there to wait for")
        if not watch and not wait:
            raise typer.Exit(_once(selection, logs, store, moment, all_=all_, as_json=as_json))
        with _source(logs, store, selection, all_=all_) as source:
            try:
                seen = Watch(source, selection, Clock(), all_=all_, awaited=wait)
                seen.first()
                if wait:
                    raise typer.Exit(watching.wait(sys.stdout, seen, str(selection), goal, limit))
                _watch(seen, store, as_json=as_json)
            except KeyboardInterrupt:
                raise typer.Exit(INTERRUPTED) from None


def _limit(
    selection: str | None, *, wait: bool, watch: bool, timeout: str | None
) -> timedelta | None:
    """How long to wait; what makes no sense together is refused."""
    if wait and watch:
        raise SettingsError("say --wait or --watch, not both: --wait tells every change as well")
    if wait and not (selection or "").partition("/")[2]:
        raise SettingsError("name the release to wait for, as in `status rag-chatbot/7 --wait`")
    if timeout is None:
        return None
    if not wait:
        raise SettingsError("--timeout is for --wait")
    return length_of("--timeout ", timeout)


def _once(  # noqa: PLR0913 - what the command was asked
    selection: str | None,
    logs: list[str] | None,
    store: str | None,
    moment: datetime | None,
    *,
    all_: bool,
    as_json: bool,
) -> int:
    now = moment or Clock().now()
    if logs or moment:
        book = book_of(logs, store, moment)
        told = glances(book, selection, all_=all_)
        at = None if book.told_at is None else datetime.fromisoformat(book.told_at)
        footer = watching.age(at, now)
    else:
        with _source(logs, store, selection, all_=all_) as source:
            told = watching.look(source, selection, all_=all_)
            footer = watching.footer(source, now, source.silence(now))
    if as_json:
        _print_json(told)
    else:
        console = tree.console()
        past = moment is not None
        tree.page(console, told, now, store=store, footer=footer, past=past).show(console)
    statuses = [one for glance in told for one in glance.releases]
    return reading.exit_code(statuses, [one.name for one in told if one.waiting is not None])


def _print_json(told: list[Glance]) -> None:
    sys.stdout.write(json.dumps([one for glance in told for one in glance.as_json()], indent=2))
    sys.stdout.write("\n")
    for glance in told:
        if glance.waiting is not None:
            complain(f"{glance.name}: {glance.waiting}")


def _watch(seen: Watch, store: str | None, *, as_json: bool) -> None:
    console = tree.console()
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        watching.in_pipe(sys.stdout, seen, as_json=as_json)
        return
    try:
        watching.on_terminal(console, seen, store)
    finally:
        # The screen of before is back: what was shown last stays, below the command.
        shown = tree.page(console, seen.told, seen.clock.now(), store=store, footer=seen.footer)
        shown.show(console)


@contextmanager
def _source(
    logs: list[str] | None, store: str | None, selection: str | None, *, all_: bool
) -> Iterator[Source]:
    if logs and store:
        raise SettingsError("give --logs or --store, not both")
    if logs:
        if "-" in logs:
            raise SettingsError("standard input is read once: name the log's file to go on with it")
        with closing(LogSource(logs)) as source:
            yield source
        return
    daemon = daemon_of(store, None)
    if daemon is not None:
        yield DaemonSource(daemon)
        return
    process = ProcessSettings.read()
    with closing(opened(store)) as record:
        yield StoreSource(record, process.poll, selection, all_=all_)
