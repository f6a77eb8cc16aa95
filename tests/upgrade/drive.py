"""A rolling upgrade and the way back, by two real versions on one PostgreSQL: `make upgrade-check`.

Not one of `make test`: the earlier version is a commit of this repository, and a clone may be
without its history. REV names another commit than those that `history` chooses.

A daemon of the earlier version has a release at its first step when one of today's joins. Where
the two may work side by side both live; where not, today's refuses to begin, says why, and is
started again and again, as an orchestrator does. Then the earlier one is killed with -9, and
today's ends what that one began. At last the store goes back in the middle of another release,
which the earlier version ends.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.record.schema import VERSION
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
    headgate,
)
from tests.upgrade.history import Revision, chosen

LEASE_S = 3.0
CLIMB = [0, 20, 50, 100]
STAY = "6s"
"""Least stay on a step: today's daemon has joined before the earlier one is over with the first."""
RELEASE_S = 2 * PATIENCE_S
"""Longest wait for an earlier version, which may want more evidence for a step than today's."""
HELD = 6
"""The exit code for a store that another holds."""

pytestmark = pytest.mark.timeout(420)


@dataclass
class Earlier:
    """A daemon of an earlier version, from the code of its commit."""

    revision: Revision
    code: Path
    like: Daemon
    """One of today's that has the same configuration and environment."""
    folder: Path
    lives: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.like.environment, "PYTHONPATH": str(self.code)}

    def start(self) -> None:
        """One more life of it."""
        log, errors = self.folder / f"{len(self.lives)}.log", self.folder / "errors"
        with log.open("wb") as out, errors.open("ab") as err:
            command = [sys.executable, "-m", "controller", "run", "--config", str(self.like.config)]
            self.lives.append(
                subprocess.Popen(
                    command, cwd=self.code, env=self.environment, stdout=out, stderr=err
                )
            )

    def kill(self) -> None:
        """End it as `kill -9` does."""
        for one in self.lives:
            one.kill()
            one.wait(PATIENCE_S)

    @property
    def lines(self) -> list[Line]:
        """All that it has told, in all its lives."""
        found: list[Line] = []
        for number in range(len(self.lives)):
            text = (self.folder / f"{number}.log").read_bytes()
            whole = text[: text.rfind(b"\n") + 1].splitlines()
            found += [json.loads(line) for line in whole]
        return found

    def until(self, event: str, **fields: object) -> None:
        """Wait until it has told of this."""

        def told() -> bool:
            assert self.lives[-1].poll() is None, (self.folder / "errors").read_text()
            return any(
                line["event"] == event and all(line.get(name) == it for name, it in fields.items())
                for line in self.lines
            )

        what = f"{event} {fields} of the earlier version: {self.lines[-1:]}"
        eventually(told, what, RELEASE_S)


@dataclass
class Upgrade:
    """One application, a daemon of before and one of today, and the store that they share."""

    earlier: Earlier
    today: Lives
    course: Course
    server: Postgres
    database: str
    took: dict[str, float] = field(default_factory=dict)

    def ask(self, statement: str) -> str:
        """The one thing that the database answers."""
        return str(self.server.ask(statement, self.database)[0][0])

    @property
    def schema(self) -> str:
        return self.ask("SELECT version_num FROM alembic_version")

    @property
    def living(self) -> int:
        return int(self.ask("SELECT count(*) FROM replicas WHERE until > headgate_now()"))

    def journal(self) -> list[int]:
        """The numbers of all that was written down."""
        return [int(str(row[0])) for row in
                self.server.ask("SELECT seq FROM journal ORDER BY seq", self.database)]  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "revision" in metafunc.fixturenames:
        found = chosen(os.environ.get("REV"))
        metafunc.parametrize("revision", found, ids=map(str, found))


@pytest.fixture
def upgrade(
    revision: Revision,
    course: Callable[..., Course],
    daemon: Callable[..., Daemon],
    postgres: Postgres,
    tmp_path: Path,
) -> Iterator[Upgrade]:
    guards = {name: {"observe": True} for name in ("latency", "answers")}
    errors = {"errors": {"margin": "16pp"}}
    one = course(rollout={"retain": "1h", "min_step": STAY}, guards={**guards, **errors})
    one.open().ready()
    database = postgres.empty()
    told = {"HEADGATE_STORE": postgres.url(database), "HEADGATE_LEASE": f"{LEASE_S:g}s"}
    today, folder = daemon(one, **told), tmp_path / "earlier"
    folder.mkdir()
    earlier = Earlier(revision, revision.unpack(tmp_path / "code"), today, folder)
    earlier.start()
    made = Upgrade(earlier, Lives(today, tmp_path), one, postgres, database)
    yield made
    earlier.kill()
    for fork in made.today.forks:
        fork.kill()  # the last of them may have ended by itself


