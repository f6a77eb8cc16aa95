"""Small records to write and read, and a clock that the tests turn."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from controller.record.budget import Budget
from controller.record.errors import Conflict
from controller.record.loading import Loaded
from controller.record.schema import CALLS
from controller.record.store import Committed, Store
from controller.record.times import micros
from policies.evidence import Arm, Block
from policies.guards import Guards
from policies.rollout import Rollout
from states.machine import State
from states.pinned import Pinned
from states.plan import Call, Event, Plan, Serve
from states.release import Application, Release
from states.spec import Spec
from states.status import Status, shown, status, weights_seen
from states.world import Serving

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = Spec(model="main.ml.rag", endpoint="rag-endpoint")


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """The time it shows."""
        return self.now

    @property
    def now(self) -> datetime:
        """The time it shows; setting it turns it there."""
        return self._now

    @now.setter
    def now(self, now: datetime) -> None:
        self._now = now
        self._shown()

    def turn(self, **by: float) -> None:
        """Turn it on."""
        self.now += timedelta(**by)

    def _shown(self) -> None:
        """Tell those who do not ask."""


def store_in(folder: Path, clock: Clock | None = None) -> Store:
    return Store(f"sqlite:///{folder / 'headgate.db'}", clock=clock or Clock())


def pinned(baseline: str | None = "1") -> Pinned:
    return Pinned(
        baseline=baseline,
        incumbent=baseline,
        rollout=Rollout(),
        guards=Guards(),
        tests=(),
        max_lag=timedelta(minutes=90),
        provisioning_deadline=timedelta(hours=1),
        testing_deadline=timedelta(hours=1),
    )


def release(version: str = "2", state: State = State.REGISTERED, **fields: object) -> Release:
    begun = {} if state is State.REGISTERED else {"pinned": pinned()}
    made = Release(application="rag", version=version, state=state, since=NOON, because="made")
    return replace(made, **{**begun, **fields})  # type: ignore[arg-type]


def block(number: int) -> Block:
    return Block(
        number=number,
        source="inference table",
        span=1,
        step=1,
        comparable=True,
        opened_at=NOON + timedelta(minutes=number),
        closed_at=NOON + timedelta(minutes=number + 1),
        candidate=Arm(requests=20, errors=2, server_errors=1),
        stable=Arm(requests=380, errors=3, server_errors=0),
    )


def plan(
    application: Application,
    *releases: Release,
    events: tuple[Event, ...] = (),
    calls: tuple[Call, ...] = (),
) -> Plan:
    for one in releases:
        application = application.with_release(one)
    return Plan(application=application, events=events, calls=calls)


def told(one: Release, name: str = "release.transition", because: str = "made") -> Event:
    return Event(name=name, release=(one.version, one.attempt), because=because)


def write(store: Store, *releases: Release, name: str = "rag") -> Committed:
    """Commit releases, with one event each."""
    loaded = store.load(name, SPEC)
    events = tuple(told(one) for one in releases)
    return store.commit(loaded, plan(loaded.application, *releases, events=events))


def seqs(store: Store) -> Iterator[int]:
    return (line["seq"] for line in store.journal())


def unchanged(loaded: Loaded) -> Plan:
    return Plan(application=loaded.application)


def written_since(store: Store, since: datetime) -> int:
    """How many calls were sent since then, as far as is known, to the whole workspace."""
    with store.reading() as connection:
        sent = CALLS.c.outcome != "unsent"
        counted = select(func.count()).where(CALLS.c.at >= micros(since), sent)
        return int(connection.execute(counted).scalar_one())


def send(store: Store, budget: Budget, name: str = "rag", *, back: bool = False) -> int:
    """Commit a call within the budget, on the way on or on the way back; how many were taken."""
    call = Serve(Serving())
    while True:
        loaded = store.load(name, Spec(model=f"main.ml.{name}", endpoint=name))
        home = release("2", State.ROLLED_BACK, settled=False, application=name)
        made = plan(loaded.application, *([home] if back else []))
        try:
            return len(store.commit(loaded, made, [call], budget=budget).calls)
        except Conflict:
            continue  # another thread was first


def of_the_table(store: Store, name: str, *, all_: bool = False) -> list[Status]:
    """What the tables say; stable's observed weight is what the live release leaves of it."""
    application = store.load(name).application
    releases = [one for one in application.releases if all_ or shown(application, one)]
    return [_with_rest(application, status(application, one)) for one in releases]


def _with_rest(application: Application, told: Status) -> Status:
    live = application.live
    rest = live.weight_seen if live and live.version != told["version"] else None
    found = weights_seen(application) is not None
    if rest is None or told["version"] != application.stable or found:
        return told
    return {**told, "weight_seen": 100 - rest}
