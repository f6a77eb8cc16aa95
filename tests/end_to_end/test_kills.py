"""`kill -9` at random moments: a few of them in `make test`, a hundred in `make torture`.

The daemon is a fork of a warm parent, so that most of a life is work and not imports. Versions come
and go all the while, good ones and bad ones. HEADGATE_KILLS says how many kills, HEADGATE_SEED
which moments.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from states.room import MOST_ENTITIES
from tests.end_to_end.lives import Ledger, Lives, Team
from tests.end_to_end.stage import (
    Course,
    Daemon,
    Line,
    Users,
    eventually,
    headgate,
)

KILLS = int(os.environ.get("HEADGATE_KILLS", "5"))
SEED = int(os.environ.get("HEADGATE_SEED", str(random.SystemRandom().randrange(10**6))))
CALM_S = 240.0
"""Longest until all have ended once nobody kills any more: a call that was written down three
times, and never sent because of a kill, waits for a minute or two."""

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120 + 12 * KILLS),
]


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest) -> dict[str, str]:
    """The store's settings: of a file none, as the daemon's own folder has one."""
    if request.param == "sqlite":
        return {}
    server = request.getfixturevalue("postgres")
    return {"HEADGATE_STORE": server.url(server.empty()), "HEADGATE_LEASE": "3s"}


@pytest.fixture
def one(course: Callable[..., Course]) -> Course:
    """An application whose releases take seconds."""
    guards = {name: {"observe": True} for name in ("latency", "answers")}
    guards["errors"] = {"margin": "16pp"}  # type: ignore[dict-item]
    return course(rollout={"retain": "1h"}, guards=guards).open().ready()


@pytest.fixture
def lives(
    stored: dict[str, str],
    one: Course,
    daemon: Callable[..., Daemon],
    tmp_path: Path,
) -> Lives:
    """The daemon's lives, none of which has begun."""
    return Lives(daemon(one, **stored), tmp_path)


def test_kills_lose_nothing_and_repeat_nothing(lives: Lives, one: Course, bad: Path) -> None:
    sys.stdout.write(f"HEADGATE_SEED={SEED}\n")
    moments = random.Random(SEED)  # noqa: S311 - moments
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
        eventually(lambda: team.ended, "all releases have come to an end", CALM_S)
        # A last look at what was tagged, and at what the end left to do.
        time.sleep(0.5)
        # Where replicas share a store, the last life prints once the one before it has lapsed.
        told = set(_journal(lives.daemon))
        eventually(lambda: told <= _printed(lives), "the last life has the log", CALM_S)
        assert lives.end(signal.SIGTERM) == 0
    assert "Traceback" not in lives.daemon.errors.read_text()
    journal = _journal(lives.daemon)
    _no_gap(journal, lives)
    assert {seq: journal[seq] for seq in acknowledged} == acknowledged, "what was told, stands"
    _states_are_entered_once(journal.values())
    good = [version for version, well in team.versions.items() if well]
    bad_ones = len(team.versions) - len(good)
    # To provision, and for each of three steps; a bad one is provisioned, and has no users. Where
    # there are more than fit, with the version found at first, room is made for each, one by one.
    room = max(0, 1 + len(team.versions) - MOST_ENTITIES)
    assert ledger.asked == {"endpoint": 4 * len(good) + bad_ones + room, "alias": len(good)}
    sys.stdout.write(f"{KILLS} kills, {len(good)} good and {bad_ones} bad versions\n")
    assert bad_ones or KILLS < 50, "bad versions came too"
    assert one.alias == max(["1", *good], key=int)
    assert one.split[one.alias] == 100
    _log_and_store_agree(lives)


def _journal(daemon: Daemon) -> dict[int, Line]:
    return {line["seq"]: line for line in daemon.journal()}


def _printed(lives: Lives) -> set[int]:
    return {line["seq"] for line in lives.lines if "seq" in line}


def _no_gap(journal: dict[int, Line], lives: Lives) -> None:
    assert sorted(journal) == list(range(1, len(journal) + 1))
    assert _printed(lives) == set(journal), "every row was printed, and nothing that is no row"


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
