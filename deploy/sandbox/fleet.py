"""The workspace's side of the serving processes: start them, ask them, notice their end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.sandbox.temporary import SOCKET_PREFIX, temporary
from deploy.sandbox.worker import SIZES, Head, pack

_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_IMPORT_LIMIT_S = 180.0
_LINGER_S = 10.0
"""How long a process that is being replaced may still answer what it has taken."""


class ProcessEnded(Exception):  # noqa: N818 - it is an event of the world, not a mistake
    """A serving process has gone, or never came up; the text says why."""


@dataclass(frozen=True)
class Answer:
    """What a worker answered, and the milliseconds that the model took."""

    status: int
    media_type: str
    body: bytes
    execution_ms: float


@dataclass(eq=False)
class Process:
    """One connected process. `lost` runs once when its connection ends."""

    pid: int
    writer: asyncio.StreamWriter
    opening: "asyncio.Future[Head]"
    waiting: dict[int, "asyncio.Future[Answer]"] = field(default_factory=dict)
    lost: Callable[[], None] | None = None
    alive: bool = True
    cpu_s: float = 0.0
    rss: float = 0.0
    _count: int = 0

    async def ask(self, head: Head, body: bytes) -> Answer:
        """Send one request and wait for its answer; ProcessEnded if the process goes first."""
        if not self.alive:
            raise ProcessEnded("the process has ended")
        self._count += 1
        number = self._count
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting[number] = answer
        self.writer.write(pack({**head, "id": number}, body))
        return await answer

    def take(self, head: Head, body: bytes) -> None:
        """Deal with one frame from the process."""
        self.cpu_s = float(head.get("cpu_s", self.cpu_s))
        self.rss = float(head.get("rss", self.rss))
        if "id" not in head:
            if not self.opening.done():
                self.opening.set_result(head)
            return
        answer = self.waiting.pop(head["id"], None)
        # An answer that nobody waits for any more belongs to a request that ran out of time.
        if answer is not None and not answer.done():
            answer.set_result(Answer(head["status"], head["media_type"], body, head["ms"]))

    def end(self) -> None:
        """The connection has closed: fail what was waiting, and tell the owner."""
        self.alive = False
        self.writer.close()
        gone = ProcessEnded(f"process {self.pid} has ended")
        if not self.opening.done():
            self.opening.set_exception(gone)
            self.opening.exception()  # marked as seen: the starter may have given up already
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(gone)
        self.waiting.clear()
        if self.lost is not None:
            self.lost()

    def crash(self) -> None:
        """Kill the process as an accident would: its owner learns of it from the connection."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process at once. A dead connection means that the pid may be another's."""
        self.lost = None
        self.crash()

    async def retire(self) -> None:
        """End the process after it has answered what it has taken."""
        self.lost = None
        if self.waiting:
            await asyncio.wait(set(self.waiting.values()), timeout=_LINGER_S)
        self.kill()


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker is to load and where it writes."""

    label: str
    path: Path
    log: Path
    build_log: Path
    scratch: Path
    threads: int
    environment: dict[str, str]

    @property
    def head(self) -> Head:
        """The order as the zygote takes it."""
        places = ("path", "log", "build_log", "scratch")
        return {**vars(self), **{name: str(getattr(self, name)) for name in places}}


class Fleet:
    """The zygote, the socket that all processes connect to, and the processes themselves."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._server: asyncio.Server | None = None
        self._directory: Path | None = None
        self._stack = contextlib.ExitStack()
        self._zygote: asyncio.subprocess.Process | None = None
        self._zygote_line: Process | None = None
        self._expected: dict[str, asyncio.Future[Process]] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._processes: set[Process] = set()
        self._starting = asyncio.Lock()

    @property
    def socket(self) -> str:
        """The path of the Unix socket; short, because such paths may have 104 bytes only."""
        assert self._directory is not None, "start() makes the socket"
        return str(self._directory / "hub")

    async def start(self) -> None:
        """Open the socket; the zygote is warmed by `warm`, or by the first launch."""
        self._directory = self._stack.enter_context(temporary(SOCKET_PREFIX))
        self._server = await asyncio.start_unix_server(self._connected, self.socket)

    async def stop(self) -> None:
        """End every process and remove the socket."""
        for process in tuple(self._processes):
            process.kill()
        if self._zygote is not None and self._zygote.returncode is None:
            self._zygote.kill()
            await self._zygote.wait()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._stack.close()
        self._directory = None

    async def launch(self, order: Head, limit_s: float) -> Process:
        """Fork a worker and wait until it is ready to serve; ProcessEnded says what failed."""
        zygote = await self.warm()
        ticket = uuid.uuid4().hex
        coming: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._expected[ticket] = coming
        zygote.writer.write(pack({**order, "ticket": ticket, "socket": self.socket}))
        process: Process | None = None
        try:
            async with asyncio.timeout(limit_s):
                process = await coming
                opening = await asyncio.shield(process.opening)
        except TimeoutError as error:
            if process is not None:
                process.kill()
            raise ProcessEnded(f"the process was not ready within {limit_s:g} s") from error
        except asyncio.CancelledError:
            if process is not None:
                process.kill()
            raise
        finally:
            self._expected.pop(ticket, None)
        if "failed" in opening:
            raise ProcessEnded(str(opening["failed"]))
        return process

    async def warm(self) -> Process:
        """The zygote's connection; a zygote that has died is replaced."""
        async with self._starting:
            line = self._zygote_line
            if line is not None and line.alive:
                return line
            coming: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
            self._expected["zygote"] = coming
            environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
            # Many small processes on few cores: one thread each for linear algebra is the fastest.
            environment |= dict.fromkeys(_THREAD_COUNTS, "1")
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._zygote = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "deploy.sandbox.zygote", self.socket),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
            ended = asyncio.create_task(self._zygote.wait())
            either: set[asyncio.Future[Any]] = {ended, coming}
            await asyncio.wait(either, timeout=_IMPORT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not coming.done():
                raise ProcessEnded(f"the zygote did not start: see {self._log}")
            self._zygote_line = coming.result()
            return self._zygote_line

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the process at its other end has gone."""
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._readers.add(task)
        process: Process | None = None
        try:
            hello, _ = await _frame(reader)
            coming = self._expected.pop(hello["hello"], None)
            if coming is None or coming.done():
                # Its starter has given up: hanging up ends it.
                return
            opening: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
            process = Process(hello["pid"], writer, opening)
            self._processes.add(process)
            coming.set_result(process)
            while True:
                process.take(*await _frame(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._readers.discard(task)
            if process is None:
                writer.close()
            else:
                self._processes.discard(process)
                process.end()


async def _frame(reader: asyncio.StreamReader) -> tuple[Head, bytes]:
    """The next frame of a connection; IncompleteReadError when it has closed."""
    head_size, body_size = SIZES.unpack(await reader.readexactly(SIZES.size))
    content = await reader.readexactly(head_size + body_size)
    head: Head = json.loads(content[:head_size])
    return head, content[head_size:]
