"""A record of a real workspace (`headgate doctor --record FILE`), read as settings of this one."""

import json
from pathlib import Path
from typing import Any

from deploy.sandbox.workspace import Settings

SCHEMA = 1


class Unreadable(Exception):  # noqa: N818 - it is a sentence for the operator
    """Why a file cannot be read as a record."""


def read(file: Path) -> dict[str, Any]:
    """The settings that a record tells of; each from the first application that knows it."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise Unreadable(f"{file}: this sandbox reads records of schema {SCHEMA}")
        answers = list(document["applications"].values())
        return _lag(answers) | _manners(answers)
    except OSError as error:
        raise Unreadable(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{file} is no record of `headgate doctor --record`") from error


def _lag(answers: list[Any]) -> dict[str, Any]:
    """Lag and jitter from the middle nine tenths: a uniform jitter has no long tail."""
    lag = _first(answers, "table_lag_s")
    if lag is None:
        return {}
    least, most = float(lag["p5"]), float(lag["p95"])
    return {"table_lag_s": least, "table_lag_jitter_s": most - least}


def _manners(answers: list[Any]) -> dict[str, Any]:
    """Which rows come twice, and which do not come."""
    found: dict[str, Any] = {}
    share, seen = _first(answers, "table_duplicate_share"), _first(answers, "table_statuses")
    if share is not None:
        # More than one copy of everything is more than this workspace can do.
        found["table_duplicate_share"] = min(1.0, float(share))
    if seen is not None:
        # A status that was seen is logged; of the others nothing is known but the documentation.
        usual = Settings.table_skip_statuses
        found["table_skip_statuses"] = tuple(one for one in usual if str(one) not in seen)
    return found


def _first(answers: list[Any], key: str) -> Any:  # noqa: ANN401 - a JSON value
    return next((one[key]["value"] for one in answers if one[key]["value"] is not None), None)
