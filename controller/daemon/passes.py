"""One pass: load, observe, reconcile, commit, act. The order is the safety.

Commit before act: a crash between them leaves the record ahead of the world, and the next pass
closes the gap. The other way round, users would meet what nobody wrote down.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, Protocol

import structlog

from controller.daemon.act import Actor
from controller.daemon.leaps import Leaps
from controller.daemon.observe import Observer
from controller.daemon.tenure import Tenure
from controller.record.budget import BUDGET, WINDOW
from controller.record.errors import Conflict, LeaseLost, Unreadable
from controller.record.leases import Lease
from controller.record.loading import Loaded
from controller.record.printer import Printer
from controller.record.store import Store
from controller.workspace.deadlines import before
from controller.workspace.errors import WorkspaceError
from states.examples import Found, Wanted, examples, wanted
from states.leap import leapt, leapt_untold, not_ahead, same_times
from states.plan import Call, Event, Plan
from states.quarantine import lift, quarantine, quarantined
from states.reconcile import reconcile
from states.release import Application
from states.spec import Spec
from states.world import World

NO_TIME = timedelta()
AT_ONCE = 10
"""Most passes in a row: what can be decided without waiting is decided without waiting."""
UNWRITTEN = timedelta(minutes=15)
"""So much of an idle endpoint's minutes may be in memory alone: a daemon that dies loses them."""
CUT_SHORT: Final = ("refused", "the pass was cut short before it was sent")
"""A try that failed: what cannot be sent for long is held, and told."""
FULL = f"{BUDGET} writes per workspace in {WINDOW.total_seconds():.0f} s; tried at the next look"
log = structlog.get_logger()


class Examples(Protocol):
    """The inference table's requests, as `controller.workspace.examples` looks them up."""

    def look(self, application: Application, wanted: Wanted) -> Found:
        """What there is of the bad requests; it must give up soon."""


