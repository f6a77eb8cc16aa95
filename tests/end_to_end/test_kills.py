"""`kill -9` at random moments: a few of them in `make test`, a hundred in `make torture`.

The daemon is a fork of a warm parent, so that most of a life is work and not imports. Versions come
and go all the while, good ones and bad ones. HEADGATE_KILLS says how many kills, HEADGATE_SEED
which moments.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.stage import (
    CUT_OFF,
    PATIENCE_S,
    Course,
    Daemon,
    Line,
    Repeating,
    Users,
    eventually,
    headgate,
)

KILLS = int(os.environ.get("HEADGATE_KILLS", "5"))
SEED = int(os.environ.get("HEADGATE_SEED", str(random.SystemRandom().randrange(10**6))))
LONGEST_LIFE_S = 3.0
"""A release takes a few seconds: lives end anywhere in it."""
YOUNG, AIMED = 0.2, 0.5
"""Shares of kills: soon after the fork, and right after a decision was written down, when its call
is about to be sent, or under way. The others are at any moment."""
AIM_S = 0.05
ENDS = {"release.confirmed": "Production", "release.settled": "RolledBack"}

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120 + 8 * KILLS),
]


class Nursery:
    """The warm parent's process."""

    def __init__(self, folder: Path) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **order: object) -> dict[str, Any]:
        """One order, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()


@dataclass
class Lives:
    """One daemon after the other on one store, each with a log of its own."""

    nursery: Nursery
    daemon: Daemon
    folder: Path
    pid: int = 0
    logs: list[Path] = field(default_factory=list)

    def begin(self) -> None:
        """One more life."""
        self.logs.append(self.folder / f"life-{len(self.logs)}.log")
        order = {
            "arguments": ["run", "--config", str(self.daemon.config)],
            "environment": self.daemon.environment,
            "log": str(self.logs[-1]),
            "errors": str(self.daemon.errors),
        }
        self.pid = self.nursery.ask(**order)["pid"]

    def wait_for_a_moment(self, moments: random.Random, told: int) -> None:
        """Until this life shall end; `told` is the last row that earlier lives have printed."""
        kind, part = moments.random(), moments.random()
        if kind >= YOUNG:
            eventually(lambda: self.logs[-1].exists() and self.logs[-1].stat().st_size, "it speaks")
        if not YOUNG <= kind < YOUNG + AIMED:
            time.sleep(part * LONGEST_LIFE_S)
            return
        until = time.monotonic() + LONGEST_LIFE_S
        while time.monotonic() < until and not self._decided(told):
            time.sleep(0.005)
        time.sleep(part * AIM_S)

    def _decided(self, told: int) -> bool:
        last = self.logs[-1].read_bytes().splitlines(keepends=True)
        new = [json.loads(line) for line in last if line.endswith(b"\n")]
        return any(
            one["event"] == "release.transition" and one["seq"] > told
            for one in new
            if "seq" in one
        )

    def end(self, number: signal.Signals) -> int:
        """The life's end."""
        os.kill(self.pid, number)
        code: int = self.nursery.ask(wait=self.pid)["code"]
        return code

    @property
    def lines(self) -> list[Line]:
        """All that was printed whole; what a kill tore is printed again by the next life."""
        found: list[Line] = []
        for log in self.logs:
            if log.exists():
                text = log.read_bytes()
                whole = text[: text.rfind(b"\n") + 1].splitlines()
                found += [json.loads(line) for line in whole]
        return found

    def told(self, event: str, **fields: object) -> list[Line]:
        """Printed lines of an event with these fields."""
        return [
            one
            for one in self.lines
            if one["event"] == event and all(one.get(name) == it for name, it in fields.items())
        ]


class Team(Repeating):
    """Registers the next version when the last one has ended, every second a bad one."""

    def __init__(self, course: Course, lives: Lives, bad: Path) -> None:
        super().__init__(0.1)
        self._course, self._lives, self._bad = course, lives, bad
        self.versions: dict[str, bool] = {}
        """By version, whether it is a good one."""

    def once(self) -> None:
        """Register, if nothing is under way."""
        if self.ended:
            good = len(self.versions) % 2 == 0
            self.versions[self._course.register(None if good else self._bad)] = good

    @property
    def ended(self) -> bool:
        """All that were registered have come to an end."""
        told = {
            str(line["version"])
            for event, state in ENDS.items()
            for line in self._lives.told(event, state=state)
        }
        return set(self.versions) <= told


