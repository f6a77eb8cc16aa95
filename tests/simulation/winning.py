"""A bad version does not win: it is not confirmed, gets no users untested, and keeps none.

What is wrong with a version is known by whoever made it so. The product's verdicts are no witness.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.guards import ErrorGuard, widening
from policies.rollout import WHOLE
from states.desired import exposure
from states.machine import State, Trigger
from states.plan import Call, Serve
from states.release import Application, Release
from states.world import Endpoint, Serving
from tests.simulation.looks import Key
from tests.simulation.platform import Platform

FAR = 1.5
"""So many times the hard limit's errors are no chance, whatever few users there are."""
FORCED = ("override", "undo")
"""What a person says to let a version on that nothing has proven, or that proved to be worse."""


@dataclass
class Winning:
    """What became of the bad versions of one run."""

    platform: Platform
    guard: ErrorGuard
    situations: Counter[str]
    registered: dict[Key, float] = field(default_factory=dict)
    """True time at which an attempt was begun."""
    worse: int = 0
    """How often users were given, to compare it, a version that is worse by some step's margin.

    By a step of the release: a first one compares nothing, and others may have too little traffic.
    """
    by_chance: list[str] = field(default_factory=list)
    """Versions worse by the margin that were confirmed: as rare as wrong proofs are promised to be
    (`campaign.WRONGLY`)."""

    def told(self, release: Release, row: Mapping[str, Any]) -> None:
        """A row of the journal is about a release, as it is now."""
        key = (release.version, release.attempt)
        if row["event"] == "release.registered":
            self.registered[key] = self.platform.stage.now
        elif row["event"] == "release.confirmed":
            self._confirmed(key, release.steps)
        elif row.get("trigger") == Trigger.OPEN:
            rate = self.platform.rate(key[0])
            seen = self._meant_to_be_seen(rate, release.steps)
            self.worse += seen and rate < FAR * self.guard.limit

    def _confirmed(self, key: Key, steps: tuple[int, ...]) -> None:
        """What is confirmed is good, but for what guards are not meant to see, and by chance."""
        version, platform = key[0], self.platform
        if platform.good(version):
            return
        since, now = self.registered.get(key, 0.0), platform.stage.now
        for kind in FORCED:
            if platform.causes.was(kind, version, since, now):
                self.situations[f"bad version confirmed after {kind}"] += 1
                return
        assert version not in platform.untrue | platform.undeployable, f"{key} never was fit"
        rate = platform.rate(version)
        assert rate < FAR * self.guard.limit, f"{key} is confirmed, and fails {rate:.1%} of users"
        seen = self._meant_to_be_seen(rate, steps)
        self.situations["bad version confirmed by chance"] += seen
        self.situations["bad version confirmed within the margin"] += not seen
        if seen:
            self.by_chance.append(f"version {version} fails {rate:.1%} of users")

    def _meant_to_be_seen(self, rate: float, steps: tuple[int, ...]) -> bool:
        """It is worse than stable by more than some step's margin: that no step is opened for."""
        worse = rate - self.platform.error_rate
        compared = [step for step in steps if step < WHOLE]
        margins = [self.guard.margin * widening(step) for step in compared]
        return rate > self.guard.limit or worse > min(margins, default=1.0)

    def given(self, after: Application, seen: Serving | None, calls: tuple[Call, ...]) -> None:
        """No call of ours raises what fails its tests, or cannot run, unless nothing else is there.

        What a person raised is left as it is, or lowered.
        """
        unfit = self.platform.untrue | self.platform.undeployable
        for call in calls:
            if not isinstance(call, Serve):
                continue
            for version in sorted(unfit - {after.incumbent}):
                weight = exposure(after, version, call.serving)
                before = exposure(after, version, seen) if seen is not None else 0
                alone = after.incumbent is None
                forced = self.platform.causes.was("override", version, 0.0, self.platform.stage.now)
                assert weight <= before or alone or forced, (
                    f"version {version}, which is not fit, is given {weight} % of users"
                )

    def at_rest(self, application: Application) -> None:
        """In a healed world nobody is left on what errs so much, where there is another version."""
        live, now = application.live, self.platform.endpoint
        if live is None or application.incumbent in (None, live.version):
            return
        going = live.state is State.ROLLED_BACK or live.ordered == "undo"
        if going or not isinstance(now, Endpoint):
            return
        weight, rate = (
            exposure(application, live.version, now.serving),
            self.platform.rate(live.version),
        )
        assert not weight or rate < FAR * self.guard.limit, (
            f"{live.key} fails {rate:.1%} of users, and {weight} % are left on it: "
            f"{live.state}, {live.hold}"
        )
