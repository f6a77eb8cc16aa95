"""The workspace's clients as one replica has them: the same methods, on a wire that fails."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar

from controller.workspace.errors import Denied, Outdated, Refused, Unreachable, WorkspaceError
from controller.workspace.inference import Answer, Ask, Window
from controller.workspace.inputs import Inputs, Known
from controller.workspace.metrics import EntityMinute
from controller.workspace.recorded import Recorded as RecordedRequest
from controller.workspace.recorded import Sample
from controller.workspace.serving import ServingSettings
from policies.evidence import NOTHING, Arm, summed
from policies.fuse import Minute
from policies.golden import Begun, GoldenQuery, Round
from policies.guards import History
from policies.pairs import Pair, Reply
from policies.replay import Drawn
from states.counted import Paths
from states.plan import Apply, Call, CreateStaging, MoveAlias, RemoveStaging, Serve, TagVersion
from states.world import Absent, Endpoint, ModelVersion, Serving, Share, Size
from tests.simulation.causes import CALL, STALE
from tests.simulation.fate import REPLAY
from tests.simulation.platform import GRAIN_S, STAGING, Platform
from tests.simulation.promises import Promises
from tests.simulation.stage import START
from tests.simulation.wire import OUTLASTING_S, Wire
from tests.states.story import ANSWERED, MODEL, SPEC, TABLE

Seen = TypeVar("Seen")
MINUTE_S = 60
REMEMBERED = 10
"""Minutes that the export and its reader remember: enough for a fuse, and few rows."""
STALE_S = 480.0
"""Oldest answer that a stale one may be, in seconds."""


@dataclass
class Client:
    """What all of a replica's clients share."""

    wire: Wire
    platform: Platform
    promises: Promises

    def see(self, place: str, look: Callable[[], Seen]) -> Seen:
        """Ask for something; it may not be answered."""
        self.wire.before(place)
        self.wire.stall("stall_looking", place, OUTLASTING_S)
        if self.wire.struck(place, "unreachable"):
            self.wire.situations[f"unreachable {place}"] += 1
            raise Unreachable(f"{place}: status 503")
        seen = look()
        if self.wire.struck(place, "order_meanwhile"):
            self.platform.meanwhile()
        self.wire.after(place)
        return seen

    def told(self, true_s: float) -> datetime:
        """A true time on the platform's clock, which counts milliseconds."""
        moment = START + timedelta(seconds=true_s + self.platform.ahead_s)
        return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)

    def send(self, call: Call, apply: Callable[[], None]) -> None:
        """Send a mutation: it is applied, refused, lost, or late; and its answer may be lost."""
        sending = self.promises.sending
        sending.leaving(self.wire.name)
        sending.under_way.add(self.wire.name)
        try:
            self._send(call, apply)
        except WorkspaceError:
            sending.under_way.discard(self.wire.name)
            raise
        sending.under_way.discard(self.wire.name)

    def _send(self, call: Call, apply: Callable[[], None]) -> None:
        wire, place, told = self.wire, f"call.{call.kind}", self.wire.situations
        wire.before(place)
        self.promises.note(f"sends {call.kind} {call.target}")
        self.promises.sending.sent(call, wire.name)
        fault = wire.struck(place, "denied", "overload", "lost", "late", "unanswered")
        if fault is not None:
            told[f"{fault} {place}"] += 1
        if fault == "denied":
            raise Denied(f"{place}: status 403")
        if fault == "overload":
            raise Unreachable(f"{place}: status 429")
        if fault == "late":
            wait = wire.draws.between(f"{wire.name}/{place}/late", 1, 120)
            wire.stage.at(wire.stage.now + wait, lambda: self._arrive(call, apply))
        if fault in ("lost", "late"):
            wire.time_out()
            raise Unreachable(f"{place}: no answer")
        try:
            self.promises.sending.arrives(call)
            apply()
        except Refused:
            told[f"refused {place}"] += 1
            self.promises.refused(call)
            raise
        if fault == "unanswered":
            wire.time_out()
            raise Unreachable(f"{place}: no answer")
        wire.after(place)

    def _arrive(self, call: Call, apply: Callable[[], None]) -> None:
        """What nobody waits for any more arrives; the workspace takes it, or not."""
        try:
            self.promises.sending.arrives(call)
            apply()
        except WorkspaceError:
            return
        self.wire.situations[f"late arrival {call.kind}"] += 1


