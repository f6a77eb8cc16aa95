"""A running served entity: its process, its state, its queue, and its return after a crash."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from deploy.sandbox.endpoints import Entity
from deploy.sandbox.fleet import Answer, Fleet, Order, Process, ProcessEnded
from deploy.sandbox.wire import ApiError, Json
from deploy.sandbox.workspace import Workspace

CREATING = "DEPLOYMENT_CREATING"
READY = "DEPLOYMENT_READY"
FAILED = "DEPLOYMENT_FAILED"
ABORTED = "DEPLOYMENT_ABORTED"
RECOVERING = "DEPLOYMENT_RECOVERING"

_PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses before successive attempts to bring a crashed process back; the last one repeats."""


@dataclass(eq=False)
class Unit:
    """One served entity of one endpoint, in a process of its own."""

    workspace: Workspace
    fleet: Fleet
    endpoint: str
    entity: Entity
    state: str = CREATING
    message: str = "Creating the served entity."
    taken: int = 0
    """Requests that are executing or queued."""
    process: Process | None = None
    _recovery: "asyncio.Task[None] | None" = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first attempt to load the model has ended, either way."""

    @property
    def directory(self) -> Path:
        """Where the process's logs and scratch files are."""
        return unit_directory(self.workspace, self.entity)

    async def deploy(self) -> bool:
        """Load the model for the first time; False when it failed, and `message` says why."""
        try:
            await self._launch()
        except ProcessEnded as ended:
            self.state, self.message = FAILED, f"Served entity creation failed: {ended}"
            return False
        finally:
            self.settled.set()
        return True

    def recover(self) -> None:
        """Bring the process (back) in the background: after a crash, or a workspace's restart."""
        self.state, self.message = RECOVERING, "The served entity's process is being restarted."
        self._recovery = asyncio.create_task(self._bring_back())

    async def invoke(self, content_type: str, body: bytes) -> Answer:
        """Answer one request: 429 when the queue is full, 503 while there is no process."""
        settings = self.workspace.settings
        slots = self.entity.max_concurrency
        if self.state != READY or self.process is None:
            raise self._unavailable()
        if self.taken >= slots + slots * settings.queue_per_slot:
            raise ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                f"Exceeded max number of parallel requests of {self.entity.name}: {slots} "
                "executing and the queue is full. Please try again later.",
            )
        self.taken += 1
        # The slot stays taken until the process has answered, even if the client was told 504.
        asking = asyncio.ensure_future(self.process.ask(content_type, body))
        asking.add_done_callback(self._released)
        try:
            async with asyncio.timeout(settings.execution_limit_s):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            raise ApiError(
                504,
                "DEADLINE_EXCEEDED",
                f"The model did not answer within {settings.execution_limit_s:g} s.",
            ) from error
        except ProcessEnded as ended:
            raise self._unavailable() from ended

    async def retire(self) -> None:
        """End the process after it has answered what it has taken."""
        self._stop_recovery()
        if self.process is not None:
            await self.process.retire()

    def kill(self) -> None:
        """End the process at once."""
        self._stop_recovery()
        if self.process is not None:
            self.process.kill()

    def status(self) -> Json:
        """The entity's state as GET shows it."""
        return {"deployment": self.state, "deployment_state_message": self.message}

    def log(self, name: str) -> str:
        """What the process has written: `build` while it loaded the model, `serve` since."""
        return read_log(self.workspace, self.entity, name)

    def _released(self, asked: "asyncio.Future[Answer]") -> None:
        """Free the slot; looking at the outcome marks it as seen when the client has left."""
        self.taken -= 1
        if not asked.cancelled():
            asked.exception()

    def _unavailable(self) -> ApiError:
        return ApiError(
            503,
            "TEMPORARILY_UNAVAILABLE",
            f"Served entity {self.entity.name} of endpoint {self.endpoint} is not ready: "
            f"{self.state}.",
        )

    async def _launch(self) -> None:
        """Start the process and wait until it serves."""
        entity = self.entity
        version = self.workspace.registry.version(entity.entity_name, entity.entity_version)
        if version is None:
            raise ProcessEnded(
                f"model version {entity.entity_name} {entity.entity_version} is no longer there"
            )
        order = Order(
            label=f"{entity.entity_name} version {entity.entity_version}",
            path=version.path,
            log=self.directory / "serve.log",
            build_log=self.directory / "build.log",
            scratch=self.directory / "scratch",
            threads=entity.max_concurrency,
            environment=entity.environment,
        )
        process = await self.fleet.launch(order, self.workspace.settings.deploy_limit_s)
        if not process.alive:
            raise ProcessEnded("the process ended as soon as it was ready")
        process.lost = self.recover
        self.process = process
        self.state, self.message = READY, ""

    async def _bring_back(self) -> None:
        """Try until the process serves again."""
        attempt = 0
        while True:
            await asyncio.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])
            try:
                await self._launch()
            except ProcessEnded as ended:
                self.message = f"Restarting the served entity failed: {ended}"
            else:
                return
            finally:
                self.settled.set()
            attempt += 1

    def _stop_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()


def unit_directory(workspace: Workspace, entity: Entity) -> Path:
    """Where the files of a served entity's process are, while it runs and after."""
    return workspace.settings.data / "serving" / entity.served_entity_id


def read_log(workspace: Workspace, entity: Entity, name: str) -> str:
    """A log of a served entity; empty before anything was written."""
    path = unit_directory(workspace, entity) / f"{name}.log"
    return path.read_text(errors="replace") if path.exists() else ""
