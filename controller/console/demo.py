"""`headgate demo`: the main job on the embedded workspace, with every part as in production.

The sandbox, the daemon, the users and the team that registers versions are processes of their
own; this one only starts them, reads the daemon's log as an operator would, and tells the story.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from controller.console.logs import read_lines
from controller.console.reading import fold
from states.machine import State

Line = dict[str, Any]
MODEL = "main.ml_models.rag_chatbot"
ENDPOINT = "rag-chatbot-endpoint"
APPLICATION = "rag-chatbot"
VERSIONS = ("1", "2", "3", "4")
TABLE_LAG_S = 2.0
"""Age at which a row of the inference table shows; Databricks' may be an hour."""
USERS_PER_S = 120
"""Questions per second. With some 50 ms for each answer, six are being answered at any time."""
USERS = 16
"""Users who ask one question at a time: enough of them to keep the pace on a busy machine too."""
PATIENCE_S = 90.0
"""Longest wait for the next move of the story."""
EXPECTED = {
    "1": (State.CANARY, State.PRODUCTION),
    "2": (State.CANARY, State.PRODUCTION),
    "3": (State.CANARY, State.ROLLED_BACK),
    "4": (State.TESTING, State.ROLLED_BACK),
}
"""The move that ends each version's story."""
COLOURS = {"error": "red", "warning": "yellow", "info": "default"}


class DemoFailed(Exception):  # noqa: N818 - what happened
    """The story did not go as it must; the sentence says where it stopped."""


@dataclass
class Interrupts:
    """Ctrl-C and SIGTERM end the demo, but never between starting a part and knowing of it."""

    asked: bool = False
    shielded: bool = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Turn both signals into KeyboardInterrupt, as long as nothing is shielded."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._hear) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Finish this first; a signal that came meanwhile is raised at its end."""
        self.shielded = True
        try:
            yield
        finally:
            self.shielded = False
        if self.asked:
            raise KeyboardInterrupt

    def _hear(self, *_: object) -> None:
        self.asked = True
        if not self.shielded:
            raise KeyboardInterrupt


