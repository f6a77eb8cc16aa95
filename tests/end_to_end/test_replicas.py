"""Two daemons on one PostgreSQL: one dies, sleeps, or loses the database, and the other goes on.

HEADGATE_OUTAGE_S says for how long a connection is lost: seconds in `make test`, a minute in
`make torture`.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.controller.postgres import Postgres
from tests.end_to_end.lives import Lives
from tests.end_to_end.stage import (
    PATIENCE_S,
    Bridge,
    Course,
    Daemon,
    Line,
    Splits,
    Users,
    eventually,
)

LEASE_S = 3.0
SOON_S = 2.0
"""How long after a lease's end, at most, another replica has what it was for."""
UNGUARDED_S = LEASE_S / 3
"""For how long a replica without the database may send what it wrote down before."""
SOCKET = ".s.PGSQL.5432"
OUTAGE_S = float(os.environ.get("HEADGATE_OUTAGE_S", "5"))
CLIMB = [0, 20, 50, 100]

TENURES = """
CREATE SCHEMA test;
CREATE TABLE test.tenures (
    number serial, application text, replica text, epoch bigint, at bigint DEFAULT headgate_now()
);
CREATE FUNCTION test.taken() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.tenures (application, replica, epoch)
    VALUES (NEW.application, NEW.replica, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER taken AFTER UPDATE ON leases FOR EACH ROW WHEN (
    NEW.replica IS NOT NULL
    AND (NEW.replica, NEW.epoch) IS DISTINCT FROM (OLD.replica, OLD.epoch)
) EXECUTE FUNCTION test.taken();
INSERT INTO test.tenures (application, replica, epoch)
SELECT application, replica, epoch FROM leases WHERE replica IS NOT NULL;
"""
"""The database writes down by itself who takes which lease, and when."""

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(240 + 4 * OUTAGE_S),
]


