"""Times as the store keeps them: microseconds since the epoch, which compare in every database."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """A time as the store keeps it."""
    return (moment - EPOCH) // MICROSECOND


def moment(stored: int) -> datetime:
    """A time as the store kept it."""
    return EPOCH + stored * MICROSECOND