@dataclass
class Endpoints(Client):
    """The serving endpoints, as `controller.workspace.serving` has them."""

    def observe(self, name: str) -> Endpoint | Absent:
        if name == STAGING:
            return self.see("see.staging", self._staging)
        assert name == SPEC.endpoint
        return self.see("see.endpoint", self._now)

    def _staging(self) -> Endpoint | Absent:
        now = self.platform.stage.now
        if self.wire.struck("see.staging", "stale"):
            old = [one for at, one in self.platform.earlier_staging if now - at <= MINUTE_S]
            if old:
                self.wire.situations["stale staging"] += 1
                return old[int(len(old) * self.wire.draws.share(f"{self.wire.name}/stale"))]
        return self.platform.staging

    def _now(self) -> Endpoint | Absent:
        now, changes = self.platform.stage.now, self.promises.others
        if self.wire.struck("see.endpoint", "flaps"):
            self.platform.flap()
        if self.wire.struck("see.endpoint", "stale"):
            old = [
                one
                for one in self.platform.earlier
                if now - one.at <= STALE_S and isinstance(one.endpoint, Endpoint)
            ]
            if old:
                self.wire.situations["stale answer"] += 1
                number = int(len(old) * self.wire.draws.share(f"{self.wire.name}/stale"))
                at, shown, by = old[number]
                assert isinstance(shown, Endpoint)
                if at < self.platform.deleted_at and self._passes_for_new(shown):
                    # Nobody can tell it from what a person has put back.
                    self.platform.causes.serves(STALE, now, shown.serving)
                    by = STALE
                changes.shown_endpoint(self.wire.name, by)
                return shown
        if self.platform.earlier:
            changes.shown_endpoint(self.wire.name, self.platform.earlier[-1].by)
        return self.platform.endpoint

    def _passes_for_new(self, shown: Endpoint) -> bool:
        """An answer of a deleted endpoint tells that it is, unless it is the last one of it."""
        return not self.platform.dated or shown.config_version >= self.platform.last_version

    def create(
        self, name: str, serving: Serving, settings: ServingSettings, sizes: Mapping[str, Size]
    ) -> None:
        assert (name, settings.model) == (SPEC.endpoint, MODEL)
        self.send(Serve(serving, sizes, None), lambda: self.platform.create(serving))

    def serve(
        self,
        name: str,
        serving: Serving,
        settings: ServingSettings,
        sizes: Mapping[str, Size],
        *,
        on: str,
    ) -> None:
        assert (name, settings.model) == (SPEC.endpoint, MODEL)
        call = Serve(serving, sizes, on)
        self._meant(call, on)
        self.send(call, lambda: self.platform.put(serving))

    def _meant(self, call: Call, on: str) -> None:
        found = self.platform.endpoint
        if isinstance(found, Absent) or (on and found.id != on):
            self.wire.situations["the endpoint of a call is gone"] += 1
            self.promises.sending.outdated(call, self.wire.name)
            raise Outdated("endpoint: it is another one by now")

    def apply(  # noqa: PLR0913 - as there
        self,
        name: str,
        serving: Serving,
        settings: ServingSettings,
        entity: str,
        size: Size,
        *,
        on: str,
    ) -> None:
        assert name == SPEC.endpoint
        assert settings.model == MODEL
        call = Apply(serving, entity, size, SPEC.setup.variables.names, on)
        self._meant(call, on)
        self.send(call, lambda: self.platform.put(serving))

    def create_staging(
        self, name: str, serving: Serving, settings: ServingSettings, mark: str
    ) -> None:
        assert settings.model == MODEL
        release, _, number = mark.rpartition("/")
        call = CreateStaging(name, serving, release, int(number))
        self.send(call, lambda: self.platform.create_staging(call))

    def remove_staging(self, name: str, id_: str) -> None:
        call = RemoveStaging(name, id_)
        self.send(call, lambda: self.platform.remove_staging(id_))


