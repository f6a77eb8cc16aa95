"""How a release climbs: its steps, its durations, and what each is for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

WHOLE = 100
"""All users, in percent."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The plan of a climb. Every default carries its reason."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of users per step. 5 % bounds the harm of a bad start; 50 % decides fastest."""
    settle: timedelta = timedelta(seconds=60)
    """Left out of safety after a weight change: longer than most requests are in flight."""
    min_step: timedelta = timedelta(minutes=5)
    """Least stay on a compared step: an upset that needs minutes of load still shows."""
    bake: timedelta = timedelta(minutes=30)
    """Stay at 100 % before the alias moves."""
    watch: timedelta = timedelta(hours=1)
    """Stay after the alias moved, before the way back is given up."""
    patience: timedelta = timedelta(hours=24)
    """Longest undecided stay on one step."""
    on_undecided: Literal["ask", "roll_back"] = "ask"
    """A person knows more than a timer."""
    retain: timedelta = timedelta(hours=1)
    """How long a version that lost its traffic stays provisioned at 0 %."""

    def __post_init__(self) -> None:
        assert self.steps, "a rollout has at least one step"
        assert self.steps[-1] == WHOLE, "steps end at 100"
        assert self.steps == tuple(sorted(set(self.steps))), "steps only climb"
        assert self.steps[0] >= 1, "a step is a percentage"


@dataclass(frozen=True, kw_only=True)
class ErrorGuard:
    """How many more errors than stable a candidate may show, and how many at all."""

    margin: float = 0.005
    """Safety margin of the last compared step, in shares of requests (0.005 is 0.5 pp)."""
    limit: float = 0.05
    """Hard limit on 5xx and timeouts of the candidate alone, in shares of requests."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "without a margin nothing is ever shown to be within it"
        assert 0 < self.limit < 1, "a limit is a share of requests"

    @property
    def harm_margin(self) -> float:
        """What counts as worse: a fifth of the safety margin, so that between them lies peace."""
        return self.margin / 5


def margin_at(weight: int, guard: ErrorGuard) -> float:
    """The safety margin of a step: wide while few users are exposed, the guard's own from 50 %.

    The factors are those of the promotion study: 10, 3, 1 and 0.5 pp at 1, 5, 25 and 50 %.
    """
    if weight >= 50:  # noqa: PLR2004 - the study's steps
        return guard.margin
    if weight >= 25:  # noqa: PLR2004
        return 2 * guard.margin
    if weight >= 5:  # noqa: PLR2004
        return 6 * guard.margin
    return 20 * guard.margin
