"""Whom the dead man's switch finds forsaken, and whom it sends home beside one that it cannot."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import update
from structlog.testing import capture_logs

from controller.daemon import building, dead_man
from controller.daemon.dead_man import NEEDS_PERSON, SENT_HOME, WELL, Done
from controller.daemon.passes import Pass
from controller.record.printer import Printer
from controller.record.schema import APPLICATIONS
from controller.record.store import Store
from controller.settings import ProcessSettings
from states.machine import State
from states.release import Application, Release
from states.span import Span
from states.spec import Spec
from states.world import World
from tests.controller.house import NAME, House, Outside, opened
from tests.controller.record.making import NOON, SPEC, Clock, pinned, plan, release, store_in
from tests.states.story import SPEC as STORY_SPEC

HAD_USERS = (Span(number=1, step=1, weight=5, starts_at=NOON, settled=True),)
STABLE = replace(pinned(), rollout=replace(pinned().rollout, dead_man="stable"))


def forsaken(folder: Path, state: State, **fields: Any) -> list[str]:  # noqa: ANN401 - of any field
    """Who is found of a release that nobody has looked at for an hour."""
    clock = Clock()
    store = store_in(folder, clock)
    loaded = store.load("rag", SPEC)
    application = replace(loaded.application, adopted=True, stable="1", looked_at=NOON)
    store.commit(loaded, plan(application, release("2", state, **{"pinned": STABLE} | fields)))
    clock.turn(hours=1)
    stuck = list[str]()
    found = dead_man._forsaken(store, timedelta(minutes=10), stuck)
    store.close()
    assert not stuck
    return list(found)


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.CANARY, {"step": 1, "settled": True}),
        (State.PRODUCTION, {"step": 4, "settled": True}),
        # Written down, and the daemon may have died before it was sent.
        (State.ROLLED_BACK, {"step": 1, "settled": False}),
        (State.CANARY, {"step": 1, "settled": False, "shut": True}),
    ],
)
def test_who_may_have_users_is_sent_home(
    tmp_path: Path, state: State, fields: dict[str, Any]
) -> None:
    assert forsaken(tmp_path, state, spans=HAD_USERS, **fields) == ["rag"]


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.TESTING, {"settled": True}),
        (State.ROLLED_BACK, {"settled": False}),
        (State.CANARY, {"step": 1, "settled": True, "shut": True, "spans": HAD_USERS}),
        (State.CANARY, {"step": 1, "settled": True, "spans": HAD_USERS, "pinned": pinned()}),
    ],
)
def test_who_has_no_users_or_may_stay_is_left_alone(
    tmp_path: Path, state: State, fields: dict[str, Any]
) -> None:
    assert forsaken(tmp_path, state, **fields) == []


OTHER = "another"
"""Its turn comes before that of the house's application."""
OTHERS = Spec(model="main.ml.another", endpoint="another-endpoint")


@dataclass
class Job:
    """Two applications whose users are on trial, nobody who looks, and the job for it."""

    house: House
    passes: dict[str, Pass]
    config: Path

    def run(self, *configured: str) -> Done:
        """Run it with these in the configuration."""
        one = {"tests": [{"query": "What is Delta?", "expect": {"min_sources": 1}}]}
        told = {
            name: {**one, "model": self.passes[name].spec.model, "endpoint": f"{name}-endpoint"}
            for name in configured
        }
        self.config.write_text(yaml.safe_dump({"applications": told}))
        url = f"sqlite:///{self.house.store.path}"
        process = ProcessSettings(store=url, poll=timedelta(milliseconds=10), warehouse="w")
        return dead_man.run(self.config, process, timedelta(minutes=10))

    def live(self, name: str) -> Release | None:
        """Its release that is under way."""
        return self.house.store.load(name).application.live


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """A job that does not stay for long."""
    with opened(tmp_path) as house:
        house.one.spec = replace(STORY_SPEC, rollout=replace(STORY_SPEC.rollout, dead_man="stable"))
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        house.passes()
        loaded = house.store.load(OTHER, OTHERS)
        known = replace(loaded.application, adopted=True, stable="1", looked_at=house.clock[0])
        live = {"application": OTHER, "pinned": STABLE, "step": 1, "settled": True}
        on_trial = release("2", State.CANARY, spans=HAD_USERS, **live)
        house.store.commit(loaded, plan(known, on_trial))
        house.clock[0] += timedelta(hours=1)
        house.ticks[0] += 3600
        other = replace(house.one, name=OTHER, spec=OTHERS, printer=Printer(house.store))
        made = Job(house, {NAME: house.one, OTHER: other}, tmp_path / "headgate.yaml")
        monkeypatch.setattr(dead_man, "PATIENCE", timedelta(seconds=1))
        monkeypatch.setattr(dead_man, "Store", partial(Store, clock=lambda: house.clock[0]))
        monkeypatch.setattr(building, "Shared", lambda *_, **__: None)
        monkeypatch.setattr(
            building, "passes_of", lambda mine, *_: {name: made.passes[name] for name in mine}
        )
        assert house.outside.story.weight(2) > 0
        yield made


