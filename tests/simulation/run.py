"""One run: replicas, faults, promises; then the world heals, and everything must come to rest."""

import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

from controller.console.reading import fold
from controller.daemon import observe, passes
from controller.daemon.overtaking import Overtaken
from controller.record import budget
from controller.record.store import Store
from states.machine import State
from states.plan import Plan
from states.reconcile import reconcile
from states.release import Application, Release
from states.world import World
from tests.published import assert_as_published
from tests.simulation import fate
from tests.simulation.draws import Draws
from tests.simulation.fate import Begin
from tests.simulation.outside import LACKING, UNDECIDED, Outside, at_rest, home
from tests.simulation.platform import Clock, Platform
from tests.simulation.promises import Move, Promises
from tests.simulation.record import copied
from tests.simulation.replica import Replica
from tests.simulation.stage import Stage
from tests.simulation.wire import Wire

Seen = TypeVar("Seen")
POLL = timedelta(seconds=30)
STORMY_S = 1500.0
"""Longest time of faults."""
HEALING_S = 5400.0
"""Longest time that a healed world may take to come to rest."""
QUIET_LOOKS = 2
BACK = budget.BUDGET // budget.RESERVE
"""Of so many writes that the workspace takes, one is kept for the way back."""
BY_HAND = "put right by a person"
"""Of situations: what was left had to be seen to."""
FIRST_S = 22.0
"""When the first new version appears, if the endpoint was adopted by then."""
SLOWLY = 12.0
"""Polls between looks once nothing is left to do: past the ten minutes that calls are known for."""


@dataclass
class Result:
    """What became of one run."""

    seed: int
    violation: str | None = None
    trace: str = ""
    struck: tuple[str, ...] = ()
    situations: Counter[str] = field(default_factory=Counter)
    releases: int = 0
    good: int = 0
    false_rollbacks: tuple[str, ...] = ()
    """Of good versions: why each was rolled back, where nothing that was done explains it."""
    worse: int = 0
    """Releases of versions a little worse than some step's margin, that came to be compared."""
    wrong_proofs: tuple[str, ...] = ()
    """Of those, the ones that were confirmed."""
    moves: tuple[Move, ...] = ()
    """Every transition of a release, in their order."""
    boundaries: int = 0
    passes: int = 0
    virtual_s: float = 0.0
    seconds: float = 0.0
    changes: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    """Places that the first replica came by, where that was asked for."""


@dataclass(frozen=True)
class Options:
    """How a run differs from what its seed says."""

    left_out: frozenset[str] = frozenset()
    rates: Mapping[str, float] | None = None
    begin: Begin | None = None
    forced: Mapping[str, str] = field(default_factory=dict)
    notes_places: bool = False


def run(seed: int, template: Path, options: Options | None = None) -> Result:
    """Run a seed; whatever promise is broken is in the result."""
    chosen, started = options or Options(), time.process_time()
    result = Result(seed)
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        one = _Run(seed, copied(template, Path(folder)), chosen)
        try:
            with one.watched():
                one.play()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the run has found
            result.violation = _sentence(error)
            result.trace = "".join(traceback.format_exception(error)[-6:])
        finally:
            one.close()
        one.tell(result)
    result.seconds = time.process_time() - started
    return result


