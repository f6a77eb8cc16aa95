"""The stretches that a release's evidence is cut into."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a release with one weight, on one side of `settle`; evidence is cut here."""

    number: int
    step: int
    weight: int
    """Percent of users that the version gets: wanted, or more if it was seen to get more."""
    starts_at: datetime
    settled: bool


@dataclass(frozen=True, kw_only=True)
class Split:
    """How users were seen to be split between served entities."""

    weights: Mapping[str, int]
    """In percent, of those that get any."""
    seen_at: datetime
    """When the look began that saw it last."""
