"""A release's guards, their sources, and what they say of it: the judges' table of one look."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from enum import StrEnum

from policies.criterion import Criterion
from policies.evidence import Block
from policies.fuse import GUARD as FUSE
from policies.fuse import Fuse, Minute, blown
from policies.guards import CAPACITY, ERRORS, LATENCY, LONGER, SHORTER, History, measures
from policies.holds import environment, sample_ratio
from policies.judge import leaning, over_limits, verdict_of
from policies.verdict import RULES, Outcome, Verdict
from states.rejudging import Bench, cramped, unbelieved
from states.release import Application, Release
from states.stand import Stand, stand_of
from states.turn import Turn
from states.world import Endpoint, World

TABLE, METRICS = "inference_table", "metrics"
DAY_S = 86_400
UNPROVABLE = (
    "nothing that decides counted errors by version when it was opened, so that no step can be "
    "opened on proof: `headgate promote --override` opens one, or abort it"
)


def sources(application: Application, endpoint: Endpoint, *, labelled: bool) -> dict[str, str]:
    """The one counting source of each guard that has one, best first.

    Metrics whose labels name the version are a minute old; a configured query is the user's own
    word; the inference table is up to an hour late.
    """
    spec, found = application.spec, dict[str, str]()
    table = TABLE if endpoint.inference_table else None
    queries = application.counted.queries
    brought = {one.counts: one.source for one in queries}
    errors = (METRICS if labelled else None) or brought.get("errors") or table
    latency = brought.get("latency") or table
    for guard, source in ((ERRORS, errors), (LATENCY, latency)):
        if source:
            found[guard] = source
    if table:
        found |= {"answers": table, "tokens": table, CAPACITY: table}
    if table and spec.guards.length is not None:
        found |= {SHORTER: table, LONGER: table}
    return found | {one.name: one.source for one in queries if one.counts == "score"}


def pin_guards(release: Release, found: Mapping[str, str], dispersion: float) -> Release:
    """The release with what is fixed when it opens: sources, and how what they count is counted."""
    counted = measures(release.plan.guards, release.history, release.steps)
    return replace(release, sources=dict(found), measures=counted, dispersion=dispersion)


def guards_of(release: Release) -> tuple[Criterion, ...]:
    """The guards of a release, ready to judge by."""
    return Bench.of(release).criteria


class Pace(StrEnum):
    """What tells how many requests per second the endpoint has."""

    LATELY = "metrics"
    """Over the closed minutes that the metrics were seen to have lately."""
    MINUTES = "minutes"
    """Over the endpoint's minutes that are remembered: up to a day."""
    DAY = "history"
    """Over stable's last day, by the table."""


def paces(
    lately: float | None, minutes: Sequence[Minute], history: History | None
) -> dict[Pace, float]:
    """The endpoint's requests per second, by each that tells of them."""
    told = sum(one.requests for one in minutes) / (60 * len(minutes)) if minutes else None
    day = history.requests / DAY_S if history and history.requests else None
    known = {Pace.LATELY: lately, Pace.MINUTES: told, Pace.DAY: day}
    return {by: pace for by, pace in known.items() if pace is not None}


def pace_by(found: Mapping[Pace, float]) -> Pace | None:
    """What the pace is taken from: the highest of what is known; None where that is nothing.

    A quiet hour, or a day that is not known whole, must not take the steps from a release.
    """
    return max(found, key=found.__getitem__, default=None)


def pace_of(application: Application, world: World, history: History | None) -> float | None:
    """The endpoint's requests per second, as far as anything tells of its last day.

    None where the metrics told nothing: a table may be new, and have little.
    """
    found = paces(world.requests_per_second, application.minutes, history)
    by = pace_by(found)
    return None if by is None or found.keys() == {Pace.DAY} else found[by]


def lag_of(release: Release) -> timedelta:
    """How late the counting source is, as far as stable's last day told."""
    return (release.history and release.history.lag) or timedelta()


def harm_of(release: Release) -> Verdict | None:
    """FAIL on harm, over the whole release; None until then."""
    return verdict_of(stand_of(release).deciding, release.blocks)


def suspected(release: Release) -> bool:
    """Whether harm is more likely than not, so that no step opens until that has gone."""
    return leaning(stand_of(release).deciding)


def suspected_lately(release: Release) -> bool:
    """Whether its last stay alone makes harm more likely than not.

    Long good stays outweigh a short bad one: of a version that errs from the alias on, the whole
    release may still look well when its watch ends.
    """
    fresh = Stand.start(Bench.of(release), release.before_whole)
    return leaning(fresh.on(last_stay(release)).deciding)


def last_stay(release: Release) -> tuple[Block, ...]:
    """What was counted since the last cut of the evidence."""
    number = release.spans[-1].number
    return tuple(block for block in release.blocks if block.span == number)


def over_its_limits(release: Release) -> list[Verdict]:
    """Which hard limits its last stay's counts lie above, proven or not."""
    return over_limits(stand_of(release).deciding, last_stay(release))


def kept_by_limits(release: Release) -> list[Verdict]:
    """The same, where its stay is not over while they do: a stay of minutes may prove little.

    That keeps none that was stable before, and is asked for in haste.
    """
    return [] if release.plan.proven else over_its_limits(release)


