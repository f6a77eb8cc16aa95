"""The places where a replica meets the outside: there others go on, and there it may fail.

At each place a replica waits a moment, may stall for minutes, and may die: before what it does
there has happened, or after, so that it never learns of it.
"""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.draws import Draws
from tests.simulation.stage import Stage

TIMEOUT_S = 10.0
"""How long a call waits for its answer."""
LONGEST_STALL_S = 900.0
OUTLASTING_S = 120.0
"""No lease of a replica that sleeps for so long is still its own."""
ANYWHERE = ("crash", "stall")
AT_CALLS = (*ANYWHERE, "crash_at_call")
"""Calls are few among all places, and what a death there leaves behind is the hardest to tell."""


class Crash(BaseException):
    """The process is dead: nothing of it goes on, not even what would tidy up."""


@dataclass
class Wire:
    """One replica's way to everything outside of it."""

    name: str
    stage: Stage
    draws: Draws
    situations: Counter[str]
    boundaries: int = 0
    dead: bool = False
    """Its process is gone: whatever of it wakes up is dead as well."""
    stalled_until: float = 0.0
    passed: list[str] | None = None
    """Where it has been, by place and number, if that is wanted."""

    def before(self, place: str) -> None:
        """On the way there."""
        self._pass(f"{self.name}/{place}/before", place, 0.002, 0.2)

    def after(self, place: str) -> None:
        """On the way back."""
        self._pass(f"{self.name}/{place}/after", place, 0.001, 0.05)

    def _pass(self, where: str, place: str, least: float, most: float) -> None:
        self.boundaries += 1
        kinds = AT_CALLS if place.startswith("call.") else ANYWHERE
        fault = self.draws.strikes(where, kinds)
        if self.passed is not None:
            self.passed.append(f"{where}/{self.draws.number('passed/' + where)}")
        wait = self.draws.between(where, least, most)
        if fault == "stall":
            wait += self._stalled(where, place, 1)
            self.stalled_until = self.stage.now + wait
        self.wait(wait)
        if fault in ("crash", "crash_at_call"):
            self.situations[f"crash {where.removeprefix(self.name + '/')}"] += 1
            raise Crash

    def stall(self, kind: str, place: str, least: float) -> None:
        """Here the process may stall, by a kind of fault that strikes at such places alone."""
        where = f"{place}/{kind}"  # a place of its own: no other draw is shifted
        if self.struck(where, kind):
            took = self._stalled(f"{self.name}/{where}", place, least)
            self.stalled_until = self.stage.now + took
            self.wait(took)

    def _stalled(self, where: str, place: str, least: float) -> float:
        took = self.draws.between(f"{where}/stall", least, LONGEST_STALL_S)
        self.situations[f"stall {place}"] += 1
        self.situations["stall of minutes"] += took > 120
        return took

    def struck(self, place: str, *kinds: str) -> str | None:
        """What goes wrong with what is asked at a place, if anything."""
        return self.draws.strikes(f"{self.name}/{place}", kinds)

    def wait(self, seconds: float) -> None:
        """Let others go on."""
        self.stage.wait(seconds)
        if self.dead:
            raise Crash

    def time_out(self) -> None:
        """Wait for an answer that does not come."""
        self.wait(TIMEOUT_S)
