"""What is outside, as it truly is: endpoint, registry, users and what they met, and the clocks."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from controller.workspace.errors import Refused
from policies.evidence import NOTHING, Arm, summed
from states.plan import CreateStaging
from states.world import Absent, Endpoint, ModelVersion, Serving
from tests.simulation.causes import CALL, DELETION, EDIT, Cause, Causes
from tests.simulation.draws import Draws
from tests.simulation.stage import START, Stage
from tests.states.story import MODEL, TABLE, serving, version

GRAIN_S = 5
"""Users are counted by grains of so many seconds: each has one split, and is told of whole."""
WHOLE = 100
ERRING = 0.1
"""Share of its requests that a bad version fails."""
STAGING = "rag-chatbot-endpoint-staging"
KEPT = 80
"""Earlier looks at the endpoint that a stale answer may be."""


@dataclass
class Conditions:
    """What is out of order outside, each until a true time."""

    until: dict[str, float] = field(default_factory=dict)

    def set(self, what: str, until: float) -> None:
        """Something is out of order until then."""
        self.until[what] = max(until, self.until.get(what, 0.0))

    def holds(self, what: str, now: float) -> bool:
        """Whether it is out of order now."""
        return self.until.get(what, 0.0) > now


@dataclass
class Clock:
    """The store's clock: true, until it jumps or stands still."""

    stage: Stage
    offset_s: float = 0.0
    stands_since: float | None = None
    jumps: list[float] = field(default_factory=list)
    """True times of all that went wrong with it."""

    def __call__(self) -> datetime:
        at = self.stage.now if self.stands_since is None else self.stands_since
        return START + timedelta(seconds=at + self.offset_s)

    def jump(self, seconds: float) -> None:
        """From now on it is ahead by so much more."""
        self.offset_s += seconds
        self.jumps.append(self.stage.now)

    def stand(self, seconds: float) -> None:
        """It stands still, and then shows the time again."""
        if self.stands_since is None:
            self.stands_since = self.stage.now
            self.jumps.append(self.stage.now)
            self.stage.at(self.stage.now + seconds, self.go_on)

    def go_on(self) -> None:
        """It shows the time again."""
        if self.stands_since is not None:
            self.stands_since = None
            self.jumps.append(self.stage.now)


class Shown(NamedTuple):
    """What an endpoint was, since when, and who made it serve that."""

    at: float
    endpoint: Endpoint | Absent
    by: str


