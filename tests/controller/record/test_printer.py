import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from controller.record.logging import configure_logging
from controller.record.printer import Printer
from controller.record.store import Store
from states.machine import State
from states.plan import Event
from tests.controller.record.conftest import Home
from tests.controller.record.making import release, write


@pytest.fixture
def paper() -> Iterator[io.StringIO]:
    """What the log is printed on; afterwards, logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def store(home: Home) -> Store:
    store = home.store()
    write(store, release("2", State.CANARY, step=1))
    store.note(Event(name="daemon.started", because="here we go"))
    return store


def lines(paper: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in paper.getvalue().splitlines()]


def test_the_log_is_the_journal(store: Store, paper: io.StringIO) -> None:
    configure_logging("json", paper)
    assert Printer(store).print_new() == 2
    assert lines(paper) == list(store.journal())
    assert list(lines(paper)[0]) == list(next(store.journal()))


def test_each_row_is_printed_once_by_one_daemon(store: Store, paper: io.StringIO) -> None:
    configure_logging("json", paper)
    printer = Printer(store)
    printer.print_new()
    printer.print_new()
    store.note(Event(name="daemon.stopped"))
    printer.print_new()
    assert [line["seq"] for line in lines(paper)] == [1, 2, 3]


def test_one_that_was_not_to_print_for_a_moment_prints_nothing_twice_and_follows_its_follower(
    store: Store, paper: io.StringIO, home: Home
) -> None:
    configure_logging("json", paper)
    ours = [True]
    printer = Printer(store, ours=lambda: ours[0])
    printer.print_new()
    ours[0] = False
    store.note(Event(name="daemon.stopped"))
    assert printer.print_new() == 2
    ours[0] = True
    printer.print_new()
    assert [line["seq"] for line in lines(paper)] == [1, 2, 3], "nobody else had printed"
    ours[0] = False
    printer.print_new()
    follower = home.store()
    follower.note(Event(name="daemon.stopped"))
    Printer(follower).print_new()
    follower.close()  # how far it printed is written down
    before = len(lines(paper))
    ours[0] = True
    store.note(Event(name="daemon.started"))
    printer.print_new()
    assert [line["seq"] for line in lines(paper)[before:]] == [5], "4 is the follower's"


def test_the_next_daemon_goes_on_where_the_last_one_stopped(
    store: Store, paper: io.StringIO, home: Home
) -> None:
    configure_logging("json", paper)
    Printer(store).print_new()
    store.close()
    Printer(home.store()).print_new()
    assert [line["seq"] for line in lines(paper)] == [1, 2]


def test_after_a_crash_lines_are_printed_twice_rather_than_never(
    store: Store, paper: io.StringIO, home: Home
) -> None:
    configure_logging("json", paper)
    Printer(store).print_new()
    Printer(home.store()).print_new()
    assert [line["seq"] for line in lines(paper)] == [1, 2, 1, 2]


def test_a_line_that_could_not_be_printed_is_printed_later(store: Store) -> None:
    paper = io.StringIO()
    configure_logging("json", paper)
    printer = Printer(store)
    paper.close()
    with pytest.raises(ValueError, match="closed file"):
        printer.print_new()
    again = io.StringIO()
    configure_logging("json", again)
    Printer(store).print_new()
    assert [line["seq"] for line in lines(again)] == [1, 2]


def test_a_heartbeat_tells_the_state_as_of_a_row(store: Store, paper: io.StringIO) -> None:
    configure_logging("json", paper)
    loaded = store.load("rag")
    Printer(store).heartbeat(loaded.application, loaded.as_of_seq)
    *_, beat = lines(paper)
    assert (beat["event"], beat["as_of_seq"], beat["live"]) == ("application.state", 2, "2")
    assert "seq" not in beat
    (told,) = beat["releases"]
    assert (told["release"], told["state"], told["weight"]) == ("rag/2", "Canary", 5)
    assert told["hold"] is None


def test_other_lines_have_no_seq_and_tell_no_secret(paper: io.StringIO) -> None:
    configure_logging("json", paper)
    log = structlog.get_logger()
    log.info("call.sent", token="abc", tokens=7, note="Bearer abcdefgh12345678", empty=None)
    (line,) = lines(paper)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "call.sent",
        "token": "[redacted]",
        "tokens": 7,
        "note": "[redacted]",
    }


def test_a_traceback_shows_no_local_variable(paper: io.StringIO) -> None:
    configure_logging("json", paper)
    secret = "a-very-" + "private-thing"
    try:
        int(secret[:0])
    except ValueError:
        structlog.get_logger().exception("pass.failed")
    assert "test_printer.py" in paper.getvalue()
    assert secret not in paper.getvalue()


@pytest.mark.parametrize("mode", ["json", "text"])
def test_libraries_are_heard_from_a_warning_on(mode: str, paper: io.StringIO) -> None:
    configure_logging(mode, paper)
    logging.getLogger("apscheduler.scheduler").info("Running job")
    logging.getLogger("apscheduler.scheduler").warning("Run time of job %s was missed", "beat")
    assert paper.getvalue().count("\n") == 1
    assert "Run time of job beat was missed" in paper.getvalue()


def test_a_line_stays_one_line_and_steers_no_terminal(paper: io.StringIO) -> None:
    nasty = "a\nb\u2028c\x1b[2Jd\u202ee"
    for mode in ("json", "text"):
        configure_logging(mode, paper)
        structlog.get_logger().info("x", because=nasty, number=float("nan"))
    for line in paper.getvalue().splitlines():
        assert line.isprintable()
    assert len(paper.getvalue().splitlines()) == 2


def test_text_is_short(store: Store, paper: io.StringIO) -> None:
    configure_logging("text", paper)
    Printer(store).print_new()
    assert paper.getvalue().splitlines() == [
        "2026-03-01 12:00:00 info    release.transition  rag/2 Canary: made",
        "2026-03-01 12:00:00 info    daemon.started      here we go",
    ]
