"""Durable transitions per second: `python -m tests.benchmarks.durable`.

Three do the same work in turns on the same disk: the store writes the six transitions of a release
(each with its journal row and, where it has one, its call, in a transaction of its own); SQLite
alone commits one row of the same size, with the same settings; DBOS runs six durable steps. What is
told are ratios within one run. DBOS is installed to build/dbos-venv, from a package registry.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.daemon.lanes import WORKERS
from controller.record.store import Store
from states.machine import Trigger
from states.pinned import Pinned
from states.plan import Plan, Serve
from states.release import Application, Release
from states.turn import Turn
from states.world import World
from tests.benchmarks.daemon import BUILD, ROOT
from tests.states.story import SPEC, START, serving

ROUNDS, RELEASES = 7, 16
DBOS_VERSION = "dbos==3.4.0"
STEPS = 6
PINNED = Pinned(
    baseline="1",
    incumbent="1",
    rollout=SPEC.rollout,
    guards=SPEC.guards,
    tests=SPEC.tests,
    max_lag=SPEC.max_lag,
    provisioning_deadline=SPEC.provisioning_deadline,
    testing_deadline=SPEC.testing_deadline,
)


def ours(folder: Path, releases: int) -> float:
    """Transitions per second of the store, from as many threads as the daemon has: load, commit."""
    store = Store(f"sqlite:///{folder / 'headgate.db'}")
    names = [f"bench-{number}" for number in range(WORKERS)]
    for name in names:
        spec = replace(SPEC, endpoint=name, model=f"main.bench.{name}")
        application = Application(name=name, spec=spec, adopted=True)
        store.commit(store.load(name, spec), Plan(application=application))
    begun = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(_releases, store, one, releases // WORKERS) for one in names]:
            done.result()
    took = time.monotonic() - begun
    store.close()
    return STEPS * releases / took


def _releases(store: Store, name: str, releases: int) -> None:
    """One application's, one after the other."""
    for number in range(2, 2 + releases):
        _release(store, name, str(number))


def _release(store: Store, name: str, version: str) -> None:
    """One release through six transitions, each committed by itself."""
    moves: tuple[tuple[Trigger, dict[str, Any]], ...] = (
        (Trigger.ADMIT, {"pinned": PINNED}),
        (Trigger.PROVISIONED, {}),
        (Trigger.OPEN, {"step": 1}),
        (Trigger.PROMOTE, {}),
        (Trigger.RETIRE, {"confirmed": True}),
    )
    loaded = store.load(name)
    turn = Turn(loaded.application, World(now=START))
    turn.put(Release(application=name, version=version, since=START, because="it is READY"))
    turn.tell("release.registered", turn.application.newest(version), "it is READY")
    store.commit(loaded, Plan(application=turn.application, events=tuple(turn.events)))
    for trigger, changes in moves:
        loaded = store.load(name)
        turn = Turn(loaded.application, World(now=START))
        release = turn.application.newest(version)
        assert release is not None, "just written"
        turn.move(release, trigger, "as it would be said in a sentence", **changes)
        calls = (Serve(serving(v1=100)),) if trigger in (Trigger.ADMIT, Trigger.OPEN) else ()
        plan = Plan(application=turn.application, events=tuple(turn.events), calls=calls)
        store.commit(loaded, plan, calls)


def raw(folder: Path, releases: int) -> float:
    """Commits per second of one row, by SQLite with the store's settings and nothing else."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    for pragma in ("journal_mode = DELETE", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT)")
    body = "x" * 1_500
    begun = time.monotonic()
    for _ in range(STEPS * releases):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (body) VALUES (?)", (body,))
        connection.execute("COMMIT")
    took = time.monotonic() - begun
    connection.close()
    return STEPS * releases / took


def dbos_python() -> Path:
    """The Python of an environment with DBOS."""
    folder, uv = BUILD / "dbos-venv", ROOT / ".venv/bin/uv"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", folder], check=True)
        install = [str(uv), "pip", "install", "--quiet", "--python", str(python), DBOS_VERSION]
        subprocess.run(install, check=True)
    return python


def dbos(python: Path) -> Callable[[Path, int], float]:
    """Steps per second of DBOS."""

    def run(folder: Path, releases: int) -> float:
        script = Path(__file__).with_name("dbos_steps.py")
        command = [str(python), str(script), str(folder / "dbos.db"), str(releases)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        told = json.loads(found.stdout.splitlines()[-1])
        return float(told["steps"] / told["seconds"])

    return run


def measure() -> dict[str, Any]:
    """All three in turns, and the ratios of each turn."""
    kinds: dict[str, Callable[[Path, int], float]] = {"headgate": ours, "sqlite": raw}
    kinds["dbos"] = dbos(dbos_python())
    found: dict[str, list[float]] = {name: [] for name in kinds}
    BUILD.mkdir(exist_ok=True)
    for _ in range(ROUNDS):
        for name, run in kinds.items():
            with tempfile.TemporaryDirectory(dir=BUILD) as folder:
                found[name].append(run(Path(folder), RELEASES))
    ratios = {
        f"headgate / {other}": [
            mine / theirs for mine, theirs in zip(found["headgate"], found[other], strict=True)
        ]
        for other in ("sqlite", "dbos")
    }
    return {
        "per_second": {name: round(statistics.median(all_), 1) for name, all_ in found.items()},
        "ratio": {name: round(statistics.median(all_), 2) for name, all_ in ratios.items()},
        "ratio_range": {
            name: [round(min(all_), 2), round(max(all_), 2)] for name, all_ in ratios.items()
        },
        "rounds": ROUNDS,
        "transitions_each": STEPS * RELEASES,
    }


if __name__ == "__main__":
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    figures = measure()
    (BUILD / "bench/durable.json").write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
