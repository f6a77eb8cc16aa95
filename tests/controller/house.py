"""A daemon's pass on a real store, with the small world of the stories outside."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from controller.daemon.act import Actor
from controller.daemon.backoff import Backoff
from controller.daemon.leaps import Leaps
from controller.daemon.passes import Pass
from controller.record.budget import Budget
from controller.record.printer import Printer
from controller.record.schema import CALLS
from controller.record.store import Store
from controller.workspace.errors import WorkspaceError
from controller.workspace.serving import ServingSettings
from policies.fuse import Minute
from states.leap import leapt
from states.plan import (
    Apply,
    Call,
    CreateStaging,
    MoveAlias,
    RemoveStaging,
    Serve,
    SwitchFallbackOff,
    TagVersion,
)
from states.release import Application
from states.world import Evidence, Serving, Size, World
from tests.states.story import MODEL, SPEC, START, Story

NAME = "rag-chatbot"


@dataclass
class Outside:
    """The workspace, as observer, endpoints and registry at once."""

    story: Story = field(default_factory=Story)
    meanwhile: Callable[[], None] | None = None
    """What happens between looking and committing."""
    failing: WorkspaceError | None = None
    failing_at: dict[str, WorkspaceError] = field(default_factory=dict)
    """By kind of call."""
    dies: bool = False
    sent: list[str] = field(default_factory=list)
    sized: list[str] = field(default_factory=list)
    """Entities that were given a size."""
    platform: Callable[[], datetime] | None = None
    """Its own clock, which nobody sets; None: the store's."""
    since_read: Callable[[], timedelta] = timedelta
    """How long ago the store's clock was read."""
    requests: int = 0
    """A minute, of which the endpoint's metrics tell by its own clock; 0: they tell nothing."""
    errors: int = 0
    """Of these."""

    warehouse: bool = True
    """It answers, be the table silent or not."""
    first: bool = True
    """Nobody here has looked before."""

    def forget(self) -> None:
        """How far its own clock is ahead is measured at each look; that it looked is forgotten."""
        self.first = True

    def glance(self, application: Application, now: datetime) -> None:
        """Here every look is a whole one."""

    def look(self, application: Application, now: datetime) -> World:
        # Blocks have this clock's times; what the record cuts them by is translated, and back.
        self.story.now = self.platform() if self.platform is not None else now
        ahead = self.story.now - now - self.since_read() if self.platform else timedelta()
        self.story.application = leapt(application, ahead)
        if self.requests:
            self._tell_minutes()
        world = self.story.world()
        if (evidence := world.evidence) is not None:
            marks = {source: mark - ahead for source, mark in evidence.watermarks.items()}
            world = replace(world, evidence=replace(evidence, watermarks=marks))
        if self.warehouse:
            world = replace(world, evidence=replace(world.evidence or Evidence(), lead=ahead))
        if self.meanwhile is not None:
            self.meanwhile()
        first, self.first = self.first, False
        return replace(world, now=now, took=self.since_read(), ahead=ahead, first=first)

    def _tell_minutes(self) -> None:
        """Tell the minutes that have ended since the last look, after the hour before the first."""
        minutes = self.story.minutes
        ends_at = minutes[-1].ends_at if minutes else START - timedelta(hours=1)
        while (ends_at := ends_at + timedelta(minutes=1)) <= self.story.now:
            one = Minute(ends_at=ends_at, requests=self.requests, errors=self.errors)
            minutes = (*minutes, one)
        self.story.minutes = minutes

    def _call(self, call: Call) -> None:
        if self.dies:
            raise KeyboardInterrupt
        self.sent.append(f"{call.kind} {call.target}")
        failing = self.failing or self.failing_at.get(call.kind)
        if failing is not None:
            raise failing
        self.story.obey(call)

    def create(
        self, name: str, serving: Serving, settings: ServingSettings, sizes: Mapping[str, Size]
    ) -> None:
        assert (name, settings.model) == (SPEC.endpoint, MODEL)
        self._call(Serve(serving, sizes, None))

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
        self._call(Serve(serving, sizes, on))

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
        self._call(Apply(serving, entity, size, (), on))
        self.sized.append(f"{entity} {size}")

    def switch_fallback_off(self, name: str) -> None:
        assert name == SPEC.endpoint
        self._call(SwitchFallbackOff())

    def create_staging(
        self, name: str, serving: Serving, settings: ServingSettings, mark: str
    ) -> None:
        assert settings.model == MODEL
        release, _, number = mark.rpartition("/")
        self._call(CreateStaging(name, serving, release, int(number)))

    def remove_staging(self, name: str, id_: str) -> None:
        self._call(RemoveStaging(name, id_))

    def set_alias(self, model: str, alias: str, version: str) -> None:
        assert (model, alias) == (MODEL, "production")
        self._call(MoveAlias(version))

    def set_tag(self, model: str, version: str, key: str, value: str) -> None:
        assert model == MODEL
        self._call(TagVersion(version, key, value))


@dataclass
class House:
    """A daemon's pass, its store and what is outside, on one clock."""

    store: Store
    outside: Outside
    clock: list[datetime]
    one: Pass
    ticks: list[float]
    """Seconds of the clock that is never set."""
    frozen: bool = False
    """The store's clock stands still."""

    def passes(self, times: int = 1, *, after: float = 30) -> None:
        for _ in range(times):
            self.ticks[0] += after
            if not self.frozen:
                self.clock[0] += timedelta(seconds=after)
            self.one.once()

    def application(self) -> Application:
        return self.store.load(NAME, SPEC).application

    def outcomes(self) -> list[str]:
        """What came of each call that was written down, oldest first."""
        with self.store.reading() as connection:
            return list(connection.scalars(select(CALLS.c.outcome).order_by(CALLS.c.id)))

    def until(self, state: str) -> None:
        for _ in range(100):
            self.passes()
            live = self.application().live
            if live is not None and live.state == state:
                return
        raise AssertionError(f"never {state}")


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    """A house with an empty store, on a clock that stands still between passes."""
    clock, ticks = [START], [0.0]
    folder.mkdir(exist_ok=True)
    store = Store(f"sqlite:///{folder / 'headgate.db'}", clock=lambda: clock[0])
    outside = Outside(platform=lambda: START + timedelta(seconds=ticks[0]))
    settings = ServingSettings(model=MODEL)
    budget = Budget(shared=True)
    sending, to_staging, to_registry = (
        Backoff(what, draw=lambda *_: 0.0, clock=lambda: ticks[0])
        for what in ("sending", "sending to staging", "sending to the registry")
    )
    actor = Actor(outside, outside, store, settings, budget, sending, to_staging, to_registry)  # type: ignore[arg-type]
    leaps = Leaps(lambda: ticks[0])
    outside.since_read = leaps.since_read
    one = Pass(NAME, SPEC, store, Printer(store), outside, actor, leaps)  # type: ignore[arg-type]
    yield House(store, outside, clock, one, ticks)
    store.close()
