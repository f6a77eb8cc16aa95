"""The Databricks App, run here as Databricks would run it: part of `make deploy-check`.

It is packed, installed from what was packed and nothing else, and started by the command of
databricks.yml, with the variables that the platform sets: a port, a service principal for OAuth,
secrets, and a PostgreSQL by PGHOST and its like. The workspace is the sandbox, and the database
this machine's own. Then a version is registered, the job's script rings the doorbell, and the
version goes to Production. What only Databricks has is not here: its proxy, its Lakebase with
tokens as passwords, its trigger.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml

from deploy.sandbox.launch import Sandbox
from tests.controller.postgres import Postgres, started

ROOT = Path(__file__).parents[2]
DATABRICKS, BUILD = ROOT / "deploy/databricks", ROOT / "build/deploy"
UV = ROOT / ".venv/bin/uv"
MODEL = "main.ml_models.rag_chatbot"
TOKEN, SECRET = "the-token-of-an-app-that-is-tried", "the-secret-of-an-app-that-is-tried"
PRINCIPAL, PRINCIPAL_SECRET = "sandbox-client", "sandbox-secret"
TOOLS_S, WATCHED_S, LOOK_S = 300, 120, 0.1
KILLED_S = 15
"""How long an app may take to end before it is killed."""


def main() -> int:
    """Pack, install, start, ring and watch; AssertionError where anything went otherwise."""
    app, python = installed()
    with started() as server, Sandbox.start(client_id=PRINCIPAL) as sandbox:
        port = free_port()
        log = BUILD / "app.log"
        with log.open("w") as out:
            begun = time.monotonic()
            process = subprocess.Popen(
                command(), cwd=app, env=given(server, sandbox, port, python), stdout=out, stderr=out
            )
        try:
            tried(process, sandbox, f"http://127.0.0.1:{port}", log, begun)
        finally:
            process.kill()
            process.wait()
    return 0


def tried(
    process: subprocess.Popen[bytes], sandbox: Sandbox, url: str, log: Path, begun: float
) -> None:
    """From the first look to the end by SIGTERM, told in a line each."""
    until(lambda: answers(f"{url}/api/readyz") == 200, process, log)
    say(f"packed, installed by hashes, ready {time.monotonic() - begun:.1f} s after its start")
    environ = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert TOKEN.encode() not in environ, "the environment still has secrets"
    assert (answers(f"{url}/metrics"), answers(f"{url}/metrics", TOKEN)) == (401, 200)
    say("secrets are files for their owner only; what is no probe wants the token")
    registered(sandbox)
    rung(sandbox, f"{url}/api/doorbell")
    until(lambda: told(log, "doorbell.rung"), process, log)
    say("the job's script rang the doorbell, with an OAuth token of its own for the proxy")
    until(lambda: told(log, "release.confirmed"), process, log)
    (confirmed,) = [one for one in lines(log) if one["event"] == "release.confirmed"]
    say(f"{confirmed['release']} is in Production, recorded in PostgreSQL")
    ended = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(KILLED_S) == 0, "SIGTERM did not end it well"
    assert told(log, "daemon.stopped")
    say(f"SIGTERM: ended {time.monotonic() - ended:.1f} s later (of {KILLED_S} s that an app has)")


def installed() -> tuple[Path, Path]:
    """The app's folder as it is uploaded, and the Python that has its requirements."""
    run(sys.executable, str(DATABRICKS / "pack.py"))
    app, venv = BUILD / "app", BUILD / "app-venv"
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(DATABRICKS / "app", app)
    # The demo's: it waits for seconds where others wait for hours.
    shutil.copy(ROOT / "deploy/sandbox/demo/headgate.yaml", app)
    python = venv / "bin/python"
    run(str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(venv))
    install = [str(UV), "pip", "install", "--quiet", "--require-hashes", "--python", str(python)]
    run(*install, "--requirement", "requirements.txt", cwd=app)
    return app, python


def command() -> list[str]:
    """What the bundle says that an app is started by."""
    bundle = yaml.safe_load((DATABRICKS / "databricks.yml").read_text(encoding="utf-8"))
    said: list[str] = bundle["resources"]["apps"]["headgate"]["config"]["command"]
    return [str(BUILD / "app-venv/bin/python") if said[0] == "python" else said[0], *said[1:]]


def given(server: Postgres, sandbox: Sandbox, port: int, python: Path) -> dict[str, str]:
    """What an app finds in its environment; the pace is ours, for an app that is watched."""
    return {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(BUILD),
        "DATABRICKS_APP_NAME": "headgate",
        "DATABRICKS_APP_PORT": str(port),
        "DATABRICKS_HOST": sandbox.host,
        "DATABRICKS_CLIENT_ID": PRINCIPAL,
        "DATABRICKS_CLIENT_SECRET": PRINCIPAL_SECRET,
        "PGHOST": server.socket,
        "PGUSER": "postgres",
        "PGDATABASE": server.empty(),
        "DATABRICKS_WAREHOUSE_ID": "sandbox",
        "HEADGATE_TOKEN": TOKEN,
        "HEADGATE_WEBHOOK_SECRET": SECRET,
        "HEADGATE_STORE": "postgresql://",
        "HEADGATE_LOG": "json",
        "HEADGATE_POLL": "1s",
    }


def registered(sandbox: Sandbox) -> None:
    """A data scientist's first version."""
    told = {"DATABRICKS_HOST": sandbox.host, "DATABRICKS_TOKEN": sandbox.token}
    team = [sys.executable, "-m", "deploy.sandbox.demo.team", "--model", MODEL]
    run(*team, env={**os.environ, **told}, input="1\n")


def rung(sandbox: Sandbox, url: str) -> None:
    """What the job's task does."""
    updates = json.dumps([{"full_name": MODEL, "version": "1", "alias_name": None}])
    env = {
        "PATH": os.environ["PATH"],
        "DATABRICKS_HOST": sandbox.host,
        "HEADGATE_WEBHOOK_SECRET": SECRET,
        "HEADGATE_RINGER_SECRET": PRINCIPAL_SECRET,
    }
    run(sys.executable, str(DATABRICKS / "ring.py"), url, updates, PRINCIPAL, env=env)


def run(*command: str, **more: Any) -> None:  # noqa: ANN401 - the standard library's own options
    """A command that has to succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TOOLS_S, check=False, **more
    )
    assert done.returncode == 0, f"{command[0]} {command[1]}: {done.stderr[-1000:]}"


def answers(url: str, token: str | None = None) -> int:
    """With which status a URL answers; 0 if nobody does."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return requests.get(url, headers=headers, timeout=10).status_code
    except requests.ConnectionError:
        return 0


def until(happened: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something has happened, for as long as it may take."""
    end = time.monotonic() + WATCHED_S
    while not happened():
        assert process.poll() is None, f"the app ended: {log.read_text()[-1000:]}"
        assert time.monotonic() < end, f"not within {WATCHED_S} s: {log.read_text()[-1000:]}"
        time.sleep(LOOK_S)


def told(log: Path, event: str) -> bool:
    """Whether the log has told of an event."""
    return any(one["event"] == event for one in lines(log))


def lines(log: Path) -> list[dict[str, Any]]:
    """The log so far."""
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if line.startswith("{")]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def say(line: str) -> None:
    """One line of what works."""
    sys.stdout.write(f"app: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
