"""Replicas share the applications by leases, and operators answer foreign changes."""

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
