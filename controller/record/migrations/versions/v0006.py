"""Blocks within which users were split anew: they are told, and never tested."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tell them from others; of what was counted before, none is known to be one."""
    op.add_column(
        "blocks", sa.Column("mixed", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Forget which they are; whoever comes back tests by them."""
    op.drop_column("blocks", "mixed")


def lost(connection: sa.Connection) -> Iterator[str]:
    """That their counts are of two splits of users."""
    told = sa.text("SELECT count(*) FROM blocks WHERE mixed")
    if number := connection.execute(told).scalar_one():
        yield f"that {number} blocks are not to be tested: users were split anew within them"
