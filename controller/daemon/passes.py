"""One pass: load, observe, reconcile, commit, act. The order is the safety.

Commit before act: a crash between them leaves the record ahead of the world, and the next pass
closes the gap. The other way round, users would meet what nobody wrote down.
"""

from dataclasses import dataclass

import structlog

from controller.daemon.act import Actor
from controller.daemon.observe import Observer
from controller.record.errors import Conflict
from controller.record.printer import Printer
from controller.record.store import Store
from states.reconcile import reconcile
from states.release import Spec

AT_ONCE = 10
"""Most passes in a row: what can be decided without waiting is decided without waiting."""
log = structlog.get_logger()


@dataclass
class Pass:
    """The pass of one application."""

    name: str
    spec: Spec
    store: Store
    printer: Printer
    observer: Observer
    actor: Actor

    def run(self) -> None:
        """Look and decide until there is something to wait for."""
        for _ in range(AT_ONCE):
            if not self.once():
                return

    def once(self) -> bool:
        """One pass; true if another look may decide more right away."""
        loaded = self.store.load(self.name, self.spec)
        world = self.observer.look(loaded.application, self.store.now())
        plan = reconcile(loaded.application, world)
        calls = self.actor.affordable(plan.application, plan.calls)
        try:
            committed = self.store.commit(loaded, plan, calls)
        except Conflict as conflict:
            # Somebody moved first, most likely an operator: what they wrote is looked at next.
            log.info("pass.conflict", application=self.name, because=str(conflict))
            return True
        self.printer.print_new()
        for call, number in zip(calls, committed.calls, strict=True):
            self.actor.send(plan.application, call, number)
        moved = any(event.name == "release.transition" for event in plan.events)
        return moved and not calls
