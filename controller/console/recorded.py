"""What only a real workspace can tell, written down by `headgate doctor --record FILE`.

One JSON object: `schema` (1), `recorded_at` (RFC 3339, UTC), `emulated` (the workspace is on
loopback, so it proves nothing of Databricks), `sdk` (databricks-sdk's version),
`authentication` (the method), and `applications`, by name. Each application has these keys, and
each key an object of `value` and `why`: an answer that reading cannot give is null, and `why` says
what would give it.

- `metrics_labels`: the names of the labels of each metric of the export.
- `metrics_entity_label`: the label whose values are served entities' names; "" if there is none.
- `update_keeps_served_entity_id`: true when an id outlived a later change of the configuration.
- `update_seconds`: how long a change of traffic alone takes.
- `update_failed`: if the last change failed, whether a pending configuration is still shown.
- `weights_must_sum_to_100`, `alias_as_entity_version`, `weights_are_sticky`,
  `fallback_on_entity_path`, `route_optimized_entity_path`: only trying can tell.
- `table_columns`, `served_entities_columns`: names and types.
- `table_lag_s`: `p5 p50 p95 p99 max` from request to commit, and `rows`, over one day.
- `newest_row_age_s`: how old the newest row was: the lag is at most that, while there are requests.
- `table_duplicate_share`: rows written once more, as a share of the day's requests.
- `table_statuses`: how many requests of the day ended with each status: which are logged at all.
- `request_coverage`, `error_coverage`: what the table has, as a share of one minute's metrics.
- `audit_actions`: the audit log's names of actions on endpoints.
- `endpoint_usage_rows`: rows of `system.serving.endpoint_usage` about the endpoint.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

from controller.console.examination import Examination
from controller.settings import SettingsError
from controller.workspace import metrics
from controller.workspace.checks import Identity
from controller.workspace.errors import WorkspaceError
from states.status import rfc3339

SCHEMA = 1
FAILURES = ("request_4xx_count_total", "request_5xx_count_total")
SERVED_ENTITIES = "system.serving.served_entities"


class Answer(TypedDict):
    """What was read, or why reading does not tell."""

    value: object
    why: str | None


UNREADABLE: Mapping[str, str] = {
    "update_seconds": "the API does not tell when a change ended: make one, and watch it",
    "weights_must_sum_to_100": "only an update with other weights tells",
    "alias_as_entity_version": "only an update that names an alias tells",
    "weights_are_sticky": "only many requests of one caller tell",
    "fallback_on_entity_path": "only failing requests, with the fallback on, tell",
    "route_optimized_entity_path": "only a request to a route-optimised endpoint tells",
}


def write(path: Path, identity: Identity, examined: Mapping[str, Examination]) -> None:
    """Write the record of all applications, or say why it cannot be written."""
    document = {
        "schema": SCHEMA,
        "recorded_at": rfc3339(datetime.now(UTC)),
        "emulated": identity.loopback,
        "sdk": version("databricks-sdk"),
        "authentication": identity.method,
        "applications": {name: answers(one) for name, one in examined.items()},
    }
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def answers(one: Examination) -> dict[str, Answer]:
    """Every key's answer for one application."""
    found = {key: _unknown(why) for key, why in UNREADABLE.items()}
    return found | _of_endpoint(one) | _of_metrics(one) | _of_table(one) | _of_system(one)


def _of_endpoint(one: Examination) -> dict[str, Answer]:
    if one.endpoint is None or one.detail is None:
        failed = _unknown("there is no endpoint to read")
    elif not one.endpoint.update_failed:
        failed = _unknown("the endpoint's last change did not fail")
    else:
        failed = _known({"pending_config_kept": one.detail.pending_config is not None})
    return {"update_failed": failed, "update_keeps_served_entity_id": _outlived(one)}