@dataclass
class Registry(Client):
    """The model registry, as `controller.workspace.registry` has it."""

    def versions(  # noqa: PLR0913 - as there
        self,
        model: str,
        detail: Collection[str] | None = None,
        *,
        above: int = 0,
        skip: Collection[str] = (),
        also: Collection[str] = (),
        certainly: Collection[str] = (),
    ) -> tuple[ModelVersion, ...]:
        self.platform.model_is(model)
        assert detail is None
        return self.see("see.versions", lambda: self._versions(above, skip, {*also, *certainly}))

    def _versions(
        self, above: int, skip: Collection[str], also: Collection[str]
    ) -> tuple[ModelVersion, ...]:
        return tuple(
            one
            if (number > above and one.version not in skip) or one.version in also
            else ModelVersion(version=one.version, status=one.status)
            for number, one in sorted(self.platform.versions.items())
        )

    def model_exists(self, model: str) -> bool:
        self.platform.model_is(model)
        return True

    def alias(self, model: str, alias: str) -> str | Absent:
        self.platform.model_is(model)
        assert alias == SPEC.alias
        return self.see("see.alias", self._alias)

    def _alias(self) -> str | Absent:
        now = self.platform.stage.now
        if self.wire.struck("see.alias", "stale"):
            old = [one for at, one in self.platform.earlier_alias if now - at <= MINUTE_S]
            if old:
                self.wire.situations["stale alias"] += 1
                self.promises.others.shown_alias(self.wire.name, STALE)
                return old[-1]
        self.promises.others.shown_alias(self.wire.name, self.platform.alias_by)
        return self.platform.alias

    def set_alias(self, model: str, alias: str, version: str) -> None:
        assert (model, alias) == (MODEL, SPEC.alias)
        self.send(MoveAlias(version), lambda: self._point(version))

    def _point(self, version: str) -> None:
        if int(version) not in self.platform.versions:
            raise Refused(f"model version {version} does not exist (404)")
        self.platform.name(version, CALL)

    def set_tag(self, model: str, version: str, key: str, value: str) -> None:
        self.platform.model_is(model)
        call = TagVersion(version, key, value)
        self.send(call, lambda: self.platform.tag(version, key, value))


@dataclass
class Probes(Client):
    """Questions to one served entity, as `controller.workspace.probes` asks them."""

    def round(  # noqa: PLR0913, PLR0917 - as the probes have it
        self,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
        paths: Paths,
        given_up: Callable[[], bool],
        inputs: Known,
        staging: str | None = None,
        begun: Begun | None = None,
    ) -> Round:
        assert inputs == (None, None)
        assert begun is None
        del given_up, paths
        there = self.platform.endpoint if staging is None else self.platform.staging
        return self.see("probe.round", lambda: self._round(there, candidate, stable, tests))

    def _round(
        self,
        there: Endpoint | Absent,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
    ) -> Round:
        if self.platform.conditions.holds("queries_unanswered", self.platform.stage.now):
            self.wire.situations["no answer to golden queries"] += 1
            raise Unreachable("endpoint: it answers no query")
        astray = self.wire.struck("probe.round", "answers_astray")
        share = _shares(there).get(candidate)
        absent = stable not in _shares(self.platform.endpoint)
        if share is None or (stable and absent):
            raise Unreachable("served entity: it is not there (404)")
        failed = share.version in self.platform.untrue
        if astray:
            now = self.platform.stage.now
            self.platform.causes.done("answers_astray", now, share.version)
        return Round(
            asked=len(tests),
            candidate_failed=(1,) if failed or astray else (),
            stable_failed=(1,) if astray and stable else (),
            why="query 1: answer lacks 'ACID'" if failed or astray else "",
        )

    def beat(
        self, entity: str, query: GoldenQuery, marker: str, inputs: Inputs | None = None
    ) -> bool:
        assert query.query
        assert inputs is None
        assert marker.startswith("headgate/")
        return self.see("probe.beat", lambda: self._beat(entity))

    def _beat(self, entity: str) -> bool:
        now = self.platform.stage.now
        if self.platform.conditions.holds("probes_dead", now):
            self.wire.situations["dead probe"] += 1
            return False
        self.platform.beats.setdefault(entity, []).append(now)
        return True


def _shares(there: Endpoint | Absent) -> Mapping[str, Share]:
    return there.serving.shares if isinstance(there, Endpoint) else {}


