"""The way to PostgreSQL: passwords that are renewed, connections that end, and TLS."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from controller.console.cli import app
from controller.console.keeping import back_up
from controller.record.dialling import RENEW_S, FromLakebase, dialling
from controller.record.errors import StoreUnusable
from controller.record.printer import Printer
from controller.record.store import Store
from controller.workspace import lakebase
from tests.controller.house import House, opened
from tests.controller.postgres import Postgres
from tests.controller.record.making import release, seqs, write
from tests.controller.record.test_postgres import shown
from tests.controller.record.ways import SSL_REQUEST, USER, Renewing, Tls, authority, renewing
from tests.states.story import START

BRANCH = "projects/p/branches/b/endpoints/e"


@pytest.fixture
def place(postgres: Postgres, tmp_path: Path) -> Iterator[Renewing]:
    with renewing(postgres, tmp_path) as made:
        yield made


@contextmanager
def house_at(place: Renewing, folder: Path) -> Iterator[House]:
    """A daemon's pass on a store there, with the server's clock in the test's hands."""
    with opened(folder) as house, closing(Store(place.url)) as store:
        place.server.stop_clock(place.database, START)
        place.server.ask(f"GRANT USAGE ON SCHEMA test TO {USER}", place.database)
        place.server.ask(f"GRANT SELECT ON test.clock TO {USER}", place.database)
        file, house.store = house.store, store
        house.one.store = house.one.actor.store = store
        house.one.printer = Printer(store)
        yield house
        house.store = file


def passes(house: House, place: Renewing) -> None:
    place.server.ask("UPDATE test.clock SET at = at + 30000000", place.database)
    house.passes()


def test_a_release_goes_through_while_the_password_is_renewed_and_connections_end(
    place: Renewing, tmp_path: Path
) -> None:
    """Each pass logs in anew; at every fourth a renewal is half done, in one order or the other."""
    with house_at(place, tmp_path / "house") as house:
        passes(house, place)
        house.outside.story.register(2)
        for number in range(200):
            place.cut_off()
            late = None if number % 4 else place.renew(told_first=number % 8 == 0)
            passes(house, place)
            if late is not None:
                late.join()
            if house.outside.story.alias == "2":
                break
        assert house.outside.story.alias == "2", house.application().hold
        assert house.outside.story.weight(2) == 100
        assert list(seqs(house.store)) == list(range(1, house.store.last_seq() + 1))
        rows = place.server.ask("SELECT outcome FROM calls WHERE outcome <> 'done'", place.database)
        assert rows == [], "nothing that was sent is unaccounted for"
        told = CliRunner().invoke(app, ["status", "--json", "--store", place.url])
        assert [one["version"] for one in json.loads(told.stdout)] == ["1", "2"]
        file = tmp_path / "store.backup"
        assert "checked" in back_up(house.store, file)
        lines = "".join(map(json.dumps, house.store.journal()))
        kept = gzip.decompress(file.read_bytes()).decode()
        said = (
            f"{house.store.place!r} {house.store._engine!r} {vars(house.store.place)} {told.output}"
        )
        assert not [one for one in place.used for where in (lines, kept, said) if one in where]


def test_a_server_that_ends_idle_sessions_is_no_event(place: Renewing, tmp_path: Path) -> None:
    place.server.ask(f"ALTER ROLE {USER} SET idle_session_timeout = '200ms'")
    with house_at(place, tmp_path / "house") as house:
        for _ in range(3):
            passes(house, place)
            until = time.monotonic() + 10
            while place.connections():
                assert time.monotonic() < until, "the server ends what is idle"
                time.sleep(0.02)
        passes(house, place)
        assert house.application().adopted


