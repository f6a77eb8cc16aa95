"""What a rollback leaves to be told: what went wrong, since when, for whom, and how long.

Derived from the record alone, once, when users were seen home: the same transaction holds it. It is
of counts, so it can name no request: those that the inference table has are looked up afterwards.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.blindness import named
from policies.criterion import Criterion
from policies.evidence import NOTHING, Arm, Block, total
from policies.fuse import MINUTE, Minute
from policies.guards import ANSWERS, ERRORS
from policies.telling import rate_in_words
from policies.wealth import mean, seen
from policies.words import duration, percent
from states.judging import guards_of
from states.release import Application, Release
from states.turn import Turn

UNUSUAL = 3.0
"""Standard deviations by which a minute's errors are more than stable's rate brings."""
FAULTS = ("empty", "without sources", "cut off", "refusals")
"""What answers are checked for, in the order in which it is counted after those with any fault."""


@dataclass(frozen=True, kw_only=True)
class Onset:
    """When it began to go wrong: no earlier than the one time, and no later than the other.

    By Databricks' clock, which blocks and minutes have, and by which its requests are looked up.
    """

    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Toll:
    """What users of the candidate met, as far as it was counted."""

    requests: int
    observed: float
    """Those that the guard can speak of: for latency, answers."""
    bad: float
    """Of them, the bad ones; of a mean, its sum in parts of the most that counts."""
    usual: float
    """The share that was bad with stable over the same windows."""

    @property
    def rate(self) -> float:
        """The share of the candidate's that was bad."""
        return self.bad / self.observed if self.observed else 0.0

    @property
    def excess(self) -> float:
        """How many would not have been bad with stable."""
        return max(0.0, self.bad - self.observed * self.usual)


def tell_post_mortem(turn: Turn, release: Release) -> None:
    """Add the event about a rollback that has settled."""
    if not release.step:
        told = f"no user met it: {release.because}"
        turn.tell("release.post_mortem", release, told, level="warning", requests=0)
        return
    closing = closing_guard(release)
    criterion = closing or next((one for one in guards_of(release) if one.guard == ERRORS), None)
    if criterion is None:
        told = f"no source counts by version, so nobody knows what users met: {release.because}"
        turn.tell("release.post_mortem", release, told, level="warning")
        return
    own = [one for one in release.blocks if one.source == criterion.source]
    onset = _minute(turn, criterion, own) if closing else None
    case = _Case(turn.application, release, criterion, own, onset, turn.world.now)
    guard = {"guard": closing.guard} if closing else {}
    told = f"{closing.guard if closing else release.because}: {case.sentence}"
    turn.tell("release.post_mortem", release, told, level="warning", **guard, **case.fields)


def closing_guard(release: Release) -> Criterion | None:
    """The guard whose harm closed the gate; None where something else did."""
    failed = {guard for guard, mark in release.verdicts.items() if mark.startswith("FAIL")}
    return next((one for one in guards_of(release) if one.guard in failed), None)


def onset(criterion: Criterion, blocks: Sequence[Block]) -> Onset | None:
    """The window in which it began: where the stretch starts in which most went wrong.

    What counts is how much more was bad than halfway between stable's rate and the candidate's.
    """
    amiss = criterion.telling.amiss
    rate, usual = (mean(amiss(arm)) for arm in total(blocks))
    reference = (usual + max(rate, usual)) / 2
    best = had = 0.0
    began: Block | None = None
    start: Block | None = None
    for block in blocks:
        values = amiss(block.candidate)
        if not seen(values):
            continue
        if had <= 0:
            had, start = 0.0, block
        had += seen(values) * (mean(values) - reference)
        if had > best:
            best, began = had, start
    return Onset(since=began.opened_at, until=began.closed_at) if began else None


def toll_of(criterion: Criterion, blocks: Sequence[Block]) -> Toll:
    """What was counted of the candidate, beside stable."""
    candidate, stable = total(blocks)
    observed = criterion.telling.observed
    ours, theirs = observed(candidate), observed(stable)
    return Toll(
        requests=candidate.requests,
        observed=seen(ours),
        bad=mean(ours) * seen(ours),
        usual=mean(theirs),
    )


def _minute(turn: Turn, criterion: Criterion, blocks: Sequence[Block]) -> Onset | None:
    """The onset, to the minute where the endpoint's own minutes show errors rise within it."""
    found = onset(criterion, blocks)
    if found is None or criterion.guard != ERRORS:
        return found
    usual = toll_of(criterion, blocks).usual
    for one in turn.application.minutes:
        inside = found.since < one.ends_at <= found.until
        if inside and _unusual(one, usual):
            return Onset(since=max(found.since, one.ends_at - MINUTE), until=one.ends_at)
    return found


def _unusual(minute: Minute, usual: float) -> bool:
    expected = minute.requests * usual
    return minute.errors > expected + UNUSUAL * math.sqrt(expected + 1)


