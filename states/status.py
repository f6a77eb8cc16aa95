"""What operators read of a release: one flat object, the same from the store and from the log."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from states.desired import desired
from states.judging import deciding_sources
from states.machine import State
from states.release import Application, Order, Release
from states.way_back import rollback
from states.world import Serving

SCHEMA = 1
LATER = ("ask", "rollback", "earliest", "evidence_span")
"""Fields that the first lines of schema 1 did not have."""


class Status(TypedDict):
    """One release's condition. Three fields tell it: state, settled, hold; the rest explains."""

    schema: int
    application: str
    release: str
    version: str
    attempt: int
    state: str
    settled: bool
    order: str
    hold: str | None
    step: int
    steps: list[int]
    weight: int
    weight_seen: int | None
    stable: str | None
    because: str
    since: str
    next: str | None
    needs_person: bool
    ask: str | None
    """What `headgate approve` would let it past."""
    rollback: str | None
    """`ready`, or `blocked` with why; null where nobody is to be taken back."""
    earliest: str | None
    """Before this time what is `next` does not come, however good the evidence."""
    evidence_span: int | None
    """The stretch of evidence (a block's `span`) that what is `next` is judged by; 0: none yet;
    null: an earlier Headgate wrote it, which told nothing of `LATER` either."""


def status(application: Application, release: Release) -> Status:
    """The status object of one release, as `status --json` and every release line carry it."""
    hold = _hold(application, release)
    return Status(
        schema=SCHEMA,
        application=application.name,
        release=release.key,
        version=release.version,
        attempt=release.attempt,
        state=release.state.value,
        settled=release.settled,
        order=release.order.value,
        hold=hold,
        step=release.step,
        steps=list(release.steps),
        weight=_weight(application, release),
        weight_seen=_weight_seen(application, release),
        stable=application.stable,
        because=release.because,
        since=rfc3339(release.since),
        next=_next(release, hold),
        needs_person=release.needs_person or (hold is not None and hold == application.hold),
        ask=release.ask,
        rollback=rollback(application, release),
        earliest=_earliest(release, hold),
        evidence_span=release.spans[-1].number if release.spans else 0,
    )


def seen_in_words(told: Status, *, changed: bool = False) -> str:
    """The share of users that it was seen to have; before, where that may be otherwise by now.

    `changed`: others changed what it has, and so it was seen at the last look.
    """
    seen = told["weight_seen"]
    if seen is None:
        return ""
    return f", seen {seen} %" if told["settled"] or changed else f", seen {seen} % before"


def weights_seen(application: Application) -> dict[str, int] | None:
    """What each version of the model was last seen to have, where users are not as wanted.

    In percent. Others changed it, or a change of ours is on its way. None: they are as wanted, or
    nothing was seen.
    """
    change, wanted = application.change, desired(application)
    if change is not None and change.moved:
        return _by_version(application, change.serving or Serving())
    if wanted is None or application.seen is None:
        return None
    seen, due = (_by_version(application, one) for one in (application.seen, wanted))
    return None if _users(seen) == _users(due) else seen


def last_seen(weights: Mapping[str, int], version: str, settled: int | None) -> int | None:
    """A version's share by `weights_seen`; `settled`: its share as it was seen when it settled.

    None: it has none, and has never been seen on the endpoint.
    """
    return weights.get(version, None if settled is None else 0)


def _weight_seen(application: Application, release: Release) -> int | None:
    weights = weights_seen(application)
    if weights is None or application.newest(release.version) != release:
        return release.weight_seen
    return last_seen(weights, release.version, release.weight_seen)


def _by_version(application: Application, serving: Serving) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, one in sorted(serving.shares.items()):
        if one.model == application.spec.model:
            found[one.version] = found.get(one.version, 0) + one.weight
    return found


def _users(weights: Mapping[str, int]) -> dict[str, int]:
    return {version: weight for version, weight in weights.items() if weight}