def is_home(job: Job) -> bool:
    """The users of the house's application are all on stable, and that is written down."""
    return job.live(NAME) is None and job.house.outside.story.weight(2) == 0


def test_an_application_that_left_the_configuration_keeps_no_other_from_home(job: Job) -> None:
    done = job.run(NAME)
    assert is_home(job)
    assert done.code == NEEDS_PERSON
    home, removed = done.sentences
    assert home == f"sent home: {NAME}"
    assert removed.startswith(f"{OTHER}/2: not in the configuration: add {OTHER} again, or put")
    live = job.live(OTHER)
    assert live is not None
    assert live.order == "run", "nothing was ordered that nobody would obey"


def test_a_record_that_nobody_can_read_keeps_no_other_from_home(job: Job) -> None:
    with job.house.store.writing() as connection:
        bad = update(APPLICATIONS).where(APPLICATIONS.c.name == OTHER)
        raised = APPLICATIONS.c.row + 1
        connection.execute(bad.values(body={"watermark": "no number"}, row=raised))
    done = job.run(OTHER, NAME)
    assert is_home(job)
    assert done.code == NEEDS_PERSON
    home, unread = done.sentences
    assert home == f"sent home: {NAME}"
    assert unread.startswith(f"{OTHER}: the record of {OTHER} in this store cannot be understood")
    assert "restore a backup with `headgate restore`" in unread


@dataclass
class Failing(Outside):
    """An endpoint at which every look fails: as observers know how to, or by a defect."""

    defect: Exception | None = None
    troubles: dict[str, str] = field(default_factory=dict)

    def look(self, _: Application, now: datetime) -> World:
        if self.defect is not None:
            raise self.defect
        self.troubles["endpoint"] = "serving endpoint: 503"
        return World(now=now)


@pytest.mark.parametrize(
    ("defect", "cause"),
    [
        (KeyError("served_entities"), "quarantined: its passes fail unexpectedly (KeyError)"),
        (None, "serving endpoint: 503; run this again, or put stable to 100 % by hand"),
    ],
)
def test_an_endpoint_that_fails_keeps_no_other_from_home(
    job: Job, defect: Exception | None, cause: str
) -> None:
    job.passes[OTHER].observer = Failing(defect=defect)  # type: ignore[assignment]
    with capture_logs():
        done = job.run(OTHER, NAME)
    assert is_home(job)
    assert done.code == NEEDS_PERSON
    home, away = done.sentences
    assert home == f"sent home: {NAME}"
    assert away.startswith(f"{OTHER}/2: not home after 1 s: {cause}")
    live = job.live(OTHER)
    assert live is not None
    assert live.order == "abort", "whoever looks next sends its users home"


def test_where_none_is_kept_from_home_no_person_is_needed(job: Job) -> None:
    other, live = job.house.store.load(OTHER), job.live(OTHER)
    assert live is not None
    ended = replace(live, state=State.ROLLED_BACK, settled=True)
    job.house.store.commit(other, plan(other.application, ended))
    assert job.run(OTHER, NAME) == Done(SENT_HOME, (f"sent home: {NAME}",))
    assert is_home(job)
    assert job.run(OTHER, NAME).code == WELL


def test_whom_a_daemon_sent_for_when_it_died_is_seen_home(job: Job) -> None:
    house = job.house
    house.outside.story.error_rates["2"], house.outside.dies = 0.5, True
    with pytest.raises(KeyboardInterrupt):
        house.passes(20)
    house.outside.dies = False
    house.clock[0] += timedelta(hours=1)
    house.ticks[0] += 3600
    live = job.live(NAME)
    assert live is not None
    assert (live.state, house.outside.story.weight(2) > 0) == (State.ROLLED_BACK, True)
    told = job.run(NAME).sentences
    assert is_home(job), told
    assert told[0] == f"sent home: {NAME}"