def joins(upgrade: Upgrade) -> None:
    """Today's daemon works beside the earlier one, which goes on."""
    upgrade.today.begin()
    eventually(lambda: upgrade.living == 2, "both live")
    assert upgrade.schema == VERSION
    assert upgrade.earlier.lives[-1].poll() is None


def refused(upgrade: Upgrade) -> None:
    """Today's daemon does not begin beside the earlier one, and changes nothing."""
    daemon = upgrade.today.daemon
    said = headgate("run", "--config", daemon.config, **daemon.environment)
    assert said.code == HELD, said.err
    assert "stop all replicas of that version first" in said.err
    assert upgrade.schema == upgrade.earlier.revision.schema


def test_an_upgrade_in_the_middle_of_a_release_and_the_way_back(upgrade: Upgrade) -> None:
    earlier, today, course = upgrade.earlier, upgrade.today, upgrade.course
    earlier.until("release.registered", version="1")
    assert upgrade.schema == earlier.revision.schema
    course.register()
    with Users(course) as users, Splits(course) as splits:
        earlier.until("release.transition", version="2", to_state="Canary", step=1)
        if earlier.revision.beside:
            joins(upgrade)
        else:
            refused(upgrade)
            assert earlier.lives[-1].poll() is None
        assert course.split["2"] in CLIMB[1:3], "it is in the middle of its release"
        killed = time.monotonic()
        earlier.kill()
        if not earlier.revision.beside:
            begun_again(upgrade)
        eventually(
            lambda: today.told("release.confirmed", version="2"),
            f"version 2 is confirmed: {today.lines[-1:]}",
        )
        upgrade.took["confirmed after the kill"] = time.monotonic() - killed
    assert splits.exposures == CLIMB, "nothing opened or shut the gate"
    assert course.updates == len(CLIMB), "each change of the endpoint was asked for once"
    assert course.alias == "2"
    assert set(users.statuses) == {200}
    whole(upgrade)
    goes_back(upgrade)
    told = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in upgrade.took.items())
    sys.stdout.write(f"{earlier.revision}: {told}; {len(users.statuses)} users, all answered\n")


def begun_again(upgrade: Upgrade) -> None:
    """What was refused is started until nobody holds the store any more."""
    today, begun, times = upgrade.today, time.monotonic(), 0

    def ended() -> int | None:
        return today.forks[-1].poll()

    today.begin()
    while True:
        eventually(lambda: ended() is not None or upgrade.schema == VERSION, "it is refused or not")
        if ended() is None:
            break
        assert ended() == HELD, today.daemon.errors.read_text()
        times += 1
        today.begin()
    upgrade.took[f"refused {times} times more, begun"] = time.monotonic() - begun


def whole(upgrade: Upgrade) -> None:
    """The journal has no gap, and the two logs have all of it."""
    journal = upgrade.journal()
    assert journal == list(range(1, len(journal) + 1))
    both = [*upgrade.earlier.lines, *upgrade.today.lines]
    assert {line["seq"] for line in both if "seq" in line} == set(journal)


def goes_back(upgrade: Upgrade) -> None:
    """In the middle of one more release the store goes back, and the earlier version ends it."""
    earlier, today, course = upgrade.earlier, upgrade.today, upgrade.course
    course.register()
    with Users(course) as users:
        eventually(
            lambda: today.told("release.transition", version="3", to_state="Canary", step=1),
            f"version 3 has users: {today.lines[-1:]}",
        )
        assert today.end(signal.SIGTERM) == 0
        stopped = time.monotonic()
        downgraded(upgrade)
        earlier.start()
        earlier.until("release.confirmed", version="3")
        upgrade.took["confirmed after the way back"] = time.monotonic() - stopped
    assert course.alias == "3"
    assert course.split["3"] == 100
    assert course.updates == 2 * len(CLIMB), "nothing was sent twice"
    assert set(users.statuses) == {200}
    whole(upgrade)


def downgraded(upgrade: Upgrade) -> None:
    """The store has the earlier version's schema again."""
    schema = upgrade.earlier.revision.schema
    if schema == VERSION:
        return
    back = ("downgrade", "--to", schema, "--store", upgrade.today.daemon.url)
    said = headgate(*back)
    if said.code == HELD:
        sys.stdout.write(said.err)
        said = headgate(*back, "--discard")
    assert said.code == 0, said.err
    sys.stdout.write(said.out)
    assert upgrade.schema == schema
