"""`headgate apply`: the running version's size and variables as configured, shown before."""

import getpass
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from controller.console.common import (
    USAGE,
    WORKSPACE,
    Application,
    Config,
    Reason,
    StoreUrl,
    fail,
    in_words,
    opened,
)
from controller.places import meant
from controller.settings import ApplicationSettings, SettingsError, load
from states.applying import refusal, undeclared
from states.release import Application as Recorded
from states.world import Endpoint, Size

if TYPE_CHECKING:
    from controller.record.store import Store

app = typer.Typer()
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for pipelines.")]


@app.command()
def apply(
    application: Application,
    config: Config,
    *,
    yes: Yes = False,
    reason: Reason = "",
    store: StoreUrl = None,
) -> None:
    """Give the running version its size and variables as configured, and watch it as in a bake."""
    with in_words():
        applications = load(config).applications
        settings = applications.get(application)
        if settings is None:
            told = meant(application, list(applications), "there is")
            raise SettingsError(f"{config}: there is no application {application}{told}")
        record = opened(store)
        try:
            _apply(application, settings, record, reason, yes=yes)
        finally:
            record.close()


def _apply(
    name: str, settings: ApplicationSettings, record: "Store", reason: str, *, yes: bool
) -> None:
    known = record.load(name, settings.spec()).application
    why = refusal(known) or undeclared(known)
    if why is not None:
        fail(f"cannot apply to {name}: {why}", USAGE)
    endpoint = _seen(settings.endpoint)
    if endpoint.updating:
        fail(f"endpoint {settings.endpoint} is being updated: apply once that has ended", USAGE)
    lines = list(difference(known, endpoint))
    held = known.upkeep.stuck
    if not lines and held is None:
        sys.stdout.write(f"{name}/{known.incumbent} runs as configured: nothing to apply\n")
        return
    sys.stdout.write(
        f"{name}/{known.incumbent} on {settings.endpoint}: as it runs -> as configured\n"
    )
    sys.stdout.writelines(
        f"  {line}\n" for line in lines or ["no difference: what is held goes on"]
    )
    if not yes and not _agreed():
        sys.stdout.write("nothing was asked for\n")
        return
    said = record.give_wish(name, settings.spec().setup, getpass.getuser(), reason)
    sys.stdout.write(f"{said}, and watched for its bake\n")


def difference(known: Recorded, endpoint: Endpoint) -> Iterator[str]:
    """What would change, a line for each thing; of variables their names, never their values."""
    setup, version = known.spec.setup, known.incumbent
    assert version is not None, "checked by `refusal`"
    runs = endpoint.sizes.get(known.entity(version))
    size = setup.size or runs or Size(scale_to_zero=setup.scale_to_zero)
    if runs is None or not runs.same_as(size):
        yield f"size: {runs or 'not told'} -> {size}"
    given, wanted = known.upkeep.variables, setup.variables
    if given is None:
        names = ", ".join(wanted.names) or "none"
        yield f"variables: what it has is not known to Headgate -> {names}, as configured"
    elif given != wanted:
        yield f"variables: {'; '.join(_named(given.names, wanted.names))}"


def _named(given: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[str]:
    """How two sets of names differ, and which values may."""
    for told, names in (
        ("added", [one for one in wanted if one not in given]),
        ("removed", [one for one in given if one not in wanted]),
        ("kept, with values as configured now", [one for one in wanted if one in given]),
    ):
        if names:
            yield f"{told}: {', '.join(names)}"


def _seen(name: str) -> Endpoint:
    """The endpoint as it is now."""
    # The workspace's clients take seconds to import.
    from controller.workspace.client import connect  # noqa: PLC0415
    from controller.workspace.errors import Unconfigured, WorkspaceError  # noqa: PLC0415
    from controller.workspace.serving import Endpoints  # noqa: PLC0415

    try:
        endpoint = Endpoints(connect()).observe(name)
    except Unconfigured as error:
        fail(str(error), USAGE)
    except WorkspaceError as error:
        fail(str(error), WORKSPACE)
    if not isinstance(endpoint, Endpoint):
        fail(f"endpoint {name} is not there", USAGE)
    return endpoint


def _agreed() -> bool:
    """A person's word; nobody is asked where nobody can answer."""
    if not sys.stdin.isatty():
        fail("nobody is there to ask: say --yes to apply this", USAGE)
    return typer.confirm("apply this?", default=False)