def _hold(application: Application, release: Release) -> str | None:
    """Why it does not go on.

    A change by others comes first, on the release that it is told with: it waits for an answer,
    whatever else the release waits for.
    """
    if application.change is not None and release == application.foremost:
        return application.hold
    return release.hold or (application.hold if shown(application, release) else None)


def shown(application: Application, release: Release) -> bool:
    """What `status` shows when nothing is selected.

    Stable, live, serving without proof, or held before it began until a person acts.
    """
    asks = release.state is State.REGISTERED and release.needs_person
    named = release.version in (application.stable, application.unproven)
    return release.live or asks or (named and application.newest(release.version) == release)


def rfc3339(moment: datetime) -> str:
    """A UTC time with microseconds and a Z, so that times sort as text."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _weight(application: Application, release: Release) -> int:
    live = application.live
    if application.newest(application.incumbent) == release and live != release:
        return 100 - (live.weight if live else 0)
    return release.weight


NEXT = {
    State.REGISTERED: "admission, once nothing else is live on the endpoint",
    State.PROVISIONING: "golden queries, once the served entity is ready",
    State.PRODUCTION: "confirmed, once the watch has ended",
    State.ROLLED_BACK: "home, once the endpoint was seen without it",
}
ON_STAGING = "its place on the endpoint, once its golden queries pass on the staging endpoint"


def _next(release: Release, hold: str | None) -> str | None:
    """What comes by itself, and on what it waits; nothing while held or at rest."""
    if hold is not None or not (release.live or release.state is State.REGISTERED):
        return None
    if release.order is Order.ABORT and release.state is not State.ROLLED_BACK:
        return "home, at the next look"
    if release.order is Order.PAUSE and release.state is not State.ROLLED_BACK:
        return "waits for `headgate resume`"
    match release.state:
        case State.TESTING:
            return f"{_weight_of(release, 1)} % of users, once {_tests(release)}"
        case State.CANARY:
            return _next_step(release)
        case _:
            return ON_STAGING if release.on_staging else NEXT[release.state]


def _earliest(release: Release, hold: str | None) -> str | None:
    """When the stay on a step, the bake or the watch is over; None while nothing runs to its end.

    What the counting source tells is late, so that what is `next` comes a while after that. It
    rests on what the log tells of too, so that both say the same.
    """
    stays = release.state in (State.CANARY, State.PRODUCTION) and release.live and release.settled
    if hold is not None or release.order is not Order.RUN or release.shut or not stays:
        return None
    rollout, begun = release.plan.rollout, _settled_at(release)
    if begun is None:
        return None
    watched = release.state is State.PRODUCTION
    if not watched and not release.baking:
        return rfc3339(max(begun, begun - rollout.settle + rollout.min_step))
    if deciding_sources(release) and not (release.baking and release.plan.proven):
        # They are to have spoken of the whole of it.
        begun = release.spans[-1].starts_at
    elif not watched:
        begun -= rollout.settle
    return rfc3339(begun + (rollout.watch if watched else rollout.bake))


def _settled_at(release: Release) -> datetime | None:
    """From when on what is counted is of what settled last; a cut of the evidence changes nothing.

    None of a release that an earlier Headgate wrote down without it.
    """
    begun = None
    for span in reversed(release.spans):
        if not span.settled or span.starts_at < release.since:
            break
        begun = span.starts_at
    return begun


def _tests(release: Release) -> str:
    """What a release in Testing has still to go through."""
    planned, seen = release.pinned and release.pinned.replay, release.replay
    if planned is None or (seen is not None and seen.outcome is not None):
        return "the golden queries pass"
    if seen is None:
        return "the golden queries and the replay pass"
    if seen.drawn is None:
        return "recorded requests were replayed"
    return f"recorded requests were replayed ({seen.asked:,} of {seen.drawn:,} so far)"


def _next_step(release: Release) -> str:
    if release.shut:
        return "reopens, once the counts by version have arrived and blame nobody"
    if release.baking:
        return "the alias, once the bake has ended"
    return f"{_weight_of(release, release.step + 1)} % of users, once shown to be no worse"


def _weight_of(release: Release, step: int) -> int:
    return release.plan.rollout.weight(step)
