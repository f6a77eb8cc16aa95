"""What a guard says: pass, fail, not enough yet, or blind; with the sentence and the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

RULES: Final = 3
"""The rules of judging, told with every verdict: raised whenever the same counts come to another
verdict, number or sentence, so that what an earlier Headgate said is not taken for a forgery."""


class Outcome(StrEnum):
    """The four answers, kept apart: missing data is neither good nor bad news."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INSUFFICIENT = "INSUFFICIENT"
    BLIND = "BLIND"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One guard's answer at one look. It holds no prompt, no answer and no server message."""

    outcome: Outcome
    guard: str
    because: str
    numbers: Mapping[str, float | int] = field(default_factory=dict)
