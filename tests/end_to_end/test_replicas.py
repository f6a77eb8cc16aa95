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
    Course,
    Daemon,
    Line,
    Splits,
    Users,
    eventually,
)

LEASE_S = 3.0
SOCKET = ".s.PGSQL.5432"
OUTAGE_S = float(os.environ.get("HEADGATE_OUTAGE_S", "5"))
CLIMB = [0, 20, 50, 100]

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
        (self.folder / SOCKET).unlink()
        for end in (self._socket, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for end in (self._socket, *self._ends):
            end.close()
        self._threads, self._ends = [], []

    def _spawn(self, work: Callable[..., None], *ends: socket.socket) -> None:
        thread = threading.Thread(target=work, args=ends, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(self._far)
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
class Pair:
    """Two replicas that look after one application."""

    one: Lives
    two: Lives
    course: Course
    cable: Cable
    server: Postgres
    took: dict[str, float] = field(default_factory=dict)

    @property
    def lines(self) -> list[Line]:
        """What both of them told, in the journal's order and without repetition."""
        told = {line["seq"]: line for one in (self.one, self.two) for line in one.lines
                if "seq" in line}  # fmt: skip
        return [told[seq] for seq in sorted(told)]

    def until(self, event: str, **fields: object) -> None:
        """Wait until either of them has told of this."""
        eventually(
            lambda: any(
                line["event"] == event and all(line.get(name) == it for name, it in fields.items())
                for line in self.lines
            ),
            f"{event} {fields}; the log ends with {self.lines[-1:]}",
        )

    def holders(self) -> list[str]:
        """Who has the application, by the database."""
        rows = self.server.ask("SELECT application, replica FROM leases", self.database)
        return [str(holder) for name, holder in rows if holder and name == self.course.name]

    @property
    def database(self) -> str:
        """The name of their database."""
        return self.one.daemon.url.partition("@/")[2].partition("?")[0]

    def holding(self) -> tuple[Lives, Lives]:
        """The replica that has the application, and the other one."""
        eventually(self.holders, "somebody has the application")
        pid = int(self.holders()[0].rsplit("-", 2)[1])
        return (self.one, self.two) if self.one.pid == pid else (self.two, self.one)


@pytest.fixture
def pair(
    course: Callable[..., Course],
    daemon: Callable[..., Daemon],
    postgres: Postgres,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Both running; the second one's way to the database is a cable."""
    guards: dict[str, Any] = {name: {"observe": True} for name in ("latency", "answers")}
    guards["errors"] = {"margin": "16pp"}
    one = course(rollout={"retain": "1h", "min_step": "1s"}, guards=guards).open().ready()
    # A socket's path is short.
    cable = Cable(postgres, tmp_path_factory.mktemp("c", numbered=True) / "s")
    database = postgres.empty()
    urls = [postgres.url(database), cable.url(postgres, database)]
    lives = []
    for number, url in enumerate(urls):
        told = {"HEADGATE_STORE": url, "HEADGATE_LEASE": f"{LEASE_S:g}s"}
        folder = tmp_path / str(number)
        folder.mkdir()
        lives.append(Lives(daemon(one, **told), folder))
        lives[-1].begin()
    made = Pair(lives[0], lives[1], one, cable, postgres)
    made.until("release.registered", version="1")
    yield made
    for life in lives:
        life.end(signal.SIGKILL)
    cable.cut()


def released(pair: Pair, trouble: Callable[[], None]) -> None:
    """A release goes through, whatever happens once its first users have it."""
    pair.course.register()
    with Users(pair.course) as users, Splits(pair.course) as splits:
        pair.until("release.transition", version="2", to_state="Canary", step=1)
        trouble()
        pair.until("release.confirmed", version="2")
    assert splits.exposures == CLIMB, "nothing opened or shut the gate"
    assert pair.course.updates == len(CLIMB), "each change of the endpoint was asked for once"
    assert pair.course.alias == "2"
    assert set(users.statuses) == {200}
    pair.until("release.confirmed", version="2")
    journal = [line["seq"] for line in pair.one.daemon.journal()]
    assert journal == list(range(1, len(journal) + 1))
    eventually(lambda: {line["seq"] for line in pair.lines} == set(journal), "all of it is told")


def taken_over(pair: Pair, former: Lives) -> float:
    """Seconds until the other replica has the application."""
    begun = time.monotonic()
    eventually(lambda: pair.holding()[0] is not former, "the other one takes over")
    took = time.monotonic() - begun
    sys.stdout.write(f"taken over after {took:.1f} s, with a lease of {LEASE_S:g} s\n")
    return took


def test_a_replica_that_is_killed_is_taken_over(pair: Pair) -> None:
    def killed() -> None:
        former, _ = pair.holding()
        former.end(signal.SIGKILL)
        pair.took["killed"] = taken_over(pair, former)
        former.begin()

    released(pair, killed)
    assert pair.took["killed"] > 0


def test_a_replica_that_sleeps_is_taken_over_and_does_no_harm_when_it_wakes(pair: Pair) -> None:
    def sleeps() -> None:
        former, _ = pair.holding()
        os.kill(former.pid, signal.SIGSTOP)
        pair.took["asleep"] = taken_over(pair, former)
        os.kill(former.pid, signal.SIGCONT)

    released(pair, sleeps)


def test_a_replica_that_loses_the_database_is_taken_over_and_comes_back(pair: Pair) -> None:
    def lost() -> None:
        pair.cable.cut()
        time.sleep(OUTAGE_S)
        assert pair.holding()[0] is pair.one, "the one that still reaches it"
        pair.cable.mend()
        eventually(lambda: _living(pair) == 2, "both live again")

    released(pair, lost)


def test_a_server_that_is_restarted_again_and_again_delays_and_loses_nothing(pair: Pair) -> None:
    def restarted() -> None:
        for _ in range(max(2, round(OUTAGE_S / 10))):
            pair.server.stop()
            time.sleep(0.5)
            pair.server.start()
            time.sleep(2)

    released(pair, restarted)


def _living(pair: Pair) -> int:
    alive = "SELECT count(*) FROM replicas WHERE until > headgate_now()"
    return int(str(pair.server.ask(alive, pair.database)[0][0]))
