"""Other versions of the clients against the sandbox: `make compat`.

Each row of CLIENTS is a virtual environment of its own below build/compat, with the newest versions
that install there, and a user's whole program run in it (`client.py`). It prints a table and writes
build/compat/results.json. It needs a package registry, so it is no part of `make test`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.sandbox.launch import Sandbox

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/compat"
UV = ROOT / ".venv/bin/uv"
INSTALL_S, RUN_S = 600, 180
CLIENTS: dict[str, tuple[str, ...]] = {
    "newest": ("databricks-sdk", "mlflow"),
    # MLflow 2 imports pkg_resources, which newer setuptools do not have.
    "mlflow-2": ("databricks-sdk", "mlflow>=2.22,<2.23", "setuptools<81"),
    # Its deploy() creates the endpoint; what it calls after that is its review app's, and a 501.
    "agents": ("databricks-agents", "mlflow"),
}


def environment(name: str, packages: tuple[str, ...]) -> Path | str:
    """The Python of an environment with these packages, or why there is none."""
    folder = BUILD / name
    python = folder / "bin/python"
    make = [str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    install = [str(UV), "pip", "install", "--quiet", "--upgrade", "--python", str(python)]
    try:
        if not python.exists():
            subprocess.run(make, check=True, capture_output=True, text=True, timeout=INSTALL_S)
        subprocess.run(
            [*install, *packages], check=True, capture_output=True, text=True, timeout=INSTALL_S
        )
    except subprocess.CalledProcessError as error:
        return f"does not install: {error.stderr.strip()[-200:]}"
    except subprocess.TimeoutExpired:
        return f"does not install within {INSTALL_S} s"
    return python


def outcome(name: str, sandbox: Sandbox) -> dict[str, Any]:
    """What came of one row."""
    python = environment(name, CLIENTS[name])
    if isinstance(python, str):
        return {"versions": {}, "results": {"install": python}}
    told = {
        "PATH": os.environ["PATH"],
        "HOME": str(BUILD / "home"),
        "DATABRICKS_HOST": sandbox.host,
        "DATABRICKS_TOKEN": sandbox.token,
        "MLFLOW_TRACKING_URI": "databricks",
        "MLFLOW_REGISTRY_URI": "databricks-uc",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    model, endpoint = f"main.compat.greeter_{name.replace('-', '_')}", f"compat-{name}"
    command = [str(python), str(Path(__file__).with_name("client.py")), model, endpoint]
    try:
        run = subprocess.run(
            command, env=told, cwd=BUILD, capture_output=True, text=True, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"versions": {}, "results": {"run": f"did not end within {RUN_S} s"}}
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        return {"versions": {}, "results": {"run": run.stderr.strip()[-300:]}}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def main() -> int:
    """Run every row; the status is 1 if the newest clients or MLflow 2 failed anywhere."""
    (BUILD / "home").mkdir(parents=True, exist_ok=True)
    found = {}
    with Sandbox.start() as sandbox:
        for name in CLIENTS:
            found[name] = outcome(name, sandbox)
            show(name, found[name])
    (BUILD / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    required = [found[name]["results"] for name in ("newest", "mlflow-2")]
    return int(any(result != "ok" for results in required for result in results.values()))


def show(name: str, found: dict[str, Any]) -> None:
    """One row of the table: the versions, then each step."""
    versions = ", ".join(
        f"{package} {number}" for package, number in found["versions"].items() if number != "-"
    )
    steps = ", ".join(f"{step} {result}" for step, result in found["results"].items())
    sys.stdout.write(f"{name:10} {versions}\n{'':10} {steps}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
