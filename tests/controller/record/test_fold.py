"""The log alone tells what the tables tell, whatever happened."""

import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from controller.console.keeping import whole
from controller.console.reading import fold
from controller.record.errors import OrderRefused
from controller.record.logging import json_line
from controller.record.store import Store
from states.machine import State
from states.plan import Plan
from states.quarantine import lift, quarantine
from states.reconcile import reconcile
from states.release import Order
from states.status import Status
from states.world import World
from tests.controller.record.conftest import Home
from tests.controller.record.making import of_the_table
from tests.states.wild import Wild, adopted, outcomes

NAME = "rag-chatbot"
HAPPENINGS = (
    *("register", "order", "fate", "edit", "alias", "blind", "stale", "errors", "worse"),
    *("silence", "counts", "answers", "fallback", "gone", "anew", "theirs", "drop", "delete"),
    *("answer", "answer", "answer", "answer", "trouble"),
)


@dataclass
class Recorded(Wild):
    """A wild world whose application lives in a store."""

    home: Home | None = None
    store: Store = field(init=False)

    def turn(self, after: float = 30) -> tuple[World, Plan]:
        """One look, committed before it is acted upon."""
        assert self.home is not None
        self.home.clock.turn(seconds=after)
        self.now = self.home.clock.now
        self.looks += 1
        self._arrive()
        loaded = self.store.load(NAME, self.application.spec)
        self.application = loaded.application
        world = self.see()
        plan = reconcile(loaded.application, world)
        committed = self.store.commit(loaded, plan, plan.calls)
        self.application = plan.application
        for call, number in zip(plan.calls, committed.calls, strict=True):
            outcome = outcomes(self._meet(call))
            if outcome != "open":
                self.store.settle_call(number, outcome, "it said so")  # type: ignore[arg-type]
        return world, plan

    def _do_order(self, number: int) -> None:
        live = self.application.live or self.waiting
        if live is not None:
            order = (Order.RUN, Order.PAUSE, Order.ABORT)[number % 3]
            # What makes no sense is refused, and changes nothing.
            with suppress(OrderRefused):
                self.store.give_order(NAME, live.version, order, "ann", "as luck has it")

    def _do_answer(self, number: int) -> None:
        # What cannot be done is refused, and changes nothing.
        with suppress(OrderRefused):
            self.store.give_answer(NAME, "revert" if number % 2 else "adopt", "ann", "")

    def _do_trouble(self, number: int) -> None:
        """Passes begin to fail unexpectedly, or go through again."""
        loaded = self.store.load(NAME, self.application.spec)
        world = World(now=self.store.now())
        made = (
            quarantine(loaded.application, world, "its passes fail")
            if number % 2
            else lift(loaded.application, world)
        )
        if made is not None:
            self.store.commit(loaded, made)


def recorded(home: Home, seed: int) -> Recorded:
    made = adopted(first=seed % 4 == 3, rich=seed % 3 == 1, hold_back=10 * (seed % 2))
    wild = Recorded(home=home)
    for name, value in made.__dict__.items():
        setattr(wild, name, value)
    wild.home, wild.store = home, home.store()
    home.clock.now = wild.now
    return wild


@pytest.mark.parametrize("seed", range(6))
def test_folding_the_log_gives_the_table_at_every_moment(home: Home, seed: int) -> None:
    wild, luck = recorded(home, seed), random.Random(seed)  # noqa: S311 - a story is no secret
    wild.turn()
    wild.do(("register", 7 * seed))
    for look in range(120):
        if luck.random() < 0.25:
            wild.do((luck.choice(HAPPENINGS), luck.randrange(100)))
        wild.turn(luck.choice((5, 30, 30, 60, 600)))
        if look % 10 == 9:
            book = fold(wild.store.journal())
            assert book.statuses(NAME) == of_the_table(wild.store, NAME), (seed, wild.log)
            assert fold(wild.store.states()).statuses(NAME) == book.statuses(NAME)
            whole(wild.store)
    lines = list(wild.store.journal())
    told = fold(lines).statuses(all_=True)
    assert told == of_the_table(wild.store, NAME, all_=True), (seed, wild.log)
    assert {one["state"] for one in told} != {"Registered"}
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    paper = [json_line(line) for line in lines]
    assert len(set(paper)) == len(paper) > 5


@pytest.mark.parametrize("first", ["trouble", "theirs"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_hold_of_its_own_is_told_again_once_a_change_by_others_is_answered(
    home: Home, first: str, number: int
) -> None:
    wild = recorded(home, 0)
    wild.turn()
    wild.do(("register", 0))
    for _ in range(20):
        wild.turn()
        if (live := wild.application.live) is not None and live.state is State.CANARY:
            break
    else:
        raise AssertionError(wild.application.releases)
    wild.turn()
    _held(wild, first)
    _same(wild)
    _held(wild, "theirs" if first == "trouble" else "trouble")
    told = _same(wild)
    assert "theirs" in (told["hold"] or "")
    wild.do(("answer", number))
    wild.turn()
    told = _same(wild)
    assert (told["hold"] or "").startswith("quarantined: ")
    assert told["needs_person"]
    wild.do(("trouble", 0))
    assert _same(wild)["hold"] is None


def _held(wild: Recorded, why: str) -> None:
    """Its passes fail; or somebody adds an entity without users, which is seen."""
    wild.do((why, 1 if why == "trouble" else 0))
    if why == "theirs":
        wild.turn()


def _same(wild: Recorded) -> Status:
    """The live release, as log and table tell it alike."""
    told = fold(wild.store.journal()).statuses(NAME)
    assert told == of_the_table(wild.store, NAME)
    assert fold(wild.store.states()).statuses(NAME) == told
    return told[-1]
