"""Each layer of safety by itself: with the others off it keeps its promise, without it none does.

Layers that stand behind one another hide each other's bugs: a fence that never worked is not missed
while another one holds. So each is put where nothing but itself can help, against the faults that
it is there for; and the same seeds that it survives alone break once it is gone as well.

The lease's epoch and the send guard stand one behind the other: the first keeps a replica that
slept from writing, the second from sending what it wrote before. They are told apart by where a
replica falls asleep. Asleep over its looks for longer than a lease, only the epoch stops what it
would write; a shorter sleep leaves it the lease, and maybe too little of it to send: that is not
what epochs are for. Asleep between commit and send, all is written, and only the guard is left.

Where there is one replica, or none takes leases, those two are not there at all, off or on.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.bugs import BUGS, broken
from tests.simulation.fate import Begin
from tests.simulation.record import ram_disk, template
from tests.simulation.run import Options

SHARED = Begin(replicas=3, by_lease=True)


@dataclass(frozen=True)
class Layer:
    """A layer, the bug that takes it away, and where it alone can help."""

    bug: str
    options: Options


LAYERS = {
    "row version": Layer(
        "no row version",
        # Replicas without leases: these would keep them from meeting at all.
        Options(rates={"stall": 0.03, "unreachable": 0.05, "lost": 0.1}, begin=Begin(replicas=3)),
    ),
    "order fence": Layer(
        "no order fence",
        Options(rates={"stall": 0.01, "order_meanwhile": 0.1}, begin=Begin(replicas=1)),
    ),
    "lease epoch": Layer("no lease epoch", Options(rates={"stall_looking": 0.02}, begin=SHARED)),
    "send guard": Layer("no send guard", Options(rates={"stall_unsent": 0.3}, begin=SHARED)),
    "config_version": Layer(
        "no config version check", Options(rates={"stale": 0.5}, begin=Begin(replicas=1))
    ),
}


@dataclass(frozen=True)
class Shown:
    """What a layer did alone, and what happened without it."""

    alone: int
    """Seeds that it was run in, with the others off."""
    broken: str
    """What broke all the same; nothing, as it should be."""
    seed: int | None
    """The first of the same seeds that broke something without it."""
    seconds: float
    noticed: str


def show(name: str, seeds: Sequence[int] = range(1, 41)) -> Shown:
    """Run a layer alone, and then take it away as well."""
    layer = LAYERS[name]
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder, ExitStack() as off:
        made = template(Path(folder))

        def first() -> tuple[int | None, str]:
            tried = ((seed, broken(seed, made, layer.options)) for seed in seeds)
            return next((one for one in tried if one[1]), (None, ""))

        for other in LAYERS.values():
            if other is not layer:
                off.enter_context(BUGS[other.bug]())
        seed, promise = first()
        alone = "" if seed is None else f"seed {seed}: {promise}"
        off.enter_context(BUGS[layer.bug]())
        started = time.perf_counter()
        seed, promise = first()
        took = time.perf_counter() - started
    return Shown(len(seeds), alone, seed, took, promise or f"nothing, in {len(seeds)} seeds")
