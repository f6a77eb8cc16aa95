"""How a release climbs: its steps, its durations, and what each is for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

WHOLE = 100
"""All users, in percent."""
MOST_HELD_BACK = 20
"""Percent of users: with more of them on stable the last step would not be one."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The plan of a climb. Every default carries its reason."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of users per step. 5 % bounds the harm of a bad start; 50 % decides fastest."""
    settle: timedelta = timedelta(seconds=60)
    """Left out of safety after a weight change: longer than most requests are in flight."""
    min_step: timedelta = timedelta(minutes=3)
    """Least stay on a compared step: an upset that needs minutes of load still shows, and a
    busy endpoint is through within ten."""
    bake: timedelta = timedelta(minutes=30)
    """Stay at 100 % before the alias moves."""
    hold_back: int = 0
    """Percent of users who stay on stable during the bake, which then goes on comparing: errors of
    both versions blame nobody. For endpoints whose errors come in bursts; elsewhere a bad version
    is found ten times sooner by its own errors at 100 %, so nobody is held back by default."""
    watch: timedelta = timedelta(hours=1)
    """Stay after the alias moved, before the way back is given up."""
    patience: timedelta = timedelta(hours=24)
    """Longest undecided stay on one step."""
    on_undecided: Literal["ask", "roll_back"] = "ask"
    """A person knows more than a timer."""
    retain: timedelta = timedelta(hours=1)
    """How long a version that lost its traffic stays provisioned at 0 %."""
    dead_man: Literal["stay", "stable"] = "stay"
    """What becomes of users on trial when nobody looks after them any more: whoever runs the job
    for it says `stable`; a release that is well needs nobody to send it home."""

    def __post_init__(self) -> None:
        assert self.steps, "a rollout has at least one step"
        assert self.steps[-1] == WHOLE, "steps end at 100"
        assert self.steps == tuple(sorted(set(self.steps))), "steps only climb"
        assert self.steps[0] >= 1, "a step is a percentage"
        assert 0 <= self.hold_back <= MOST_HELD_BACK, "nearly all users come to the last step"

    def weight(self, step: int) -> int:
        """What a step (from 1) gives to the candidate, in percent: of the last, what is left."""
        return self.steps[step - 1] - (self.hold_back if step == len(self.steps) else 0)
