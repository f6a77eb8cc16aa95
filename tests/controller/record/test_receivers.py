import pytest

from controller.record.errors import Conflict
from controller.record.receivers import Told, tell, told
from controller.record.store import Store
from tests.controller.record.conftest import Home
from tests.controller.record.making import release, write


def test_a_new_receiver_begins_at_the_end_of_the_journal_and_is_the_same_for_every_replica(
    store: Store, home: Home
) -> None:
    write(store, release("2"))
    first = told(store, "oncall")
    assert first == Told(seq=1)
    write(store, release("3"))
    assert told(home.store(), "oncall") == first
    assert told(store, "other") == Told(seq=2)


def test_how_far_it_was_told_is_written_down_unless_another_was_faster(store: Store) -> None:
    before = told(store, "oncall")
    after = Told(seq=7, lately={"it waits": 1})
    tell(store, "oncall", before, after)
    assert told(store, "oncall") == after
    with pytest.raises(Conflict, match="oncall was told of more by another replica"):
        tell(store, "oncall", before, Told(seq=9))
    assert told(store, "oncall") == after
