"""The fuse: an alarm on the endpoint as a whole, minutes before anybody can be blamed.

The per-version record may be an hour late; the endpoint's own metrics are a minute old, but count
both versions together. So a fuse accuses nobody: it tests, with one arm, whether the endpoint errs
more since a step was opened than in the hour before it, and shuts the gate first.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial, reduce

from policies.evidence import Arm
from policies.onearm import (
    each_over,
    excess_after,
    highest_rate,
    unexceeded,
    without_lulls,
    worst_stretch,
)
from policies.verdict import Outcome, Verdict
from policies.wealth import Wealth, binary
from policies.words import duration, percent

GUARD = "fuse"
FALSE_FUSE = 0.01
"""Chance that a fuse blows in one `STRETCH` although the endpoint errs no more than before."""
STRETCH = timedelta(hours=4)
"""A step that lasts longer is tested anew, each stretch by itself: no fuse looks back for days."""
MISJUDGED = 0.001
"""Chance that the hour's rate is judged lower than it was."""
LEAST_RISE = 0.001
"""A rise of less than this share of requests is no alarm: hours differ by as much."""
HISTORY, DAY = 60, 1440
"""Minutes before a step by which its fuse is set: the hour for what is permitted, the day for
bursts."""
PRIOR = 20.0
"""Pseudo-counts that hold the dispersion of a short history near 1; the A/A study has 20."""
BLOWS = math.log(1 / FALSE_FUSE)
MINUTE = timedelta(minutes=1)
FRESH = timedelta(minutes=3)
"""The metrics' newest minute is no older than this when it comes, or they are unseen: scraped once
a minute."""
FAR, ROUNDS = 4.0, 4
"""Standard deviations from the usual rate to a burst, and how often what is usual is asked anew."""
ROUTED = 3.0
"""Standard deviations by which a minute's users of the candidate may be more than its share."""
STEADY = 8  # halvings of what a minute may bring: to a two-hundredth of what blows it


@dataclass(frozen=True, kw_only=True)
class Minute:
    """One closed minute of the whole endpoint, all versions together."""

    ends_at: datetime
    requests: int
    errors: int
    """Responses of 4xx and 5xx: the metrics tell no finer."""


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """What a step's fuse was set to when the step was opened."""

    set_at: datetime
    """On the minutes' own clock, which is not the record's."""
    permitted: float
    """The highest error rate that the hour before allows for, plus the least rise."""
    dispersion: float
    """How much more than chance the hour's errors came in bursts; 1 for chance alone."""
    weight: int = 100
    """Percent of users that the step exposes: more errors than theirs are not the candidate's."""
    most: tuple[float | None, ...] = ()
    """Log evidence that each bet may win by one minute, so that the fuse outlasts errors like those
    of the day before; None, or none at all: as much as it has."""

    def most_of(self, length: timedelta) -> tuple[float, ...]:
        """The same for a stretch that is not a minute: a burst lies in one more than it fills."""
        minutes = length / MINUTE
        return tuple(
            math.inf if one is None else one * minutes / (1 + one * minutes / BLOWS)
            for one in self.most
        )


def fuse(before: Iterable[Minute], now: datetime, weight: int) -> Fuse | None:
    """Set a fuse by the minutes before a step; None where there were none with requests.

    `now` is what the minutes' own clock shows. The hour before says what is permitted, and the day
    before how long errors come in bursts.
    """
    minutes = sorted((one for one in before if one.requests), key=lambda one: one.ends_at)
    if not minutes:
        return None
    setting = _set(minutes[-HISTORY:], now, weight)
    return replace(setting, most=_patient(minutes[-DAY:], setting))


def _set(minutes: Sequence[Minute], now: datetime, weight: int) -> Fuse:
    minutes = _calm(minutes)
    requests = sum(one.requests for one in minutes)
    errors = sum(one.errors for one in minutes)
    rate = errors / requests
    spread = sum((one.errors - one.requests * rate) ** 2 for one in minutes)
    dispersion = max(1.0, (PRIOR + spread) / (PRIOR + errors))
    # Bursts make the hour worth fewer requests than it had.
    worth = round(requests / dispersion)
    highest = highest_rate(round(errors / dispersion), worth, MISJUDGED)
    permitted = min(0.5, highest + LEAST_RISE)
    return Fuse(set_at=now, permitted=permitted, dispersion=dispersion, weight=weight)


def as_counted(setting: Fuse, meanwhile: Iterable[Minute], counted: Arm) -> Fuse:
    """The setting for a guard whose own source leaves out some of what the metrics call errors.

    `counted` is what the guard's source told of all versions, over the same time as the minutes
    `meanwhile`. Users who are not let in, and requests that are turned away (401,
    403, 404, 429), fail for the metrics and are no errors for a guard that counts by a table: what
    they came to is taken from what the hour permits, or it would hide as many errors of a version
    that has everybody. The guard's own rate is taken as high as its sample allows for, so that
    chance takes nothing.
    """
    told = list(meanwhile)
    asked, failed = sum(one.requests for one in told), sum(one.errors for one in told)
    if not asked or not counted.requests:
        return setting
    worth = setting.dispersion
    highest = highest_rate(counted.errors / worth, counted.requests / worth, MISJUDGED)
    left_out = failed / asked - highest
    if left_out <= 0:
        return setting
    return replace(setting, permitted=max(LEAST_RISE, setting.permitted - left_out))


