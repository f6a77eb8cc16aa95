from collections.abc import Callable

import pytest

from tests.end_to_end.stage import Course, Daemon, Splits, Users, eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(240),
]
MOMENTS = (
    {"to_state": "Provisioning"},
    {"to_state": "Testing"},
    {"to_state": "Canary", "step": 2},
    {"to_state": "Production"},
)
CLIMB = [0, 20, 50, 100]


def test_a_release_outlives_a_kill_in_each_of_its_states(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one = course().open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    one.register()
    with Users(one) as users, Splits(one) as splits:
        for moment in MOMENTS:
            head.until("release.transition", version="2", **moment)
            head.kill()
            head.start()
        head.until("release.confirmed", version="2")
    assert one.split == {"1": 0, "2": 100}
    assert one.alias == "2"
    assert splits.exposures == CLIMB, "no kill opened or shut the gate"
    assert set(users.statuses) == {200}
    assert one.updates == len(CLIMB), "each change of the endpoint was asked for once"
    assert head.stop() == 0
    head.assert_nothing_is_missing()
    moved = [line["to_state"] for line in head.journal() if line["event"] == "release.transition"]
    assert moved == [
        *("Provisioning", "Testing", "Canary", "Canary", "Canary", "Production"),
        "Retired",
    ]


def test_a_call_under_way_when_the_daemon_is_killed_is_not_sent_again(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one = course().open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    path = f"/{one.endpoint}/config$"
    one.workspace.fault(method="PUT", path=path, after_handler=True, delay_s=5)
    one.register()
    eventually(lambda: "2" in one.split, "the workspace works on a call that it has not answered")
    head.kill()
    head.start()
    head.until("release.transition", version="2", to_state="Testing")
    assert one.updates <= 1 + head.count("release.transition", to_state="Canary")
    assert head.stop() == 0
    head.assert_nothing_is_missing()
