from collections.abc import Callable
from pathlib import Path

import pytest

from policies.guards import FEWEST
from tests.end_to_end.stage import Course, Daemon, Users, eventually, headgate
from tests.pages import Page

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]


def test_a_version_that_answers_slowly_and_never_fails_is_rolled_back(
    course: Callable[..., Course], daemon: Callable[..., Daemon], slow: Path, tmp_path: Path
) -> None:
    one = course(guards={"errors": {"margin": "16pp"}}).open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    with Users(one) as users:
        eventually(lambda: len(users.statuses) > FEWEST, "stable has a past to compare with")
        one.register(slow)
        verdict = head.until("gate.verdict", version="2", verdict="FAIL")
        head.until("release.settled", version="2", state="RolledBack")
        ids = head.until("release.examples", version="2")["request_ids"]
    assert verdict["guard"] == "latency"
    assert "slower than stable" in verdict["because"]
    assert set(users.statuses) == {200}
    assert one.split == {"1": 100, "2": 0}
    assert one.alias == "1"
    again = headgate("explain", f"{one.name}/2", "--recompute", "--logs", head.log)
    assert again.code == 0, again.out
    assert "derived again, bit for bit" in again.out
    [post_mortem] = head.told("release.post_mortem", version="2")
    assert post_mortem["guard"] == "latency"
    assert 0 < post_mortem["bad"] <= post_mortem["observed"]
    assert post_mortem["first_bad_from"] < verdict["timestamp"] < post_mortem["shut_at"]
    assert len(set(ids)) == 3
    page, release = tmp_path / "release.html", f"{one.name}/2"
    told = headgate("report", release, "--logs", head.log, "--html", page)
    assert told.code == 0, told.err
    by_log = page.read_text()
    headgate("report", release, "--store", head.url, "--html", page)
    assert page.read_text() == by_log
    assert post_mortem["because"] in Page.read(by_log).text
    assert all(one_id in Page.read(by_log).text for one_id in ids)
