"""Journal rows as log lines: one flat object each, from which the state can be told again.

Every line of a release carries its whole status object, as of the commit that wrote the line, and
what is true of the application as a whole (`FACTS`). A field that does not apply is absent.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from controller.record.redaction import clean
from controller.record.times import moment
from states.last_look import looks_of
from states.machine import State
from states.plan import Event
from states.release import Application, Release
from states.status import SCHEMA, Status, rfc3339, shown, status, weights_seen

Line = dict[str, Any]
"""One line of the log, as parsed from JSON."""

HEARTBEAT = "application.state"
HEARTBEAT_EVERY = timedelta(minutes=5)
"""How often the daemon tells the state of each application."""
STATUS = tuple(Status.__annotations__)
"""The keys of a status object, in the order in which they are shown."""
_HEAD = (
    "timestamp", "level", "event", "seq", "application", "release", "attempt", "version", "state",
    "because",
)  # fmt: skip
FACTS = (
    "stable", "live", "unproven", "application_hold", "former", "changed_by_others",
    "weights_seen", "applying",
)  # fmt: skip
"""What is true of an application as a whole, where it applies."""
_FRAME = frozenset(_HEAD) - {"because"}


def application_facts(application: Application) -> Line:
    """What is true of the application as a whole, and decides which of its releases are shown."""
    live, changing = application.live, application.upkeep.applying
    facts = {
        "stable": application.stable,
        "live": live.version if live else None,
        "unproven": application.unproven,
        "application_hold": application.hold,
        "former": application.former,
        "changed_by_others": application.change is not None or None,
        "weights_seen": weights_seen(application),
        "applying": changing.told if changing else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def event_fields(event: Event, application: Application | None, release: Release | None) -> Line:
    """What a journal row holds beside its columns.

    The event's reason stays `because`; where the release is in its state for another one, that is
    `state_because`. An own field that would hide a status field gets the event's noun in front.
    """
    known: Line = {"schema": SCHEMA}
    if application is not None:
        known |= application_facts(application)
    if application is not None and release is not None:
        told = _recorded(application, release)
        reason = told.pop("because")
        known |= told
        if reason != event.because:
            known["state_because"] = reason
    noun = event.name.rsplit(".", 1)[-1]
    own: Line = {}
    for name, value in clean(event.fields).items():
        hidden = name in _FRAME or (name in known and known[name] != value)
        own[f"{noun}_{name}" if hidden else name] = value
    return {"because": clean(event.because), **own, **clean(known)}


def rendered(row: Mapping[str, Any]) -> Line:
    """A journal row as the line that is printed of it."""
    line: Line = {
        **row["fields"],
        "timestamp": rfc3339(moment(row["at"])),
        "level": row["level"],
        "event": row["event"],
        "seq": row["seq"],
        "application": row["application"],
        "release": row["release"],
        "attempt": row["attempt"],
    }
    return ordered(line)


def ordered(line: Mapping[str, Any]) -> Line:
    """The same line with its head first, and without what does not apply."""
    head = [name for name in _HEAD if name in line]
    rest = [name for name in line if name not in _HEAD]
    return {name: line[name] for name in (*head, *rest) if line[name] not in (None, "")}


def application_state(application: Application, as_of_seq: int, *, every: bool = False) -> Line:
    """The heartbeat: an application's state as of a journal row, without being one itself.

    With the releases that `status` shows, and those that wait; `every`: with all that were loaded.
    """
    looked_at = application.looked_at
    return {
        "event": HEARTBEAT,
        "schema": SCHEMA,
        "as_of_seq": as_of_seq,
        "application": application.name,
        **({"looked_at": rfc3339(looked_at)} if looked_at is not None else {}),
        **clean(application_facts(application)),
        "releases": [
            clean({**_recorded(application, release), **_guards(application, release)})
            for release in application.releases
            if every or release.state is State.REGISTERED or shown(application, release)
        ],
    }


def _recorded(application: Application, release: Release) -> Line:
    """A release's status object as lines carry it: what was seen since it settled is a fact."""
    return {**status(application, release), "weight_seen": release.weight_seen}


def _guards(application: Application, release: Release) -> Line:
    """What the guards of a release on trial say by now; nothing of any other.

    The state is told whatever judging trips over: passes that fail so are in quarantine, and that
    must be read.
    """
    try:
        looks = looks_of(application, release) if release.live else []
    except Exception:  # noqa: BLE001 - as above; the pass that fails so is logged in full
        return {}
    return {"guards": looks} if looks else {}


def unreadable_state(name: str, why: str, as_of_seq: int) -> Line:
    """The heartbeat of an application whose record cannot be understood: nothing but why."""
    facts = {"application": name, "application_hold": clean(why)}
    return {"event": HEARTBEAT, "schema": SCHEMA, "as_of_seq": as_of_seq, **facts, "releases": []}
