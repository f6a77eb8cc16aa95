"""Observing: one look at everything outside. What fails is unseen, and said in the log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from controller.daemon.collect import Collector
from controller.daemon.past import Past
from controller.workspace.errors import WorkspaceError
from controller.workspace.metrics import Traffic
from controller.workspace.probes import Probes
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints
from policies.fuse import Minute
from policies.golden import Finding, Round, judge
from states.home import ready_for
from states.machine import State
from states.release import Application
from states.turn import Turn
from states.world import Absent, Endpoint, Evidence, ModelVersion, World

Seen = TypeVar("Seen")
SCRAPE = timedelta(minutes=1)
"""Databricks' own pace for the metrics export."""
log = structlog.get_logger()


@dataclass
class Observer:
    """The eyes of one application."""

    endpoints: Endpoints
    registry: Registry
    probes: Probes
    traffic: Traffic
    collector: Collector
    past: Past
    poll: timedelta
    scraped_at: datetime | None = None
    pace: float | None = None
    minutes: tuple[Minute, ...] = ()
    troubles: dict[str, str] = field(default_factory=dict)

    def look(self, application: Application, now: datetime) -> World:
        """The world as far as it can be seen now."""
        spec = application.spec
        endpoint = self._try("endpoint", lambda: self.endpoints.observe(spec.endpoint))
        versions = self._try("registry", lambda: self._versions(application))
        alias: str | Absent | None = None
        if (name := spec.alias) is not None:
            alias = self._try("alias", lambda: self.registry.alias(spec.model, name))
        asked: Round | None = None
        evidence: Evidence | None = None
        if isinstance(endpoint, Endpoint):
            self._scrape(spec.endpoint, frozenset(endpoint.serving.shares), now)
            asked = self._golden(application, endpoint, now)
            evidence = self.collector.collect(application, endpoint, now, self.minutes)
            if self.past.is_time(application, endpoint, now):
                self._try("history", lambda: self.past.ask(application, endpoint, now))
        return World(
            now=now,
            poll=self.poll,
            endpoint=endpoint,
            versions=versions,
            alias=alias,
            round=asked,
            evidence=evidence,
            history=self.past.known,
            minutes=self.minutes,
            requests_per_second=self.pace,
            peak_concurrency=self.traffic.peak_concurrency(spec.endpoint),
            labelled=self.traffic.labelled(spec.endpoint),
        )

    def _try(self, what: str, look: Callable[[], Seen]) -> Seen | None:
        """Look, or be blind here and say so once."""
        try:
            seen = look()
        except WorkspaceError as error:
            self._say_once(what, str(error))
            return None
        if self.troubles.pop(what, None):
            log.info("workspace.seen", what=what)
        return seen

    def _say_once(self, what: str, because: str) -> None:
        """Tell a trouble when it begins or changes, not at every look."""
        if self.troubles.get(what) != because:
            log.warning("workspace.unseen", what=what, because=because)
        self.troubles[what] = because

    def _versions(self, application: Application) -> tuple[ModelVersion, ...]:
        """All versions; those that may begin, or must be marked, with tags and signature."""
        settled = {
            release.version
            for release in application.releases
            if release.state is not State.REGISTERED
            and (release.tagged or release.state is not State.ROLLED_BACK)
        }
        model = application.spec.model
        versions = self.registry.versions(model, above=application.watermark, skip=settled)
        if not versions and not self.registry.model_exists(model):
            # Said, and no error: the model may be registered after its application.
            self._say_once("model", f"{model} is not registered, or not to be seen: check its name")
        else:
            self.troubles.pop("model", None)
        return versions

    def _scrape(self, endpoint: str, entities: frozenset[str], now: datetime) -> None:
        # Half a look early, or one that came a moment too soon would miss a whole minute.
        waits = SCRAPE - self.poll / 2 if self.pace else self.poll
        if self.scraped_at is not None and now - self.scraped_at < waits:
            return
        self.scraped_at = now
        minutes = self._try("metrics", lambda: self.traffic.minutes(endpoint, entities))
        if minutes is not None:
            self.minutes, self.pace = minutes, self.traffic.requests_per_second(endpoint)

    def _golden(self, application: Application, endpoint: Endpoint, now: datetime) -> Round | None:
        """Ask the golden queries while they are still to be passed, of an endpoint at rest."""
        live = application.live
        if live is None or live.state is not State.TESTING or live.pinned is None:
            return None
        if judge(live.rounds)[0] in (Finding.PASS, Finding.FAIL):
            return None
        if not ready_for(Turn(application, World(now=now, endpoint=endpoint), endpoint), live):
            return None
        candidate, baseline = application.entity(live.version), live.pinned.baseline
        stable = application.entity(baseline) if baseline else None
        tests = live.pinned.tests
        return self._try("probes", lambda: self.probes.round(candidate, stable, tests))
