"""Each layer of safety by itself: with the others off it keeps its promise, without it none does.

Layers that stand behind one another hide each other's bugs: a fence that never worked is not missed
while another one holds. So each is put where nothing but itself can help, against the faults that
it is there for.
"""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.bugs import BUGS
from tests.simulation.fate import Begin
from tests.simulation.record import ram_disk, template
from tests.simulation.run import Options, run

STALLS = {"stall": 0.03, "unreachable": 0.05}
LONG_STALLS = {"stall": 0.025}


@dataclass(frozen=True)
class Layer:
    """A layer, the bug that takes it away, and where it alone can help."""

    bug: str
    others: tuple[str, ...]
    """The bugs that take the others away."""
    options: Options


LAYERS = {
    "row version": Layer(
        "no row version",
        ("no order fence", "no config version check"),
        Options(rates={**STALLS, "lost": 0.1}, begin=Begin(replicas=3)),
    ),
    "order fence": Layer(
        "no order fence",
        ("no row version", "no config version check"),
        Options(rates={"stall": 0.01, "order_meanwhile": 0.1}, begin=Begin(replicas=1)),
    ),
    "lease epoch": Layer(
        "no lease epoch",
        ("no row version", "no order fence", "no config version check"),
        Options(rates=LONG_STALLS, begin=Begin(replicas=3, by_lease=True)),
    ),
    "send guard": Layer(
        "no send guard",
        ("no row version", "no order fence", "no config version check"),
        Options(rates=LONG_STALLS, begin=Begin(replicas=3, by_lease=True)),
    ),
    "config_version": Layer(
        "no config version check",
        ("no row version", "no order fence"),
        Options(rates={"stale": 0.3}, begin=Begin(replicas=1, kinds=("errs",))),
    ),
}


@dataclass(frozen=True)
class Shown:
    """What a layer did alone, and what happened without it."""

    alone: int
    """Seeds that it kept its promise in, with the others off."""
    broken: str
    """What broke all the same; nothing, as it should be."""
    seed: int | None
    """The first seed that broke something without it."""
    seconds: float
    noticed: str


def show(name: str, *, seeds: int = 40, limit_s: float = 60.0) -> Shown:
    """Run a layer alone, and then take it away as well."""
    layer = LAYERS[name]
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder, ExitStack() as off:
        made = template(Path(folder))
        for other in layer.others:
            off.enter_context(BUGS[other]())
        broken = ""
        for seed in range(1, seeds + 1):
            result = run(seed, made, layer.options)
            if result.violation is not None:
                broken = f"seed {seed}: {result.violation}"
                break
        off.enter_context(BUGS[layer.bug]())
        started, seed = time.perf_counter(), 1
        while time.perf_counter() - started < limit_s:
            result = run(seed, made, layer.options)
            if result.violation is not None:
                took = time.perf_counter() - started
                return Shown(seeds, broken, seed, took, result.violation)
            seed += 1
        took = time.perf_counter() - started
        return Shown(seeds, broken, None, took, f"nothing, in {seed - 1} seeds")
