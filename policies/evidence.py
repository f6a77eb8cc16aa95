"""What was counted: two arms over the same closed window, immutable once written down."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

Number = TypeVar("Number", int, float)
GRID = 20
"""Parts that [0, 1] is cut into where a mean is judged: 21 points, 0 to 1 by 0.05."""
ROUNDING = 1e-6
"""What sums of a warehouse's floats may be wrong by, as a share: far more than they ever are."""
CHECKS = ("empty", "unsourced", "cut", "refused")
"""What is checked of an answer, in the order in which a tally counts what failed."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How a number that answers carry is counted; fixed before the first answer is.

    An answer counts above an edge as it is. For a mean it is divided by `cap`, cut off at 1, and
    shared between the two grid points next to it, the nearer one getting more: its distance to
    one, in grid steps, is what the other gets.
    """

    edges: tuple[float, ...] = ()
    """Rising; how many answers were above each is counted."""
    cap: float | None = None
    """The number that counts as 1 in the mean; None: no mean is taken."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a measure counted of one arm in one window."""

    seen: int = 0
    """Answers that had the number."""
    counts: tuple[int, ...] = ()
    """How many of them were above each edge; or, of answers that are checked, how many failed
    any check, and then each check."""
    mass: tuple[float, ...] = ()
    """For a mean: what fell to each of the `GRID` + 1 points."""

    def __post_init__(self) -> None:
        assert all(0 <= count <= self.seen for count in self.counts), self
        assert not self.mass or len(self.mass) == GRID + 1, self

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            seen=self.seen + other.seen,
            counts=_added(self.counts, other.counts),
            mass=_added(self.mass, other.mass),
        )

    @property
    def balanced(self) -> bool:
        """Whether what fell to the points is together `seen`, but for rounding.

        It is so of everything that is counted. What earlier versions of Headgate wrote down had
        answers without the number in it, as zeros, and has to be read for ever; and of a pretended
        candidate each point's share is drawn by itself.
        """
        return not self.mass or math.isclose(
            math.fsum(self.mass), self.seen, rel_tol=ROUNDING, abs_tol=ROUNDING
        )

    @property
    def mean(self) -> float:
        """The mean as a share of the cap, from 0 to 1."""
        told = sum(part * index for index, part in enumerate(self.mass))
        return told / GRID / self.seen if self.seen else 0.0


def _added(one: tuple[Number, ...], other: tuple[Number, ...]) -> tuple[Number, ...]:
    if not one or not other:
        return one or other
    return tuple(left + right for left, right in zip(one, other, strict=True))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Requests that one version answered in a window, and how many of them went wrong."""

    requests: int
    errors: int
    """Timeouts and every status of 400 or more, but 401, 403, 404 and 429."""
    server_errors: int
    """Timeouts and 5xx only: what no client can have caused."""
    rejected: int = 0
    """Status 429: a matter of capacity, and nobody's error."""
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """By guard, what was counted of the answers."""

    def __post_init__(self) -> None:
        assert 0 <= self.server_errors <= self.errors <= self.requests - self.rejected, self

    def __add__(self, other: "Arm") -> "Arm":
        return summed((self, other))

    @property
    def rate(self) -> float:
        """Share of requests that went wrong, from 0 to 1; no request is no error."""
        return self.errors / self.requests if self.requests else 0.0


def summed(arms: Sequence[Arm]) -> Arm:
    """The counts of several windows together."""
    tallies: dict[str, Tally] = {}
    for arm in arms:
        for name, tally in arm.tallies.items():
            tallies[name] = tallies[name] + tally if name in tallies else tally
    return Arm(
        requests=sum(arm.requests for arm in arms),
        errors=sum(arm.errors for arm in arms),
        server_errors=sum(arm.server_errors for arm in arms),
        rejected=sum(arm.rejected for arm in arms),
        tallies=dict(sorted(tallies.items())),
    )


NOTHING = Arm(requests=0, errors=0, server_errors=0)
"""An arm that saw no request."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The same whole minutes of the endpoint, as the source and as the metrics tell of them."""

    requests: int
    """In the metrics, all versions together, Headgate's own probes too."""
    failed: int
    """In the metrics: every 4xx and 5xx."""
    seen: int
    """Of those requests, the ones that the source has."""
    seen_failed: int
    """In the source: every 4xx, 5xx and missing status."""

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            seen=self.seen + other.seen,
            seen_failed=self.seen_failed + other.seen_failed,
        )


@dataclass(frozen=True, kw_only=True)
class Block:
    """One closed window of one counting source, with both arms' counts."""

    number: int
    """From 1, without gaps, within one release."""
    source: str
    span: int
    """The span that the window lies in, whole: one weight, before or after `settle`."""
    step: int
    comparable: bool
    """After `settle`, at a weight below 100: this block may speak for safety."""
    opened_at: datetime
    closed_at: datetime
    candidate: Arm
    stable: Arm
    whole: bool = False
    """All users were the candidate's: there was nobody to compare with, whatever stray requests
    stable got, of probes or of clients that ask for it by name."""
    mixed: bool = False
    """The split of users changed within it, so the arms had different minutes: told, not tested."""
    unattributed: int = 0
    """Requests whose served entity no source could name."""
    unattributed_errors: int = 0
    """Of them, those that went wrong."""
    late: int = 0
    """Rows of earlier windows that arrived after those were closed; told, never added."""
    coverage: Coverage | None = None
    """None where the metrics had no whole minute of this window."""


Pair = tuple[Arm, Arm]
"""The candidate's and stable's counts over the same minutes."""


def total(blocks: Iterable[Block]) -> Pair:
    """The candidate's and stable's counts over all blocks; for telling, never for testing.

    Rates pooled over different weights mix times of day with versions (Simpson), so the tests
    work block by block.
    """
    blocks = tuple(blocks)
    return summed([one.candidate for one in blocks]), summed([one.stable for one in blocks])
