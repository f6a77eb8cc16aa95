"""A person's answer to a change by others stands beside the application, where only they write."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nobody has answered anything yet."""
    op.add_column("applications", sa.Column("answer", sa.Text()))
