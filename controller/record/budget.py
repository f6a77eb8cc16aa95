"""The workspace's budget of writes, kept in the transaction that writes calls down."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import Connection, func, select

from controller.record.loading import now
from controller.record.schema import CALLS, COUNTERS, SEQ
from controller.record.times import MICROSECOND
from states.plan import Call

WINDOW = timedelta(minutes=5)
BUDGET = 50
"""Databricks takes 50 endpoint writes per workspace in five minutes."""
KINDS = ("serve", "apply", "gateway", "capture", "create_staging")
"""Calls that create or update an endpoint. Aliases and tags are the registry's, and permissions are
of an API of their own: they have no such limit, nor has it been told of deleting an endpoint."""
RESERVE = 10
"""Of these, kept for rollbacks and gates that are shut: closing must not wait behind opening."""


class Budget:
    """The workspace's writes, shared by all applications: what is granted is never over the limit.

    Counted on a clock that never jumps. What was sent before this process began, or by others, only
    the record tells, on its own clock.
    """

    def __init__(
        self, *, shared: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared, self._clock = shared, clock
        self._sent = deque[float](maxlen=BUDGET)
        self._begun = clock()

    def granted(
        self, connection: Connection, calls: Sequence[Call], *, back: bool
    ) -> Sequence[Call]:
        """The first of the calls, as far as there is room; forward, all of them or none.

        Until the transaction ends nobody else is granted any: two at once would both find room.
        """
        if not calls:
            return ()
        # All writers of a shared store pass this row, in the order in which they commit.
        row = select(COUNTERS.c.value).where(COUNTERS.c.name == SEQ).with_for_update()
        connection.execute(row)
        left = BUDGET - (0 if back else RESERVE) - self._spent(connection)
        if _writes(calls) <= left:
            return calls
        fitting = (number for number in range(len(calls), 0, -1) if _writes(calls[:number]) <= left)
        return calls[: next(fitting, 0)] if back else ()

    def left(self, connection: Connection) -> int:
        """How many writes there is room for now, those kept for rollbacks among them."""
        return max(BUDGET - self._spent(connection), 0)

    def sent(self, calls: Sequence[Call]) -> None:
        """Count calls that were granted, now that they are written down."""
        self._sent.extend([self._clock()] * _writes(calls))

    def _spent(self, connection: Connection) -> int:
        steady, window = self._clock(), WINDOW.total_seconds()
        own = [at for at in tuple(self._sent) if steady - at < window]
        if not self._shared and steady - self._begun >= window:
            return len(own)
        # What lies ahead was written before the record's clock was set back: nobody knows when.
        at = now(connection)
        counted = select(func.count()).where(
            CALLS.c.at.between(at - WINDOW // MICROSECOND, at),
            CALLS.c.outcome != "unsent",
            CALLS.c.kind.in_(KINDS),
        )
        return max(len(own), int(connection.execute(counted).scalar_one()))


def _writes(calls: Sequence[Call]) -> int:
    return sum(call.kind in KINDS for call in calls)
