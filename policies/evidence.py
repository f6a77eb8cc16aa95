"""What was counted: two arms over the same closed window, immutable once written down."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Requests that one version answered in a window, and how many of them went wrong."""

    requests: int
    errors: int
    """Timeouts and every status of 400 or more, but 401, 403, 404 and 429."""
    server_errors: int
    """Timeouts and 5xx only: what no client can have caused."""

    def __post_init__(self) -> None:
        assert 0 <= self.server_errors <= self.errors <= self.requests, self

    def __add__(self, other: "Arm") -> "Arm":
        return Arm(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            server_errors=self.server_errors + other.server_errors,
        )

    @property
    def rate(self) -> float:
        """Share of requests that went wrong, from 0 to 1; no request is no error."""
        return self.errors / self.requests if self.requests else 0.0


NOTHING = Arm(requests=0, errors=0, server_errors=0)
"""An arm that saw no request."""


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
    unattributed: int = 0
    """Requests whose served entity no source could name."""


Pair = tuple[Arm, Arm]
"""The candidate's and stable's counts over the same minutes."""


def paired(blocks: Iterable[Block]) -> list[Pair]:
    """The blocks as pairs in which both arms saw requests.

    A one-sided block waits for the next one of its span; it is never joined across a change of
    weight, where the two arms would speak of different minutes.
    """
    pairs: list[Pair] = []
    candidate, stable, span = NOTHING, NOTHING, None
    for block in blocks:
        if block.span != span:
            candidate, stable, span = NOTHING, NOTHING, block.span
        candidate, stable = candidate + block.candidate, stable + block.stable
        if candidate.requests and stable.requests:
            pairs.append((candidate, stable))
            candidate, stable = NOTHING, NOTHING
    return pairs


def total(blocks: Iterable[Block]) -> Pair:
    """The candidate's and stable's counts over all blocks; for telling, never for testing.

    Rates pooled over different weights mix times of day with versions (Simpson), so the tests
    work block by block.
    """
    candidate, stable = NOTHING, NOTHING
    for block in blocks:
        candidate, stable = candidate + block.candidate, stable + block.stable
    return candidate, stable
