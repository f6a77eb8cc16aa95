"""`apply` as the record has it: the operator's column, journalled at once, fenced by the row."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.record.errors import Conflict, OrderRefused
from controller.record.store import Store
from states.plan import Plan
from states.release import Order
from states.setup import Setup
from states.world import Size, Variables
from tests.controller.house import NAME, House, opened
from tests.states.story import SPEC

LARGE = Setup(size=Size("Large"), variables=Variables(("TOP_K",), "digest"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        house.passes(2)
        yield house


def test_a_wish_is_kept_and_journalled_with_who_and_why(house: House) -> None:
    said = house.store.give_wish(NAME, LARGE, "ann", "the evening's load")
    assert said == "rag-chatbot/1 is set up as configured, with the next look"
    wish = house.application().wish
    assert wish is not None
    assert (wish.number, wish.size, wish.variables) == (1, LARGE.size, LARGE.variables)
    last = list(house.store.journal())[-1]
    assert last["event"] == "order.given"
    assert (last["actor"], last["because"]) == ("ann", "the evening's load")
    assert (last["apply"], last["variables"]) == ("Large on CPU", ["TOP_K"])
    assert "asked for before" in house.store.give_wish(NAME, LARGE, "bob", "")
    assert house.application().answer is None


def test_scale_to_zero_is_kept_and_journalled_where_the_size_stays_as_it_is(house: House) -> None:
    for number, sleeps in enumerate((True, False)):
        house.store.give_wish(NAME, Setup(scale_to_zero=sleeps), "ann", "")
        wish = house.application().wish
        assert wish is not None
        assert (wish.size, wish.scale_to_zero) == (None, sleeps), number
        told = list(house.store.journal())[-1]["apply"]
        assert told == f"size as it is, {'scales' if sleeps else 'does not scale'} to zero"


def test_a_pass_under_way_meanwhile_looks_again(house: House) -> None:
    loaded = house.store.load(NAME, SPEC)
    house.store.give_wish(NAME, LARGE, "ann", "")
    with pytest.raises(Conflict):
        house.store.commit(loaded, Plan(application=replace(loaded.application, hold="x")))
    assert house.application().wish is not None


def test_the_daemon_takes_it_up_once_and_the_record_keeps_it(house: House) -> None:
    spec = replace(SPEC, setup=LARGE)
    house.one.spec = spec
    house.store.give_wish(NAME, LARGE, "ann", "")
    house.passes(2)
    assert house.outside.sized == ["rag_chatbot-v1 Large on CPU"]
    house.passes(40)
    known = house.application()
    assert known.upkeep.applied == 1
    assert known.upkeep.applying is None
    assert known.upkeep.variables == LARGE.variables
    events = [line["event"] for line in house.store.journal()]
    assert events.count("apply.finished") == 1
    again = Store(f"sqlite:///{house.store.path}")
    assert again.load(NAME, spec).application.upkeep == known.upkeep
    again.close()


def test_a_crash_after_the_commit_costs_time_and_nothing_else(house: House) -> None:
    house.one.spec = replace(SPEC, setup=LARGE)
    house.store.give_wish(NAME, LARGE, "ann", "")
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes()
    house.outside.dies = False
    house.passes(40)
    assert house.application().upkeep.applying is None
    assert house.application().hold is None
    assert house.outside.sized == ["rag_chatbot-v1 Large on CPU"]


def test_nothing_is_applied_while_a_release_is_under_way(house: House) -> None:
    house.outside.story.register(2)
    house.until("Canary")
    with pytest.raises(OrderRefused, match="rag-chatbot/2 is under way: wait until it has ended"):
        house.store.give_wish(NAME, LARGE, "ann", "")
    house.store.give_order(NAME, "2", Order.ABORT, "ann", "")
    house.passes(5)
    assert house.store.give_wish(NAME, LARGE, "ann", "")


def test_nothing_is_applied_where_there_is_nothing(house: House) -> None:
    with pytest.raises(OrderRefused, match="there is no application other"):
        house.store.give_wish("other", LARGE, "ann", "")
