import signal
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.end_to_end.stage import Course, Daemon, eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]
Shared = tuple[Daemon, dict[str, Course]]


def test_sigterm_ends_the_pass_under_way_and_then_the_daemon_with_0(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one = course().open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    # The call that adds version 2 is answered late: the daemon is told to end while it waits.
    path = f"/{one.endpoint}/config$"
    one.workspace.fault(method="PUT", path=path, after_handler=True, delay_s=2)
    one.register()
    eventually(lambda: "2" in one.split, "the daemon waits for its answer")
    assert head.stop(signal.SIGTERM) == 0
    last = head.journal()[-1]
    assert last["event"] == "daemon.stopped"
    assert "SIGTERM" in last["because"]
    assert [line for line in head.lines if "seq" in line][-1] == last
    assert head.errors.read_text() == ""
    head.start()
    head.until("release.transition", version="2", to_state="Testing")
    assert one.updates <= 1 + head.count("release.transition", to_state="Canary")
    assert head.stop(signal.SIGINT) == 130
    assert "SIGINT" in head.journal()[-1]["because"]
    head.assert_nothing_is_missing()


def test_a_new_version_is_noticed_at_the_next_look(shared: Shared) -> None:
    head, courses = shared
    one = courses["noticed"]
    before = datetime.now(UTC)
    one.register()
    registered = datetime.now(UTC)
    line = head.until("release.registered", application="noticed", version="2")
    noticed = datetime.fromisoformat(line["timestamp"])
    # A look may see it before the one who registers it is answered.
    since_before, since = (
        one.workspace.reads(f"/{one.model}/versions", moment, noticed)
        for moment in (before, registered)
    )
    assert since_before >= 1
    assert since <= 2, "one that was under way, and the next"
