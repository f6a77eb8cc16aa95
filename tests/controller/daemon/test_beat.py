"""The daemon's beat: it goes on whatever the clock does, and whatever fails in it."""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from apscheduler.schedulers import base
from structlog.testing import capture_logs

from controller.daemon.beat import Daemon
from controller.daemon.readiness import Readiness
from controller.daemon.tick import Tick
from controller.record.printer import Printer
from controller.record.store import Store
from states.plan import Event
from states.spec import Spec

POLL_S = 0.2


@dataclass
class Looks:
    """A pass that notes when it ran."""

    spec: Spec = field(default_factory=lambda: Spec(model="main.a.b", endpoint="e"))
    at: list[float] = field(default_factory=list)
    fails: BaseException | None = None
    hangs: threading.Event | None = None

    def run(self) -> bool:
        self.at.append(time.monotonic())
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.fails is not None:
            raise self.fails
        return True

    def quarantine(self, why: str) -> None:
        assert why


@dataclass
class Beating:
    """A daemon that beats, with one application."""

    looks: Looks
    daemon: Daemon

    def soon(self, looks: int) -> None:
        """It looks so often again."""
        wanted, end = len(self.looks.at) + looks, time.monotonic() + 20
        while len(self.looks.at) < wanted:
            assert time.monotonic() < end, "it has stopped looking"
            time.sleep(0.01)

    @property
    def longest_gap(self) -> float:
        """The longest time between two looks, in paces."""
        return max(b - a for a, b in zip(self.looks.at, self.looks.at[1:], strict=False)) / POLL_S


