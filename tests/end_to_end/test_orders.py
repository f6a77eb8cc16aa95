from datetime import datetime, timedelta

import pytest

from tests.end_to_end.stage import Course, Daemon, Splits, Users, ask_twice, eventually, headgate

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]
Shared = tuple[Daemon, dict[str, Course]]


def test_an_abort_sends_the_users_home_and_store_and_log_tell_the_same(shared: Shared) -> None:
    head, courses = shared
    one = courses["aborted"]
    one.register()
    with Users(one) as users:
        head.until("release.settled", application="aborted", state="Canary")
        assert one.split == {"1": 80, "2": 20}
        ordered = headgate("abort", "aborted/2", "--reason", "a wrong price", "--store", head.url)
        assert (ordered.code, ordered.err) == (0, "")
        assert ordered.out == "aborted/2 is aborted: it goes back with the next look\n"
        head.until("release.settled", application="aborted", state="RolledBack")
    assert one.split == {"1": 100, "2": 0}
    assert one.alias == "1"
    assert set(users.statuses) == {200}
    for question, code, words in (
        (("status", "aborted"), 0, "adopted"),
        (("status", "aborted/2"), 1, "aborted by the operator"),
        (("history", "aborted"), 0, "a wrong price"),
        (("explain", "aborted/2"), 0, "a wrong price"),
    ):
        store, log = ask_twice(head, *question, "--json")
        assert store == log, "the log answers as the store does"
        assert store.code == code, store.err
        assert words in store.out
    store, log = ask_twice(head, "status", "aborted/2")
    assert (store.code, store.err) == (log.code, log.err) == (1, "")
    for told in (store.out, log.out):
        assert "aborted/2  RolledBack" in told
        assert "aborted by the operator" in told
    again = headgate("abort", "aborted/2", "--store", head.url)
    assert again.code == 2
    assert "aborted/2 is RolledBack and over: an order cannot move it" in again.err


def test_a_paused_release_stays_where_it_is_until_it_is_resumed(shared: Shared) -> None:
    head, courses = shared
    one = courses["paused"]
    one.register()
    with Users(one) as users, Splits(one) as splits:
        opened = head.until("release.settled", application="paused", state="Canary")
        assert headgate("pause", "paused", "--reason", "lunch", "--store", head.url).code == 0
        # Proven, and longer than its least stay at this step: only the order keeps it.
        head.until("gate.verdict", application="paused", verdict="PASS", step=1)
        stayed = datetime.fromisoformat(opened["timestamp"]) + timedelta(seconds=5)

        def outstayed() -> bool:
            blocks = head.told("evidence.block", application="paused")
            return datetime.fromisoformat(blocks[-1]["timestamp"]) > stayed

        eventually(outstayed, "it has stayed long enough")
        assert one.split == {"1": 80, "2": 20}
        told = headgate("status", "paused/2", "--json", "--store", head.url).json[0]
        assert told["order"] == "pause"
        assert told["next"] == "waits for `headgate resume`"
        assert splits.exposures == [0, 20]
        # From a machine that has no store, through the daemon.
        remote = {
            "HEADGATE_URL": f"http://{head.environment['HEADGATE_HTTP']}",
            "HEADGATE_TOKEN_FILE": head.environment["HEADGATE_TOKEN_FILE"],
            "LOGNAME": "anna",
        }
        resumed = headgate("resume", "paused", "--reason", "back", **remote)
        assert (resumed.code, resumed.out) == (0, "paused/2 goes on\n"), resumed.err
        head.until("release.confirmed", application="paused", version="2")
    by_store, by_http = head.told("order.given", application="paused")
    assert (by_store["via"], by_store["reason"]) == ("store", "lunch")
    assert [by_http[one] for one in ("via", "actor", "verb", "reason")] == [
        *("http", "anna", "resume", "back"),
    ]
    told = headgate("history", "paused", **remote).out
    assert "anna (over HTTP, as the token's holder says) ordered resume" in told
    assert splits.exposures == [0, 20, 50, 100]
    assert set(users.statuses) == {200}
    assert (one.split["2"], one.alias) == (100, "2")
