from itertools import product
from pathlib import Path

import pytest

from states.machine import TRANSITIONS, State, Trigger, advance, diagram

README = Path(__file__).parents[2] / "README.md"
ARROWS = {(trigger, source): dest for trigger, source, dest in TRANSITIONS}


def test_every_state_is_reached_from_registered() -> None:
    reached = {State.REGISTERED}
    for _ in State:
        reached |= {dest for _, source, dest in TRANSITIONS if source in reached}
    assert reached == set(State)


def test_nothing_leads_out_of_an_end() -> None:
    for end in (State.RETIRED, State.ROLLED_BACK):
        assert [arrow for arrow in TRANSITIONS if arrow[1] is end] == []


def test_every_state_that_may_have_users_has_a_way_back() -> None:
    for state in (State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION):
        assert advance(state, Trigger.ROLL_BACK) is State.ROLLED_BACK


def test_users_are_met_only_after_the_tests_and_the_alias_only_after_all_users() -> None:
    assert {s for _, s, d in TRANSITIONS if d is State.CANARY} == {State.TESTING, State.CANARY}
    assert {s for _, s, d in TRANSITIONS if d is State.PRODUCTION} == {State.CANARY}


@pytest.mark.parametrize(("trigger", "source"), list(product(Trigger, State)))
def test_legal_moves_arrive_and_illegal_ones_are_bugs(trigger: Trigger, source: State) -> None:
    if (trigger, source) in ARROWS:
        assert advance(source, trigger) is ARROWS[trigger, source]
    else:
        with pytest.raises(AssertionError, match=f"no move {trigger} from {source}"):
            advance(source, trigger)


def test_the_diagram_of_the_readme_is_the_table() -> None:
    _, _, rest = README.read_text(encoding="utf-8").partition("```mermaid\n")
    shown, _, _ = rest.partition("\n```")
    assert shown == diagram()
