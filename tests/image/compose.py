"""The try-out of compose.yaml, as far as it goes without Docker: `make compose-check`.

podman-compose reads the very file; daemon and sandbox are built by the real Dockerfile. The image
of PostgreSQL is in a registry: in its place stands one with the PostgreSQL of the tests
(`stand_in`), so that user, secret, volume, command and health check are those of the file. Who
waits for whom is this check's doing: podman asks for health by timers of systemd, which a machine
need not have.
"""

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import requests

from tests.image.check import expect
from tests.image.container import MODEL, Line
from tests.image.engine import HOME, ROOT, Engine, MissingError, NotSoError
from tests.image.facts import USER

PROJECT = HOME / "compose"
DATABASE = "docker.io/library/postgres:17-bookworm"
PAGE = "http://127.0.0.1:8350"
UP_S, RELEASE_S, ANSWER_S = 60, 120, 5
READY = "pg_isready"


class Composed:
    """The three services of the file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tool = engine.tools() / "podman_compose.py"
        self.token = secrets.token_hex(32)

    def __call__(
        self, *arguments: str, told: str | None = None, within_s: float = UP_S
    ) -> CompletedProcess[str]:
        """One command of the composer."""
        return self._engine.tried(
            *(sys.executable, self._tool, "--file", PROJECT / "compose.yaml", *arguments),
            told={"HEADGATE_USER": USER},
            into=told,
            within_s=within_s,
        )

    def prepare(self) -> None:
        """Lay the file, the configuration beside it, and the secrets as README.md says."""
        shutil.rmtree(PROJECT, ignore_errors=True)
        kept, user = PROJECT / "secrets", int(USER.partition(":")[0])
        kept.mkdir(parents=True, mode=0o700)
        os.chown(kept, user, user)
        told = {"token": self.token, "postgres-password": secrets.token_hex(32)}
        for name, secret in told.items():
            file = kept / name
            file.touch(mode=0o600)
            file.write_text(f"{secret}\n", encoding="ascii")
            os.chown(file, user, user)
        for name in ("compose.yaml", "sandbox/demo/headgate.yaml"):
            (PROJECT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "deploy" / name, PROJECT / name)

    def up(self, *services: str) -> None:
        """Start some of them."""
        done = self("up", "--detach", "--no-build", *services)
        if done.returncode:
            raise NotSoError(f"{services} start\n{done.stdout}{done.stderr}")

    def healthy(self, service: str) -> bool:
        """Whether its own health check passes."""
        asked = ("podman", "healthcheck", "run", f"headgate_{service}_1")
        return not self._engine.tried(*asked).returncode

    def lines(self) -> list[Line]:
        """The daemon's log so far."""
        told = self._engine.run("podman", "logs", "headgate_daemon_1")
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def until(self, holds: Callable[[], bool], what: str, within_s: float) -> None:
        """Wait until something holds."""
        end = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > end:
                told = self("logs")
                raise NotSoError(
                    f"{what}: not in {within_s:g} s\n{(told.stdout + told.stderr)[-4000:]}"
                )
            time.sleep(1)


def database(engine: Engine, of: str) -> None:
    """An image in place of PostgreSQL's own."""
    container = engine.run("buildah", "from", of)
    try:
        script = ROOT / "tests/image/stand_in.py"
        engine.run("buildah", "copy", container, script, "/stand_in.py")
        root = Path(engine.run("buildah", "mount", container))
        # Its own image lets whoever runs it own a cluster, and has its commands on the path.
        with (root / "etc/passwd").open("a") as names:
            names.write(f"postgres:x:{USER}::/:/usr/sbin/nologin\n")
        [found] = root.glob(f"opt/headgate/lib/python3*/site-packages/*/pginstall/bin/{READY}")
        (root / "usr/bin" / READY).symlink_to(f"/{found.relative_to(root)}")
        data = root / "var/lib/postgresql/data"
        data.mkdir(parents=True)
        data.chmod(0o1777)
        engine.run("buildah", "umount", container)
        entry = json.dumps(["/opt/headgate/bin/python", "/stand_in.py"])
        engine.run("buildah", "config", "--entrypoint", entry, "--cmd", "postgres", container)
        engine.run("buildah", "commit", "--quiet", "--format", "docker", container, DATABASE)
    finally:
        engine.run("buildah", "rm", container)


def answers() -> Iterator[str]:
    """What is wrong with what the published port answers."""
    health = requests.get(f"{PAGE}/healthz", timeout=ANSWER_S)
    if health.json() != {"status": "ok"}:
        yield f"health: {health.status_code} {health.text}"
    other = requests.get(f"{PAGE}/status", timeout=ANSWER_S)
    if other.status_code != requests.codes.unauthorized:
        yield f"without a token: {other.status_code}"


def tried_out(composed: Composed) -> None:
    """Start everything, register a version, and look until it is in Production."""
    composed.up("sandbox", "postgres")
    for service in ("sandbox", "postgres"):
        composed.until(partial(composed.healthy, service), f"{service} is healthy", UP_S)
    composed.up("daemon")
    expect("compose.yaml comes up; sandbox and PostgreSQL are healthy by its own checks")

    def healthy() -> bool:
        try:
            return not list(answers())
        except requests.RequestException:
            return False

    composed.until(healthy, "the daemon answers on the published port", UP_S)
    expect("the daemon answers on the published port, and wants the token for more")
    team = ("python", "-m", "deploy.sandbox.demo.team", "--model", MODEL)
    composed("exec", "-T", "sandbox", *team, told="1\n", within_s=RELEASE_S)

    def confirmed() -> bool:
        return any(one["event"] == "release.confirmed" for one in composed.lines())

    composed.until(confirmed, "version 1 is confirmed", RELEASE_S)
    told = composed("exec", "-T", "daemon", "headgate", "status", "--json")
    expect("version 1 went to Production; the record is in PostgreSQL", _other(told.stdout))


def _other(status: str) -> Iterator[str]:
    states = [(one["version"], one["state"]) for one in json.loads(status or "[]")]
    if states != [("1", "Production")]:
        yield f"`headgate status` tells of {states}"


def main() -> int:
    """Try it out; the exit code."""
    try:
        engine = Engine.ready()
        for target, lock in (("daemon", "requirements.lock"), ("sandbox", "requirements-dev.lock")):
            tag = "localhost/headgate" + ("-sandbox" if target == "sandbox" else "")
            engine.build(target, tag, lock)
        database(engine, "localhost/headgate-sandbox")
        composed = Composed(engine)
        composed.prepare()
        try:
            tried_out(composed)
        finally:
            composed("down", "--volumes")
    except (NotSoError, MissingError) as error:
        sys.stderr.write(f"compose-check: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
