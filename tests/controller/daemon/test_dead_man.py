"""Whom the dead man's switch finds forsaken: the record alone, without a daemon."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.daemon import dead_man
from states.machine import State
from states.span import Span
from tests.controller.record.making import NOON, SPEC, Clock, pinned, plan, release, store_in

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
    found = dead_man._forsaken(store, timedelta(minutes=10))
    store.close()
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
