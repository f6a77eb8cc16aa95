"""One process of the daemon: the real pass on the real store, until it dies, and the next one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from controller.daemon.act import Actor
from controller.daemon.collect import Collector
from controller.daemon.observe import Observer
from controller.daemon.passes import Pass
from controller.daemon.past import Past
from controller.record.errors import RecordError
from controller.record.printer import Printer
from controller.workspace.inference import Paths
from controller.workspace.serving import ServingSettings
from states.release import Spec
from tests.simulation.clients import Endpoints, Probes, Registry, Table, Traffic
from tests.simulation.platform import Platform
from tests.simulation.promises import Promises
from tests.simulation.record import Record
from tests.simulation.wire import Crash, Wire
from tests.states.story import MODEL

NAME = "rag-chatbot"


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
        actor = Actor(ends, registry, record, ServingSettings(model=MODEL))  # type: ignore[arg-type]
        return Pass(NAME, self.spec, record, Printer(record), observer, actor)

    def _work(self, one: Pass) -> None:
        while not self.ended:
            self.passes += 1
            try:
                one.run()
            except RecordError as error:
                self.troubles.append(str(error))
            self.wire.stage.wait(self.poll.total_seconds() * self.pace)

    def _die(self) -> None:
        self.promises.died(self.wire.name)
        if self.record is not None:
            self.record.die()
            self.record = None

    def end(self) -> None:
        """Let go of the file."""
        self.ended = True
        self._die()
