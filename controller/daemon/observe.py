"""Observing: one look at everything outside. What fails is unseen, and said in the log.

An application with no live release is only glanced at: no minutes are told, and an endpoint that
the list shows as it was is not read again. A glance may find that there is nothing to do; whatever
else would be decided is decided by a look, and every few minutes there is a look anyway.
"""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import TypeVar

import structlog

from controller.daemon.backoff import Backoff
from controller.daemon.collect import Collector
from controller.daemon.golden_table import GoldenReader
from controller.daemon.instruments import uncounted
from controller.daemon.lead import Lead
from controller.daemon.overtaking import Overtaken, unless
from controller.daemon.past import Past
from controller.daemon.replaying import Replayer, is_time
from controller.daemon.sight import Sight
from controller.record.loading import Mark, mark
from controller.workspace.errors import Unreachable, WorkspaceError, met
from controller.workspace.inputs import Inputs, unknown
from controller.workspace.listing import Listing
from controller.workspace.metrics import DATED, UNDATED, Traffic
from controller.workspace.probes import Probes
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints
from policies.fuse import Minute
from policies.golden import Begun, Finding, GoldenQuery, Round, judge
from policies.replay import Batch, Drawn
from states.desired import closed, desired
from states.home import converged, ready_for
from states.machine import State
from states.outcome import untold
from states.release import Application, Order
from states.staging import asking_there, left, place, ready_there, rounds_there
from states.turn import Turn
from states.world import Absent, Endpoint, Evidence, GoldenTable, Grant, ModelVersion, World

Seen = TypeVar("Seen")
SCRAPE = timedelta(minutes=1)
"""Databricks' own pace for the metrics export."""
CLOSELY = timedelta(minutes=5)
"""Between two looks at an application that is otherwise only glanced at."""
ALL = sys.maxsize
"""Above this no version is looked at closely."""
NO_DATE = f"{UNDATED}: {DATED}"
log = structlog.get_logger()


def _nobody_asks() -> None:
    pass


