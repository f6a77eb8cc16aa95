"""What a policy would have done: a climb replayed on blocks that were counted before.

Two replays. A *split* pretends that a part of stable's own requests was a candidate's, and lets it
climb the configured steps; whatever is found there is a false alarm, or a harm put in on purpose. A
*relived* release is judged as it was counted, at the weights it had.

Limits, of both: bursts and drift are kept, as they were; what no source saw stays unseen. Of a
split: stable's requests are fewer than the endpoint's by the weight that a candidate had meanwhile,
so that it climbs slower than a release would; a record that ends goes on from its beginning.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from policies.bounds import CLOSES, LEANS, OPENS
from policies.criterion import Criterion
from policies.evidence import Arm, Block, Pair
from policies.fuse import Fuse
from policies.guards import ERRORS
from policies.judge import over_limits
from policies.position import Waiting
from policies.rollout import WHOLE, Rollout
from policies.sequential import safety_after
from policies.standing import Standing
from policies.wealth import Wealth

ROUNDS = 20
"""How often a step may go round a record: one that was read so often tells nothing new."""
Arms = Callable[[Arm, int], Pair]
"""The pretended candidate and the rest, out of stable's counts and the weight in percent."""


class End(StrEnum):
    """How a replay ended."""

    CLOSED = "closed"
    """The gate was closed on harm."""
    OPENED = "opened"
    """Every step was passed, and the last one kept to its end."""
    UNDECIDED = "undecided"
    """Patience, or the record, ran out."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a replay judges by."""

    rollout: Rollout
    criteria: tuple[Criterion, ...]
    lag: timedelta = timedelta()
    """How late a window's counts arrive."""

    @property
    def source(self) -> str | None:
        """Whose windows count the exposed: that of errors, if anything counts them."""
        found = {one.guard: one.source for one in self.criteria}
        return found.get(ERRORS, next(iter(found.values()), None))


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of a replay."""

    end: End
    guard: str
    """That closed the gate, or is still short of its proof; empty where it opened."""
    weight: int
    """At the end."""
    time: timedelta
    """From the first users to the end, the lag of the counts included."""
    exposed: int
    """The candidate's requests until then."""
    failed: int
    """Of them, those that went wrong."""


@dataclass(frozen=True)
class Proof:
    """Where one guard's proof of safety stands, on one step."""

    wealth: Wealth
    waiting: Waiting = field(default_factory=Waiting)

    def after(self, criterion: Criterion, weight: int, block: Block) -> "Proof":
        """With one more block of the step."""
        question = criterion.safety(weight)
        waiting = self.waiting.after(block, question.candidate, question.stable)
        if waiting.pair is None:
            return Proof(self.wealth, waiting)
        wealth = safety_after(question.comparison, self.wealth, waiting.pair)
        return Proof(wealth, Waiting(block.span))


@dataclass
class Climb:
    """A replayed release on its way; times run from the first users."""

    policy: Policy
    standing: Standing
    weight: int
    step: int = 1
    since: timedelta = timedelta()
    """When the present step began."""
    proofs: dict[str, Proof] = field(default_factory=dict)
    own: list[Block] = field(default_factory=list)
    """What was counted on the present step."""
    exposed: int = 0
    failed: int = 0

    @classmethod
    def start(cls, policy: Policy, before: Fuse | None = None) -> "Climb":
        """Before the first users."""
        standing = Standing.start(policy.criteria, before)
        return cls(policy=policy, standing=standing, weight=policy.rollout.weight(1))

    def meet(self, block: Block) -> None:
        """The candidate's requests of a window, whenever they will be told of."""
        if block.source == self.policy.source:
            self.exposed += block.candidate.requests
            self.failed += block.candidate.errors

    def learn(self, block: Block) -> None:
        """A window's counts arrive."""
        self.standing = self.standing.after(block)
        if block.comparable and not block.mixed and block.step == self.step:
            self.own.append(block)
            for one in self.policy.criteria:
                if one.source == block.source and not one.observe:
                    self.proofs[one.guard] = self._proof(one).after(one, self.weight, block)

    def _proof(self, criterion: Criterion) -> Proof:
        """Where a guard's proof stands on this step."""
        question = criterion.safety(self.weight)
        return self.proofs.get(criterion.guard) or Proof(question.unproven(self.weight))

    @property
    def harmed(self) -> str | None:
        """The guard that closes the gate, if one does."""
        if self.standing.evidence() < CLOSES:
            return None
        return max(self.standing.clues(), key=lambda clue: clue.weight).guard

    @property
    def short(self) -> str | None:
        """The guard whose proof is the farthest off; None where each has come."""
        wealths = {
            one.guard: self._proof(one).wealth.evidence
            for one in self.policy.criteria
            if not one.observe
        }
        lacking = {guard: one for guard, one in wealths.items() if one < OPENS}
        return min(lacking, key=lambda guard: lacking[guard]) if lacking else None

    @property
    def may_open(self) -> bool:
        """Each guard has its proof, no harm is suspected, and no hard limit is broken."""
        shown = self.short is None and self.standing.evidence() <= LEANS
        return shown and not over_limits(self.standing, self.own)

    def open(self, now: timedelta) -> None:
        """One step further."""
        self.step += 1
        self.weight = self.policy.rollout.weight(self.step)
        self.since, self.proofs, self.own = now, {}, []

    def ended(self, end: End, guard: str, now: timedelta) -> Ending:
        """The end, with all that it came to."""
        return Ending(
            end=end,
            guard=guard,
            weight=self.weight,
            time=now,
            exposed=self.exposed,
            failed=self.failed,
        )


