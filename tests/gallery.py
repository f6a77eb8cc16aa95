"""Applications as people come to see them, in one store: what pages are looked at with."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from controller.record.store import Store
from states.release import Application, Order
from states.world import Endpoint, Serving
from tests.controller.console.test_reading import Recorded
from tests.states.answers import RICH
from tests.states.story import QUICK, SPEC, START

HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>'\"`{}${7*7}{{7*7}}"
    "%s&lt;b&gt;\n\r\t\x1b[31m\x00\u202e\u2066\u200f<!--]]>"
)
"""What names, tags and reasons may be made of."""
NAMED = HOSTILE.replace("/", "")
"""The same as a name, which in an address is one segment."""


class Told(Recorded):
    """One application of the gallery, whose counts are as uneven as users are."""

    gallery: "Gallery"

    def look(self, *, after: float = 30, times: int = 1) -> None:  # type: ignore[override]
        """One pass; what was counted lies a little around what is to be expected."""
        for _ in range(times):
            rates, chance = self.error_rates, random.Random(self.now.isoformat())  # noqa: S311
            self.error_rates = {
                version: rate * chance.uniform(0.6, 1.4) for version, rate in rates.items()
            }
            self.gallery.now = self.now + timedelta(seconds=after)
            super().look(after=after)
            self.error_rates = rates

    def step(self, number: int) -> None:
        """Go on until users meet this step."""
        self.until("Canary")
        while self.live.step < number or not self.live.spans[-1].settled:
            self.look()


class Gallery:
    """A store with a healthy release, one under way, one rolled back, two held, and a hostile one.

    Each application has lived through its own afternoon; it is `now` for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.store = Store(f"sqlite:///{folder / 'headgate.db'}", clock=lambda: self.now)

    def fill(self) -> "Gallery":
        """Let all of them live, and leave them as they are two minutes after the last look."""
        lives = (self.healthy, self.under_way, self.rolled_back, self.held, self.paused)
        ends = [life() for life in lives]
        self.now = max(ends) + timedelta(minutes=2)
        return self

    def healthy(self) -> datetime:
        """Its second version got to everybody."""
        one = self._told("billing-faq", {"": 0.01, "2": 0.01})
        one.until("Production")
        one.look(times=25)
        return one.now

    def under_way(self) -> datetime:
        """Its second version is on the third step."""
        one = self._told("summaries", {"": 0.02, "2": 0.02})
        one.step(3)
        one.look()
        return one.now

    def rolled_back(self) -> datetime:
        """Its second version went bad on the second step."""
        one = self._told("rag-chatbot", {"": 0.004, "2": 0.005})
        one.step(2)
        one.look(times=2)
        one.error_rates["2"] = 0.1
        one.until("RolledBack")
        one.look(times=3)
        return one.now

    def held(self) -> datetime:
        """So few users ask that its second version can be shown neither good nor bad."""
        one = self._told("search-answers", {"": 0.01, "2": 0.01})
        one.step(2)
        one.requests_per_look = 3
        while not one.live.needs_person:
            one.look(after=120)
        return one.now

    def paused(self) -> datetime:
        """Who paused it, why, and what it is called, are as hostile as can be."""
        one = self._told(NAMED, {"": 0.01, "2": 0.01})
        one.step(1)
        self.store.give_order(NAMED, "2", Order.PAUSE, HOSTILE, HOSTILE)
        one.look(times=2)
        return one.now

    def _told(self, name: str, rates: Mapping[str, float]) -> Told:
        """An application of its own, whose second version has just been registered."""
        model = f"main.number_{len(self.store.applications())}.rag_chatbot"
        rollout = replace(QUICK, patience=timedelta(minutes=30))
        spec = replace(SPEC, model=model, endpoint=f"{name}-endpoint", rollout=rollout)
        one = Told(
            application=Application(name=name, spec=spec), history=RICH, error_rates=dict(rates)
        )
        assert isinstance(one.endpoint, Endpoint)
        shares = one.endpoint.serving.shares
        own = {entity: replace(share, model=model) for entity, share in shares.items()}
        one.endpoint = replace(one.endpoint, serving=Serving(own))
        one.spec, one.store, one.gallery = spec, self.store, self
        one.look(times=2)
        one.register(2)
        return one