@dataclass
class Traffic(Client):
    """The endpoint's own minutes, as `controller.workspace.metrics` remembers them."""

    known: tuple[Minute, ...] = ()
    answered_at: datetime | None = None
    by_entity: tuple[EntityMinute, ...] = ()

    def minutes(self, endpoint: str, entities: frozenset[str] = frozenset()) -> tuple[Minute, ...]:
        assert endpoint == SPEC.endpoint
        return self.see("see.metrics", lambda: self._scrape(entities))

    def _scrape(self, entities: frozenset[str]) -> tuple[Minute, ...]:
        if self.platform.conditions.holds("metrics_gone", self.platform.stage.now):
            self.wire.situations["no metrics"] += 1
            raise Unreachable("metrics: status 503")
        self.answered_at = self.told(self.platform.stage.now).replace(microsecond=0)
        last = int(self.platform.stage.now // MINUTE_S)
        minutes = range(max(1, last - REMEMBERED + 1), last + 1)
        ends = [(self.told(number * MINUTE_S), _grains(number)) for number in minutes]
        counted = [(end, self._all(grains)) for end, grains in ends]
        self.known = tuple(
            Minute(ends_at=end, requests=arm.requests, errors=arm.errors) for end, arm in counted
        )
        if self.platform.labelled and entities:
            # Whatever the endpoint was believed to serve, an export tells of all that it does.
            self.by_entity = tuple(EntityMinute(end, self._own(grains)) for end, grains in ends)
        return self.known

    def _all(self, grains: range) -> Arm:
        return summed([self.platform.everybody(one) for one in grains])

    def _own(self, grains: range) -> dict[str, Arm]:
        names = {name for grain in grains for name in self.platform.split(grain).shares}
        return {
            name: summed([self.platform.arm(one, name) for one in grains]) for name in sorted(names)
        }

    def minutes_by_entity(self, endpoint: str) -> tuple[EntityMinute, ...]:
        assert endpoint == SPEC.endpoint
        return self.by_entity

    def labelled(self, endpoint: str) -> bool:
        assert endpoint == SPEC.endpoint
        return bool(self.by_entity)

    def told_at(self, endpoint: str) -> datetime | None:
        assert endpoint == SPEC.endpoint
        return self.answered_at

    def requests_per_second(self, endpoint: str) -> float | None:
        assert endpoint == SPEC.endpoint
        if not self.known:
            return None
        return sum(one.requests for one in self.known) / len(self.known) / MINUTE_S

    def peak_concurrency(self, endpoint: str) -> float | None:
        assert endpoint == SPEC.endpoint
        return None


def _grains(minute: int) -> range:
    """The grains of the minute that ends with this number."""
    each = MINUTE_S // GRAIN_S
    return range((minute - 1) * each, minute * each)


@dataclass
class Recorded(Client):
    """Requests that users have sent to stable, as `controller.workspace.recorded` finds them."""

    def draw(self, sample: Sample) -> Drawn:
        return self.see("replay.draw", lambda: Drawn(requests=tuple(map(str, range(sample.most)))))

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[RecordedRequest]:
        assert (table, over) == (TABLE, REPLAY.over)
        return self.see(
            "replay.texts", lambda: [RecordedRequest(one, "{}", succeeded=True) for one in ids]
        )


@dataclass
class Pairs:
    """Both versions' answers, as `controller.workspace.replays` asks for them."""

    platform: Platform

    def pair(
        self, recorded: RecordedRequest, candidate: str, stable: str, salt: str, paths: Paths
    ) -> Pair:
        del paths
        own, theirs = (
            self._reply(entity, f"{salt}/{recorded.id}") for entity in (candidate, stable)
        )
        return Pair(request=recorded.id, candidate=own, stable=theirs)

    def _reply(self, entity: str, place: str) -> Reply:
        now = self.platform.endpoint
        share = now.serving.shares.get(entity) if isinstance(now, Endpoint) else None
        version = share.version if share else ""
        rate = self.platform.rate(version, self.platform.stage.now)
        failed = self.platform.draws.at(f"replay/{entity}/{place}") < rate
        return ANSWERED if not failed else Reply(failed=True)


@dataclass
class Table(Client):
    """The inference table, as `controller.workspace.inference` asks it."""

    def look(self, ask: Ask) -> Answer:
        return self.see("see.table", lambda: self._look(ask))

    def history(
        self, *, table: str, endpoint: str, stable_entity: str, application: str, paths: Paths
    ) -> History:
        del table, endpoint, stable_entity, application, paths
        return self.see("see.history", self._history)

    def _history(self) -> History:
        requests = self.platform.requests_per_s * 24 * 3600
        return History(requests=requests, errors=round(requests * self.platform.error_rate))

    def _look(self, ask: Ask) -> Answer:
        now = self.platform.stage.now
        if self.platform.conditions.holds("table_silent", now):
            self.wire.situations["silent table"] += 1
            raise Unreachable("warehouse: it is asleep")
        beats = [self._beat(one) for one in (ask.candidate_entity, ask.stable_entity) if one]
        known = [one for one in beats if one is not None]
        mark = min(known) if len(known) == len(beats) else None
        return Answer(
            now=self.told(now),
            watermark=None if mark is None else self.told(mark),
            windows=() if mark is None else self._windows(ask, self.told(mark)),
            recounted=self._recounted(ask),
            minutes={} if mark is None else self._minutes(ask, mark),
        )

    def _beat(self, entity: str) -> float | None:
        """The newest marked row of an entity that has arrived."""
        now = self.platform.stage.now
        sent = self.platform.beats.get(entity, [])
        return max((at for at in sent if at + self.platform.lag_s(at) <= now), default=None)

    def _windows(self, ask: Ask, mark: datetime) -> tuple[Window, ...]:
        cuts = [cut for cut in ask.cuts if cut < mark]
        return tuple(
            Window(
                opened=opened,
                closed=closed,
                candidate=self._rows(opened, closed, ask.candidate_entity),
                stable=self._rows(opened, closed, ask.stable_entity),
                unattributed=0,
            )
            for opened, closed in pairwise([ask.since, *cuts, mark])
            if opened < closed
        )

    def _recounted(self, ask: Ask) -> int:
        if ask.counted_since is None:
            return 0
        arms = [
            self._rows(ask.counted_since, ask.since, one)
            for one in (ask.candidate_entity, ask.stable_entity)
        ]
        return sum(one.requests for one in arms)

    def _rows(self, since: datetime, until: datetime, entity: str | None) -> Arm:
        """What the table has of an entity's users by now, but for the errors that it leaves out."""
        if entity is None:
            return NOTHING
        grains = range(self._grain(since), self._grain(until))
        return summed([self._shown(one, entity) for one in grains if self._arrived(one)])

    def _shown(self, grain: int, entity: str) -> Arm:
        arm = self.platform.arm(grain, entity)
        if not self.platform.hidden or not arm.errors:
            return arm
        gone = self.platform.draws.count(
            f"hidden/{grain}/{entity}", arm.errors, self.platform.hidden
        )
        left = arm.errors - gone
        return Arm(requests=arm.requests - gone, errors=left, server_errors=left)

    def _arrived(self, grain: int) -> bool:
        at = grain * GRAIN_S
        return at + self.platform.lag_s(at) <= self.platform.stage.now

    def _minutes(self, ask: Ask, mark: float) -> dict[datetime, tuple[int, int]]:
        """Rows and failures by whole minute; the metrics' minutes end with the true ones."""
        if ask.minute_phase_ms is None:
            return {}
        first = int((self._true(ask.since) - MINUTE_S) // MINUTE_S) + 1
        found: dict[datetime, tuple[int, int]] = {}
        for number in range(max(1, first), int(mark // MINUTE_S) + 1):
            arms = [
                self._shown(grain, name)
                for grain in _grains(number)
                if self._arrived(grain)
                for name in self._served(grain)
            ]
            rows = sum(one.requests for one in arms)
            if rows:
                end = self.told(number * MINUTE_S)
                found[end] = rows, sum(one.errors for one in arms)
        return found

    def _served(self, grain: int) -> list[str]:
        return sorted(self.platform.split(grain).shares)

    def _true(self, told: datetime) -> float:
        return (told - START).total_seconds() - self.platform.ahead_s

    def _grain(self, told: datetime) -> int:
        """The first grain that begins at a time or after it."""
        return max(0, -int(-self._true(told) // GRAIN_S))
