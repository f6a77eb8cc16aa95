"""A large log read by `headgate` and by jq: `make bench-logs`, figures in build/bench/logs.json.

The lines are those of a real run (`headgate demo`, or LOG=FILE), told again of many applications,
each of which releases versions 2 to 4 of the run over and over; between them stand heartbeats and
another program's lines. MB is the size, APPS how many applications, ROUNDS how often each reader is
timed, in turns, so that whatever else the machine does falls on all. jq only decodes each line, and
looks at one key.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, repeat
from pathlib import Path

from controller.console.reading import fold
from controller.record.lines import HEARTBEAT, Line
from states.status import rfc3339
from tests.benchmarks.daemon import BUILD

NAME, BEGAN = "rag-chatbot", datetime(2026, 3, 1, tzinfo=UTC)
FACTS = ("stable", "live", "unproven", "application_hold")
OTHERS, ROWS_BETWEEN = 0.3, 1.5
"""The share of another program's lines; journal lines per application between two heartbeats."""
LONGEST_S = 1_800
_VERSION = re.compile(
    rf'({NAME}/|{NAME.replace("-", "_")}-v|"(?:version|stable|live|unproven)": "|'
    r'"(?:from|to)_version": "|"versions": \{"|(?<=\d, )"(?=\d": \d))(\d)'
)
_SEQ, _TIME = re.compile(r'"(seq|as_of_seq)": \d+'), re.compile(r'"timestamp": "[^"]+"')


@dataclass(frozen=True)
class Told:
    """A journal line of the run, and the heartbeat that follows it."""

    line: str
    heartbeat: str
    first: bool
    """It is of the run's first version, which an application has once."""


def run_log(given: Path | None, folder: Path) -> Path:
    """The log of a real run."""
    if given is not None:
        return given
    log = folder / "demo.log"
    sys.stdout.write("the demo runs, for its log\n")
    command = [sys.executable, "-m", "controller", "demo", "--logs", str(log)]
    subprocess.run(command, check=True, timeout=LONGEST_S, stdout=subprocess.DEVNULL)
    return log


def template(log: Path) -> list[Told]:
    """The run, line by line."""
    lines = [json.loads(raw) for raw in log.read_text().splitlines() if raw.strip()]
    rows = [line for line in lines if "seq" in line]
    told = [line for line in rows if line.get("application") == NAME]
    return [
        Told(json.dumps(line), json.dumps(heartbeat(rows, line)), line.get("version") == "1")
        for line in told
    ]


def heartbeat(rows: Sequence[Line], last: Line) -> Line:
    """What the daemon would have printed after this row."""
    book = fold(row for row in rows if row["seq"] <= last["seq"])
    return {
        "timestamp": last["timestamp"],
        "level": "info",
        "event": HEARTBEAT,
        "application": NAME,
        "as_of_seq": last["seq"],
        **{name: last[name] for name in FACTS if name in last},
        "releases": book.statuses(NAME),
    }


