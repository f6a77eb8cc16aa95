"""One turn of reconciling: the record as it becomes, and what became true on the way.

The record itself is immutable; a turn holds the latest version of it and collects events. It
lives for one call of `reconcile` and knows no time but the world's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from policies.fuse import fuse
from policies.rollout import WHOLE
from states.clock import held_to, shown_by, usual
from states.machine import State, Trigger, advance
from states.plan import Event, Level
from states.release import Application, Order, Release
from states.world import Absent, Endpoint, Serving, World

FREE: Mapping[str, Any] = {"hold": None, "needs_person": False, "ask": None, "held_before": None}
"""What a release has in its record that nothing holds."""
LEVELS: Mapping[State, Level] = {State.ROLLED_BACK: "error"}


@dataclass
class Turn:
    """The application as it becomes in this turn, and the events so far."""

    application: Application
    world: World
    endpoint: Endpoint | None = None
    """The endpoint as trusted in this turn: seen, and not stale."""
    events: list[Event] = field(default_factory=list)
    found: set[tuple[str, int, str]] = field(default_factory=set)
    """What holds an attempt by what this look has shown: its version, its number, and why."""
    version_before: int = field(init=False)
    """The highest configuration version that earlier looks had seen."""

    def __post_init__(self) -> None:
        self.version_before = self.application.config_version

    @property
    def unseen(self) -> bool:
        """Nobody knows, at this look, what the endpoint is."""
        return self.endpoint is None and not isinstance(self.world.endpoint, Absent)

    def set_fuse(self, release: Release, weight: int) -> dict[str, Any]:
        """What a release that opens, or opens further, to that weight gets for a fuse."""
        set_at = shown_by(self.application.minutes, release.ahead, self.world.now)
        setting = fuse(usual(self.application, release.ahead), set_at, weight)
        first = weight >= WHOLE and release.before_whole is None
        kept = held_to(self.application, release, setting) if first else release.before_whole
        return {"fuse": setting, "minutes": (), "before_whole": kept}

    @property
    def shown(self) -> Release | None:
        """The release that news of the endpoint is told with."""
        return self.application.foremost

    def put(self, release: Release, **changes: Any) -> Release:  # noqa: ANN401 - of any field
        """Write changes of a release into the record."""
        changed = replace(release, **changes)
        self.application = self.application.with_release(changed)
        return changed

    def record(self, **changes: Any) -> None:  # noqa: ANN401 - of any field
        """Write changes of the application itself into the record."""
        self.application = replace(self.application, **changes)

    def tell(
        self,
        name: str,
        release: Release | None,
        because: str,
        *,
        level: Level = "info",
        **fields: object,
    ) -> None:
        """Add an event."""
        key = (release.version, release.attempt) if release else None
        self.events.append(
            Event(name=name, release=key, level=level, because=because, fields=fields)
        )

    def move(self, release: Release, trigger: Trigger, because: str, **changes: Any) -> Release:  # noqa: ANN401
        """Take an arrow of the state machine, and say why."""
        before = release.state
        after = advance(before, trigger)
        started = {"in_state": timedelta()} if after is not before else {}
        cleared = {**FREE, "on_step": timedelta()}
        cleared["undecided"] = timedelta()
        cleared["tagged"] = False
        settled = {"settled": after is State.RETIRED, "since": self.world.now}
        moved = self.put(
            release,
            **{"state": after, "because": because} | started | cleared | settled | changes,
        )
        self.tell(
            "release.transition",
            moved,
            because,
            level=LEVELS.get(after, "info"),
            from_state=before.value,
            to_state=after.value,
            trigger=trigger.value,
        )
        return moved

    def settle(self, release: Release, because: str, **changes: Any) -> Release:  # noqa: ANN401
        """Note that the world was observed to be what the state wants."""
        assert not self.unseen, "nothing settles unseen"
        serving = self.endpoint.serving if self.endpoint is not None else Serving()
        seen = serving.weight(self.application.entity(release.version))
        # What a slow look saw at its end may have come true only then: no stay begins before that.
        stay = release.on_step - self.world.took
        settled = self.put(release, settled=True, weight_seen=seen, on_step=stay, **changes)
        self.tell("release.settled", settled, because)
        return settled

    def hold(  # noqa: PLR0913 - a hold has this many parts
        self,
        release: Release,
        why: str,
        *,
        needs_person: bool = False,
        level: Level = "warning",
        recounted: bool = False,
        ask: str | None = None,
    ) -> Release:
        """Stop going on, and say why; the same hold is told once.

        `ask`: what a person's word may let it past. `recounted`: it is the same with other numbers
        too, and keeps those that were told: the record never says what the log does not.
        """
        before = release.hold or ""
        same = before == why or (recounted and wording(before) == wording(why))
        self.found.add((release.version, release.attempt, before if same else why))
        if same and (release.needs_person, release.ask) == (needs_person, ask):
            return release
        held = self.put(release, **{**FREE, "hold": why, "needs_person": needs_person, "ask": ask})
        self.tell("release.held", held, why, level=level)
        return held

    def free(self, release: Release) -> Release:
        """Go on by itself again, unless it was found at this look that what holds it is so.

        One part would set a hold, and another free it, at every look from then on.
        """
        if release.hold is None or self.stands(release):
            return release
        freed = self.put(release, **FREE)
        self.tell("release.freed", freed, f"no longer: {release.hold}")
        return freed

    def stands(self, release: Release) -> bool:
        """It was found at this look that what holds it is so."""
        return (release.version, release.attempt, release.hold) in self.found

    def hold_application(
        self, why: str, event: str = "endpoint.foreign_change", **fields: object
    ) -> None:
        """Stop on the endpoint as a whole until a person or the world has put it right."""
        if self.application.hold == why:
            return
        self.record(hold=why)
        self.tell(event, self.shown, why, level="warning", **fields)

    def free_application(self, because: str | None = None) -> None:
        """The endpoint is again as it should be, or a person has said what it should be."""
        if self.application.hold is None:
            return
        why = because or f"no longer: {self.application.hold}"
        self.record(hold=None)
        self.tell("release.freed", self.shown, why)

    def may_advance(self, release: Release) -> bool:
        """Exposure may rise: nobody paused it, nothing holds it, and its version exists."""
        held = release.hold is not None or self.application.hold is not None or release.unlisted
        return release.order is Order.RUN and not held and not self.masked(release)

    def masked(self, release: Release) -> bool:
        """AI Gateway's fallback is on: it hides the errors that a version is judged by.

        Any other entity answers for one that fails, be it at 0 %. A version that is alone has none,
        and nobody waits for one that users had before.
        """
        on = self.endpoint is not None and self.endpoint.fallback
        plan = release.pinned
        return on and plan is not None and plan.incumbent is not None and not plan.proven


def wording(why: str) -> str:
    """A sentence without its numbers."""
    return "".join(one for one in why if not one.isdigit() and one not in ".,")
