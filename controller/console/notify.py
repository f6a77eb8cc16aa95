"""`headgate notify`: who is told of what, and whether it arrives."""

import sys
from typing import Annotated

import typer

from controller.console.common import DIFFERENT, USAGE, fail, in_words
from controller.places import meant

app = typer.Typer()


@app.command()
def notify(
    receiver: Annotated[str | None, typer.Argument(metavar="[RECEIVER]")] = None,
    test: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--test", help="Send each receiver one message.")
    ] = False,
) -> None:
    """Who is told of what, by HEADGATE_NOTIFY_FILE; with --test, exit 1 where nothing arrives."""
    from controller.daemon.receivers import TEST, senders  # noqa: PLC0415 - apprise takes a while
    from controller.notify import VARIABLE, read  # noqa: PLC0415

    with in_words():
        settings = read()
        if settings is None:
            fail(f"nobody is told of anything: name a file with receivers in {VARIABLE}", USAGE)
        known = settings.receivers
        if receiver is not None and receiver not in known:
            fail(f"there is no receiver {receiver}{meant(receiver, list(known))}", USAGE)
        sending, failed = senders(settings), False
        for name in [receiver] if receiver else known:
            one = known[name]
            told = f"{name}: {one.severity} and worse, of {', '.join(one.applications or ['all'])}"
            if test:
                arrived = sending[name](TEST)
                failed = failed or not arrived
                told += ": took the test message" if arrived else ": did not take the test message"
            sys.stdout.write(f"{told}\n")
    raise typer.Exit(DIFFERENT if failed else 0)
