import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.end_to_end.conftest import PATIENT
from tests.end_to_end.stage import (
    Bridge,
    Course,
    Daemon,
    Splits,
    Users,
    Workspace,
    ask_twice,
    eventually,
    headgate,
)

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]
AT_2 = "hand-1 0 %, hand-2 100 %; alias production at version 2"
HALF = "hand-1 50 %, hand-2 50 %; alias production at version 2"
Shared = tuple[Daemon, dict[str, Course]]


@pytest.fixture
def bridge(workspace: Workspace) -> Iterator[Bridge]:
    """A way to the workspace that is not open yet."""
    made = Bridge(workspace)
    yield made
    made.close()


def test_answers_that_lie_or_refuse_change_nothing_but_time(shared: Shared) -> None:
    head, courses = shared
    one = courses["troubled"]
    path = f"/{one.endpoint}/config$"
    one.workspace.fault(method="PUT", path=path, status=503, after_handler=True)
    one.workspace.fault(method="PUT", path=path, status=409, error_code="RESOURCE_CONFLICT")
    one.workspace.fault(method="PUT", path=path, status=503, after_handler=True)
    one.register()
    with Users(one) as users, Splits(one) as splits:
        head.until("release.confirmed", application="troubled", version="2")
    assert splits.exposures == [0, 20, 50, 100]
    assert all(sum(split.values()) == 100 for split in splits.seen)
    assert set(users.statuses) == {200}
    assert (one.split["2"], one.alias) == (100, "2")
    assert one.updates == 5, "four changes, one of which was refused and asked for again"


def test_a_split_made_by_hand_waits_for_a_person_and_for_nothing_else(shared: Shared) -> None:
    head, courses = shared
    one = courses["split"]
    sentence = "put one version of main.e2e.split to 100 %, and Headgate adopts it"
    said = headgate("status", "split", "--store", head.url)
    assert said.code == 3
    assert sentence in " ".join(said.out.split())
    assert one.split == {"1": 50, "2": 50}, "what is not understood is not touched"
    one.workspace.serve(one.endpoint, one.model, {"1": 100, "2": 0}, new=False)
    head.until("release.registered", application="split", version="1")
    assert headgate("status", "split", "--store", head.url).code == 0
    assert one.split == {"1": 100, "2": 0}
    nothing = headgate("adopt", "split", "--store", head.url)
    assert (nothing.code, nothing.err) == (
        2, "headgate: nothing of split is shown as changed by others: it waits for none\n"
    )  # fmt: skip


def test_what_others_changed_is_adopted_or_put_back_at_a_persons_word(shared: Shared) -> None:
    head, courses = shared
    one = courses["edited"]
    one.register()
    head.until("release.transition", application="edited", version="2", to_state="Canary")
    assert headgate("abort", "edited", "--store", head.url).code == 0
    head.until("release.settled", application="edited", state="RolledBack")
    writes = one.updates
    one.workspace.serve(one.endpoint, one.model, {"1": 0, "2": 100}, new=False)
    told = head.until("endpoint.foreign_change", application="edited")
    assert "hand-2 (version 2 of main.e2e.edited) was added at 100 %" in told["difference"]
    assert headgate("status", "edited", "--store", head.url).code == 3
    refused = headgate("adopt", "edited", "--store", head.url)
    assert refused.code == 2
    assert "alias production names version 1, but version 2 has 100 %" in refused.err
    one.workspace.point(one.model, "production", "2")
    head.until("endpoint.foreign_change", application="edited", found=AT_2)
    given = headgate("adopt", "edited", "--reason", "a hotfix", "--store", head.url)
    assert (given.code, given.err) == (0, "")
    head.until("release.registered", application="edited", version="2", adopted=True)
    assert headgate("status", "edited", "--store", head.url).code == 0
    assert (one.split, one.alias) == ({"1": 0, "2": 100}, "2")
    assert one.updates == writes + 1, "only somebody's hand was at work"
    one.workspace.serve(one.endpoint, one.model, {"1": 50, "2": 50}, new=False)
    head.until("endpoint.foreign_change", application="edited", found=HALF)
    refused = headgate("adopt", "edited", "--store", head.url)
    assert "put one version of main.e2e.edited to 100 %" in refused.err
    assert headgate("revert", "edited", "--reason", "not ours", "--store", head.url).code == 0
    # Once this is told, nothing more is to come, and store and log can be held side by side.
    head.until("endpoint.update", application="edited", weights={"hand-1": 0, "hand-2": 100})
    assert (one.split, one.alias) == ({"1": 0, "2": 100}, "2")
    store, log = ask_twice(head, "history", "edited", "--json")
    assert store == log
    assert all(words in store.out for words in ("a hotfix", "not ours"))
    assert headgate("status", "edited", "--store", head.url).code == 0


