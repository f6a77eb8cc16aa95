"""Tenure: which applications this replica looks after now, and whether it may still send.

A store that is a file has one daemon, which holds its lock: everything is its own. Replicas of a
shared store take leases. A thread of its own renews them, so that no pass that hangs can lose them.
"""

import math
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

import structlog

from controller.record.errors import LeaseLost, RecordError
from controller.record.leases import PRINTER, RENEW_EVERY, Lease, Leases
from controller.steady import steady
from controller.workspace.deadlines import CALL_S

CHANGE_S = 2 * CALL_S
"""Longest that a change takes once it has its token: it is a read and a write."""
LOOK_S = 1.0
"""How often the list of replicas is looked at: whoever is gone is noticed so soon."""
log = structlog.get_logger()


class Tenure:
    """What is ours: all of it without leases, else what is leased."""

    def __init__(
        self,
        names: Collection[str],
        leases: Leases | None = None,
        clock: Callable[[], float] = steady,
    ) -> None:
        self._names, self._leases, self._clock = names, leases, clock
        self._held: Mapping[str, Lease] = {}
        self._living: frozenset[str] = frozenset()
        self._busy: Callable[[], Collection[str]] = tuple
        self._renewed_at: float | None = None
        self._trouble: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __contains__(self, name: str) -> bool:
        """Whether an application is ours to look after."""
        return self._leases is None or name in self._held

    def lease(self, name: str) -> Lease | None:
        """What a commit of this application has to prove; None where nothing is leased at all.

        `LeaseLost`, where there are leases, and this one is not ours.
        """
        if self._leases is None:
            return None
        held = self._held.get(name)
        if held is None:
            raise LeaseLost(
                f"{name} is not {self._leases.replica}'s: nothing is written, and whoever has it "
                "looks after it"
            )
        return held

    def still(self, name: str, lease: Lease | None) -> bool:
        """Whether it is ours by that same lease: one that was taken again since is another."""
        return self._leases is None or (lease is not None and self._held.get(name) == lease)

    @property
    def idle(self) -> bool:
        """Whether other replicas look after everything."""
        return self._leases is not None and not self._held.keys() - {PRINTER}

    def epochs(self) -> Mapping[str, int | None]:
        """By application, and for the log, the epoch of its lease; None: another's, or free.

        0 where nothing is leased, and everything is ours.
        """
        if self._leases is None:
            return dict.fromkeys((*self._names, PRINTER), 0)
        held = self._held
        names = (*self._names, PRINTER)
        return {name: held[name].epoch if name in held else None for name in names}

    def prints(self) -> bool:
        """Whether the log is ours to print: past its lease, another replica may print it."""
        return PRINTER in self and (self._leases is None or self._leases.left_s > 0)

    def may_send(self) -> bool:
        """Whether a change that is sent now ends while nobody else can have begun to send.

        On this process's own clock, CHANGE_S must be left of the lease: a read and a write, each of
        which ends CALL_S after it began to connect, are 2 * 10 s = 20 s. A lease of 30 s that is
        renewed every 5 s has 24 s at any time, less what a renewal takes. Two things do not fit in
        every time, so that the change is cut off at `until`, and nothing of it is sent from then
        on: fetching a token before either call, up to CALL_S each, and all of it where the lease
        itself is short; of one below 30 s, two thirds must be left.
        """
        if self._leases is None:
            return True
        return self._leases.left_s >= min(CHANGE_S, self._leases.ttl.total_seconds() * 2 / 3)

    @property
    def until(self) -> float:
        """The moment of the steady clock at which everything that is sent now has to be over."""
        return math.inf if self._leases is None else self._leases.until

    def begin(self, busy: Callable[[], Collection[str]]) -> None:
        """Take a share and keep it; `busy` names what is under way, and is not given away."""
        if self._leases is None:
            return
        self._busy = busy
        self.keep()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let others take over at once; if that cannot be said, they wait for the lease's end."""
        if self._leases is None:
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join(CALL_S)
        self._held = {}
        try:
            self._leases.give_back()
        except RecordError as error:
            log.warning("leases.kept", because=str(error))

    def keep(self) -> None:
        """One look: renew if it is time, and share anew when a replica came, went or renewed."""
        assert self._leases is not None, "nothing is leased"
        try:
            self._look(self._leases)
        except RecordError as error:
            if self._trouble != str(error):
                log.error("store.failed", because=str(error))
            self._trouble = str(error)
            return
        self._trouble = None

    def _keep(self) -> None:
        while not self._over.wait(min(LOOK_S, self._pace.total_seconds())):
            try:
                self.keep()
            except Exception:
                # Whatever it is, the next look comes: a replica that does not renew is taken over.
                log.exception("leases.failed")

    @property
    def _pace(self) -> timedelta:
        assert self._leases is not None, "nothing is leased"
        return min(RENEW_EVERY, self._leases.ttl / 6)

    def _look(self, leases: Leases) -> None:
        now = self._clock()
        due = self._renewed_at is None or now - self._renewed_at >= self._pace.total_seconds()
        if due:
            if not leases.renew():
                self._hold({}, "the lease lapsed: others may have taken over")
                leases.renew()
            self._renewed_at = now
        living = leases.living()
        if due or living != self._living:
            self._hold(leases.share(self._names, self._busy()), f"{len(living)} replicas live")
        self._living = living

    def _hold(self, held: Mapping[str, Lease], because: str) -> None:
        before, self._held = self._held, held
        if before.keys() != held.keys():
            log.info(
                "leases.changed",
                replica=self._leases.replica if self._leases else None,
                applications=len(held.keys() - {PRINTER}),
                of=len(self._names),
                prints=PRINTER in held,
                because=because,
            )
