"""How long a rollback waits among many releases: `python -m tests.benchmarks.urgency`.

The daemon looks after 10,000 applications with a release waiting in each, and 30 % of all calls to
the workspace fail. A hundred other releases are in Canary; one after the other an operator aborts
them. Told is the time from the decision's journal row, and from the order, to the first PUT that
reaches the workspace. The writes are spread so that the workspace's budget is no bottleneck.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from controller import settings
from controller.record.store import Store
from states.machine import State
from states.plan import Plan
from states.release import Application, Order, Release
from states.spec import Spec
from states.world import Serving, Share
from tests.benchmarks.daemon import BUILD, environment
from tests.benchmarks.scale import configuration, daemon, full_pass, stub
from tests.states.story import Story

FAILING = 0.3
BETWEEN_S = 7.5
"""Between two aborts: 40 in the five minutes in which Databricks takes 50 writes to endpoints."""


def in_canary(name: str, spec: Spec) -> Application:
    """An application whose version 2 has its first users, told anew of another one's record."""
    story = Story(now=datetime.now(UTC) - timedelta(minutes=5))
    story.look()
    story.versions[2] = replace(story.versions[1], version="2")
    while story.application.live is None or story.application.live.state is not State.CANARY:
        story.look()
    now = datetime.now(UTC)
    known = story.application
    releases = tuple(
        replace(one, application=name, since=now, in_state=one.in_state) for one in known.releases
    )
    stem = spec.model.rsplit(".", 1)[-1]
    served = {
        f"{stem}-v{version}": Share(model=spec.model, version=version, weight=weight)
        for version, weight in (("1", 95), ("2", 5))
    }
    return replace(
        known,
        name=name,
        spec=spec,
        of_model=spec.model,
        of_endpoint=spec.endpoint,
        endpoint_id="",
        created_ms=0,
        releases=releases,
        names={},
        seen=Serving(served),
        asked=str(Serving(served)),
        config_version=1,
        looked_at=now,
        attempts=(),
        minutes=(),
    )


def waiting(name: str, spec: Spec) -> Application:
    """An application whose version 2 is not ready yet."""
    now = datetime.now(UTC)
    stable = Release(
        application=name,
        version="1",
        state=State.PRODUCTION,
        confirmed=True,
        since=now,
        because="adopted",
    )
    later = Release(application=name, version="2", since=now, because="it is not READY")
    stem = spec.model.rsplit(".", 1)[-1]
    served = Serving({f"{stem}-v1": Share(model=spec.model, version="1", weight=100)})
    return Application(
        name=name,
        spec=spec,
        adopted=True,
        stable="1",
        watermark=1,
        releases=(stable, later),
        seen=served,
        seen_alias="1",
        config_version=1,
    )


def populate(path: Path, config: Path, canaries: int) -> None:
    """Write the record of all applications."""
    loaded = settings.load(config)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        quick = Path(memory) / "headgate.db"
        store = Store(f"sqlite:///{quick}")
        for number, (name, one) in enumerate(loaded.applications.items()):
            make = in_canary if number < canaries else waiting
            empty = store.load(name, one.spec())
            store.commit(empty, Plan(application=make(name, one.spec())))
        store.close()
        path.write_bytes(quick.read_bytes())


def measure(applications: int, canaries: int, folder: Path, poll: str) -> dict[str, Any]:
    """Abort the canaries one by one, and see when each is heard at the workspace."""
    config, path = configuration(applications, folder), folder / "headgate.db"
    populate(path, config, canaries)
    with stub(applications, canaries=canaries) as workspace:
        with daemon(environment(), config, workspace.host, folder, poll) as one:
            full_pass(workspace, one, applications)
            workspace.control(failing=FAILING, reset=True)
            store = Store(f"sqlite:///{path}", create=False)
            ordered = {}
            for number in range(canaries):
                name = f"app-{number:05}"
                ordered[number] = time.time()
                store.give_order(name, None, Order.ABORT, "benchmark", "measured")
                time.sleep(BETWEEN_S)
                one.check()
            time.sleep(60)
            written = workspace.control()["written"]
        decided = {
            line["application"]: datetime.fromisoformat(line["timestamp"]).timestamp()
            for line in store.journal()
            if line["event"] == "release.transition" and line["to_state"] == "RolledBack"
        }
        store.close()
    reached = {number: written.get(f"endpoint-{number:05}") for number in range(canaries)}
    missing = [number for number, at in reached.items() if at is None]
    by_decision = sorted(
        at - decided[f"app-{number:05}"] for number, at in reached.items() if at is not None
    )
    by_order = sorted(at - ordered[number] for number, at in reached.items() if at is not None)
    return {
        "applications": applications,
        "rollbacks": canaries,
        "failing": FAILING,
        "poll": poll,
        "never_sent": len(missing),
        "decided_to_put_s": _spread(by_decision),
        "ordered_to_put_s": _spread(by_order),
    }


def _spread(found: list[float]) -> dict[str, float]:
    """Median, 99th percentile (nearest rank) and the worst."""
    rank = min(len(found) - 1, round(0.99 * len(found)))
    return {
        "median": round(statistics.median(found), 3),
        "p99": round(found[rank], 3),
        "max": round(found[-1], 3),
    }


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.urgency", description=__doc__)
    parser.add_argument("--applications", type=int, default=10_000)
    parser.add_argument("--rollbacks", type=int, default=100)
    parser.add_argument("--poll", default="30s")
    told = parser.parse_args()
    folder = BUILD / "bench/urgency"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    found = measure(told.applications, told.rollbacks, folder, told.poll)
    (BUILD / "bench/urgency.json").write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