@dataclass(frozen=True)
class _Case:
    """A release that users met and that was rolled back, with the counts that speak of it."""

    application: Application
    release: Release
    criterion: Criterion
    blocks: Sequence[Block]
    onset: Onset | None
    home_at: datetime

    @property
    def fields(self) -> dict[str, object]:
        """What the event holds; what is not known is absent."""
        toll, criterion, lag = self.toll, self.criterion, self.lag
        found: dict[str, object] = {
            "source": criterion.source,
            "requests": toll.requests,
            "observed": round(toll.observed),
            "users_weight": self.weight,
            "shut_at": self.shut_at.isoformat(),
        }
        if criterion.telling.scale is None:
            found |= {"bad": round(toll.bad), "excess": round(toll.excess)}
            found |= {"bad_rate": round(toll.rate, 6), "usual_rate": round(toll.usual, 6)}
            found["kinds"] = [list(one) for one in self.kinds]
        else:
            scale = criterion.telling.scale
            found |= {"mean": toll.rate * scale, "usual_mean": toll.usual * scale}
        if self.onset is not None:
            found["first_bad_from"] = self.onset.since.isoformat()
            found["first_bad_until"] = self.onset.until.isoformat()
            found["shut_after_s"] = self.shut_after.total_seconds()
        if lag is not None:
            found["lag_s"] = lag.total_seconds()
        if self.uncounted is not None:
            found["uncounted"] = self.uncounted
        return found

    @property
    def sentence(self) -> str:
        """The same in words."""
        told = [f"{self._harm}; at up to {self.weight} % of users"]
        if self.onset is not None:
            since, until = self.onset.since, self.onset.until
            told.append(
                f"the first bad minute was {since:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC"
            )
            told.append(f"the gate was shut {duration(self.shut_after)} after it began")
        if self.lag is not None:
            source = named(self.criterion.source)
            told.append(f"the {source} told of requests {duration(self.lag)} late")
        if self.uncounted:
            told.append(f"about {self.uncounted:,} more of its requests were not counted by then")
        return "; ".join(told)

    @property
    def _harm(self) -> str:
        toll, criterion = self.toll, self.criterion
        got = f"its users sent {toll.requests:,} requests that were counted"
        rate, usual = (rate_in_words(criterion, one) for one in (toll.rate, toll.usual))
        noun, number = criterion.telling.noun, round(toll.observed)
        if criterion.telling.scale is not None:
            return f"{got}; mean {rate} {noun} over {number:,} answers, stable's {usual}"
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds if count)
        told = f"{round(toll.bad):,} of {number:,} {noun} ({percent(toll.rate)})"
        told += f": {kinds}" if kinds else ""
        return f"{got}; {told}; {round(toll.excess):,} more than with stable ({usual})"

    @property
    def toll(self) -> Toll:
        """What users met since the first of them came."""
        return toll_of(self.criterion, self.blocks)

    @property
    def kinds(self) -> list[tuple[str, int]]:
        """What was bad, by kind, as far as the counts tell kinds apart."""
        arm: Arm = sum((one.candidate for one in self.blocks), NOTHING)
        counted = self.application.counted_of(self.release)
        if self.criterion.guard == ERRORS and counted.tells_server_errors(self.criterion.source):
            other = arm.errors - arm.server_errors
            return [("server errors or no answer", arm.server_errors), ("other 4xx", other)]
        tally = arm.tallies.get(ANSWERS)
        if self.criterion.guard == ANSWERS and tally is not None:
            return list(zip(FAULTS, tally.counts[1:], strict=False))
        return []

    @property
    def weight(self) -> int:
        """The most users that the candidate had, in percent, from when it went wrong."""
        begun = [
            one.span
            for one in self.blocks
            if self.onset is not None and one.opened_at >= self.onset.since
        ]
        first = min(begun, default=1)
        return max(span.weight for span in self.release.spans if span.number >= first)

    @property
    def shut_at(self) -> datetime:
        """When the candidate had no users any more: shut first, or else seen home."""
        shut_at = self.home_at
        for span in reversed(self.release.spans):
            if span.weight:
                break
            shut_at = min(span.starts_at, shut_at)
        return shut_at

    @property
    def shut_after(self) -> timedelta:
        """From the onset to that."""
        assert self.onset is not None, "asked only where there is one"
        return max(self._by_minutes(self.shut_at) - self.onset.since, timedelta())

    @property
    def lag(self) -> timedelta | None:
        """How late the source was when it was decided to go back."""
        mark = self.release.watermarks.get(self.criterion.source)
        return None if mark is None else max(self.release.since - mark, timedelta())

    @property
    def uncounted(self) -> int | None:
        """About how many requests came after the last that were counted, by the metrics."""
        begun = self._by_minutes(self.release.spans[0].starts_at)
        counted = self.blocks[-1].closed_at if self.blocks else begun
        last = self._by_minutes(self.shut_at) + MINUTE
        later = [one.requests for one in self.application.minutes if counted < one.ends_at <= last]
        share = next((span.weight for span in reversed(self.release.spans) if span.weight), 0) / 100
        return round(sum(later) * share) if later else None

    def _by_minutes(self, moment: datetime) -> datetime:
        """What Databricks' clock showed then, as blocks and minutes have it: spans have our own."""
        return moment + self.release.ahead
