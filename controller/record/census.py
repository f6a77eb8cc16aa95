"""What the record holds at one moment, counted: for those who watch many applications at once.

Columns are counted, and only the releases that matter now are read whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from controller.record import codec
from controller.record.loading import counter, now
from controller.record.schema import APPLICATIONS, PRINTED, RELEASES, SEQ
from controller.record.times import moment
from states.machine import State
from states.release import Release


@dataclass(frozen=True, kw_only=True)
class Census:
    """Every application's releases by state, and those that are live, without their blocks."""

    now: datetime
    seq: int
    """The last journal row."""
    printed: int
    """The last journal row that is known to be printed."""
    states: Sequence[tuple[str, str, int]]
    """Application, state, and how many of its releases are in it."""
    live: Sequence[Release]
    holds: Sequence[tuple[str, bool]]
    """Applications that something holds, and whether a person has to act."""


def census(connection: Connection) -> Census:
    """Count within one transaction. `KeyError`, `TypeError` or `ValueError` for a damaged row."""
    counted = select(RELEASES.c.application, RELEASES.c.state, func.count()).group_by(
        RELEASES.c.application, RELEASES.c.state
    )
    rows = connection.execute(select(RELEASES).where(RELEASES.c.live)).mappings().all()
    return Census(
        now=moment(now(connection)),
        seq=counter(connection, SEQ),
        printed=counter(connection, PRINTED),
        states=[(one[0], one[1], int(one[2])) for one in connection.execute(counted).tuples()],
        live=[codec.release_of(row, ()) for row in rows],
        holds=_holds(connection),
    )


def _holds(connection: Connection) -> list[tuple[str, bool]]:
    """A hold of the application as a whole always waits for a person, as in its status."""
    registered = RELEASES.c.state == State.REGISTERED.value
    matters = or_(RELEASES.c.live, registered & RELEASES.c.needs_person)
    releases = select(RELEASES.c.application, RELEASES.c.needs_person).where(
        matters, RELEASES.c.hold.is_not(None)
    )
    whole = select(APPLICATIONS.c.name).where(APPLICATIONS.c.body["hold"].as_string().is_not(None))
    found = dict.fromkeys(connection.execute(whole).scalars(), True)
    for name, person in connection.execute(releases).tuples():
        found[name] = found.get(name, False) or bool(person)
    return sorted(found.items())
