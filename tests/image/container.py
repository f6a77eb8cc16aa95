"""The daemon in its container, and who else the check needs: users, and a team."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.sandbox.launch import Sandbox
from tests.image.engine import ROOT, Engine, NotSoError
from tests.image.facts import USER, VOLUME

BARE = "localhost/headgate:check-bare"
NAME = "headgate-image-check"
CONFIG = ROOT / "deploy/sandbox/demo/headgate.yaml"
ENDPOINT, MODEL = "rag-chatbot-endpoint", "main.ml_models.rag_chatbot"
STOP_S = 30
READ_ONLY = "Read-only file system"
STORE = {"headgate.db", "headgate.db.lock", "headgate.db-journal"}
Line = dict[str, Any]


class Container:
    """The daemon in its container."""

    def __init__(self, engine: Engine, sandbox: Sandbox, volume: Path, port: int) -> None:
        self._engine, self.port = engine, port
        user = int(USER.partition(":")[0])
        volume.mkdir(mode=0o700)
        os.chown(volume, user, user)
        told = {
            "DATABRICKS_HOST": sandbox.host,
            "DATABRICKS_TOKEN": sandbox.token,
            "DATABRICKS_WAREHOUSE_ID": "sandbox",
            "HEADGATE_POLL": "1s",
            "HEADGATE_HTTP": f"127.0.0.1:{port}",
        }
        self.begun = time.time()
        started = engine.tried(
            *("podman", "run", "--detach", "--name", NAME, "--network", "host", "--read-only"),
            *("--read-only-tmpfs=false", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges", "--volume", f"{volume}:{VOLUME}"),
            *("--mount", f"type=bind,source={CONFIG},target=/etc/headgate/headgate.yaml,ro"),
            *(part for name in told for part in ("--env", name)),
            BARE,
            told=told,
        )
        if started.returncode:
            raise RuntimeError(started.stderr)
        self.pid = int(self._state("Pid"))

    def _state(self, what: str) -> str:
        return self._engine.run("podman", "inspect", "--format", f"{{{{.State.{what}}}}}", NAME)

    def lines(self) -> list[Line]:
        """Its log so far."""
        told = self._engine.run("podman", "logs", NAME)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def until(self, holds: Callable[[list[Line]], bool], what: str, within_s: float) -> None:
        """Wait until its log tells of something."""
        end = time.monotonic() + within_s
        while not holds(lines := self.lines()):
            if self._state("Status") != "running" or time.monotonic() > end:
                told = [f"{one['event']}: {one.get('because')}" for one in lines[-10:]]
                raise NotSoError("\n  ".join([f"{what}: not in {within_s:g} s", *told]))
            time.sleep(0.2)

    def status(self) -> dict[str, str]:
        """What the kernel tells of its first process."""
        told = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in told)}

    def resident_mb(self) -> float:
        """Its resident memory."""
        return int(self.status()["VmRSS"].split()[0]) / 1024

    def confined(self) -> Iterator[str]:
        """How it is less confined than it should be."""
        status, user = self.status(), USER.partition(":")[0]
        if set(status["Uid"].split()) != {user} or set(status["Gid"].split()) != {user}:
            yield f"it runs as {status['Uid']}, {status['Gid']}"
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            if int(status[name], 16):
                yield f"{name} is {status[name]}"
        if status["NoNewPrivs"] != "1":
            yield "it may gain privileges"
        mounts = Path(f"/proc/{self.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        writable = {
            fields[4]
            for fields in map(str.split, mounts)
            if "rw" in fields[5].split(",") and not fields[4].startswith(("/proc", "/dev", "/sys"))
        }
        if writable != {VOLUME}:
            yield f"it may write to {sorted(writable)}"

    def wrote(self, volume: Path) -> Iterator[str]:
        """What it wrote, or tried to write, that is not its store."""
        left = {one.name for one in volume.iterdir()}
        if strange := left - STORE:
            yield f"its volume holds {sorted(strange)}"
        if shared := list(Path("/proc", str(self.pid), "root", "dev", "shm").iterdir()):
            yield f"its shared memory holds {shared}"
        logs = self._engine.tried("podman", "logs", NAME)
        if READ_ONLY in logs.stdout + logs.stderr:
            yield "its log tells of what it could not write"

    def health(self) -> Iterator[str]:
        """What is wrong with the health check of the image, and with the command beside it."""
        asked = self._engine.tried("podman", "healthcheck", "run", NAME)
        if asked.returncode:
            yield f"the health check fails: {asked.stdout}{asked.stderr}"
        ready = ("podman", "exec", NAME, "python", "-m", "controller.health", "--ready")
        if (done := self._engine.tried(*ready)).returncode:
            yield f"it is not ready: {done.stderr}"
        elsewhere = (*ready[:2], "--env", "HEADGATE_HTTP=127.0.0.1:9", *ready[2:])
        if self._engine.tried(*elsewhere).returncode != 1:
            yield "the health check is content with a port where nobody listens"
        told = self._engine.tried("podman", "exec", NAME, "headgate", "status", "--json")
        states = [(one["version"], one["state"]) for one in json.loads(told.stdout or "[]")]
        if states != [("2", "Production")]:
            yield f"`headgate status` tells of {states} {told.stderr}"

    def stop(self) -> Iterator[str]:
        """What is wrong with how it ends on SIGTERM."""
        begun = time.monotonic()
        self._engine.run("podman", "stop", "--time", str(STOP_S), NAME)
        if time.monotonic() - begun > STOP_S:
            yield f"it did not end within {STOP_S} s"
        if (code := self._state("ExitCode")) != "0":
            yield f"its exit code is {code}"
        if not any(one["event"] == "daemon.stopped" for one in self.lines()[-5:]):
            yield "its log does not end with daemon.stopped"


@contextlib.contextmanager
def company(sandbox: Sandbox, folder: Path) -> Iterator[Callable[[str], None]]:
    """Users who ask the endpoint as long as the block lasts; how to register a version."""
    told = {**os.environ, "DATABRICKS_HOST": sandbox.host, "DATABRICKS_TOKEN": sandbox.token}
    outcomes, words = folder / "users.jsonl", folder / "company.log"
    asking = ("--endpoint", ENDPOINT, "--rate", "60", "--threads", "8", "--for", "600")
    with words.open("w") as log, contextlib.ExitStack() as stack:

        def start(part: str, *arguments: object) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", f"deploy.sandbox.demo.{part}", *map(str, arguments)],
                env={**told, "TMPDIR": str(folder)},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            return process

        start("users", *asking, "--out", outcomes)
        team = start("team", "--model", MODEL)
        assert team.stdin is not None, "piped"
        assert team.stdout is not None, "piped"
        into, out = team.stdin, team.stdout
        ready = out.readline()
        assert ready, words.read_text()

        def register(version: str) -> None:
            into.write(f"{version}\n")
            into.flush()
            if not out.readline():
                raise NotSoError(f"version {version} is registered: {words.read_text()}")

        yield register
