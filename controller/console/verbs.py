"""The commands that ask something of a release: orders, and answers to what others changed."""

import getpass
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import typer

from controller.console.common import Application, Reason, Release, StoreUrl, in_words, opened
from controller.console.ringing import ring
from states.release import Order

if TYPE_CHECKING:
    from controller.record.store import Store

app = typer.Typer()


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


def _order(selection: str, order: Order, reason: str, url: str | None) -> None:
    name, _, version = selection.partition("/")
    _say(url, lambda record, actor: record.give_order(name, version or None, order, actor, reason))
    ring(name)


def _answer(
    application: str, word: Literal["adopt", "revert"], reason: str, url: str | None
) -> None:
    _say(url, lambda record, actor: record.give_answer(application, word, actor, reason))
    ring(application)


def _say(url: str | None, give: Callable[["Store", str], str]) -> None:
    with in_words():
        record = opened(url)
        try:
            said = give(record, getpass.getuser())
        finally:
            record.close()
    sys.stdout.write(f"{said}\n")
