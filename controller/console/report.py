"""`headgate report`: an endpoint's days, or the whole story of one release."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from controller.console.common import (
    USAGE,
    WORKSPACE,
    Json,
    Logs,
    ReadingCommand,
    Release,
    StoreUrl,
    book_of,
    fail,
    in_words,
)
from controller.console.waiting import working
from controller.places import meant
from controller.settings import ApplicationSettings, ProcessSettings, SettingsError, load

app = typer.Typer()
LONGEST = 366
"""Days that one report may have: its table is read whole."""

Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML page.")
]


@app.command(cls=ReadingCommand)
def report(  # noqa: PLR0913, PLR0917 - typer's way: its options
    selection: Release,
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration file; needed for APP alone.")
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=LONGEST, help="How many, today included.")
    ] = 7,
    logs: Logs = None,
    store: StoreUrl = None,
    html: Html = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Of APP: requests, errors and latency by day, from its inference table. Of APP/VERSION: the
    whole story of a release, from the store or the log; with --config its bad requests, if it was
    rolled back, are looked up once more.
    """  # noqa: D205 - the help's one paragraph
    with in_words():
        if "/" in selection:
            _release(selection, config, logs, store, html, as_json=as_json)
        elif logs or store:
            raise SettingsError(
                f"{selection} alone is told of by its inference table: name a release, as in "
                f"{selection}/7, to read the store or the log"
            )
        else:
            _traffic(selection, config, days, html, as_json=as_json)


def _release(  # noqa: PLR0913 - its options
    selection: str,
    config: Path | None,
    logs: list[str] | None,
    store: str | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from controller.console import dossier  # noqa: PLC0415 - with the judging
    from controller.console.account import account  # noqa: PLC0415
    from controller.pages import page  # noqa: PLC0415
    from controller.pages import release as release_page  # noqa: PLC0415

    told = account(book_of(logs, store), selection)
    if config is not None:
        from controller.console.looking import looked_up  # noqa: PLC0415 - with the clients

        settings = _settings(config, told.status["application"])
        with _asking("looking up its bad requests"):
            told = looked_up(told, settings, ProcessSettings.read())
    if html is not None:
        page.write(html, release_page.document(told))
    if as_json:
        sys.stdout.write(json.dumps(told.as_json(), indent=2) + "\n")
    else:
        dossier.show(Console(highlight=False), told)


def _traffic(
    name: str, config: Path | None, days: int, html: Path | None, *, as_json: bool
) -> None:
    from controller.console import traffic  # noqa: PLC0415 - only here
    from controller.pages import page  # noqa: PLC0415

    if config is None:
        raise SettingsError(
            f"say --config FILE, which tells where {name} is served; or name a release, as in "
            f"{name}/7, and the record tells its story"
        )
    settings = _settings(config, name)
    with _asking("reading the inference table"):
        told = traffic.read(name, settings, ProcessSettings.read(), days)
    if html is not None:
        page.write(html, traffic.document(told))
    if as_json:
        sys.stdout.write(json.dumps(told.as_json(), indent=2) + "\n")
    else:
        traffic.show(Console(highlight=False), told)


def _settings(config: Path, name: str) -> ApplicationSettings:
    applications = load(config).applications
    if name not in applications:
        told = meant(name, list(applications), "there is")
        raise SettingsError(f"{config}: has no application {name}{told}")
    return applications[name]


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Show that a workspace is asked; tell what it refuses, or does not answer, with its code."""
    from controller.workspace.errors import Unconfigured, WorkspaceError  # noqa: PLC0415

    try:
        with working(doing):
            yield
    except Unconfigured as error:
        fail(str(error), USAGE)
    except WorkspaceError as error:
        fail(str(error), WORKSPACE)
