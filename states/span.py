"""The stretches that a release's evidence is cut into."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a release with one weight, on one side of `settle`; evidence is cut here."""

    number: int
    step: int
    weight: int
    starts_at: datetime
    settled: bool