def test_a_connection_that_is_old_is_not_used_again(
    place: Renewing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.record.postgres.RECYCLE_S", 0.05)
    pids = set[int]()
    with closing(Store(place.url)) as store:
        for _ in range(3):
            with store.reading() as connection:
                pids.add(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            time.sleep(0.06)
        assert len(pids) == 3
        assert place.connections() == 1, "the older ones are closed"


def test_a_password_that_stays_wrong_is_told_and_never_shown(place: Renewing) -> None:
    place.server.ask(f"ALTER ROLE {USER} PASSWORD 'another one'")
    with pytest.raises(StoreUnusable, match="refuses the user or its password") as caught:
        Store(place.url)
    assert place.used[-1] not in shown(caught.value)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda file: file.unlink(), "password_file=.* cannot be read: No such file"),
        (lambda file: file.chmod(0o644), "others may read or change it: `chmod 600"),
        (lambda file: file.write_text("\n"), "it is empty: put the password into it"),
    ],
)
def test_a_file_without_a_password_is_told(
    place: Renewing, spoilt: Callable[[Path], object], said: str
) -> None:
    spoilt(place.file)
    with pytest.raises(StoreUnusable, match=said):
        Store(place.url)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("passwordfile=/x", "PostgreSQL does not know: did you mean password_file"),
        ("xyzzy=1", "has the parameter xyzzy, which PostgreSQL does not know: leave it out"),
        ("password_file=/x&lakebase=y", "has password_file and lakebase: say one of them"),
        ("password=hunter2&lakebase=y", "has lakebase and the password itself: say one of them"),
    ],
)
def test_a_way_that_is_none_is_refused(parameters: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said) as caught:
        Store(f"postgresql://ann@127.0.0.1:1/d?{parameters}")
    assert "hunter2" not in shown(caught.value)


