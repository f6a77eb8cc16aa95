"""Logs and stores as earlier versions of Headgate left them; they are never made anew.

Each folder has a store (a dump of its SQLite file), the log that was printed with it, and what the
`status` of that version said of that log. `make.py` was run in a checkout of the version:

| folder | commit | what was new |
| --- | --- | --- |
| 0001 | 27dce5e | the first daemon; left in Canary at 25 %, made by hand |
| 0002-first | 7f6c02d | verdicts can be derived again; today's are worded otherwise |
| 0002 | adf15bb | the past of stable counts |
| 0003 | f06bf6a | replicas, answers to changes by others |
| 0004-first | 1bf01e0 | approvals and promotions |
| 0004 | adfe39b | verdicts tell the rules that they were given by |
| 0005 | ad5f26a | receivers; what a release is counted by is pinned |
| 0006 | 4807f16 | what lies between two splits of users is told, and not tested |

Of 0002-first there is the log alone: its schema was changed before anybody had it.

A new schema, or new `policies.verdict.RULES`, has a folder more, made by the version before it.
"""

import gzip
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from states.status import Status

HOME = Path(__file__).parent
NAMES = sorted(folder.parent.name for folder in HOME.glob("*/log.jsonl.gz"))
STORES = sorted(folder.parent.name for folder in HOME.glob("*/store.sql.gz"))


@dataclass(frozen=True)
class Earlier:
    """What one version left."""

    log: str
    now: datetime
    """When it was left, by its store's clock."""
    weights: dict[str, int]
    """What the endpoint served then, by version."""
    statuses: list[Status]


def left(name: str) -> Earlier:
    """What a version left, by the name of its folder."""
    told = json.loads((HOME / name / "status.json").read_text())
    log = gzip.decompress((HOME / name / "log.jsonl.gz").read_bytes()).decode()
    now = datetime.fromisoformat(told["now"])
    return Earlier(log=log, now=now, weights=told["weights"], statuses=told["statuses"])


def store_of(name: str, file: Path) -> None:
    """Make the store that a version left."""
    dump = gzip.decompress((HOME / name / "store.sql.gz").read_bytes()).decode()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(dump)
