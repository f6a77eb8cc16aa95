"""What stops a release from going on, in the words that a person is told."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Why a release does not go on, whether a person must act, and what their word lets it past."""

    why: str
    needs_person: bool = False
    ask: str | None = None
