"""An operator's order: written beside the release, never into it, and journalled at once."""

from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection, select, update

from controller.places import meant
from controller.record import codec
from controller.record.asking import Via
from controller.record.errors import OrderRefused
from controller.record.loading import Known, Loaded, load_application, mark, understood
from controller.record.schema import APPLICATIONS, RELEASES
from controller.record.writing import append, event_row
from states.answering import refusal, strays
from states.applying import refusal as refusal_to_apply
from states.difference import Answer
from states.machine import State
from states.plan import Event
from states.release import Application, Order, Release
from states.setup import Setup, Wish
from states.subject import strayed
from states.verbs import TYPED, order_refusal, ordered

_ANSWERED = {
    "adopt": "is adopted as it was found, with the next look",
    "revert": "is put back, with the next look",
}


def give(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str | None,
    order: Order,
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write an order down within the caller's transaction, and say what was done."""
    loaded = locked(connection, application)
    beside = _beside(loaded.application) if order is Order.ABORT else ""
    try:
        release = chosen(loaded.application, version)
    except OrderRefused as error:
        raise OrderRefused(f"{error}{beside}") from error
    said = f"{release.key} {ordered(release, order)}{beside}"
    if order is Order.RUN:
        said += waits_for(loaded.application)
    if release.order is order is not Order.RUN:
        return f"{said} (it was ordered before)"
    why = order_refusal(release, order)
    if why is not None:
        raise OrderRefused(why)
    if release.order is order:
        return said
    changed = loaded.application.with_release(replace(release, order=order))
    overtake(connection, application)
    seen = loaded.releases[mark(release)]
    connection.execute(update(RELEASES).where(RELEASES.c.id == seen.id).values(order_=order.value))
    event = Event(
        name="order.given",
        release=mark(release),
        because=reason or f"{actor} ordered {order.value}",
        fields=told_by(actor, via, reason, TYPED[order]),
    )
    append(connection, [event_row(event, changed)])
    return said


def _beside(application: Application) -> str:
    """Users whom an abort does not take home, and what does, to be added to an answer."""
    found = [
        f"version {version} has {share} % of users"
        for version, share in strays(application).items()
    ]
    if not found:
        return ""
    why = refusal(application, "revert")
    remedy = f"`headgate revert {application.name}` takes them back" if why is None else why
    return f"; others changed the endpoint, and {', '.join(found)}: {remedy}"


def waits_for(application: Application) -> str:
    """What the application as a whole waits for first, to be added to an answer; else nothing."""
    if application.hold is None:
        return ""
    return f"; it waits for something else first: {application.hold}"


def told_by(actor: str, via: Via, reason: str, verb: str) -> dict[str, object]:
    """Who ordered what, by which way, and why: what every order's event has.

    By the store the actor is the operating system's user; by HTTP a name that the token's holder
    claims.
    """
    return {"actor": actor, "via": via, "reason": reason, "verb": verb}


def answer(  # noqa: PLR0913, PLR0917 - as above
    connection: Connection,
    application: str,
    word: Literal["adopt", "revert"],
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write down a person's answer to the change that is shown now, and say what will be done.

    It is for that change alone: one that comes before the next look makes it void.
    """
    known = locked(connection, application).application
    if known.change is None:
        waits = f"it waits for something else: {known.hold}" if known.hold else "it waits for none"
        raise OrderRefused(f"nothing of {application} is shown as changed by others: {waits}")
    why = refusal(known, word)
    if why is not None:
        raise OrderRefused(f"cannot {word} {application}: {why}")
    given = Answer(answer=word, difference=known.change.key)
    said = f"{application}: {'; '.join(known.change.difference)}: {_ANSWERED[word]}"
    if known.answer == given:
        return f"{said} (it was answered before)"
    told = {"difference": list(known.change.difference)}
    _write_word(
        connection,
        known,
        given,
        Event(
            name="order.given",
            because=reason or f"{actor} ordered {word}",
            fields={**told_by(actor, via, reason, word), "answer": word, **told},
        ),
    )
    return said


def overtake(connection: Connection, application: str) -> None:
    """Whatever pass is under way must look again, even one that writes nothing of this release."""
    connection.execute(
        update(APPLICATIONS)
        .where(APPLICATIONS.c.name == application)
        .values(row=APPLICATIONS.c.row + 1)
    )


def wish(  # noqa: PLR0913, PLR0917 - as above
    connection: Connection,
    application: str,
    setup: Setup,
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write down that the running version is to be set up as configured; what will be done.

    The daemon does it if its own configuration says the same.
    """
    known = locked(connection, application).application
    # What is configured is not in the store: the daemon looks at that itself.
    why = refusal_to_apply(known)
    if why is not None:
        raise OrderRefused(f"cannot apply to {application}: {why}")
    number = known.upkeep.applied + 1
    given = Wish.of(setup, number)
    said = f"{application}/{known.incumbent} is set up as configured, with the next look"
    if known.wish == given:
        return f"{said} (it was asked for before)"
    sleeps = "scales" if setup.scale_to_zero else "does not scale"
    size = str(setup.size) if setup.size else f"size as it is, {sleeps} to zero"
    told = {"apply": size, "variables": list(setup.variables.names)}
    _write_word(
        connection,
        known,
        given,
        Event(
            name="order.given",
            because=reason or f"{actor} ordered apply",
            fields={**told_by(actor, via, reason, "apply"), **told},
        ),
    )
    return said


def _write_word(
    connection: Connection, known: Application, word: Answer | Wish, told: Event
) -> None:
    """A person's word on an application, in its column, and told of its foremost release."""
    connection.execute(
        update(APPLICATIONS)
        .where(APPLICATIONS.c.name == known.name)
        .values(answer=codec.word_text(word), row=APPLICATIONS.c.row + 1)
    )
    shown = known.foremost
    event = replace(told, release=mark(shown) if shown else None)
    append(connection, [event_row(event, known)])


def locked(connection: Connection, application: str) -> Loaded:
    """The application, whose row is locked first as in every commit: writers wait in one order.

    `Unreadable`, if nobody can understand what is there.
    """
    row = select(APPLICATIONS.c.row).where(APPLICATIONS.c.name == application)
    connection.execute(row.with_for_update())
    with understood(application):
        loaded, _ = load_application(connection, application, None, Known())
    if loaded.row == 0:
        found = connection.execute(select(APPLICATIONS.c.name).order_by(APPLICATIONS.c.name))
        names = tuple(found.scalars())
        told = meant(application, names, "there is") if names else ""
        raise OrderRefused(f"there is no application {application} in this store{told}")
    stray = strayed(loaded.application)
    if stray is not None:
        raise OrderRefused(f"nothing that is ordered of {application} would be done: {stray}")
    return loaded


def chosen(application: Application, version: str | None) -> Release:
    """The release that an order is for: the newest attempt, and one that an order can move."""
    if version is None:
        waiting = [one for one in application.releases if one.state is State.REGISTERED]
        chosen = application.live or max(
            waiting, key=lambda one: (int(one.version), one.attempt), default=None
        )
        if chosen is None:
            raise OrderRefused(
                f"no release of {application.name} is under way; {existing(application)}"
            )
        return chosen
    found = application.newest(version)
    if found is None:
        raise OrderRefused(
            f"there is no release {application.name}/{version}; {existing(application)}"
        )
    if not found.live and found.state is not State.REGISTERED:
        raise OrderRefused(
            f"{found.key} is {found.state.value} and over: an order cannot move it; "
            f"{existing(application)}"
        )
    return found


def existing(application: Application) -> str:
    """Which releases there are, for a sentence that refuses another."""
    if not application.releases:
        return f"{application.name} has no releases yet"
    newest = sorted({one.version for one in application.releases}, key=int, reverse=True)
    told = [application.newest(version) for version in newest[:5]]
    return "there is " + ", ".join(f"{one.key} ({one.state.value})" for one in told if one)
