"""What must hold after every look, whatever happened outside."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from policies.calendar import frozen
from policies.judge import no_worse
from policies.verdict import Outcome
from states.desired import closed, desired, desired_alias, exposure
from states.gates import overridden
from states.home import STALE_FOR
from states.judging import guards_of, harm_of, suspected
from states.machine import State, Trigger
from states.plan import Event, MoveAlias, Plan, RemoveStaging, Serve
from states.release import Application, Order, Release
from states.status import shown, status
from states.world import Endpoint, Serving, World
from tests.states.story import START

RISING = (State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION)


def check(before: Application, world: World, plan: Plan) -> None:
    """Every promise that one look can break."""
    after = plan.application
    _traffic_is_whole(after, plan)
    _one_live(after, plan)
    _ends_are_ends(before, after)
    _exposure_is_earned(before, world, plan)
    _people_are_heard(before, world, plan)
    _no_way_up_after_the_way_back(after, world, plan)
    _alias_last(after, world, plan)
    _settled_means_seen(after, world, plan)
    _harm_closes(before, world, after)
    _holds_hold(after, world, plan)
    _moves_rest_on_what_is_there(before, world, plan)
    _few_repairs(before, world, plan)
    _strangers_are_noticed(before, world, plan)
    _deletes_its_own(world, plan)
    _tells(after)


def check_steady(before: World, first: Plan, after: World, second: Plan) -> None:
    """No hold is set and freed at every look at one and the same world: it would flood the log."""
    if _lasting(before) != _lasting(after):
        return
    again = [one for one in _holds_told(first) if one in _holds_told(second)]
    assert not again, f"told at two looks in a row, and nothing had changed: {again}"


def _lasting(world: World) -> World:
    """What is there, without what every look brings anew: the time, and what was counted in it."""
    brought: dict[str, Any] = {"now": START, "evidence": None, "minutes": (), "replay": None}
    return replace(world, **brought)


def _holds_told(plan: Plan) -> list[tuple[str, object, str]]:
    """What was told of holds that its own look left so: a move ends them, and is told itself."""
    told: list[tuple[str, object, str]] = []
    for one in plan.events:
        if one.name == "release.transition":
            told = [line for line in told if line[1] != one.release]
        elif one.name in ("release.held", "release.freed"):
            told.append((one.name, one.release, one.because))
    return told


def _traffic_is_whole(after: Application, plan: Plan) -> None:
    wanted = desired(after)
    if wanted is not None:
        assert sum(one.weight for one in wanted.shares.values()) == 100, wanted
        assert all(0 <= one.weight <= 100 for one in wanted.shares.values()), wanted
    known = {one.version for one in after.releases}
    known |= {one.version for one in after.carried.shares.values()}
    for call in plan.calls:
        if isinstance(call, Serve):
            if after.change is not None:
                continue  # what is sent beside a change by others has that change in it
            assert call.serving == wanted, "what is sent is what is written down"
            assert {one.version for one in call.serving.shares.values()} <= known
    if wanted is not None and after.live is None:
        serving = {one.version for one in wanted.shares.values() if one.weight}
        assert serving == {after.incumbent}, "waiting and ended releases want nothing"


def _one_live(after: Application, plan: Plan) -> None:
    assert sum(one.live for one in after.releases) <= 1
    kinds = [call.kind for call in plan.calls]
    assert len(kinds) == len(set(kinds)), kinds


def _replayed_if_asked(live: Release) -> None:
    assert live.pinned is not None
    if live.pinned.replay is None:
        return
    assert live.replay is not None, "no user comes before what is recorded was replayed"
    compares = live.steps != (100,)
    passed = live.replay.outcome is Outcome.PASS
    assert passed or (compares and live.replay.outcome is Outcome.INSUFFICIENT)


def _ends_are_ends(before: Application, after: Application) -> None:
    for old in before.releases:
        new = _same(after, old)
        assert new is not None, "no release is forgotten"
        if old.state is State.RETIRED or (old.state is State.ROLLED_BACK and old.settled):
            assert (new.state, new.settled) == (old.state, old.settled), new.key
        if old.confirmed:
            assert new.state in (State.PRODUCTION, State.RETIRED), new.key
            assert new.confirmed
        assert new.step <= old.step + 1, f"{old.key} jumped from {old.step} to {new.step}"
        assert new.order is old.order, "orders are the operator's"
        assert new.words == old.words, "words are the operator's"


def _exposure_is_earned(before: Application, world: World, plan: Plan) -> None:
    after, live = plan.application, plan.application.live
    old = _same(before, live) if live is not None else None
    if live is None or old is None or live.state is State.ROLLED_BACK:
        return
    rose = _share(after, live) > _share(before, old)
    if not rose or (old.state is State.REGISTERED and live.pinned and not live.pinned.incumbent):
        return  # a first release has everybody from creation, before anyone knows the endpoint
    assert live.order is Order.RUN, "a paused release does not rise"
    assert after.hold is None, "nothing rises on an endpoint that is held"
    assert live.hold is None, "a held release does not rise"
    if old.on_staging:
        assert not live.on_staging, "what is tested on staging is nowhere else"
        return  # a first release has everybody from creation, as soon as it has passed there
    assert isinstance(world.endpoint, Endpoint), "nothing rises unseen"
    assert after.entity(live.version) in world.endpoint.ready, "no weight on what is not ready"
    alone = live.pinned is not None and (live.pinned.incumbent is None or live.pinned.proven)
    assert not world.endpoint.fallback or alone, "nothing rises with errors hidden"
    free = live.ordered == "undo" or overridden(old)
    assert free or frozen(after.spec.admission.freezes, world.now) is None, "it is frozen"
    if live.state is State.PRODUCTION:
        assert old.baking, "who was held back comes after the bake"
        assert old.weight < 100
        return
    assert live.state is State.CANARY
    if old.state is State.TESTING:
        assert live.step == 1
        assert overridden(old) or not live.rounds[-1].candidate_failed
        if not overridden(old):
            _replayed_if_asked(live)
    elif old.shut:
        assert live.step == old.step, "what was shut reopens where it was"
    elif not overridden(old):  # where a person takes the place of proof, it is for this one step
        _shown_here(old, live)


def _shown_here(old: Release, live: Release) -> None:
    """A step was left because every deciding guard had shown safety on it alone."""
    span = [one for one in live.blocks if one.span == old.spans[-1].number and one.comparable]
    assert not suspected(live), "nothing opens while harm is more likely than not"
    for guard in guards_of(old):
        if guard.observe:
            continue
        verdict = no_worse(guard, tuple(span), weight=old.weight, pace=None)
        assert verdict.outcome is Outcome.PASS, "a step is left only by proof of its own"
        told = live.verdicts[guard.guard]
        assert told == f"PASS at step {old.step}", "the proof was journalled"


def _people_are_heard(before: Application, world: World, plan: Plan) -> None:
    """What a person was to be asked did not go on without their word, nor a held version at all."""
    forward = (Trigger.ADMIT, Trigger.OPEN, Trigger.STEP, Trigger.PROMOTE)
    for event in plan.events:
        release, trigger = _told(plan.application, event), event.fields.get("trigger")
        old = _same(before, release) if release is not None else None
        if release is None or old is None or trigger not in forward:
            continue
        assert not release.signs.hold, "a version that is tagged to be held does not go on"
        point = "before_canary" if trigger == Trigger.OPEN else None
        point = "before_production" if trigger == Trigger.PROMOTE else point
        if release.pinned is not None and release.pinned.approval == point:
            baked = f"production, after the bake of span {len(old.spans)}"
            asked = "the first users" if trigger == Trigger.OPEN else baked
            said = [one for one in old.words if (one.verb, one.finding) == ("approve", asked)]
            assert said or release.signs.counting, "nobody approved it"
        if trigger == Trigger.ADMIT and old.ordered != "undo" and not overridden(old):
            assert frozen(before.spec.admission.freezes, world.now) is None


def _no_way_up_after_the_way_back(after: Application, world: World, plan: Plan) -> None:
    serving = world.endpoint.serving if isinstance(world.endpoint, Endpoint) else Serving()
    for call in plan.calls:
        if isinstance(call, Serve):
            for one in after.releases:
                if one.state is State.ROLLED_BACK and after.newest(one.version) == one:
                    weight = call.serving.weight(after.entity(one.version))
                    there = serving.weight(after.entity(one.version))
                    theirs = after.change is not None and weight == there
                    assert weight == 0 or one.version == after.incumbent or theirs, one.key


def _alias_last(after: Application, world: World, plan: Plan) -> None:
    live = after.live
    for call in plan.calls:
        if isinstance(call, MoveAlias) and call.version != after.stable:
            assert live is not None
            assert (live.state, live.version) == (State.PRODUCTION, call.version)
            assert isinstance(world.endpoint, Endpoint)
            weight = world.endpoint.serving.weight(after.entity(call.version))
            assert weight == 100, "the alias waits for the traffic"


def _settled_means_seen(after: Application, world: World, plan: Plan) -> None:
    for event in plan.events:
        release = _told(after, event)
        if event.name != "release.settled" or release is None:
            continue
        endpoint = world.endpoint
        entity = after.entity(release.version)
        if isinstance(endpoint, Endpoint):
            assert not endpoint.updating
        if release.state is State.PRODUCTION:
            assert isinstance(endpoint, Endpoint)
            assert endpoint.serving.weight(entity) == 100
            assert world.alias == release.version
        elif release.state is State.ROLLED_BACK and release.version != after.incumbent:
            assert not isinstance(endpoint, Endpoint) or endpoint.serving.weight(entity) == 0
            assert desired_alias(after) in (None, world.alias)


def _moves_rest_on_what_is_there(before: Application, world: World, plan: Plan) -> None:
    """Nothing goes up on a stale answer, in the middle of a change, or from anywhere else."""
    for event in plan.events:
        release = _told(plan.application, event)
        up = event.fields.get("trigger") in (Trigger.PROVISIONED, Trigger.STEP, Trigger.PROMOTE)
        if release is None or not up:
            continue
        endpoint = world.endpoint
        assert isinstance(endpoint, Endpoint)
        assert not endpoint.updating
        behind = before.behind or timedelta()
        assert not stale(before, endpoint) or behind + timedelta(minutes=1) >= STALE_FOR
        if event.fields["trigger"] != Trigger.PROVISIONED:
            assert endpoint.serving == desired(before), "a step is taken from the step before it"


def _harm_closes(before: Application, world: World, after: Application) -> None:
    live, endpoint = before.live, world.endpoint
    if live is None or live.state not in (State.CANARY, State.PRODUCTION) or not live.pinned:
        return
    if not isinstance(endpoint, Endpoint) or stale(before, endpoint):
        return
    new = _same(after, live)
    assert new is not None
    if harm_of(new) is not None:
        assert new.state is State.ROLLED_BACK, "neither pause nor hold silences the alarm"


def _holds_hold(after: Application, world: World, plan: Plan) -> None:
    """Nothing of theirs is undone unasked: only users of a version that was closed are moved."""
    if after.change is None:
        return
    for call in plan.calls:
        if isinstance(call, Serve):
            live = after.live
            assert live is not None
            assert live.state is State.ROLLED_BACK or live.shut
            assert isinstance(world.endpoint, Endpoint)
            assert call.serving == closed(after, world.endpoint.serving)
            assert exposure(after, live.version, call.serving) == 0
            for name, share in world.endpoint.serving.shares.items():
                if share.version not in (live.version, after.incumbent):
                    assert call.serving.shares[name] == share, f"{name} is theirs"


def _few_repairs(before: Application, world: World, plan: Plan) -> None:
    """What nobody saw in effect is sent three times in ten minutes, unless it is a way back."""
    live = plan.application.live
    if live is not None and (live.state is State.ROLLED_BACK or live.shut):
        return
    for call in plan.calls:
        mark = "arrived" if call.kind == "serve" else call.kind
        since = plan.application.followed.get(mark, world.now - timedelta(minutes=10))
        start = max(since, world.now - timedelta(minutes=10) + timedelta(microseconds=1))
        same = [
            one for one in before.attempts if (one.kind, one.target) == (call.kind, call.target)
        ]
        # What lies ahead was sent before the clock was set back, and is forgotten.
        assert len([one for one in same if start <= one.at <= world.now]) <= 2, call


def _strangers_are_noticed(before: Application, world: World, plan: Plan) -> None:
    """What is neither wanted, nor left, nor asked for is repaired, held or heeded in this look."""
    after, endpoint = plan.application, world.endpoint
    if not before.adopted or before.seen is None or not isinstance(endpoint, Endpoint):
        return
    if stale(before, endpoint):
        return
    answered = before.answer is not None and before.change is not None
    if before.endpoint_id and endpoint.id not in ("", before.endpoint_id):
        assert after.change or answered, "another endpoint is told of at once"
    asked = {one.target for one in before.attempts} | {before.asked, *before.closings}
    known = (desired(before), before.seen, desired(after))
    if endpoint.serving in known or str(endpoint.serving) in asked:
        return
    sent = any(call.kind == "serve" for call in plan.calls)
    live = after.live
    heeded = live is not None and (live.state is State.ROLLED_BACK or live.shut)
    assert after.change is not None or sent or answered or heeded, "a change by others is told"


def stale(before: Application, endpoint: Endpoint) -> bool:
    """Whether an answer is older than one that was seen before."""
    gone, newest = before.gone, (before.created_ms, before.config_version)
    if gone is not None and gone.created_ms == endpoint.created_ms:
        since = before.followed.get("another")
        asked = any(
            one.kind == "serve" and one.outcome != "refused" and (since is None or one.at > since)
            for one in before.attempts
        )
        late = asked and not before.endpoint_id
        return late or endpoint.config_version < gone.config_version
    return (endpoint.created_ms, endpoint.config_version) < newest


def _deletes_its_own(world: World, plan: Plan) -> None:
    """What is deleted bears our tag, has the id that was recorded, and is wanted by nobody."""
    live, known = plan.application.live, plan.application.staging
    for call in plan.calls:
        if isinstance(call, RemoveStaging):
            seen = world.staging
            assert isinstance(seen, Endpoint)
            assert known is not None
            assert (seen.owner, seen.id) == ("headgate", call.id)
            assert known.ids[seen.made_for] == call.id, "it is the one that was asked for"
            wanted = live is not None and live.on_staging
            assert not wanted or not seen.made_for.startswith(f"{live.key}/{live.attempt}/")  # type: ignore[union-attr]


def _tells(after: Application) -> None:
    told = {one.key: status(after, one) for one in after.releases if shown(after, one)}
    json.dumps([status(after, one) for one in after.releases])
    live = after.live
    if after.stable is not None and live is not None and live.version != after.stable:
        weights = [told[f"{after.name}/{after.stable}"]["weight"], told[live.key]["weight"]]
        assert sum(weights) == 100, weights
    for one in told.values():
        resting = one["state"] in ("RolledBack", "Retired") and one["settled"]
        asleep = one["hold"] is not None or resting or one["next"] is None
        assert asleep or one["next"]


def _told(application: Application, event: Event) -> Release | None:
    found = [one for one in application.releases if (one.version, one.attempt) == event.release]
    return found[0] if found else None


def _same(application: Application, release: Release) -> Release | None:
    mark = (release.version, release.attempt)
    found = [one for one in application.releases if (one.version, one.attempt) == mark]
    return found[0] if found else None


def _share(application: Application, release: Release) -> int:
    wanted = desired(application)
    return wanted.weight(application.entity(release.version)) if wanted else 0