def replay(policy: Policy, blocks: Sequence[Block], start: int, arms: Arms) -> Ending:
    """Let a pretended candidate climb on stable's counts, from the block at `start` on, round.

    `blocks` are one release's in order, each with requests of stable's. Bake and watch are one stay
    at 100 %. A block belongs to the step that it began on, and to safety once `settle` was over.
    """
    climb, rollout = Climb.start(policy), policy.rollout
    coming: deque[tuple[timedelta, Block]] = deque()
    begun = 0
    rounds = ROUNDS * len(blocks)
    for number, (block, opened, closed) in enumerate(_round(blocks, start)):
        candidate, stable = arms(block.stable, climb.weight)
        made = replace(
            block,
            span=climb.step,
            step=climb.step,
            whole=climb.weight == WHOLE,
            comparable=climb.weight < WHOLE and opened >= climb.since + rollout.settle,
            candidate=candidate,
            stable=stable,
        )
        climb.meet(made)
        coming.append((closed + policy.lag, made))
        while coming and coming[0][0] <= closed:
            climb.learn(coming.popleft()[1])
            if (guard := climb.harmed) is not None:
                return climb.ended(End.CLOSED, guard, closed)
        stay = closed - climb.since
        if climb.step == len(rollout.steps):
            if stay >= rollout.bake + rollout.watch + policy.lag:
                return climb.ended(End.OPENED, "", closed)
        elif stay >= rollout.min_step and climb.may_open:
            climb.open(closed)
            begun = number
        elif stay >= rollout.patience or number - begun >= rounds:
            return climb.ended(End.UNDECIDED, climb.short or "", closed)
    raise AssertionError("a replay ends by itself")


def relive(
    policy: Policy,
    blocks: Sequence[Block],
    weights: Mapping[int, int],
    before: Fuse | None = None,
) -> Ending:
    """Judge a release anew on its own blocks; `weights` has its steps' percentages.

    `before` is the fuse that was set when the candidate got all users. A window's counts arrive
    `lag` after its end, and whoever asked meanwhile is among the exposed.
    """
    climb = Climb.start(policy, before)
    begun = blocks[0].opened_at
    span, met = 0, 0
    for block in blocks:
        if block.span != span:
            span, climb.proofs = block.span, {}
            climb.step, climb.weight = block.step, weights.get(block.step, WHOLE)
        told = block.closed_at + policy.lag
        while met < len(blocks) and blocks[met].closed_at <= told:
            climb.meet(blocks[met])
            met += 1
        climb.learn(block)
        if (guard := climb.harmed) is not None:
            return climb.ended(End.CLOSED, guard, told - begun)
    short = "" if climb.step == max(weights) else climb.short or ""
    took = blocks[-1].closed_at + policy.lag - begun
    return climb.ended(End.UNDECIDED if short else End.OPENED, short, took)


def _round(blocks: Sequence[Block], start: int) -> Iterator[tuple[Block, timedelta, timedelta]]:
    """The blocks from one of them on, round and round, with their times since that one began."""
    period = blocks[-1].closed_at - min(block.opened_at for block in blocks)
    assert period > timedelta(), "a window has a length"
    base, rounds, index = blocks[start].opened_at, 0, start
    while True:
        block = blocks[index]
        closed = block.closed_at - base + rounds * period
        yield block, closed - (block.closed_at - block.opened_at), closed
        index += 1
        if index == len(blocks):
            index, rounds = 0, rounds + 1
