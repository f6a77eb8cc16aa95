"""Replay: recorded production requests asked of both versions before any user, judged as pairs.

A pair is its own control: the same question, minutes of nothing between both answers, and which
version is asked first is drawn. What a few hundred pairs show takes thousands of users to show.

Two questions, as everywhere: *harm* is one budget over all checks, `FALSE_FAIL`, beside that of the
climb; *safety* is each check's own. What was seen is folded into counts of differences; the order
in which pairs came, and in how many looks, changes nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from policies.bounds import LEANS, OPENS
from policies.guards import ANSWERS, ERRORS, LATENCY, PEACE, TOKENS
from policies.pairing import (
    ALIKE,
    EVEN,
    Differences,
    paired_differences,
    paired_safety,
    with_difference,
)
from policies.pairs import (
    CHECKS,
    LENGTH,
    OVERLAP,
    SOURCES,
    Pair,
    difference,
    differences,
    in_words,
    score,
    told,
)
from policies.verdict import Outcome
from policies.wealth import weighted

FALSE_FAIL = 0.002
"""Chance that a version no worse than stable is rolled back by its replay. A fifth of the climb's
budget: no user is exposed meanwhile, and what a replay is too careful to see, the climb can."""
FAILS = math.log(1 / FALSE_FAIL)
FEWEST = 30
"""No replay passes on fewer pairs, however wide its margins: some kinds of request were not met."""
MOSTLY = 0.5
"""More answers than this rest on wholly other sources: that is another index, not a better one."""
DRASTIC = 2.0
"""Answers of twice, or half, stable's length on average: not a matter of style any more."""
TROUBLE = 0.2
"""Where a larger share of pairs fails on both versions, the replay shows nothing."""
WORST = 10
"""Pairs that are kept by request id."""
NOTICED = 0.25
"""A pair with a lower score is none of the worst."""
YES_OR_NO = (ERRORS, ANSWERS, SOURCES)


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How much worse the candidate may be, of all pairs; harm is a fifth of it, as of guards."""

    errors: float = 0.02
    """In shares of requests: what 200 pairs can show. 176 without a difference do."""
    latency: float = 0.25
    """Of the geometric mean: as the guard on users' latency."""
    answers: float = 0.02
    """More answers than stable's that are empty: as errors, which they are to a reader."""
    sources: float = 0.02
    """More answers without a source than stable's; a lost topic of 5 % of requests exceeds it."""
    tokens: float = 0.25
    """Of the geometric mean: as the guard on users' tokens."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What is replayed, and how it is judged; pinned at admission."""

    requests: int = 200
    """Pairs at most: ten minutes with answers of six seconds, two pairs at a time."""
    over: timedelta = timedelta(hours=24)
    """The age of the oldest recorded request: a day has every hour's kind of question."""
    within: timedelta = timedelta(minutes=30)
    """The longest that it takes; after it, what was seen until then counts."""
    margins: Margins = field(default_factory=Margins)
    on_undecided: Literal["ask", "roll_back", "go_on"] = "ask"
    """What becomes of an undecided replay where no step compares, and no other evidence will."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The requests that are to be replayed, in order, by id; and why there are none."""

    requests: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pairs that were asked since the last look."""

    pairs: tuple[Pair, ...] = ()
    missing: tuple[str, ...] = ()
    """Requests that cannot be asked again: the table has them no more, or not as JSON."""


@dataclass(frozen=True, kw_only=True)
class Worst:
    """One of the pairs in which the candidate did worst."""

    request: str
    score: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a replay has come to: counts, and the ids that are still to be asked."""

    began: timedelta = timedelta()
    """The release's time in Testing when it began."""
    drawn_at: datetime | None = None
    drawn: int | None = None
    """Requests in the sample; None: it is not drawn yet."""
    left: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    """Of them, those that both versions have failed once."""
    pairs: int = 0
    """Pairs that were judged."""
    troubled: int = 0
    """Pairs that both versions failed twice, although stable had answered: they blame neither."""
    missing: int = 0
    differences: Mapping[str, Differences] = field(default_factory=dict)
    bad: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By check of yes or no, bad answers of the candidate and of stable."""
    worst: tuple[Worst, ...] = ()
    why: str = ""
    """Why nothing, or no more, could be asked."""
    outcome: Outcome | None = None
    """None: it goes on, or has ended with the release."""
    because: str = ""

    @property
    def asked(self) -> int:
        """Requests of the sample that are done with."""
        return (self.drawn or 0) - len(self.left)


def environment(batch: Batch) -> bool:
    """Whether what was asked now tells of the environment more than of any version."""
    troubled = sum(one.troubled for one in batch.pairs)
    return troubled > 0 and 2 * troubled >= len(batch.pairs)


def folded(seen: Replayed, batch: Batch) -> Replayed:
    """What was seen, with a batch; a request that is not awaited was counted before.

    One that both versions fail is asked once more at the end, and then counts for nobody.
    """
    awaited = set(seen.left)
    for pair in batch.pairs:
        if pair.request not in awaited:
            continue
        awaited.remove(pair.request)
        if not pair.troubled:
            seen = _with_pair(seen, pair)
        elif pair.request in seen.again:
            seen = replace(seen, troubled=seen.troubled + 1)
        else:
            awaited.add(pair.request)
            rest = tuple(one for one in seen.left if one != pair.request)
            seen = replace(seen, again=(*seen.again, pair.request), left=(*rest, pair.request))
    gone = awaited & set(batch.missing)
    left = tuple(one for one in seen.left if one in awaited - gone)
    return replace(seen, left=left, missing=seen.missing + len(gone))


def _with_pair(seen: Replayed, pair: Pair) -> Replayed:
    found = {
        check: with_difference(seen.differences.get(check, ()), value)
        for check, value in differences(pair).items()
    }
    bad = dict(seen.bad)
    for check in YES_OR_NO:
        if check in found:
            own, theirs = bad.get(check, (0, 0))
            bad[check] = own + told(check, pair.candidate), theirs + told(check, pair.stable)
    worst = seen.worst
    if score(pair) >= NOTICED:
        one = Worst(request=pair.request, score=round(score(pair), 3), why=in_words(pair))
        ranked = sorted((*worst, one), key=lambda each: (-each.score, each.request))
        worst = tuple(ranked[:WORST])
    return replace(
        seen, pairs=seen.pairs + 1, differences={**seen.differences, **found}, bad=bad, worst=worst
    )


def harms(margins: Margins, seen: Replayed) -> dict[str, float]:
    """By check, the log evidence that the candidate is worse by over a fifth of its margin.

    Of sources that overlap, and of length, only a drastic shift is harm: to answer otherwise is
    what a new version is for.
    """
    found = {}
    for check in CHECKS:
        values = seen.differences.get(check, ())
        if check == OVERLAP:
            found[check] = paired_differences(values, MOSTLY)
        elif check == LENGTH:
            limit = difference(check, DRASTIC)
            mirrored = tuple((-value, count) for value, count in values)
            both = (paired_differences(one, limit) for one in (values, mirrored))
            found[check] = weighted((0.5, one) for one in both)
        else:
            found[check] = paired_differences(values, allowed(margins, check, PEACE))
    return found


def harm(margins: Margins, seen: Replayed) -> float:
    """Log evidence of harm over all checks: their average, which may be looked at at any time."""
    return weighted((1 / len(CHECKS), one) for one in harms(margins, seen).values())


def leaning(margins: Margins, seen: Replayed) -> bool:
    """Whether harm is the likelier, by what was replayed, though it is not shown."""
    return harm(margins, seen) > LEANS


def proofs(margins: Margins, seen: Replayed) -> dict[str, float]:
    """By check that must pass, the log evidence that the candidate is within its margin.

    What stable never showed, no candidate can lose; it does not count as kept either.
    """
    found = {}
    for check in (ERRORS, LATENCY, ANSWERS, SOURCES, TOKENS):
        values = seen.differences.get(check, ())
        if check in (ANSWERS, SOURCES) and not _shown(seen, check):
            continue
        if check == TOKENS and not values:
            continue
        shares = ALIKE if check in YES_OR_NO else EVEN
        found[check] = paired_safety(values, allowed(margins, check), shares)
    return found


def _shown(seen: Replayed, check: str) -> bool:
    """Stable's answers have shown, at least once, what may be lost."""
    answered = sum(count for _, count in seen.differences.get(check, ()))
    return round(answered) > seen.bad.get(check, (0, 0))[1]


