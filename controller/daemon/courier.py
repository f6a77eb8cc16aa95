"""Couriers: each tells one receiver what the journal has for it, on a thread of its own.

The queue is the journal: a receiver that is dead costs a number in the store, and no memory that
grows. What it missed is told in one message once it is back. Of several replicas the one that
prints the log tells; a message may come twice where that changes, or after a crash, never not.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

import structlog

from controller.daemon.backoff import Backoff
from controller.daemon.instruments import Instruments
from controller.daemon.notices import Message, Notice, Summary, answered, notice_of
from controller.notify import NotifySettings, ReceiverSettings
from controller.record.errors import Conflict, RecordError
from controller.record.receivers import Told, tell, told
from controller.record.store import Store
from controller.record.times import MICROSECOND, micros
from controller.workspace.errors import Unreachable

LOOK_S: Final = 2.0
"""How often the journal is looked at."""
ONE_BY_ONE: Final = 10
"""Things at once that are told one by one; more are told in one message."""
TRIES: Final = 6
"""So often in a row is it tried to tell things one by one: then one message must do for all."""
MOST, WITHIN_S = 20, 600.0
"""Messages to a receiver at most, in seconds: who gets more reads none of them."""
AGAIN: Final = timedelta(hours=1)
"""What was said is not said again for so long."""
UNSAVED: Final = 1000
"""Rows with nothing to tell, after which it is written down that they were seen."""
END_S: Final = 5.0
"""Longest wait for a courier that is asked to end."""
log = structlog.get_logger()

Send = Callable[[Message], bool]
"""Sends a message; whether the receiver took it. It may hang, and raises nothing."""


@dataclass
class _Waiting:
    """What was read of the journal and not told yet: the first few things, and all of them in sum.

    Of those that are told one by one, the ones that were told are gone.
    """

    seq: int
    """The last row that was read."""
    first: list[Notice] = field(default_factory=list)
    summary: Summary | None = None

    def add(self, notice: Notice) -> None:
        """One more."""
        if len(self.first) <= ONE_BY_ONE:
            self.first.append(notice)
        if self.summary is None:
            self.summary = Summary(since=notice.at, until=notice.at)
        self.summary.add(notice)

    @property
    def count(self) -> int:
        """How many are to be told."""
        return self.summary.kinds.total() if self.summary else 0


class Courier:
    """Tells one receiver."""

    def __init__(  # noqa: PLR0913, PLR0917 - what telling is made of
        self,
        name: str,
        settings: ReceiverSettings,
        send: Send,
        store: Store,
        ours: Callable[[], bool],
        instruments: Instruments,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`ours` tells whether this replica is the one that tells; `clock` never jumps."""
        self.name, self._settings, self._send = name, settings, send
        self._store, self._ours, self._instruments = store, ours, instruments
        self._clock = clock
        self._backoff = Backoff(f"telling {name}", clock=clock, quiet=True)
        self._told: Told | None = None
        self._waiting = _Waiting(0)
        self._lately: dict[str, int] = {}
        self._sent_at: list[float] = []
        self._owes = False
        """What was told is not written down yet."""

    def once(self) -> None:
        """Tell what there is to tell now, as far as the receiver takes it."""
        if not self._ours():
            # Whoever tells now writes down how far: only the store knows it.
            self._told = None
            self._instruments.waits(self.name, 0)
            return
        if self._told is None:
            self._told = told(self._store, self.name)
            self._waiting, self._lately = _Waiting(self._told.seq), dict(self._told.lately)
        self._read()
        self._instruments.waits(self.name, self._waiting.count)
        if self._waiting.count:
            self._tell_all()
        elif self._owes or self._waiting.seq - self._told.seq >= UNSAVED:
            self._save(self._waiting.seq)

    def _read(self) -> None:
        waiting = self._waiting
        if waiting.seq == self._store.last_seq():
            return
        for line in self._store.journal(after=waiting.seq):
            waiting.seq = int(line["seq"])
            over = answered(line)
            if over is not None:
                kept = {key: at for key, at in self._lately.items() if not key.startswith(over)}
                self._lately = kept
            notice = notice_of(line)
            if notice is None or not self._settings.wants(notice.severity, line.get("application")):
                continue
            at, before = micros(notice.at), self._lately.get(notice.key)
            # Either way: one that lies ahead was said before the store's clock was set back.
            if before is None or abs(at - before) >= AGAIN // MICROSECOND:
                self._lately[notice.key] = at
                waiting.add(notice)

    def _tell_all(self) -> None:
        """One by one while they are few and it succeeds, else all in one message."""
        waiting = self._waiting
        if not self._backoff.ready():
            return
        alone = len(waiting.first) == waiting.count and waiting.count <= ONE_BY_ONE
        if alone and self._backoff.failures < TRIES:
            while waiting.first and self._may_send() and self._tell(waiting.first[0].message):
                seq = waiting.first.pop(0).seq
                self._count_again()
                waiting = self._waiting
                self._save(seq if waiting.first else waiting.seq)
        elif self._may_send():
            assert waiting.summary is not None, "something is to be told"
            if self._tell(waiting.summary.message):
                self._waiting = _Waiting(waiting.seq)
                self._save(waiting.seq)
        self._instruments.waits(self.name, self._waiting.count)

    def _count_again(self) -> None:
        """What was told one by one does not count in a later sum."""
        left, self._waiting = self._waiting.first, _Waiting(self._waiting.seq)
        for one in left:
            self._waiting.add(one)

    def _may_send(self) -> bool:
        now = self._clock()
        self._sent_at = [at for at in self._sent_at if now - at < WITHIN_S]
        return len(self._sent_at) < MOST

    def _tell(self, message: Message) -> bool:
        if self._send(message):
            if self._backoff.failures:
                log.info("notify.resumed", receiver=self.name, because="it takes messages again")
            self._backoff.succeeded()
            self._sent_at.append(self._clock())
            self._instruments.notified(self.name, "sent")
            return True
        if not self._backoff.failures:
            told = "it did not take a message: it is tried again, ever less often"
            log.warning("notify.failed", receiver=self.name, because=told)
        self._backoff.failed(Unreachable("no answer"))
        self._instruments.notified(self.name, "failed")
        return False

    def _save(self, seq: int) -> None:
        """Write down how far it was told; what was said long ago may be said again."""
        assert self._told is not None, "it was read before anything was sent"
        newest = max(self._lately.values(), default=0)
        since = newest - AGAIN // MICROSECOND
        self._lately = {key: at for key, at in self._lately.items() if at > since}
        # What still waits was not said: whoever begins from here must not take it for that.
        waits = {one.key for one in self._waiting.first}
        said = {key: at for key, at in self._lately.items() if key not in waits}
        after = Told(seq=seq, lately=said)
        # A store that fails is no reason to tell it all again: it is written with the next look.
        self._owes = True
        try:
            tell(self._store, self.name, self._told, after)
        except Conflict:
            self._told, self._owes = None, False
            raise
        self._told, self._owes = after, False


