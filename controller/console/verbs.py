"""The commands that ask something of a release: orders, and answers to what others changed."""

import getpass
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from controller.console import completing
from controller.console.common import Application, Reason, Release, StoreUrl, in_words, opened
from controller.console.ringing import ring
from states.release import Order

if TYPE_CHECKING:
    from controller.record.store import Store

app = typer.Typer()
Version = Annotated[str, typer.Argument(metavar="APP/VERSION", autocompletion=completing.releases)]
Override = Annotated[
    bool, typer.Option("--override", help="Also without proof, and past what holds.")
]


@app.command()
def pause(release: Release, reason: Reason = "", store: StoreUrl = None) -> None:
    """Raise no exposure until `resume`; harm still closes the gate."""
    _order(release, Order.PAUSE, reason, store)


@app.command()
def resume(release: Release, reason: Reason = "", store: StoreUrl = None) -> None:
    """Go on after `pause`; the step's proof starts anew."""
    _order(release, Order.RUN, reason, store)


@app.command()
def abort(release: Release, reason: Reason = "", store: StoreUrl = None) -> None:
    """Go back to the stable version, from any state."""
    _order(release, Order.ABORT, reason, store)


@app.command()
def adopt(application: Application, reason: Reason = "", store: StoreUrl = None) -> None:
    """Take what others changed as it was found; another version at 100 % becomes stable."""
    _answer(application, "adopt", reason, store)


@app.command()
def revert(application: Application, reason: Reason = "", store: StoreUrl = None) -> None:
    """Put back what others changed, once."""
    _answer(application, "revert", reason, store)


@app.command()
def approve(release: Release, reason: Reason = "", store: StoreUrl = None) -> None:
    """Let a release past what it asks: its approval, or an input that changed."""
    name, version = _parts(release)
    _say(store, name, lambda record, actor: record.approve(name, version, actor, reason))


@app.command()
def promote(
    release: Release,
    reason: Reason = "",
    override: Override = False,  # noqa: FBT002 - typer's way
    store: StoreUrl = None,
) -> None:
    """Open the next step, or end the bake, now; without proof only with --override."""
    name, version = _parts(release)
    _say(
        store,
        name,
        lambda record, actor: record.promote(name, version, actor, reason, override=override),
    )


@app.command("release")
def begin(version: Version, reason: Reason = "", store: StoreUrl = None) -> None:
    """Release a version, old or new, before those that start by themselves."""
    name, number = _parts(version)
    _say(store, name, lambda record, actor: record.begin(name, number, "release", actor, reason))


@app.command()
def retry(release: Release, reason: Reason = "", store: StoreUrl = None) -> None:
    """Try a version again that was rolled back."""
    name, version = _parts(release)
    _say(store, name, lambda record, actor: record.begin(name, version, "retry", actor, reason))


@app.command()
def undo(application: Application, reason: Reason = "", store: StoreUrl = None) -> None:
    """Go back to the version that was stable before; what is under way is aborted."""
    _say(store, application, lambda record, actor: record.undo(application, actor, reason))


def _parts(selection: str) -> tuple[str, str | None]:
    name, _, version = selection.partition("/")
    return name, version or None


def _order(selection: str, order: Order, reason: str, url: str | None) -> None:
    name, version = _parts(selection)
    _say(url, name, lambda record, actor: record.give_order(name, version, order, actor, reason))


def _answer(
    application: str, word: Literal["adopt", "revert"], reason: str, url: str | None
) -> None:
    _say(
        url,
        application,
        lambda record, actor: record.give_answer(application, word, actor, reason),
    )


def _say(url: str | None, application: str, give: Callable[["Store", str], str]) -> None:
    with in_words():
        record = opened(url)
        try:
            said = give(record, getpass.getuser())
        finally:
            record.close()
    sys.stdout.write(f"{said}\n")
    ring(application)