@dataclass
class Parts:
    """The processes that were started, ended in the reverse order."""

    folder: Path
    interrupts: Interrupts
    started: list[tuple[str, subprocess.Popen[str]]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def start(
        self,
        name: str,
        *command: str,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> subprocess.Popen[str]:
        """Start one part; what it says on stderr is kept beside the others'."""
        with self.interrupts.shield(), (self.folder / f"{name}.err").open("w") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", *command],
                env=self.environment,
                stdin=stdin,
                stdout=stdout,
                stderr=errors,
                text=True,
                # Ctrl-C reaches this process alone, which then ends the parts in their order.
                start_new_session=True,
            )
            self.started.append((name, process))
        return process

    def check(self) -> None:
        """A part that ended by itself ends the demo, with its last words."""
        for name, process in self.started:
            if process.poll() is not None:
                words = (self.folder / f"{name}.err").read_text(errors="replace")
                last = words.strip().splitlines()[-1:] or ["it said nothing"]
                raise DemoFailed(f"the {name} ended with {process.returncode}: {last[0]}")

    def stop(self) -> None:
        """End every part, last started first; one that does not listen is killed."""
        self.interrupts.shielded = True
        while self.started:
            _, process = self.started.pop()
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Demo:
    """One showing of the demo."""

    def __init__(self, console: Console, logs: Path | None) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="headgate-demo-"))
        self._log = logs or self._folder / "headgate.log"
        self._keeps = logs is not None
        self._interrupts = Interrupts()
        self._parts = Parts(self._folder, self._interrupts)
        self._read = 0
        self._lines: list[Line] = []
        self._moved = self._begun

    def run(self) -> int:
        """Show it; 0 only if every version went where it must and no other user was harmed."""
        if find_spec("deploy") is None or find_spec("duckdb") is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._console.print("headgate demo needs the sandbox: pip install 'headgate[sandbox]'")
            return 2
        with self._interrupts.heard():
            try:
                self._show()
            except KeyboardInterrupt:
                self._console.print("interrupted: everything is stopped and removed")
                return 130
            except DemoFailed as failure:
                self._console.print(f"[red]the demo failed:[/] {failure}{self._astray()}")
                return 1
            finally:
                self._parts.stop()
                shutil.rmtree(self._folder, ignore_errors=True)
        return 0

    def _astray(self) -> str:
        """Why a version went back that was to stay: the likeliest reason, where there is one."""
        found = [
            f"; version {line['version']} went back: {line['because']}"
            for line in self._lines
            if line["event"] == "release.transition"
            and line["to_state"] == State.ROLLED_BACK
            and EXPECTED[line["version"]][-1] is not State.ROLLED_BACK
        ]
        return "".join(found)

    def _show(self) -> None:
        self._say("", "a Databricks workspace on this machine, emulated; real clients, real models")
        team = self._start()
        for version in VERSIONS:
            self._register(team, version)
            self._await(partial(self._at_rest, version), f"version {version}")
        users = self._users()
        self._tell_table(users)
        self._check(users)
        if self._keeps:
            self._console.print(f"\nThe log is the record. Ask it:  [bold]{_ask(self._log)}[/]")
        else:
            self._console.print(
                "\nThe log is the record: `headgate demo --logs headgate.log` keeps it; then ask "
                "it:  [bold]headgate explain rag-chatbot/3 --logs headgate.log[/]"
            )

    def _start(self) -> subprocess.Popen[str]:
        """Start all parts, the slow ones at the same time."""
        parts, data = self._parts, self._folder
        parts.environment |= {
            "HEADGATE_STORE": f"sqlite:///{data / 'headgate.db'}",
            "HEADGATE_LOG": "json",
            "HEADGATE_HTTP": "off",
            "HEADGATE_POLL": "500ms",
            "DATABRICKS_WAREHOUSE_ID": "sandbox",
            "PYTHONUNBUFFERED": "1",
        }
        sandbox = parts.start(
            "sandbox",
            "deploy.sandbox",
            *("--data", str(data / "workspace"), "--table-lag-s", str(TABLE_LAG_S)),
            stdout=subprocess.PIPE,
        )
        assert sandbox.stdout is not None, "piped"
        for line in sandbox.stdout:
            name, _, value = line.strip().removeprefix("export ").partition("=")
            parts.environment[name] = value
            if name == "DATABRICKS_TOKEN":
                break
        parts.check()
        # MLflow leaves what it downloads in the temporary directory: let it go with the rest.
        parts.environment["TMPDIR"] = str(data)
        self._say("", f"workspace ready; its inference table shows rows {TABLE_LAG_S:g} s late")
        team = parts.start(
            "team",
            *("deploy.sandbox.demo.team", "--model", MODEL),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        config = Path(str(find_spec("deploy.sandbox.demo.team").origin)).with_name("headgate.yaml")  # type: ignore[union-attr]
        self._log.write_text("")
        with self._log.open("a") as log:
            parts.start("daemon", "controller", "run", "--config", str(config), stdout=log.fileno())
        parts.start(
            "users",
            *("deploy.sandbox.demo.users", "--endpoint", ENDPOINT, "--rate", str(USERS_PER_S)),
            *("--threads", str(USERS), "--out", str(data / "users.jsonl")),
        )
        self._await(lambda: any(one["event"] == "daemon.started" for one in self._lines), "daemon")
        assert team.stdout is not None, "piped"
        team.stdout.readline()
        return team

    def _register(self, team: subprocess.Popen[str], version: str) -> None:
        """Have the team register a version, and tell the log's news meanwhile."""
        assert team.stdin is not None, "piped"
        assert team.stdout is not None, "piped"
        self._console.print()
        self._say(f"version {version}", "the team logs and registers it in Unity Catalog")
        team.stdin.write(f"{version}\n")
        team.stdin.flush()
        answer = json.loads(team.stdout.readline() or "{}")
        if "version" not in answer:
            raise DemoFailed(f"version {version} was not registered: {answer.get('error')}")

    def _await(self, happened: Callable[[], bool], what: str) -> None:
        self._moved = time.monotonic()
        while not happened():
            if time.monotonic() > self._moved + PATIENCE_S:
                raise DemoFailed(f"{what}: nothing came of it in {PATIENCE_S:g} s")
            self._parts.check()
            time.sleep(0.1)  # this process only watches: there is no clock to move
            self._follow()

    def _follow(self) -> None:
        """Read what the daemon has logged since, and tell it."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            fresh = log.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for raw in whole.splitlines():
            line = json.loads(raw)
            self._lines.append(line)
            self._tell(line)

    def _tell(self, line: Line) -> None:
        """One line of the log as one line of the story; routine is left out."""
        event, because = line["event"], line.get("because", "")
        match event:
            case "release.transition":
                self._moved = time.monotonic()
                said = f"{line['from_state']} → [bold]{line['to_state']}[/]"
                if line["to_state"] == "Canary":
                    said = f"[bold]Canary {line['weight']} %[/]"
            case "tests.finished" | "release.held" | "release.confirmed" | "alias.moved":
                said = event.replace(".", " ")
            case "gate.verdict":
                said = f"{line['guard']}: {line['verdict']}"
            case _ if line["level"] in ("warning", "error"):
                said = event
            case _:
                return
        if event == "gate.verdict" and line["verdict"] in ("PASS", "FAIL"):
            # The move that follows says the same.
            return
        self._say(
            line.get("release", ""), f"{said}  [dim]{escape(because)}[/]", level=line["level"]
        )

    def _say(self, who: str, what: str, level: str = "info") -> None:
        passed = time.monotonic() - self._begun
        stamp = f"{int(passed // 60):02}:{int(passed % 60):02}"
        row = Table.grid(padding=(0, 2))
        row.add_column(style="dim", width=5)
        row.add_column(width=13)
        row.add_column(style=COLOURS[level])
        row.add_row(stamp, who, Text.from_markup(what))
        self._console.print(row)

    def _moves(self, version: str) -> list[Line]:
        return [
            line
            for line in self._lines
            if line["event"] == "release.transition" and line["version"] == version
        ]

    def _at_rest(self, version: str) -> bool:
        """The version's release is confirmed, or home again."""
        own = [line for line in self._lines if line.get("version") == version]
        if not own:
            return False
        last = own[-1]
        confirmed = any(line["event"] == "release.confirmed" for line in own)
        return confirmed or (last["state"] == State.ROLLED_BACK and last.get("settled", False))

    def _users(self) -> list[Line]:
        """All that the users met, after they have been sent home."""
        name, users = self._parts.started.pop()
        assert name == "users", "the last part started"
        users.send_signal(signal.SIGTERM)
        users.wait(timeout=15)
        out = self._folder / "users.jsonl"
        return [json.loads(line) for line in out.read_text().splitlines()]

    def _tell_table(self, users: list[Line]) -> None:
        table = Table(title="\nFour versions, as their users met them (emulated workspace)")
        for heading in ("version", "state", "why", "requests", "failed", "gate closed", "lag"):
            table.add_column(heading, overflow="fold")
        book = fold(read_lines([str(self._log)]))
        for status in book.statuses(APPLICATION, all_=True):
            version = status["version"]
            own = [one for one in users if _served(one) == version]
            failed = [one for one in own if one["status"] != 200]  # noqa: PLR2004 - HTTP OK
            closed = self._closed(version, failed[0]["t"]) if failed else None
            table.add_row(
                version,
                status["state"],
                status["because"],
                f"{len(own):,}",
                f"{len(failed):,}",
                f"{closed:.1f} s" if closed is not None else "",
                f"{TABLE_LAG_S:g} s",
            )
        self._console.print(table)
        self._console.print(
            "gate closed: seconds from the version's first failed request until the endpoint was "
            "seen with 0 % on it; lag: age at which the inference table showed a request",
            style="dim",
        )

    def _closed(self, version: str, first: float) -> float | None:
        entity = f"rag_chatbot-v{version}"
        for line in self._lines:
            at = datetime.fromisoformat(line["timestamp"]).timestamp()
            shut = line["event"] == "endpoint.update" and line["weights"].get(entity, 0) == 0
            if shut and at > first:
                return at - first
        return None

    def _check(self, users: list[Line]) -> None:
        """Hold the end of the story against what it must be."""
        for version, expected in EXPECTED.items():
            moves = [(line["from_state"], line["to_state"]) for line in self._moves(version)]
            if expected not in moves:
                raise DemoFailed(
                    f"version {version} did not go from {expected[0]} to {expected[1]}"
                )
        self._check_workspace()
        canary = self._moves("3")
        opened = next(_at(line) for line in canary if line["to_state"] == State.CANARY)
        for one in users:
            allowed = _served(one) == "3" and one["t"] >= opened
            if one["status"] != 200 and not allowed:  # noqa: PLR2004 - HTTP OK
                raise DemoFailed(f"a user's request failed outside version 3's canary: {one}")

    def _check_workspace(self) -> None:
        """Ask the workspace itself, by Databricks' own client, where alias and traffic are."""
        from databricks.sdk import WorkspaceClient  # noqa: PLC0415 - takes seconds

        environment = self._parts.environment
        client = WorkspaceClient(
            host=environment["DATABRICKS_HOST"], token=environment["DATABRICKS_TOKEN"]
        )
        model = client.registered_models.get(MODEL, include_aliases=True)
        aliases = {one.alias_name: one.version_num for one in model.aliases or ()}
        if aliases.get("production") != 2:  # noqa: PLR2004 - the version
            raise DemoFailed(f"the alias production names {aliases.get('production')}, not 2")
        config = client.serving_endpoints.get(ENDPOINT).config
        routes = config.traffic_config.routes if config and config.traffic_config else []
        shares = {route.served_entity_name: route.traffic_percentage for route in routes or ()}
        if shares.get("rag_chatbot-v2") != 100:  # noqa: PLR2004 - percent
            raise DemoFailed(f"version 2 does not have all the traffic: {shares}")


def _served(request: Line) -> str | None:
    """The version that answered a user's request; None where nobody said."""
    served = request.get("served")
    return str(served).rsplit("-v", 1)[-1] if served else None


def _at(line: Line) -> float:
    return datetime.fromisoformat(line["timestamp"]).astimezone(UTC).timestamp()


def _ask(log: Path) -> str:
    return f"headgate explain {APPLICATION}/3 --logs {log}"
