"""Six durable steps by DBOS, over and over: run by `tests.benchmarks.durable` in DBOS' environment.

    python dbos_steps.py DATABASE RELEASES

DBOS keeps its system database in SQLite, in SQLite's own default: a rollback journal and
`synchronous=FULL`, which is what Headgate's store has too, so both sides promise alike.
"""

import json
import logging
import sys
import time

from dbos import DBOS  # type: ignore[import-not-found]  # installed for this benchmark alone

STATES = ("Registered", "Provisioning", "Testing", "Canary", "Production", "Retired")


@DBOS.step()  # type: ignore[untyped-decorator]
def enter(state: str) -> str:
    """One durable step: its outcome is written down before the next begins."""
    return state


@DBOS.workflow()  # type: ignore[untyped-decorator]
def release() -> str:
    """Six of them."""
    reached = ""
    for state in STATES:
        reached = enter(state)
    return reached


def main() -> None:
    """Run so many releases, and tell how long they took."""
    database, releases = sys.argv[1], int(sys.argv[2])
    logging.disable(logging.WARNING)
    DBOS(config={"name": "steps", "system_database_url": f"sqlite:///{database}"})
    DBOS.launch()
    release()
    begun = time.monotonic()
    for _ in range(releases):
        release()
    took = time.monotonic() - begun
    steps = releases * len(STATES)
    sys.stdout.write(json.dumps({"steps": steps, "seconds": took}) + "\n")
    DBOS.destroy()


if __name__ == "__main__":
    main()