def observed_harm(release: Release) -> list[Verdict]:
    """What guards that only observe would have rolled back for, each by itself."""
    found = [verdict_of(one, release.blocks) for one in stand_of(release).observing]
    return [verdict for verdict in found if verdict is not None]


def observed_room(release: Release) -> Verdict | None:
    """FAIL where capacity only observes, and would have held; it is for a compared step to ask."""
    observes = release.plan.guards.capacity.observe
    return cramped(Bench.of(release), release.blocks) if observes else None


def alarm_of(turn: Turn, release: Release) -> Verdict | None:
    """What shuts the gate without blaming anybody: a blind source, or the blown fuse."""
    return blindness(release, turn.world.now) or fuse_of(release)


def blindness(release: Release, now: datetime) -> Verdict | None:
    """BLIND where a source that something waits for is broken; None while all can be believed."""
    return unbelieved(
        release.sources,
        release.blocks,
        release.spans[-1].number,
        _silences(release, now),
        release.plan.max_lag,
    )


def fuse_of(release: Release) -> Verdict | None:
    """FAIL where the endpoint errs more than before the step; None where nothing watches that."""
    if release.fuse is None or release.shut or release.plan.baseline is None:
        return None
    return blown(release.fuse, release.minutes)


def explained(release: Release) -> bool:
    """Whether all that the fuse has seen was told by version already: then it alarms nobody."""
    sources = deciding_sources(release)
    if not sources or not release.minutes:
        return False
    marks = [release.watermarks.get(source) for source in sources]
    # Marks have the record's time, and minutes their own.
    newest = release.minutes[-1].ends_at - release.ahead
    return all(mark is not None and mark >= newest for mark in marks)


def _silences(release: Release, now: datetime) -> dict[str, timedelta]:
    """How long each source that something waits for has told nothing."""
    begun = release.spans[0].starts_at
    return {
        source: now - (release.watermarks.get(source) or begun)
        for source in deciding_sources(release)
    }


def _rests_on(turn: Turn, release: Release, verdict: Verdict) -> dict[str, object]:
    """What an alarm rests on besides blocks: times, or the endpoint's minutes."""
    if verdict.outcome is Outcome.BLIND:
        silences = _silences(release, turn.world.now)
        return {
            "span": release.spans[-1].number,
            "silences": {name: one.total_seconds() for name, one in silences.items()},
            "max_lag": release.plan.max_lag.total_seconds(),
        }
    if verdict.guard == FUSE and release.fuse is not None:
        return {
            "fuse": setting_told(release.fuse),
            "minutes": [
                [one.ends_at.isoformat(), one.requests, one.errors] for one in release.minutes
            ],
        }
    return {}


def setting_told(setting: Fuse) -> dict[str, object]:
    """A fuse's setting as fields of an event."""
    return asdict(setting) | {"set_at": setting.set_at.isoformat()}


def obstacle(release: Release) -> tuple[str, bool] | None:
    """Why the climb waits although nobody is to blame, and whether it waits for a person."""
    if ERRORS not in release.sources or not deciding_sources(release):
        # A person opened it all the same: with nobody to ask, every guard would be content.
        return UNPROVABLE, True
    guards = release.plan.guards
    errors = tuple(one for one in release.blocks if one.source == release.sources.get(ERRORS))
    why = environment(guards.errors, errors)
    if why is not None:
        return why, False
    number = release.spans[-1].number
    why = sample_ratio([one for one in errors if one.span == number], release.weight)
    if why is None and not guards.capacity.observe:
        full = cramped(Bench.of(release), release.blocks)
        why = None if full is None else full.because
    return None if why is None else (why, True)


def deciding_sources(release: Release) -> list[str]:
    """The sources that something waits for."""
    return sorted({one.source for one in guards_of(release) if not one.observe})


def covered(release: Release, stay: timedelta) -> bool:
    """Every deciding source has spoken of the whole stay; where there is none, time must do."""
    end = release.spans[-1].starts_at + stay
    return all(
        (mark := release.watermarks.get(source)) is not None and mark >= end
        for source in deciding_sources(release)
    )


def glimpsed(release: Release) -> bool:
    """Of a bake, every deciding source has told at least as much as any step would need.

    Where there is none, it has lasted as long as a step would have to.
    """
    least = min(release.plan.rollout.min_step, release.plan.rollout.bake)
    return release.on_step >= least and covered(release, least)


def journal(turn: Turn, release: Release, verdict: Verdict, **inputs: object) -> Release:
    """Tell a verdict when it changes or decides; its numbers move at every look.

    `inputs` are what it rests on besides the blocks up to `as_of_block`: enough to derive it again.
    """
    failed = verdict.outcome is Outcome.FAIL
    mark = f"{verdict.outcome} at step {release.step}"
    observed = "observe" in inputs
    key = f"{verdict.guard}, observed" if observed and failed else verdict.guard
    if release.verdicts.get(key) == mark:
        return release
    told = turn.put(release, verdicts={**release.verdicts, key: mark})
    turn.tell(
        "gate.verdict",
        told,
        verdict.because,
        level=("warning" if observed else "error") if failed else "info",
        guard=verdict.guard,
        verdict=verdict.outcome.value,
        as_of_block=len(release.blocks),
        rules=RULES,
        **inputs,
        **_rests_on(turn, release, verdict),
        **verdict.numbers,
    )
    return told
