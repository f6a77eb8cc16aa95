"""What the tests act with: a workspace over HTTP, its users, the daemon and the console."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import requests
import yaml

from tests.end_to_end.forks import Fork
from tests.published import assert_as_published

Line = dict[str, Any]
CATALOG = "/api/2.1/unity-catalog/models"
ENDPOINTS = "/api/2.0/serving-endpoints"
POLL_S = 0.2
"""The daemon's pace in these tests."""
CHANGES = (b"PUT ", b"PATCH ", b"DELETE ", f"POST {ENDPOINTS}".encode())
"""How a request begins that changes an endpoint, an alias or a model."""
CUT_OFF = 400
PATIENCE_S = 45.0
"""Longest wait for anything: a machine may be busy with other things."""


def eventually(holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not in {within_s:g} s: {what}"
        time.sleep(0.02)


@dataclass
class Workspace:
    """The shared sandbox, as teams and operators of Databricks meet it."""

    host: str
    token: str
    files: Path
    """A saved model; every version of every model is one like it."""
    session: requests.Session = field(default_factory=requests.Session)
    calling: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Where clients find it."""
        return {"DATABRICKS_HOST": self.host, "DATABRICKS_TOKEN": self.token}

    def call(self, verb: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - JSON
        """One request that must succeed, and what was answered."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with self.calling:
            answer = self.session.request(
                verb, f"{self.host}{path}", headers=headers, timeout=30, **more
            )
        assert answer.ok, f"{verb} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def register(self, model: str, files: Path | None = None) -> str:
        """Register one more version of a model, and the model with its first one.

        `files` are the version's own, where it is not like the others.
        """
        files = files or self.files
        catalog, schema, name = model.split(".")
        known = self.call("GET", CATALOG, params={"catalog_name": catalog, "schema_name": schema})
        place = {"catalog_name": catalog, "schema_name": schema}
        if model not in {one["full_name"] for one in known["registered_models"]}:
            self.call("POST", CATALOG, json={"name": name, **place})
        about = {"model_name": name, "source": "file", **place}
        version = self.call("POST", f"{CATALOG}/versions", json=about)["version"]
        for file in files.rglob("*"):
            if file.is_file():
                path = f"/Models/{catalog}/{schema}/{name}/{version}/{file.relative_to(files)}"
                self.call("PUT", f"/api/2.0/fs/files{path}", data=file.read_bytes())
        self.call("PATCH", f"{CATALOG}/{model}/versions/{version}/finalize", json={})
        return str(version)

    def point(self, model: str, alias: str, version: str) -> None:
        """Make an alias name a version."""
        path = f"{CATALOG}/{model}/aliases/{alias}"
        self.call("PUT", path, json={"version_num": int(version)})

    def alias(self, model: str, alias: str = "production") -> str | None:
        """The version that an alias names."""
        found = self.call("GET", f"{CATALOG}/{model}", params={"include_aliases": "true"})
        named = {one["alias_name"]: str(one["version_num"]) for one in found.get("aliases", [])}
        return named.get(alias)

    def serve(self, endpoint: str, model: str, split: dict[str, int], *, new: bool) -> None:
        """Serve versions with these percentages, as somebody does by hand."""
        entities = [
            {
                "name": f"hand-{version}",
                "entity_name": model,
                "entity_version": version,
                "workload_size": "Small",
                "scale_to_zero_enabled": False,
            }
            for version in split
        ]
        routes = [
            {"served_entity_name": f"hand-{version}", "traffic_percentage": weight}
            for version, weight in split.items()
        ]
        config = {"served_entities": entities, "traffic_config": {"routes": routes}}
        if new:
            table = {"catalog_name": "main", "schema_name": "e2e", "enabled": True}
            gateway = {"inference_table_config": table}
            body = {"name": endpoint, "config": config, "ai_gateway": gateway}
            self.call("POST", ENDPOINTS, json=body)
        else:
            self.call("PUT", f"{ENDPOINTS}/{endpoint}/config", json=config)

    def split(self, endpoint: str) -> dict[str, int]:
        """The percentage of users that each version on the endpoint gets."""
        config = self.call("GET", f"{ENDPOINTS}/{endpoint}").get("config") or {}
        versions = {one["name"]: one["entity_version"] for one in config.get("served_entities", [])}
        routes = config.get("traffic_config", {}).get("routes", [])
        return {versions[one["served_entity_name"]]: one["traffic_percentage"] for one in routes}

    def fault(self, **fault: object) -> None:
        """Let a fault befall the next matching request."""
        self.call("POST", "/_sandbox/faults", json={"faults": [fault]})

    def writes(self, path: str) -> list[str]:
        """Every mutation that was asked for and whose path ends so, as verb and path.

        One that a kill cut off before it was whole (400) asked for nothing.
        """
        asked = self.call("GET", "/_sandbox/requests", params={"since": 0})["requests"]
        return [
            f"{one['method']} {one['path']}"
            for one in asked
            if one["method"] != "GET" and one["path"].endswith(path) and one["status"] != CUT_OFF
        ]

    def reads(self, path: str, after: datetime, before: datetime) -> int:
        """How often what has this path was read between two moments."""
        asked = self.call("GET", "/_sandbox/requests", params={"since": 0})["requests"]
        return sum(
            one["method"] == "GET"
            and one["path"].endswith(path)
            and after.timestamp() <= one["time"] <= before.timestamp()
            for one in asked
        )


@dataclass
class Course:
    """One application of a test's own: a model, an endpoint that serves it, and a name."""

    workspace: Workspace
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Its model in Unity Catalog."""
        return f"main.e2e.{self.name}"

    @property
    def endpoint(self) -> str:
        """Its endpoint."""
        return f"{self.name}-endpoint"

    def register(self, files: Path | None = None) -> str:
        """Register its next version."""
        return self.workspace.register(self.model, files)

    def open(self) -> Self:
        """Let version 1 have all users, as before there was a Headgate."""
        self.workspace.point(self.model, "production", self.register())
        self.workspace.serve(self.endpoint, self.model, {"1": 100}, new=True)
        return self

    def ready(self) -> Self:
        """Wait until the endpoint answers."""
        eventually(lambda: self.split, f"{self.endpoint} answers")
        return self

    @property
    def split(self) -> dict[str, int]:
        """The percentage of users that each of its versions gets."""
        return self.workspace.split(self.endpoint)

    @property
    def alias(self) -> str | None:
        """The version that its alias names."""
        return self.workspace.alias(self.model)

    @property
    def updates(self) -> int:
        """How often anyone asked to change the configuration of its endpoint."""
        return len(self.workspace.writes(f"/{self.endpoint}/config"))

    @property
    def application(self) -> dict[str, Any]:
        """Its part of a configuration file: seconds where production has minutes."""
        quick = {
            "model": self.model,
            "endpoint": self.endpoint,
            "serving": {"environment": "none"},
            "evidence": {"every": "200ms"},
            # Latency is reported: its proof takes 137 requests of the candidate on every step.
            "guards": {"errors": {"margin": "16pp"}, "latency": {"observe": True}},
            "rollout": {
                "steps": [20, 50, 100],
                "settle": "0s",
                "min_step": "100ms",
                "bake": "300ms",
                "watch": "300ms",
            },
            "tests": [{"query": "What is Delta?", "expect": {"answer_contains": ["ACID"]}}],
        }
        rollout = {**quick["rollout"], **self.settings.get("rollout", {})}  # type: ignore[dict-item]
        return {**quick, **self.settings, "rollout": rollout}


class Repeating:
    """A thread that does one thing again and again, within a `with` block."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def once(self) -> None:
        """The thing."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._over.wait(self._pause_s):
            self.once()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.leave()

    def leave(self) -> None:
        """Give back what it holds."""


class Users(Repeating):
    """Users of an endpoint, and the statuses that they met."""

    def __init__(self, course: Course, pause_s: float = 0.02) -> None:
        super().__init__(pause_s)
        self._url = f"{course.workspace.host}/serving-endpoints/{course.endpoint}/invocations"
        self._headers = {"Authorization": f"Bearer {course.workspace.token}"}
        self._session = requests.Session()
        self.statuses: list[int] = []

    def once(self) -> None:
        """Ask one question."""
        body = {"dataframe_records": [{"query": "What is Delta?"}]}
        answer = self._session.post(self._url, json=body, headers=self._headers, timeout=30)
        self.statuses.append(answer.status_code)

    def leave(self) -> None:
        """End the connection."""
        self._session.close()


class Splits(Repeating):
    """Every split of an endpoint's users that could be seen, in order, without repetition."""

    def __init__(self, course: Course) -> None:
        super().__init__(0.03)
        self._course = course
        self.seen: list[dict[str, int]] = []

    def once(self) -> None:
        """Look."""
        split = self._course.split
        if split not in self.seen[-1:]:
            self.seen.append(split)

    @property
    def exposures(self) -> list[int]:
        """The percentages that version 2 was seen to have, in order, without repetition."""
        found: list[int] = []
        for split in self.seen:
            if split.get("2", 0) not in found[-1:]:
                found.append(split.get("2", 0))
        return found


@dataclass(frozen=True)
class Said:
    """What a command of the console answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command prints
        """Its answer, where it was asked for JSON."""
        return json.loads(self.out)


@dataclass
class Command:
    """A command of the console that runs, and what it has said so far."""

    process: Fork | subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def finish(self) -> Said:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_S)
        said = []
        for file in (self.out, self.err):
            if file.seekable():
                file.seek(0)
            said.append(file.read().decode())
            file.close()
        return Said(code, *said)


def begin(
    *arguments: str | Path, environment: dict[str, str], wrapper: tuple[str, ...] = ()
) -> Command:
    """Start a command of the console; within a wrapper, as a Python of its own."""
    told = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    words = [str(one) for one in arguments]
    if wrapper:
        command = [*wrapper, sys.executable, "-m", "controller", *words]
        # Pipes, which no limit on the size of files reaches.
        process = subprocess.Popen(
            command, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        return Command(process, process.stdout, process.stderr)
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - read at the end
    return Command(Fork(words, told, out.fileno(), err.fileno()), out, err)


def headgate(*arguments: str | Path, **environment: str) -> Said:
    """Run a command of the console."""
    return begin(*arguments, environment=environment).finish()


def ask_twice(daemon: "Daemon", *question: str) -> tuple[Said, Said]:
    """Ask the store and the log the same, at the same time."""
    store = begin(*question, "--store", daemon.url, environment={})
    log = begin(*question, "--logs", daemon.log, environment={})
    return store.finish(), log.finish()


class Daemon:
    """The daemon on one store; it can be killed and started again, as operators do."""

    def __init__(self, folder: Path, courses: list[Course], **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store, self.log = folder / "headgate.db", folder / "headgate.log"
        self.errors, self.config = folder / "headgate.err", folder / "headgate.yaml"
        self.url = environment.get("HEADGATE_STORE", f"sqlite:///{self.store}")
        content = {"applications": {one.name: one.application for one in courses}}
        self.config.write_text(yaml.safe_dump(content))
        self.log.touch()
        self._home = folder
        self._environment = environment
        self._processes: list[tuple[subprocess.Popen[bytes], Fork]] = []
        self._read, self._lines = 0, list[Line]()

    @property
    def environment(self) -> dict[str, str]:
        """Its own environment, and no other variable."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "PYTHONUNBUFFERED": "1",
            "HEADGATE_STORE": self.url,
            "HEADGATE_POLL": f"{POLL_S * 1000:g}ms",
            "HEADGATE_LOG": "json",
            "HEADGATE_HTTP": "off",
            "DATABRICKS_WAREHOUSE_ID": "sandbox",
            **self._environment,
        }

    @property
    def process(self) -> Fork:
        """The one that runs, or ran last."""
        return self._processes[-1][1]

    def start(self) -> Self:
        """Start it, and wait until it has begun to look after its applications."""
        # By its number: after a kill, the last lines of the life before are told once more.
        begun = {line["seq"] for line in self.told("daemon.started")}

        def started() -> bool:
            return any(line["seq"] not in begun for line in self.told("daemon.started"))

        # The log goes through a pipe: a limit on the daemon's files must not reach the log.
        with self.log.open("ab") as log:
            writer = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=log)
            assert writer.stdin is not None
            with writer.stdin as pipe:
                self._begin(writer, pipe.fileno())
        eventually(lambda: self._alive() and started(), "it has started")
        return self

    def start_unheard(self) -> Self:
        """Start it with a log whose disk has no room for a byte, and wait for nothing."""
        with Path("/dev/full").open("wb") as full:
            self._begin(subprocess.Popen(["/bin/true"]), full.fileno())
        return self

    def lose_reader(self) -> None:
        """Let whoever reads its log die; what was in the pipe dies with it."""
        writer, _ = self._processes[-1]
        writer.kill()
        writer.wait(PATIENCE_S)

    def stall_reader(self) -> None:
        """Let whoever reads its log fall asleep, with room for no more than a page."""
        writer, _ = self._processes[-1]
        writer.send_signal(signal.SIGSTOP)
        pipe = os.open(f"/proc/{writer.pid}/fd/0", os.O_WRONLY)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE"))
        os.close(pipe)

    def wake_reader(self) -> None:
        """Let it read on."""
        self._processes[-1][0].send_signal(signal.SIGCONT)

    def _begin(self, writer: subprocess.Popen[bytes], out: int) -> None:
        command = ["run", "--config", str(self.config)]
        with self.errors.open("ab") as errors:
            process = Fork(command, self.environment, out, errors.fileno())
        self._processes.append((writer, process))

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.errors.read_text()
        return True

    def kill(self) -> None:
        """Kill it as `kill -9` does, and wait until all that it said is in the log."""
        code = self._end(signal.SIGKILL)
        assert code == -signal.SIGKILL, f"it had ended with {code}: {self.errors.read_text()}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        return self._end(number)

    def _end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._processes[-1][0].wait(PATIENCE_S)
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer, process in self._processes:
            process.kill()
            process.wait(PATIENCE_S)
            writer.wait(PATIENCE_S)

    @property
    def lines(self) -> list[Line]:
        """Its log so far, all its lives together; every line is as published."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            fresh = log.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        told = [json.loads(line) for line in whole.splitlines()]
        assert_as_published(told)
        self._lines += told
        return self._lines

    def told(self, event: str, **fields: object) -> list[Line]:
        """The lines of an event with these fields."""
        return [
            line
            for line in self.lines
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    def count(self, event: str, **fields: object) -> int:
        """How many lines of an event there are."""
        return len(self.told(event, **fields))

    def until(self, event: str, **fields: object) -> Line:
        """Wait for an event with these fields; its line."""
        eventually(
            lambda: self._alive() and self.told(event, **fields),
            f"{event} {fields}; the log ends with {self.lines[-1:]}",
        )
        return self.told(event, **fields)[-1]

    def journal(self) -> list[Line]:
        """What the store has written down."""
        said = headgate("history", "--json", "--store", self.url)
        assert said.code == 0, said.err
        return [json.loads(line) for line in said.out.splitlines()]

    def assert_nothing_is_missing(self) -> None:
        """The journal has no gap, and the log has every line of it."""
        journal = [line["seq"] for line in self.journal()]
        assert journal == list(range(1, len(journal) + 1))
        assert {line["seq"] for line in self.lines if "seq" in line} == set(journal)


class Bridge:
    """A network that can be missing: a port which leads to the workspace once it is opened."""

    def __init__(self, workspace: Workspace) -> None:
        host, _, port = workspace.host.removeprefix("http://").partition(":")
        self._far = (host, int(port))
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.host = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.changes: list[float] = []
        """When a change of the workspace was asked for over it, on this machine's clock."""
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Let connections through from now on."""
        self._socket.listen()
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                far = socket.create_connection(self._far)
                self._spawn(_copy, near, far, self._heard)
                self._spawn(_copy, far, near)

    def _heard(self, data: bytes) -> None:
        # Nobody asks twice before the first answer, so a request begins with what is received.
        if data.startswith(CHANGES):
            self.changes.append(time.time())

    def close(self) -> None:
        """End the network; the connections over it end with their clients."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def _copy(
    source: socket.socket, target: socket.socket, heard: Callable[[bytes], None] = lambda _: None
) -> None:
    with source:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                heard(data)
                target.sendall(data)
        # Also of one that was killed, which ends with an error: the other side would wait for it.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class Showing:
    """One `headgate demo`, in a temporary directory of its own by which its parts are known."""

    def __init__(self, folder: Path) -> None:
        self.temporary, self.log = folder / "tmp", folder / "headgate.log"
        self._out = folder / "out.txt"
        self.temporary.mkdir()
        command = [sys.executable, "-m", "controller", "demo", "--logs", str(self.log)]
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **self._mark},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def _mark(self) -> dict[str, str]:
        return {"TMPDIR": str(self.temporary), "COLUMNS": "200"}

    @property
    def out(self) -> str:
        """What it has told so far."""
        return self._out.read_text()

    @property
    def parts(self) -> list[int]:
        """Its processes that run: all of them inherit its temporary directory."""
        mark, found = f"TMPDIR={self.temporary}".encode(), []
        for entry in Path("/proc").iterdir():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    @property
    def leftovers(self) -> list[object]:
        """What it has left behind: processes and temporary files."""
        return [*self.parts, *self.temporary.iterdir()]

    def end(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
