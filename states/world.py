"""One look at everything outside, with the time in it. Unseen is None, and never good news."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from policies.admission import Column
from policies.evidence import Block
from policies.fuse import Minute
from policies.golden import Begun, GoldenQuery, Round
from policies.guards import History
from policies.replay import Batch, Drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One served entity's part of an endpoint: which version, and what percentage of traffic."""

    model: str
    version: str
    weight: int


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves what: one type for what is and for what should be, so converged means `==`.

    Keyed by served entity name; order and everything that the server fills in are ignored.
    """

    shares: Mapping[str, Share] = field(default_factory=dict)

    def weight(self, name: str) -> int:
        """The percentage that an entity gets; one that is not there gets none."""
        share = self.shares.get(name)
        return share.weight if share else 0

    def __str__(self) -> str:
        parts = [f"{name} {share.weight} %" for name, share in sorted(self.shares.items())]
        return ", ".join(parts) or "nothing"


CONCURRENCY = {"Small": (4, 4), "Medium": (8, 16), "Large": (16, 64)}
"""Requests at a time that a workload size is provisioned for, least and most (databricks-sdk,
`ServedEntityInput.workload_size`)."""


@dataclass(frozen=True, slots=True)
class Size:
    """How big a served entity is: a workload size, or provisioned concurrency, and on what.

    `workload_size` and the two concurrencies (requests at a time, multiples of 4) exclude each
    other. Without scale to zero by default: a version that sleeps cannot be gone back to.
    """

    workload_size: str | None = "Small"
    min_concurrency: int | None = None
    max_concurrency: int | None = None
    workload_type: str = "CPU"
    scale_to_zero: bool = False

    @property
    def room(self) -> tuple[int | None, int | None]:
        """Requests at a time that it is provisioned for, least and most; None: not told."""
        if self.max_concurrency is not None:
            return self.min_concurrency, self.max_concurrency
        low, high = CONCURRENCY.get(self.workload_size or "", (None, None))
        return (0 if self.scale_to_zero and low else low), high

    def same_as(self, other: "Size") -> bool:
        """Whether it amounts to the same, in whatever words."""
        return (self.room, self.workload_type, self.scale_to_zero) == (
            other.room,
            other.workload_type,
            other.scale_to_zero,
        )

    def __str__(self) -> str:
        size = self.workload_size or "of no told size"
        if self.max_concurrency is not None:
            size = f"{self.min_concurrency} to {self.max_concurrency} requests at a time"
        return f"{size} on {self.workload_type}{', scales to zero' if self.scale_to_zero else ''}"


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment variables of an application's entities: what may be told of them."""

    names: tuple[str, ...] = ()
    digest: str = ""
    """Of names and values together: it tells whether they are the same, and none of them."""


@dataclass(frozen=True, order=True)
class Grant:
    """A permission on an endpoint."""

    kind: str
    """`group`, `user` or `service_principal`."""
    name: str
    level: str
    """CAN_QUERY, CAN_VIEW or CAN_MANAGE."""

    def __str__(self) -> str:
        return f"{self.level} for {self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A serving endpoint as seen: what is active, and whether a change is under way."""

    serving: Serving
    """The active configuration; empty before the first deployment."""
    pending: Serving | None = None
    updating: bool = False
    update_failed: bool = False
    id: str = ""
    """Databricks' own, another one for each creation; empty where it is not told."""
    created_ms: int = 0
    """When it was created, in milliseconds since the epoch; 0 where it is not told."""
    config_version: int = 0
    ready: frozenset[str] = frozenset()
    """Names of active entities whose deployment is ready."""
    failed: frozenset[str] = frozenset()
    """Names of entities, active or pending, whose deployment failed."""
    fallback: bool = False
    """AI Gateway's fallback is on: it hides a canary's errors."""
    route_optimized: bool = False
    inference_table: str | None = None
    """`catalog.schema.table` of the AI Gateway inference table, if enabled."""
    owner: str = ""
    """The tag `headgate.owner`: what made it; empty without one."""
    made_for: str = ""
    """The tag `headgate.release`: for which release; empty without one."""
    concurrency: Mapping[str, int] = field(default_factory=dict)
    """By name, how many requests an active entity may have in flight at most, where told."""
    sizes: Mapping[str, Size] = field(default_factory=dict)
    """By name, how big an active entity is, where told."""
    capture_off: bool = False
    """Somebody switched AI Gateway's inference table off."""
    usage_tracking: bool = False
    """AI Gateway counts usage in `system.serving.endpoint_usage`."""

    def failed_to_take(self, wanted: Serving) -> bool:
        """The last update failed, and was for this, unless all that failed is others' entities."""
        theirs = bool(self.failed) and self.failed.isdisjoint(wanted.shares)
        return self.update_failed and not self.updating and not theirs


