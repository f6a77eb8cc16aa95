"""`headgate init`: a first configuration, from what an endpoint or a model is today."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from controller.console.common import USAGE, WORKSPACE, fail, in_words
from controller.console.waiting import working
from controller.sections.base import NAME
from controller.settings import ProcessSettings, SettingsError, load

app = typer.Typer()
STDOUT = Path("-")
ENDING = re.compile(r"[-_]endpoint\Z")
"""What many name an endpoint after, and an application need not."""


@app.command()
def init(
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="NAME", help="The endpoint to start from.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="CATALOG.SCHEMA.MODEL",
            help="Start from a model, whose endpoint Headgate is to create.",
        ),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option("--app", metavar="APP", help="Its name; by default after the endpoint."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE|-", help="Where to; - prints it.")
    ] = Path("headgate.yaml"),
    force: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--force", help="Even over a file that is there.")
    ] = False,
) -> None:
    """Write a first configuration from an endpoint that is there, or a model that has none yet.

    Without --endpoint and --model: which endpoints there are. It only reads the workspace.
    """
    from controller.workspace.errors import Unconfigured, WorkspaceError  # noqa: PLC0415

    with in_words():
        if output != STDOUT and output.exists() and not force:
            raise SettingsError(f"{output} is there already: say --force, or another --output")
        try:
            name, text = _draft(endpoint, model, application)
        except Unconfigured as error:
            fail(str(error), USAGE)
        except WorkspaceError as error:
            fail(str(error), WORKSPACE)
        if output == STDOUT:
            sys.stdout.write(text)
        else:
            _write(output, text, name, force=force)


def _draft(endpoint: str | None, model: str | None, application: str | None) -> tuple[str, str]:
    """The application's name, and the file's text."""
    from controller.console.drafting import Draft  # noqa: PLC0415 - the clients take seconds
    from controller.console.existing import Finder  # noqa: PLC0415
    from controller.workspace.errors import Refused  # noqa: PLC0415
    from controller.workspace.names import segment  # noqa: PLC0415

    if endpoint is not None:
        try:
            segment(endpoint)
        except Refused as error:
            raise SettingsError(f"--endpoint {endpoint!r}: no endpoint has such a name") from error
    with working("looking at the workspace") as progress:
        finder = Finder.connected()
        custom = finder.custom() if endpoint is None and model is None else {}
    if endpoint is None and model is None:
        endpoint = _chosen(custom)
    with working(f"reading {endpoint or model}") as progress:
        if model is not None:
            found = finder.model(model, endpoint)
        else:
            assert endpoint is not None, "it was given, or chosen"
            found = finder.endpoint(endpoint)
        progress("writing")
    name = application or ENDING.sub("", found.endpoint)
    if not NAME.match(name):
        raise SettingsError(f"--app {name}: use 1 to 63 letters, digits, - and _")
    return name, Draft(name, found).text()


def _chosen(custom: Mapping[str, tuple[str, ...]]) -> str:
    """The endpoint that a person picks; without a person, which there are, and a refusal."""
    if not custom:
        raise SettingsError(
            "no endpoint serves a registered model yet: say --model catalog.schema.model, and "
            "Headgate creates one at the first release"
        )
    told = "".join(f"  {name}: {', '.join(models)}\n" for name, models in sorted(custom.items()))
    sys.stderr.write(f"Endpoints with registered models:\n{told}")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SettingsError("say which one with --endpoint")
    asked: str = typer.prompt("Which one", err=True, default=min(custom))
    return asked


def _write(output: Path, text: str, name: str, *, force: bool) -> None:
    """Write the file, and beside it the schema that editors read; then see that it is valid."""
    from controller.console.doctor import VARIABLE  # noqa: PLC0415
    from controller.console.drafting import SCHEMA_FILE  # noqa: PLC0415
    from controller.console.keys import schema_text  # noqa: PLC0415

    schema, warehouse = output.parent / SCHEMA_FILE, ProcessSettings.read().warehouse
    kept = schema.exists() and not force
    try:
        output.write_text(text, encoding="utf-8")
        if not kept:
            schema.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{output}: cannot be written: {error.strerror}") from error
    load(output)
    left = sum(line.lstrip().startswith("# REVIEW") for line in text.splitlines())
    sys.stdout.write(
        f"{output} has a first configuration of {name}; editors read {schema}"
        f"{', which is left as it was' if kept else ''}.\n"
        f"Review the {left} places marked REVIEW; then `headgate doctor --config {output}`.\n"
    )
    if warehouse is None:
        sys.stdout.write(f"It stops at the SQL warehouse until you {VARIABLE}.\n")