@pytest.fixture
def beating(tmp_path: Path) -> Iterator[Beating]:
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    looks = Looks()
    daemon = Daemon(store, Printer(store), {"one": looks}, timedelta(seconds=POLL_S))
    daemon.start()
    yield Beating(looks, daemon)
    daemon.stop()
    assert daemon.passes.end(10) == 0
    store.close()


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1), timedelta(days=-1)])
def test_a_clock_that_jumps_does_not_stop_the_beat(
    beating: Beating, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    beating.soon(3)

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + jump

    monkeypatch.setattr(base, "datetime", Jumped)
    # So much the machine itself may be late; an hour would be 18,000 paces.
    beating.soon(8)
    assert beating.longest_gap < 20


def test_a_scheduler_that_died_is_started_again(beating: Beating) -> None:
    beating.soon(2)
    scheduler = beating.daemon._tick._scheduler
    assert scheduler is not None
    with capture_logs() as logs:
        scheduler.remove_all_jobs()
        beating.soon(5)
    assert "daemon.tick_lost" in {line["event"] for line in logs}


def test_a_beat_whose_thread_died_is_told_once_and_started_again(
    beating: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating.soon(2)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    real = beating.daemon._tick.wait

    def die(*_: object) -> None:
        sys.exit()

    monkeypatch.setattr(beating.daemon._tick, "wait", die)
    thread = beating.daemon._beating
    assert thread is not None
    thread.join(10)
    monkeypatch.setattr(beating.daemon._tick, "wait", real)
    dog = beating.daemon.watchdog
    dog._beaten_at -= 3600
    with capture_logs() as logs:
        for _ in range(3):
            dog.check()
    assert [line["event"] for line in logs] == ["daemon.stalled"]
    beating.daemon.watch()
    beating.soon(2)
    with capture_logs() as logs:
        dog.check()
    assert [line["event"] for line in logs] == ["daemon.recovered"]
    assert dog.trouble() is None


def test_a_beat_that_fails_is_followed_by_the_next(
    beating: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating.soon(1)

    def fail() -> tuple[str, ...]:
        raise RuntimeError("the database driver has a bug")

    monkeypatch.setattr(beating.daemon._store, "urgent", fail)
    end = time.monotonic() + 10
    with capture_logs() as logs:
        while sum(line["event"] == "beat.failed" for line in logs) < 3:
            assert time.monotonic() < end
            time.sleep(0.01)
    monkeypatch.undo()
    beating.soon(2)


def test_the_beat_and_the_heartbeat_go_on_while_a_pass_hangs(tmp_path: Path) -> None:
    store, hanging, other = Store(f"sqlite:///{tmp_path / 'h.db'}"), Looks(), Looks()
    hanging.hangs = threading.Event()
    passes = {"hanging": hanging, "other": other}
    daemon = Daemon(store, Printer(store), passes, timedelta(seconds=POLL_S))
    with capture_logs() as logs:
        daemon.start()
        beating = Beating(other, daemon)
        beating.soon(4)
        assert len(hanging.at) == 1
        assert daemon.watchdog.trouble() is None
        told = {line["application"] for line in logs if line["event"] == "application.state"}
    assert told == {"hanging", "other"}
    assert daemon.passes.longest_s() > 2 * POLL_S
    hanging.hangs.set()
    daemon.stop()
    assert daemon.passes.end(10) == 0
    store.close()


def test_users_who_are_to_go_home_do_not_wait_for_the_next_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.daemon.beat.RESCUE_S", 0.05)
    store, going, staying = Store(f"sqlite:///{tmp_path / 'headgate.db'}"), Looks(), Looks()
    monkeypatch.setattr(store, "urgent", lambda: ("going",))
    passes = {"going": going, "staying": staying}
    daemon = Daemon(store, Printer(store), passes, timedelta(seconds=60))
    daemon.start()
    try:
        Beating(going, daemon).soon(4)
        assert len(staying.at) == 1
    finally:
        daemon.stop()
        assert daemon.passes.end(10) == 0
        store.close()


def test_who_rings_does_not_wait_for_the_next_beat(tmp_path: Path) -> None:
    store, rung, quiet = Store(f"sqlite:///{tmp_path / 'headgate.db'}"), Looks(), Looks()
    daemon = Daemon(store, Printer(store), {"rung": rung, "quiet": quiet}, timedelta(seconds=60))
    daemon.start()
    try:
        end = time.monotonic() + 20
        while not (rung.at and quiet.at):
            assert time.monotonic() < end, "it does not begin"
            time.sleep(0.01)
        rang_at = time.monotonic()
        assert daemon.ring(["rung", "gone"]) == ["rung"]
        while rung.at[-1] < rang_at:
            assert time.monotonic() < end, "nobody heeds the ring"
            time.sleep(0.01)
        assert rung.at[-1] - rang_at < 2, "far sooner than a minute, on a busy machine too"
        assert len(quiet.at) == 1
    finally:
        daemon.stop()
        assert daemon.passes.end(10) == 0
        store.close()


def test_a_tick_that_is_stopped_while_it_begins_anew_stays_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy machine loses rings: the beat begins anew as the daemon is told to end."""
    tick, real, ending = Tick(timedelta(hours=1)), base.BaseScheduler.shutdown, threading.Event()

    def shutdown(self: base.BaseScheduler, *args: object, **how: object) -> None:
        ending.set()
        time.sleep(0.2)  # so long that both threads would be in here, if they could
        real(self, *args, **how)

    tick.start()
    monkeypatch.setattr(base.BaseScheduler, "shutdown", shutdown)
    anew = threading.Thread(target=tick.start)
    anew.start()
    assert ending.wait(5)
    tick.stop()
    anew.join(5)
    assert tick._scheduler is None
    tick.start()
    assert tick._scheduler is None, "what was stopped does not begin again"


def test_a_store_that_is_gone_is_told_and_fails_readiness_not_health(
    beating: Beating,
) -> None:
    """A restart would be no help: beats go on, and find the store when it is back."""
    store, dog = beating.daemon._store, beating.daemon.watchdog
    ready = Readiness(store, timedelta(seconds=POLL_S), idle=lambda: True)
    beating.soon(2)
    assert ready.trouble() is None
    away = store.path.with_name("away.db")
    with capture_logs() as logs:
        store.path.rename(away)
        beating.soon(2)
        dog._beaten_at = long_ago = time.monotonic() - 3600
        beating.soon(3)
        assert dog._beaten_at > long_ago, "these beats count"
        assert dog.trouble() is None
        assert "is gone" in str(ready.trouble())
        away.rename(store.path)
        store.note(Event(name="config.loaded", because="it is back"))
        end = time.monotonic() + 20
        while not any(line.get("because") == "it is back" for line in logs):
            assert time.monotonic() < end, "what is written is printed again"
            time.sleep(0.01)
    assert ready.trouble() is None
    told = [line for line in logs if line["event"] == "store.failed"]
    assert told
    assert all("put it back" in line["because"] for line in told)
    assert "beat.failed" not in {line["event"] for line in logs}


def test_a_beat_tells_once_that_there_is_nothing_to_print_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    monkeypatch.setattr(store, "urgent", tuple)
    daemon, away = Daemon(store, Printer(store), {}, timedelta(seconds=60)), tmp_path / "away.db"
    with capture_logs() as logs:
        for _ in range(2):
            store.path.rename(away)
            for _ in range(3):
                daemon.beat()
            away.rename(store.path)
            daemon.beat()
    assert [line["event"] for line in logs] == ["store.failed", "store.failed"]
    assert daemon.passes.end(10) == 0
    store.close()
