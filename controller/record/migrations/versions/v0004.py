"""Operators approve and promote: their words stand beside the release that they are about."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what operators say of a release."""
    op.add_column("releases", sa.Column("words", sa.Text()))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("releases", "words")


def lost(connection: sa.Connection) -> Iterator[str]:
    """What operators said of releases: approvals and promotions."""
    said = connection.execute(
        sa.text("SELECT application, version FROM releases WHERE words IS NOT NULL ORDER BY id")
    )
    if found := [f"{application}/{version}" for application, version in said]:
        yield f"what operators said of {', '.join(found)} (approvals, promotions)"
