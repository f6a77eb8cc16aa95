"""Who met a version, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Moment(Protocol):
    """From when on a release had a weight."""

    @property
    def at(self) -> datetime:
        """When it began."""

    @property
    def weight(self) -> int:
        """Wanted, in percent."""

    @property
    def weight_seen(self) -> int | None:
        """Observed, in percent."""


@dataclass(frozen=True, kw_only=True)
class Users:
    """Who met a version."""

    requests: int | None
    """Of users, that it answered or failed, as counted; None: nothing was counted by version."""
    weight: int
    """The most users that it had, in percent."""
    since: datetime | None
    """When it first had users; None: never."""
    until: datetime | None
    """When the last went home; None: never, or it has users still."""
    open_s: float
    """How long it had users, in seconds, all times together."""


def users(moments: Sequence[Moment], until: datetime, requests: int | None) -> Users:
    """Who met the version, by the moments at which its weight changed."""
    ends = [*(one.at for one in moments[1:]), until]
    shares = [max(one.weight, one.weight_seen or 0) for one in moments]
    had = [
        (one.at, end) for one, end, share in zip(moments, ends, shares, strict=True) if share > 0
    ]
    home = bool(had) and shares[-1] == 0
    return Users(
        requests=requests,
        weight=max(shares, default=0),
        since=had[0][0] if had else None,
        until=had[-1][1] if home else None,
        open_s=sum((end - begun).total_seconds() for begun, end in had),
    )
