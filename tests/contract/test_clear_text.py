"""Credentials cross no network where everybody on the way could read them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from controller.workspace.client import connect
from controller.workspace.errors import Unconfigured
from tests.contract.recorder import Recorder, recording

CONFIG = """\
applications:
  bot:
    model: main.e2e.bot
    endpoint: bot
    tests: [{query: Delta}]
"""
COMMANDS = {
    "init": "init --endpoint bot --output new.yaml",
    "plan": "plan --config headgate.yaml",
    "doctor": "doctor --config headgate.yaml",
    "report": "report bot --config headgate.yaml",
}
"""Commands that speak to the workspace before they need a record of anything."""


@pytest.fixture
def there() -> Iterator[Recorder]:
    """What must not be asked anything."""
    with recording() as found:
        yield found


@pytest.fixture(params=["pat", "oauth"])
def signed(
    request: pytest.FixtureRequest, there: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Credentials of each kind, for the recorder under another of its names."""
    for variable in ("TOKEN", "CLIENT_ID", "CLIENT_SECRET", "CONFIG_PROFILE"):
        monkeypatch.delenv(f"DATABRICKS_{variable}", raising=False)
    if request.param == "pat":
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-of-somebody")
    else:
        monkeypatch.setenv("DATABRICKS_CLIENT_ID", "headgate")
        monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "dose-of-the-service-principal")

    def named(form: str) -> None:
        port = there.host.rpartition(":")[2]
        monkeypatch.setenv("DATABRICKS_HOST", form.format(port=port))

    return named


@pytest.mark.parametrize("form", ["http://0.0.0.0:{port}", "HTTP://0.0.0.0:{port}/", "ftp://h"])
def test_an_address_without_tls_is_refused_before_anything_is_sent(
    signed: Callable[[str], None], there: Recorder, form: str
) -> None:
    signed(form)
    with pytest.raises(Unconfigured, match="write https:// in DATABRICKS_HOST") as refused:
        connect()
    assert f"{form.partition(':')[0].lower()}://" in str(refused.value)
    assert there.asked == []


def test_the_address_of_a_profile_is_held_to_the_same(
    there: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "databrickscfg"
    host = there.host.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - where nobody listens
    profile.write_text(f"[clear]\nhost = {host}\ntoken = dapi-of-somebody\n")
    for variable in ("HOST", "TOKEN"):
        monkeypatch.delenv(f"DATABRICKS_{variable}", raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(profile))
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "clear")
    with pytest.raises(Unconfigured, match="or in the profile"):
        connect()
    assert there.asked == []


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_a_sandbox_on_this_machine_needs_no_tls(
    signed: Callable[[str], None], there: Recorder, form: str
) -> None:
    signed(form)
    connect()
    assert there.asked, "what a host says of itself, or its token endpoint, was asked for"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_would_speak_to_the_workspace_refuses(
    command: str, there: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "headgate.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    host = there.host.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - where nobody listens
    for name, value in (
        ("DATABRICKS_HOST", host),
        ("DATABRICKS_TOKEN", "dapi-of-somebody"),
        ("DATABRICKS_WAREHOUSE_ID", "some"),
        ("HEADGATE_ALLOW_HTTP", "yes"),
        ("HEADGATE_HTTP", "off"),
    ):
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(app, COMMANDS[command].split())
    assert told.exit_code == 2, told.output
    assert "write https:// in DATABRICKS_HOST" in told.output
    assert there.asked == []
