from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.daemon.backoff import FIRST_S, MOST_S, TOLD_AT, URGENT_S, Backoff, drawn
from controller.workspace.errors import Unreachable

DAY_S = 86_400.0


def failing(backoff: Backoff, times: int, *, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        backoff.failed(Unreachable("503", retry_after_s=retry_after_s))


def waited(backoff: Backoff, time: list[float], *, urgent: bool = False) -> float:
    """Seconds until it is ready, to a tenth."""
    begun = time[0]
    while not backoff.ready(urgent=urgent):
        time[0] += 0.1
        assert time[0] - begun <= MOST_S + 1
    spent, time[0] = time[0] - begun, begun
    return spent


def test_the_longest_wait_doubles_from_a_second_to_five_minutes() -> None:
    time = [1000.0]
    backoff = Backoff("looking", draw=lambda *_: 1.0, clock=lambda: time[0])
    found = []
    for _ in range(11):
        failing(backoff, 1)
        found.append(round(waited(backoff, time)))
    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    backoff.succeeded()
    assert backoff.ready()
    failing(backoff, 1)
    assert round(waited(backoff, time)) == 1, "a success forgets what was before"


@given(st.integers(0, 2**32), st.integers(1, 40), st.none() | st.floats(0, 1e9))
def test_no_wait_is_longer_than_five_minutes_nor_a_rollbacks_than_half_a_minute(
    seed: int, failures: int, retry_after_s: float | None
) -> None:
    time = [0.0]
    backoff = Backoff("looking", draw=drawn(seed), clock=lambda: time[0])
    failing(backoff, failures, retry_after_s=retry_after_s)
    time[0] = URGENT_S
    assert backoff.ready(urgent=True)
    time[0] = MOST_S
    assert backoff.ready()


def test_a_retry_after_of_a_day_is_not_obeyed_and_one_of_a_minute_is() -> None:
    time = [0.0]
    for asked, obeyed in ((DAY_S, MOST_S), (60.0, 60.0), (0.0, FIRST_S)):
        backoff = Backoff("looking", draw=lambda *_: 0.0, clock=lambda: time[0])
        failing(backoff, 1, retry_after_s=asked)
        assert round(waited(backoff, time)) == obeyed
        assert waited(backoff, time, urgent=True) <= URGENT_S + 0.1


def test_the_same_seed_draws_the_same_waits_whatever_else_is_drawn_in_between() -> None:
    one, other = drawn(7), drawn(7)
    for count in range(5):
        other("another endpoint", count)
    assert [one("mine", count) for count in range(9)] == [
        other("mine", count) for count in range(9)
    ]
    assert one("mine", 1) != drawn(8)("mine", 1)
    assert one("mine", 1) != one("another endpoint", 1)


def test_waits_are_spread_over_all_of_their_bound() -> None:
    draws = [drawn(seed)("an endpoint", 1) for seed in range(1000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= one < (tenth + 1) / 10 for one in draws)
        assert 60 <= share <= 140, (tenth, share)


def test_backing_off_and_its_end_are_told_once() -> None:
    backoff = Backoff("looking at rag", draw=lambda *_: 0.0)
    with capture_logs() as logs:
        failing(backoff, 3 * TOLD_AT)
        backoff.succeeded()
        backoff.succeeded()
        failing(backoff, 1)
        backoff.succeeded()
    assert [line["event"] for line in logs] == ["workspace.backoff", "workspace.recovered"]
    assert "looking at rag" in logs[0]["because"]
