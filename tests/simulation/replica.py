"""One process of the daemon: the real pass on the real store, until it dies, and the next one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from controller.daemon.act import Actor
from controller.daemon.backoff import Backoff, drawn
from controller.daemon.collect import Collector
from controller.daemon.leaps import Leaps
from controller.daemon.observe import Observer
from controller.daemon.passes import Pass
from controller.daemon.past import Past
from controller.daemon.replaying import Replayer
from controller.daemon.tenure import Tenure
from controller.record.budget import Budget
from controller.record.errors import RecordError
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.workspace.serving import ServingSettings
from states.spec import Spec
from tests.simulation.clients import Endpoints, Pairs, Probes, Recorded, Registry, Table, Traffic
from tests.simulation.platform import Platform
from tests.simulation.promises import Promises
from tests.simulation.record import Record
from tests.simulation.wire import Crash, Wire
from tests.states.story import MODEL

NAME = "rag-chatbot"


TTL = timedelta(seconds=60)
KEEP_S = 15.0
"""How often the leases are kept: a look at them costs as much as a pass."""


@dataclass
class Keeper:
    """The thread of a process that keeps its leases, with a connection of its own."""

    replica: "Replica"
    wire: Wire
    record: Record
    tenure: Tenure

    def live(self) -> None:
        """Keep them as long as the process lives, and no longer: it dies whole."""
        try:
            self._keep()
        except Crash:
            if self.replica.keeper is self:
                self.replica.wire.dead = True
        self.record.die()

    def _keep(self) -> None:
        stage, main = self.wire.stage, self.replica.wire
        while not self.wire.dead:
            if main.stalled_until > stage.now:
                # A process that stalls renews nothing.
                self.wire.wait(main.stalled_until - stage.now)
                continue
            before = self.tenure.epochs()[NAME]
            self.tenure.keep()
            after = self.tenure.epochs()[NAME]
            self.wire.situations["lease taken"] += after is not None and after != before
            self.wire.situations["lease lost"] += after is None and before is not None
            # However slow its passes are, a process that lives renews in time.
            self.wire.wait(min(KEEP_S * self.replica.pace, TTL.total_seconds() / 2))


class _Racing(Leaps):
    """Without leases, replicas stand for nothing but a race: none may move the others' times."""

    def by(self) -> timedelta:
        """Whatever another one wrote is no leap."""
        return timedelta()


@dataclass
class Replica:
    """What one process is made of; only the workspace's clients are not the real ones."""

    wire: Wire
    platform: Platform
    promises: Promises
    path: Path
    clock: Callable[[], datetime]
    spec: Spec
    poll: timedelta
    by_lease: bool = False
    """Replicas share by leases; without, only the row version stands between them."""
    alone: bool = False
    """There is no other."""
    keeper: Keeper | None = None
    starts: int = 0
    passes: int = 0
    record: Record | None = None
    ended: bool = False
    pace: float = 1.0
    """Polls between two passes; the campaign slows down once nothing is left to do."""
    troubles: list[str] = field(default_factory=list)

    @property
    def stalled(self) -> bool:
        """It, or the thread that keeps its leases, hangs: a fault that was before is not over."""
        wires = [self.wire, *([self.keeper.wire] if self.keeper is not None else [])]
        return any(one.stalled_until > one.stage.now for one in wires)

    def live(self) -> None:
        """Start, work, die, and start again."""
        while not self.ended:
            try:
                self._work(self._started())
            except Crash:
                self._die()
                place = f"{self.wire.name}/restart"
                self.wire.stage.wait(self.wire.draws.between(place, 2, 120))

    def _started(self) -> Pass:
        self.starts += 1
        self.wire.dead = False
        wire, platform, promises = self.wire, self.platform, self.promises
        self.record = record = Record(self.path, self.clock, wire, promises)
        ends = Endpoints(wire, platform, promises)
        registry = Registry(wire, platform, promises)
        probes = Probes(wire, platform, promises)
        traffic = Traffic(wire, platform, promises)
        table = Table(wire, platform, promises)
        leaps = (Leaps if self.by_lease or self.alone else _Racing)(self._steady)
        observer = Observer(
            endpoints=ends,  # type: ignore[arg-type]
            registry=registry,  # type: ignore[arg-type]
            probes=probes,  # type: ignore[arg-type]
            traffic=traffic,  # type: ignore[arg-type]
            collector=Collector(table, probes, traffic, record.now, steady=self._steady),
            past=Past(table),
            replayer=Replayer(
                Recorded(wire, platform, promises), Pairs(platform), clock=self._steady
            ),
            poll=self.poll,
            homeward=record.homeward,
            backoff=self._backoff,
            since_read=leaps.since_read,
            reading_took=leaps.reading_took,
        )
        actor = Actor(
            ends,  # type: ignore[arg-type]
            registry,  # type: ignore[arg-type]
            record,
            ServingSettings(model=MODEL),
            Budget(shared=True, clock=self._steady),
            self._backoff("sending"),
            self._backoff("sending to staging"),
            self._backoff("sending to the registry"),
        )
        record.hands = lambda: actor
        tenure = self._kept() if self.by_lease else Tenure(())

        def prints() -> bool:
            return promises.log.begins(wire.name, ours=tenure.prints())

        printer = Printer(record, prints)
        return Pass(NAME, self.spec, record, printer, observer, actor, leaps, tenure)

    def _steady(self) -> float:
        return self.wire.stage.now

    def _backoff(self, what: str) -> Backoff:
        return Backoff(what, drawn(self.wire.draws.seed), self._steady)

    def _kept(self) -> Tenure:
        """A new process has a new name, and a thread that keeps its leases."""
        main, name = self.wire, f"{self.wire.name}{self.starts}"
        wire = Wire(f"{main.name}-keeper", main.stage, main.draws, main.situations)
        record = Record(self.path, self.clock, wire, self.promises)
        tenure = Tenure([NAME], Leases(record, name, TTL, clock=self._steady), self._steady)
        self.keeper = Keeper(self, wire, record, tenure)
        main.stage.enter(wire.name, self.keeper.live, when=main.stage.now)
        return tenure

    def _work(self, one: Pass) -> None:
        while not self.ended:
            self.passes += 1
            try:
                one.run()
                # The beat does: of what other replicas wrote, no pass tells.
                one.printer.print_new()
            except RecordError as error:
                self.troubles.append(str(error))
            self.wire.wait(self.poll.total_seconds() * self.pace)

    def _die(self) -> None:
        self.promises.died(self.wire.name)
        if self.keeper is not None:
            self.keeper.wire.dead = True
            self.keeper = None
        if self.record is not None:
            self.record.die()
            self.record = None

    def end(self) -> None:
        """Let go of the file."""
        self.ended = True
        self._die()
