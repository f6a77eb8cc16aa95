"""What the configuration says of an application, today."""

from dataclasses import dataclass, field
from datetime import timedelta

from policies.admission import Rules
from policies.golden import GoldenQuery
from policies.guards import Guards
from policies.replay import Replay
from policies.rollout import Rollout
from states.counted import Counted
from states.setup import DEADLINE, Setup


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """The part of it that the states decide by."""

    model: str
    endpoint: str
    alias: str | None = "production"
    rollout: Rollout = field(default_factory=Rollout)
    guards: Guards = field(default_factory=Guards)
    tests: tuple[GoldenQuery, ...] = ()
    tests_table: str | None = None
    admission: Rules = field(default_factory=Rules)
    counted: Counted = field(default_factory=Counted)
    staging: str | None = None
    """The endpoint on which a version is tested first; None: on the production endpoint alone."""
    setup: Setup = field(default_factory=Setup)
    environment_declared: bool = False
    """`serving.environment` was stated: a full-state PUT cannot lose variables unknowingly."""
    others_declared: bool = False
    """`serving.others_environment` was stated: no variable of another model's entity is lost."""
    evidence_every: timedelta = timedelta(minutes=5)
    max_lag: timedelta = timedelta(minutes=90)
    """Older than this, the counting source is broken: Databricks promises an hour."""
    provisioning_deadline: timedelta = DEADLINE
    testing_deadline: timedelta = DEADLINE
    replay: Replay | None = None
