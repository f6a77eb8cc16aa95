"""Made-up traffic: what a version answers in a minute, good or bad, on calm or wild days."""

import math
from dataclasses import dataclass
from random import Random

from policies.evidence import Arm, Block
from policies.guards import Guards, ScoreGuard, TokenGuard, measures
from tests.policies.counts import (
    HISTORY,
    above,
    arm,
    averaged,
    block,
    drawn,
    faulty,
    guards_by,
    lognormal,
)

GUARDS = Guards(tokens=TokenGuard(), scores={"truth": ScoreGuard()})
STEPS = (5, 25, 50, 100)
MEASURES = measures(GUARDS, HISTORY, STEPS)
CRITERIA = guards_by(GUARDS)


@dataclass(frozen=True, kw_only=True)
class Version:
    """How a version answers; by default as stable does, and as `HISTORY` tells."""

    errors: float = 0.01
    slower: float = 1.0
    faulty: float = 0.03
    tokens: float = 1.0
    truth: float = 0.8

    def answer(self, random: Random, requests: int, drift: float = 1.0, burst: float = 0.0) -> Arm:
        """A minute's counts; drift and bursts come from outside, to all versions alike."""
        failed = drawn(random, requests, min(1.0, self.errors * drift + burst))
        good = requests - failed
        latencies = lognormal(random, 120 * self.slower * drift, 0.5, good)
        tokens = lognormal(random, 200 * self.tokens * drift, 0.75, good)
        scores = [random.gauss(self.truth - 0.1 * (drift - 1), 0.15) for _ in range(good)]
        edges, cap = MEASURES["tokens"].edges, MEASURES["tokens"].cap
        assert cap is not None
        return arm(
            requests,
            failed,
            0,
            latency=above(latencies, MEASURES["latency"].edges),
            answers=faulty(good, drawn(random, good, self.faulty * drift)),
            tokens=averaged(tokens, cap, edges),
            truth=averaged([min(1.0, max(0.0, one)) for one in scores], 1.0),
        )


STABLE = Version()


@dataclass
class Day:
    """Blocks of one step, one after the other."""

    random: Random
    candidate: Version = STABLE
    wild: bool = False
    """Both arms drift by a third, and at times burst with errors."""
    requests: tuple[int, int] = (40, 80)

    def block(self, number: int, *, step: int = 1, whole: bool = False) -> Block:
        """The next minute."""
        drift = 1 + 0.35 * math.sin(number / 6) if self.wild else 1.0
        burst = 0.1 if self.wild and self.random.random() < 0.1 else 0.0
        own, other = (sum(self.requests), 0) if whole else self.requests
        return block(
            self.candidate.answer(self.random, own, drift, burst),
            STABLE.answer(self.random, other, drift, burst),
            number=number,
            span=step,
            step=step,
            whole=whole,
        )

    def blocks(self, number: int, *, first: int = 1, step: int = 1) -> tuple[Block, ...]:
        """So many minutes of one step."""
        return tuple(self.block(first + index, step=step) for index in range(number))
