"""A store in PostgreSQL: shared by replicas, on the database's clock, errors put into sentences."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from controller.record.dialling import dialling
from controller.record.errors import StoreUnusable

CONNECT_S = 5
"""Longest wait for a connection to one host."""
STATEMENT_MILLISECONDS = 10_000
LOCK_MILLISECONDS = 5_000
IDLE_MILLISECONDS = 3_000
"""A replica that stops in the middle of a commit keeps others waiting for this long, at most."""
MIGRATION_LOCK = 4_838_283
"""Key of the advisory lock under which one replica makes the tables; a number of our own."""
CONNECTIONS = 10
RECYCLE_S = 1_800
"""Oldest connection that is used again: servers and what is on the way close older ones (Lakebase
after three days, proxies after an hour), and a password that no longer works is found out early."""
LOGIN_AGAIN_S = (0.2, 0.8)
"""Pauses after which a password that somebody else renews is read and tried again: a renewal is
done at two places, and a login may come between them."""

_SETTINGS: Final = (
    f"SET statement_timeout = {STATEMENT_MILLISECONDS}",
    f"SET lock_timeout = {LOCK_MILLISECONDS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_MILLISECONDS}",
    "SET timezone = 'UTC'",
    # Whatever the server's default: what is acknowledged is on its disk.
    "SET synchronous_commit = 'on'",
)
_OF_CONNECTIONS: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_S,
    "client_encoding": "utf8",
    "application_name": "headgate",
    # A connection whose other end has vanished is noticed within these, not within hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_MILLISECONDS,
}

_UNREACHABLE = (
    "the server cannot be reached, or the connection was lost: check that it runs, and the host "
    "and port in HEADGATE_STORE; nothing was lost, and the daemon goes on when it is back"
)
_REFUSED = "the server refuses the user or its password: check both in HEADGATE_STORE"
_UNKNOWN = (
    "the server's certificate is for another name, or of an authority that is not known: name the "
    "file with its authority by `sslrootcert=FILE` in HEADGATE_STORE"
)
_NO_VALUE = (
    "a parameter in HEADGATE_STORE has a value that PostgreSQL does not take: correct it, or leave "
    "the parameter out"
)
_NO_TLS = "the server offers no TLS: switch it on there; only on this machine it is not needed"
_IN_THE_WAY = (
    "something that is no table (a view, perhaps) has the name of one of its tables: drop that, "
    "and restore a backup with `headgate restore`; or name another database in HEADGATE_STORE"
)
_STATES = {
    "08": _UNREACHABLE,
    "28": _REFUSED,
    "3D": "the server has no such database: create it, or name another one in HEADGATE_STORE",
    "25006": "it is read-only, as a standby is: name the primary in HEADGATE_STORE",
    "25P03": "this process stopped in the middle of a transaction, which the server then undid",
    "40P01": "two transactions waited for each other: nothing was written, and it is tried again",
    "42703": (
        "it is damaged, as columns of its tables are gone: restore a backup with `headgate "
        "restore`, at need into an empty database"
    ),
    "42501": "this user may not use its tables: let it own them, or grant it what it needs",
    "42809": _IN_THE_WAY,
    "42P07": _IN_THE_WAY,
    "42P01": "its tables are gone: restore a backup with `headgate restore`",
    "42883": "its functions are gone: restore a backup with `headgate restore`",
    "53100": "the server's disk is full: free some space; nothing was lost, and the daemon goes on",
    "53300": "the server has no connection to spare: raise max_connections, or end some clients",
    "53": "the server lacks memory, disk or connections: see its log",
    "55P03": f"another transaction has kept a row locked for {LOCK_MILLISECONDS // 1000} s",
    "57014": f"a statement took longer than {STATEMENT_MILLISECONDS // 1000} s: see the server",
    "57P": _UNREACHABLE,
    "58": "the server's disk fails to read or write: see its log",
    "XX001": "it is damaged: restore a backup with `headgate restore`",
    "XX002": "it is damaged: restore a backup with `headgate restore`",
}
_WORDS = {
    # While connecting there is a message, and no code.
    ": invalid ": _NO_VALUE,
    "certificate": _UNKNOWN,
    "does not support SSL": _NO_TLS,
    "password": _REFUSED,
    "authentication": _REFUSED,
    "pg_hba.conf": _REFUSED,
    "role ": _REFUSED,
    "database ": _STATES["3D"],
    "too many": _STATES["53300"],
    "remaining connection slots": _STATES["53300"],
}


class _Text(StrDumper):
    """PostgreSQL's text has no NUL: what others wrote keeps its place, as U+FFFD."""

    def dump(self, obj: str) -> Any:  # noqa: ANN401 - the driver's buffer
        return super().dump(obj.replace("\0", "\ufffd"))


