"""`headgate backtest`: what one or two policies would have done with what was counted before.

The store's last releases are judged anew on their own blocks, and stable's counts in them are split
at random: into a version that is as stable is, and into versions with a harm put in on purpose. See
`policies.backtest` for what that can tell, and what not.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from controller.console.reading import ReadingError
from controller.console.waiting import Progress, unseen
from controller.record.store import Store
from controller.settings import Configuration, SettingsError, load
from policies.backtest import End, Ending, Policy, relive, replay
from policies.criteria import criteria
from policies.evidence import Arm, Block, Measure, Pair
from policies.guards import LATENCY, measures
from policies.rollout import WHOLE
from policies.splitting import HARMS, Draw, Harm, binomial, split, worsened
from states.release import Release
from states.spec import Spec

LIMITS = (
    "what was rejected, or not logged, was not counted; bursts and drift are kept as they were",
    (
        "a split has stable's requests alone, fewer than the endpoint's while a candidate had its "
        "share, so that it climbs more slowly than a release would; each guard's counts are split "
        "by themselves; a record that ends goes on from its beginning"
    ),
    (
        "a slower answer is moved up by whole edges, never by more than the factor: true slowness "
        "of that factor is found at least as often"
    ),
)


class NothingStored(ReadingError):  # noqa: N818 - it names a condition
    """The store has no block to replay."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of many splits with one harm, under one policy."""

    application: str
    policy: str
    harm: str
    trials: int
    closed: int
    """Of them, the gate was closed: a false alarm, where there is no harm."""
    opened: int
    """All the way up: a miss, where there is one."""
    undecided: int
    seconds: float | None
    """Median time until the gate was closed; None where it never was."""
    exposed: float | None
    """Median number of requests that the candidate answered until then."""


