"""The Databricks App, run here as Databricks would run it: part of `make deploy-check`.

It is packed, installed by pip's rules from what was packed and nothing else, and started by the
command of databricks.yml, with the variables that the platform sets: the port, a service principal
for OAuth, secrets, and a PostgreSQL by PGHOST and its like. The workspace is the sandbox, and the
database this machine's own. Then a version is registered, the job's script rings the doorbell as
the job would, and the version is taken to Production. What only Databricks has is not here: its
proxy, its Lakebase with tokens as passwords, its trigger.
"""

import json
import os
import shutil
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
from tests.controller.postgres import postgres

ROOT = Path(__file__).parents[2]
DATABRICKS, BUILD = ROOT / "deploy/databricks", ROOT / "build/deploy"
UV = ROOT / ".venv/bin/uv"
MODEL = "main.ml_models.rag_chatbot"
TOKEN, SECRET = "the-token-of-an-app-that-is-tried", "the-secret-of-an-app-that-is-tried"
CLIENT, CLIENT_SECRET = "sandbox-client", "sandbox-secret"
INSTALL_S, WATCHED_S, LOOK_S = 300, 90, 0.1


def main() -> int:
    """Pack, install, start, ring and watch; the status is 1 if anything went otherwise."""
    app = BUILD / "app"
    python = installed(app)
    log = BUILD / "app.log"
    with postgres() as server, Sandbox.start(client_id=CLIENT, client_secret=CLIENT_SECRET) as sandbox:
        with server.database() as url:
            ...
    return 0


if __name__ == "__main__":
    sys.exit(main())
