"""Daemons that live and die often: forks of a warm parent, and what goes on around them."""

import json
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.forks import Fork
from tests.end_to_end.stage import (
    CUT_OFF,
    PATIENCE_S,
    Course,
    Daemon,
    Line,
    Repeating,
    eventually,
)
from tests.published import assert_as_published

LONGEST_LIFE_S = 3.0
"""A release takes a few seconds: lives end anywhere in it."""
YOUNG, AIMED = 0.2, 0.5
"""Shares of kills: soon after the fork, and right after a decision was written down, when its call
is about to be sent, or under way. The others are at any moment."""
AIM_S = 0.05
ENDS = {"release.confirmed": "Production", "release.settled": "RolledBack"}


@dataclass
class Lives:
    """One daemon after the other on one store, each with a log of its own."""

    daemon: Daemon
    folder: Path
    forks: list[Fork] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def begin(self) -> None:
        """One more life."""
        path = self.folder / f"life-{len(self.logs)}.log"
        with path.open("ab") as log, self.daemon.errors.open("ab") as errors:
            self.logs.append(path)  # others read all that are named here, at any moment
            command = ["run", "--config", str(self.daemon.config)]
            environment = self.daemon.environment
            self.forks.append(Fork(command, environment, log.fileno(), errors.fileno()))

    @property
    def pid(self) -> int:
        """The process of this life."""
        return self.forks[-1].pid

    def wait_for_a_moment(self, moments: random.Random, told: int) -> None:
        """Until this life shall end; `told` is the last row that earlier lives have printed."""
        kind, part = moments.random(), moments.random()
        if kind >= YOUNG:
            eventually(self._works, "it works")
        if not YOUNG <= kind < YOUNG + AIMED:
            time.sleep(part * LONGEST_LIFE_S)
            return
        until = time.monotonic() + LONGEST_LIFE_S
        while time.monotonic() < until and not self._decided(told):
            time.sleep(0.005)
        time.sleep(part * AIM_S)

    def _works(self) -> bool:
        """It speaks; where replicas share, once the lease of the life before has run out."""
        said = self.logs[-1].read_text()
        shared = "HEADGATE_LEASE" in self.daemon.environment
        return '"applications": 1' in said if shared else bool(said)

    def _decided(self, told: int) -> bool:
        last = self.logs[-1].read_bytes().splitlines(keepends=True)
        new = [json.loads(line) for line in last if line.endswith(b"\n")]
        return any(
            one["event"] == "release.transition" and one["seq"] > told
            for one in new
            if "seq" in one
        )

    def end(self, number: signal.Signals) -> int:
        """The life's end, and its exit code; one that is killed has not ended by itself before."""
        self.forks[-1].send_signal(number)
        code = self.forks[-1].wait(PATIENCE_S)
        killed = number != signal.SIGKILL or code == -signal.SIGKILL
        assert killed, f"it had ended with {code}: {self.daemon.errors.read_text()[-2000:]}"
        return code

    @property
    def lines(self) -> list[Line]:
        """All that was printed whole; what a kill tore is printed again by the next life."""
        found: list[Line] = []
        for log in self.logs:
            text = log.read_bytes()
            whole = text[: text.rfind(b"\n") + 1].splitlines()
            found += [json.loads(line) for line in whole]
        assert_as_published(found)
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
