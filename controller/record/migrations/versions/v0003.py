"""Replicas share the applications by leases, and operators answer foreign changes."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add who works on what, under which epoch a call was sent, and the operators' answer."""
    op.create_table(
        "replicas",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_replicas"),
    )
    op.create_table(
        "leases",
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("application", name="pk_leases"),
    )
    op.add_column("calls", sa.Column("epoch", sa.BigInteger()))
    op.add_column("applications", sa.Column("answer", sa.Text()))


def downgrade() -> None:
    """Remove it; one daemon works on the store from then on."""
    op.drop_column("applications", "answer")
    op.drop_column("calls", "epoch")
    op.drop_table("leases")
    op.drop_table("replicas")


def lost(connection: sa.Connection) -> Iterator[str]:
    """Answers that nobody has acted upon yet, and under which epoch calls were sent."""
    said = sa.text("SELECT name FROM applications WHERE answer IS NOT NULL ORDER BY name")
    if found := list(connection.execute(said).scalars()):
        yield f"what operators answered for {', '.join(found)}"
    sent = sa.text("SELECT count(*) FROM calls WHERE epoch IS NOT NULL")
    if number := connection.execute(sent).scalar_one():
        yield f"under which lease {number} calls were sent"
