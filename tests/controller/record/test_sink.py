"""The log's sink on real files that cannot be written: what may be lost is, and nothing fails."""

import json
import logging
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from controller.record import sink
from controller.record.logging import ROWS, configure_logging
from controller.record.printer import Printer
from controller.record.sink import Unwritten
from controller.record.store import Store
from states.plan import Event
from tests.controller.record.conftest import Home
from tests.controller.stdout import Stdout
from tests.controller.stdout import stdout as opened

FULL, GONE, ASLEEP = "No space left on device", "Broken pipe", "its reader takes nothing"
WAYS = pytest.mark.parametrize(
    ("fail", "why"), [(Stdout.fill, FULL), (Stdout.close, GONE), (Stdout.hang, ASLEEP)]
)
Fails = Callable[[Stdout], object]


@pytest.fixture
def stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stdout]:
    monkeypatch.setattr(sink, "PATIENCE_S", 0.05)
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def store(home: Home) -> Store:
    store = home.store()
    noted(store, 3)
    return store


def noted(store: Store, times: int) -> None:
    for _ in range(times):
        store.note(Event(name="daemon.started", because="here we go " * 20))


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: a write may end in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@WAYS
def test_a_line_that_cannot_be_written_is_lost_and_counted_and_nothing_fails(
    stdout: Stdout, capfd: pytest.CaptureFixture[str], fail: Fails, why: str
) -> None:
    log = structlog.get_logger()
    log.info("daemon.recovered")
    assert (stdout.sink.trouble, stdout.sink.lost) == (None, 0)
    fail(stdout)
    log.error("daemon.stalled")
    log.error("beat.failed", exc_info=ZeroDivisionError())
    logging.getLogger("databricks.sdk").warning("a warning of a library")
    with pytest.raises(Unwritten, match=why):
        structlog.get_logger(ROWS).info("daemon.recovered")
    assert stdout.sink.lost == 3, "a row is none of them: it comes again"
    assert why in str(stdout.sink.trouble)
    told = capfd.readouterr().err
    assert told.count("\n") == 1, "once for a trouble, and no traceback of the library's line"
    assert why in told
    assert [line["event"] for line in stdout.lines] == ["daemon.recovered"]


@WAYS
def test_rows_wait_for_the_log_and_follow_whole_and_in_order(
    stdout: Stdout, store: Store, fail: Fails, why: str
) -> None:
    printer = Printer(store, sink=stdout.sink)
    assert printer.print_new() == 3
    fail(stdout)
    noted(store, 2)
    assert printer.print_new() == 3
    assert store.printed() == 3
    assert why in str(printer.trouble())
    noted(store, 1)
    structlog.get_logger().warning("workspace.unseen", because="this one is lost")
    assert printer.print_new() == 3
    stdout.free()
    assert printer.print_new() == 6
    assert printer.trouble() is None
    ours = [line for line in stdout.lines if "logger" not in line]
    assert [line.get("seq", line["event"]) for line in ours] == [1, 2, 3, "log.resumed", 4, 5, 6]
    assert (ours[3]["lost"], printer.lost) == (1, 1)
    structlog.get_logger().info("daemon.recovered")
    assert stdout.lines[-1]["event"] == "daemon.recovered"


def test_each_trouble_tells_its_own_losses(stdout: Stdout, store: Store) -> None:
    printer = Printer(store, sink=stdout.sink)
    for lost in (2, 0, 3):
        stdout.fill()
        with pytest.raises(Unwritten, match=FULL):
            structlog.get_logger(ROWS).info("daemon.recovered")
        for _ in range(lost):
            structlog.get_logger().info("daemon.recovered")
        stdout.free()
        printer.print_new()
    assert [one["lost"] for one in stdout.named("log.resumed")] == [2, 0, 3]
    assert printer.lost == 5


def test_a_log_is_told_to_be_back_where_no_row_waits_and_where_another_replica_prints(
    stdout: Stdout, store: Store
) -> None:
    printer = Printer(store, lambda: False, stdout.sink)
    stdout.fill()
    structlog.get_logger().warning("workspace.unseen")
    printer.print_new()
    assert printer.trouble() is not None
    stdout.free()
    printer.print_new()
    assert printer.trouble() is None
    assert [line["event"] for line in stdout.lines] == ["log.resumed"]


def test_a_reader_that_wakes_up_gets_every_row_whole_and_in_order(
    stdout: Stdout, store: Store
) -> None:
    """A line that is longer than a page may be in the pipe by half when its reader falls asleep."""
    printer, reads = Printer(store, sink=stdout.sink), stdout.hang()
    for _ in range(4):
        store.note(Event(name="daemon.started", because="here we go " * 900))
    found, passes = b"", 0
    while printer.print_new() < 7:
        found += os.read(reads, 1 << 16)
        passes += 1
        assert passes < 100, found[-200:]
    os.set_blocking(reads, False)
    found += os.read(reads, 1 << 16)
    told = [json.loads(line) for line in found.strip().splitlines()]
    seqs = [line["seq"] for line in told if "seq" in line]
    assert sorted(set(seqs)) == list(range(1, 8))
    assert seqs == sorted(seqs)
    assert passes > 3, "it hung more than once"


def test_a_reader_that_hangs_is_waited_for_once(stdout: Stdout, store: Store) -> None:
    printer = Printer(store, sink=stdout.sink)
    stdout.hang()
    began = time.monotonic()
    for _ in range(200):
        printer.print_new()
        structlog.get_logger().info("daemon.recovered")
    assert time.monotonic() - began < 200 * 0.05


def test_a_line_that_was_begun_is_finished_before_the_next(stdout: Stdout, store: Store) -> None:
    printer = Printer(store, sink=stdout.sink)
    printer.print_new()
    size = stdout.file.stat().st_size
    noted(store, 2)
    with room_for(size + 100):
        assert printer.print_new() == 3
        structlog.get_logger().info("daemon.recovered")
        assert printer.print_new() == 3
    assert stdout.file.stat().st_size == size + 100, "half a line is out"
    assert printer.print_new() == 5
    assert stdout.seqs == [1, 2, 3, 4, 4, 5], "every line is whole; readers know a row by its seq"


def test_the_next_process_ends_a_line_that_the_last_one_could_not_end(
    home: Home, store: Store, tmp_path: Path
) -> None:
    with opened(tmp_path) as first:
        printer = Printer(store, sink=first.sink)
        printer.print_new()
        noted(store, 1)
        with room_for(first.file.stat().st_size + 100):
            printer.print_new()
    store.close()
    with opened(tmp_path) as second:
        Printer(home.store(), sink=second.sink).print_new()
    *lines, cut, again, rest = second.file.read_text().split("\n")
    assert (len(lines), len(cut), rest) == (3, 100, "")
    assert '"seq": 4' in again


def test_what_the_streams_encoding_lacks_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ascii.log"
    with opened(tmp_path), path.open("w", encoding="ascii") as stream:
        configure_logging("text", stream)
        structlog.get_logger().info("daemon.recovered", because="Prüfung")
    assert path.read_text().endswith("Pr\\xfcfung\n")