@dataclass
class Workspace:
    """Gives passwords of one PostgreSQL role as Lakebase gives tokens."""

    place: Renewing
    asked: list[dict[str, Any]] = field(default_factory=list)
    denies: bool = False

    def answer(self, path: str, told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not path.endswith("/credentials"):
            return 404, {"error_code": "NOT_FOUND", "message": "no such page"}
        if self.denies:
            return 403, {"error_code": "PERMISSION_DENIED", "message": "secret words"}
        self.asked.append({"path": path, **told})
        self.place.renewed()
        end = "2026-12-01T00:00:00Z"
        return 200, {"token": self.place.used[-1], "expiration_time": end, "expire_time": end}


@pytest.fixture
def workspace(place: Renewing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    made = Workspace(place)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, body = made.answer(self.path, json.loads(self.rfile.read(length) or b"{}"))
            told = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST  # noqa: N815 - the server's name for it

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("DATABRICKS_TOKEN", "a-token-of-the-api")
        lakebase._client.cache_clear()
        yield made
        lakebase._client.cache_clear()
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("main-db", {"path": "/api/2.0/database/credentials", "instance_names": ["main-db"]}),
        (
            "projects/p/branches/b/endpoints/e",
            {
                "path": "/api/2.0/postgres/credentials",
                "endpoint": "projects/p/branches/b/endpoints/e",
            },
        ),
    ],
)
def test_a_token_of_lakebase_is_the_password_and_serves_until_it_is_refused(
    workspace: Workspace, name: str, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workspace.place
    url = place.server.url(place.database, USER)
    with closing(Store(f"{url}&lakebase={name}")) as store:
        write(store, release())
        place.cut_off()
        assert store.last_seq() == 1, "another login"
        (once,) = workspace.asked
        once.pop("request_id", None)
        assert once == asked, "one token is enough for both"
        place.renewed()
        place.cut_off()
        with pytest.raises(StoreUnusable, match="refuses the user or its password"):
            store.last_seq()
        assert len(workspace.asked) == 1, "a token of this minute is not asked for again"
        monkeypatch.setattr("controller.record.dialling.SURELY_NEW_S", 0)
        assert store.last_seq() == 1, "one that was refused is"
        assert not [one for one in place.used if one in f"{store.place!r}{vars(store.place)}"]


def test_a_workspace_that_gives_no_token_is_told(workspace: Workspace) -> None:
    workspace.denies = True
    url = workspace.place.server.url(workspace.place.database, USER)
    said = "Lakebase database db: permission denied: .* needs CAN_USE"
    with pytest.raises(StoreUnusable, match=f"no password for the store: {said}") as caught:
        Store(f"{url}&lakebase=db")
    assert "secret words" not in str(caught.value)


def test_a_token_is_renewed_long_before_its_end() -> None:
    ticks, asked = [0.0], list[str]()

    def ask(database: str) -> str:
        asked.append(database)
        return f"token {len(asked)}"

    password = FromLakebase("db", ask, lambda: ticks[0])
    assert [password(refused=False) for _ in range(3)] == ["token 1"] * 3
    ticks[0] = RENEW_S
    assert password(refused=False) == "token 2"
    assert timedelta(hours=1).total_seconds() >= 4 * RENEW_S
    assert "token" not in repr(password)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
@pytest.mark.parametrize("host", ["db.example.com", "10.1.2.3", "127.0.0.1,db.example.com"])
def test_a_server_elsewhere_is_not_reached_in_the_clear(host: str, mode: str) -> None:
    with pytest.raises(StoreUnusable, match=rf"without encryption .sslmode={mode}.: leave sslmode"):
        Store(f"postgresql://ann@/d?host={host}&sslmode={mode}")


def test_nor_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert parameters("postgresql:///d")["sslmode"] == "verify-full"
    monkeypatch.setenv("PGSSLMODE", "disable")
    with pytest.raises(StoreUnusable, match=r"on db.example.com would be reached without"):
        Store("postgresql:///d")


def parameters(url: str) -> dict[str, Any]:
    return dict(dialling(make_url(url)).url.query)


def test_a_server_elsewhere_is_known_by_its_certificate_unless_the_url_says_otherwise() -> None:
    told = parameters("postgresql://ann@db.example.com/d")
    assert told.pop("sslmode") == "verify-full"
    assert Path(told["sslrootcert"]).read_text().count("BEGIN CERTIFICATE") > 100
    said = "postgresql://ann@db.example.com/d?sslmode="
    assert parameters(f"{said}require") == {"sslmode": "require"}
    own = parameters(f"{said}verify-full&sslrootcert=/rds.pem")
    assert own == {"sslmode": "verify-full", "sslrootcert": "/rds.pem"}


@pytest.mark.parametrize(
    "place", ["", "127.0.0.1", "[::1]", "localhost", "?host=/run/pg", "?host=%40headgate"]
)
def test_on_this_machine_no_tls_is_needed(place: str) -> None:
    url = f"postgresql:///d{place}" if place.startswith("?") else f"postgresql://{place}/d"
    assert "sslmode" not in parameters(url)


@dataclass
class Doors:
    """Ports with TLS before one database, by whose certificate they have."""

    place: Renewing
    opened: list[Tls] = field(default_factory=list)

    def at(self, tls: Tls, more: str) -> str:
        self.opened.append(tls)
        url = f"postgresql://{USER}@/{self.place.database}?host=db.example.com"
        url += f"&password_file={self.place.file}"
        return f"{url}&hostaddr=127.0.0.1&port={tls.port}&{more}"


@pytest.fixture
def doors(place: Renewing) -> Iterator[Doors]:
    made = Doors(place)
    yield made
    place.cut_off()
    for tls in made.opened:
        tls.close()


def test_behind_tls_the_store_works_and_its_password_is_not_read_on_the_way(
    doors: Doors, tmp_path: Path
) -> None:
    certificate = authority(tmp_path, "db.example.com")
    tls = Tls(doors.place.server, certificate)
    with closing(Store(doors.at(tls, f"sslrootcert={certificate[0]}"))) as store:
        write(store, release())
        assert store.last_seq() == 1
        with store.reading() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            assert raw.pgconn.ssl_in_use
    assert set(tls.first) == {SSL_REQUEST}, "all of them ask for TLS first"


@pytest.mark.parametrize(
    ("host", "known", "said"),
    [
        ("db.example.com", False, "of an authority that is not known: name the file"),
        ("other.example.com", True, "the server's certificate is for another name"),
        (None, True, "the server offers no TLS: switch it on there"),
    ],
)
def test_a_server_that_is_not_proven_gets_nothing(
    doors: Doors, tmp_path: Path, host: str | None, *, known: bool, said: str
) -> None:
    certificate = authority(tmp_path, host or "db.example.com")
    tls = Tls(doors.place.server, certificate if host else None)
    url = doors.at(tls, f"sslrootcert={certificate[0]}" if known else "")
    with pytest.raises(StoreUnusable, match=said) as caught:
        Store(url.rstrip("&"))
    assert doors.place.connections() == 0
    assert doors.place.used[-1] not in shown(caught.value)
    assert set(tls.first) <= {SSL_REQUEST, b""}
