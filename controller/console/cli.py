"""`headgate`: one command per verb; every failure is a sentence with a remedy and an exit code."""

import errno
import json
import os
import signal
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from controller.console import (
    applying,
    completing,
    downgrading,
    events,
    init,
    notify,
    pairs,
    reading,
    render,
    report,
    status,
    verbs,
)
from controller.console.admitting import admission_in_words
from controller.console.common import (
    DEFECT,
    DIFFERENT,
    FORSAKEN,
    UNWRITTEN,
    USAGE,
    WORKSPACE,
    At,
    Config,
    Json,
    Logs,
    ReadingCommand,
    Release,
    Selected,
    StoreUrl,
    acting,
    book_of,
    complain,
    fail,
    in_words,
    logging_to_stdout,
    opened,
    say,
    store_of,
    then,
)
from controller.console.guarding import gates_in_words, golden_in_words, guards_in_words
from controller.console.manual import ABOUT, PROGRAM, Manual
from controller.console.waiting import working
from controller.record.redaction import printable, without_secrets
from controller.settings import HttpSettings, ProcessSettings, after_of, load
from controller.variables import misspelt

LAST_SEQ = 2**63 - 1
"""The journal's last number that there can be: a database counts in 64 bits."""

app = typer.Typer(
    name=PROGRAM,
    cls=Manual,
    help=ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(init.app)
app.add_typer(applying.app)
app.add_typer(verbs.app)
app.add_typer(report.app)
app.add_typer(pairs.app)
app.add_typer(downgrading.app)
app.add_typer(events.app)
app.add_typer(status.app)
app.add_typer(notify.app)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COMPLETING = f"_{PROGRAM.upper()}_COMPLETE"
"""Set by a shell that asks what could be typed: nobody reads a sentence then."""


def main() -> None:
    """Run one command, and end with its exit code."""
    if COMPLETING not in os.environ:
        sys.stderr.writelines(f"headgate: {one}\n" for one in misspelt(os.environ))
    try:
        app()
    except SystemExit as ended:
        # Typer catches it where it can, and calls it a failure of ours.
        if isinstance(ended.__context__, BrokenPipeError):
            _forsaken()
            # What was found, if anything, was not told: no other code may claim it.
            sys.exit(FORSAKEN)
        if sys.stdout is not None:  # it may have been closed as the process began
            try:
                sys.stdout.flush()
            except OSError as error:
                _forsaken()
                if error.errno in NO_ROOM:
                    _say_full(error)
        raise
    except Exception as error:  # noqa: BLE001 - the last resort of every command, told in full
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _forsaken()
            _say_full(error)
        # No exit code that means something else may come of a defect.
        sys.stderr.write(without_secrets(traceback.format_exc()))
        sys.stderr.write("headgate: that is a defect of Headgate's: please report the above\n")
        sys.exit(DEFECT)


def _say_full(error: OSError) -> NoReturn:
    complain(f"{error.strerror}: make room where the output goes; what was done is done")
    sys.exit(UNWRITTEN)


def _forsaken() -> None:
    """Nobody reads our output any more, as after `| head`, or it has no room: write no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def run(config: Config) -> None:
    """Look after the applications of a configuration file, until SIGTERM."""
    # Until it beats there is nothing to drain: it ends at once, with the same codes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    from controller.daemon.main import run as run_daemon  # noqa: PLC0415 - only here
    from controller.notify import read as receivers  # noqa: PLC0415
    from controller.workspace.errors import Unconfigured  # noqa: PLC0415

    with in_words(), acting():
        process = ProcessSettings.read()
        sink = logging_to_stdout(process.log)
        try:
            code = run_daemon(config, process, HttpSettings.read(), receivers(), sink)
        except Unconfigured as error:
            fail(str(error), USAGE)
    raise typer.Exit(code)


@app.command("dead-man")
def dead_man(
    config: Config,
    after: Annotated[
        str, typer.Option("--after", metavar="DURATION", help="Nobody has looked for so long.")
    ] = "15m",
) -> None:
    """Send users home whom no daemon looks after any more, where `rollout.dead_man: stable`."""
    from controller.daemon.dead_man import run as look_after  # noqa: PLC0415 - only here
    from controller.notify import read as receivers  # noqa: PLC0415
    from controller.workspace.errors import Unconfigured  # noqa: PLC0415

    with in_words(), acting():
        process = ProcessSettings.read()
        sink = logging_to_stdout(process.log)
        try:
            done = look_after(config, process, after_of(after), receivers())
        except Unconfigured as error:
            fail(str(error), USAGE)
    # Read or not: what it came to is its exit code.
    for sentence in done.sentences:
        sink.write(f"{printable(sentence)}\n")
    raise typer.Exit(done.code)


@app.command()
def validate(
    config: Annotated[
        Path, typer.Option("--config", help="The configuration file.")
    ] = completing.USUAL,
    schema: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--schema", help="Print the JSON Schema for editors.")
    ] = False,
) -> None:
    """Check a configuration file, and say what it amounts to."""
    if schema:
        from controller.console.keys import schema_text  # noqa: PLC0415 - only here

        sys.stdout.write(schema_text())
        return
    with in_words():
        loaded = load(config)
        for name, one in loaded.applications.items():
            spec = one.spec()
            steps = ", ".join(f"{step} %" for step in spec.rollout.steps)
            if spec.rollout.hold_back:
                steps += f" ({spec.rollout.hold_back} % held back during the bake)"
            sys.stdout.write(
                f"{name}: {spec.model} on {spec.endpoint}, alias {spec.alias or 'none'}\n"
                f"  steps {steps}; {golden_in_words(spec)}\n"
            )
            told = (
                *admission_in_words(spec.admission),
                *gates_in_words(spec),
                *guards_in_words(name, spec),
            )
            sys.stdout.writelines(f"  {line}\n" for line in told)
        if ProcessSettings.read().warehouse is None:
            sys.stdout.write("note: DATABRICKS_WAREHOUSE_ID is not set here; the daemon needs it\n")


@app.command()
def plan(  # noqa: PLR0913, PLR0917 - typer's way: its options
    config: Config,
    application: Annotated[
        str | None, typer.Argument(metavar="APP", autocompletion=completing.applications)
    ] = None,
    rps: Annotated[
        float | None, typer.Option("--rps", help="The endpoint's requests per second.")
    ] = None,
    lag: Annotated[
        str | None, typer.Option("--lag", metavar="15m", help="How late counts by version are.")
    ] = None,
    errors: Annotated[
        str | None, typer.Option("--errors", metavar="0.5%", help="How often stable fails.")
    ] = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """What a release would take, find and cost; with --rps and --lag, without a workspace."""
    from controller.console import tables  # noqa: PLC0415 - with the judging, which others need not
    from controller.console.planning import Given, plans  # noqa: PLC0415
    from controller.workspace.errors import Unconfigured, WorkspaceError  # noqa: PLC0415

    with in_words():
        given = Given.read(rps, lag, errors)
        try:
            with working("reading what the endpoints have seen"):
                found = list(plans(config, application, ProcessSettings.read(), given))
        except Unconfigured as error:
            fail(f"{error}; or say --rps and --lag, and no workspace is asked", USAGE)
        except WorkspaceError as error:
            fail(str(error), WORKSPACE)
        if as_json:
            sys.stdout.write(json.dumps([one.as_json() for one in found], indent=2) + "\n")
            return
        for one in found:
            tables.show_plan(Console(highlight=False), one)


@app.command()
def backtest(  # noqa: PLR0913, PLR0917 - typer's way: its options
    config: Config,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Another policy, beside it.")
    ] = None,
    store: StoreUrl = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the splits; the same gives the same.")
    ] = 0,
    splits: Annotated[
        int, typer.Option("--splits", min=1, help="How many, for each kind of candidate.")
    ] = 100,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """What this configuration would have done with what the store has counted."""
    from controller.console import tables  # noqa: PLC0415 - with the judging, which others need not
    from controller.console.backtest import backtest as replayed  # noqa: PLC0415

    with in_words():
        url = store_of(store)
        with working("replaying") as progress:
            report = replayed(config, against, url, progress, seed=seed, number=splits)
        if as_json:
            sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
        else:
            tables.show_backtest(Console(highlight=False), report)


@app.command()
def doctor(
    config: Config,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write down what only a real workspace can tell."),
    ] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Ask the model a golden query.")] = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """What would stop a release, found by reading; exit 3 a person must act, 5 no workspace."""
    from controller.console.doctor import diagnose  # noqa: PLC0415 - the clients take seconds
    from controller.workspace.errors import Unconfigured  # noqa: PLC0415

    with in_words():
        try:
            with working("looking at the workspace") as progress:
                found = diagnose(config, ProcessSettings.read(), progress, probe=probe)
        except Unconfigured as error:
            fail(str(error), USAGE)
        if as_json:
            sys.stdout.write(json.dumps(found.report.as_json(), indent=2) + "\n")
        else:
            found.report.show(Console(highlight=False))
        if record is not None and not found.record(record):
            sys.stderr.write(f"headgate: {record} is not written: the workspace was not seen\n")
    raise typer.Exit(found.report.exit_code)


@app.command(
    # Every option is the sandbox's own, --help too.
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def sandbox(context: typer.Context) -> None:
    """An emulated Databricks workspace on loopback, until Ctrl-C; `--help` lists its settings."""
    command = [sys.executable, "-m", "deploy.sandbox", *context.args]
    os.execv(sys.executable, command)  # noqa: S606 - our own module, in place of this process


@app.command()
def demo(
    logs: Annotated[
        Path | None, typer.Option("--logs", metavar="FILE", help="Keep the daemon's log here.")
    ] = None,
) -> None:
    """Four versions of a RAG model, from registration to production or back, on the sandbox."""
    from controller.console.demo import Demo  # noqa: PLC0415 - only here

    raise typer.Exit(Demo(Console(highlight=False), logs).run())


@app.command(cls=ReadingCommand)
def history(  # noqa: PLR0913, PLR0917 - typer's way: its options
    selection: Selected = None,
    logs: Logs = None,
    store: StoreUrl = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="NAME",
            help="Only this; `headgate events` lists them.",
            autocompletion=events.named,
        ),
    ] = None,
    at: At = None,
    as_json: Json = False,  # noqa: FBT002 - typer's way
) -> None:
    """Everything that happened, in order; with --event, all that happened of a kind."""
    for name in event or ():
        events.known(name)
    with in_words():
        told = book_of(logs, store, then(at)).told(selection)
        rows = (line for line in told if not event or line["event"] in event)
        if as_json:
            sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            render.print_history(Console(highlight=False), rows)


@app.command(cls=ReadingCommand)
def explain(  # noqa: PLR0913, PLR0917 - typer's way: its options
    selection: Release,
    logs: Logs = None,
    store: StoreUrl = None,
    at: At = None,
    as_json: Json = False,  # noqa: FBT002
    again: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--recompute", help="Derive every verdict again from its lines.")
    ] = False,
) -> None:
    """Why a release is where it is: verdicts, numbers, tests, holds, and its way there.

    With --recompute, whether each verdict follows from what was written down; exit 1 if one does
    not.
    """
    with in_words():
        moment = then(at)
        book = book_of(logs, store, moment)
        if again:
            raise typer.Exit(_recompute(book, selection, as_json=as_json))
        told = book.explain(selection)
        if as_json:
            sys.stdout.write(json.dumps(told.__dict__, indent=2) + "\n")
        else:
            now = moment or datetime.now(UTC)
            render.print_explanation(Console(highlight=False), told, now)


@app.command("rebuild-log")
def rebuild_log(
    store: StoreUrl = None,
    after: Annotated[
        int,
        typer.Option(
            "--after", metavar="SEQ", min=0, max=LAST_SEQ, help="Only what follows this line."
        ),
    ] = 0,
) -> None:
    """Print the log again from the journal, line by line as it was printed at first (JSON)."""
    from controller.record.logging import json_line  # noqa: PLC0415 - reading needs no structlog

    with in_words():
        record = opened(store)
        try:
            sys.stdout.writelines(f"{json_line(line)}\n" for line in record.journal(after=after))
        finally:
            record.close()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    store: StoreUrl = None,
) -> None:
    """Write the whole record to a file, restore it elsewhere, and check it; daemons go on."""
    from controller.console.keeping import back_up  # noqa: PLC0415 - only here

    with in_words():
        record = opened(store)
        try:
            with working("copying the record, and checking the copy"):
                said = back_up(record, file)
        finally:
            record.close()
    say(said)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    store: StoreUrl = None,
    replace: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--replace", help="Even if the store has more than the backup.")
    ] = False,
) -> None:
    """Make a store of a backup; it may come from SQLite or PostgreSQL, and go to either."""
    from controller.console.keeping import restored  # noqa: PLC0415 - only here

    with in_words():
        url = store_of(store)
        with working("restoring the record, and checking it"):
            said = restored(file, url, replace=replace)
    say(said)


def _recompute(book: reading.Book, selection: str, *, as_json: bool) -> int:
    from controller.console.recompute import recompute  # noqa: PLC0415 - with the judging

    found = recompute(*book.attempt(selection))
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
    else:
        for sentence in (*found.differences, *found.earlier, found.sentence):
            say(sentence)
    if found.differences:
        return DIFFERENT
    return USAGE if found.earlier else 0
