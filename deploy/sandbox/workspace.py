"""The workspace: its settings, its clock, its database, and the parts that share them."""

import hashlib
import hmac
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.sandbox.faults import Faults
from deploy.sandbox.privileges import Privileges

if TYPE_CHECKING:
    from deploy.sandbox.files import Files
    from deploy.sandbox.registry import Registry
    from deploy.sandbox.serving import Serving
    from deploy.sandbox.tracking import Tracking
    from deploy.sandbox.vault import Vault
    from deploy.sandbox.warehouse import Warehouse

Clock = Callable[[], float]
"""Seconds since the epoch: the workspace's only clock, injectable so that an hour takes no time."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this workspace behaves. Every manner of the platform that varies is a setting."""

    data: Path
    port: int = 0
    token: str = "dapi-sandbox"  # noqa: S105 - the sandbox guards nothing
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105
    table_lag_s: float = 2.0
    """Age at which an inference-table row becomes visible to SQL, in seconds."""
    table_lag_jitter_s: float = 0.0
    """Extra random age per row, uniform from 0 to this, in seconds: rows come out of order."""
    table_duplicate_share: float = 0.0
    """Share of rows that are delivered twice (the table is at least once)."""
    table_drop_share: float = 0.0
    """Share of rows that are never delivered (the table is best effort)."""
    table_skip_statuses: tuple[int, ...] = (401, 403, 429)
    """Responses with these statuses are not logged (documented as best effort)."""
    system_tables: bool = True
    """Whether the caller may read `system.serving`; off, a statement that does so fails."""
    update_s: float = 0.5
    """Least time that a configuration update stays IN_PROGRESS, in seconds."""
    metrics_window_s: float = 60.0
    """Length of the window that `/metrics` gauges cover; Databricks' is one minute."""
    metrics_entity_labels: bool = False
    """Whether the samples of `/metrics` name the served entity; that the platform's do is open."""
    idle_s: float = 1800.0
    """How long a served entity that may scale to zero waits for a request until it sleeps."""
    queue_per_slot: int = 8
    """Requests that may wait for each one that a served entity can execute; beyond them, 429."""
    execution_limit_s: float = 297.0
    """How long a model may take over one request, in real seconds; beyond it, 504."""
    deploy_limit_s: float = 120.0
    """How long a model may take to load, in real seconds, before its deployment has failed."""
    chunk_rows: int = 1000
    """Rows per chunk of a SQL result."""
    sql_pending_polls: int = 0
    """How often a statement answers PENDING before it has run."""
    seed: int = 0
    """Seed of the router and of the table's manners."""


@dataclass
class Database:
    """One SQLite file for the workspace's own records, used from several threads, one at a time."""

    path: Path
    lock: threading.RLock = field(default_factory=threading.RLock)
    connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")

    def snapshot(self) -> sqlite3.Connection:
        """A connection that goes on seeing the database as it is now, until it is closed."""
        with self.lock:
            frozen = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            frozen.row_factory = sqlite3.Row
            frozen.execute("BEGIN")
            # The transaction begins at its first read.
            frozen.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return frozen


@dataclass(frozen=True)
class Signer:
    """Signs what the workspace hands out: storage URLs and OAuth tokens, with an expiry in each."""

    key: bytes

    @classmethod
    def of(cls, database: Database) -> "Signer":
        """The signer whose key is kept in the database, so that a restart invalidates nothing."""
        with database.lock:
            connection = database.connection
            connection.execute("CREATE TABLE IF NOT EXISTS signing_key (key BLOB NOT NULL)")
            row = connection.execute("SELECT key FROM signing_key").fetchone()
            if row is None:
                row = {"key": secrets.token_bytes(32)}
                connection.execute("INSERT INTO signing_key VALUES (?)", (row["key"],))
        return cls(row["key"])

    def sign(self, *parts: str) -> str:
        """The signature of these parts, which is safe in a URL."""
        return hmac.new(self.key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()

    def accepts(self, signature: str, *parts: str) -> bool:
        """Whether this is the signature of these parts."""
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


@dataclass
class Workspace:
    """Everything that the routes share. `app.build` makes one and fills its parts."""

    settings: Settings
    database: Database
    clock: Clock = time.time
    workspace_id: str = "1234567890123456"
    user_name: str = "sandbox@example.com"
    """The user whom the token of the settings belongs to."""
    faults: Faults = field(default_factory=Faults)
    privileges: Privileges = field(default_factory=Privileges)
    signer: Signer = field(init=False)
    files: "Files" = field(init=False)
    tracking: "Tracking" = field(init=False)
    registry: "Registry" = field(init=False)
    serving: "Serving" = field(init=False)
    warehouse: "Warehouse" = field(init=False)
    vault: "Vault" = field(init=False)

    def __post_init__(self) -> None:
        self.signer = Signer.of(self.database)

    def now_ms(self) -> int:
        """The workspace's time in milliseconds since the epoch."""
        return int(self.clock() * 1000)
