"""One process of the daemon: the real pass on the real store, until it dies, and the next one."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from controller.daemon.act import Actor
from controller.daemon.collect import Collector
from controller.daemon.observe import Observer
from controller.daemon.passes import Pass
from controller.daemon.past import Past
from controller.record.errors import RecordError
from controller.record.leases import Lease, Leases
from controller.record.printer import Printer
from controller.workspace.inference import Paths
from controller.workspace.serving import ServingSettings
from states.plan import Call
from states.release import Application, Spec
from tests.simulation.clients import Endpoints, Probes, Registry, Table, Traffic
from tests.simulation.platform import Platform
from tests.simulation.promises import Promises
from tests.simulation.record import Record
from tests.simulation.wire import Crash, Wire
from tests.states.story import MODEL

NAME = "rag-chatbot"


TTL = timedelta(seconds=60)
RENEW_S = 15.0
LEAST_LEFT_S = 20.0
"""A call is only sent while the lease is ours for so long: twice its deadline."""


@dataclass
class Guarded(Actor):
    """Hands that look at the lease once more, after the commit and before a call."""

    left_s: Callable[[], float] = lambda: 0.0
    withheld: Callable[[], None] = lambda: None

    def send(self, application: Application, call: Call, number: int) -> None:
        if self.left_s() < LEAST_LEFT_S:
            self.withheld()
            return
        super().send(application, call, number)


@dataclass
class Keeper:
    """The thread of a process that renews its leases, with a connection of its own."""

    replica: "Replica"
    name: str
    wire: Wire
    record: Record
    leases: Leases
    held: Lease | None = None

    def keep(self) -> None:
        """Renew and share as long as the process lives, and no longer: it dies whole."""
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
            with suppress(RecordError):
                self._share()
            self.wire.wait(RENEW_S * self.replica.pace)

    def _share(self) -> None:
        alive = self.leases.renew()
        held = self.leases.share([NAME]).get(NAME) if alive else None
        told, before = self.wire.situations, self.held
        told["lease taken"] += held is not None and held != before
        told["lease lost"] += held is None and before is not None
        self.held = held


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
    keeper: Keeper | None = None
    starts: int = 0
    passes: int = 0
    record: Record | None = None
    ended: bool = False
    pace: float = 1.0
    """Polls between two passes; the campaign slows down once nothing is left to do."""
    troubles: list[str] = field(default_factory=list)

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
        table, paths = Table(wire, platform, promises), Paths()
        observer = Observer(
            endpoints=ends,  # type: ignore[arg-type]
            registry=registry,  # type: ignore[arg-type]
            probes=probes,  # type: ignore[arg-type]
            traffic=traffic,  # type: ignore[arg-type]
            collector=Collector(table, probes, traffic, record.now, paths),
            past=Past(table, paths),
            poll=self.poll,
        )
        settings = ServingSettings(model=MODEL)
        actor = Actor(ends, registry, record, settings)  # type: ignore[arg-type]
        if self.by_lease:
            self.keeper = keeper = self._kept()
            record.held = lambda: keeper.held
            actor = Guarded(
                ends,  # type: ignore[arg-type]
                registry,  # type: ignore[arg-type]
                record,
                settings,
                left_s=lambda: keeper.leases.left_s,
                withheld=self._withheld,
            )
        return Pass(NAME, self.spec, record, Printer(record), observer, actor)

    def _kept(self) -> Keeper:
        """A new process has a new name, and a thread that keeps its leases."""
        main, name = self.wire, f"{self.wire.name}{self.starts}"
        wire = Wire(f"{main.name}-keeper", main.stage, main.draws, main.situations)
        record = Record(self.path, self.clock, wire, self.promises)
        leases = Leases(record, name, TTL, monotonic=lambda: main.stage.now)
        keeper = Keeper(self, name, wire, record, leases)
        main.stage.enter(wire.name, keeper.keep, when=main.stage.now)
        return keeper

    def _withheld(self) -> None:
        self.wire.situations["call withheld by the send guard"] += 1
        self.promises.unsent.pop(self.wire.name, None)

    def _work(self, one: Pass) -> None:
        while not self.ended:
            self.passes += 1
            if self.keeper is None or self.keeper.held is not None:
                try:
                    one.run()
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
