"""What people have said of a release: by command, or by tags on its version."""

from dataclasses import dataclass
from typing import Literal

Verb = Literal["release", "retry", "undo"]
"""The commands that begin a release."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """A person's word on one thing that was shown of one attempt: operators write it, nobody else.

    It counts for that finding alone: what is shown otherwise, later or of another attempt, is asked
    anew.
    """

    verb: Literal["approve", "promote"]
    finding: str
    seq: int
    """The journal row that tells of it: what it was given on was written down before."""
    actor: str
    override: bool = False
    """Also past what is not shown yet, and past what holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """The tags of a version that speak to Headgate, as they were last seen."""

    hold: bool = False
    approved: tuple[str, ...] = ()
    """The tags by which it is approved."""
    void: tuple[str, ...] | None = None
    """Those of them that were there too early to be about what is asked; None: not looked yet."""

    @property
    def counting(self) -> tuple[str, ...]:
        """The approvals that were given in time."""
        return tuple(one for one in self.approved if one not in (self.void or ()))
