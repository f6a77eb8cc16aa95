import shutil
import socket
import sqlite3
from collections.abc import Iterator
from os import geteuid
from pathlib import Path

import pytest

from controller.record.store import Store
from tests.end_to_end.stage import Command, Course, Daemon, Said, Workspace, begin, headgate

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]
Shared = tuple[Daemon, dict[str, Course]]
Begun = dict[str, Command]
NO_ROOM = ("bash", "-c", 'ulimit -S -f 0; exec "$@"', "bash")
"""Runs a command that can make no file larger than nothing."""
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""Runs a command as a root whom file permissions bind, like everybody else."""

REFUSALS = {
    "a misspelt key": (
        2,
        "wrong.yaml:6: applications.bot.gaurds: unknown key; did you mean guards?",
    ),
    "no configuration file": (2, "nowhere.yaml: cannot be read: No such file or directory"),
    "no warehouse": (2, "DATABRICKS_WAREHOUSE_ID is not set"),
    "no credentials": (2, "set DATABRICKS_HOST with DATABRICKS_TOKEN"),
    "a workspace in clear": (2, "write https:// in DATABRICKS_HOST"),
    "a text for a store": (6, "it is not a Headgate store: name another file in HEADGATE_STORE"),
    "another program's database": (6, "is a database of another program"),
    "a second daemon": (6, "one daemon works on one store"),
    "a port that is taken": (2, "name another port, or `off`"),
    "a receiver that nobody can reach": (2, "receivers.oncall.url: apprise knows no such address"),
    "an open address without a token": (2, "name a file with one in HEADGATE_TOKEN_FILE"),
    "a full disk": (6, "check the disk and the space left on it"),
    "a read-only directory": (6, "cannot be created (Permission denied)"),
    "a read-only directory with a store": (6, "this user must be able to write it"),
}
"""What may be wrong when the daemon starts: its exit code, and part of its sentence."""

RIGHT = """\
applications:
  bot:
    model: main.e2e.bot
    endpoint: bot
    tests: [{query: Delta}]
"""


@pytest.fixture(scope="module")
def begun(
    workspace: Workspace, shared: Shared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Begun]:
    """A daemon for everything that may be wrong, all begun at the same time."""
    here = tmp_path_factory.mktemp("wrong")
    (here / "right.yaml").write_text(RIGHT)
    (here / "wrong.yaml").write_text(f"{RIGHT}    gaurds: {{errors: {{margin: 1pp}}}}\n")
    (here / "text.db").write_text("a diary, or anything else that is no database\n" * 100)
    with sqlite3.connect(here / "other.db") as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    (here / "closed").mkdir()
    (here / "kept").mkdir()
    Store(f"sqlite:///{here / 'kept' / 'headgate.db'}").close()
    for name in ("closed", "kept"):
        (here / name).chmod(0o500)
    ordinary = ORDINARY if geteuid() == 0 else ()
    complete = {**workspace.environment, "DATABRICKS_WAREHOUSE_ID": "sandbox"} | {
        "HEADGATE_HTTP": "off"
    }

    def daemon(
        *wrapper: str, config: str = "right.yaml", store: str = "", **changes: str | None
    ) -> Command:
        place = store or f"{len(found)}.db"
        given = {**complete, "HEADGATE_STORE": f"sqlite:///{here / place}", **changes}
        environment = {name: value for name, value in given.items() if value is not None}
        return begin("run", "--config", here / config, environment=environment, wrapper=wrapper)

    found: Begun = {}
    found["a misspelt key"] = daemon(config="wrong.yaml")
    found["no configuration file"] = daemon(config="nowhere.yaml")
    found["no warehouse"] = daemon(DATABRICKS_WAREHOUSE_ID=None)
    found["no credentials"] = daemon(DATABRICKS_HOST=None, DATABRICKS_TOKEN=None)
    found["a workspace in clear"] = daemon(DATABRICKS_HOST="http://workspace.invalid")
    found["a text for a store"] = daemon(store="text.db")
    found["another program's database"] = daemon(store="other.db")
    found["a second daemon"] = daemon(HEADGATE_STORE=shared[0].url)
    busy = socket.create_server(("127.0.0.1", 0))
    port = busy.getsockname()[1]
    found["a port that is taken"] = daemon(HEADGATE_HTTP=f"127.0.0.1:{port}")
    receivers = here / "receivers.yaml"
    receivers.write_text("receivers: {oncall: {url: 'nonsense://oncall'}}")
    receivers.chmod(0o600)
    found["a receiver that nobody can reach"] = daemon(HEADGATE_NOTIFY_FILE=str(receivers))
    found["an open address without a token"] = daemon(HEADGATE_HTTP="0.0.0.0:8350")
    found["a full disk"] = daemon(*NO_ROOM)
    found["a read-only directory"] = daemon(*ordinary, store="closed/headgate.db")
    found["a read-only directory with a store"] = daemon(*ordinary, store="kept/headgate.db")
    assert found.keys() == REFUSALS.keys()
    yield found
    for command in found.values():
        command.process.kill()
    busy.close()
    for name in ("closed", "kept"):
        (here / name).chmod(0o700)


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_daemon_that_cannot_start_says_why_and_what_to_do(begun: Begun, wrong: str) -> None:
    if "read-only" in wrong and geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv is not there to take that away")
    said = begun[wrong].finish()
    code, sentence = REFUSALS[wrong]
    assert_told(said, code, sentence)


def test_what_was_refused_is_written_down(tmp_path: Path, workspace: Workspace) -> None:
    store = f"sqlite:///{tmp_path / 'headgate.db'}"
    environment = {**workspace.environment, "HEADGATE_STORE": store, "HEADGATE_HTTP": "off"}
    assert headgate("run", "--config", tmp_path / "none.yaml", **environment).code == 2
    history = headgate("history", "--store", store)
    assert history.code == 0
    assert "cannot be read: No such file or directory" in " ".join(history.out.split())


def test_a_question_that_cannot_be_answered_says_why(shared: Shared, tmp_path: Path) -> None:
    known = shared[0].url
    missing = tmp_path / "missing.db"
    questions = (
        (("status", "--store", f"sqlite:///{missing}"), 6, "there is no store at"),
        (("status", "nobody", "--store", known), 2, "there is no application nobody; there is"),
        (("abort", "nobody", "--store", known), 2, "there is no application nobody in this store"),
        (("status", "split/99", "--store", known), 2, "there is no release split/99"),
        (("status", "split/x", "--store", known), 2, "write APP or APP/VERSION"),
        (("status", "--logs", str(missing)), 2, "missing.db cannot be read"),
        (("status", "--store", "postgresql://127.0.0.1:1/db"), 6, "the server cannot be reached"),
    )
    begun = [begin(*question, environment={}) for question, _, _ in questions]
    for process, (_, code, sentence) in zip(begun, questions, strict=True):
        assert_told(process.finish(), code, sentence)
    assert not missing.exists(), "asking makes nothing"


def assert_told(said: Said, code: int, sentence: str) -> None:
    """It ended with this code and this sentence, and with nothing that only a programmer reads."""
    assert sentence in said.err
    assert said.err.startswith("headgate: ")
    assert said.code == code
    assert "Traceback" not in said.err + said.out
