"""A virtual clock and those who act on it, one at a time: whoever waits lets the others go on.

Actors are greenlets, so that the code under test stays as it is: synchronous, without a word of
being simulated. A wait is the only place where another may come in.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from greenlet import GreenletExit, getcurrent, greenlet

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass
class Stage:
    """Everything that happens in one run, in the order of its true time."""

    now: float = 0.0
    """True seconds since the start; no clock in the simulated world need tell them."""
    after: Callable[[], None] = lambda: None
    """Called whenever something has happened: where the promises of the world are looked at."""
    steps: int = 0
    hub: greenlet = field(default_factory=getcurrent)
    """Where everybody goes back to who waits."""
    _due: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _order: int = 0
    _actors: dict[greenlet, str] = field(default_factory=dict)

    @property
    def moment(self) -> datetime:
        """The true time."""
        return START + timedelta(seconds=self.now)

    @property
    def actor(self) -> str:
        """Who is acting now."""
        return self._actors.get(getcurrent(), "outside")

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Let something happen at a true time."""
        self._order += 1
        heapq.heappush(self._due, (when, self._order, action))

    def enter(self, name: str, life: Callable[[], None], *, when: float) -> None:
        """Let an actor begin its life."""
        actor = greenlet(life, self.hub)
        self._actors[actor] = name
        self.at(when, actor.switch)

    def wait(self, seconds: float) -> None:
        """The actor waits; others go on."""
        self.at(self.now + seconds, getcurrent().switch)
        self.hub.switch()

    def run(self, until: Callable[[], bool], *, limit: float) -> bool:
        """Go on until something is so, or until a true time; tells which it was."""
        while self._due and self._due[0][0] <= limit:
            self.now, _, action = heapq.heappop(self._due)
            self.steps += 1
            action()
            self.after()
            if until():
                return True
        self.now = max(self.now, limit)
        return False

    def close(self) -> None:
        """End all lives."""
        for actor in self._actors:
            if actor and not actor.dead:
                actor.throw(GreenletExit)
