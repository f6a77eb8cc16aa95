"""The store's tables, in SQLAlchemy Core: portable types, and constraints that guard promises.

Times are microseconds since the epoch (UTC), so that every database compares and keeps them alike.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

VERSION = "0006"
"""The schema that this code reads and writes: the last migration."""
OLDEST = "0006"
"""The earliest schema whose code may go on beside this one, on the same tables: see `upgrades`."""

SEQ = "seq"
"""The counter of journal rows: raised in the transaction that writes them, so without gaps."""
PRINTED = "printed"
"""The counter of journal rows that were printed as log lines."""
TOLERATED = "oldest beside "
"""With a schema after it, the counter that tells its OLDEST to code of before; none: it alone."""

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

APPLICATIONS = Table(
    "applications",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("alias", Text),
    Column("row", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
    # Only operators write it, fenced by the row: JSON text of an answer to a change by others, or
    # of a wish to apply. The one excludes the other: while a change is shown nothing is applied.
    Column("answer", Text),
    UniqueConstraint("endpoint"),
    UniqueConstraint("model", "alias"),
)

RELEASES = Table(
    "releases",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("application", Text, ForeignKey("applications.name"), nullable=False),
    Column("version", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("live", Boolean, nullable=False),
    # Its entity stays at 0 % for a while: such a release is loaded however old it is.
    Column("retained", Boolean, nullable=False),
    # Only operators write it, so it is part of the fence and never of a commit's changes.
    Column("order_", Text, nullable=False),
    Column("hold", Text),
    Column("needs_person", Boolean, nullable=False),
    Column("step", Integer, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
    # Only operators write it: JSON text of their words, fenced by the application's row.
    Column("words", Text),
    UniqueConstraint("application", "version", "attempt"),
)

Index(
    "ix_releases_one_live",
    RELEASES.c.application,
    unique=True,
    sqlite_where=text("live"),
    postgresql_where=text("live"),
)

BLOCKS = Table(
    "blocks",
    METADATA,
    Column("release", Integer, ForeignKey("releases.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("span", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("comparable", Boolean, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("candidate_requests", BigInteger, nullable=False),
    Column("candidate_errors", BigInteger, nullable=False),
    Column("candidate_server_errors", BigInteger, nullable=False),
    Column("stable_requests", BigInteger, nullable=False),
    Column("stable_errors", BigInteger, nullable=False),
    Column("stable_server_errors", BigInteger, nullable=False),
    Column("unattributed", BigInteger, nullable=False),
    # From here on since 0002; blocks of before counted none of it.
    Column("candidate_rejected", BigInteger, nullable=False, server_default=text("0")),
    Column("stable_rejected", BigInteger, nullable=False, server_default=text("0")),
    Column("late", BigInteger, nullable=False, server_default=text("0")),
    Column("unattributed_errors", BigInteger, nullable=False, server_default=text("0")),
    Column("whole", Boolean, nullable=False, server_default=false()),
    Column("candidate_tallies", JSON, nullable=False, server_default=text("'{}'")),
    Column("stable_tallies", JSON, nullable=False, server_default=text("'{}'")),
    Column("coverage", JSON(none_as_null=True)),
    Column("mixed", Boolean, nullable=False, server_default=false()),
)

MINUTES = Table(
    "minutes",
    METADATA,
    Column("application", Text, ForeignKey("applications.name"), primary_key=True),
    Column("ends_at", BigInteger, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
)

JOURNAL = Table(
    "journal",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("application", Text),
    Column("release", Text),
    Column("attempt", Integer),
    Column("fields", JSON, nullable=False),
)
Index("ix_journal_application", JOURNAL.c.application, JOURNAL.c.seq)

CALLS = Table(
    "calls",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("application", Text, ForeignKey("applications.name"), nullable=False),
    Column("release", Text),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("target_json", JSON, nullable=False),
    Column("base_config_version", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("because", Text, nullable=False),
    # The lease under which it was sent; none where one daemon holds the store.
    Column("epoch", BigInteger),
)
Index("ix_calls_at", CALLS.c.at)

REPLICAS = Table(
    "replicas",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
)

LEASES = Table(
    "leases",
    METADATA,
    # No foreign key: the journal's printer has a lease too, and an application before its first
    # commit.
    Column("application", Text, primary_key=True),
    Column("replica", Text),
    Column("epoch", BigInteger, nullable=False),
)

RECEIVERS = Table(
    "receivers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("told", JSON, nullable=False),
)
