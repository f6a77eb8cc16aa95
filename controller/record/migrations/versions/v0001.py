"""The first tables: applications, releases, blocks, journal, calls, counters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything, and the triggers that keep what was written down."""
    _functions()
    _counters()
    _applications()
    _releases()
    _blocks()
    _journal()
    _calls()
    _keep("journal", "the journal is append-only")
    _keep("blocks", "a block is immutable")


def _functions() -> None:
    """The store's time, and what triggers call; on SQLite, each connection brings its own."""
    if op.get_bind().dialect.name == "sqlite":
        return
    op.execute(
        "CREATE FUNCTION headgate_now() RETURNS bigint LANGUAGE sql VOLATILE AS "
        "$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$"
    )
    op.execute(
        "CREATE FUNCTION headgate_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = "
        "'integrity_constraint_violation'; END $$"
    )


def _keep(table: str, sentence: str) -> None:
    """Refuse every change of rows that are written once."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for verb in ("UPDATE", "DELETE") if sqlite else ("UPDATE", "DELETE", "TRUNCATE"):
        does = (
            f"BEGIN SELECT RAISE(ABORT, '{sentence}'); END"
            if sqlite
            else f"FOR EACH STATEMENT EXECUTE FUNCTION headgate_refuse('{sentence}')"
        )
        op.execute(f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {does}")


def _counters() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": "seq", "value": 0}, {"name": "printed", "value": 0}])


def _applications() -> None:
    op.create_table(
        "applications",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text()),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_applications"),
        sa.UniqueConstraint("endpoint", name="uq_applications_endpoint"),
        sa.UniqueConstraint("model", "alias", name="uq_applications_model_alias"),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("retained", sa.Boolean(), nullable=False),
        sa.Column("order_", sa.Text(), nullable=False),
        sa.Column("hold", sa.Text()),
        sa.Column("needs_person", sa.Boolean(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
        sa.ForeignKeyConstraint(
            ["application"], ["applications.name"], name="fk_releases_application"
        ),
        sa.UniqueConstraint(
            "application", "version", "attempt", name="uq_releases_application_version_attempt"
        ),
    )
    op.create_index(
        "ix_releases_one_live",
        "releases",
        ["application"],
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )


def _blocks() -> None:
    arms = [f"{arm}_{what}" for arm in ("candidate", "stable") for what in _COUNTS]
    op.create_table(
        "blocks",
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("comparable", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in arms],
        sa.Column("unattributed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("release", "number", name="pk_blocks"),
        sa.ForeignKeyConstraint(["release"], ["releases.id"], name="fk_blocks_release"),
    )


_COUNTS = ("requests", "errors", "server_errors")


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("application", sa.Text()),
        sa.Column("release", sa.Text()),
        sa.Column("attempt", sa.Integer()),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_journal"),
    )
    op.create_index("ix_journal_application", "journal", ["application", "seq"])


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("release", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("target_json", sa.JSON(), nullable=False),
        sa.Column("base_config_version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_calls"),
        sa.ForeignKeyConstraint(
            ["application"], ["applications.name"], name="fk_calls_application"
        ),
    )
    op.create_index("ix_calls_at", "calls", ["at"])
