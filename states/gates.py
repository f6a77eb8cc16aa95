"""What stops a release that is otherwise ready: the calendar, a tag, and whoever has to be asked.

Nothing here stops a way back, and what a person takes back in haste (`undo`) asks nobody.
"""

from dataclasses import dataclass, replace

from policies.admission import HOLD_TAG, approvals, input_change
from policies.calendar import frozen, shut
from policies.rollout import WHOLE
from states.consent import Word
from states.machine import State
from states.release import Release
from states.turn import Turn
from states.world import ModelVersion

FROZEN, OUTSIDE = "frozen", "outside its release windows"
"""How sentences of the calendar begin: such a hold is known by that, also after a restart."""
SHUT = (FROZEN, OUTSIDE)
HELD = f"held by the tag {HOLD_TAG} on its version: it goes on once the tag is taken off"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Why a release waits, whether for a person, and what a person's word may let it past."""

    why: str
    needs_person: bool
    ask: str | None = None
    anew: bool = False
    """It is asked from now on: approvals by tag that were there before are void."""


def hold_at(turn: Turn, release: Release, gate: Gate) -> Release:
    """Hold a release for what stops it."""
    if gate.anew:
        release = turn.put(release, signs=replace(release.signs, void=release.signs.approved))
    return turn.hold(release, gate.why, needs_person=gate.needs_person, ask=gate.ask)


def read_signs(turn: Turn) -> None:
    """Note what the tags of those versions say that are on their way; the unseen say what they did.

    An approval that a version carries when its attempt is first looked at is void for it: tags are
    copied with a version, set by a script at registration, and stay after an attempt that failed,
    so that it may not be about this one. Taken off and set again, it is.
    """
    tags = {one.version: one.tags for one in turn.world.versions or () if one.tags is not None}
    for release in turn.application.releases:
        rising = release.live and release.state is not State.ROLLED_BACK
        if release.version not in tags or not (rising or release.state is State.REGISTERED):
            continue
        seen, before = tags[release.version], release.signs
        approved = approvals(seen)
        void = approved if before.void is None else before.void
        still = tuple(one for one in void if one in approved)
        turn.put(
            release, signs=replace(before, hold=HOLD_TAG in seen, approved=approved, void=still)
        )


def word_on(release: Release, verb: str, finding: str) -> Word | None:
    """A person's word on what is shown now, if one was given."""
    said = [one for one in release.words if (one.verb, one.finding) == (verb, finding)]
    return next((one for one in said if one.override), said[-1] if said else None)


def position(release: Release) -> str:
    """What `promote` is about: an attempt's place on its way, so that it opens no second step.

    Who pauses it has had second thoughts: what was said before is said again, or not. In the watch
    it is about what was asked: another question, after an alarm for instance, is another one.
    """
    shut_now = ", shut" if release.shut else ""
    paused = f", paused {release.pauses} times" if release.pauses else ""
    asked = f": {release.hold}" if release.state is State.PRODUCTION and release.hold else ""
    at = f"{release.state} at step {release.step}"
    return f"{at}, {release.retreats} retreats{shut_now}{paused}{asked}"


def promoted(release: Release) -> Word | None:
    """A person's word to go on from here."""
    return word_on(release, "promote", position(release))


def overridden(release: Release) -> bool:
    """A person said to go on from here whatever is not shown, or holds."""
    word = promoted(release)
    return word is not None and word.override


def admission_gate(turn: Turn, release: Release, version: ModelVersion) -> Gate | None:
    """What keeps an admissible version from beginning now."""
    if release.signs.hold:
        return Gate(why=HELD, needs_person=True)
    if release.ordered == "undo":
        return None
    gate = _input_gate(turn, release, version)
    if gate is not None or overridden(release):
        return gate
    rules = turn.application.spec.admission
    why = shut(rules.windows, rules.freezes, turn.world.now)
    return None if why is None else Gate(why=why, needs_person=False)