def without_limits(connection: Connection) -> None:
    """Let the transaction under way take the time that it takes."""
    for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(text(f"SET LOCAL {name} = 0"))


class Server:
    """The database that a store's URL names. Sentences tell its host and name, and no more."""

    shared = True
    """Replicas share it by leases."""

    def __init__(self, url: URL) -> None:
        # Whatever is wrong with a part of it, the URL may hold a password: it is never shown.
        self._dialling = dialling(url.set(drivername="postgresql+psycopg"))
        host = url.host or url.query.get("host") or "localhost"
        hosts = host if isinstance(host, str) else ",".join(host)
        port = f":{url.port}" if url.port else ""
        self.name = f"{hosts}{port}/{url.database or ''}"

    def prepare(self, *, create: bool) -> None:
        """Nothing to do: databases are created by those who run the server."""

    def replaced(self) -> bool:
        """A server that comes back has the same record: it is one that acknowledges on disk."""
        return False

    def engine(self, _: Callable[[], datetime]) -> Engine:
        """Connect with the settings that the store's promises rest on; the clock is its own."""
        try:
            engine = create_engine(
                self._dialling.url,
                connect_args=_OF_CONNECTIONS,
                hide_parameters=True,
                pool_pre_ping=True,
                pool_recycle=RECYCLE_S,
                pool_size=CONNECTIONS,
                pool_timeout=CONNECT_S,
            )
        except ArgumentError as error:
            raise StoreUnusable(f"the store {self.name} cannot be used: {_NO_VALUE}") from error
        event.listen(engine, "do_connect", self._connect)
        return engine

    def _connect(
        self,
        _: Dialect,
        __: ConnectionPoolEntry,
        arguments: list[Any],
        options: dict[str, Any],
    ) -> psycopg.Connection:
        connection = self._logged_in(arguments, options)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise StoreUnusable(
                f"the store {self.name} keeps text as {encoding}: create its database with "
                "ENCODING 'UTF8' TEMPLATE template0"
            )
        connection.adapters.register_dumper(str, _Text)
        connection.autocommit = True
        connection.execute("; ".join(_SETTINGS))
        connection.autocommit = False
        return connection

    def _logged_in(self, arguments: list[Any], options: dict[str, Any]) -> psycopg.Connection:
        """A connection, with the password of this moment."""
        password = self._dialling.password
        if password is None:
            return psycopg.connect(*arguments, **options)
        pauses = iter(LOGIN_AGAIN_S)
        refused = False
        while True:
            options["password"] = password(refused=refused)
            try:
                return psycopg.connect(*arguments, **options)
            except psycopg.OperationalError as error:
                pause = next(pauses, None)
                refused = self.sentence(error) == _REFUSED
                if not refused or pause is None:
                    raise
            time.sleep(pause)

    def options(self, *, writes: bool) -> dict[str, object]:
        """The execution options of a transaction.

        A reader sees one moment, as with SQLite. Writers rest on their own fences: rows that are
        compared as they are changed, and the one counter that all of them raise.
        """
        return {"isolation_level": "READ COMMITTED" if writes else "REPEATABLE READ"}

    def queue_for_migrations(self, connection: Connection) -> None:
        """Wait until no other replica makes the tables, for as long as that takes it."""
        without_limits(connection)
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))

    def hold(self) -> ExitStack:
        """Nothing is held: replicas share the record by leases."""
        return ExitStack()

    def sentence(self, error: BaseException) -> str | None:
        """What is wrong with the server, or on the way to it; None for what is a bug of ours."""
        state = getattr(error, "sqlstate", None)
        if state is not None:
            return next((said for code, said in _STATES.items() if state.startswith(code)), None)
        if not isinstance(error, psycopg.OperationalError):
            return None
        said = str(error)
        return next((told for word, told in _WORDS.items() if word in said), _UNREACHABLE)
