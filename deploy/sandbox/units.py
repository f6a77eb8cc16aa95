"""A running served entity: its process, its queue, its sleep, and its return after a crash."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy.sandbox.endpoints import Entity
from deploy.sandbox.fleet import Answer, Fleet, Order, Process, ProcessEnded
from deploy.sandbox.rules import EntityFault
from deploy.sandbox.wire import ApiError, Json
from deploy.sandbox.workspace import Workspace

CREATING = "DEPLOYMENT_CREATING"
READY = "DEPLOYMENT_READY"
FAILED = "DEPLOYMENT_FAILED"
ABORTED = "DEPLOYMENT_ABORTED"
RECOVERING = "DEPLOYMENT_RECOVERING"
ASLEEP = "Scaled to zero"
"""What the state message of an entity without a process says; the entity stays ready."""

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
    asleep: bool = False
    """Whether it has scaled to zero: ready, without a process, until its next request."""
    used: float = 0.0
    """The workspace's time at which it last began a request, or came to serve."""
    _waking: "asyncio.Task[None] | None" = None
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
        self.process = None
        self.state, self.message = RECOVERING, "The served entity's process is being restarted."
        self._recovery = asyncio.create_task(self._bring_back())

    async def invoke(self, content_type: str, body: bytes) -> Answer:
        """Answer one request: 429 when the queue is full, 503 while there is no process."""
        settings = self.workspace.settings
        slots = self.entity.max_concurrency
        if self.state != READY or (self.process is None and not self.asleep):
            raise self._unavailable()
        if self.taken >= slots + slots * settings.queue_per_slot:
            raise ApiError(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                f"Exceeded max number of parallel requests of {self.entity.name}: {slots} "
                "executing and the queue is full. Please try again later.",
            )
        self.taken += 1
        self.used = self.workspace.clock()
        # The slot stays taken until the process has answered, even if the client was told 504.
        asking = asyncio.ensure_future(self._ask(content_type, body))
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

    def doze(self) -> None:
        """Scale to zero if it may and nobody has asked it for long enough."""
        idle_s = self.workspace.clock() - self.used
        awake = self.state == READY and not self.asleep and self.process is not None
        if not (self.entity.scale_to_zero and awake) or self.taken:
            return
        if idle_s >= self.workspace.settings.idle_s:
            self.asleep, self.message = True, ASLEEP
            self._end()

    def stall(self) -> None:
        """Take the process away, and let nothing bring it back but `recover`."""
        self.state, self.message = RECOVERING, "The served entity is being updated."
        self.asleep = False
        self._end()

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

    async def _ask(self, content_type: str, body: bytes) -> Answer:
        """Ask the process, which may have to be woken, and let a fault have its way."""
        if self.asleep:
            await self._wake()
        process = self.process
        if process is None:
            raise ProcessEnded("the process has ended")
        taken = self._fault("request")
        if taken is None:
            return await process.ask({"content_type": content_type}, body)
        fault, chance = taken
        if fault.crash:
            process.crash()
        status = fault.failure(chance)
        if status is None:
            answer = await process.ask({"content_type": content_type}, body)
        else:
            error = ApiError(status, "INTERNAL_ERROR", "a fault that the sandbox was asked for")
            answer = Answer(status, "application/json", bytes(error.response().body), 0.0)
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        whole = len(answer.body)
        shown = answer.body[: whole // 2] if fault.bad_payload else answer.body
        return replace(answer, body=shown, execution_ms=answer.execution_ms + fault.latency_ms)

    async def _wake(self) -> None:
        """Start the process of an entity that sleeps; requests that come meanwhile wait for it."""
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._launch())
        try:
            await asyncio.shield(self._waking)
        except asyncio.CancelledError:
            if not self._waking.cancelled():
                raise
            raise ProcessEnded("the served entity was taken away while it woke") from None

    def _fault(self, moment: str) -> tuple[EntityFault, random.Random] | None:
        """The fault that befalls this entity now, and its source of chance."""
        faults = self.workspace.faults
        if "entity" not in faults.rules:
            return None
        names = {"endpoint": self.endpoint, "entity": self.entity.name}
        taken = faults.take("entity", EntityFault, moment, **names)
        return None if taken is None else (taken[1], taken[0].chance)

    def _end(self) -> None:
        """End the process at once and forget it."""
        self._stop_recovery()
        if self.process is not None:
            self.process.kill()
            self.process = None

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
        taken = self._fault("start")
        if taken is not None:
            await asyncio.sleep(taken[0].slow_start_s)
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
            environment=self.workspace.vault.resolved(entity.environment),
        )
        process = await self.fleet.launch(order.head, self.workspace.settings.deploy_limit_s)
        if not process.alive:
            raise ProcessEnded("the process ended as soon as it was ready")
        process.lost = self.recover
        self.process = process
        self.state, self.message, self.asleep = READY, "", False
        self.used = self.workspace.clock()

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
        for task in (self._recovery, self._waking):
            if task is not None:
                task.cancel()


def unit_directory(workspace: Workspace, entity: Entity) -> Path:
    """Where the files of a served entity's process are, while it runs and after."""
    return workspace.settings.data / "serving" / entity.served_entity_id


def read_log(workspace: Workspace, entity: Entity, name: str) -> str:
    """A log of a served entity; empty before anything was written."""
    path = unit_directory(workspace, entity) / f"{name}.log"
    return path.read_text(errors="replace") if path.exists() else ""