def unexcused(setting: Fuse, most: float) -> Fuse:
    """The setting where the hour's errors may all have been those of a version that was no good.

    It permits what that version did at most, and `most` whatever it did; and that its errors came
    and went is no burst that may befall whoever serves.
    """
    return replace(setting, permitted=min(setting.permitted, most), dispersion=1.0, most=())


def _calm(minutes: Sequence[Minute]) -> Sequence[Minute]:
    """The minutes without those of a burst, which say how long bursts last, and not what is usual.

    A burst is far more than chance would add to the rate of the others.
    """
    calm = minutes
    for _ in range(ROUNDS):
        rate = sum(one.errors for one in calm) / sum(one.requests for one in calm)
        limits = [one.requests * rate + FAR * math.sqrt(one.requests * rate + 1) for one in minutes]
        before = calm
        calm = [one for one, limit in zip(minutes, limits, strict=True) if one.errors <= limit]
        if not calm:
            return minutes
        if len(calm) == len(before):
            break
    return calm


def _patient(minutes: Sequence[Minute], setting: Fuse) -> tuple[float | None, ...]:
    """The most that each bet may win by a minute, so that the day would have blown no fuse.

    A fuse is set by each hour of the day, as it would have been, and meets the hour after it: no
    bet may have won enough in any stretch of them. So long tides hold back the bets on small
    rises, and short outages those on large ones. None, where nothing need be held back.
    """
    hours = [minutes[max(0, end - HISTORY) : end] for end in range(len(minutes), 0, -HISTORY)]
    met: list[tuple[float, ...]] = []
    for hour, after in reversed(list(zip(hours[1:], hours, strict=False))):
        then = _set(hour, setting.set_at, setting.weight)
        met += _gained(then, after)
    return tuple(_held_back(bet) for bet in zip(*met, strict=True))


def _held_back(gains: Sequence[float]) -> float | None:
    """The most that a bet may win by a minute, for its worst stretch not to blow a fuse."""
    gains = without_lulls(gains)
    if worst_stretch(gains, math.inf) <= BLOWS:
        return None
    low, high = 0.0, BLOWS
    for _ in range(STEADY):
        middle = (low + high) / 2
        low, high = (middle, high) if worst_stretch(gains, middle) <= BLOWS else (low, middle)
    return low


def _gained(setting: Fuse, minutes: Iterable[Minute]) -> Iterator[tuple[float, ...]]:
    """What each bet gains by each minute."""
    each = each_over(setting.permitted)
    for one in minutes:
        bad = _blamed(setting, one)
        good = one.requests - bad
        yield tuple((good * fine + bad * worse) / setting.dispersion for fine, worse in each)


def _blamed(setting: Fuse, one: Minute) -> float:
    """A minute's errors, but no more than the candidate's users could have met.

    What is over that befell stable too, and shutting the gate would help nobody.
    """
    share = setting.weight / 100
    users = one.requests * share
    most = one.requests * setting.permitted + users + ROUTED * math.sqrt(users * (1 - share))
    return min(one.errors, one.requests, most)


def burning(setting: Fuse, had: Wealth, one: Minute) -> Wealth:
    """The test's wealth with one more minute of the step; it blows at `BLOWS`."""
    if not one.requests:
        return had
    failed = binary(one.requests, _blamed(setting, one))
    most = tuple(math.inf if one is None else one for one in setting.most)
    return excess_after(setting.permitted, had, failed, setting.dispersion, most)


def watched(setting: Fuse, minutes: Iterable[Minute]) -> list[Minute]:
    """The minutes that a fuse looks at: of its step, those of the present `STRETCH`.

    A minute that began before the fuse was set speaks of both sides, and is left out.
    """
    whole = [one for one in minutes if one.ends_at - MINUTE >= setting.set_at]
    begun = _begun(setting, whole)
    return [one for one in whole if one.ends_at > begun]


def _begun(setting: Fuse, minutes: Sequence[Minute]) -> datetime:
    """When the stretch began that the newest minute ended in."""
    if not minutes:
        return setting.set_at
    # Downwards, so that a minute that ends with a stretch is that stretch's last.
    left = (setting.set_at - minutes[-1].ends_at) // STRETCH
    return setting.set_at - (left + 1) * STRETCH


def blown(setting: Fuse, since: Iterable[Minute]) -> Verdict | None:
    """FAIL once the endpoint is shown to err more than the fuse permits; else None.

    The verdict is about the endpoint: it names no version, and must roll none back.
    """
    minutes = watched(setting, since)
    if reduce(partial(burning, setting), minutes, unexceeded()).evidence < BLOWS:
        return None
    requests = sum(one.requests for one in minutes)
    errors = sum(min(one.errors, one.requests) for one in minutes)
    begun = _begun(setting, minutes)
    later = begun - setting.set_at
    after = f"{begun:%H:%M} UTC, {duration(later)} after " if later else ""
    because = (
        f"{errors:,} of {requests:,} requests to the endpoint failed "
        f"({percent(errors / requests)}) since {after}the step was opened; the hour before it "
        f"permits {percent(setting.permitted)}; nobody is blamed until the counts by version arrive"
    )
    numbers: dict[str, float | int] = {
        "endpoint_requests": requests,
        "endpoint_errors": errors,
        "permitted_rate": round(setting.permitted, 6),
        "dispersion": round(setting.dispersion, 3),
    }
    return Verdict(outcome=Outcome.FAIL, guard=GUARD, because=because, numbers=numbers)
