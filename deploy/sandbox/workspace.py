"""The workspace: its settings, its clock, its database, and the parts that share them."""

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.sandbox.registry import Registry
    from deploy.sandbox.serving import Serving
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
    table_skip_statuses: tuple[int, ...] = (401, 403, 429)
    """Responses with these statuses are not logged (documented as best effort)."""
    update_s: float = 0.5
    """Least time that a configuration update stays IN_PROGRESS, in seconds."""
    metrics_window_s: float = 60.0
    """Length of the window that `/metrics` gauges cover; Databricks' is one minute."""
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
        self.connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")


@dataclass
class Workspace:
    """Everything that the routes share. `app.build` makes one and fills its parts."""

    settings: Settings
    database: Database
    clock: Clock = time.time
    workspace_id: str = "1234567890123456"
    registry: "Registry" = field(init=False)
    serving: "Serving" = field(init=False)
    warehouse: "Warehouse" = field(init=False)

    def now_ms(self) -> int:
        """The workspace's time in milliseconds since the epoch."""
        return int(self.clock() * 1000)
