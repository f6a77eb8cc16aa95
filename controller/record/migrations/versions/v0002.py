"""Blocks count more than errors, a release has a source for each guard, and minutes are kept."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNTS = ("candidate_rejected", "stable_rejected", "late", "unattributed_errors")
_RELEASES = sa.table("releases", sa.column("id", sa.Integer), sa.column("body", sa.JSON))


def upgrade() -> None:
    """Add what older blocks did not count, and rewrite what releases had of one guard alone.

    Columns are added, and no table is made anew: the triggers that keep blocks immutable stay.
    """
    for name in _COUNTS:
        _add(sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    _add(sa.Column("whole", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in ("candidate_tallies", "stable_tallies"):
        _add(sa.Column(name, sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    _add(sa.Column("coverage", sa.JSON()))
    op.create_table(
        "minutes",
        sa.Column("application", sa.Text(), sa.ForeignKey("applications.name"), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("application", "ends_at"),
    )
    connection = op.get_bind()
    for id_, body in connection.execute(sa.select(_RELEASES.c.id, _RELEASES.c.body)).all():
        change = sa.update(_RELEASES).where(_RELEASES.c.id == id_).values(body=rewritten(body))
        connection.execute(change)


def _add(column: sa.Column[Any]) -> None:
    op.add_column("blocks", column)


def rewritten(body: dict[str, Any]) -> dict[str, Any]:
    """A release's body as 0002 has it: `guards` by name, a source and a watermark for each.

    Guards that 0001 did not know have no source, so that they judge no release of before.
    """
    gone = ("source", "watermark", "verdict")
    kept = {name: value for name, value in body.items() if name not in gone}
    source, watermark, verdict = (body.get(name) for name in gone)
    if source is not None:
        kept["sources"] = {"errors": source}
        kept["watermarks"] = {source: watermark} if watermark is not None else {}
    if verdict is not None:
        kept["verdicts"] = {"errors": verdict}
    pinned = body.get("pinned")
    if pinned is not None:
        left = {name: value for name, value in pinned.items() if name != "errors"}
        kept["pinned"] = left | {"guards": {"errors": pinned["errors"]}}
    return kept


def downgrade() -> None:
    """Remove what 0001 did not count, and write of each release what it knew."""
    for name in (*_COUNTS, "whole", "candidate_tallies", "stable_tallies", "coverage"):
        op.drop_column("blocks", name)
    op.drop_table("minutes")
    connection = op.get_bind()
    for id_, body in connection.execute(sa.select(_RELEASES.c.id, _RELEASES.c.body)).all():
        change = sa.update(_RELEASES).where(_RELEASES.c.id == id_).values(body=as_before(body))
        connection.execute(change)


def as_before(body: dict[str, Any]) -> dict[str, Any]:
    """A release's body as 0001 had it: one guard, one source, one watermark, one verdict."""
    gone = ("sources", "watermarks", "verdicts")
    kept = {name: value for name, value in body.items() if name not in gone}
    sources, watermarks, verdicts = (body.get(name) or {} for name in gone)
    source = sources.get("errors")
    kept |= {
        "source": source,
        "watermark": watermarks.get(source),
        "verdict": verdicts.get("errors"),
    }
    pinned = body.get("pinned")
    if pinned is not None:
        left = {name: value for name, value in pinned.items() if name != "guards"}
        kept["pinned"] = left | {"errors": pinned["guards"]["errors"]}
    return kept


def lost(connection: sa.Connection) -> Iterator[str]:
    """Evidence of other kinds than errors, the guards that judge by it, and the fuse's minutes."""
    told = sa.text(
        "SELECT count(*) FROM blocks WHERE whole OR coverage IS NOT NULL"
        " OR late + candidate_rejected + stable_rejected + unattributed_errors > 0"
        " OR CAST(candidate_tallies AS TEXT) <> '{}' OR CAST(stable_tallies AS TEXT) <> '{}'"
    )
    if number := connection.execute(told).scalar_one():
        yield f"what {number} blocks count beside errors"
    if number := connection.execute(sa.text("SELECT count(*) FROM minutes")).scalar_one():
        yield f"{number} minutes of the endpoints' own traffic"
    more = [
        body["pinned"]["guards"]
        for body in connection.execute(sa.select(_RELEASES.c.body)).scalars()
        if body.get("pinned")
    ]
    names = {name for guards in more for name, one in guards.items() if one and name != "errors"}
    if names:
        yield f"the guards {', '.join(sorted(names))} of {len(more)} releases"