@dataclass(slots=True)
class Pass:
    """The pass of one application."""

    name: str
    spec: Spec
    store: Store
    printer: Printer
    observer: Observer
    actor: Actor
    leaps: Leaps = field(default_factory=Leaps)
    tenure: Tenure = field(default_factory=lambda: Tenure(()))
    examples: Examples | None = None
    held: bool = field(default=False, init=False)
    """The live release is in quarantine, and this run's looks at it were written down."""
    overtaken: bool = field(default=False, init=False)
    """The application is not ours, or was not any more when the last look was to be written."""
    unwritten: timedelta = field(default=NO_TIME, init=False)
    """The part of the clock's leap that the observer knows of, and the record does not yet."""
    unsure: Application | None = field(default=None, init=False)
    """What the record may have since the last look, of which nobody said whether it was written."""
    unsent: dict[int, tuple[Literal["refused", "unsent"], str]] = field(
        default_factory=dict, init=False
    )
    """Calls that were written down and not sent, what that is, and why; until the record has it."""
    leased: Lease | None = field(default=None, init=False)
    """The lease of the last pass."""
    wanted: Wanted | None = field(default=None, init=False)
    """What the next pass looks up once it has nothing better to do."""

    def run(self) -> bool:
        """Look and decide until there is something to wait for; False if it is not ours to do."""
        wanted, self.wanted = self.wanted, None
        self.held = False
        for _ in range(AT_ONCE):
            if not self.once():
                break
        if self.overtaken:
            return False
        if self.held:
            # All of a pass went through: what its release was held for is over.
            self._write(lift)
        if wanted is not None and self.examples is not None and self.name in self.tenure:
            self._exemplify(self.examples, wanted)
        return True

    def _exemplify(self, source: Examples, wanted: Wanted) -> None:
        """Look up some bad requests of a release that went back in an earlier pass, once.

        Not in that pass: it may have had a slot that is for rollbacks, and others may need it.
        """
        try:
            found = source.look(self.store.load(self.name, self.spec).application, wanted)
        except WorkspaceError as error:
            log.warning("examples.unread", application=self.name, because=str(error))
            return
        self._write(lambda application, world: examples(application, world, wanted, found))

    def _on_a_clock_that_may_leap(self, application: Application) -> Application:
        """The application with its times moved along, if the record's clock leapt."""
        by = self.leaps.by()
        if by != self.unwritten:
            # Measured anew, not moved along: by how much it was set is known no better than how
            # long the reading of it took.
            self.observer.forget()
            log.warning("clock.leapt", application=self.name, seconds=by.total_seconds())
        self.unwritten = by
        return leapt(application, by) if by else application

    def _agree(self) -> None:
        """The record has the clock's time, and whatever a leap of it has moved."""
        self.leaps.agree()
        self.unwritten, self.unsure = NO_TIME, None

    def quarantine(self, why: str) -> None:
        """Hold the live release, as its passes fail unexpectedly, until one goes through again."""
        self._write(lambda application, world: quarantine(application, world, why))

    def _write(self, decide: Callable[[Application, World], Plan | None]) -> None:
        """Write down what is decided without a look outside, as far as it is ours to decide."""
        # An operator was first: the next pass decides again. Or the lease is lost: others decide.
        with suppress(Conflict):
            lease = self.tenure.lease(self.name)
            loaded = self.store.load(self.name, self.spec)
            plan = decide(loaded.application, World(now=self.store.now()))
            if plan is not None:
                self.store.commit(loaded, plan, lease=lease)
                self._print_new()

    def _print_new(self) -> None:
        """Print what is new. Of a row that nobody can read the beat tells: no user waits for it."""
        with suppress(Unreadable):
            self.printer.print_new()

    def once(self) -> bool:
        """One pass; true if another look may decide more right away."""
        self._tell_unsent()
        try:
            lease = self.tenure.lease(self.name)
        except LeaseLost:
            self.overtaken = True
            return False
        self.overtaken = False
        if lease != self.leased:
            self._take_over(lease)
        loaded, plan = self._decided()
        if _nothing_new(loaded.application, plan):
            self._agree()
            if loaded.as_of_seq > self.store.printed():
                self._print_new()
            return False
        calls = self.actor.affordable(plan.application, plan.calls)
        self.unsure = plan.application
        self.leaps.doubt()
        try:
            committed = self.store.commit(
                loaded, plan, calls, lease=lease, budget=self.actor.budget
            )
        except LeaseLost as lost:
            log.warning("pass.overtaken", application=self.name, because=str(lost))
            self.overtaken, self.unsure = True, None
            return False
        except Conflict as conflict:
            # Somebody moved first, most likely an operator: what they wrote is looked at next.
            log.info("pass.conflict", application=self.name, because=str(conflict))
            self.unsure = None
            return True
        self._agree()
        self.held = quarantined(plan.application.live)
        self.wanted = _to_look_up(plan) or self.wanted
        self.unsent = dict.fromkeys(committed.calls, CUT_SHORT)
        self._print_new()
        sent = calls[: len(committed.calls)]
        if len(sent) < len(calls):
            waiting = len(calls) - len(sent)
            log.warning("workspace.budget", application=self.name, waiting=waiting, because=FULL)
        for call, number in zip(sent, committed.calls, strict=True):
            self._send(plan.application, call, number, lease)
        self._tell_unsent()
        return any(_leads_on(event) for event in plan.events) and not sent

    def _decided(self) -> tuple[Loaded, Plan]:
        """What the record has, and what follows from it and from a look, or a glance."""
        loaded, application = self._load(whole=False)
        glimpse = self.observer.glance(application, loaded.now)
        plan = reconcile(application, glimpse) if glimpse is not None else None
        if plan is not None and _nothing_new(loaded.application, plan):
            return loaded, plan
        # What is decided is decided by all that there is to know.
        if application.live is None:
            loaded, application = self._load(whole=True)
        world = self.observer.look(application, loaded.now)
        if by := leapt_untold(application.live, world.evidence):
            log.warning("clock.leapt", application=self.name, seconds=by.total_seconds())
        looked_at = application.looked_at
        if by and world.first and looked_at is not None and looked_at + by <= loaded.now:
            # All of the record is from before; what was counted was cut where it had the stays.
            self.observer.forget()
            application, world = leapt(application, by), replace(world, evidence=None)
        return loaded, reconcile(application, world)

    def _take_over(self, lease: Lease | None) -> None:
        """Another replica may have looked after the application, on a clock that was set."""
        self.leased, self.unwritten, self.unsure = lease, NO_TIME, None
        self.leaps.forget()
        self.observer.forget()

    def _load(self, *, whole: bool) -> tuple[Loaded, Application]:
        """What the record has, and the application on a clock that may have leapt meanwhile."""
        loaded = self.leaps.read(lambda: self.store.load(self.name, self.spec, whole=whole))
        if self.unsure is not None and self._was_written(self.unsure, loaded.application):
            self._tell_unsent()
            return self._load(whole=whole)
        # What is looked for next is looked for where the record has it on the clock as it is now.
        application = self._on_a_clock_that_may_leap(loaded.application)
        return loaded, not_ahead(application, loaded.now)

    def _was_written(self, decided: Application, found: Application) -> bool:
        """Learn whether what was decided was written down; true, if there were calls with it.

        A leap that was written down is not made good once more, and its calls were not sent.
        """
        self.unsure = None
        written = same_times(found, decided)
        self.leaps.known(written=written)
        if not written:
            return False
        self.unwritten = NO_TIME
        known = {one.id for one in decided.attempts}
        calls = [one.id for one in found.attempts if one.id not in known]
        self.unsent |= dict.fromkeys(calls, CUT_SHORT)
        return bool(calls)

    def _send(self, application: Application, call: Call, number: int, lease: Lease | None) -> None:
        """Send a call, unless somebody else may have taken over since it was written down.

        A lease that lapsed, and was taken again meanwhile, has another epoch: much may be left of
        it, and yet others had the time to send.
        """
        overtaken = not application.going_home and self.name in self.store.homeward()
        outcome: Literal["refused", "unsent"] = "refused"
        told = "too little of the lease is left: whoever has it next looks, and sends it if need be"
        # Asked last: whatever is asked of the store may have taken longer than the lease has left.
        if self.tenure.may_send() and self.tenure.still(self.name, lease):
            if not overtaken:
                del self.unsent[number]  # from here on nobody knows, until there is an answer
                with before(self.tenure.until):
                    self.actor.send(application, call, number)
                return
            # What is sent now would be undone, and on the platform it would be in the way of that.
            outcome = "unsent"  # no try: what the next look sends must not wait for another
            told = "an abort was ordered since it was written down: the next look sends users home"
        self.unsent[number] = outcome, told
        log.warning("call.unsent", application=self.name, target=call.target, because=told)

    def _tell_unsent(self) -> None:
        """Write down which calls were not sent, though they were written down.

        Nobody must wait for their effect, nor take a person's change for that.
        """
        if self.unsent:
            self.store.withdraw(self.name, self.unsent)
            self.unsent = {}


def _leads_on(event: Event) -> bool:
    """Another look may decide more: a release moved, or is to be looked at for the first time."""
    noticed = event.name == "release.registered" and not event.fields.get("adopted")
    return noticed or event.name == "release.transition"


def _to_look_up(plan: Plan) -> Wanted | None:
    """What is worth looking up of a release whose post-mortem the plan holds."""
    told = next((one for one in plan.events if one.name == "release.post_mortem"), None)
    return wanted(plan.application, *told.release) if told and told.release else None


def _nothing_new(before: Application, plan: Plan) -> bool:
    """Only time has passed, and nothing waits for it: then there is nothing to write down."""
    if before.live is not None or plan.events or plan.calls:
        return False
    # When it was last looked at, and found as wanted, is written with the next thing that happens,
    # and its minutes by the dozen: there may be ten thousand of its kind.
    same = replace(plan.application, looked_at=before.looked_at, followed=before.followed)
    fresh, known = plan.application.minutes, before.minutes
    if fresh and known and fresh[-1].ends_at - known[-1].ends_at < UNWRITTEN:
        same = replace(same, minutes=before.minutes)
    return same == before
