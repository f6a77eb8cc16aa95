"""How far in the journal each receiver of notifications was told, and what it was told lately."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update

from controller.record.errors import Conflict
from controller.record.loading import counter
from controller.record.schema import RECEIVERS, SEQ
from controller.record.store import Store


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a receiver knows."""

    seq: int
    """The last journal row that it was told of, or that was nothing to tell."""
    lately: Mapping[str, int] = field(default_factory=dict)
    """By what was said, the time of the row that it was last said of, in microseconds."""


def told(store: Store, name: str) -> Told:
    """What a receiver knows; a new one begins here: it is not flooded with what was before."""
    query = select(RECEIVERS.c.seq, RECEIVERS.c.told).where(RECEIVERS.c.name == name)
    with store.reading() as connection:
        row = connection.execute(query).first()
    if row is not None:
        return Told(seq=row.seq, lately=row.told)
    with store.writing() as connection:
        # Another replica may have been first since.
        row = connection.execute(query).first()
        if row is not None:
            return Told(seq=row.seq, lately=row.told)
        begun = Told(seq=counter(connection, SEQ))
        connection.execute(insert(RECEIVERS).values(name=name, seq=begun.seq, told={}))
    return begun


def tell(store: Store, name: str, before: Told, after: Told) -> None:
    """Write down what it knows by now. `Conflict`, if another replica did so since `before`."""
    change = (
        update(RECEIVERS)
        .where(RECEIVERS.c.name == name, RECEIVERS.c.seq == before.seq)
        .values(seq=after.seq, told=dict(after.lately))
    )
    with store.writing() as connection:
        if connection.execute(change).rowcount != 1:
            raise Conflict(f"{name} was told of more by another replica meanwhile")
