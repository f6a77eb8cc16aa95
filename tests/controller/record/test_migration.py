"""A store of schema 0001, left in the middle of a canary, in the hands of this Headgate."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.record.errors import StoreUnusable
from controller.record.migrations.versions import v0006
from controller.record.schema import VERSION
from controller.record.store import Store
from controller.record.upgrades import downgrade
from policies.evidence import Arm, Coverage, Tally
from policies.guards import ErrorGuard, Guards
from states.blocks import block_of
from states.machine import State
from states.span import Split
from states.world import Endpoint
from tests.controller.house import NAME
from tests.controller.record.earlier import store_of
from tests.controller.record.making import Clock, plan, store_in, told
from tests.states.story import SPEC, Story


@pytest.fixture
def store(tmp_path: Path) -> Store:
    # Written by the code of 0001: a version that failed, one in Canary at 25 %, one that waits.
    store_of("0001", tmp_path / "headgate.db")
    clock = Clock()
    clock.now = datetime(2026, 11, 23, 12, 6, 30, tzinfo=UTC)
    return store_in(tmp_path, clock)


def raw(store: Store, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(store.path) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_a_canary_under_way_is_the_same_canary_with_its_guard_and_its_source(store: Store) -> None:
    assert raw(store, "SELECT version_num FROM alembic_version") == [(VERSION,)]
    live = store.load(NAME, SPEC).application.live
    assert live is not None
    assert (live.version, live.state, live.step, live.weight) == ("3", State.CANARY, 2, 25)
    assert live.pinned is not None
    assert live.pinned.guards == Guards(errors=ErrorGuard(margin=0.005, limit=0.05))
    assert live.sources == {"errors": "inference_table"}
    assert live.watermarks == {"inference_table": datetime(2026, 11, 23, 12, 6, tzinfo=UTC)}
    assert live.verdicts == {"errors": "PASS at step 1"}
    assert live.measures == {}
    assert live.history is None


def test_every_block_of_before_says_what_it_said_and_nothing_more(store: Store) -> None:
    live = store.load(NAME, SPEC).application.live
    assert live is not None
    assert [one.number for one in live.blocks] == [1, 2, 3, 4]
    last = live.blocks[-1]
    assert last.candidate == Arm(requests=1500, errors=0, server_errors=0)
    assert last.stable == Arm(requests=4500, errors=0, server_errors=0)
    assert (last.late, last.coverage) == (0, None)


def test_blocks_and_journal_are_still_immutable_and_the_journal_goes_on(store: Store) -> None:
    before = list(store.journal())
    for change in ("UPDATE blocks SET late = 1", "DELETE FROM blocks", "DELETE FROM journal"):
        with pytest.raises(sqlite3.IntegrityError, match=r"immutable|append-only"):
            raw(store, change)
    loaded = store.load(NAME, SPEC)
    live = loaded.application.live
    assert live is not None
    counted = Arm(
        requests=500, errors=2, server_errors=1, rejected=3, tallies={"latency": Tally(seen=400)}
    )
    more = replace(
        live.blocks[-1],
        number=5,
        candidate=counted,
        late=7,
        coverage=Coverage(requests=10, failed=1, seen=9, seen_failed=1),
    )
    changed = replace(live, blocks=(*live.blocks, more))
    store.commit(loaded, plan(loaded.application, changed, events=(told(changed),)))
    found = store_in(store.path.parent).load(NAME, SPEC).application.live
    assert found is not None
    assert found.blocks == (*live.blocks, more)
    after = list(store.journal())
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_what_the_older_log_told_of_blocks_is_read_as_before(store: Store) -> None:
    live = store.load(NAME, SPEC).application.live
    assert live is not None
    lines = [
        line
        for line in store.journal()
        if line["event"] == "evidence.block" and line["release"] == live.key
    ]
    steps = [line.get("block_step", line["step"]) for line in lines]
    found = [block_of({**line, "step": step}) for line, step in zip(lines, steps, strict=True)]
    assert tuple(found) == live.blocks


def test_the_release_goes_on_from_where_it_was(store: Store) -> None:
    story = Story(application=store.load(NAME, SPEC).application, now=store.now())
    story.register(2, **{"headgate.state": "RolledBack"})
    story.register(3)
    story.register(4)
    story.edit(v1=75, v2=0, v3=25)
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, config_version=story.application.config_version)
    while story.live.step == 2:
        story.look()
        assert story.application.hold is None
        assert story.live.on_step < timedelta(minutes=5)
    assert story.live.step == 3


def test_a_plan_that_waits_for_its_table_is_read_as_configured_once_it_is_of_0006() -> None:
    counted = {"paths": {"answer": "$.text"}}
    waits = {"pinned": {"tests_table": "main.ml.golden", "counted": counted}, "mixed": []}
    assert v0006.as_configured(waits) == {
        "pinned": {"tests_table": "main.ml.golden", "counted": None},
        "mixed": [],
    }
    for body in ({"pinned": None}, {"pinned": {"tests_table": None, "counted": counted}}):
        assert v0006.as_configured(body) == body


def test_how_users_were_split_is_not_kept_for_an_earlier_headgate(store: Store) -> None:
    loaded = store.load(NAME, SPEC)
    live = loaded.application.live
    assert live is not None
    split = Split(weights={"rag_chatbot-v3": 25}, seen_at=store.now())
    mixed = replace(live.blocks[-1], number=5, mixed=True, comparable=False)
    changed = replace(
        live, blocks=(*live.blocks, mixed), split=split, mixed=(3,), ahead=timedelta(hours=1)
    )
    store.commit(loaded, plan(loaded.application, changed, events=(told(changed),)))
    store.close()
    url = f"sqlite:///{store.path}"
    with pytest.raises(StoreUnusable, match="users were split anew within 1 windows, which are"):
        downgrade(url, "0005", discard=False)
    downgrade(url, "0005", discard=True)
    bodies = [json.loads(str(one)) for (one,) in raw(store, "SELECT body FROM releases")]
    assert not any(one.keys() & {"split", "mixed", "ahead"} for one in bodies)
    found = store_in(store.path.parent).load(NAME, SPEC).application.live
    assert found == replace(live, blocks=found.blocks if found else ())
    assert [one.mixed for one in found.blocks] == [False] * 5
