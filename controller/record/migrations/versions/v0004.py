"""Operators approve and promote: their words stand beside the release that they are about."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what operators say of a release."""
    op.add_column("releases", sa.Column("words", sa.Text()))
