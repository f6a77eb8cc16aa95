"""What operators say of a release, and the releases that they ask for: written beside the daemon.

Each is one transaction with the journal row that tells of it, and makes a pass that is under way
look again. A word is a column that no commit writes; an attempt that is asked for is a row of its
own, which the next pass finds waiting.
"""

import re
from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from controller.record import codec
from controller.record.asking import Via
from controller.record.errors import OrderRefused
from controller.record.loading import Loaded, mark
from controller.record.orders import chosen, give, locked, overtake, told_by, waits_for
from controller.record.schema import RELEASES
from controller.record.writing import append, event_row
from states.consent import Verb, Word
from states.gates import position
from states.machine import State
from states.plan import Event
from states.release import Application, Order, Release
from states.verbs import (
    approve_refusal,
    begin_refusal,
    promote_refusal,
    undo_refusal,
    unproven,
)

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
"""A whole number from 1, of no more digits than a database compares as 64 bits."""


def approve(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str | None,
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write down that a person lets a release past what it asks, and say what will be done."""
    loaded = locked(connection, application)
    release = chosen(loaded.application, version)
    why = approve_refusal(release)
    if why is not None:
        raise OrderRefused(why)
    assert release.ask is not None, "else there is nothing to approve"
    paused = release.order is Order.PAUSE
    then = "it goes on after `headgate resume`" if paused else "it goes on with the next look"
    said = f"{release.key} is approved: {release.ask}; {then}{waits_for(loaded.application)}"
    word = Word(verb="approve", finding=release.ask, seq=0, actor=actor)
    return _written(connection, loaded, release, word, said, told_by(actor, via, reason, word.verb))


def promote(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str | None,
    actor: str,
    reason: str,
    override: bool,  # noqa: FBT001 - as the option
    via: Via = "store",
) -> str:
    """Write down that a person wants the next step opened, or the bake ended, now."""
    loaded = locked(connection, application)
    release = chosen(loaded.application, version)
    why = promote_refusal(loaded.application, release, override=override)
    if why is not None:
        raise OrderRefused(why)
    past = unproven(release) if override else []
    told = f", past this: {'; '.join(past)}" if past else ""
    said = f"{release.key} goes on with the next look{told}"
    finding = position(release)
    word = Word(verb="promote", finding=finding, seq=0, actor=actor, override=override)
    given = told_by(actor, via, reason, word.verb)
    return _written(
        connection, loaded, release, word, said, given | ({"overrides": past} if past else {})
    )


def begin(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str,
    verb: Verb,
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write down another attempt at a version, which begins before those that come by themselves.

    One that waits by itself is replaced by it.
    """
    if _VERSION.fullmatch(version) is None:
        raise OrderRefused(f"{version} is no version: name it by its number, {application}/7")
    loaded = locked(connection, application)
    known = loaded.application
    newest, state = _newest(connection, known, version)
    waiting = known.newest(version) if state is State.REGISTERED else None
    key = f"{application}/{version}"
    if waiting is not None and waiting.ordered and waiting.order is not Order.ABORT:
        told = f"{key} is released, as attempt {waiting.attempt}"
        waits = f", and waits: {waiting.hold}" if waiting.hold else ""
        return f"{told}{waits} (it was ordered before)"
    why = begin_refusal(known, version, verb, state)
    if why is not None:
        raise OrderRefused(why)
    if waiting is not None:
        seen = loaded.releases[mark(waiting)]
        aborted = update(RELEASES).where(RELEASES.c.id == seen.id)
        connection.execute(aborted.values(order_=Order.ABORT.value))
        known = known.with_release(replace(waiting, order=Order.ABORT))
    because = f"asked for by {actor}: {verb}{f' ({reason})' if reason else ''}"
    release = Release(
        application=application,
        version=version,
        attempt=newest + 1,
        since=loaded.now,
        because=because,
        ordered=verb,
    )
    connection.execute(insert(RELEASES).values(**codec.release_row(release), row=1))
    overtake(connection, application)
    known = known.with_release(release)
    events = [
        _given(release, told_by(actor, via, reason, verb)),
        Event(name="release.registered", release=mark(release), because=because),
    ]
    if waiting is not None:
        told = f"replaced by attempt {release.attempt}, which {actor} asked for"
        fields = told_by(actor, via, reason, "abort")
        events.insert(
            0, Event(name="order.given", release=mark(waiting), because=told, fields=fields)
        )
    append(connection, [event_row(event, known) for event in events])
    live = known.live
    after = waits_for(known)
    if live is not None:
        after = f"; it waits until {live.key} has ended"
    elif not after and known.upkeep.applying is not None:
        after = f"; it waits until what is applied to {application} has been watched"
    return f"{key} is released, as attempt {release.attempt}{after}"


def retry(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str | None,
    actor: str,
    reason: str,
    via: Via = "store",
) -> str:
    """Write down another attempt at a version that was rolled back; by default the last such."""
    if version is None:
        known = locked(connection, application).application
        waiting = [one for one in known.releases if one.state is State.REGISTERED]
        again = [one for one in waiting if one.ordered == "retry"]
        failed = again or [one for one in known.releases if one.state is State.ROLLED_BACK]
        if not failed:
            raise OrderRefused(f"no release of {application} was rolled back: name a version")
        version = max(failed, key=lambda one: (one.since, int(one.version))).version
    return begin(connection, application, version, "retry", actor, reason, via)


def undo(
    connection: Connection, application: str, actor: str, reason: str, via: Via = "store"
) -> str:
    """Take users back to the version that was stable before.

    A release that is under way is aborted: its users go back by one change of traffic. A version
    that is stable by now is replaced by the one before, which is provisioned and tested again.
    """
    known = locked(connection, application).application
    why = undo_refusal(known)
    if why is not None:
        raise OrderRefused(why)
    if known.live is not None:
        version, pinned = known.live.version, known.live.pinned
        said = give(connection, application, version, Order.ABORT, actor, reason, via)
        keeps = pinned.incumbent if pinned is not None else None
        return f"{said}; version {keeps} keeps the users" if keeps is not None else said
    assert known.former is not None, "else there is nothing to go back to"
    said = begin(connection, application, known.former, "undo", actor, reason, via)
    return (
        f"{said}: it takes all users back from version {known.stable} once it is ready and its "
        "golden queries pass"
    )


def _written(  # noqa: PLR0913, PLR0917 - as above
    connection: Connection,
    loaded: Loaded,
    release: Release,
    word: Word,
    said: str,
    given: dict[str, object],
) -> str:
    """Journal a word, and add it to the release's, bound to the row that tells of it."""
    same = (word.verb, word.finding, word.override)
    if any((one.verb, one.finding, one.override) == same for one in release.words):
        return f"{said} (it was ordered before)"
    event = _given(release, given | {"on": word.finding})
    [seq] = append(connection, [event_row(event, loaded.application)])
    words = codec.words_text((*release.words, replace(word, seq=seq)))
    seen = loaded.releases[mark(release)]
    connection.execute(update(RELEASES).where(RELEASES.c.id == seen.id).values(words=words))
    overtake(connection, release.application)
    return said


def _given(release: Release, given: dict[str, object]) -> Event:
    because = str(given["reason"]) or f"{given['actor']} ordered {given['verb']}"
    return Event(name="order.given", release=mark(release), because=because, fields=given)


def _newest(
    connection: Connection, application: Application, version: str
) -> tuple[int, State | None]:
    """The number and state of the newest attempt at a version, however old; 0 if there is none."""
    query = (
        select(RELEASES.c.attempt, RELEASES.c.state)
        .where(RELEASES.c.application == application.name, RELEASES.c.version == version)
        .order_by(RELEASES.c.attempt.desc())
        .limit(1)
    )
    found = connection.execute(query).first()
    return (0, None) if found is None else (found.attempt, State(found.state))
