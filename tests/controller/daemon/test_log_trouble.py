"""A log that cannot be written keeps no users where they are, and misses no row afterwards."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.daemon.beat import Daemon
from controller.daemon.lanes import Passes
from controller.record.printer import Printer
from controller.record.store import Store
from states.release import Order
from tests.controller.daemon.test_beat import POLL_S, Looks
from tests.controller.house import NAME, House, opened
from tests.controller.stdout import Stdout, stdout

WAYS = pytest.mark.parametrize("fail", [Stdout.fill, Stdout.close])
Fails = Callable[[Stdout], None]


@dataclass
class Printing:
    """A house whose log goes to files, with version 2 in its canary."""

    house: House
    out: Stdout

    def nothing_is_missing(self) -> None:
        """Every row of the journal is in the log, once and in order."""
        assert self.out.seqs == list(range(1, self.house.store.last_seq() + 1))


@pytest.fixture
def printing(tmp_path: Path) -> Iterator[Printing]:
    with stdout(tmp_path) as out, opened(tmp_path / "house") as house:
        house.one.printer = Printer(house.store, sink=out.sink)
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        house.passes()
        assert house.outside.story.weight(2) == 5
        yield Printing(house, out)


@WAYS
def test_an_abort_sends_users_home_and_the_log_tells_it_once_it_can(
    printing: Printing, fail: Fails
) -> None:
    house, out = printing.house, printing.out
    before = out.seqs
    fail(out)
    house.store.give_order(NAME, "2", Order.ABORT, "ann", "it is slow")
    house.passes(3)
    assert house.outside.story.weight(2) == 0
    assert house.application().live is None
    assert house.one.printer.trouble() is not None
    assert out.seqs == before
    out.free()
    house.passes()
    assert house.one.printer.trouble() is None
    printing.nothing_is_missing()


@WAYS
def test_a_candidate_that_fails_is_rolled_back_by_itself(printing: Printing, fail: Fails) -> None:
    house, out = printing.house, printing.out
    fail(out)
    house.outside.story.error_rates["2"] = 0.3
    for _ in range(40):
        house.passes()
    assert house.outside.story.weight(2) == 0
    out.free()
    house.passes()
    printing.nothing_is_missing()
    assert any(line.get("to_state") == "RolledBack" for line in out.lines)


def test_passes_that_fail_for_another_reason_come_into_quarantine_all_the_same(
    printing: Printing, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = printing.house
    printing.out.fill()
    lanes = Passes({NAME: house.one}, house.store)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(house.outside, "look", broken)
        for _ in range(6):
            lanes.start_due()
            assert eventually(lambda: not lanes.busy())
    assert lanes.quarantined() == {NAME}
    live = house.application().live
    assert live is not None
    assert live.hold is not None
    assert "ZeroDivisionError" in live.hold
    assert lanes.end(10) == 0


@WAYS
def test_beats_and_the_watchdog_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Fails
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    with stdout(tmp_path) as out:
        store, looks = Store(f"sqlite:///{tmp_path / 'headgate.db'}"), Looks()
        printer = Printer(store, sink=out.sink)
        daemon = Daemon(store, printer, {"one": looks}, timedelta(seconds=POLL_S))
        fail(out)
        looks.fails = ZeroDivisionError()
        daemon.start()
        thread = daemon._beating
        assert eventually(lambda: len(looks.at) >= 3)
        daemon.watchdog._beaten_at -= 3600
        daemon.watch()
        assert eventually(lambda: daemon.watchdog.trouble() is None)
        daemon.watch()
        assert daemon._beating is thread
        assert printer.lost > 0
        out.free()
        assert eventually(lambda: bool(out.named("log.resumed")))
        daemon.stop()
        assert daemon.passes.end(10) == 0
        store.close()
    assert died == []


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.01)
    return held