class Cable:
    """The way to a PostgreSQL server, which can be cut: a socket in a folder of its own."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self._far, self.folder = f"{server.socket}/{SOCKET}", folder
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        folder.mkdir()
        self.mend()

    def url(self, server: Postgres, database: str) -> str:
        """The URL of a database behind it."""
        near, far = (quote(one, safe="") for one in (str(self.folder), server.socket))
        return server.url(database).replace(far, near)

    def mend(self) -> None:
        """Let connections through, from now on."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.folder / SOCKET))
        self._socket.listen()
        self._spawn(self._accept, self._socket)

    def cut(self) -> None:
        """End all connections, and let no new one begin."""
        (self.folder / SOCKET).unlink(missing_ok=True)
        # Whoever accepts is the first of all, and ends first: it adds to the others.
        self._end([self._socket], self._threads[:1])
        self._end(self._ends, self._threads)
        self._threads, self._ends = [], []

    def _end(self, ends: list[socket.socket], threads: list[threading.Thread]) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE_S)
        for end in ends:
            end.close()

    def _spawn(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                self._lead(near)

    def _lead(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self._far)
        except OSError:
            # The server is away: so is it for who asks, who may ask again.
            near.close()
            far.close()
            return
        self._ends += [near, far]
        self._spawn(_pour, near, far)
        self._spawn(_pour, far, near)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@dataclass
class Replica(Lives):
    """A daemon, its way to the database, and its way to the workspace."""

    cable: Cable = field(kw_only=True)
    bridge: Bridge = field(kw_only=True)


@dataclass(frozen=True)
class Tenure:
    """A lease as it was taken."""

    application: str
    replica: str
    epoch: int
    at: float
    """On the database's clock, in seconds."""


def pid_of(replica: str) -> int:
    """The process that has this name in the record."""
    return int(replica.rsplit("-", 2)[1])


@dataclass
class Pair:
    """Two replicas that look after one application."""

    one: Replica
    two: Replica
    course: Course
    server: Postgres
    database: str

    @property
    def lines(self) -> list[Line]:
        """What both of them told, in the journal's order; a line may have been told twice."""
        told = [line for one in (self.one, self.two) for line in one.lines if "seq" in line]
        return sorted(told, key=lambda line: int(line["seq"]))

    def until(self, event: str, **fields: object) -> None:
        """Wait until either of them has told of this."""
        eventually(
            lambda: any(
                line["event"] == event and all(line.get(name) == it for name, it in fields.items())
                for line in self.lines
            ),
            f"{event} {fields}; the log ends with {self.lines[-1:]}",
        )

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """What their database answers, by a way of its own."""
        return self.server.ask(statement, self.database)

    @property
    def now(self) -> float:
        """The time on the database's clock, in seconds."""
        return float(self.ask("SELECT headgate_now() / 1e6")[0][0])

    @property
    def living(self) -> int:
        """How many replicas live, by the database."""
        return int(self.ask("SELECT count(*) FROM replicas WHERE until > headgate_now()")[0][0])

    @property
    def tenures(self) -> list[Tenure]:
        """Every lease that was taken, in order, as the database itself wrote it down."""
        query = "SELECT application, replica, epoch, at / 1e6 FROM test.tenures ORDER BY number"
        return [Tenure(name, who, epoch, float(at)) for name, who, epoch, at in self.ask(query)]

    def holders(self) -> list[str]:
        """Who has the application, by the database."""
        rows = self.ask("SELECT application, replica FROM leases")
        return [str(holder) for name, holder in rows if holder and name == self.course.name]

    def holding(self) -> tuple[Replica, Replica]:
        """The replica that has the application, and the other one."""
        eventually(self.holders, "somebody has the application")
        one = pid_of(self.holders()[0]) == self.one.pid
        return (self.one, self.two) if one else (self.two, self.one)


@pytest.fixture
def pair(
    course: Callable[..., Course],
    daemon: Callable[..., Daemon],
    postgres: Postgres,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Both running, each with a cable to the database and a bridge to the workspace."""
    guards: dict[str, Any] = {name: {"observe": True} for name in ("latency", "answers")}
    guards["errors"] = {"margin": "16pp"}
    one = course(rollout={"retain": "1h", "min_step": "1s"}, guards=guards).open().ready()
    database = postgres.empty()
    replicas = []
    for number in range(2):
        # A socket's path is short.
        cable = Cable(postgres, tmp_path_factory.mktemp("c", numbered=True) / "s")
        bridge = Bridge(one.workspace)
        bridge.open()
        told = {
            "HEADGATE_STORE": cable.url(postgres, database),
            "HEADGATE_LEASE": f"{LEASE_S:g}s",
            "DATABRICKS_HOST": bridge.host,
        }
        folder = tmp_path / str(number)
        folder.mkdir()
        replicas.append(Replica(daemon(one, **told), folder, cable=cable, bridge=bridge))
        replicas[-1].begin()
    made = Pair(replicas[0], replicas[1], one, postgres, database)
    made.until("release.registered", version="1")
    made.ask(TENURES)
    yield made
    ended = [replica.forks[-1].poll() for replica in replicas]
    for replica in replicas:
        replica.forks[-1].kill()
        replica.forks[-1].wait(PATIENCE_S)
        replica.cable.cut()
        replica.bridge.close()
    assert set(ended) <= {None, 0}, "none has ended but one that was asked to"


@contextlib.contextmanager
def released(pair: Pair) -> Iterator[None]:
    """A release goes through, whatever happens once it was decided to give it its first users."""
    pair.course.register()
    with Users(pair.course) as users, Splits(pair.course) as splits:
        pair.until("release.transition", version="2", to_state="Canary", step=1)
        yield
        pair.until("release.confirmed", version="2")
    assert splits.exposures == CLIMB, "nothing opened or shut the gate"
    assert pair.course.updates == len(CLIMB), "each change of the endpoint was asked for once"
    assert pair.course.alias == "2"
    assert set(users.statuses) == {200}
    journal = {line["seq"]: line for line in pair.one.daemon.journal()}
    assert list(journal) == list(range(1, len(journal) + 1))
    eventually(lambda: {line["seq"] for line in pair.lines} == set(journal), "all of it is told")
    assert all(line == journal[line["seq"]] for line in pair.lines), "what was told is so"
    for name in {one.application for one in pair.tenures}:
        epochs = [one.epoch for one in pair.tenures if one.application == name]
        assert epochs == sorted(set(epochs)), f"{name} had an epoch twice"


def taken_over(pair: Pair, former: Replica, begun: float) -> None:
    """Soon after a time on the database's clock, the other replica has the application."""
    eventually(lambda: pair.holding()[0] is not former, "the other one takes over")
    taken = next(
        one for one in pair.tenures if one.application == pair.course.name and one.at > begun
    )
    assert pid_of(taken.replica) != former.pid
    took = taken.at - begun
    sys.stdout.write(f"taken over after {took:.1f} s, with a lease of {LEASE_S:g} s\n")
    assert took <= LEASE_S + SOON_S


def test_a_replica_that_is_killed_is_taken_over(pair: Pair) -> None:
    with released(pair):
        former, _ = pair.holding()
        begun = pair.now
        former.end(signal.SIGKILL)
        taken_over(pair, former, begun)
        former.begin()


def test_a_replica_that_sleeps_is_taken_over_and_does_no_harm_when_it_wakes(pair: Pair) -> None:
    with released(pair):
        opened(pair)
        former, other = pair.holding()
        begun = pair.now
        os.kill(former.pid, signal.SIGSTOP)
        taken_over(pair, former, begun)
        awake = time.time()
        os.kill(former.pid, signal.SIGCONT)
        eventually(lambda: stands_by(former), "it knows that it has nothing")
    late = [at - awake for at in former.bridge.changes if at > awake]
    assert not late, f"it sends on its own, {late} s after it woke up"
    assert pair.holding()[0] is other


def test_a_replica_that_loses_the_database_is_taken_over_and_comes_back(pair: Pair) -> None:
    with released(pair):
        opened(pair)
        former, other = pair.holding()
        begun, cut = pair.now, time.time()
        former.cable.cut()
        taken_over(pair, former, begun)
        time.sleep(max(0.0, begun + OUTAGE_S - pair.now))
        assert pair.living == 1, "the one that still reaches it"
        former.cable.mend()
        eventually(lambda: pair.living == 2, "both live again")
        eventually(lambda: stands_by(former), "it knows that it has nothing")
    late = [at - cut for at in former.bridge.changes if at > cut + UNGUARDED_S]
    assert not late, f"it sends on its own, {late} s after it was cut off"
    assert pair.holding()[0] is other
    other.end(signal.SIGTERM)
    eventually(lambda: pair.holding()[0] is former, "it stands by")


def test_a_server_that_is_restarted_again_and_again_delays_and_loses_nothing(pair: Pair) -> None:
    with released(pair):
        for _ in range(max(2, round(OUTAGE_S / 10))):
            pair.server.stop()
            time.sleep(0.5)
            pair.server.start()
            time.sleep(2)


def opened(pair: Pair) -> None:
    """The first users have it, and no call is under way."""
    eventually(lambda: pair.course.split.get("2") == CLIMB[1], "the first users have it")


def stands_by(replica: Replica) -> bool:
    """It has said, last, that it lives and has nothing."""
    said = replica.told("leases.changed")[-1]
    return (said["applications"], said["prints"]) == (0, False)