@dataclass(slots=True)
class Observer:
    """The eyes of one application."""

    endpoints: Endpoints
    registry: Registry
    probes: Probes
    traffic: Traffic
    collector: Collector
    past: Past
    poll: timedelta
    tables: GoldenReader | None = None
    """Reads golden queries from a table; None where no configuration names one."""
    inputs: Callable[[str, str], Inputs | None] = unknown
    """By model and version, what its signature takes, as far as it is known."""
    replayer: Replayer | None = None
    """None: nothing can be replayed here."""
    listing: Listing | None = None
    """All endpoints by one call; None where each is read at each look."""
    homeward: Callable[[], Collection[str]] = tuple
    """Whose users are to go home by now, an abort ordered for instance: asked while a look is
    slow."""
    seen: Callable[[], None] = _nobody_asks
    """Told whenever the workspace has told of the endpoint."""
    counted: Callable[[str, str], None] = uncounted
    """Told what was looked at, and what came of it."""
    since_read: Callable[[], timedelta] = timedelta
    """How long ago the record's clock was read, at most."""
    reading_took: Callable[[], timedelta] = timedelta
    """How long that reading took: it may be less long ago by as much."""
    backoff: Callable[[str], Backoff] = Backoff
    scraped_at: datetime | None = None
    looked_at: datetime | None = None
    """The last look that was no glance."""
    tested_at: datetime | None = None
    """The last round of golden queries: who rings the doorbell makes no second one."""
    tested: Mark | None = None
    """The release that it was of."""
    pace: float | None = None
    minutes: tuple[Minute, ...] = ()
    lead: Lead | None = None
    """How far the workspace's clock is ahead of the record's; None: not measured yet."""
    troubles: dict[str, str] = field(default_factory=dict)
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    """By what is looked at, and failed when it last was."""

    sight: Sight = field(init=False)

    def __post_init__(self) -> None:
        self.sight = Sight(self.endpoints, self.listing)

    def forget(self) -> None:
        """What was measured by the record's clock is void: it may have been set meanwhile."""
        self.scraped_at = self.looked_at = self.tested_at = self.lead = None
        self.collector.forget()
        self.past.forget()

    def glance(self, application: Application, now: datetime) -> World | None:
        """The world as it may be seen without a closer look; None, if it is time for one.

        Good for finding that nothing is to be done, and for nothing else.
        """
        due = self.looked_at is None or not timedelta() <= now - self.looked_at < CLOSELY
        due = due or left(application)
        busy = application.live is not None or application.upkeep.applying is not None
        if busy or application.change is not None or due:
            return None
        spec = application.spec
        world = World(
            now=now,
            poll=self.poll,
            endpoint=self._try(application, "endpoint", lambda: self.sight.glance(spec.endpoint)),
        )
        if world.endpoint is None:
            return world
        self.seen()
        world = replace(world, alias=self._alias(application, urgent=False))
        if isinstance(world.endpoint, Endpoint):
            self._scrape(application, frozenset(), now)
            # An hour of every idle endpoint would fill the memory.
            self.minutes = ()
        return replace(
            world,
            versions=self._try(application, "registry", lambda: self._versions(application, world)),
            requests_per_second=self.pace,
            peak_concurrency=self.traffic.peak_concurrency(spec.endpoint),
            ahead=self.ahead,
        )

    def look(self, application: Application, now: datetime) -> World:
        """The world as far as it can be seen now.

        On the way home nothing is asked but what the way home rests on; and an abort that arrives
        ends a look that is slow.
        """
        spec, live = application.spec, application.live
        homeward = _homeward(application)
        first, self.looked_at = self.looked_at is None, now
        endpoint = self._try(
            application,
            "endpoint",
            lambda: self.sight.read(spec.endpoint, idle=live is None),
            urgent=homeward,
        )
        world = World(now=now, poll=self.poll, first=first, endpoint=endpoint)
        if endpoint is None:
            # A workspace that does not tell of an endpoint is not asked for more.
            return world
        self.seen()
        alias = self._alias(application, urgent=homeward)
        world = replace(world, alias=alias, took=self.since_read())
        if homeward and not _at_home(application, world):
            return world
        if live is None or homeward:
            world = self._closely(application, world, Event())
            # As at a glance: an hour of every idle endpoint would fill the memory.
            self.minutes = self.minutes if live else ()
            return world
        try:
            return unless(
                lambda: application.name in self.homeward(),
                lambda over: self._closely(application, world, over),
            )
        except Overtaken:
            log.info("look.overtaken", application=application.name, because="an abort was ordered")
            return world

    def _alias(self, application: Application, *, urgent: bool) -> str | Absent | None:
        """What the alias names; None also where there is none to ask for."""
        model, name = application.spec.model, application.spec.alias
        if name is None:
            return None
        return self._try(
            application, "alias", lambda: self.registry.alias(model, name), urgent=urgent
        )

    def _closely(self, application: Application, world: World, given_up: Event) -> World:
        """What may take long: versions, metrics, golden queries, and SQL."""
        spec, endpoint, now = application.spec, world.endpoint, world.now
        versions = self._try(application, "registry", lambda: self._versions(application, world))
        staging = self._staging(application)
        golden = self._table(application, now)
        read = golden.queries if golden is not None else ()
        asked = self._rehearsed(application, staging, now, given_up, read)
        replay: Drawn | Batch | None = None
        granted: frozenset[Grant] | None = None
        evidence: Evidence | None = None
        if isinstance(endpoint, Endpoint):
            self._scrape(application, frozenset(endpoint.serving.shares), now)
            granted = self._granted(application, endpoint)
            asked = asked or self._golden(application, endpoint, now, given_up, read)
            replay = self._replayed(application, endpoint, now, given_up)
            if not given_up.is_set():
                evidence = self.collector.collect(
                    application, endpoint, now, self.minutes, self.ahead
                )
            if self.past.is_time(application, endpoint, now):
                self._try(application, "history", lambda: self.past.ask(application, endpoint, now))
        return replace(
            world,
            versions=versions,
            staging=staging,
            golden=golden,
            granted=granted,
            round=asked,
            replay=replay,
            evidence=evidence,
            history=self.past.known,
            minutes=self.minutes,
            requests_per_second=self.pace,
            peak_concurrency=self.traffic.peak_concurrency(spec.endpoint),
            labelled=self.traffic.labelled(spec.endpoint),
            ahead=self.ahead,
        )

    @property
    def ahead(self) -> timedelta | None:
        """The most that the workspace's clock may be ahead: no minute is taken to be too new."""
        return self.lead.most if self.lead else None

    def _try(
        self,
        application: Application,
        what: str,
        look: Callable[[], Seen],
        *,
        urgent: bool = False,
    ) -> Seen | None:
        """Look, or be blind here and say so once; a workspace that fails is not asked each time."""
        backoff = self.backoffs.get(what)
        if backoff is not None and not backoff.ready(urgent=urgent):
            return None
        try:
            seen = look()
        except WorkspaceError as error:
            self.counted(what, met(error))
            if isinstance(error, Unreachable):
                self._back_off(application, what, error)
            self._say_once(application, what, str(error))
            return None
        self.counted(what, "done")
        if backoff is not None:
            backoff.succeeded()
            del self.backoffs[what]
        if self.troubles.pop(what, None):
            log.info("workspace.seen", application=application.name, what=what)
        return seen

    def _back_off(self, application: Application, what: str, error: Unreachable) -> None:
        """Look less often, from the first failure to the next success."""
        if what not in self.backoffs:
            place = application.spec.endpoint if what == "endpoint" else f"{application.name}'s"
            self.backoffs[what] = self.backoff(f"looking at {place} {what}")
        self.backoffs[what].failed(error)

    def _say_once(self, application: Application, what: str, because: str) -> None:
        """Tell a trouble when it begins or changes, not at every look."""
        if self.troubles.get(what) != because:
            log.warning(
                "workspace.unseen", application=application.name, what=what, because=because
            )
        self.troubles[what] = because

    def _versions(self, application: Application, world: World) -> tuple[ModelVersion, ...]:
        """All versions; those that may begin, or must be marked, with tags and signature.

        Those that an endpoint is adopted with do not begin by themselves.
        """
        adopting = not application.adopted and isinstance(world.endpoint, Endpoint)
        above = ALL if adopting else application.watermark
        begun = {
            release.version
            for release in application.releases
            if release.state is not State.REGISTERED
            and application.newest(release.version) == release
        }
        model = application.spec.model
        marked = untold(application)
        versions = self.registry.versions(
            model, above=above, skip=begun, also=marked, certainly=_on_their_way(application)
        )
        if not versions and not self.registry.model_exists(model):
            # Said, and no error: the model may be registered after its application.
            told = f"{model} is not registered, or not to be seen: check its name"
            self._say_once(application, "model", told)
        else:
            self.troubles.pop("model", None)
        return versions

    def _granted(self, application: Application, endpoint: Endpoint) -> frozenset[Grant] | None:
        """Who was given what, while that is still to be seen."""
        if not application.upkeep.ungranted or not endpoint.id:
            return None
        look = partial(self.endpoints.granted, endpoint.id)
        return self._try(application, "permissions", look)

    def _scrape(self, application: Application, entities: frozenset[str], now: datetime) -> None:
        # Half a look early, or one that came a moment too soon would miss a whole minute.
        waits = SCRAPE - self.poll / 2 if self.pace else self.poll
        # One that lies ahead was scraped before the clock was set back: nobody knows when.
        recent = self.scraped_at is not None and timedelta() <= now - self.scraped_at < waits
        # What a glance has scraped is told of by the next scrape that is not one.
        if recent and (self.minutes or not entities):
            return
        self.scraped_at, endpoint = now, application.spec.endpoint
        asked_at = now + self.since_read() - self.reading_took()
        minutes = self._try(
            application, "metrics", lambda: self.traffic.minutes(endpoint, entities)
        )
        if minutes is not None:
            self.minutes, self.pace = minutes, self.traffic.requests_per_second(endpoint)
            self._compare_clocks(application, asked_at, now + self.since_read())

    def _compare_clocks(
        self, application: Application, asked_at: datetime, until: datetime
    ) -> None:
        """Measure by the last scrape's answer, how the workspace's clock stands to the record's."""
        told = self.traffic.told_at(application.spec.endpoint)
        if told is not None:
            shown = Lead.shown(told, asked_at, until)
            self.lead = self.lead.narrowed(shown) if self.lead else shown
            self.troubles.pop("clock", None)
        elif self.minutes:
            self._say_once(application, "clock", NO_DATE)

    def _table(self, application: Application, now: datetime) -> GoldenTable | None:
        """The table of golden queries that a release under test has still to pin."""
        live, tables = application.live, self.tables
        if live is None or tables is None:
            return None
        if live.state is not State.TESTING and not live.on_staging:
            return None
        pinned, every = live.pinned, application.spec.evidence_every
        paths = application.counted.paths
        if pinned is None or pinned.tests_table is None:
            return None
        return self._try(application, "tests", lambda: tables.look(pinned, paths, now, every))

    def _golden(
        self,
        application: Application,
        endpoint: Endpoint,
        now: datetime,
        given_up: Event,
        read: tuple[GoldenQuery, ...],
    ) -> Round | Begun | None:
        """Ask the golden queries while they are still to be passed, of an endpoint at rest."""
        live = application.live
        if live is None or live.state is not State.TESTING or live.pinned is None:
            return None
        if judge(live.rounds)[0] in (Finding.PASS, Finding.FAIL):
            return None
        if not ready_for(Turn(application, World(now=now, endpoint=endpoint), endpoint), live):
            return None
        if self._just_asked(live.rounds, now):
            return None
        return self._asked(application, given_up, read, live.asking)

    def _staging(self, application: Application) -> Endpoint | Absent | None:
        """The staging endpoint, while there is one to look for."""
        name = place(application)
        if name is None:
            return None
        return self._try(application, "staging endpoint", lambda: self.endpoints.observe(name))

    def _rehearsed(
        self,
        application: Application,
        staging: Endpoint | Absent | None,
        now: datetime,
        given_up: Event,
        read: tuple[GoldenQuery, ...],
    ) -> Round | Begun | None:
        """Ask the golden queries on the staging endpoint: stable answers them where it serves."""
        live = application.live
        if live is None or live.pinned is None or not isinstance(staging, Endpoint):
            return None
        if not ready_there(application, staging):
            return None
        rounds = rounds_there(application)
        if judge(rounds)[0] in (Finding.PASS, Finding.FAIL) or self._just_asked(rounds, now):
            return None
        begun, name = asking_there(application), live.pinned.staging
        return self._asked(application, given_up, read, begun, staging=name)

    def _just_asked(self, rounds: tuple[Round, ...], now: datetime) -> bool:
        """A round was asked a moment ago: what fails twice in a breath has failed once."""
        before, self.tested_at = self.tested_at, now
        if not rounds or before is None or not timedelta() <= now - before < self.poll / 2:
            return False
        self.tested_at = before
        return True

    def _asked(
        self,
        application: Application,
        given_up: Event,
        read: tuple[GoldenQuery, ...],
        begun: Begun | None,
        staging: str | None = None,
    ) -> Round | Begun | None:
        """Ask a version its golden queries, on a staging endpoint if one is named, and stable."""
        live = application.live
        assert live is not None, "checked by those who ask"
        pinned = live.plan
        if pinned.tests_table is not None and not read:
            return None
        if self.tested != mark(live):
            # Another release is not left alone for what the one before it did not answer.
            self.backoffs.pop("probes", None)
            self.tested = mark(live)
        candidate, baseline = application.entity(live.version), pinned.baseline
        stable = application.entity(baseline) if baseline else None
        tests, paths = (*pinned.tests, *read), application.counted.paths
        model = application.spec.model
        known = (
            self.inputs(model, live.version),
            self.inputs(model, baseline) if baseline else None,
        )
        return self._try(
            application,
            "probes",
            lambda: self.probes.round(
                candidate, stable, tests, paths, given_up.is_set, known, staging, begun
            ),
        )

    def _replayed(
        self, application: Application, endpoint: Endpoint, now: datetime, given_up: Event
    ) -> Drawn | Batch | None:
        """Replay a part of what is recorded, of an endpoint at rest."""
        replayer, live = self.replayer, application.live
        if replayer is None or live is None or not is_time(application, endpoint):
            return None
        if not ready_for(Turn(application, World(now=now, endpoint=endpoint), endpoint), live):
            return None
        return self._try(
            application, "replay", lambda: replayer.look(application, endpoint, given_up.is_set)
        )


def _on_their_way(application: Application) -> set[str]:
    """Versions whose tags may stop them, and stable, where the input of one is compared with its.

    An old version may be among them: a person asked for it.
    """
    waiting = {one.version for one in application.releases if one.state is State.REGISTERED}
    live = application.live
    rising = {live.version} if live is not None and live.state is not State.ROLLED_BACK else set()
    stable = {application.stable} if waiting and application.stable is not None else set()
    return waiting | rising | stable


def _homeward(application: Application) -> bool:
    """Users are to be taken to stable before anything else."""
    live = application.live
    return live is not None and (live.order is Order.ABORT or live.state is State.ROLLED_BACK)


def _at_home(application: Application, world: World) -> bool:
    """The traffic of a rollback is where it belongs, so that there is time to look further."""
    live, endpoint = application.live, world.endpoint
    rolled = live is not None and live.state is State.ROLLED_BACK
    if not rolled or not isinstance(endpoint, Endpoint):
        return rolled
    if application.change is not None:
        # Nothing is sent beside it but what closes a version that has users.
        return closed(application, endpoint.serving) is None
    return desired(application) is None or converged(Turn(application, world, endpoint))
