"""What becomes of users on trial when every daemon is gone."""

import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.controller.daemon.test_courier import listening
from tests.end_to_end.stage import Course, Daemon, Said, eventually, headgate

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(240),
]


def on_trial(
    course: Callable[..., Course], daemon: Callable[..., Daemon], dead_man: str, **environment: str
) -> tuple[Course, Daemon]:
    """A release that stays at its first step, and its daemon."""
    one = course(rollout={"min_step": "10m", "dead_man": dead_man}).open().ready()
    head = daemon(one, **environment).start()
    head.until("release.registered", version="1")
    one.register()
    head.until("release.settled", version="2", state="Canary")
    return one, head


def job(head: Daemon, after: str) -> Said:
    """The dead man's switch, as a scheduler elsewhere runs it."""
    said = ("dead-man", "--config", head.config, "--after", after)
    return headgate(*said, **head.environment)


def test_users_on_trial_go_home_once_nobody_looks_after_them(
    course: Callable[..., Course], daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    with listening() as ear:
        receivers = tmp_path / "receivers.yaml"
        receivers.write_text(f"receivers: {{oncall: {{url: '{ear.url}', severity: error}}}}")
        receivers.chmod(0o600)
        one, head = on_trial(course, daemon, "stable", HEADGATE_NOTIFY_FILE=str(receivers))
        sent_home(one, head)
        assert ear.titles == [f"Headgate: {one.name}/2 rolled back"], "by whoever did it, and once"


def sent_home(one: Course, head: Daemon) -> None:
    lives = job(head, "1h")
    assert (lives.code, lives.out) == (0, "nothing to do: no release was left alone for 1 h\n")
    head.process.send_signal(signal.SIGSTOP)
    eventually(lambda: job(head, "1s").code, "it hangs for more than a second")
    hangs = job(head, "1s")
    # As it is: awake, it would look once more before it dies.
    head.kill()
    assert hangs.code == 3
    assert f"held by process {head.process.pid}" in hangs.out
    assert one.split == {"1": 80, "2": 20}
    gone = job(head, "1s")
    assert gone.code == 1, gone
    assert gone.out.splitlines()[-1] == f"sent home: {one.name}"
    assert one.split == {"1": 100, "2": 0}
    assert job(head, "1s").code == 0
    head.start()
    last = [line for line in head.journal() if line["event"] == "order.given"]
    assert [line["given_actor"] if "given_actor" in line else line["actor"] for line in last] == [
        "dead-man"
    ]
    assert head.stop() == 0
    assert one.split == {"1": 100, "2": 0}


def test_one_removed_and_one_damaged_application_keep_no_other_from_home(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    damaged, removed, whole = courses = [
        course(rollout={"min_step": "10m", "dead_man": "stable"}).open() for _ in range(3)
    ]
    for one in courses:
        one.ready()
    head = daemon(*courses).start()
    for one in courses:
        head.until("release.registered", application=one.name, version="1")
        one.register()
    for one in courses:
        head.until("release.settled", application=one.name, version="2", state="Canary")
    head.kill()
    with sqlite3.connect(head.store) as store:
        told = json.dumps({"watermark": "no number"}), damaged.name
        store.execute("UPDATE applications SET body = ? WHERE name = ?", told)
    store.close()
    left = {one.name: one.application for one in (damaged, whole)}
    head.config.write_text(yaml.safe_dump({"applications": left}))
    eventually(lambda: (said := job(head, "1s")).code and "sent home" in said.out, "it is late")
    assert [one.split for one in courses] == [{"1": 80, "2": 20}] * 2 + [{"1": 100, "2": 0}]
    again = job(head, "1s")
    assert again.code == 3
    unread, missing = again.out.splitlines()
    assert unread.startswith(f"{damaged.name}: the record of {damaged.name} in this store cannot")
    assert missing.startswith(f"{removed.name}/2: not in the configuration: add {removed.name}")


def test_a_canary_stays_as_it_is_where_nothing_else_is_wanted(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    one, head = on_trial(course, daemon, "stay")
    head.kill()
    eventually(lambda: job(head, "1s").code == 0, "it is left alone")
    assert one.split == {"1": 80, "2": 20}
