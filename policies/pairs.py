"""Pairs: a recorded request, answered again by both versions, and how the two answers differ.

A pair is numbers and the request's id: no request, no answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log

from policies.guards import ANSWERS, ERRORS, LATENCY, TOKENS

SOURCES, OVERLAP, LENGTH = "sources", "overlap", "length"
CHECKS = (ERRORS, LATENCY, ANSWERS, SOURCES, TOKENS, OVERLAP, LENGTH)
SPAN = log(4)
"""Of log ratios: a latency, or tokens, of four times stable's differ by 1, a fourth by -1; what is
beyond counts no more, so that one answer that hangs proves nothing of the others."""
LENGTH_SPAN = log(8)
"""The same for the length of answers, which differs widely between answers that are both good."""
FLOOR_MS = 20.0
"""Added to both latencies: what the network adds to an answer of few milliseconds, on one arm and
not on the other, is no ratio of the versions'."""
FLOOR_LENGTH = 20
"""The same in characters: `yes` and `Yes, it is.` are one answer."""
APART = 0.1
"""Sources that overlap less than this (Jaccard) are other ones: a re-ranked list, or one of a new
embedding, keeps more."""
FAILED_SCORE = 4.0
"""What an error adds to a pair's score: as much as an answer, its sources and its speed lost."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How one version answered; what is not told, or could not be read, is None."""

    failed: bool = False
    """A timeout, or a status from 400 on that is not 401, 403, 404 or 429."""
    latency_ms: float = 0.0
    """Until the answer was read, the network included."""
    length: int | None = None
    """Characters of the answer's text."""
    sources: int | None = None
    tokens: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One recorded request and both versions' answers to it."""

    request: str
    """Databricks' id of the recorded request."""
    candidate: Reply
    stable: Reply
    overlap: float | None = None
    """Sources that both named, of those that either did; None where one named none."""
    succeeded: bool = True
    """The recorded request was answered when a user sent it."""

    @property
    def troubled(self) -> bool:
        """Both versions fail what stable has answered before: neither is to blame."""
        return self.succeeded and self.candidate.failed and self.stable.failed


def differences(pair: Pair) -> Mapping[str, float]:
    """By check, in [-1, 1], how much worse the candidate's answer is, as far as it can be told."""
    own, theirs = pair.candidate, pair.stable
    found = {ERRORS: float(own.failed) - float(theirs.failed)}
    if own.failed or theirs.failed:
        return found
    found[LATENCY] = _ratio(own.latency_ms + FLOOR_MS, theirs.latency_ms + FLOOR_MS, SPAN)
    found[ANSWERS] = float(not own.length) - float(not theirs.length)
    found[SOURCES] = float(not own.sources) - float(not theirs.sources)
    if own.tokens is not None and theirs.tokens is not None:
        found[TOKENS] = _ratio(max(0.0, own.tokens) + 1, max(0.0, theirs.tokens) + 1, SPAN)
    if pair.overlap is not None:
        found[OVERLAP] = float(pair.overlap < APART)
    if own.length and theirs.length:
        lengths = (own.length + FLOOR_LENGTH, theirs.length + FLOOR_LENGTH)
        found[LENGTH] = _ratio(*lengths, LENGTH_SPAN)
    return found


def told(check: str, reply: Reply) -> bool:
    """Whether an answer is bad by a check that is a matter of yes or no."""
    if check == ERRORS:
        return reply.failed
    return not reply.failed and not (reply.length if check == ANSWERS else reply.sources)


def score(pair: Pair) -> float:
    """How much worse the candidate's answer is, to find the worst pairs by."""
    found = differences(pair)
    worse = {check: max(0.0, value) for check, value in found.items() if check != LENGTH}
    worse[ERRORS] *= FAILED_SCORE
    return sum(worse.values()) + abs(found.get(LENGTH, 0.0))


def in_words(pair: Pair) -> str:
    """What is worse about the candidate's answer, in a few words."""
    found = differences(pair)
    if found[ERRORS]:
        return "the candidate fails" if found[ERRORS] > 0 else "stable fails"
    said = []
    if found.get(ANSWERS, 0) > 0:
        said.append("no answer")
    if found.get(SOURCES, 0) > 0:
        said.append("sources lost")
    if found.get(OVERLAP, 0) > 0:
        said.append("other sources")
    for check, noun in ((LATENCY, "latency"), (TOKENS, "tokens"), (LENGTH, "length")):
        times = ratio(check, found.get(check, 0.0))
        if times >= 1.5 or (check == LENGTH and times <= 1 / 1.5):  # noqa: PLR2004 - to be noticed
            said.append(f"{times:.2g} times the {noun}")
    return ", ".join(said) or "little"


def ratio(check: str, difference: float) -> float:
    """The ratio that a difference stands for, of a check that compares sizes."""
    return exp(difference * (LENGTH_SPAN if check == LENGTH else SPAN))


def difference(check: str, times: float) -> float:
    """The difference that a ratio stands for."""
    return log(times) / (LENGTH_SPAN if check == LENGTH else SPAN)


def _ratio(own: float, theirs: float, span: float) -> float:
    return max(-1.0, min(1.0, log(own / theirs) / span))
