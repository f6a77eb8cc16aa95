"""The Databricks bundle: what it says of the app and the job is what the daemon and they need.

No machine here can run it: `make deploy-check` holds it to Databricks' types, and runs the app.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.daemon.http import APPS, OPEN
from controller.settings import load
from controller.signing import PATH
from controller.variables import VARIABLES

DATABRICKS = Path(__file__).parents[2] / "deploy/databricks"
PLATFORM = {"DATABRICKS_APP_PORT": "8000", "LAKEBASE_ENDPOINT": "projects/p/branches/b/endpoints/e"}
SECRETS = {"HEADGATE_TOKEN": "a-token-of-sufficient-length", "HEADGATE_WEBHOOK_SECRET": "s" * 32}


@pytest.fixture(scope="module")
def bundle() -> dict[str, Any]:
    said: dict[str, Any] = yaml.safe_load((DATABRICKS / "databricks.yml").read_text())
    return said


def test_the_app_is_given_what_it_reads_and_each_resource_for_a_reason(
    bundle: dict[str, Any],
) -> None:
    app = bundle["resources"]["apps"]["headgate"]
    named = {one["name"] for one in app["config"]["env"]}
    assert named - SECRETS.keys() - PLATFORM.keys() <= VARIABLES.keys()
    assert named >= SECRETS.keys() | {"LAKEBASE_ENDPOINT"}
    resources = {one["name"] for one in app["resources"]}
    read = {one["value_from"] for one in app["config"]["env"] if "value_from" in one}
    # The endpoint is no variable's: the daemon may change it, and finds it in its configuration.
    assert resources - read == {"endpoint"}
    assert read <= resources
    (DATABRICKS / app["source_code_path"] / app["config"]["command"][1]).stat()


def test_the_apps_principal_is_given_the_least_that_works(bundle: dict[str, Any]) -> None:
    given = {
        next(iter(kind.keys() - {"name", "description"})): kind
        for kind in bundle["resources"]["apps"]["headgate"]["resources"]
    }
    granted = {kind: one[kind]["permission"] for kind, one in given.items()}
    assert granted == {
        "sql_warehouse": "CAN_USE",
        "postgres": "CAN_CONNECT_AND_CREATE",
        "serving_endpoint": "CAN_MANAGE",
        "secret": "READ",
    }


def test_the_job_rings_where_the_daemon_listens(bundle: dict[str, Any]) -> None:
    job = bundle["resources"]["jobs"]["doorbell"]
    (task,) = job["tasks"]
    url, updates, ringer = task["spark_python_task"]["parameters"]
    assert url == f"${{resources.apps.headgate.url}}{APPS}{PATH}"
    assert PATH in OPEN
    assert updates == "{{job.trigger.model.updates}}"
    assert ringer == job["run_as"]["service_principal_name"]
    (allowed,) = bundle["resources"]["apps"]["headgate"]["permissions"]
    assert (allowed["service_principal_name"], allowed["level"]) == (ringer, "CAN_USE")
    (DATABRICKS / task["spark_python_task"]["python_file"]).stat()


def test_every_variable_of_the_bundle_is_used_and_every_used_one_is_there(
    bundle: dict[str, Any],
) -> None:
    used = set(re.findall(r"\$\{var\.([a-z_]+)\}", (DATABRICKS / "databricks.yml").read_text()))
    assert used == bundle["variables"].keys()


def test_the_apps_example_of_a_configuration_is_taken() -> None:
    assert "rag-chatbot" in load(DATABRICKS / "app/headgate.yaml").applications


def test_the_app_becomes_headgate_with_its_secrets_in_files_and_no_longer_in_the_environment(
    tmp_path: Path,
) -> None:
    # In place of Headgate, something that tells what it was started with.
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller/__init__.py").touch()
    (tmp_path / "controller/__main__.py").write_text(
        "import os, pathlib, sys\n"
        "print(sys.argv[1:3], os.environ['HEADGATE_HTTP'], os.environ['HEADGATE_STORE'])\n"
        "for name in ('HEADGATE_TOKEN', 'HEADGATE_WEBHOOK_SECRET'):\n"
        "    file = pathlib.Path(os.environ[name + '_FILE'])\n"
        "    print(name in os.environ, oct(file.stat().st_mode)[-3:], file.read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, DATABRICKS / "app/start.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **PLATFORM, **SECRETS},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    store = f"postgresql:///?lakebase={PLATFORM['LAKEBASE_ENDPOINT']}"
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"['run', '--config'] 0.0.0.0:8000 {store}",
        *(f"False 600 {secret}" for secret in SECRETS.values()),
    ]
