"""Seeded worlds in which every system of the benchmark meets the same requests.

A request has luck of its own, drawn once from the seed: one number decides which version answers
it under a weight, another whether that version fails it, a third how long it takes. So whatever
weights two systems choose, they meet the same traffic, the same bursts and the same requests;
and at equal weights, the same counts.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.protocol import NONE_MS, TICK_S, Counts, EndpointMinute, Floats, Window

Flags = NDArray[np.bool_]

PAST_S = 3600.0
"""What a system may know of the time before a release."""

SLOW_PAST_S = PAST_S
"""The part of it whose latencies are told; the product asks for a day of them."""

CHUNK = 40
"""Windows whose requests are drawn at once."""

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
MEDIAN_MS, SIGMA = 120.0, 0.5
TRIES = 3.0
"""Mean requests of a session that fails: its first attempt and its retries."""

REPLICAS = 4
LATE_ERRORS = 3.0
"""Errors are late this many times as often as answers: a timeout is written when it is over."""


@dataclass(frozen=True)
class World:
    """What befalls both versions alike.

    Swings are amplitudes of sines with random phase: of traffic as a share, of the error rate as
    a logarithm, of latency as a share. Bursts are spells of errors on both versions: they begin
    at random, last two minutes in the mean and fail 2 to 20 % of requests more. `late` is the
    share of answers whose row comes after its window was delivered.
    """

    name: str
    per_second: float
    base: float = 0.005
    traffic_swing: float = 0.0
    traffic_period_s: float = HOUR_S / 2
    error_swing: float = 0.0
    error_period_s: float = 2820.0
    bursts_per_hour: float = 0.0
    drift: float = 0.0
    retries: bool = False
    late: float = 0.0
    latencies: bool = False


@dataclass(frozen=True)
class Effect:
    """What is wrong with the candidate from `onset_s` on.

    It fails `factor` times the common rate and `extra` more, and takes `slower` times as long.
    """

    extra: float = 0.0
    factor: float = 1.0
    slower: float = 1.0
    onset_s: float = 0.0


HEALTHY = Effect()


class Tick(NamedTuple):
    """One window as it arrives, and the truth: the candidate's requests, and those that failed.

    `late` and `late_errors` are the rows of both versions that this window lacks.
    """

    candidate: Counts
    stable: Counts
    exposed: int
    failed: int
    late: int = 0
    late_errors: int = 0


class Luck(NamedTuple):
    """What chance holds for the requests of one chunk, in the order of arrival."""

    route: Floats
    fail: Floats
    slow_ms: Floats
    tries: Floats
    late: Floats
    ends: list[int]


def constant(per_second: float) -> World:
    """Nothing changes."""
    return World("constant", per_second)


def bursty(per_second: float) -> World:
    """Traffic by half up and down, errors by a factor of two, and a common burst each hour."""
    return World("bursty", per_second, traffic_swing=0.5, error_swing=0.7, bursts_per_hour=1.0)


def diurnal(per_second: float) -> World:
    """A day's tide in traffic and errors, met at any hour."""
    return World(
        "diurnal",
        per_second,
        traffic_swing=0.6,
        traffic_period_s=DAY_S,
        error_swing=0.7,
        error_period_s=DAY_S,
    )


def drifting(per_second: float) -> World:
    """Latency of both versions 35 % up and down within the hour."""
    return World("latency drift", per_second, drift=0.35, latencies=True)


def steady(per_second: float) -> World:
    """Latency told, and nothing changes."""
    return World("latency", per_second, latencies=True)


def retrying(per_second: float) -> World:
    """Each failing session tries again, so that its errors come as a cluster on one version."""
    return World("retry clusters", per_second, retries=True)


def late(per_second: float) -> World:
    """Bursty, and 3 % of the answers' and 9 % of the errors' rows come too late."""
    return World(
        "late rows",
        per_second,
        traffic_swing=0.5,
        error_swing=0.7,
        bursts_per_hour=1.0,
        late=0.03,
    )


WORLDS = (constant, bursty, diurnal, drifting, retrying, late)


def _sine(at: Floats, period_s: float, phase: float) -> Floats:
    return np.sin(2 * np.pi * (at / period_s + phase))