def retold(name: str, run: Sequence[Told]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Lines of an application that never stops releasing, with the heartbeat that may follow."""
    number = {"1": 1, "2": 2, "3": 3, "4": 4}
    again = [one for one in run if not one.first]
    for told in chain([run], repeat(again)):
        for one in told:
            yield renamed(one.line, name, number), partial(renamed, one.heartbeat, name, number)
        last = number["4"]
        number = {"1": number["2"], "2": last + 1, "3": last + 2, "4": last + 3}


def renamed(text: str, name: str, number: Mapping[str, int]) -> str:
    """A line of the run as that of another application and its versions."""
    told = _VERSION.sub(lambda found: f"{found[1]}{number[found[2]]}", text)
    return told.replace(NAME, name)


def write(path: Path, run: Sequence[Told], size: int, applications: int) -> tuple[int, int]:
    """Write a log of at least this size; how many lines are the daemon's, and another's."""
    luck, now, seq, others, written = random.Random(1), BEGAN, 0, 0, 0  # noqa: S311 - no secret
    every = [retold(f"rag-{number:03d}", run) for number in range(applications)]
    beats: dict[int, Callable[[], str]] = {}
    ours = 0

    def stamped(text: str, number: int) -> str:
        text = _SEQ.sub(rf'"\1": {number}', text, count=1)
        return _TIME.sub(f'"timestamp": "{rfc3339(now)}"', text, count=1) + "\n"

    with path.open("w") as file:
        while written < size:
            for index in range(int(applications * ROWS_BETWEEN)):
                of = luck.randrange(applications)
                line, beats[of] = next(every[of])
                seq, ours = seq + 1, ours + 1
                now += timedelta(milliseconds=luck.randrange(900))
                written += file.write(stamped(line, seq))
                while luck.random() < OTHERS:
                    others += 1
                    written += file.write(served(luck, now, index))
            for beat in beats.values():
                ours += 1
                written += file.write(stamped(beat(), seq))
    return ours, others


def served(luck: random.Random, now: datetime, number: int) -> str:
    """A line of the server beside it."""
    told = {
        "time": rfc3339(now),
        "level": "INFO",
        "logger": "uvicorn.access",
        "message": f'10.0.0.{luck.randrange(255)} - "POST /invocations HTTP/1.1" 200',
        "request": {"id": f"{luck.getrandbits(64):016x}", "number": number, "bytes": 412},
        "duration_ms": round(luck.expovariate(0.02), 3),
    }
    return json.dumps(told) + "\n"


@dataclass(frozen=True)
class Taken:
    """What one reading took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def taken(command: Sequence[str], out: Path) -> Taken:
    """Run a command to its end; its answer goes to a file."""
    with out.open("wb") as file:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
    # It was waited for here, and is waited for by nobody else.
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1, 3), f"{command} ended with {process.returncode}"
    return Taken(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def asserted(path: Path, run: Sequence[Told], applications: int, out: Path) -> None:
    """The answers are those of the log: every application, each in the state told last."""
    told = {one["release"]: one for one in json.loads((out / "status").read_text())}
    assert len({one["application"] for one in told.values()}) == applications, path
    history = json.loads((out / "explain").read_text())["history"]
    assert len(history) == sum(one.line.count(f'"release": "{NAME}/3"') for one in run)


def measure(folder: Path, run: Sequence[Told], mb: int, applications: int, rounds: int) -> Line:
    """Write the log, read it in turns, and tell what each reading took."""
    log = folder / "headgate.log"
    begun = time.monotonic()
    ours, others = write(log, run, mb * 10**6, applications)
    size = log.stat().st_size
    sys.stdout.write(
        f"{size / 1e6:,.0f} MB, {ours:,} lines of Headgate's and {others:,} others, "
        f"{applications} applications, in {time.monotonic() - begun:.0f} s\n"
    )
    jq, headgate = shutil.which("jq"), [sys.executable, "-m", "controller"]
    if jq is None:
        sys.exit("jq is needed to compare with: install it (apt-get install jq)")
    readers: dict[str, list[str]] = {
        "jq": [jq, "-c", 'select(.event=="x")', str(log)],
        "status": [*headgate, "status", "--json", "--logs", str(log)],
        "explain": [*headgate, "explain", "rag-007/3", "--json", "--logs", str(log)],
    }
    found: dict[str, list[Taken]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, command in readers.items():
            found[name].append(taken(command, folder / name))
            last = found[name][-1]
            sys.stdout.write(
                f"  {name:8} {last.wall_s:7.2f} s, processor {last.cpu_s:6.2f} s, "
                f"peak {last.peak_mb:6.1f} MB\n"
            )
    asserted(log, run, applications, folder)
    figures: Line = {
        "bytes": size,
        "lines": ours,
        "others_lines": others,
        "applications": applications,
        "rounds": rounds,
    }
    for name, some in found.items():
        figures[name] = {
            "wall_s": round(statistics.median(one.wall_s for one in some), 2),
            "cpu_s": round(statistics.median(one.cpu_s for one in some), 2),
            "peak_mb": round(max(one.peak_mb for one in some), 1),
        }
    for name in ("status", "explain"):
        for what in ("wall_s", "cpu_s"):
            pairs = zip(found[name], found["jq"], strict=True)
            ratios = [getattr(one, what) / getattr(other, what) for one, other in pairs]
            figures[name][f"{what[:-2]}_of_jq"] = round(statistics.median(ratios), 3)
    return figures


def main() -> None:
    """Measure, print, and write the figures; 1, if jq was faster or the log was held."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mb", type=int, default=1000)
    options.add_argument("--applications", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--log", type=Path, default=None)
    given = options.parse_args()
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="logs-") as name:
        folder = Path(name)
        run = template(run_log(given.log, folder))
        figures = measure(folder, run, given.mb, given.applications, given.rounds)
    (BUILD / "bench/logs.json").write_text(json.dumps(figures, indent=2) + "\n")
    slow = [name for name in ("status", "explain") if figures[name]["cpu_of_jq"] >= 1]
    for name in ("status", "explain"):
        one = figures[name]
        sys.stdout.write(
            f"{name}: {one['wall_of_jq']} of jq's time, {one['cpu_of_jq']} of its processor time, "
            f"peak {one['peak_mb']} MB of {figures['bytes'] / 1e6:,.0f} MB read\n"
        )
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
