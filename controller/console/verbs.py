"""The commands that ask something of a release: orders, and answers to what others changed.

Each goes into the store, or to a daemon over HTTP, and means the same by either way.
"""

from typing import Annotated

import typer

from controller.console import completing
from controller.console.common import (
    Application,
    Reason,
    Release,
    StoreUrl,
    Url,
    actor,
    complain,
    daemon_of,
    in_words,
    opened,
    say,
)
from controller.console.ringing import ring
from controller.record.asking import Asked, Asking, obey
from controller.record.errors import OrderRefused

app = typer.Typer()
Version = Annotated[str, typer.Argument(metavar="APP/VERSION", autocompletion=completing.releases)]
Override = Annotated[
    bool, typer.Option("--override", help="Also without proof, and past what holds.")
]


@app.command()
def pause(release: Release, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Raise no exposure until `resume`; harm still closes the gate."""
    _say("pause", release, reason, store, url)


@app.command()
def resume(release: Release, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Go on after `pause`; the step's proof starts anew."""
    _say("resume", release, reason, store, url)


@app.command()
def abort(release: Release, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Go back to the stable version, from any state."""
    _say("abort", release, reason, store, url)


@app.command()
def adopt(
    application: Application, reason: Reason = "", store: StoreUrl = None, url: Url = None
) -> None:
    """Take what others changed as it was found; another version at 100 % becomes stable."""
    _say("adopt", application, reason, store, url)


@app.command()
def revert(
    application: Application, reason: Reason = "", store: StoreUrl = None, url: Url = None
) -> None:
    """Put back what others changed, once."""
    _say("revert", application, reason, store, url)


@app.command()
def approve(release: Release, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Let a release past what it asks: its approval, or an input that changed."""
    _say("approve", release, reason, store, url)


@app.command()
def promote(
    release: Release,
    reason: Reason = "",
    override: Override = False,  # noqa: FBT002 - typer's way
    store: StoreUrl = None,
    url: Url = None,
) -> None:
    """Open the next step, or end the bake, now; without proof only with --override."""
    _say("promote", release, reason, store, url, override=override)


@app.command("release")
def begin(version: Version, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Release a version, old or new, before those that start by themselves."""
    _say("release", version, reason, store, url)


@app.command()
def retry(release: Release, reason: Reason = "", store: StoreUrl = None, url: Url = None) -> None:
    """Try a version again that was rolled back."""
    _say("retry", release, reason, store, url)


@app.command()
def undo(
    application: Application, reason: Reason = "", store: StoreUrl = None, url: Url = None
) -> None:
    """Go back to the version that was stable before; what is under way is aborted."""
    _say("undo", application, reason, store, url)


def _say(  # noqa: PLR0913 - an order has this many parts
    verb: Asking,
    selection: str,
    reason: str,
    store: str | None,
    url: str | None,
    *,
    override: bool = False,
) -> None:
    name, _, version = selection.partition("/")
    with in_words():
        asked = Asked(
            verb=verb,
            application=name,
            version=version or None,
            actor=actor(),
            reason=reason,
            override=override,
        )
        said = given(asked, store, url)
    say(said)


def given(asked: Asked, store: str | None, url: str | None) -> str:
    """Give an order by the way that was chosen; what will be done, in a sentence."""
    try:
        "".join((asked.application, asked.version or "", asked.reason, asked.actor)).encode()
    except UnicodeEncodeError as error:
        # No record can hold it, and no daemon is told of it.
        raise OrderRefused(
            "an order is written in UTF-8, and its application, version, reason, or the user who "
            "gives it (LOGNAME) is not: correct that"
        ) from error
    daemon = daemon_of(store, url)
    if daemon is not None:
        return daemon.order(asked)
    from controller.record.hearing import unheard  # noqa: PLC0415 - asking a daemon needs no store

    record = opened(store)
    try:
        said = obey(record, asked)
        nobody = unheard(record, asked.application)
    finally:
        record.close()
    if nobody is not None:
        complain(f"note: {nobody}")
    else:
        ring(asked.application)
    return said
