"""What PostgreSQL adds: a server that goes away, refuses, or is not what it should be."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Barrier, Thread

import psycopg
import pytest
from sqlalchemy import text

from controller.record.errors import Conflict, LeaseLost, RecordError, StoreHeld, StoreUnusable
from controller.record.leases import Leases
from controller.record.schema import VERSION
from controller.record.store import Store
from states.plan import Event, MoveAlias
from states.release import Order
from states.spec import Spec
from tests.controller.postgres import Postgres, started
from tests.controller.record.making import SPEC, plan, release, seqs, unchanged, write

SECRET = "hunter2-hunter2"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'"


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url(postgres.database())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


def shown(error: BaseException | None) -> str:
    """All that a log would show of an error and of what caused it."""
    told = []
    while error is not None:
        told.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    return " ".join(told)


def test_two_replicas_that_start_at_once_on_an_empty_database_both_live(
    postgres: Postgres,
) -> None:
    name = postgres.empty()
    start, troubles = Barrier(3, timeout=30), list[Exception]()

    def begin() -> None:
        try:
            start.wait()
            store = Store(postgres.url(name))
            store.note(Event(name="daemon.started"))
            store.close()
        except Exception as error:  # noqa: BLE001 - told below
            troubles.append(error)

    threads = [Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert postgres.ask("SELECT version_num FROM alembic_version", name) == [(VERSION,)]
    assert postgres.ask("SELECT seq FROM journal ORDER BY seq", name) == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://annika:{SECRET}@127.0.0.1:1/headgate", "the server cannot be reached"),
        (f"postgres://annika:{SECRET}@127.0.0.1:1/headgate", "the server cannot be reached"),
        (f"postgresql://127.0.0.1:1/headgate?password={SECRET}", "the server cannot be reached"),
        (f"postgresql://annika:{SECRET}@127.0.0.1:port/headgate", "not a store's URL"),
        (f"postgresql+asyncpg://annika:{SECRET}@h/d", "is not supported"),
        (f"annika:{SECRET}@127.0.0.1/headgate", "not a store's URL"),
    ],
)
def test_no_password_is_ever_told(url: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said) as caught:
        Store(url)
    assert SECRET not in shown(caught.value)
    assert "annika" not in str(caught.value)


def test_a_database_that_is_not_there_is_told(postgres: Postgres) -> None:
    with pytest.raises(StoreUnusable, match="no such database: create it"):
        Store(postgres.url("nowhere"))


def test_a_user_that_is_not_there_is_told(postgres: Postgres) -> None:
    with pytest.raises(StoreUnusable, match="refuses the user or its password"):
        Store(postgres.url(postgres.empty(), user="nobody"))


def test_a_user_without_rights_is_told(postgres: Postgres) -> None:
    name = postgres.database()
    postgres.ask("CREATE ROLE reader LOGIN")
    with pytest.raises(StoreUnusable, match=f"{name} cannot be used: this user may not use"):
        Store(postgres.url(name, user="reader"), create=False).load("rag")
    with pytest.raises(StoreUnusable, match="this user may not use its tables"):
        Store(postgres.url(postgres.empty(), user="reader"))


def test_text_must_be_utf8(postgres: Postgres) -> None:
    postgres.ask(
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with pytest.raises(StoreUnusable, match="keeps text as SQL_ASCII: create its database with"):
        Store(postgres.url("ascii"))


def test_another_programs_database_is_left_alone(postgres: Postgres) -> None:
    name = postgres.empty()
    postgres.ask("CREATE TABLE songs (title text)", name)
    with pytest.raises(StoreUnusable, match="database of another program: name another database"):
        Store(postgres.url(name))
    assert postgres.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name) == [
        ("songs",)
    ]


def test_reading_makes_no_tables(postgres: Postgres) -> None:
    name = postgres.empty()
    with pytest.raises(StoreUnusable, match="no Headgate store yet"):
        Store(postgres.url(name), create=False)
    assert postgres.ask("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", name) == []


def test_a_standby_is_told(postgres: Postgres) -> None:
    name = postgres.database()
    postgres.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store = Store(postgres.url(name))
    with pytest.raises(StoreUnusable, match="it is read-only, as a standby is: name the primary"):
        write(store, release())
    assert store.applications() == ()
    store.close()


def test_tables_that_are_gone_are_told(postgres: Postgres) -> None:
    name = postgres.database()
    store = Store(postgres.url(name))
    postgres.ask("DROP TABLE minutes, blocks CASCADE", name)
    write(store, release())
    with pytest.raises(StoreUnusable, match="its tables are gone: restore a backup"):
        store.load("rag", SPEC)
    store.close()


def test_a_lost_connection_is_told_once_and_the_next_look_has_another(
    postgres: Postgres, store: Store
) -> None:
    write(store, release())

    def cut_off() -> None:
        with store.writing() as connection:
            connection.execute(text("UPDATE counters SET value = 77"))
            postgres.ask(CUT)
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnusable, match="the connection was lost: check that it runs"):
        cut_off()
    assert store.last_seq() == 1, "what was not committed is not there"
    write(store, release("3"))
    assert list(seqs(store)) == [1, 2]


def test_a_server_that_restarts_is_found_again_and_has_what_it_acknowledged() -> None:
    with started() as server:
        store = Store(server.url(server.database()))
        write(store, release())
        server.stop()
        began = time.monotonic()
        with pytest.raises(StoreUnusable, match="the server cannot be reached"):
            store.load("rag", SPEC)
        assert time.monotonic() - began < 6
        server.start()
        found = store.load("rag", SPEC)
        assert [one.version for one in found.application.releases] == ["2"]
        store.commit(found, unchanged(found), [MoveAlias("2")])
        store.close()


def test_without_a_lease_nothing_is_written_of_what_a_replica_has(store: Store) -> None:
    write(store, release())
    leases = Leases(store, "one")
    assert leases.renew()
    lease = leases.share(["rag"])["rag"]
    found, before = store.load("rag", SPEC), store.last_seq()
    with pytest.raises(LeaseLost, match=r"rag is one's: without a lease nothing was written"):
        write(store, release("3"))
    assert store.last_seq() == before
    store.commit(found, unchanged(found), [MoveAlias("2")], lease)
    leases.give_back()
    write(store, release("3"))
    assert store.last_seq() == before + 1


def test_a_replica_that_stops_in_the_middle_of_a_commit_keeps_nobody_waiting_for_long(
    url: str, store: Store
) -> None:
    write(store, release())
    other = Store(url)

    def stop_in_the_middle() -> None:
        with other.writing() as connection:
            connection.execute(text("UPDATE counters SET value = value + 1 WHERE name = 'seq'"))
            began = time.monotonic()
            write(store, release("3"))
            assert time.monotonic() - began < 4.5, "the server has undone what the other began"
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnusable, match=r"stopped in the middle of a transaction|was lost"):
        stop_in_the_middle()
    assert list(seqs(store)) == [1, 2]
    other.close()


def test_a_row_that_somebody_keeps_locked_is_told(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, release())
    monkeypatch.setattr("controller.record.postgres._SETTINGS", ("SET lock_timeout = 100",))
    waiting = Store(url)
    with store.writing() as connection:
        connection.execute(text("SELECT * FROM applications FOR UPDATE"))
        with pytest.raises(StoreUnusable, match="another transaction has kept a row locked"):
            write(waiting, release("3"))
    write(waiting, release("3"))
    waiting.close()


def test_of_two_that_claim_an_endpoint_at_once_one_is_told_to_look_again(store: Store) -> None:
    """Both have looked, and found it free, before either has written."""
    names = ("one", "two")
    start, told = Barrier(2, timeout=30), list[RecordError]()

    def claim(name: str) -> None:
        for _ in range(20):
            loaded = store.load(name, Spec(model=name, endpoint="the-only-one"))
            start.wait()
            try:
                store.commit(loaded, unchanged(loaded))
            except RecordError as error:
                told.append(error)
            start.wait()
            if told:
                return

    threads = [Thread(target=claim, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert len(store.applications()) == 1


def test_an_order_and_a_pass_never_wait_for_each_other_in_a_circle(store: Store) -> None:
    write(store, release(retreats=0))
    done: list[str] = []

    def passes() -> None:
        for _ in range(30):
            loaded = store.load("rag", SPEC)
            (one,) = loaded.application.releases
            more = replace(one, retreats=one.retreats + 1)
            with suppress(Conflict):
                store.commit(loaded, plan(loaded.application, more))
        done.append("passes")

    def orders() -> None:
        for number in range(30):
            order = (Order.PAUSE, Order.RUN)[number % 2]
            store.give_order("rag", "2", order, "ann", "to and fro")
        done.append("orders")

    threads = [Thread(target=passes), Thread(target=orders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["orders", "passes"]
    assert sum(line["event"] == "order.given" for line in store.journal()) == 30


def test_text_with_a_nul_keeps_its_place(store: Store) -> None:
    write(store, release(hold="nul\0l"))
    (found,) = store.load("rag", SPEC).application.releases
    assert found.hold == "nul\ufffdl"


def test_of_two_replicas_of_one_name_that_begin_at_once_the_second_is_told(
    postgres: Postgres,
) -> None:
    database = postgres.database()
    store, told = Store(postgres.url(database)), list[str]()

    def begins() -> None:
        with pytest.raises(StoreHeld) as held:
            Leases(store, "one").renew()
        told.append(str(held.value))

    second = Thread(target=begins)
    with psycopg.connect(postgres.url(database)) as first:
        first.execute("INSERT INTO replicas VALUES ('one', 0, 0)")
        second.start()
        while not postgres.ask("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert second.is_alive()
    second.join()
    store.close()
    assert [one.partition(":")[0] for one in told] == [
        "another replica is named one, and began at the same moment"
    ]
