"""Blocks within which users were split anew: they are written down, and never tested."""

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RELEASES = sa.table("releases", sa.column("id", sa.Integer), sa.column("body", sa.JSON))


def upgrade() -> None:
    """Tell them from others; of what was counted before, none is known to be one.

    A plan that waits for a table of golden queries does not say where they are put into a request:
    it goes by the configuration, as it would have.
    """
    op.add_column(
        "blocks", sa.Column("mixed", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    _rewrite(as_configured)


def downgrade() -> None:
    """Forget which they are, and how users were split when they were last seen."""
    op.drop_column("blocks", "mixed")
    _rewrite(as_before)


def _rewrite(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    connection = op.get_bind()
    for id_, body in connection.execute(sa.select(_RELEASES.c.id, _RELEASES.c.body)).all():
        changed = change(body)
        if changed != body:
            stated = sa.update(_RELEASES).where(_RELEASES.c.id == id_).values(body=changed)
            connection.execute(stated)


def as_configured(body: dict[str, Any]) -> dict[str, Any]:
    """A release's body as 0006 has it."""
    plan = body.get("pinned")
    if not plan or not plan.get("tests_table"):
        return body
    return body | {"pinned": plan | {"counted": None}}


def as_before(body: dict[str, Any]) -> dict[str, Any]:
    """A release's body as 0005 has it: what it kept unchanged would be taken for true just now."""
    gone = {"split", "mixed", "ahead"}
    return {name: value for name, value in body.items() if name not in gone}


def lost(connection: sa.Connection) -> Iterator[str]:
    """That their counts are of two splits of users."""
    told = sa.text("SELECT count(*) FROM blocks WHERE mixed")
    if number := connection.execute(told).scalar_one():
        yield f"that users were split anew within {number} windows, which are not to be tested"
