"""One pass on a real store, with a small world outside; what crashes and operators do to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.daemon.act import BUDGET, RESERVE, Actor
from controller.daemon.passes import Pass
from controller.record.printer import Printer
from controller.record.store import Store
from controller.workspace.errors import Refused, Unreachable, WorkspaceError
from controller.workspace.serving import ServingSettings
from states.desired import desired
from states.plan import MoveAlias, Serve, TagVersion
from states.release import Application, Order
from states.world import Absent, Serving, World
from tests.states.story import MODEL, SPEC, START, Story

NAME = "rag-chatbot"


@dataclass
class Outside:
    """The workspace, as observer, endpoints and registry at once."""

    story: Story = field(default_factory=Story)
    meanwhile: Callable[[], None] | None = None
    """What happens between looking and committing."""
    failing: WorkspaceError | None = None
    dies: bool = False
    sent: list[str] = field(default_factory=list)

    def look(self, application: Application, now: datetime) -> World:
        self.story.application, self.story.now = application, now
        world = self.story.world()
        if self.meanwhile is not None:
            self.meanwhile()
        return world

    def _call(self, call: Serve | MoveAlias | TagVersion) -> None:
        if self.dies:
            raise KeyboardInterrupt
        self.sent.append(f"{call.kind} {call.target}")
        if self.failing is not None:
            raise self.failing
        self.story.obey(call)

    def serve(self, name: str, serving: Serving, settings: ServingSettings) -> None:
        assert name == SPEC.endpoint
        assert settings.model == MODEL
        self._call(Serve(serving))

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

    def passes(self, times: int = 1, *, after: float = 30) -> None:
        for _ in range(times):
            self.clock[0] += timedelta(seconds=after)
            self.one.once()

    def application(self) -> Application:
        return self.store.load(NAME, SPEC).application

    def until(self, state: str) -> None:
        for _ in range(100):
            self.passes()
            live = self.application().live
            if live is not None and live.state == state:
                return
        raise AssertionError(f"never {state}")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = [START]
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}", clock=lambda: clock[0])
    outside = Outside()
    actor = Actor(outside, outside, store, ServingSettings(model=MODEL))  # type: ignore[arg-type]
    one = Pass(NAME, SPEC, store, Printer(store), outside, actor)  # type: ignore[arg-type]
    yield House(store, outside, clock, one)
    store.close()


def test_an_abort_that_lands_in_the_middle_of_a_pass_wins(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    before = house.outside.story.weight(2)

    def abort() -> None:
        house.outside.meanwhile = None
        house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")

    house.outside.meanwhile = abort
    house.passes()
    assert house.outside.story.weight(2) == before, "the pass that was overtaken sent nothing"
    house.passes(2)
    assert house.outside.story.weight(2) == 0
    newest = house.application().newest("2")
    assert newest is not None
    assert newest.state == "RolledBack"


def test_a_crash_between_commit_and_call_costs_time_and_nothing_else(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes()
    attempts = house.application().attempts
    assert [attempt.outcome for attempt in attempts] == ["open"]
    assert house.outside.sent == []
    house.outside.dies = False
    house.passes()
    assert len(house.outside.sent) == 1
    house.until("Canary")


def test_a_call_whose_outcome_is_unknown_stays_open_and_is_settled_by_looking(
    house: House,
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Unreachable("serving endpoint: 503")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["open"]
    house.outside.failing = None
    wanted = desired(house.application())
    assert wanted is not None
    house.outside.story.obey(Serve(wanted))
    house.passes()
    assert len(house.outside.sent) == 1, "it had taken effect: it is not sent again"


def test_a_refused_call_is_written_down_as_refused(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Refused("serving endpoint: busy")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["refused"]


def test_the_workspaces_write_budget_is_kept_and_rollbacks_have_a_reserve(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.passes()
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    spent = BUDGET - RESERVE
    monkeypatch.setattr(house.store, "writes_since", lambda _moment: spent)
    sent = len(house.outside.sent)
    house.passes(6)
    assert len(house.outside.sent) == sent, "no step opens on the reserve"
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes(2)
    assert story.weight(2) == 0, "the way back has its own share"


def test_the_journal_tells_every_change_once_and_without_gaps(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.story.error_rates["2"] = 0.2
    for _ in range(40):
        house.passes()
    lines = list(house.store.journal())
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    moves = [line["to_state"] for line in lines if line["event"] == "release.transition"]
    assert moves == ["Provisioning", "Testing", "Canary", "RolledBack"]
    assert not isinstance(house.outside.story.alias, Absent)
    assert house.outside.story.alias == "1"
