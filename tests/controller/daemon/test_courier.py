"""Who is told of what: real receivers on loopback, a real store, and a clock that is turned."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, event
from structlog.testing import capture_logs

from controller.daemon.courier import MOST, ONE_BY_ONE, TRIES, WITHIN_S, Courier, Couriers
from controller.daemon.instruments import Instruments
from controller.daemon.receivers import senders
from controller.notify import NotifySettings, ReceiverSettings, Severity
from controller.record.errors import Conflict, StoreUnusable
from controller.record.store import Store
from states.machine import State
from states.plan import Event, Level
from states.release import Order, Release
from states.spec import Spec
from tests.controller.daemon.test_exposition import rolled_back
from tests.controller.house import opened
from tests.controller.record.making import Clock, plan, release, store_in

SECRET = "s3cr3t-path-of-a-webhook"


@dataclass
class Ear:
    """A receiver: what it was sent, and how it answers."""

    heard: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    hanging: threading.Event | None = None
    most: int | None = None
    """How many messages it takes, and no more."""
    asked: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.heard]

    def hear(self, body: bytes) -> int:
        self.asked += 1
        if self.hanging is not None:
            self.hanging.wait(30)
        if self.most is not None and len(self.heard) >= self.most:
            return 503
        if self.status == 200:
            self.heard.append(json.loads(body))
        return self.status


@contextmanager
def listening() -> Iterator[Ear]:
    ear = Ear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = ear.hear(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ear.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ear
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def ear() -> Iterator[Ear]:
    with listening() as ear:
        yield ear


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = store_in(tmp_path, clock)
    yield store
    store.close()


@dataclass
class Post:
    """A courier, and the seconds of its own clock."""

    courier: Courier
    ticks: list[float]

    def look(self, times: int = 1, *, after: float = 2.0) -> None:
        for _ in range(times):
            self.ticks[0] += after
            self.courier.once()


def post(  # noqa: PLR0913, PLR0917 - what a courier is made of
    store: Store,
    ear: Ear,
    severity: Severity = "info",
    applications: tuple[str, ...] | None = None,
    ours: Callable[[], bool] = lambda: True,
    name: str = "oncall",
) -> Post:
    """A courier that has looked once: what happens from now on is told."""
    settings = ReceiverSettings(
        url=SecretStr(ear.url), severity=severity, applications=applications
    )
    [send] = senders(NotifySettings(receivers={name: settings})).values()
    ticks = [0.0]
    courier = Courier(name, settings, send, store, ours, Instruments(), clock=lambda: ticks[0])
    courier.once()
    return Post(courier, ticks)


def happens(
    store: Store, because: str, level: Level = "warning", name: str = "rag", version: str = "2"
) -> None:
    """Something is journalled of a release that waits."""
    loaded = store.load(name, Spec(model=f"main.ml.{name}", endpoint=name))
    one = release(version, application=name)
    event = Event(name="release.held", release=(version, 1), level=level, because=because)
    store.commit(loaded, plan(loaded.application, one, events=(event,)))


def test_a_rollback_is_told_with_its_sentence_its_release_and_the_command_to_look(
    tmp_path: Path, ear: Ear
) -> None:
    with opened(tmp_path) as house:
        house.passes()
        told = post(house.store, ear)
        rolled_back(house)
        told.look()
    assert ear.titles == [
        "Headgate: rag-chatbot/2 rolled back",
        "Headgate: rag-chatbot/2 users are back",
        "Headgate: rag-chatbot/2 what users met",
    ]
    first = ear.heard[0]
    assert first["type"] == "failure"
    sentence, place, look = first["message"].splitlines()
    assert sentence.startswith("errors: candidate 60 of 300 failed (20 %)")
    assert place == "rag-chatbot/2, 2026-11-23 12:02:30 UTC"
    assert look == "Look: headgate explain rag-chatbot/2"


def test_each_receiver_is_told_what_it_wants_by_severity_and_application(store: Store) -> None:
    with listening() as every, listening() as worst, listening() as other:
        posts = [
            post(store, every, "info", name="every"),
            post(store, worst, "error", name="worst"),
            post(store, other, "warning", ("chat",), name="other"),
        ]
        happens(store, "waits", "warning")
        happens(store, "is broken", "error")
        happens(store, "waits too", "warning", name="chat")
        for one in posts:
            one.look()
        assert len(every.heard) == 3
        assert [one["message"].splitlines()[0] for one in worst.heard] == ["is broken"]
        assert [one["message"].splitlines()[0] for one in other.heard] == ["waits too"]


def test_a_receiver_that_is_new_is_not_told_of_what_was_before(store: Store, ear: Ear) -> None:
    happens(store, "waits")
    told = post(store, ear)
    told.look(3)
    assert ear.heard == []
    happens(store, "waits for another reason")
    told.look()
    assert len(ear.heard) == 1


def test_the_same_hold_is_told_once_however_often_and_with_whatever_numbers(
    store: Store, ear: Ear, clock: Clock
) -> None:
    told = post(store, ear)
    for number in range(5):
        happens(store, f"it has waited {number},000 s")
        clock.turn(minutes=1)
        told.look()
    assert len(ear.heard) == 1
    again = post(store, ear)
    happens(store, "it has waited 9.5 s")
    again.look()
    assert len(ear.heard) == 1, "nor after a restart"
    clock.turn(hours=2)
    happens(store, "it has waited 11 s")
    again.look()
    assert len(ear.heard) == 2, "but it is told anew when that was long ago"


def asks(store: Store, because: str) -> None:
    """A release is held, and a person must act."""
    one = release("2", hold=because, needs_person=True)
    _tells(store, "release.held", one, because, "warning")


def freed(store: Store) -> None:
    """What held the release is gone by itself."""
    _tells(store, "release.freed", release("2"), "no longer")


def _tells(store: Store, name: str, one: Release, because: str, level: Level = "info") -> None:
    loaded = store.load("rag", Spec(model="main.ml.rag", endpoint="rag"))
    known = loaded.application.newest("2")
    ordered = replace(one, order=known.order) if known else one
    told = Event(name=name, release=("2", 1), level=level, because=because)
    store.commit(loaded, plan(loaded.application, ordered, events=(told,)))


def sentences(ear: Ear) -> list[str]:
    return [one["message"].splitlines()[0] for one in ear.heard]


def test_a_person_who_is_asked_once_more_after_it_was_over_is_told_once_more(
    store: Store, ear: Ear, clock: Clock
) -> None:
    told = post(store, ear)
    asks(store, "version 3 has 20 % of rag")
    told.look()
    clock.turn(minutes=10)
    freed(store)
    told.look()
    clock.turn(minutes=20)
    asks(store, "version 4 has 90 % of rag")
    told.look()
    assert sentences(ear) == ["version 3 has 20 % of rag", "version 4 has 90 % of rag"]
    clock.turn(minutes=5)
    freed(store)
    asks(store, "version 5 has 1 % of rag")
    post(store, ear).look()
    assert sentences(ear)[2:] == ["version 5 has 1 % of rag"], "nor is it lost by a restart"


def test_a_person_who_gave_an_order_is_told_if_it_is_held_again(
    store: Store, ear: Ear, clock: Clock
) -> None:
    told = post(store, ear)
    asks(store, "it has waited 1 h")
    told.look()
    clock.turn(minutes=10)
    store.give_order("rag", "2", Order.PAUSE, "ann", "let me see")
    clock.turn(minutes=10)
    asks(store, "it has waited 2 h")
    asks(store, "it has waited 3 h")
    told.look()
    assert sentences(ear) == ["it has waited 1 h", "it has waited 2 h"]


def test_what_asks_a_person_without_a_break_is_told_once(
    store: Store, ear: Ear, clock: Clock
) -> None:
    told = post(store, ear)
    for number in range(20, 60, 10):
        asks(store, f"version 3 has {number} % of rag")
        _tells(store, "evidence.seen", release("2", needs_person=True), "counts have come")
        clock.turn(minutes=10)
        told.look()
    assert sentences(ear) == ["version 3 has 20 % of rag"]


def test_what_comes_and_goes_without_asking_anybody_is_told_once(
    store: Store, ear: Ear, clock: Clock
) -> None:
    told = post(store, ear)
    for _ in range(4):
        happens(store, "the counts of 3 windows are missing")
        freed(store)
        clock.turn(minutes=10)
        told.look()
    assert len(ear.heard) == 1


def test_a_hold_that_comes_to_ask_a_person_is_told_again_in_the_same_words(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    happens(store, "the counts are missing")
    asks(store, "the counts are missing")
    told.look()
    assert ear.titles == ["Headgate: rag/2 held", "Headgate: rag/2 held: a person must act"]


def test_what_waits_while_a_receiver_is_away_is_told_after_a_restart_too(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    ear.most = 1
    happens(store, "one")
    happens(store, "two")
    told.look()
    assert sentences(ear) == ["one"]
    ear.most = None
    post(store, ear).look()
    assert sentences(ear) == ["one", "two"]


def test_a_restart_loses_nothing_and_repeats_nothing_that_was_written_down(
    store: Store, ear: Ear
) -> None:
    post(store, ear)
    happens(store, "one")
    happens(store, "two")
    post(store, ear)
    assert [one["message"].splitlines()[0] for one in ear.heard] == ["one", "two"]
    happens(store, "three")
    post(store, ear).look(2)
    assert len(ear.heard) == 3


def test_a_receiver_that_fails_is_tried_less_and_less_often_and_then_told_in_one_message(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    ear.status = 500
    with capture_logs() as lines:
        for number in range(15):
            happens(store, f"thing {'x' * number}", version=str(number + 2))
            told.look(30)
    assert ear.asked < 30, "not at each of 450 looks"
    assert [one["event"] for one in lines] == ["notify.failed"], "said once"
    assert SECRET not in str(lines)
    ear.status = 200
    told.look(10, after=300)
    [only] = ear.heard
    assert only["title"] == "Headgate: 15 things happened"
    assert "15: held" in only["message"]
    happens(store, "and one more")
    told.look()
    assert ear.titles[1:] == ["Headgate: rag/2 held"]


def test_few_things_that_were_missed_are_told_one_by_one_if_it_was_short(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    ear.status = 503
    happens(store, "one")
    happens(store, "two")
    told.look()
    ear.status = 200
    told.look(after=10)
    assert len(ear.heard) == 2
    assert ear.asked == 3


def test_a_message_that_is_never_taken_gives_way_to_a_sum_and_blocks_nothing(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    ear.status = 400
    happens(store, "poison")
    told.look(TRIES, after=300)
    assert ear.asked == TRIES
    ear.status = 200
    told.look(after=300)
    assert ear.titles == ["Headgate: 1 thing happened"]


def test_many_things_at_once_are_one_message(store: Store, ear: Ear) -> None:
    told = post(store, ear)
    for number in range(ONE_BY_ONE + 1):
        happens(store, "the workspace is gone", name=f"app-{number}")
    told.look()
    assert ear.titles == [f"Headgate: {ONE_BY_ONE + 1} things happened"]


def test_a_storm_is_told_in_a_bounded_number_of_messages(store: Store, ear: Ear) -> None:
    told = post(store, ear)
    for number in range(3 * MOST):
        happens(store, f"thing {'x' * number}")
        told.look()
    assert len(ear.heard) == MOST
    told.look(after=WITHIN_S)
    assert len(ear.heard) == MOST + 1
    assert ear.titles[-1] == f"Headgate: {2 * MOST} things happened"


def test_a_store_that_cannot_be_written_makes_nobody_be_told_again_and_again(
    store: Store, ear: Ear
) -> None:
    def read_only(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    told = post(store, ear)
    happens(store, "waits")
    event.listen(store._engine, "begin", read_only)
    for _ in range(5):
        with pytest.raises(StoreUnusable, match="read-only"):
            told.look()
    event.remove(store._engine, "begin", read_only)
    store._engine.dispose()
    told.look()
    assert len(ear.heard) == 1
    post(store, ear).look()
    assert len(ear.heard) == 1, "it was written down as soon as it could be"


def test_only_the_replica_that_prints_the_log_tells_and_another_goes_on_from_there(
    store: Store, tmp_path: Path, clock: Clock, ear: Ear
) -> None:
    prints = ["one"]
    stores = [store, store_in(tmp_path, clock)]
    one = post(stores[0], ear, ours=lambda: prints == ["one"])
    other = post(stores[1], ear, ours=lambda: prints == ["two"])
    happens(stores[0], "first")
    one.look()
    other.look()
    prints[0] = "two"
    happens(stores[1], "second")
    one.look(2)
    other.look(2)
    assert [told["message"].splitlines()[0] for told in ear.heard] == ["first", "second"]
    stores[1].close()


def test_two_that_both_believe_to_print_tell_twice_rather_than_never(
    store: Store, ear: Ear
) -> None:
    one, other = post(store, ear), post(store, ear)
    happens(store, "first")
    one.look()
    with pytest.raises(Conflict, match="was told of more by another replica"):
        other.look()
    happens(store, "second")
    other.look()
    told = [told["message"].splitlines()[0] for told in ear.heard]
    assert told == ["first", "first", "second"]


def test_a_receiver_that_hangs_delays_no_pass_and_no_other_receiver(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as house, listening() as hangs, listening() as hears:
        house.passes()
        hangs.hanging = threading.Event()
        both = {"hangs": hangs, "hears": hears}
        settings = NotifySettings(
            receivers={
                name: ReceiverSettings(url=SecretStr(one.url), severity="info")
                for name, one in both.items()
            }
        )
        sending = senders(settings)
        made = Couriers(
            {
                name: Courier(name, one, sending[name], house.store, lambda: True, Instruments())
                for name, one in settings.receivers.items()
            }
        )
        for one in made._couriers.values():
            one.once()
        rolled_back(house)
        made.begin()
        _soon(lambda: hangs.asked > 0 and len(hears.heard) == 3)
        begun = time.monotonic()
        house.passes(20)
        assert time.monotonic() - begun < 1, "nothing waits for the one that hangs"
        assert hangs.heard == []
        hangs.hanging.set()
        made.end()


def _soon(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_hostile_names_and_reasons_arrive_as_text(store: Store, ear: Ear) -> None:
    told = post(store, ear)
    happens(
        store,
        "see <!channel> @everyone <https://evil.example|our page> [login](https://evil.example)"
        "\r\nForged: line\x1b[2J\u202e `rm` <script>alert(1)</script> {} %s \\n",
    )
    told.look()
    [only] = ear.heard
    sentence, *rest = only["message"].splitlines()
    assert not set("<>@[]`|\x1b\u202e") & set(only["message"])
    assert "Forged: line" in sentence, "it is still one line"
    assert rest == ["rag/2, 2026-03-01 12:00:00 UTC", "Look: headgate explain rag/2"]


def test_what_goes_as_planned_is_told_only_where_a_version_has_arrived(
    store: Store, ear: Ear
) -> None:
    told = post(store, ear)
    loaded = store.load("rag", Spec(model="main.ml.rag", endpoint="rag"))
    one = release("2", State.PRODUCTION)
    events = (
        Event(name="evidence.block", release=("2", 1), because="counted"),
        Event(name="gate.verdict", release=("2", 1), because="no worse"),
        Event(name="release.settled", release=("2", 1), because="100 % and the alias"),
        Event(name="release.confirmed", release=("2", 1), because="watched"),
    )
    store.commit(loaded, plan(loaded.application, one, events=events))
    told.look()
    assert ear.titles == ["Headgate: rag/2 in production", "Headgate: rag/2 confirmed"]
