import pytest

from controller.record.errors import OrderRefused
from controller.record.store import Store
from states.machine import State
from states.release import Order
from tests.controller.record.conftest import Home
from tests.controller.record.making import SPEC, release, write


@pytest.fixture
def store(home: Home) -> Store:
    store = home.store()
    write(store, release("1", State.RETIRED), release("2", State.CANARY, step=1), release("3"))
    return store


def test_an_order_is_written_and_journalled(store: Store) -> None:
    said = store.give_order("rag", "2", Order.PAUSE, "ann", "lunch")
    assert said.startswith("rag/2 is paused")
    live = store.load("rag", SPEC).application.live
    assert live is not None
    assert live.order is Order.PAUSE
    *_, line = store.journal()
    assert (line["event"], line["actor"], line["reason"]) == ("order.given", "ann", "lunch")
    assert (line["state"], line["order"], line["next"]) == (
        *("Canary", "pause", "waits for `headgate resume`"),
    )


def test_without_a_version_the_live_release_is_meant(store: Store) -> None:
    assert store.give_order("rag", None, Order.ABORT, "ann", "").startswith("rag/2 is aborted")


def test_a_waiting_release_takes_orders_too(store: Store) -> None:
    assert store.give_order("rag", "3", Order.ABORT, "ann", "").startswith("rag/3 is aborted")


def test_the_same_order_twice_is_one_order(store: Store) -> None:
    store.give_order("rag", None, Order.PAUSE, "ann", "lunch")
    before = store.last_seq()
    assert "ordered before" in store.give_order("rag", None, Order.PAUSE, "bob", "dinner")
    assert store.last_seq() == before


@pytest.mark.parametrize(
    ("application", "version", "refusal"),
    [
        ("rag", "9", "no release rag/9; there is rag/3 .Registered., rag/2 .Canary., rag/1"),
        ("rag", "1", "rag/1 is Retired and over"),
        ("chat", None, "no application chat"),
    ],
)
def test_what_cannot_be_ordered_is_refused(
    store: Store, application: str, version: str | None, refusal: str
) -> None:
    before = store.last_seq()
    with pytest.raises(OrderRefused, match=refusal):
        store.give_order(application, version, Order.PAUSE, "ann", "")
    assert store.last_seq() == before


def test_with_nothing_under_way_there_is_nothing_to_order(home: Home) -> None:
    store = home.store()
    write(store, release("1", State.RETIRED))
    with pytest.raises(OrderRefused, match="no release of rag is under way"):
        store.give_order("rag", None, Order.PAUSE, "ann", "")
