"""How a question is put to many releases, and what an answer consists of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import headgate
from tests.benchmarks.arena import Arena, Case
from tests.benchmarks.measures import summary
from tests.benchmarks.peers.argo import Argo, documented
from tests.benchmarks.peers.flagger import Flagger
from tests.benchmarks.peers.kayenta import Kayenta
from tests.benchmarks.peers.sagemaker import SageMaker, guide
from tests.benchmarks.peers.ztest import RepeatedZ
from tests.benchmarks.protocol import Make

ARGO, ARGO_DOCS, FLAGGER, KAYENTA, SAGEMAKER, SAGEMAKER_GUIDE, Z = (
    "Argo, 1 min",
    "Argo, documented",
    "Flagger",
    "Kayenta",
    "SageMaker, 1 min",
    "SageMaker, guide",
    "z-test",
)
PEERS: dict[str, Make] = {
    ARGO: Argo,
    ARGO_DOCS: documented,
    FLAGGER: Flagger,
    KAYENTA: Kayenta,
    SAGEMAKER: SageMaker,
    SAGEMAKER_GUIDE: guide,
    Z: RepeatedZ,
}


@dataclass(frozen=True)
class Goal:
    """One promised figure beside the measured one; `met` is None where nothing was measured."""

    sentence: str
    measured: str
    met: bool | None


@dataclass
class Study:
    """A question's answer: rows, the figures of them that the printed table has, and goals."""

    title: str
    shown: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def of(self, **what: object) -> list[dict[str, Any]]:
        """The rows that have these values."""
        return [row for row in self.rows if all(row[key] == it for key, it in what.items())]

    def expect(self, sentence: str, values: Sequence[float], met: Callable[[float], bool]) -> None:
        """State a goal over every value; none at all is not met, only not measured."""
        told = ", ".join(f"{value:.3g}" for value in values) or "not measured"
        self.goals.append(Goal(sentence, told, all(map(met, values)) if values else None))


@dataclass(frozen=True)
class Plan:
    """How many releases: of each kind, and of a kind whose share is promised."""

    arena: Arena
    releases: int
    promised: int

    def run(self, name: str, case: Case, *, promised: bool = False) -> dict[str, Any]:
        """One row."""
        make = (headgate.HEADGATE | PEERS)[name]
        found = summary(
            self.arena.releases(make, case, self.promised if promised else self.releases)
        )
        row = {"system": name, "world": case.world.name, "per_second": case.world.per_second}
        return {**row, "lag_min": case.lag_s / 60, **found}


def ours(*names: str) -> list[str]:
    """Those of our variants that are there."""
    return [name for name in names if name in headgate.HEADGATE]


def at_most(most: float) -> Callable[[float], bool]:
    """A goal from above."""
    return lambda value: value <= most


def at_least(least: float) -> Callable[[float], bool]:
    """A goal from below."""
    return lambda value: value >= least


def per_cent(most: float) -> Callable[[float], bool]:
    """At most so many per cent."""
    return at_most(most / 100)