def _of_metrics(one: Examination) -> dict[str, Answer]:
    if one.endpoint is None or not one.export:
        why = "the endpoint exports no metrics now"
        return {"metrics_labels": _unknown(why), "metrics_entity_label": _unknown(why)}
    labels = metrics.Labels.read(one.export)
    names = frozenset(one.endpoint.serving.shares)
    told = {metric: sorted(by_name) for metric, by_name in sorted(labels.by_metric.items())}
    return {
        "metrics_labels": _known(told),
        "metrics_entity_label": _known(labels.naming(metrics.REQUESTS, names) or ""),
    }


def _of_table(one: Examination) -> dict[str, Answer]:
    """What the inference table shows of itself."""
    keys = (
        *("table_columns", "table_lag_s", "newest_row_age_s", "table_duplicate_share"),
        *("table_statuses", "request_coverage", "error_coverage"),
    )
    found = {key: _unknown("the inference table could not be read") for key in keys}
    if one.columns:
        found["table_columns"] = _known(one.columns)
    table, health = one.table, one.health
    if table is None or health is None:
        return found
    found["table_lag_s"] = _asked(lambda: one.checks.lag(table, health.now - timedelta(days=1)))
    found["table_statuses"] = _asked(lambda: one.checks.statuses(table))
    if health.age is None or not health.day_requests:
        why = "the table has no row of the last day"
        return found | {key: _unknown(why) for key in keys[2:4]} | _coverage(one)
    repeated = health.day_rows - health.day_requests
    found["newest_row_age_s"] = _known(round(health.age.total_seconds(), 1))
    found["table_duplicate_share"] = _known(round(repeated / health.day_requests, 4))
    return found | _coverage(one)


def _coverage(one: Examination) -> dict[str, Answer]:
    """Requests and errors in the table, as shares of those in one minute's metrics."""
    if one.coverage is None:
        why = "the table and the metrics have no minute with requests in common: record again"
        return {"request_coverage": _unknown(why), "error_coverage": _unknown(why)}
    counted, requests, errors = one.coverage
    failed = sum(_newest(one.export, metric) for metric in FAILURES)
    none_failed = _unknown("no request of that minute failed")
    return {
        "request_coverage": _known(round(requests / counted, 4)),
        "error_coverage": _known(round(errors / failed, 4)) if failed else none_failed,
    }


def _newest(export: str, metric: str) -> float:
    counted = metrics.samples(export, metric)
    return counted[max(counted)] if counted else 0.0


def _of_system(one: Examination) -> dict[str, Answer]:
    if not one.sql:
        why = "no SQL warehouse answers"
        keys = ("served_entities_columns", "audit_actions", "endpoint_usage_rows")
        return {key: _unknown(why) for key in keys}
    return {
        "served_entities_columns": _asked(lambda: one.checks.columns(SERVED_ENTITIES)),
        "audit_actions": _asked(one.checks.actions),
        "endpoint_usage_rows": _asked(lambda: one.checks.usage_rows(one.settings.endpoint)),
    }


def _outlived(one: Examination) -> Answer:
    """Whether a served entity kept its id through a change of the endpoint's configuration.

    It did, where requests that came after the endpoint was last touched carry an id that is older
    than the configuration they were served by. That another id came up proves nothing: an entity
    may have been resized.
    """
    table = one.table
    touched = one.detail and one.detail.last_updated_timestamp
    if one.endpoint is None or table is None or not one.entities or not touched:
        return _unknown("the inference table and the system table are needed, with their rows")
    try:
        newest = one.checks.newest_by_id(table)
    except WorkspaceError as error:
        return _unknown(str(error))
    now = one.endpoint.config_version
    born: dict[str, int] = {}
    for row in one.entities:
        if row.config_version is not None:
            born[row.id] = min(row.config_version, born.get(row.id, row.config_version))
    if any(seen_ms > touched and born.get(key, now) < now for key, seen_ms in newest.items()):
        return _known(value=True)
    return _unknown("no request after a change is in the table yet: change the traffic, and record")


def _known(value: object) -> Answer:
    return {"value": value, "why": None}


def _unknown(why: str) -> Answer:
    return {"value": None, "why": why}


def _asked(look: Callable[[], object]) -> Answer:
    try:
        return _known(look())
    except WorkspaceError as error:
        return _unknown(str(error))