@dataclass(frozen=True)
class Absent:
    """Looked for, and not there."""


@dataclass(frozen=True, kw_only=True)
class Gone:
    """An endpoint that was seen to be gone; a late answer of it may still come."""

    created_ms: int
    config_version: int
    """The highest that was seen of it."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A version in the registry."""

    version: str
    status: str
    """READY, PENDING_REGISTRATION or FAILED_REGISTRATION."""
    tags: Mapping[str, str] | None = None
    """None: not looked at."""
    has_signature: bool | None = None
    """None: not looked at, or unreadable for now."""
    inputs: tuple[Column, ...] | None = None
    """The columns that its signature names; None: not looked at, or it names none."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the counting source said at this look."""

    blocks: tuple[Block, ...] = ()
    """Windows closed since the last look, in order."""
    watermarks: Mapping[str, datetime] = field(default_factory=dict)
    """By source: everything before this time (store's clock) has arrived. For the inference table
    that is the newest marked probe's; for the metrics, the newest minute's."""
    lead: timedelta | None = None
    """How far the warehouse's clock is ahead of the store's, known to a minute; None: it has not
    answered so soon."""
    trouble: str | None = None
    """Why this look brought nothing, or nothing of one source, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class GoldenTable:
    """What a table of golden queries came to when it was read."""

    queries: tuple[GoldenQuery, ...] = ()
    trouble: str | None = None
    """Why it cannot be used, in one sentence: a person must act."""


@dataclass(frozen=True, kw_only=True)
class World:
    """All that is outside, as far as it was seen at one moment."""

    now: datetime
    """The store's time, UTC."""
    took: timedelta = timedelta()
    """From before `now` was read until endpoint and alias were seen."""
    ahead: timedelta | None = None
    """How far the workspace's clock is ahead of the store's, at most; None: not measured."""
    poll: timedelta = timedelta(seconds=30)
    """The pace of looks: a longer gap was downtime, and adds no more than two of it."""
    first: bool = False
    """Nobody here has looked before: the controller began, or has taken over, since the last look
    of the record."""
    endpoint: Endpoint | Absent | None = None
    versions: tuple[ModelVersion, ...] | None = None
    alias: str | Absent | None = None
    """The version that the application's alias names."""
    staging: Endpoint | Absent | None = None
    """The staging endpoint; looked for while a release wants one, or one of ours may be there."""
    golden: GoldenTable | None = None
    """The table with golden queries, read for a release under test that has it still to pin."""
    granted: frozenset[Grant] | None = None
    """Who was given what on the endpoint, itself; None: not asked for, or unseen."""
    round: Round | Begun | None = None
    """Golden queries asked since the last look, those of the table that is here included: where
    the live release is tested by now. What earlier looks have of a round is part of it."""
    replay: Drawn | Batch | None = None
    """Requests drawn for a replay, or pairs of them asked since the last look."""
    evidence: Evidence | None = None
    history: History | None = None
    """Stable's last day, asked for while a release is in Testing and has none pinned."""
    minutes: tuple[Minute, ...] = ()
    """Closed minutes of the endpoint's own metrics, as far as they are remembered."""
    requests_per_second: float | None = None
    """Of the whole endpoint, averaged over the closed minutes seen lately."""
    peak_concurrency: float | None = None
    """The most requests in flight at once, on average over a minute, in the hour seen."""
    labelled: bool = False
    """The metrics' labels name the served entity: they can count by version."""
