"""`headgate downgrade`: a store brought back to what an earlier Headgate can work on."""

import sys
from typing import Annotated

import typer

from controller.console.common import StoreUrl, in_words
from controller.settings import ProcessSettings

app = typer.Typer()


@app.command()
def downgrade(
    to: Annotated[str, typer.Option("--to", help="The schema of that version, like 0003.")],
    store: StoreUrl = None,
    discard: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--discard", help="Give up what the earlier schema has no place for.")
    ] = False,
) -> None:
    """Bring the record back to an earlier schema, so that an earlier Headgate can work on it.

    Nothing is lost without a word: what has no place there is listed, and nothing is done.
    """
    from controller.record import upgrades  # noqa: PLC0415 - only here

    with in_words():
        said = upgrades.downgrade(store or ProcessSettings.read().store, to, discard=discard)
    sys.stdout.write(f"{said}\n")
