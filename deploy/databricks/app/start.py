"""Starts Headgate as a Databricks App: what the platform hands over becomes Headgate's settings.

An app is told its port, gets secrets as variables, and its database as PGHOST, PGUSER and their
like, with the name of what gives out passwords for it. This process becomes Headgate itself, so
that the platform's SIGTERM reaches it.
"""

# ruff: noqa: INP001 - a script, and no package

import os
import sys
import tempfile
from pathlib import Path

FILES = {
    "HEADGATE_TOKEN": "HEADGATE_TOKEN_FILE",
    "HEADGATE_WEBHOOK_SECRET": "HEADGATE_WEBHOOK_SECRET_FILE",
}
"""The variable that has a secret, and the one that is to name a file with it."""

private = Path(tempfile.mkdtemp(prefix="headgate-"))  # for its owner only
for secret, file in FILES.items():
    path = private / secret.lower()
    path.touch(mode=0o600)
    path.write_text(os.environ.pop(secret), encoding="utf-8")
    os.environ[file] = str(path)
# It is reached by way of the platform's proxy, which lets only known users through.
os.environ["HEADGATE_HTTP"] = f"0.0.0.0:{os.environ['DATABRICKS_APP_PORT']}"
if "LAKEBASE_ENDPOINT" in os.environ:
    os.environ["HEADGATE_STORE"] = f"postgresql:///?lakebase={os.environ['LAKEBASE_ENDPOINT']}"
config = str(Path(__file__).with_name("headgate.yaml"))
run = ["-m", "controller", "run", "--config", config]
os.execv(sys.executable, [sys.executable, *run])  # noqa: S606 - no shell, and nobody's words
