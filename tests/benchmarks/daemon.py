"""How long the daemon takes to start, and how much memory it keeps: `make bench-daemon`.

It runs in a virtual environment made from requirements.lock alone, as an image would, against the
sandbox, and looks after one application through a first release. The figures go to
build/bench/daemon.json; they are those of one machine and one moment.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.sandbox.launch import Sandbox

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
MODEL = "main.ml_models.rag_chatbot"
CONFIG = ROOT / "deploy/sandbox/demo/headgate.yaml"
WATCHED_S = 60


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB, from /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS for {pid}")


def environment() -> Path:
    """The Python of a virtual environment with what the daemon needs, and nothing else."""
    folder = BUILD / "daemon-venv"
    uv = ROOT / ".venv/bin/uv"
    subprocess.run([uv, "venv", "--quiet", "--clear", folder], check=True)
    python = folder / "bin/python"
    lock = ROOT / "requirements.lock"
    sync = [
        str(one)
        for one in (uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock)
    ]
    subprocess.run(sync, check=True)
    return python


def lines(log: Path) -> list[dict[str, object]]:
    """The log so far."""
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole]


def measure() -> dict[str, float]:
    """Start, wait for the first pass, register a version, and look at the memory."""
    python, folder = environment(), BUILD / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    log, store = folder / "daemon.log", folder / "daemon.db"
    log.unlink(missing_ok=True)
    store.unlink(missing_ok=True)
    with Sandbox.start() as sandbox:
        told = {
            "DATABRICKS_HOST": sandbox.host,
            "DATABRICKS_TOKEN": sandbox.token,
            "DATABRICKS_WAREHOUSE_ID": "sandbox",
            "HEADGATE_STORE": f"sqlite:///{store}",
            "HEADGATE_POLL": "1s",
            "HEADGATE_LOG": "json",
            "HEADGATE_HTTP": "127.0.0.1:0",
            "PYTHONPATH": str(ROOT),
        }
        begun = time.monotonic()
        with log.open("w") as out:
            daemon = subprocess.Popen(
                [python, "-m", "controller", "run", "--config", CONFIG],
                env={**os.environ, **told},
                stdout=out,
            )
        try:
            while not any(line["event"] == "application.state" for line in lines(log)):
                assert daemon.poll() is None, "the daemon ended"
                time.sleep(0.02)
            started = time.monotonic() - begun
            time.sleep(10)
            idle = resident_mb(daemon.pid)
            team = subprocess.run(
                [sys.executable, "-m", "deploy.sandbox.demo.team", "--model", MODEL],
                input="1\n",
                env={**os.environ, **told},
                capture_output=True,
                text=True,
                check=True,
            )
            assert '"version"' in team.stdout, team.stderr
            end = time.monotonic() + WATCHED_S
            while not any(line.get("event") == "release.confirmed" for line in lines(log)):
                assert time.monotonic() < end, log.read_text()[-2000:]
                time.sleep(0.2)
            after = resident_mb(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait(timeout=30)
    figures = {"seconds_to_first_look": started, "idle_mb": idle, "after_a_release_mb": after}
    return {name: round(value, 2) for name, value in figures.items()}


if __name__ == "__main__":
    found = measure()
    (BUILD / "bench/daemon.json").write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