def allowed(margins: Margins, check: str, part: int = 1) -> float:
    """A margin, or a part of it, as a difference of pairs."""
    margin: float = getattr(margins, check) / part
    assert margin < 3, "a log ratio of pairs spans four times"  # noqa: PLR2004
    return difference(check, 1 + margin) if check in (LATENCY, TOKENS) else margin


def disturbed(seen: Replayed) -> bool:
    """So many pairs failed on both versions that the rest shows nothing."""
    return seen.troubled > TROUBLE * (seen.pairs + seen.troubled)


def outcome(margins: Margins, seen: Replayed) -> Outcome:
    """FAIL once harm is shown, PASS once all that must pass is, at whatever look; else not yet.

    Nothing passes while harm is the likelier, be it by what need not pass.
    """
    worse = harm(margins, seen)
    if worse >= FAILS:
        return Outcome.FAIL
    if worse > LEANS:
        return Outcome.INSUFFICIENT
    enough = seen.pairs >= FEWEST and not disturbed(seen)
    if enough and all(one >= OPENS for one in proofs(margins, seen).values()):
        return Outcome.PASS
    return Outcome.INSUFFICIENT


def fewest_pairs(margin: float) -> int:
    """Pairs without a difference that show a check of yes or no to be within its margin."""
    number = 1
    while paired_safety(((0.0, float(number)),), margin, ALIKE) < OPENS:
        number *= 2
    low, high = number // 2, number
    while high - low > 1:
        middle = (low + high) // 2
        shows = paired_safety(((0.0, float(middle)),), margin, ALIKE) >= OPENS
        low, high = (low, middle) if shows else (middle, high)
    return max(high, FEWEST)


def strictest(margins: Margins) -> tuple[str, float]:
    """The check of yes or no with the smallest margin, which needs the most pairs."""
    return min(((check, allowed(margins, check)) for check in YES_OR_NO), key=lambda one: one[1])
