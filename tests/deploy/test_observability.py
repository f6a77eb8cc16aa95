"""Alerts, dashboard and list of metrics: each names what a scrape really has, and all of that."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from controller.settings import HttpSettings
from tests.controller.daemon.test_exposition import scraped
from tests.controller.house import opened
from tests.markdown import Page

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "headgate.rules.yaml"
RULES_TEST = DEPLOY / "prometheus" / "headgate.rules.test.yaml"
LIST = DEPLOY / "prometheus" / "README.md"
DASHBOARD = DEPLOY / "grafana" / "headgate.json"
NAME = re.compile(r"\bheadgate_[a-z_]+\b")
SELECTOR = re.compile(r"\b(headgate_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|group_left) ?\(([^)]*)\)")
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}
OF_THE_SCRAPE = {"instance", "job", "le", "alertname"}


@dataclass(frozen=True)
class Family:
    """One metric of a scrape."""

    name: str
    kind: str
    labels: tuple[str, ...]
    told: str

    @property
    def series(self) -> set[str]:
        return {self.name + suffix for suffix in SUFFIXES[self.kind]}

    @property
    def row(self) -> str:
        shown = self.name + ("_total" if self.kind == "counter" else "")
        shown += "_info" if self.kind == "info" else ""
        labels = ", ".join(f"`{one}`" for one in self.labels) or "-"
        return f"| `{shown}` | {self.kind} | {labels} | {self.told} |"


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    with opened(tmp_path_factory.mktemp("house")) as house:
        house.passes()
        with scraped(house) as target:
            return list(_families(target.instruments.registry))


def _families(registry: CollectorRegistry) -> Iterator[Family]:
    counted = {
        name: tuple(getattr(one, "_labelnames", ()))
        for one, names in registry._collector_to_names.items()
        for name in names
    }
    for one in registry.collect():
        if not one.name.startswith("headgate"):
            continue
        labels = getattr(one, "_labelnames", ()) or counted.get(one.name, ())
        if one.type == "info":
            labels = tuple(one.samples[0].labels)
        yield Family(one.name, one.type, tuple(labels), one.documentation)


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def queries() -> list[str]:
    """Every expression of the dashboard."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            found.extend(value[key] for key in ("expr", "definition") if key in value)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(DASHBOARD.read_text()))
    return found


def test_what_alerts_and_dashboard_ask_for_is_there_with_the_labels_that_they_name(
    families: list[Family],
) -> None:
    known = {name: family for family in families for name in family.series}
    every = {label for family in families for label in family.labels} | OF_THE_SCRAPE
    for query in [one["expr"] for one in alerts()] + queries():
        assert set(NAME.findall(query)) <= known.keys(), query
        for name, selector in SELECTOR.findall(query):
            labels = set(re.findall(r"([a-z_]+) ?(?:=~|!~|!=|=)", selector))
            assert labels <= {*known[name].labels, *OF_THE_SCRAPE}, query
        grouped = {label.strip() for one in GROUPED.findall(query) for label in one.split(",")}
        assert grouped - {""} <= every, query
        assert query.count("(") == query.count(")")
        assert query.count("{") == query.count("}")


def test_every_metric_is_on_the_dashboard(families: list[Family]) -> None:
    asked = {name for query in queries() for name in NAME.findall(query)}
    unseen = [family.name for family in families if not family.series & asked]
    assert unseen == []


def test_the_list_of_metrics_is_what_a_scrape_tells(families: list[Family]) -> None:
    rows = [line for line in LIST.read_text().splitlines() if line.startswith("| `headgate")]
    assert rows == [family.row for family in sorted(families, key=lambda one: one.name)]


def test_every_alert_says_what_is_wrong_what_to_do_and_how_soon() -> None:
    names = [one["alert"] for one in alerts()]
    assert len(set(names)) == len(names)
    for one in alerts():
        assert one["labels"]["severity"] in {"page", "ticket", "info"}, one
        assert one["annotations"].keys() == {"summary", "action", "runbook"}, one
        assert all(len(text) > 20 for text in one["annotations"].values()), one


def test_every_alert_is_tried_by_make_alerts_check() -> None:
    told = RULES_TEST.read_text()
    for one in alerts():
        assert f'"{one["alert"]}"' in told, f"{one['alert']} never fires in {RULES_TEST.name}"
    shown = LIST.read_text()
    assert [one["alert"] for one in alerts() if f"`{one['alert']}`" not in shown] == []


def test_prometheus_is_told_where_the_daemon_listens_and_where_the_rules_are() -> None:
    told = yaml.safe_load(Page(LIST).block("Prometheus' configuration", "yaml"))
    [job] = told["scrape_configs"]
    [static] = job["static_configs"]
    assert [one.rpartition(":")[2] for one in static["targets"]] == [str(HttpSettings().port)]
    assert job["authorization"].keys() == {"credentials_file"}
    assert [LIST.with_name(one) for one in told["rule_files"]] == [RULES]


def test_the_dashboard_has_its_panels_apart_and_takes_its_source_from_a_variable() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for one in panels:
        grid = one["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, one["title"]
        taken |= cells
        if one["type"] != "row":
            assert one["description"]
            assert one["targets"]
            assert one["datasource"]["uid"] == "${datasource}"
    assert {one["name"] for one in dashboard["templating"]["list"]} == {"datasource", "application"}


if __name__ == "__main__":  # prints the rows of the list
    import tempfile

    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder)) as house,
        scraped(house) as target,
    ):
        found = sorted(_families(target.instruments.registry), key=lambda one: one.name)
        print(*(family.row for family in found), sep="\n")  # noqa: T201
