"""What the minutes' clock shows, by how far it is ahead of the record's."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.fuse import Minute
from states.clock import shown_by

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("ahead", "shown"), [(0, 0), (5, 5), (-60, -1)])
def test_it_shows_no_less_than_its_minutes_have_told(ahead: float, shown: float) -> None:
    minute = Minute(ends_at=NOW - MINUTE, requests=600, errors=3)
    assert shown_by((minute,), ahead * MINUTE, NOW) == NOW + shown * MINUTE
    assert shown_by((), ahead * MINUTE, NOW) == NOW + ahead * MINUTE