def couriers(
    settings: NotifySettings,
    sending: Mapping[str, Send],
    store: Store,
    ours: Callable[[], bool],
    instruments: Instruments,
) -> "Couriers":
    """A courier for each receiver, not sent off yet."""
    return Couriers(
        {
            name: Courier(name, one, sending[name], store, ours, instruments)
            for name, one in settings.receivers.items()
        }
    )


class Couriers:
    """The couriers of one daemon, and their threads."""

    def __init__(self, couriers: Mapping[str, Courier]) -> None:
        self._couriers = couriers
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Tell from now on."""
        for name, one in self._couriers.items():
            # A daemon thread: a receiver that hangs must not keep the process from ending.
            thread = threading.Thread(
                target=self._run, args=(one,), name=f"notify-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def once(self) -> None:
        """Tell what there is to tell now, on this thread; what fails is told by a daemon later."""
        for one in self._couriers.values():
            try:
                one.once()
            except RecordError as error:
                log.warning("notify.waits", receiver=one.name, because=str(error))

    def end(self) -> None:
        """Stop telling; what was not told is told by whoever begins next."""
        self._over.set()
        for thread in self._threads:
            thread.join(END_S / len(self._threads))

    def _run(self, courier: Courier) -> None:
        trouble = ""
        while not self._over.is_set():
            try:
                courier.once()
                trouble = ""
            except RecordError as error:
                if str(error) != trouble:
                    log.warning("notify.waits", receiver=courier.name, because=str(error))
                trouble = str(error)
            except Exception:
                # Whatever it is, the next look comes; passes know nothing of it.
                log.exception("notify.broken", receiver=courier.name)
            self._over.wait(LOOK_S)