def test_a_model_that_is_not_there_yet_is_waited_for(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one = course()
    head = daemon(one).start()
    one.register()
    head.until("release.confirmed", version="1")
    assert one.split == {"1": 100}
    assert one.alias == "1"
    assert head.stop() == 0


def test_a_refused_token_is_told_and_the_daemon_lives(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    head = daemon(course(), DATABRICKS_TOKEN="not-the-token").start()
    because = str(head.until("workspace.unseen", what="endpoint")["because"])
    assert "the workspace refuses the token: renew DATABRICKS_TOKEN" in because
    assert head.stop() == 0
    assert head.errors.read_text() == ""


def test_a_workspace_that_appears_late_is_found(
    course: Callable[..., Course], daemon: Callable[..., Daemon], bridge: Bridge
) -> None:
    one = course().open().ready()
    head = daemon(one, DATABRICKS_HOST=bridge.host).start()
    because = str(head.until("workspace.unseen", what="endpoint")["because"])
    assert "the workspace cannot be reached" in because
    assert headgate("status", "--store", head.url).code == 0
    bridge.open()
    head.until("workspace.seen", what="endpoint")
    head.until("release.registered", version="1")
    assert headgate("status", one.name, "--store", head.url).code == 0
    assert head.stop() == 0


def test_a_full_disk_stops_decisions_and_nothing_is_lost(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one = course().open().ready()
    head = daemon(one).start()
    head.until("release.registered", version="1")
    _, most = resource.prlimit(head.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(head.process.pid, resource.RLIMIT_FSIZE, (0, most))
    one.register()
    assert "check the disk and the space left on it" in head.until("store.failed")["because"]
    held = head.count("store.failed")
    head.until("store.failed")
    assert head.count("release.registered", version="2") == 0
    assert one.split == {"1": 100}, "what cannot be written down is not done"
    resource.prlimit(head.process.pid, resource.RLIMIT_FSIZE, (most, most))
    head.until("release.transition", version="2", to_state="Testing")
    assert head.count("store.failed") >= held
    assert head.stop() == 0
    head.assert_nothing_is_missing()


def answers(url: str) -> dict[str, Any] | None:
    """What a probe is told; nothing while nobody listens."""
    try:
        told: dict[str, Any] = requests.get(url, timeout=10).json()
    except requests.ConnectionError:
        return None
    return told


@pytest.mark.parametrize(
    ("why", "begins_full"),
    [("Broken pipe", False), ("No space left on device", True)],
    ids=["whose-reader-died", "whose-disk-is-full"],
)
def test_a_log_that_cannot_be_written_keeps_nobody_from_going_home(
    course: Callable[..., Course], daemon: Callable[..., Daemon], why: str, *, begins_full: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        url = f"http://127.0.0.1:{found.getsockname()[1]}"
    one = course(**PATIENT).open().ready()
    head = daemon(one, HEADGATE_HTTP=url.removeprefix("http://"))
    head.start().until("release.registered", version="1")
    # Nothing is on its way through the pipe: the next thing that is told is version 2.
    if begins_full:
        assert head.stop() == 0
        head.start_unheard()
    else:
        head.lose_reader()
    one.register()
    eventually(lambda: one.split.get("2") == 20, "version 2 has users")
    unready = answers(f"{url}/readyz")
    assert unready is not None
    assert unready["status"] == "failing"
    assert f"log: stdout cannot be written ({why})" in unready["because"]
    assert answers(f"{url}/healthz") == {"status": "ok"}
    metrics = requests.get(f"{url}/metrics", timeout=10).text
    assert "headgate_log_writable 0.0" in metrics
    assert headgate("abort", one.name, "--store", head.url).code == 0
    eventually(lambda: one.split == {"1": 100, "2": 0}, "its users are home")
    assert head.process.poll() is None, "it lives"
    assert head.stop() == 0
    assert head.errors.read_text().count("stdout cannot be written") == 1
    assert head.count("release.registered", version="2") == 0
    head.start()
    eventually(lambda: answers(f"{url}/readyz") == {"status": "ok"}, "it is ready again")
    assert head.stop() == 0
    head.assert_nothing_is_missing()
    assert head.count("release.transition", version="2", to_state="RolledBack") == 1


def test_a_reader_of_the_log_that_hangs_keeps_nobody_from_going_home(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        url = f"http://127.0.0.1:{found.getsockname()[1]}"
    one = course(**PATIENT).open().ready()
    head = daemon(one, HEADGATE_HTTP=url.removeprefix("http://"))
    head.start().until("release.registered", version="1")
    head.stall_reader()
    one.register()
    eventually(lambda: one.split.get("2") == 20, "version 2 has users")
    unready = answers(f"{url}/readyz")
    assert unready is not None
    assert "log: stdout cannot be written (its reader takes nothing)" in unready["because"]
    assert headgate("abort", one.name, "--store", head.url).code == 0
    eventually(lambda: one.split == {"1": 100, "2": 0}, "its users are home")
    assert answers(f"{url}/healthz") == {"status": "ok"}
    head.wake_reader()
    eventually(lambda: answers(f"{url}/readyz") == {"status": "ok"}, "it is ready again")
    assert head.stop() == 0
    head.assert_nothing_is_missing()
    assert head.count("release.transition", version="2", to_state="RolledBack") == 1


def test_a_daemon_without_a_stdout_is_refused(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    """The store or a connection would get its number, and the log would be written into that."""
    head = daemon(course())
    run = [sys.executable, "-m", "controller", "run", "--config", str(head.config)]
    said = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *run],
        env=head.environment,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2
    assert said.stderr == (
        b"headgate: stdout is closed, and the log goes there: lead it to a file or a pipe\n"
    )
    assert not head.store.exists()
