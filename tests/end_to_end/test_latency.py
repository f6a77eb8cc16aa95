from collections.abc import Callable
from pathlib import Path

import pytest

from policies.guards import FEWEST
from tests.end_to_end.stage import Course, Daemon, Users, eventually, headgate

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]


def test_a_version_that_answers_slowly_and_never_fails_is_rolled_back(
    course: Callable[..., Course], daemon: Callable[..., Daemon], slow: Path
) -> None:
    one = course(guards={"errors": {"margin": "16pp"}}).open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    with Users(one) as users:
        eventually(lambda: len(users.statuses) > FEWEST, "stable has a past to compare with")
        one.register(slow)
        verdict = head.until("gate.verdict", version="2", verdict="FAIL")
        head.until("release.settled", version="2", state="RolledBack")
    assert verdict["guard"] == "latency"
    assert "slower than stable" in verdict["because"]
    assert set(users.statuses) == {200}
    assert one.split == {"1": 100, "2": 0}
    assert one.alias == "1"
    again = headgate("explain", f"{one.name}/2", "--recompute", "--logs", head.log)
    assert again.code == 0, again.out
    assert "derived again, bit for bit" in again.out
