import threading
import time

import pytest

from controller.steady import steady
from controller.workspace import lane
from controller.workspace.deadlines import before
from controller.workspace.errors import Unreachable


def test_results_and_exceptions_come_through_from_a_fresh_call_each() -> None:
    answers = iter([1, 2])
    counting = lane.Lane("counting", lambda: next(answers), 1.0)
    assert [counting(), counting()] == [1, 2]
    failing = lane.Lane("failing", lambda: int("x"), 1.0)
    with pytest.raises(ValueError, match="invalid literal"):
        failing()


def test_a_timeout_of_the_function_itself_is_told_from_the_deadline() -> None:
    def out_of_time() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        lane.Lane("timing", out_of_time, 1.0)()


def test_callers_share_a_call_that_hangs_until_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "FORSAKEN_AFTER_S", 0.2)
    released = threading.Event()
    started: list[None] = []

    def hang() -> str:
        started.append(None)
        released.wait(10)
        return "at last"

    hanging = lane.Lane("hanging", hang, 0.05)
    for _ in range(3):
        with pytest.raises(Unreachable, match=r"hanging: no answer in 0.05 s"):
            hanging()
    assert len(started) == 1
    time.sleep(0.2)
    with pytest.raises(Unreachable):
        hanging()
    assert len(started) == 2
    released.set()
    time.sleep(0.05)
    assert hanging() == "at last"


def test_a_caller_that_has_less_time_than_the_deadline_waits_no_longer() -> None:
    released = threading.Event()
    hanging, began = lane.Lane("hanging", lambda: released.wait(10), 5.0), time.monotonic()
    with before(steady() + 0.2), pytest.raises(Unreachable, match="hanging: no answer in"):
        hanging()
    assert time.monotonic() - began < 1
    released.set()
    assert hanging()