def unlooked(turn: Turn, release: Release) -> bool:
    """Stable was not looked at closely at this look: who notices a version does not know of it."""
    stable = _stable(turn)
    return release.ordered != "undo" and stable is not None and stable.tags is None


def _stable(turn: Turn) -> ModelVersion | None:
    name = turn.application.stable
    return next((one for one in turn.world.versions or () if one.version == name), None)


def _input_gate(turn: Turn, release: Release, version: ModelVersion) -> Gate | None:
    """Requests that stable accepts may fail at this version: only a person knows who sends them."""
    stable = _stable(turn)
    if stable is None or stable.tags is None:
        return None
    name = stable.version
    if stable.has_signature is None:
        change = f"the input of stable, version {name}, cannot be read to be compared"
    elif stable.inputs is None or version.inputs is None:
        return None
    else:
        told = input_change(stable.inputs, version.inputs)
        if told is None:
            return None
        change = f"requests for version {name} may fail at it: {told}"
    if word_on(release, "approve", change) is not None:
        return None
    why = f"{change}; `headgate approve {release.key}` lets it begin all the same"
    return Gate(why=why, needs_person=True, ask=change)


def opening_gate(turn: Turn, release: Release) -> Gate | None:
    """What keeps a release that has shown enough from getting more users now."""
    if release.signs.hold:
        return Gate(why=HELD, needs_person=True)
    if release.plan.proven or overridden(release):
        return None
    why = frozen(turn.application.spec.admission.freezes, turn.world.now)
    return None if why is None else Gate(why=why, needs_person=False)


def first_users_gate(turn: Turn, release: Release) -> Gate | None:
    """What keeps a tested version from its first users.

    By tag, an approval counts from the moment that the attempt was registered: who approves a
    version in a deployment job has looked at the version, not at what Headgate waits for.
    """
    gate = opening_gate(turn, release)
    if gate is not None or release.plan.approval != "before_canary":
        return gate
    finding = "the first users"
    if word_on(release, "approve", finding) is not None or release.signs.counting:
        return None
    return _asks(release, finding)


def last_gate(turn: Turn, release: Release) -> Gate | None:
    """What keeps a baked release from the alias.

    An approval is of what users have shown, so a tag counts only if it was set while the question
    stood; another bake, after one that was cut, is asked about anew.
    """
    gate = opening_gate(turn, release) if release.weight < WHOLE else None
    if gate is None and release.signs.hold:
        gate = Gate(why=HELD, needs_person=True)
    if gate is not None or release.plan.approval != "before_production":
        return gate
    finding = f"production, after the bake of span {len(release.spans)}"
    if word_on(release, "approve", finding) is not None:
        return None
    if release.ask == finding and release.signs.counting:
        return None
    return _asks(release, finding, anew=release.ask != finding)


def _asks(release: Release, finding: str, *, anew: bool = False) -> Gate:
    """Ask where no tag counts: whatever approves was set too early."""
    early = release.signs.approved
    told = f"; {', '.join(early)} was set too early to count: take it off and set it again"
    why = (
        f"waits for approval of {finding}: `headgate approve {release.key}`, or a tag approval… "
        f"with the value Approved on its version{told if early else ''}"
    )
    return Gate(why=why, needs_person=True, ask=finding, anew=anew)


def gated(release: Release) -> bool:
    """Held by nothing but what a calendar or a tag says."""
    return (release.hold or "").startswith((FROZEN, HELD))


def by_word(release: Release) -> str:
    """Whose word it is that a release goes on, and that it goes on without proof, where it does."""
    word = promoted(release)
    if word is None:
        return ""
    past = ", past what is not shown and what holds" if word.override else ""
    return f"; promoted by {word.actor}{past}"


def consent(release: Release) -> str:
    """By whom, or by which tag, the last question was answered; for the sentence of a move."""
    if release.pinned is None or release.pinned.approval == "none":
        return ""
    given = [one.actor for one in release.words if one.verb == "approve"]
    by = given[-1] if given else ", ".join(release.signs.counting)
    return f"; approved by {by}" if by else ""
