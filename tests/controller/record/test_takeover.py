"""The log of replicas: one prints, whoever wrote, and the next one goes on from there."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from controller.record.leases import PRINTER, Leases
from controller.record.logging import configure_logging
from controller.record.printer import Printer
from states.plan import Event
from tests.controller.record.conftest import Home


@pytest.fixture
def paper() -> Iterator[io.StringIO]:
    """What all replicas print on; afterwards, logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    paper = io.StringIO()
    configure_logging("json", paper)
    yield paper
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


class Replica:
    """A daemon as far as its log goes."""

    def __init__(self, home: Home, name: str) -> None:
        self.store = home.store()
        self.leases = Leases(self.store, name, timedelta(seconds=30))
        self.held: set[str] = set()
        self.printer = Printer(self.store, lambda: PRINTER in self.held)
        self.beats()

    def beats(self) -> None:
        """Renew, share, and print what is new, if that is its part."""
        self.held = set(self.leases.share([])) if self.leases.renew() else set()
        self.printer.print_new()

    def notes(self, what: str) -> None:
        self.store.note(Event(name="daemon.started", because=what))
        self.printer.print_new()


def seqs_of(paper: io.StringIO) -> list[int]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in paper.getvalue().splitlines()]
    return [int(line["seq"]) for line in lines]


def test_one_replica_prints_what_all_of_them_write(home: Home, paper: io.StringIO) -> None:
    one, two = Replica(home, "one"), Replica(home, "two")
    for number in range(3):
        one.notes(f"one {number}")
        two.notes(f"two {number}")
    assert seqs_of(paper) == [1, 2, 3, 4, 5], "the last row waits for its printer's next look"
    one.beats()
    assert seqs_of(paper) == [1, 2, 3, 4, 5, 6]


def test_who_takes_over_prints_what_was_not_and_leaves_nothing_out(
    home: Home, paper: io.StringIO
) -> None:
    one, two = Replica(home, "one"), Replica(home, "two")
    one.notes("printed, and known to be")
    one.notes("printed; nobody had the time to write that down")
    two.notes("not printed by one, who is gone")
    home.clock.turn(seconds=20)
    two.beats()
    home.clock.turn(seconds=11)
    two.beats()
    found = seqs_of(paper)
    assert set(found) == {1, 2, 3}
    assert found[-1] == 3
    two.notes("and on it goes")
    assert seqs_of(paper)[-1] == 4


def test_after_a_clean_stop_nothing_is_printed_twice(home: Home, paper: io.StringIO) -> None:
    one, two = Replica(home, "one"), Replica(home, "two")
    one.notes("first")
    one.notes("second")
    one.leases.give_back()
    one.store.close()
    home.opened.remove(one.store)
    two.notes("third")
    two.beats()
    assert seqs_of(paper) == [1, 2, 3]


def test_who_lost_the_log_and_gets_it_back_does_not_start_from_memory(
    home: Home, paper: io.StringIO
) -> None:
    one = Replica(home, "one")
    one.notes("first")
    home.clock.turn(seconds=31)
    two = Replica(home, "two")
    two.notes("second")
    two.notes("third")
    two.leases.give_back()
    two.store.close()
    home.opened.remove(two.store)
    one.beats()
    one.beats()
    one.notes("fourth")
    assert seqs_of(paper)[-1] == 4
    assert set(seqs_of(paper)) == {1, 2, 3, 4}
    assert seqs_of(paper).count(3) == 1


def test_a_heartbeat_comes_from_the_one_that_prints(home: Home, paper: io.StringIO) -> None:
    one, two = Replica(home, "one"), Replica(home, "two")
    application = two.store.load("rag").application
    two.printer.heartbeat(application, 0)
    assert paper.getvalue() == ""
    one.printer.heartbeat(application, 0)
    assert json.loads(paper.getvalue())["event"] == "application.state"
