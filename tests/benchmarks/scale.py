"""What many applications cost: `make bench-scale`, figures in build/bench/scale.json.

The daemon as a process of its own looks after 10 to 10,000 applications of a workspace that answers
at once (`tests.benchmarks.stub`). Told are: the time of a full pass (every application looked at
once, as fast as it goes), its processor time, API calls per application and minute at the default
pace, resident memory and its growth. It runs from a virtual environment that is made of
requirements.lock alone, as an image would. What `durable` and `urgency` found is told beside it.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import yaml

from tests.benchmarks.daemon import BUILD, ROOT, environment, lines, resident_mb
from tests.benchmarks.stub import endpoint_of, model_of

SIZES = (10, 100, 1_000, 10_000)
LONGEST_S = 1_800
EARLY, PASSES = 3, 10
"""Full passes before the first look at the memory, and from there to the second."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Stub:
    """The workspace's process, as the benchmark steers it."""

    process: subprocess.Popen[str]
    host: str

    def control(self, **wanted: object) -> dict[str, Any]:
        """Set faults, forget counts, or just read them."""
        body = json.dumps(wanted).encode()
        request = urllib.request.Request(f"{self.host}/control", data=body)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found


@contextmanager
def stub(applications: int, *, canaries: int | None = None) -> Iterator[Stub]:
    """A workspace of so many applications; with canaries, a version waits everywhere else."""
    command = [sys.executable, "-m", "tests.benchmarks.stub", "--applications", str(applications)]
    if canaries is not None:
        command += ["--waiting", "--canaries", str(canaries)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Stub(process, json.loads(process.stdout.readline())["host"])
    finally:
        process.terminate()
        process.wait(timeout=30)


def configuration(applications: int, folder: Path) -> Path:
    """A file with that many applications."""
    told = {
        f"app-{number:05}": {
            "model": model_of(number),
            "endpoint": endpoint_of(number),
            "serving": {"environment": "none"},
            "tests": [{"query": "What is Delta Lake?"}],
        }
        for number in range(applications)
    }
    path = folder / "headgate.yaml"
    path.write_text(yaml.dump({"applications": told}, Dumper=yaml.CSafeDumper))
    return path


@dataclass
class Daemon:
    """The daemon's process."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def cpu_s(self) -> float:
        """Processor time so far, of all its threads."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / TICKS

    @property
    def resident_mb(self) -> float:
        """Memory that it keeps now."""
        return resident_mb(self.process.pid)

    def check(self) -> None:
        """It lives, and nothing went wrong that it tells of."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]

    def trouble(self) -> list[str]:
        """Events at level error so far, by name."""
        return sorted({str(one["event"]) for one in lines(self.log) if one["level"] == "error"})


@contextmanager
def daemon(python: Path, config: Path, host: str, folder: Path, poll: str) -> Iterator[Daemon]:
    """The daemon on a store in the folder, which may be there already, run by this Python."""
    log = folder / f"daemon-{poll}.log"
    told = {
        "DATABRICKS_HOST": host,
        "DATABRICKS_TOKEN": "token",
        "DATABRICKS_WAREHOUSE_ID": "none",
        "HEADGATE_STORE": f"sqlite:///{folder / 'headgate.db'}",
        "HEADGATE_POLL": poll,
        "HEADGATE_LOG": "json",
        "HEADGATE_HTTP": "off",
        "MALLOC_ARENA_MAX": "1",
        "PYTHONPATH": str(ROOT),
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            [python, "-m", "controller", "run", "--config", config],
            env={**os.environ, **told},
            stdout=out,
        )
    try:
        yield Daemon(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def full_pass(workspace: Stub, one: Daemon, applications: int) -> float:
    """Seconds until every application was looked at, from now on."""
    workspace.control(reset=True)
    begun = time.monotonic()
    while workspace.control()["seen"] < applications:
        one.check()
        assert time.monotonic() - begun < LONGEST_S, "a full pass has no end"
        time.sleep(0.02 if applications <= 1_000 else 0.2)
    return time.monotonic() - begun


def measure(python: Path, applications: int, count: int, folder: Path) -> dict[str, Any]:
    """All figures of one size, the growth over so many passes."""
    config = configuration(applications, folder)
    with stub(applications) as workspace:
        begun = time.monotonic()
        with daemon(python, config, workspace.host, folder, "1s") as one:
            while workspace.control()["seen"] < 1:
                one.check()
                time.sleep(0.1)
            started = time.monotonic() - begun
            adopted = full_pass(workspace, one, applications)
            for _ in range(EARLY - 1):
                full_pass(workspace, one, applications)
            early, cpu = one.resident_mb, one.cpu_s
            passes = [full_pass(workspace, one, applications) for _ in range(count)]
            spent, late = one.cpu_s - cpu, one.resident_mb
            trouble = one.trouble()
        with daemon(python, config, workspace.host, folder, "30s") as one:
            full_pass(workspace, one, applications)
            workspace.control(reset=True)
            time.sleep(120)
            asked = workspace.control()["asked"]
    return {
        "applications": applications,
        "start_s": round(started, 1),
        "adopting_pass_s": round(adopted, 2),
        "full_pass_s": round(statistics.median(passes), 2),
        "slowest_pass_s": round(max(passes), 2),
        "processors_used": round(spent / sum(passes), 2),
        "cpu_ms_per_application": round(1000 * spent / count / applications, 2),
        "resident_mb": round(early, 1),
        "resident_later_mb": round(late, 1),
        "passes_between": count,
        "calls_per_application_and_minute": {
            kind: round(count / applications / 2, 2) for kind, count in sorted(asked.items())
        },
        "trouble": trouble,
    }


def main(out: IO[str]) -> None:
    """Measure the sizes, and write the figures down."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--passes", type=int, default=PASSES)
    told = parser.parse_args()
    folder, python = BUILD / "bench", environment()
    sizes: list[dict[str, Any]] = []
    for size in told.sizes:
        work = folder / f"scale-{size}"
        work.mkdir(parents=True, exist_ok=True)
        for old in work.iterdir():
            old.unlink()
        figures = measure(python, size, told.passes, work)
        out.write(json.dumps(figures, indent=2) + "\n")
        out.flush()
        sizes.append(figures)
    found = {
        "sizes": sizes,
        "kb_per_application": [
            round(1024 * (two["resident_mb"] - one["resident_mb"]) / more, 1)
            for one, two in pairwise(sizes)
            if (more := two["applications"] - one["applications"]) > 0
        ],
    }
    for name in ("durable", "urgency"):
        if (other := folder / f"{name}.json").exists():
            found[name] = json.loads(other.read_text())
    (folder / "scale.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.stdout)
