"""One sandbox and one long-lived daemon for all tests; every test has an application of its own."""

import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest

from deploy.sandbox.launch import Sandbox
from tests.controller.postgres import Postgres, started
from tests.end_to_end.stage import Course, Daemon, Showing, Workspace, eventually

_SAVE = """
import sys, mlflow.pyfunc
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

mlflow.pyfunc.save_model(
    sys.argv[1],
    python_model=sys.argv[2],
    signature=ModelSignature(Schema([ColSpec("string", "query")]), Schema([ColSpec("string")])),
    pip_requirements=["mlflow"],
)
"""
_MODEL = """
import time

import mlflow

class Terse(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [{"answer": "ACID transactions", "sources": ["delta"]} for _ in model_input["query"]]

mlflow.models.set_model(Terse())
"""
PATIENT = {"rollout": {"min_step": "10m"}}
"""Settings with which a release stays at its first step."""
LONGEST = 40
"""Of a test's name, what its applications are called by, in characters."""
SHARED = {
    "noticed": PATIENT,
    "aborted": PATIENT,
    "edited": PATIENT,
    "paused": {"rollout": {"min_step": "4s"}},
    "troubled": {},
}
"""The applications that the long-lived daemon looks after, and what is special about them."""


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A sandbox in a hurry, and a saved model."""
    here = tmp_path_factory.mktemp("workspace")
    (here / "terse.py").write_text(_MODEL)
    saving = subprocess.Popen(
        [sys.executable, "-Wignore", "-c", _SAVE, "model", "terse.py"],
        cwd=here,
        env={"PATH": os.environ["PATH"], "HOME": str(here), "MLFLOW_DISABLE_TELEMETRY": "true"},
        stderr=subprocess.DEVNULL,
    )
    # Its metrics never close a window, so that no test rests on how long it took to begin.
    manners = {"table_lag_s": 0.2, "update_s": 0.1, "metrics_window_s": 1e9}
    with Sandbox.start(here / "data", **manners) as running:
        assert saving.wait(60) == 0, "the model is saved"
        found = Workspace(running.host, running.token, here / "model")
        with found.session:
            yield found


@pytest.fixture
def slow(workspace: Workspace, tmp_path: Path) -> Path:
    """A model that answers as the saved one does, 40 ms later."""
    files = tmp_path / "slow"
    shutil.copytree(workspace.files, files)
    code = files / "terse.py"
    quick = code.read_text()
    code.write_text(quick.replace("        return ", "        time.sleep(0.04)\n        return "))
    assert code.read_text() != quick
    return files


@pytest.fixture
def course(workspace: Workspace, request: pytest.FixtureRequest) -> Callable[..., Course]:
    """Makes applications of the test's own."""
    numbers = itertools.count(1)

    def make(**settings: object) -> Course:
        named = re.sub(r"\W+", "_", request.node.name.removeprefix("test_"))
        name = named if len(named) <= LONGEST else f"{named[:LONGEST]}_{crc32(named.encode()):x}"
        return Course(workspace, f"{name}_{next(numbers)}", settings)

    return make


@pytest.fixture(scope="session")
def shared(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Daemon, dict[str, Course]]]:
    """One daemon that looks after several applications; each test takes the one of its name."""
    courses = {name: Course(workspace, name, dict(own)) for name, own in SHARED.items()}
    for one in courses.values():
        one.open()
    for one in courses.values():
        one.ready()
    split = courses["split"] = Course(workspace, "split").open().ready()
    split.register()
    halves = {"1": 50, "2": 50}
    workspace.serve(split.endpoint, split.model, halves, new=False)
    eventually(lambda: split.split == halves, "the split is in force")
    folder = tmp_path_factory.mktemp("shared")
    token = folder / "token"
    token.write_text("0123456789abcdef-a-token")
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = f"127.0.0.1:{found.getsockname()[1]}"
    environment = {"HEADGATE_HTTP": address, "HEADGATE_TOKEN_FILE": str(token)}
    known = environment | workspace.environment
    with Daemon(folder, list(courses.values()), **known) as daemon:
        for name in SHARED:
            daemon.until("release.registered", application=name)
        yield daemon, courses
        assert daemon.stop() == 0
        daemon.assert_nothing_is_missing()


@pytest.fixture
def daemon(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons of the test's own, which end with it."""
    made: list[Daemon] = []

    def make(*courses: Course, **environment: str) -> Daemon:
        folder = tmp_path / f"daemon-{len(made)}"
        made.append(Daemon(folder, list(courses), **{**workspace.environment, **environment}))
        return made[-1]

    yield make
    for one in made:
        one.__exit__(None, None, None)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showing]:
    """The demo, from its beginning."""
    showing = Showing(tmp_path_factory.mktemp("demo"))
    yield showing
    showing.end()


@pytest.fixture
def bad(workspace: Workspace, tmp_path: Path) -> Path:
    """A model whose answers fail the golden query."""
    files = tmp_path / "bad"
    shutil.copytree(workspace.files, files)
    code = files / "terse.py"
    code.write_text(code.read_text().replace("ACID transactions", "nothing of the kind"))
    return files


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server; a database without a record is the daemon's to fill."""
    with started() as running:
        yield running
