"""Receivers of notifications: how far in the journal each of them was told."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; one that is new begins with what happens from then on."""
    op.create_table(
        "receivers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_receivers"),
    )


def downgrade() -> None:
    """Remove them; whoever comes back begins with what happens from then on."""
    op.drop_table("receivers")


def lost(connection: sa.Connection) -> Iterator[str]:
    """How far each receiver was told."""
    names = sa.text("SELECT name FROM receivers ORDER BY name")
    if found := list(connection.execute(names).scalars()):
        yield f"how far {', '.join(found)} were told of the journal"
