"""How PostgreSQL is reached: with TLS unless it is on this machine, and by whose password.

A password that lives for an hour only cannot stand in a URL. Two ways to another one are written
there instead, so that it is only ever shown to the server that it is meant for:
`?password_file=FILE` is read for each connection, as somebody else renews it; `?lakebase=NAME` asks
the workspace for a token of the database instance NAME, or of projects/P/branches/B/endpoints/E.
Both hold for whoever opens the store: the daemon, and every command.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from psycopg import pq
from sqlalchemy import URL

from controller.address import is_loopback
from controller.places import near
from controller.private import owners_text
from controller.record.errors import StoreUnusable
from controller.record.redaction import hide

PASSWORD_FILE: Final = "password_file"  # noqa: S105 - the name of a setting
LAKEBASE: Final = "lakebase"
RENEW_S: Final = 900.0
"""How long a token of Lakebase serves new connections: a quarter of its life."""
SURELY_NEW_S: Final = 60.0
"""A token that is younger is not asked for again, whatever the server says of it."""
_OPEN = ("disable", "allow", "prefer")
_KNOWN: Final = {one.keyword.decode() for one in pq.Conninfo.get_defaults()}


@dataclass(frozen=True, kw_only=True)
class Dialling:
    """What to connect with."""

    url: URL = field(repr=False)
    """As the driver takes it: without what is Headgate's own, and with TLS where it must be."""
    password: "Password | None"
    """Where each connection's password is; None, if the URL or the driver's own ways say it."""


def dialling(url: URL) -> Dialling:
    """What a store's URL says of the way there; StoreUnusable where that is not to be gone."""
    unknown = sorted(url.query.keys() - _KNOWN - {PASSWORD_FILE, LAKEBASE})
    if unknown:
        meant = near(unknown[0], [*_KNOWN, PASSWORD_FILE, LAKEBASE])
        raise StoreUnusable(
            f"HEADGATE_STORE has the parameter {unknown[0]}, which PostgreSQL does not know"
            + (f": did you mean {meant}?" if meant else ": leave it out")
        )
    file, lakebase = _one(url, PASSWORD_FILE), _one(url, LAKEBASE)
    ways = [name for name, way in ((PASSWORD_FILE, file), (LAKEBASE, lakebase)) if way]
    if url.password is not None or "password" in url.query:
        ways.append("the password itself")
    if len(ways) > 1:
        raise StoreUnusable(f"HEADGATE_STORE has {' and '.join(ways)}: say one of them")
    password = FromFile(Path(file)) if file else FromLakebase(lakebase) if lakebase else None
    plain = url.difference_update_query((PASSWORD_FILE, LAKEBASE))
    return Dialling(url=_encrypted(plain), password=password)


def _one(url: URL, name: str) -> str | None:
    told = url.query.get(name)
    return told if told is None or isinstance(told, str) else told[-1]


def _encrypted(url: URL) -> URL:
    """With TLS, and the server's name proven, unless the URL says how else it is known.

    The driver would take a server that offers no TLS for one that needs none.
    """
    defaults = {
        one.keyword.decode(): one.val.decode() for one in pq.Conninfo.get_defaults() if one.val
    }
    away = [host for host in _hosts(url, defaults) if not _here(host)]
    if not away:
        return url
    said = _one(url, "sslmode")
    mode = said or defaults["sslmode"]
    if said in _OPEN or mode in ("disable", "allow"):
        raise StoreUnusable(
            f"the store on {away[0]} would be reached without encryption (sslmode={mode}): leave "
            "sslmode out, or say verify-full; without TLS a server is reached on this machine "
            "only, by a socket or 127.0.0.1"
        )
    more = {}
    if mode == "prefer":
        more["sslmode"] = mode = "verify-full"
    if mode.startswith("verify-") and not _knows_authorities(url, defaults):
        # Those of the driver's own TLS library are where it was built, which is not here.
        from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415

        more["sslrootcert"] = DEFAULT_CA_BUNDLE_PATH
    return url.update_query_dict(more)


def _hosts(url: URL, defaults: dict[str, str]) -> Iterator[str]:
    """Every host that a connection may go to; nothing stands for the driver's own socket."""
    if "service" in url.query:
        yield "a service"  # its file may name any
    for name in ("host", "hostaddr"):
        told = url.query.get(name) or defaults.get(name, "")
        if name == "host" and url.host:
            told = url.host
        for part in (told,) if isinstance(told, str) else told:
            yield from part.split(",")


def _here(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(host)


def _knows_authorities(url: URL, defaults: dict[str, str]) -> bool:
    own = Path.home() / ".postgresql" / "root.crt"
    return "sslrootcert" in url.query or "sslrootcert" in defaults or own.exists()


@dataclass(frozen=True)
class FromFile:
    """A password in a file that somebody else renews: a mounted secret, Vault's or IAM's token."""

    path: Path

    def __call__(self, *, refused: bool) -> str:  # noqa: ARG002 - it is read anew in any case
        """What the file says now. StoreUnusable, if it cannot be read or others can."""
        place = f"{PASSWORD_FILE}={self.path} in HEADGATE_STORE"
        try:
            password = owners_text(self.path).strip()
        except ValueError as error:
            raise StoreUnusable(f"{place}: {error}") from error
        if not password:
            raise StoreUnusable(f"{place}: it is empty: put the password into it")
        hide(password, renewing="the store's password")
        return password


def _ask(database: str) -> str:
    # The workspace's client takes a second to import.
    from controller.workspace.errors import WorkspaceError  # noqa: PLC0415
    from controller.workspace.lakebase import token  # noqa: PLC0415

    try:
        return token(database)
    except WorkspaceError as error:
        raise StoreUnusable(f"no password for the store: {error}") from error


@dataclass
class FromLakebase:
    """A token that the workspace gives for a database of Lakebase.

    It counts at login only: connections outlive it.
    """

    database: str
    ask: Callable[[str], str] = field(default=_ask, repr=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _token: tuple[float, str] | None = field(default=None, repr=False)

    def __call__(self, *, refused: bool) -> str:
        """A token that is young; StoreUnusable, if the workspace gives none."""
        with self._lock:
            patience = SURELY_NEW_S if refused else RENEW_S
            if self._token is None or self.monotonic() - self._token[0] >= patience:
                began = self.monotonic()
                self._token = began, self.ask(self.database)
                hide(self._token[1], renewing="Lakebase's token")
            return self._token[1]


Password = FromFile | FromLakebase
