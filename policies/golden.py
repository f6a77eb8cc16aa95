"""Golden queries: questions with known answers, asked of both versions before any user."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.answer_checks import Expectation


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenQuery(Expectation):
    """One question and what its answer must show."""

    query: str = ""
    """The question as text, for the input that the model's signature has for it."""
    body: str = ""
    """The whole request as JSON text, where it is stated; then there is no `query`."""
    repeat: int = 1
    """How often it is asked in a round."""
    must_pass: int | None = None
    """How many of these answers must be as expected; None: all of them."""

    def verdict(self, answers: Sequence[str | None]) -> str | None:
        """What its answers in one round amount to: None, or the first failure and how many."""
        failures = [why for why in answers if why is not None]
        needed = self.repeat if self.must_pass is None else self.must_pass
        passed = len(answers) - len(failures)
        if passed >= needed:
            return None
        if self.repeat == 1:
            return failures[0]
        return f"{failures[0]} ({passed} of {len(answers)} answers as expected, {needed} needed)"


@dataclass(frozen=True, kw_only=True)
class Round:
    """All golden queries asked once of both versions: how many, and which failed where."""

    asked: int
    candidate_failed: tuple[int, ...]
    """Numbers (from 1) of the queries that the candidate failed."""
    stable_failed: tuple[int, ...]
    """The same for stable; empty as well where there is no stable version."""
    why: str = ""
    """The first failure in words, of those that stable does not share if there are any; without
    prompt, answer or server message."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A round that is not complete: it tells of no version before all of it is answered."""

    answers: tuple[str | None, ...]
    """To its first questions, in the order of asking: None when as expected, else why not."""
    of: int
    """Questions of the whole round: each query as often as it says, of each version."""


class Finding(StrEnum):
    """What the rounds say so far."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    ENVIRONMENT = "ENVIRONMENT"
    AGAIN = "AGAIN"


def judge(rounds: tuple[Round, ...], *, compared: bool = True) -> tuple[Finding, str]:
    """One clean round passes; the same failure twice, with stable well, fails.

    A query that both versions fail blames neither: the environment is at fault. `compared`: stable
    was asked as well.
    """
    if not rounds:
        return Finding.AGAIN, "golden queries have not been asked yet"
    last = rounds[-1]
    if not last.candidate_failed:
        return Finding.PASS, f"all {last.asked} golden queries passed"
    own = set(last.candidate_failed) - set(last.stable_failed)
    told = f"{len(last.candidate_failed)} of {last.asked} golden queries failed"
    if not own:
        return Finding.ENVIRONMENT, f"{told} on both versions: the environment is at fault"
    before = rounds[-2] if len(rounds) > 1 else None
    again = own & (set(before.candidate_failed) - set(before.stable_failed)) if before else set()
    if again:
        twice = f"{len(again)} of {last.asked} golden queries failed twice"
        twice = f"{twice}, and stable answers them" if compared else twice
        return Finding.FAIL, f"{twice}: {last.why}"
    return Finding.AGAIN, f"{told}: {last.why}; asking once more"
