"""The log alone tells what the tables tell, whatever happened."""

import random
from dataclasses import dataclass, field

import pytest

from controller.console.reading import fold
from controller.record.logging import json_line
from controller.record.store import Store
from states.plan import Plan
from states.reconcile import reconcile
from states.release import Order
from states.world import World
from tests.controller.record.conftest import Home
from tests.controller.record.making import of_the_table
from tests.states.wild import Wild, adopted, outcomes

NAME = "rag-chatbot"
HAPPENINGS = (
    *("register", "order", "fate", "edit", "alias", "blind", "stale", "errors", "worse"),
    *("silence", "counts", "answers", "fallback", "gone"),
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
            self.store.give_order(NAME, live.version, order, "ann", "as luck has it")


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
    for look in range(120):
        if luck.random() < 0.25:
            wild.do((luck.choice(HAPPENINGS), luck.randrange(100)))
        wild.turn(luck.choice((5, 30, 30, 60, 600)))
        if look % 10 == 9:
            book = fold(wild.store.journal())
            assert book.statuses(NAME) == of_the_table(wild.store, NAME), (seed, wild.log)
            assert fold(wild.store.states()).statuses(NAME) == book.statuses(NAME)
    lines = list(wild.store.journal())
    told = fold(lines).statuses(all_=True)
    assert told == of_the_table(wild.store, NAME, all_=True), (seed, wild.log)
    assert {one["state"] for one in told} != {"Registered"}
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    paper = [json_line(line) for line in lines]
    assert len(set(paper)) == len(paper) > 5
