"""`headgate apply`: the running version's size and variables as configured, shown before."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from controller.console.common import (
    USAGE,
    WORKSPACE,
    Application,
    Config,
    Reason,
    StoreUrl,
    Url,
    actor,
    daemon_of,
    fail,
    in_words,
    opened,
    say,
)
from controller.console.verbs import given
from controller.places import meant
from controller.record.asking import Asked
from controller.settings import ApplicationSettings, SettingsError, load
from policies.rollout import WHOLE
from states.applying import refusal, undeclared
from states.release import Application as Recorded
from states.world import Endpoint

app = typer.Typer()
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for pipelines.")]


@app.command()
def apply(  # noqa: PLR0913 - typer's way: its options
    application: Application,
    config: Config,
    *,
    yes: Yes = False,
    reason: Reason = "",
    store: StoreUrl = None,
    url: Url = None,
) -> None:
    """Give the running version its size and variables as configured, and watch it as in a bake."""
    with in_words():
        applications = load(config).applications
        settings = applications.get(application)
        if settings is None:
            told = meant(application, list(applications), "there is")
            raise SettingsError(f"{config}: there is no application {application}{told}")
        wanted = Asked(
            verb="apply",
            application=application,
            actor=actor(),
            reason=reason,
            setup=settings.spec().setup,
        )
        if daemon_of(store, url) is None:
            known = _recorded(application, settings, store)
            _show(known, _seen(settings.endpoint))
        else:
            endpoint = _seen(settings.endpoint)
            _show(_serving(application, settings, endpoint), endpoint, "this command")
        if not yes and not _agreed():
            sys.stdout.write("nothing was asked for\n")
            return
        said = given(wanted, store, url)
    sys.stdout.write(f"{said}, and watched for its bake\n")


def _recorded(name: str, settings: ApplicationSettings, store: str | None) -> Recorded:
    """What the record has of the application; refused where nothing can be applied now."""
    record = opened(store)
    try:
        known = record.load(name, settings.spec()).application
    finally:
        record.close()
    why = refusal(known) or undeclared(known)
    if why is not None:
        fail(f"cannot apply to {name}: {why}", USAGE)
    return known


def _serving(name: str, settings: ApplicationSettings, endpoint: Endpoint) -> Recorded:
    """As much as the endpoint tells, where the record is a daemon's, which refuses by itself."""
    whole = {
        share.version: entity
        for entity, share in endpoint.serving.shares.items()
        if share.weight == WHOLE and share.model == settings.model
    }
    if not whole:
        fail(f"cannot apply to {name}: no version of {settings.model} has all users", USAGE)
    [version] = whole
    return Recorded(name=name, spec=settings.spec(), adopted=True, stable=version, names=whole)


def _show(known: Recorded, endpoint: Endpoint, reader: str = "Headgate") -> None:
    """What would change; ends the command where nothing would."""
    if endpoint.updating:
        fail(f"endpoint {known.spec.endpoint} is being updated: apply once that has ended", USAGE)
    name, lines = known.name, list(difference(known, endpoint, reader))
    if not lines and known.upkeep.stuck is None:
        say(f"{name}/{known.incumbent} runs as configured: nothing to apply")
        raise typer.Exit
    say(f"{name}/{known.incumbent} on {known.spec.endpoint}: as it runs -> as configured")
    for line in lines or ["no difference: what is held goes on"]:
        say(f"  {line}")


def difference(known: Recorded, endpoint: Endpoint, reader: str = "Headgate") -> Iterator[str]:
    """What would change, a line for each thing; of variables their names, never their values.

    `reader` is whose knowledge `known` is.
    """
    setup, version = known.spec.setup, known.incumbent
    assert version is not None, "checked by `refusal`"
    runs = endpoint.sizes.get(known.entity(version))
    size = setup.sized(runs)
    if runs is None or not runs.same_as(size):
        yield f"size: {runs or 'not told'} -> {size}"
    given, wanted = known.upkeep.variables, setup.variables
    if given is None:
        names = ", ".join(wanted.names) or "none"
        yield f"variables: what it has is not known to {reader} -> {names}, as configured"
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