class _Run:
    """Everything of one run."""

    def __init__(self, seed: int, path: Path, options: Options) -> None:
        self.begun = options.begin or fate.begin(seed)
        rates = fate.rates(seed) if options.rates is None else options.rates
        left_out = options.left_out
        if self.begun.replicas > 1 and not self.begun.by_lease:
            # Replicas without leases stand for a race alone: nobody moves times along for them.
            left_out |= {"store_jump", "store_stands"}
        self.draws = Draws(seed, rates, left_out, options.forced)
        self.stage = Stage()
        self.situations: Counter[str] = Counter()
        self.clock = Clock(self.stage)
        self.spec = fate.spec_of(self.begun)
        self.platform = Platform(
            self.stage,
            self.draws,
            requests_per_s=self.begun.requests_per_s,
            error_rate=self.begun.error_rate,
            ahead_s=self.begun.ahead_s,
            labelled=self.begun.labelled,
            hidden=self.begun.hidden,
            dated=self.begun.dated,
        )
        self.promises = Promises(
            path,
            self.platform,
            self.clock,
            POLL,
            self.situations,
            budget=self.begun.writes,
            racing=self.begun.replicas > 1 and not self.begun.by_lease,
            by_lease=self.begun.by_lease,
            spec=self.spec,
            plain=fate.plain(self.begun),
        )
        self.store = Store(f"sqlite:///{path}", clock=self.clock)
        names = "abc"[: self.begun.replicas]
        self.walls = {name: Clock(self.stage) for name in names}
        self.replicas = [self._replica(name, path) for name in names]
        self.replicas[0].wire.passed = [] if options.notes_places else None
        self.outside = Outside(
            self.platform,
            self.promises,
            self.draws,
            self.clock,
            self.walls,
            self.store,
            self.spec,
        )

    def _replica(self, name: str, path: Path) -> Replica:
        wire = Wire(name, self.stage, self.draws, self.situations)
        return Replica(
            wire,
            self.platform,
            self.promises,
            path,
            self.clock,
            self.spec,
            POLL,
            by_lease=self.begun.by_lease,
            alone=self.begun.replicas == 1,
        )

    def play(self) -> None:
        """The whole story."""
        if not self.begun.first:
            self.platform.adopted()
        self._register()
        for replica in self.replicas:
            name = replica.wire.name
            begins = 20 * self.draws.at(f"begin/{name}")
            self.stage.enter(name, replica.live, when=begins)
        self.outside.begin()
        self.stage.run(self._is_over, limit=STORMY_S)
        self.outside.heal()
        self._one_version_at_least()
        self._come_to_rest()
        if self.outside.application().hold is not None or self._waits():
            self.situations[BY_HAND] += 1
            self.outside.put_right()
            self._come_to_rest()
        self._stay()
        # The last passes are cut off anywhere, and may have what they wrote still to print.
        last = self.promises.log.last_row
        self._look_around(self.stage.now + HEALING_S, looks=1)
        self.promises.log.complete(last)
        self._log_tells_the_state()

    def _register(self) -> None:
        at = FIRST_S
        for number, kind in enumerate(self.begun.kinds, start=2):
            self.stage.at(at, partial(self._appears, number, kind))
            at += self.begun.gap_s

    def _appears(self, number: int, kind: str) -> None:
        known = self.promises.application
        if known is None or not known.adopted:
            # What is there at adoption never starts by itself.
            self.stage.at(self.stage.now + FIRST_S, partial(self._appears, number, kind))
            return
        fate.register(self.platform, number, kind)
        self.promises.note(f"version {number} is registered: {kind}")

    def _one_version_at_least(self) -> None:
        """Where strangers have left none, a person registers another one.

        A registry that lists nothing is not believed: it may be hidden. So a version that is gone
        would be asked for, and a person called, for ever.
        """
        if not self.platform.versions:
            self._appears(2 + len(self.begun.kinds), "good")

    def _is_over(self) -> bool:
        """All versions have had their releases, and nothing is live: the rest would be waiting."""
        last = str(1 + len(self.begun.kinds))
        application = self.promises.application
        if application is None or application.live is not None:
            return False
        release = application.newest(last)
        return release is not None and (release.live or release.state != "Registered")

    def _come_to_rest(self) -> None:
        """Go on until nothing is under way, and every replica has looked at that."""
        limit = self.stage.now + HEALING_S
        self.stage.run(lambda: not any(one.stalled for one in self.replicas), limit=limit)
        while self.stage.now < limit:
            calls = sum(self.promises.sending.sends.values())
            self._look_around(limit)
            application = self.outside.application()
            quiet = sum(self.promises.sending.sends.values()) == calls
            at_home = home(application, self.platform) and self._tidy(application)
            if quiet and at_rest(application) and at_home:
                # A pass that was under way may have had something left to send.
                self._look_around(limit, looks=1)
                still = sum(self.promises.sending.sends.values()) == calls
                if still and at_rest(self.outside.application()):
                    return
        application = self.outside.application()
        raise AssertionError(f"a healed world does not come to rest: {self._told(application)}")

    def _look_around(self, limit: float, looks: int = QUIET_LOOKS) -> None:
        """Every replica makes a few passes."""
        wanted = [one.passes + looks for one in self.replicas]

        def looked() -> bool:
            return all(one.passes >= many for one, many in zip(self.replicas, wanted, strict=True))

        self.stage.run(looked, limit=limit)

    def _waits(self) -> bool:
        """Something is left that only a person can move."""
        application = self.outside.application()
        return any((one.live or one.state == "Registered") for one in application.releases)

    def _stay(self) -> None:
        """What has come to rest stays so (L1), also when the last calls are forgotten."""
        before, world = sum(self.promises.sending.sends.values()), self.platform.endpoint
        live = self.outside.application().live
        on_trial = live if live is not None and (live.weight or live.shut) else None
        if on_trial is None:
            # Evidence of users on trial, and what a shut gate waits for, is to stay fresh.
            for one in self.replicas:
                one.pace = SLOWLY
        self._look_around(self.stage.now + HEALING_S)
        went_home = live is not None and self._went_home(live)
        if went_home or (on_trial is not None and self._goes_on(on_trial)):
            # A person is asked, or has paused it, and yet what shows sends it home; or what was
            # lacking is made up by what has come since.
            self._come_to_rest()
            self._stay()
            return
        application = self.outside.application()
        told = self._told(application)
        assert sum(self.promises.sending.sends.values()) == before, f"it went on sending: {told}"
        assert at_rest(application), told
        assert home(application, self.platform), told
        assert self._tidy(application), f"{self.platform.staging} is left behind: {told}"
        self.promises.winning.at_rest(application)
        if application.hold is None:
            assert self.platform.endpoint == world, told

    def _goes_on(self, live: Release) -> bool:
        """Whether a release that was held for what was not counted yet is held for that no more.

        So is one that waits for a word, which is asked for while all that is counted is well.
        """
        now, held = self.outside.application().newest(live.version), live.hold or ""
        uncounted = LACKING in held or UNDECIDED in held or live.ask is not None
        return uncounted and now is not None and now.hold != live.hold

    def _went_home(self, live: Release) -> bool:
        """Whether a release that was not on its way home has been sent there since."""
        now = self.outside.application().newest(live.version)
        gone = now is not None and now.state is State.ROLLED_BACK
        return gone and live.state is not State.ROLLED_BACK

    def _tidy(self, application: Application) -> bool:
        """Of staging endpoints that calls have made none is there, but one that is wanted."""
        live = application.live
        return not self.platform.left_behind or (live is not None and live.on_staging)

    def _told(self, application: Application) -> str:
        states = [
            f"{one.version} {one.state} settled={one.settled} step={one.step} "
            f"order={one.order} hold={one.hold}"
            for one in application.releases
        ]
        return (
            f"{states}; hold {application.hold}; outside {self.platform.endpoint}, "
            f"alias {self.platform.alias}"
        )

    def _log_tells_the_state(self) -> None:
        """Folding all lines gives the state table exactly (S11); they are as they were printed."""
        lines = self.promises.log.as_the_journal(self.store.journal())
        assert_as_published(lines)
        told = {(one["release"], one["attempt"]): one for one in fold(lines).statuses(all_=True)}
        states = [one for app in self.store.states() for one in app["releases"]]
        for known in states:
            of_log = told[known["release"], known["attempt"]]
            for name in ("state", "settled", "step", "weight", "order", "hold", "stable"):
                assert of_log[name] == known[name], f"{known['release']}: {name} by log and store"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every look is checked, and every line is caught, while this run has the process."""

        def checked(application: Application, world: World) -> Plan:
            plan = reconcile(application, world)
            self.promises.looked(application, world, plan)
            return plan

        kept = structlog.get_config()
        structlog.configure(processors=[self._line], cache_logger_on_first_use=False)
        try:
            with (
                patch.object(passes, "reconcile", checked),
                patch.object(observe, "unless", _unless),
                patch.object(budget, "BUDGET", self.begun.writes),
                patch.object(budget, "RESERVE", self.begun.writes // BACK),
            ):
                yield
        finally:
            structlog.configure(**kept)

    def _line(self, _: object, level: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """A line goes out: a place where a replica may die, before it or after."""
        replica = next((one for one in self.replicas if one.wire.name == self.stage.actor), None)
        if "seq" in line and replica is not None:
            replica.wire.before("log")
            self.promises.log.line(replica.wire.name, {**line, "level": level})
            replica.wire.after("log")
        raise structlog.DropEvent

    def close(self) -> None:
        """Let go of everything."""
        self.stage.close()
        for replica in self.replicas:
            replica.end()
        self.store.close()
        self.promises.close()

    def tell(self, result: Result) -> None:
        """Write down what came of it."""
        promises = self.promises
        result.struck = tuple(self.draws.struck)
        result.situations = self.situations
        result.releases = len(self.begun.kinds)
        result.good = sum(kind == "good" for kind in self.begun.kinds)
        result.false_rollbacks = tuple(promises.false_rollbacks)
        result.worse = promises.winning.worse
        result.wrong_proofs = tuple(promises.winning.by_chance)
        result.moves = tuple(promises.moves)
        result.boundaries = sum(one.wire.boundaries for one in self.replicas)
        result.passes = sum(one.passes for one in self.replicas)
        result.virtual_s = self.stage.now
        result.changes = tuple(promises.changes)
        result.passed = tuple(self.replicas[0].wire.passed or ())


def _unless(over: Callable[[], bool], work: Callable[[Event], Seen]) -> Seen:
    """`controller.daemon.overtaking` without its thread: asked when the work is done."""
    done = work(Event())
    if over():
        raise Overtaken
    return done


def _sentence(error: Exception) -> str:
    """What broke; an assertion without words is told by its line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    told = str(error) or f"{place.line} ({Path(place.filename).name}:{place.lineno})"
    return f"{type(error).__name__}: {told}"
