"""The plan of a release, as it was when the release was admitted."""

from dataclasses import dataclass
from datetime import timedelta

from policies.admission import Approval
from policies.golden import GoldenQuery
from policies.guards import Guards
from policies.replay import Replay
from policies.rollout import Rollout
from states.counted import Counted
from states.world import Size


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What was fixed at admission: editing the configuration changes later releases only."""

    baseline: str | None
    """The stable version at admission; None for a first release."""
    incumbent: str | None
    """The version that had the traffic at admission: the baseline, or one without proof."""
    size: Size | None = None
    """How big its entity is to be, where the endpoint does not have it yet."""
    rollout: Rollout
    guards: Guards
    counted: Counted | None = None
    """None of a plan from before it was pinned: as the configuration says today, then."""
    tests: tuple[GoldenQuery, ...]
    max_lag: timedelta
    provisioning_deadline: timedelta
    testing_deadline: timedelta
    approval: Approval = "none"
    proven: bool = False
    """Users had it before, and are taken back to it: nothing is compared, nobody is asked."""
    staging: str | None = None
    tests_table: str | None = None
    """The table whose golden queries are still to be read: they are part of `tests` then."""
    replay: Replay | None = None
