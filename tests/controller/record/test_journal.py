from dataclasses import replace
from threading import Thread

import pytest

from controller.record.errors import Conflict, RecordError
from controller.record.store import PAGE, Store
from states.machine import State
from states.plan import Event
from states.release import Order
from states.spec import Spec
from tests.controller.record.conftest import REFUSED, Home
from tests.controller.record.making import (
    NOON,
    SPEC,
    block,
    plan,
    release,
    seqs,
    told,
    write,
)


def test_eight_threads_of_two_processes_leave_no_gap_in_the_journal(home: Home) -> None:
    """Each store stands for a process: it has its connections, and its queue, to itself."""
    stores = [home.store(), home.store()]
    troubles: list[Exception] = []

    def work(store: Store, name: str) -> None:
        try:
            for _ in range(15):
                loaded = store.load(name, Spec(model=name, endpoint=name))
                one = replace(release(), application=name)
                event = told(one, name="release.held")
                store.commit(loaded, plan(loaded.application, one, events=(event,)))
        except RecordError as error:
            troubles.append(error)

    threads = [Thread(target=work, args=(stores[number % 2], str(number))) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert list(seqs(stores[0])) == list(range(1, 121))


def test_two_threads_write_one_application_in_turns(home: Home) -> None:
    """Whoever comes second looks again, so that nothing that was written is written over."""
    store = home.store()
    write(store, release())
    conflicts: list[Conflict] = []

    def work() -> None:
        done = 0
        while done < 20:
            loaded = store.load("rag", SPEC)
            (one,) = loaded.application.releases
            more = replace(one, retreats=one.retreats + 1)
            try:
                store.commit(loaded, plan(loaded.application, more, events=(told(more),)))
            except Conflict as conflict:
                conflicts.append(conflict)
            else:
                done += 1

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("rag", SPEC).application.releases[0].retreats == 60
    assert list(seqs(store)) == list(range(1, 62))


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("UPDATE journal SET event = 'other'", "append-only"),
        ("DELETE FROM journal", "append-only"),
        ("UPDATE blocks SET candidate_errors = 0", "immutable"),
        ("DELETE FROM blocks", "immutable"),
    ],
)
def test_what_was_written_down_stays(home: Home, change: str, refusal: str) -> None:
    store = home.store()
    write(store, release(blocks=(block(1),)))
    before = list(store.journal())
    with pytest.raises(REFUSED, match=refusal):
        home.ask(change)
    assert list(store.journal()) == before


def test_a_line_carries_the_whole_status(home: Home) -> None:
    store = home.store()
    write(store, release("2", State.CANARY, step=2, weight_seen=25))
    (line,) = store.journal()
    assert list(line)[:10] == [
        *("timestamp", "level", "event", "seq", "application", "release", "attempt"),
        *("version", "state", "because"),
    ]
    assert line["timestamp"] == "2026-03-01T12:00:00.000000Z"
    assert (line["step"], line["weight"], line["weight_seen"]) == (2, 25, 25)
    assert "hold" not in line


def test_an_own_field_never_hides_one_of_the_status(home: Home) -> None:
    store = home.store()
    loaded = store.load("rag", SPEC)
    one = release("2", State.CANARY, step=2)
    event = Event(
        name="evidence.block", release=("2", 1), because="counted", fields={"step": 1, "number": 7}
    )
    store.commit(loaded, plan(loaded.application, one, events=(event,)))
    (line,) = store.journal()
    assert (line["step"], line["block_step"], line["number"]) == (2, 1, 7)
    assert (line["because"], line["state_because"]) == ("counted", "made")


def test_no_secret_enters_the_journal(home: Home) -> None:
    store = home.store()
    write(store, release("2", State.CANARY, step=1))
    store.give_order("rag", None, Order.PAUSE, "ann", "with dapi0123456789abcdef it works")
    *_, line = store.journal()
    assert line["reason"] == "with [redacted] it works"
    assert "dapi0123" not in str(home.ask("SELECT * FROM journal"))


def test_the_journal_can_be_read_from_anywhere(home: Home) -> None:
    store = home.store()
    loaded = store.load("rag", SPEC)
    one = release()
    events = tuple(told(one) for _ in range(PAGE + 10))
    store.commit(loaded, plan(loaded.application, one, events=events))
    store.note(Event(name="daemon.started"))
    assert next(store.journal(after=PAGE + 5))["seq"] == PAGE + 6
    assert len(list(store.journal())) == PAGE + 11
    assert len(list(store.journal(application="rag"))) == PAGE + 10
    assert store.last_seq() == PAGE + 11


def test_the_stores_clock_is_the_one_given(home: Home) -> None:
    clock, store = home.clock, home.store()
    assert store.now() == NOON
    clock.turn(microseconds=1)
    assert store.now() == clock.now
