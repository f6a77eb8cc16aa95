"""A rollout that is none is refused, and each step gives what it says to the candidate."""

import pytest

from policies.rollout import Rollout


def test_each_step_gives_its_percentage_and_the_last_what_is_not_held_back() -> None:
    plain = Rollout()
    assert [plain.weight(step) for step in (1, 2, 3, 4)] == [5, 25, 50, 100]
    held = Rollout(steps=(10, 100), hold_back=20)
    assert [held.weight(step) for step in (1, 2)] == [10, 80]
    assert Rollout(steps=(100,), hold_back=1).weight(1) == 99
    assert Rollout(steps=(1, 2, 100)).weight(1) == 1


@pytest.mark.parametrize(
    ("steps", "hold_back", "why"),
    [
        ((), 0, "a rollout has at least one step"),
        ((5, 50), 0, "steps end at 100"),
        ((5, 50, 101), 0, "steps end at 100"),
        ((50, 5, 100), 0, "steps only climb"),
        ((5, 5, 100), 0, "steps only climb"),
        ((0, 100), 0, "a step is a percentage"),
        ((5, 100), -1, "nearly all users come to the last step"),
        ((5, 100), 21, "nearly all users come to the last step"),
    ],
)
def test_steps_that_do_not_lead_to_all_users_are_refused(
    steps: tuple[int, ...], hold_back: int, why: str
) -> None:
    with pytest.raises(AssertionError) as refused:
        Rollout(steps=steps, hold_back=hold_back)
    assert str(refused.value).splitlines()[0] == why