class Ledger(Repeating):
    """Every mutation that reached the workspace for one application, as verb and kind."""

    def __init__(self, course: Course) -> None:
        super().__init__(0.5)
        self._course = course
        self._last = int(self._ask(sys.maxsize)["last"])
        self.asked: Counter[str] = Counter()

    def _ask(self, since: int) -> dict[str, Any]:
        answer: dict[str, Any] = self._course.workspace.call(
            "GET", "/_sandbox/requests", params={"since": since}
        )
        return answer

    def once(self) -> None:
        """Read on."""
        told = self._ask(self._last)
        self._last = told["last"]
        for one in told["requests"]:
            path, mine = one["path"], one["status"] != CUT_OFF
            if (
                mine
                and one["method"] == "PUT"
                and path.endswith(f"/{self._course.endpoint}/config")
            ):
                self.asked["endpoint"] += 1
            elif mine and one["method"] == "PUT" and f"{self._course.model}/aliases/" in path:
                self.asked["alias"] += 1

    def leave(self) -> None:
        """The rest."""
        self.once()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """One warm parent for all."""
    one = Nursery(tmp_path_factory.mktemp("nursery"))
    yield one
    one.end()


@pytest.fixture
def bad(workspace: Any, tmp_path: Path) -> Path:  # noqa: ANN401 - the conftest's
    """A model whose answers fail the golden query."""
    files = tmp_path / "bad"
    shutil.copytree(workspace.files, files)
    code = files / "terse.py"
    code.write_text(code.read_text().replace("ACID transactions", "nothing of the kind"))
    return files


def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(
    course: Callable[..., Course],
    daemon: Callable[..., Daemon],
    nursery: Nursery,
    bad: Path,
    tmp_path: Path,
) -> None:
    sys.stdout.write(f"HEADGATE_SEED={SEED}\n")
    moments = random.Random(SEED)  # noqa: S311 - moments
    guards = {name: {"observe": True} for name in ("latency", "answers")}
    guards["errors"] = {"margin": "16pp"}  # type: ignore[dict-item]
    one = course(rollout={"retain": "1h"}, guards=guards).open().ready()
    lives = Lives(nursery, daemon(one), tmp_path)
    team = Team(one, lives, bad)
    lives.begin()
    eventually(lambda: lives.told("release.registered", version="1"), "the endpoint is adopted")
    with Users(one), Ledger(one) as ledger:
        with team:
            acknowledged: dict[int, Line] = {}
            for _ in range(KILLS):
                lives.wait_for_a_moment(moments, max(acknowledged, default=0))
                lives.end(signal.SIGKILL)
                acknowledged |= {line["seq"]: line for line in lives.lines if "seq" in line}
                lives.begin()
        eventually(lambda: team.ended, "all releases have come to an end")
        # A last look at what was tagged, and at what the end left to do.
        time.sleep(0.5)
        assert lives.end(signal.SIGTERM) == 0
    journal = _journal(lives.daemon)
    _no_gap(journal, lives)
    assert {seq: journal[seq] for seq in acknowledged} == acknowledged, "what was told, stands"
    _states_are_entered_once(journal.values())
    good = [version for version, well in team.versions.items() if well]
    bad_ones = len(team.versions) - len(good)
    # To provision, and for each of three steps; a bad one is provisioned, and has no users.
    assert ledger.asked == {"endpoint": 4 * len(good) + bad_ones, "alias": len(good)}
    sys.stdout.write(f"{KILLS} kills, {len(good)} good and {bad_ones} bad versions\n")
    assert bad_ones or KILLS < 50, "bad versions came too"
    assert one.alias == max(["1", *good], key=int)
    assert one.split[one.alias] == 100
    _log_and_store_agree(lives)


def _journal(daemon: Daemon) -> dict[int, Line]:
    return {line["seq"]: line for line in daemon.journal()}


def _no_gap(journal: dict[int, Line], lives: Lives) -> None:
    assert sorted(journal) == list(range(1, len(journal) + 1))
    printed = {line["seq"] for line in lives.lines if "seq" in line}
    assert printed == set(journal), "every row was printed, and nothing that is no row"


def _states_are_entered_once(journal: Iterable[Line]) -> None:
    moves = [line for line in journal if line["event"] == "release.transition"]
    entered = Counter(
        (line["release"], line["attempt"], line["to_state"], line.get("step"))
        for line in moves
        if line["to_state"] != "Retired"
    )
    twice = {move: count for move, count in entered.items() if count > 1}
    assert not twice, twice


def _log_and_store_agree(lives: Lives) -> None:
    whole = lives.folder / "whole.log"
    text = [log.read_bytes() for log in lives.logs if log.exists()]
    whole.write_bytes(b"".join(one[: one.rfind(b"\n") + 1] for one in text))
    store = headgate("status", "--all", "--json", "--store", lives.daemon.url)
    log = headgate("status", "--all", "--json", "--logs", whole)
    assert store.out, store.err
    assert json.loads(log.out) == json.loads(store.out)
