"""Many seeds on all cores: what broke, what was seen to happen, and how fast it went.

Whatever must be able to happen, and did not, makes a campaign fail like a broken promise does: a
fault that nobody meets any more proves nothing.
"""

import gc
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from tests.simulation.record import ram_disk, template
from tests.simulation.run import Options, Result, run

Item = TypeVar("Item")
Done = TypeVar("Done")
HOUSE = Path(__file__).parents[2]
OUT = HOUSE / "build/bench/simulation.json"
STATES = ("Provisioning", "Testing", "Canary", "Production", "RolledBack")
LIVE = (*STATES, "none")
CALLS = ("serve", "alias", "tag")
STAGED = ("create_staging", "remove_staging")
MUST = (
    *(f"weights edited in {state}" for state in LIVE),
    *(f"alias edited in {state}" for state in LIVE),
    *(f"endpoint deleted in {state}" for state in LIVE),
    *(f"version deleted in {state}" for state in LIVE if state != "Production"),
    "staging endpoint deleted in Provisioning",
    "staging endpoint of a stranger in Provisioning",
    "adopt",
    "revert",
    *(f"order abort in {state}" for state in ("Provisioning", "Canary", "Production")),
    *(f"order pause in {state}" for state in ("Provisioning", "Canary", "Production")),
    *(f"store clock jumped in {state}" for state in ("Canary", "Production")),
    *(f"rebuild in {state}" for state in ("Canary", "Production", "none")),
    *(f"roll_back from {state}" for state in ("Provisioning", "Testing", "Canary", "Production")),
    *(
        f"{fault} call.{kind}"
        for fault in ("lost", "late", "unanswered")
        for kind in (*CALLS, *STAGED)
    ),
    *(f"late arrival {kind}" for kind in (*CALLS, *STAGED)),
    *(f"crash call.{kind}/{when}" for kind in CALLS for when in ("before", "after")),
    *(f"crash store.{what}/{when}" for what in ("read", "write") for when in ("before", "after")),
    "crash between commit and act",
    "crash log/before",
    "line printed twice",
    "takeover",
    "lease lost",
    "commit after the lease was lost",
    "line printed after its lease was lost meanwhile",
    "foreign change of the endpoint: edit",
    "foreign change of the endpoint: deletion",
    "foreign change of the alias: edit",
    "foreign change of the registry: deletion",
    "write kept back",
    "way home kept back",
    "conflict of replicas",
    "order mid-pass",
    "commit while another's call is under way",
    "409 during a rollback",
    "refused call.serve",
    "stale answer rejected",
    "stale answer of a deleted endpoint rejected",
    "stall of minutes",
    "disk full",
    "applied-unknown commit",
    "deadline Provisioning",
    "deadline Testing",
    "deadline Canary",
    "deadline RolledBack",
    "fuse.blown in Canary",
    "evidence.blind in Canary",
    "evidence.seen in Canary",
    "retire from Production",
    "put right by a person",
)
"""Situations that a campaign must have seen. Rare ones come in a few thousand seeds."""


FALSELY = 0.005
"""Share of the good releases that may be rolled back, at most: by verdicts on counts, by chance."""
WRONGLY = 0.05
"""Share of the versions worse than a step's margin that a proof may be wrong about: what guards
promise, and not what they were seen to do."""
UNLUCKY = 0.001
"""Of campaigns whose guards keep just that promise, so many have more wrong proofs than pass."""