@dataclass(frozen=True, kw_only=True)
class Relived:
    """What a policy would have said of a past release."""

    application: str
    policy: str
    release: str
    attempt: int
    state: str
    """What it came to."""
    end: str
    guard: str
    weight: int
    seconds: float
    exposed: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole backtest."""

    seed: int
    relived: tuple[Relived, ...]
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]
    """What could not be tried, and why."""

    def as_json(self) -> dict[str, Any]:
        """The same as `--json` prints it."""
        return {"schema": 1, **asdict(self), "limits": list(LIMITS)}


@dataclass
class Backtest:
    """One or two configurations, and a store's blocks."""

    policies: dict[str, Configuration]
    """By their file."""
    seed: int
    number: int
    """Splits for each harm and policy."""
    progress: Progress = unseen

    def run(self, store: Store) -> Report:
        """Replay all that the store has of the configured applications."""
        relived: list[Relived] = []
        trials: list[Trial] = []
        notes: list[str] = []
        names = sorted({name for one in self.policies.values() for name in one.applications})
        stored = {name: _releases(store, name) for name in names}
        if not any(stored.values()):
            raise NothingStored(
                f"the store has no counts of {', '.join(names)} yet: run a release to Canary "
                "first, or name the store of one with --store"
            )
        for name, releases in stored.items():
            if not releases:
                notes.append(f"{name}: no release of it was counted yet")
                continue
            for label, configuration in self.policies.items():
                settings = configuration.applications.get(name)
                if settings is None:
                    notes.append(f"{label} does not configure {name}")
                    continue
                spec = settings.spec()
                relived += [_relived(name, label, spec, one) for one in releases]
                notes += _unjudgeable(name, label, spec, releases)
                found, why = self._splits(name, label, spec, releases)
                trials += found
                notes += why
        return Report(
            seed=self.seed,
            relived=tuple(relived),
            trials=tuple(trials),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _splits(
        self, name: str, label: str, spec: Spec, releases: Sequence[Release]
    ) -> tuple[list[Trial], list[str]]:
        """Every harm on stable's counts; what cannot be tried is said."""
        tracks = [(one, _of_stable(one)) for one in releases]
        tracks = [(one, blocks) for one, blocks in tracks if blocks]
        if spec.rollout.steps[0] >= WHOLE or not tracks:
            return [], [f"{name}, {label}: there is nothing to split: no step compares"]
        found: list[Trial] = []
        notes: list[str] = []
        for harm in HARMS:
            fit = [track for track in tracks if _applies(harm, *track, spec)]
            if not fit:
                notes.append(f"{name}, {label}: {harm.name} is not tried: {_why_not(harm)}")
                continue
            self.progress(f"{name}, {label}: {self.number} splits with {harm.name}")
            # One seed for each harm, whatever the policy: both meet the same chance.
            chance = random.Random(f"{self.seed} {name} {harm.name}")  # noqa: S311 - no secret
            ends = [
                _tried(spec, *fit[index % len(fit)], harm, chance) for index in range(self.number)
            ]
            found.append(_trial(name, label, harm, ends))
        return found, notes


def backtest(  # noqa: PLR0913 - its options
    config: Path,
    against: Path | None,
    store: str,
    progress: Progress = unseen,
    *,
    seed: int,
    number: int,
) -> Report:
    """Read configurations and store, and replay."""
    paths = [path for path in (config, against) if path is not None]
    names = [path.name for path in paths]
    if len({path.resolve() for path in paths}) < len(paths):
        raise SettingsError(f"{against}: is the same file as --config; name another policy")
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    policies = {label: load(path) for label, path in zip(labels, paths, strict=True)}
    opened = Store(store, create=False)
    try:
        return Backtest(policies, seed, number, progress).run(opened)
    finally:
        opened.close()


def _releases(store: Store, name: str) -> list[Release]:
    """The application's counted releases, oldest first, of those that the store still loads."""
    found = store.load(name).application.releases
    return [one for one in found if one.blocks and one.pinned is not None]


def _of_stable(release: Release) -> list[Block]:
    return [one for one in release.blocks if one.stable.requests]


def _policy(spec: Spec, release: Release) -> Policy:
    """The configured policy with what the release's counts were taken by."""
    lag = release.history.lag if release.history else None
    judged = criteria(
        spec.guards, _fitting(spec, release), release.history, release.sources, release.dispersion
    )
    return Policy(rollout=spec.rollout, criteria=judged, lag=lag or timedelta())


def _fitting(spec: Spec, release: Release) -> dict[str, Measure]:
    """The release's measures without one that lacks an edge which this policy would judge by.

    On its own steps, where counts are split, and on the release's, where it is judged anew.
    """
    steps = (*spec.rollout.steps, *_weights(release).values())
    wanted = measures(spec.guards, release.history, steps)
    kept = dict(release.measures)
    if LATENCY in kept:
        needed = set(wanted[LATENCY].edges) if LATENCY in wanted else set()
        if not needed <= set(kept[LATENCY].edges):
            del kept[LATENCY]
    return kept


def _unjudgeable(name: str, label: str, spec: Spec, releases: Sequence[Release]) -> list[str]:
    """Why some guards of a policy are silent."""
    lacking = [
        one.key
        for one in releases
        if LATENCY in one.measures and LATENCY not in _fitting(spec, one)
    ]
    if not lacking:
        return []
    where = ", ".join(dict.fromkeys(lacking))
    told = (
        f"{name}, {label}: latency in {where}: it was counted at the edges of another margin or "
        "limit, and between two edges nothing is known"
    )
    return [told]


def _relived(name: str, label: str, spec: Spec, release: Release) -> Relived:
    policy, weights = _policy(spec, release), _weights(release)
    ending = relive(policy, release.blocks, weights, release.before_whole)
    return Relived(
        application=name,
        policy=label,
        release=release.key,
        attempt=release.attempt,
        state=release.state.value,
        end=ending.end.value,
        guard=ending.guard,
        weight=ending.weight,
        seconds=ending.time.total_seconds(),
        exposed=ending.exposed,
    )


def _weights(release: Release) -> dict[int, int]:
    """What each of the release's steps gave to the candidate, in percent."""
    steps = range(1, len(release.steps) + 1)
    return {step: release.plan.rollout.weight(step) for step in steps}


def _applies(harm: Harm, release: Release, blocks: Sequence[Block], spec: Spec) -> bool:
    if harm.slower > 1:
        return LATENCY in {one.guard for one in _policy(spec, release).criteria}
    return harm.times <= 1 or any(one.stable.errors for one in blocks)


def _why_not(harm: Harm) -> str:
    if harm.slower > 1:
        return "no counts of latency are stored that this policy can judge"
    return "stable had no error to multiply"


def _tried(
    spec: Spec, release: Release, blocks: Sequence[Block], harm: Harm, chance: random.Random
) -> Ending:
    """One split, from a random moment of the record on."""
    measure = release.measures.get(LATENCY)
    edges = measure.edges if measure else ()

    def draw(number: int, share: float) -> int:
        return binomial(number, share, chance.random())

    arms = partial(_arms, harm, edges, draw)
    return replay(_policy(spec, release), blocks, chance.randrange(len(blocks)), arms)


def _arms(harm: Harm, edges: Sequence[float], draw: Draw, stable: Arm, weight: int) -> Pair:
    candidate, rest = split(stable, weight, draw)
    return worsened(candidate, harm, stable.rate, edges, draw), rest


def _trial(name: str, label: str, harm: Harm, ends: Sequence[Ending]) -> Trial:
    closed = [one for one in ends if one.end is End.CLOSED]
    counted = {end: sum(one.end is end for one in ends) for end in End}
    return Trial(
        application=name,
        policy=label,
        harm=harm.name,
        trials=len(ends),
        closed=counted[End.CLOSED],
        opened=counted[End.OPENED],
        undecided=counted[End.UNDECIDED],
        seconds=statistics.median(one.time.total_seconds() for one in closed) if closed else None,
        exposed=statistics.median(one.exposed for one in closed) if closed else None,
    )