class Trace:
    """One release's world: what happens in each window from an hour before it to the horizon."""

    def __init__(self, world: World, effect: Effect, seed: int, horizon_s: float) -> None:
        self.world, self.effect = world, effect
        self._key = (seed, zlib.crc32(f"{world.name} {world.per_second}".encode()))
        random = np.random.default_rng((*self._key, 0))
        before = int(PAST_S / TICK_S)
        many = before + int(horizon_s / TICK_S)
        at: Floats = TICK_S * (np.arange(many, dtype=np.float64) - before + 0.5)
        self._phases: Floats = random.random(3)
        wave, common = self._tides(at)
        common += self._bursts(random, at)
        drift = 1 + world.drift * _sine(at, HOUR_S, self._phases[2])
        arrivals = random.poisson(world.per_second * TICK_S * wave)
        self._past = (arrivals[:before], common[:before], drift[:before])
        on = at[before:] >= effect.onset_s
        after = common[before:]
        bad = np.where(on, after * effect.factor + effect.extra, after)
        self._arrivals: list[int] = arrivals[before:].tolist()
        self._stable: list[float] = self._per_session(after).tolist()
        self._candidate: list[float] = self._per_session(bad).tolist()
        self._drift: list[float] = drift[before:].tolist()
        self._slower: list[float] = np.where(on, effect.slower, 1.0).tolist()
        self._drawn: tuple[int, Luck] | None = None

    def __len__(self) -> int:
        return len(self._arrivals)

    def _tides(self, at: Floats) -> tuple[Floats, Floats]:
        """How much traffic there is, and how often both versions err, at some times."""
        world, phases = self.world, self._phases
        wave = 1 + world.traffic_swing * _sine(at, world.traffic_period_s, phases[0])
        swing = world.error_swing * _sine(at, world.error_period_s, phases[1])
        return wave, world.base * np.exp(swing)

    def _bursts(self, random: np.random.Generator, at: Floats) -> Floats:
        """Errors added to both versions in each window."""
        added = np.zeros(len(at))
        span_s = len(at) * (at[1] - at[0])
        for _ in range(random.poisson(self.world.bursts_per_hour * span_s / HOUR_S)):
            start = at[0] + random.random() * span_s
            over = (at >= start) & (at < start + random.exponential(120.0))
            added[over] += random.uniform(0.02, 0.20)
        return added

    def _per_session(self, rate: Floats) -> Floats:
        """How often a session must fail for its requests to fail at this rate."""
        capped = np.minimum(rate, 0.999)
        return capped / (TRIES - (TRIES - 1) * capped) if self.world.retries else capped

    def _luck(self, chunk: int) -> Luck:
        """The chunk's draws; only the last chunk is kept, for windows are asked for in order."""
        if self._drawn is not None and self._drawn[0] == chunk:
            return self._drawn[1]
        world = self.world
        arrivals = self._arrivals[chunk * CHUNK : (chunk + 1) * CHUNK]
        ends = np.cumsum([0, *arrivals]).tolist()
        many = ends[-1]
        random = np.random.default_rng((*self._key, 1, chunk))
        luck = Luck(
            random.random(many),
            random.random(many),
            MEDIAN_MS * np.exp(SIGMA * random.standard_normal(many))
            if world.latencies
            else NONE_MS,
            random.geometric(1 / TRIES, many).astype(np.float64) if world.retries else NONE_MS,
            random.random(many) if world.late else NONE_MS,
            ends,
        )
        self._drawn = chunk, luck
        return luck

    def draw(self, tick: int, weight: float) -> Tick:
        """The window's requests, split by this weight."""
        world = self.world
        if weight >= 1 and not (world.latencies or world.retries or world.late):
            return self._draw_whole(tick)
        chunk, place = divmod(tick, CHUNK)
        luck = self._luck(chunk)
        span = slice(luck.ends[place], luck.ends[place + 1])
        ours = luck.route[span] < weight
        fail = luck.fail[span]
        if luck.late.size:
            return self._draw_late(tick, ours, fail, luck.late[span])
        if luck.tries.size:
            return self._draw_retries(tick, ours, fail, luck.tries[span])
        mine = fail[ours]
        sessions, all_sessions = mine.size, fail.size
        bad = int(np.count_nonzero(mine < self._candidate[tick]))
        common = self._stable[tick]
        other = int(np.count_nonzero(fail < common) - np.count_nonzero(mine < common))
        slow_c = slow_s = NONE_MS
        if luck.slow_ms.size:
            slow = luck.slow_ms[span] * self._drift[tick]
            slow_c, slow_s = slow[ours] * self._slower[tick], slow[~ours]
        rest = all_sessions - sessions
        candidate = Counts(sessions, bad, sessions, bad, slow_c)
        return Tick(candidate, Counts(rest, other, rest, other, slow_s), sessions, bad)

    def _draw_whole(self, tick: int) -> Tick:
        """All of the window's requests on the candidate, as counts alone."""
        number = self._arrivals[tick]
        random = np.random.default_rng((*self._key, 4, tick))
        bad = int(random.binomial(number, self._candidate[tick]))
        return Tick(Counts(number, bad, number, bad), Counts(), number, bad)

    def _draw_retries(self, tick: int, ours: Flags, fail: Floats, tries: Floats) -> Tick:
        """Each failed session is as many requests as it tried, all failed."""
        arms = []
        for who, rate in ((ours, self._candidate[tick]), (~ours, self._stable[tick])):
            sessions = int(np.count_nonzero(who))
            failed = who & (fail < rate)
            bad, errors = int(np.count_nonzero(failed)), int(tries[failed].sum())
            arms.append(Counts(sessions - bad + errors, errors, sessions, bad))
        return Tick(arms[0], arms[1], arms[0].requests, arms[0].errors)

    def _draw_late(self, tick: int, ours: Flags, fail: Floats, luck: Floats) -> Tick:
        """What arrived in time; errors are late more often."""
        arms, truth = [], []
        for who, rate in ((ours, self._candidate[tick]), (~ours, self._stable[tick])):
            bad = fail < rate
            there = who & (luck >= np.where(bad, LATE_ERRORS, 1.0) * self.world.late)
            seen, errors = int(np.count_nonzero(there)), int(np.count_nonzero(there & bad))
            truth.append((int(np.count_nonzero(who)), int(np.count_nonzero(who & bad))))
            arms.append(Counts(seen, errors, seen, errors))
        missing = sum(whole[0] - arm.requests for whole, arm in zip(truth, arms, strict=True))
        errors = sum(whole[1] - arm.errors for whole, arm in zip(truth, arms, strict=True))
        return Tick(arms[0], arms[1], *truth[0], missing, errors)

    def day_before(self) -> list[EndpointMinute]:
        """The endpoint's minutes of the day before the release, up to the hour that `past` has."""
        random = np.random.default_rng((*self._key, 3))
        at: Floats = np.arange(-DAY_S, -PAST_S, MINUTE_S) + MINUTE_S / 2
        wave, common = self._tides(at)
        common += self._bursts(random, at)
        sessions = random.poisson(self.world.per_second * MINUTE_S * wave)
        failed = random.binomial(sessions, self._per_session(common))
        errors = self._retried(random, failed)
        return [
            EndpointMinute(float(middle - 30), float(middle + 30), int(number), int(bad))
            for middle, number, bad in zip(at, sessions - failed + errors, errors, strict=True)
        ]

    def _retried(self, random: np.random.Generator, failed: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many requests failed sessions are, with their retries where the world has them."""
        if not self.world.retries:
            return failed
        more = random.negative_binomial(np.maximum(failed, 1), 1 / TRIES)
        return failed + np.where(failed > 0, more, 0)

    def past(self) -> list[Window]:
        """The hour before the release, all of it the stable version's."""
        arrivals, common, drift = self._past
        random = np.random.default_rng((*self._key, 2))
        sessions = random.multinomial(arrivals, [1 / REPLICAS] * REPLICAS)
        failed = random.binomial(sessions, self._per_session(common)[:, None])
        errors = self._retried(random, failed)
        requests = sessions - failed + errors
        first_slow = len(arrivals) - int(SLOW_PAST_S / TICK_S)
        found = []
        for place in range(len(arrivals)):
            slow = NONE_MS
            if self.world.latencies and place >= first_slow:
                luck = random.standard_normal(int(arrivals[place]))
                slow = MEDIAN_MS * drift[place] * np.exp(SIGMA * luck)
            stable = Counts(
                int(requests[place].sum()),
                int(errors[place].sum()),
                int(sessions[place].sum()),
                int(failed[place].sum()),
                slow,
            )
            start = (place - len(arrivals)) * TICK_S
            each = tuple(zip(requests[place].tolist(), errors[place].tolist(), strict=True))
            found.append(Window(start, start + TICK_S, 0.0, Counts(), stable, 0, each))
        return found