@dataclass
class Found:
    """What a campaign has found so far."""

    runs: int = 0
    releases: int = 0
    good: int = 0
    boundaries: int = 0
    passes: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    situations: Counter[str] = field(default_factory=Counter)
    false_rollbacks: list[dict[str, Any]] = field(default_factory=list)
    worse: int = 0
    """Releases of versions a little worse than some step's margin, that came to be compared."""
    wrong_proofs: list[dict[str, Any]] = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Take in what became of one run."""
        self.runs += 1
        self.releases += result.releases
        self.good += result.good
        self.boundaries += result.boundaries
        self.passes += result.passes
        self.virtual_s += result.virtual_s
        self.cpu_s += result.seconds
        self.faults.update(key.rsplit(":", 1)[-1] for key in result.struck)
        self.situations.update(result.situations)
        self.false_rollbacks += [
            {"seed": result.seed, "because": because} for because in result.false_rollbacks
        ]
        self.worse += result.worse
        self.wrong_proofs += [
            {"seed": result.seed, "because": because} for because in result.wrong_proofs
        ]
        if result.violation is not None:
            self.violations.append({"seed": result.seed, "violation": result.violation})

    @property
    def falsely(self) -> float:
        """The share of the good releases that were rolled back."""
        return len(self.false_rollbacks) / max(1, self.good)

    @property
    def wrongly(self) -> float:
        """How likely so many wrong proofs are, if each has the chance that is promised."""
        return _tail(self.worse, len(self.wrong_proofs), WRONGLY)

    @property
    def missing(self) -> list[str]:
        """What must have happened, and did not."""
        return [name for name in MUST if not self.situations[name]]


def _tail(trials: int, hits: int, rate: float) -> float:
    """The chance of so many hits or more."""
    fewer = range(min(hits, trials + 1))
    return 1 - sum(comb(trials, n) * rate**n * (1 - rate) ** (trials - n) for n in fewer)


def results(seeds: range, workers: int) -> Iterator[Result]:
    """What became of each seed, in no order."""
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder:
        made = template(Path(folder))
        yield from pooled(partial(_told_shortly, made), seeds, workers)


def _told_shortly(made: Path, seed: int) -> Result:
    result = run(seed, made)
    if result.violation is None:
        result.changes = ()
    return result


def pooled(work: Callable[[Item], Done], items: Sequence[Item], workers: int) -> Iterator[Done]:
    """What becomes of each item, in no order, on so many processes; one: on this."""
    gc.collect()
    gc.freeze()
    if workers == 1:
        yield from map(work, items)
        return
    with get_context("fork").Pool(workers) as pool:
        yield from pool.imap_unordered(work, items, chunksize=4)


def told(found: Found, seconds: float, seeds: range) -> dict[str, Any]:
    """A campaign's figures, as they are written down."""
    return {
        "commit": commit(),
        "seeds": [seeds.start, seeds.stop],
        "runs": found.runs,
        "releases": found.releases,
        "boundaries": found.boundaries,
        "passes": found.passes,
        "virtual_hours": round(found.virtual_s / 3600, 1),
        "wall_s": round(seconds, 1),
        "runs_per_s": round(found.runs / seconds, 2),
        "cpu_s_per_run": round(found.cpu_s / max(1, found.runs), 3),
        "faults": dict(sorted(found.faults.items())),
        "good_releases": found.good,
        "false_rollbacks": found.false_rollbacks,
        "false_rollback_share": round(found.falsely, 5),
        "worse_releases": found.worse,
        "wrong_proofs": found.wrong_proofs,
        "situations": dict(sorted((+found.situations).items())),
        "missing": found.missing,
        "violations": found.violations,
    }


def commit() -> str:
    """The commit of this checkout, with a mark if it was changed since."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git there is
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def how_to_repeat(result: Result) -> str:
    """A failure, and the command that repeats it."""
    trace = "\n".join(result.changes[-40:])
    return (
        f"seed {result.seed} at {commit()}: {result.violation}\n{trace}\n{result.trace}\n"
        f"repeat it: .venv/bin/python -m tests.simulation replay --seed {result.seed}\n"
        f"shrink it: .venv/bin/python -m tests.simulation shrink --seed {result.seed}"
    )


def write(figures: dict[str, Any]) -> None:
    """Write figures down where `make` finds them."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2) + "\n")


def repeat(seed: int, options: Options) -> Result:
    """One run, by itself."""
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder:
        return run(seed, template(Path(folder)), options)
