"""How the answers to golden queries and a replay are read is pinned with the release's plan."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from controller.daemon.observe import Observer
from controller.workspace.client import connect
from controller.workspace.probes import Probes
from controller.workspace.recorded import Recorded
from controller.workspace.replays import Replays
from policies.golden import GoldenQuery
from policies.guards import History
from policies.replay import Replay
from states.counted import Counted, Paths
from states.release import Application, Order
from states.world import Absent, Endpoint, World
from tests.contract.recorder import Handler, Recorder, recording
from tests.controller.daemon.test_observe import Workspace, observer
from tests.controller.daemon.test_replaying import Table, Trial
from tests.controller.house import NAME, House, Outside, opened
from tests.states.story import SPEC, Story

STAGING = "rag-chatbot-endpoint-staging"
ANSWER = "Delta Lake is ACID."
ADMITTED = replace(
    SPEC,
    tests=(GoldenQuery(query="What is Delta Lake?", answer_contains=("ACID",)),),
    counted=Counted(paths=Paths(answer="$.answer")),
)
EDITED = replace(ADMITTED, counted=Counted(paths=Paths(answer="$.text")))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Version 3 answers where the edited configuration looks, all others where it did before."""

    def answer(handler: Handler) -> None:
        entity = handler.path.split("/")[-2]
        place = "text" if entity.endswith("-v3") else "answer"
        handler.answer(200, json.dumps({place: ANSWER}).encode(), served_model_name=entity)

    with recording() as found:
        monkeypatch.setenv("DATABRICKS_HOST", found.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-any")
        found.changes = answer
        yield found


@pytest.fixture
def probes(recorder: Recorder) -> Probes:
    assert recorder.host
    return Probes(connect(), SPEC.endpoint, NAME)


@dataclass
class Beside(Workspace):
    """The story's workspace with its staging endpoint; nothing is known of any past."""

    def observe(self, name: str) -> Endpoint | Absent:
        return self.story.others.get(name, Absent()) if name == STAGING else super().observe(name)

    def history(self, **_: object) -> History:
        return History()


@dataclass
class Asking:
    """What is outside of the house, but that golden queries are asked by the daemon's own eyes."""

    outside: Outside
    observing: Observer

    def glance(self, application: Application, now: datetime) -> None:
        return self.outside.glance(application, now)

    def look(self, application: Application, now: datetime) -> World:
        world = self.outside.look(application, now)
        if application.live is None or application.live.step:
            return world
        return replace(world, round=self.observing.look(application, now).round)

    def forget(self) -> None:
        self.outside.forget()


@pytest.fixture
def house(tmp_path: Path, probes: Probes) -> Iterator[House]:
    """Version 1 serves."""
    with opened(tmp_path) as house:
        observing = observer(Beside(house.outside.story))
        observing.probes = probes
        house.one.observer = Asking(house.outside, observing)  # type: ignore[assignment]
        house.one.spec = ADMITTED
        house.passes()
        yield house


@pytest.mark.parametrize("staging", [None, STAGING])
def test_an_edit_while_a_release_is_tested_changes_how_the_next_one_is_read(
    house: House, recorder: Recorder, staging: str | None
) -> None:
    story = house.outside.story
    house.one.spec = replace(ADMITTED, staging=staging)
    story.register(2)
    house.passes(2)
    assert house.application().live is not None
    assert recorder.of("POST") == []
    house.one.spec = replace(EDITED, staging=staging)
    house.until("Canary")
    house.passes()
    assert story.weight(2) > 0
    asked = {one.target.split("/")[2] for one in recorder.of("POST")}
    assert asked == {SPEC.endpoint} | ({staging} if staging else set())
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "not today")
    story.register(3)
    house.until("Canary")
    house.passes()
    assert story.weight(3) > 0
    live = house.application().live
    assert live is not None
    assert live.rounds[-1].candidate_failed == ()
    assert live.rounds[-1].stable_failed == (1,), "what the edit says is not where stable answers"


@dataclass
class Requests(Table):
    """Recorded requests that can be sent again."""

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[Recorded]:
        found = super().texts(table, ids, over)
        return [replace(one, body='{"query": "What is Delta Lake?"}') for one in found]


def test_an_edit_during_a_replay_changes_nothing_of_how_both_answers_are_read(
    probes: Probes,
) -> None:
    spec = replace(ADMITTED, replay=Replay())
    story = Story(application=Application(name=NAME, spec=spec), recorded=100)
    story.look()
    story.register(2)
    while story.application.live is None or story.live.replay is None or not story.live.replay.left:
        story.look()
    trial = Trial(story, table=Requests(), versions=Replays(probes, NAME))  # type: ignore[arg-type]
    for now in (spec, replace(EDITED, replay=Replay())):
        story.application = replace(story.application, spec=now)
        pairs = trial.batch().pairs
        assert pairs
        lengths = {(one.candidate.length, one.stable.length) for one in pairs}
        assert lengths == {(len(ANSWER), len(ANSWER))}
