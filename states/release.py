"""The record: what an application is, what a release has come to, and what was asked of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from policies.evidence import Block, Measure
from policies.fuse import Fuse, Minute
from policies.golden import Begun, Round
from policies.guards import History
from policies.replay import Replayed
from states.attempt import Attempt
from states.consent import Signs, Verb, Word
from states.counted import Counted
from states.difference import Answer, Change
from states.hold import Hold
from states.machine import State
from states.pinned import Pinned
from states.setup import Upkeep, Wish
from states.span import Span, Split
from states.spec import Spec
from states.staged import Staged
from states.world import Gone, Serving

ENTITY_NAME_LENGTH = 63  # Databricks' longest


class Order(StrEnum):
    """What the operator asked: a column that only operators write."""

    RUN = "run"
    PAUSE = "pause"
    ABORT = "abort"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """An attempt to make a version the one that users get."""

    application: str
    version: str
    attempt: int = 1
    state: State = State.REGISTERED
    settled: bool = True
    """The world was observed to be what the state wants."""
    confirmed: bool = False
    """Production whose watch has ended."""
    order: Order = Order.RUN
    hold: str | None = None
    needs_person: bool = False
    ask: str | None = None
    """What the hold asks a person's word on; a word counts for this alone."""
    held_before: Hold | None = None  # under quarantine: what held it before, and holds it after
    words: tuple[Word, ...] = ()
    """What people said by command, oldest first: a column that only operators write."""
    signs: Signs = field(default_factory=Signs)
    ordered: Verb | None = None
    """The command that asked for this attempt; None: it began by itself."""
    because: str = ""
    since: datetime
    step: int = 0
    """Index into the pinned steps, from 1; 0 before Canary."""
    shut: bool = False
    """In Canary, the gate was shut for want of evidence: weight 0, step kept."""
    retreats: int = 0
    weight_seen: int | None = None
    pinned: Pinned | None = None
    staged: bool = False
    """Its golden queries have passed on the staging endpoint."""
    spans: tuple[Span, ...] = ()
    split: Split | None = None
    """How users are split, as last seen since it is live."""
    mixed: tuple[int, ...] = ()
    """Numbers of the spans within which the split changed."""
    ahead: timedelta = timedelta()
    """How far the workspace's clock is ahead, at most, as last measured; before that, two clocks
    agree."""
    rounds: tuple[Round, ...] = ()
    asking: Begun | None = None
    """The round of golden queries that is under way, and not complete."""
    replay: Replayed | None = None
    blocks: tuple[Block, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """The counting source of each guard, pinned in Testing; a guard that has none is not here."""
    watermarks: Mapping[str, datetime] = field(default_factory=dict)
    """By source: everything before this has arrived."""
    lead: timedelta | None = None
    """How far the warehouse's clock was ahead of the store's when it last answered."""
    history: History | None = None
    """Stable's last day, pinned in Testing."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """By guard, how what answers carry is counted; pinned with the history."""
    paused: bool = False
    """The order was `pause` at the last look: resuming starts the step's safety anew."""
    pauses: int = 0
    """How many there were: a word to go on that was given before one does not count after it."""
    fuse: Fuse | None = None
    """Set when the present step was opened; None where the endpoint had no history."""
    minutes: tuple[Minute, ...] = ()
    """The endpoint's minutes since then, or of the fuse's present stretch."""
    before_whole: Fuse | None = None
    """The fuse that was set when all users were first given to it: what it is then held to."""
    dispersion: float = 1.0
    """How much more than chance the endpoint's errors come in clusters; pinned when it opened."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """By guard, outcome and step of the last verdict that was journalled."""
    in_state: timedelta = timedelta()
    """Accumulated time in this state while the world was seen, and nobody had stopped it."""
    on_step: timedelta = timedelta()
    """Accumulated time on this step since it settled."""
    undecided: timedelta = timedelta()
    """The part of `on_step` that counts for patience."""
    ended_at: datetime | None = None
    """When it lost its traffic for good: its entity is removed after `retain`."""
    tagged: bool = False
    """The registry was seen to tell what it has come to (`states.outcome`)."""
    removed: bool = False  # its entity is no longer wanted on the endpoint
    unlisted: bool = False  # by the registry, at the last look
    unlisted_since: datetime | None = None  # the first of the looks in a row that missed it

    @property
    def key(self) -> str:
        """`application/version`, as operators write it."""
        return f"{self.application}/{self.version}"

    @property
    def live(self) -> bool:
        """From Provisioning until the watch has ended or the rollback has settled."""
        if self.state is State.PRODUCTION:
            return not self.confirmed
        if self.state is State.ROLLED_BACK:
            return not self.settled
        return self.state in (State.PROVISIONING, State.TESTING, State.CANARY)

    @property
    def plan(self) -> Pinned:
        """What it was admitted under; asked of a release that was admitted."""
        assert self.pinned is not None, f"{self.key} was not admitted"
        return self.pinned

    @property
    def on_staging(self) -> bool:
        """It has yet to pass on a staging endpoint: the production endpoint is not touched."""
        asked = self.pinned is not None and self.pinned.staging is not None
        return self.state is State.PROVISIONING and asked and not self.staged

    @property
    def steps(self) -> tuple[int, ...]:
        """The pinned steps; none before admission."""
        return self.pinned.rollout.steps if self.pinned else ()

    @property
    def weight(self) -> int:
        """The percentage of users that this version should get, by its own state."""
        if self.state is State.CANARY:
            return 0 if self.shut else self.plan.rollout.weight(self.step)
        if self.state is State.PRODUCTION:
            return 100
        alone = self.pinned is not None and self.pinned.incumbent is None and not self.on_staging
        return 100 if alone and self.state in (State.PROVISIONING, State.TESTING) else 0

    @property
    def baking(self) -> bool:
        """On the last step, where nothing is left to compare with."""
        return self.state is State.CANARY and self.step == len(self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """One model on one endpoint under one alias, with the releases that still matter."""

    name: str
    spec: Spec
    of_model: str | None = None
    """The model whose versions these are, whatever the configuration names by now."""
    of_endpoint: str | None = None
    """The endpoint that was last looked after."""
    adopted: bool = False
    stable: str | None = None
    former: str | None = None  # the version that was stable before
    unproven: str | None = None
    """The version that serves although its release failed: there was nothing to go back to."""
    watermark: int = 0
    """Versions up to this one existed at adoption and do not start by themselves."""
    ours: bool = False
    """Headgate created the endpoint, so nobody else's variables can be lost by a change."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Served entity names as found at adoption, by version; the others are deterministic."""
    carried: Serving = field(default_factory=Serving)
    """Entities at 0 % that others put there, kept as found."""
    config_version: int = 0
    """The highest seen of the endpoint as it is now; a lower one is a stale answer."""
    gone: Gone | None = None
    """The endpoint that was seen to be gone, if it told its creation; until one is there again."""
    created_ms: int = 0
    """When the newest endpoint that was seen was created; of an older one, answers are stale."""
    endpoint_id: str = ""
    """The endpoint that is ours or accepted; empty while one is asked for, or none was seen."""
    behind: timedelta | None = None
    """For how long answers have been older than one that was seen before; None: they are not."""
    seen: Serving | None = None
    """The last serving state that was ours or accepted."""
    seen_alias: str | None = None
    """The version that the alias last named, as ours or accepted."""
    seen_alias_of: str | None = None  # the alias that this was: another may be configured since
    asked_alias: str | None = None  # the version that it was last asked to name, until that is seen
    asked: str | None = None
    """The serving state that was last asked for, by a call that may have been sent, ever."""
    asked_over: int = -1
    """The highest configuration version that had been seen by then."""
    under_way: str | None = None
    """What an update of ours was seen to bring, until a newer configuration is seen."""
    hold: str | None = None
    """Why nothing goes on here until a person, or the world, has put it right."""
    blocked: str | None = None
    """Why the live release's users could not be taken back at the last look."""
    blocked_since: datetime | None = None
    change: Change | None = None
    """What others changed, unanswered: meanwhile nothing is sent but what closes a version."""
    changes: int = 0  # how many there have been
    answer: Answer | None = None
    closings: tuple[str, ...] = ()
    """Serving states asked for, of late, only to close a version beside a change by others."""
    followed: Mapping[str, datetime] = field(default_factory=dict)
    """When the world was last seen to be as wanted, by kind of call; more in `resending`."""
    fallback: bool = False
    """AI Gateway's fallback, as it was when no version on trial had users, or was adopted."""
    fallback_off: bool = False
    """A person said to switch it off, and it was not seen off since."""
    staging: Staged | None = None
    deleted: tuple[str, ...] = ()
    """Versions that serve although the registry lost them, with a person's word for it."""
    upkeep: Upkeep = field(default_factory=Upkeep)
    wish: Wish | None = None
    looked_at: datetime | None = None
    minutes: tuple[Minute, ...] = ()
    """The endpoint's own, of its last day, oldest first: what fuses are set by."""
    releases: tuple[Release, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    """Calls of the last twenty minutes (`MEMORY`), and since the last look, oldest first."""
    arrived: tuple[int, ...] = ()  # ids of those for endpoint and alias, seen in effect since

    def entity(self, version: str, beside: Collection[str] = ()) -> str:
        """As adopted, else `<model>-v<version>` in 63 characters; `beside`: names not free, too."""
        if version in self.names and self.names[version] not in beside:
            return self.names[version]
        taken = {*self.names.values(), *self.carried.shares, *beside}
        stem, suffix = self.spec.model.rsplit(".", 1)[-1], f"-v{version}"
        while (name := stem[: ENTITY_NAME_LENGTH - len(suffix)] + suffix) in taken:
            suffix += "-1"
        return name

    @property
    def live(self) -> Release | None:
        """The one live release, if any."""
        return next((release for release in self.releases if release.live), None)

    @property
    def foremost(self) -> Release | None:
        """The live release, else the newest of the version that serves."""
        return self.live or self.newest(self.incumbent)

    @property
    def counted(self) -> Counted:
        """How its requests are counted: as pinned with the live release, else as configured."""
        return self.counted_of(self.live)

    def counted_of(self, release: Release | None) -> Counted:
        """How what was answered to a release is read, live or ended: as pinned, or configured."""
        pinned = release.pinned if release is not None else None
        return (pinned.counted if pinned is not None else None) or self.spec.counted

    @property
    def going_home(self) -> bool:
        """A release was rolled back, and its users were not seen home yet."""
        return self.live is not None and self.live.state is State.ROLLED_BACK

    @property
    def taking_back(self) -> bool:
        """Users are taken from the live release: it goes home, or its gate is shut."""
        return self.going_home or (self.live is not None and self.live.shut)

    @property
    def incumbent(self) -> str | None:
        """The version that serves while no release is live."""
        return self.stable or self.unproven

    def newest(self, version: str | None) -> Release | None:
        """The latest attempt at a version."""
        found = (release for release in self.releases if release.version == version)
        return max(found, key=lambda release: release.attempt, default=None)

    def with_release(self, release: Release) -> "Application":
        """The application with one release replaced, or added."""
        mark = (release.version, release.attempt)
        others = tuple(one for one in self.releases if (one.version, one.attempt) != mark)
        ordered = sorted((*others, release), key=lambda one: (int(one.version), one.attempt))
        return replace(self, releases=tuple(ordered))