@dataclass
class Platform:
    """One endpoint of one model in a workspace, and its users."""

    stage: Stage
    draws: Draws
    requests_per_s: int = 1000
    error_rate: float = 0.0
    """Of every good version."""
    ahead_s: float = 0.0
    """How far the platform's clock is ahead of the true time."""
    endpoint: Endpoint | Absent = field(default_factory=Absent)
    alias: str | Absent = field(default_factory=Absent)
    versions: dict[int, ModelVersion] = field(default_factory=dict)
    error_rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By version, where it is worse: how bad, and since when."""
    bad_once_named: set[str] = field(default_factory=set)
    """Versions that err from the moment on at which the alias names them."""
    undeployable: set[str] = field(default_factory=set)
    untrue: set[str] = field(default_factory=set)
    """Versions that fail their golden queries."""
    labelled: bool = False
    """The metrics' labels name the served entity."""
    hidden: float = 0.0
    """Share of errors that the inference table leaves out."""
    conditions: Conditions = field(default_factory=Conditions)
    earlier: list[Shown] = field(default_factory=list)
    alias_by: str = CALL
    """Who made the alias name what it does."""
    earlier_alias: list[tuple[float, str | Absent]] = field(default_factory=list)
    splits: list[tuple[float, Serving]] = field(default_factory=list)
    """What users got, since when."""
    beats: dict[str, list[float]] = field(default_factory=dict)
    """By entity, when marked probes were asked."""
    finish: Callable[[], None] | None = None
    """Ends the update that hangs."""
    meanwhile: Callable[[], None] = lambda: None
    """What an operator does while a replica looks."""
    updates: int = 0
    dated: bool = True
    """It tells one endpoint from another: each has an id and the time of its creation."""
    deleted_at: float = -1.0
    """When somebody last deleted the endpoint."""
    last_version: int = 0
    """The configuration version that it had then."""
    late: list[tuple[float, float]] = field(default_factory=list)
    """When rows were written that come late."""
    counted: dict[tuple[int, str], Arm] = field(default_factory=dict)
    staging: Endpoint | Absent = field(default_factory=Absent)
    earlier_staging: list[tuple[float, Endpoint | Absent]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    """Ids of the staging endpoints that calls have made; a stranger's is not among them."""
    finish_staging: Callable[[], None] | None = None
    """Ends the deployment of a staging endpoint that hangs."""
    causes: Causes = field(default_factory=Causes)
    """What was truly done to versions."""
    hangs: dict[str, Cause] = field(default_factory=dict)
    """Of the endpoint and of the staging endpoint, why its update takes long."""

    def good(self, version: str) -> bool:
        """Nothing is wrong with a version."""
        worse = version in self.error_rates or version in self.bad_once_named
        return not worse and version not in self.undeployable | self.untrue

    def adopted(self) -> None:
        """Version 1 has all users, and has had them for a while."""
        name = "rag_chatbot-v1"
        self.versions[1] = version(1)
        self.alias = "1"
        self.show(
            Endpoint(
                serving=serving(v1=100),
                **self._made_now(),
                config_version=3,
                ready=frozenset({name}),
                inference_table=TABLE,
            )
        )

    def _made_now(self) -> dict[str, Any]:
        """What tells an endpoint that is created now from others, if anything does."""
        ms = round((START + timedelta(seconds=self.stage.now + self.ahead_s)).timestamp() * 1000)
        return {"id": f"made at {ms}", "created_ms": ms} if self.dated else {}

    def show(self, endpoint: Endpoint | Absent, by: str = "") -> None:
        """From now on the endpoint is so; by whom, if it serves something else than before."""
        self.endpoint = endpoint
        self._moves_on("endpoint", endpoint)
        made = by or (self.earlier[-1].by if self.earlier else CALL)
        self.earlier = [*self.earlier, Shown(self.stage.now, endpoint, made)][-KEPT:]
        split = endpoint.serving if isinstance(endpoint, Endpoint) else Serving()
        if not self.splits or self.splits[-1][1] != split:
            self.splits.append((self.stage.now, split))

    def _moves_on(self, place: str, endpoint: Endpoint | Absent) -> None:
        """What hung there is over, unless its update is still under way."""
        if isinstance(endpoint, Endpoint) and endpoint.updating:
            return
        hung = self.hangs.pop(place, None)
        if hung is not None:
            hung.until = self.stage.now

    def create(self, wanted: Serving) -> None:
        """Make an endpoint that serves this in a while; one that is there is left as it is."""
        if isinstance(self.endpoint, Endpoint):
            raise Refused("endpoint: it exists (409)")
        made = self._made_now()
        empty = Endpoint(serving=Serving(), inference_table=TABLE, owner="headgate", **made)
        self._begin(empty, wanted, CALL)

    def put(self, wanted: Serving, by: str = CALL) -> None:
        """Take a full-state configuration: it is deployed in a while, one at a time."""
        before = self.endpoint
        if isinstance(before, Absent):
            raise Refused("endpoint: it is not there (404)")
        if before.updating:
            raise Refused("endpoint: an update is in progress (409): look again")
        self._begin(before, wanted, by)

    def _begin(self, before: Endpoint, wanted: Serving, by: str) -> None:
        self.updates += 1
        fresh = set(wanted.shares) - set(before.serving.shares)
        number = self.updates
        took = self.draws.between("platform/update", 3, 25) + (20 if fresh else 0)
        fault = self.draws.strikes("platform/update", ("slow_update", "stuck"))
        if fault == "slow_update":
            took += self.draws.between("platform/slow", 60, 900)
        if fault is not None:
            self.hangs["endpoint"] = self.causes.begun(fault, self.stage.now)
        starting = replace(
            before, updating=True, pending=wanted, update_failed=False, failed=frozenset()
        )
        self.show(starting)

        def finish() -> None:
            if self.updates == number:
                self.finish = None
                self._finished(wanted, by)

        if fault == "stuck":
            self.finish = finish
        else:
            self.stage.at(self.stage.now + took, finish)

    def _finished(self, wanted: Serving, by: str) -> None:
        now = self.endpoint
        if isinstance(now, Absent):
            return
        gone = {
            name for name, share in wanted.shares.items() if int(share.version) not in self.versions
        }
        bad = (self._undeployable(wanted) | gone) - frozenset(now.serving.shares)
        if not bad and self.draws.strikes("platform/build", ("build_fails",)):
            bad = frozenset(set(wanted.shares) - set(now.serving.shares))
        if bad:
            for name in bad:
                self.causes.done("build", self.stage.now, wanted.shares[name].version)
            failed = replace(now, updating=False, pending=None, update_failed=True, failed=bad)
            self.show(failed)
            return
        self.show(
            replace(
                now,
                serving=wanted,
                pending=None,
                updating=False,
                update_failed=False,
                failed=frozenset(),
                config_version=now.config_version + 1,
                ready=frozenset(wanted.shares),
            ),
            by,
        )

    def _undeployable(self, wanted: Serving) -> frozenset[str]:
        """Of what is to be served, what cannot be."""
        shares = wanted.shares.items()
        return frozenset(name for name, one in shares if one.version in self.undeployable)

    def show_staging(self, endpoint: Endpoint | Absent) -> None:
        """From now on the staging endpoint is so."""
        self.staging = endpoint
        self._moves_on("staging", endpoint)
        self.earlier_staging = [*self.earlier_staging, (self.stage.now, endpoint)][-KEPT:]

    def create_staging(self, call: CreateStaging) -> None:
        """Make it; it is deployed in a while. One that is there is left as it is."""
        assert call.endpoint == STAGING
        if isinstance(self.staging, Endpoint):
            raise Refused("endpoint: it exists (409)")
        self.made.append(f"made-{len(self.made) + 1}")
        id_ = self.made[-1]
        starting = Endpoint(
            serving=Serving(),
            pending=call.serving,
            updating=True,
            id=id_,
            owner="headgate",
            made_for=call.mark,
        )
        self.show_staging(starting)
        took = self.draws.between("platform/staging", 10, 60)
        fault = self.draws.strikes("platform/staging", ("slow_update", "stuck"))
        if fault == "slow_update":
            took += self.draws.between("platform/staging/slow", 60, 900)
        if fault is not None:
            self.hangs["staging"] = self.causes.begun(fault, self.stage.now)

        def finish() -> None:
            if isinstance(self.staging, Endpoint) and self.staging.id == id_:
                self.finish_staging = None
                self._deployed(self.staging, call.serving)

        if fault == "stuck":
            self.finish_staging = finish
        else:
            self.stage.at(self.stage.now + took, finish)

    def _deployed(self, now: Endpoint, wanted: Serving) -> None:
        [(name, share)] = wanted.shares.items()
        bad = share.version in self.undeployable or int(share.version) not in self.versions
        if bad or self.draws.strikes("platform/staging/build", ("build_fails",)):
            failed = frozenset({name})
            self.causes.done("build", self.stage.now, share.version)
            self.show_staging(replace(now, updating=False, update_failed=True, failed=failed))
            return
        ready = replace(now, serving=wanted, pending=None, updating=False, ready=frozenset({name}))
        self.show_staging(replace(ready, config_version=1))

    def remove_staging(self, id_: str) -> None:
        """Delete the staging endpoint, if it is the one that was meant."""
        now = self.staging
        if isinstance(now, Endpoint) and (now.owner, now.id) != ("headgate", id_):
            raise Refused("endpoint: it is not the one that Headgate made")
        if isinstance(now, Endpoint):
            self.show_staging(Absent())

    @property
    def left_behind(self) -> bool:
        """A staging endpoint is there that a call of ours has made."""
        return isinstance(self.staging, Endpoint) and self.staging.id in self.made

    def edit(self, wanted: Serving, *, slowly: bool = False) -> bool:
        """Somebody changes the endpoint by hand, unless an update is under way.

        That is deployed as any change is, or so fast that nobody sees it under way; but not what
        cannot be deployed.
        """
        now = self.endpoint
        if isinstance(now, Absent) or now.updating:
            return False
        self.causes.serves(EDIT, self.stage.now, wanted)
        if slowly or self._undeployable(wanted):
            self.put(wanted, EDIT)
            return True
        self.show(
            replace(
                now,
                serving=wanted,
                update_failed=False,
                failed=frozenset(),
                config_version=now.config_version + 1,
                ready=frozenset(wanted.shares),
            ),
            EDIT,
        )
        return True

    def delete(self) -> None:
        """Somebody deletes the endpoint."""
        if isinstance(self.endpoint, Endpoint):
            self.last_version = self.endpoint.config_version
        self.deleted_at = self.stage.now
        self.updates += 1
        self.finish = None
        self.show(Absent(), DELETION)

    def recreate(self, wanted: Serving) -> None:
        """Somebody makes it anew; its versions count from 1."""
        self.causes.serves(EDIT, self.stage.now, wanted)
        self.show(
            Endpoint(
                serving=wanted,
                **self._made_now(),
                config_version=1,
                ready=frozenset(wanted.shares) - self._undeployable(wanted),
                failed=self._undeployable(wanted),
                inference_table=TABLE,
            ),
            EDIT,
        )

    def flap(self) -> None:
        """What has no users is not ready for a while, and nobody notices."""
        now = self.endpoint
        if not isinstance(now, Endpoint):
            return
        idle = {name for name, share in now.serving.shares.items() if not share.weight}
        if idle & now.ready:
            self.show(replace(now, ready=now.ready - idle))
            self.stage.at(self.stage.now + 45, self.be_ready)

    def be_ready(self) -> None:
        """What serves is ready again."""
        now = self.endpoint
        if isinstance(now, Endpoint) and now.ready != frozenset(now.serving.shares):
            self.show(replace(now, ready=frozenset(now.serving.shares)))

    def name(self, alias: str | Absent, by: str = EDIT) -> None:
        """The alias names another version from now on."""
        self.earlier_alias = [*self.earlier_alias, (self.stage.now, self.alias)][-KEPT:]
        self.alias, self.alias_by = alias, by
        if alias in self.bad_once_named and alias not in self.error_rates:
            self.error_rates[str(alias)] = ERRING, self.stage.now

    def tag(self, number: str, key: str, value: str) -> None:
        """A version gets a tag."""
        known = self.versions.get(int(number))
        if known is None:
            raise Refused(f"model version {number} does not exist (404)")
        self.versions[int(number)] = replace(known, tags={**(known.tags or {}), key: value})

    def lag_s(self, at: float) -> float:
        """How long a row of a true time takes to appear in the table."""
        return 240.0 if self.late_at(at) else 8.0

    def late_at(self, at: float) -> bool:
        """Whether rows of a true time come late."""
        return any(begun <= at < ended for begun, ended in self.late)

    def arm(self, grain: int, entity: str) -> Arm:
        """What one version's users met in a grain of time."""
        known = self.counted.get((grain, entity))
        if known is None:
            known = self.counted[grain, entity] = self._arm(grain, entity)
        return known

    def _arm(self, grain: int, entity: str) -> Arm:
        share = self.split(grain).shares.get(entity)
        if share is None or not share.weight:
            return NOTHING
        asked = self.requests_per_s * GRAIN_S
        requests = asked
        if share.weight < WHOLE:
            requests = self.draws.count(f"users/{grain}/{entity}", asked, share.weight / WHOLE)
        rate = self.rate(share.version, grain * GRAIN_S)
        errors = self.draws.count(f"errors/{grain}/{entity}", requests, rate)
        return Arm(requests=requests, errors=errors, server_errors=errors)

    def rate(self, version: str, at: float = inf) -> float:
        """The share of its requests that a version failed at a true time; by default, fails."""
        worse, since = self.error_rates.get(version, (self.error_rate, 0.0))
        return worse if at >= since else self.error_rate

    def everybody(self, grain: int) -> Arm:
        """What all users met in a grain of time."""
        return summed([self.arm(grain, name) for name in self.split(grain).shares])

    def split(self, grain: int) -> Serving:
        """Who served in a grain of time: by its beginning, as the first answer shows."""
        place = bisect_right(self.splits, float(grain * GRAIN_S), key=_begun) - 1
        return self.splits[max(0, place)][1]

    def model_is(self, model: str) -> None:
        """Nobody asks about another model."""
        assert model == MODEL, model


def _begun(one: tuple[float, Serving]) -> float:
    return one[0]
