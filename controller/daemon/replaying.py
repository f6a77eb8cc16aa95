"""Replaying: the recorded requests of one release, a few seconds of them at each look.

What is left to ask is in the record: a daemon that was killed goes on where the record is, and what
it had asked, but not written down, is asked again and counted once.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Protocol

from controller.workspace.errors import WorkspaceError
from controller.workspace.recorded import AT_ONCE, Recorded, Sample
from policies.pairs import Pair
from policies.replay import Batch, Drawn, Replay
from states.counted import Paths
from states.machine import State
from states.release import Application, Order, Release
from states.replaying import masked
from states.world import Endpoint

PAIRS_AT_ONCE = 2
"""So many requests, at most, are under way on stable, which has users: the smallest endpoint takes
four at a time."""
LOOK_S = 20.0
"""After this no further pair is begun at a look."""
TRIAL = 2
"""Pairs at a look while the environment is at fault: enough to see that it is over."""


class Draws(Protocol):
    """The inference table, as `controller.workspace.recorded` brings it."""

    def draw(self, sample: Sample) -> Drawn:
        """A reproducible sample of one served entity's requests, by id."""

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[Recorded]:
        """The bodies of some of them."""


class Asks(Protocol):
    """Both versions, as `controller.workspace.replays` asks them."""

    def pair(
        self, recorded: Recorded, candidate: str, stable: str, salt: str, paths: Paths
    ) -> Pair | None:
        """Both answers to one request, read by the paths; None if it cannot be sent again."""


def is_time(application: Application, endpoint: Endpoint) -> bool:
    """Whether the live release waits for its replay, and nothing speaks against sending."""
    live = application.live
    if live is None or live.state is not State.TESTING or live.pinned is None:
        return False
    begun = live.replay is not None and live.replay.outcome is None
    undisturbed = live.order is Order.RUN and application.change is None and not masked(endpoint)
    return live.pinned.replay is not None and begun and undisturbed


@dataclass(slots=True)
class Replayer:
    """The replays of one application."""

    recorded: Draws
    replays: Asks
    clock: Callable[[], float] = time.monotonic
    attempt: tuple[str, int] | None = None
    """The release that the texts are for: version and attempt."""
    texts: dict[str, Recorded] = field(default_factory=dict, repr=False)
    """What is to be asked next, by id; a text is gone once it was asked."""

    def look(
        self, application: Application, endpoint: Endpoint, given_up: Callable[[], bool]
    ) -> Drawn | Batch:
        """Draw what is to be replayed, or ask some of it; raises this workspace's errors.

        Pairs that were answered before an error are kept; it is met again at the next look.
        """
        live = application.live
        assert live is not None, "checked by is_time"
        assert live.replay is not None, "checked by is_time"
        if (live.version, live.attempt) != self.attempt:
            self.attempt = (live.version, live.attempt)
            self.texts = {}
        if live.replay.drawn is None:
            return self._drawn(application, live, endpoint)
        return self._asked(application, live, endpoint, given_up)

    def _drawn(self, application: Application, live: Release, endpoint: Endpoint) -> Drawn:
        settings, stable = _planned(live)
        if endpoint.inference_table is None:
            name = application.spec.endpoint
            return Drawn(why=f"{name} has no inference table: nothing of users is recorded")
        sample = Sample(
            table=endpoint.inference_table,
            endpoint=application.spec.endpoint,
            application=application.name,
            entity=application.entity(stable),
            over=settings.over,
            most=settings.requests,
            salt=_salt(live),
        )
        return self.recorded.draw(sample)

    def _asked(
        self,
        application: Application,
        live: Release,
        endpoint: Endpoint,
        given_up: Callable[[], bool],
    ) -> Batch:
        settings, stable = _planned(live)
        assert live.replay is not None, "checked by is_time"
        ids = live.replay.left[: TRIAL if live.hold is not None else AT_ONCE]
        lacking = [one for one in ids if one not in self.texts]
        if lacking and endpoint.inference_table is not None:
            found = self.recorded.texts(endpoint.inference_table, lacking, settings.over)
            self.texts |= {one.id: one for one in found}
        ask = partial(
            self.replays.pair,
            candidate=application.entity(live.version),
            stable=application.entity(stable),
            salt=_salt(live),
            paths=application.counted.paths,
        )
        missing = [one for one in ids if one not in self.texts]
        there = [self.texts[one] for one in ids if one in self.texts]
        pairs, more = self._pairs(there, ask, given_up)
        return Batch(pairs=tuple(pairs), missing=(*missing, *more))

    def _pairs(
        self,
        there: Sequence[Recorded],
        ask: Callable[[Recorded], Pair | None],
        given_up: Callable[[], bool],
    ) -> tuple[list[Pair], list[str]]:
        """Pairs that were answered in time, and ids of what cannot be sent."""
        until = self.clock() + LOOK_S
        troubles: list[WorkspaceError] = []

        def asked(one: Recorded) -> Pair | None:
            # One that waits for its turn is not begun any more.
            if troubles or given_up() or self.clock() >= until:
                return None
            try:
                pair = ask(one)
            except WorkspaceError as error:
                troubles.append(error)
                return None
            if pair is None:
                unfit.append(one.id)
            self.texts.pop(one.id, None)
            return pair

        unfit: list[str] = []
        with ThreadPoolExecutor(PAIRS_AT_ONCE, thread_name_prefix="replay") as pool:
            futures: list[Future[Pair | None]] = [pool.submit(asked, one) for one in there]
            answered = [future.result() for future in futures]
        pairs = [pair for pair in answered if pair is not None]
        if troubles and not pairs:
            raise troubles[0]
        return pairs, unfit


def _planned(live: Release) -> tuple[Replay, str]:
    assert live.plan.replay is not None, "checked by is_time"
    assert live.plan.baseline is not None, "nothing is replayed without a stable version"
    return live.plan.replay, live.plan.baseline


def _salt(live: Release) -> str:
    """The key of all that is drawn for a release."""
    return f"{live.key}#{live.attempt}"
