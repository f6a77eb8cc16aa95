"""`headgate doctor` against the sandbox: what is well, and each thing that would stop a release."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    AiGatewayInferenceTableConfig,
    FallbackConfig,
    ServingEndpointDetailed,
)
from typer.testing import CliRunner

from controller.console.cli import app
from controller.record.schema import VERSION
from controller.record.store import Store
from controller.settings import load
from controller.workspace import decode, metrics, statements
from controller.workspace.checks import Checks, Identity, Offset
from controller.workspace.client import connect
from controller.workspace.metrics import Labels
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from controller.workspace.statements import Statements
from deploy.sandbox import recorded
from deploy.sandbox.__main__ import _options
from deploy.sandbox.launch import Sandbox
from states.counted import Paths
from states.plan import Plan
from states.world import Endpoint, Serving, Share
from tests.contract.conftest import MODEL, Split, Workspace, entity, name, serving, settled

NAME = "bot"
USERS = 20


@dataclass(frozen=True)
class Case:
    """A configuration of one application, and where the doctor is called."""

    here: Path
    endpoint: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: object) -> "Case":
        return replace(self, changes={**self.changes, **changes})

    @property
    def config(self) -> Path:
        one = {
            "model": MODEL,
            "endpoint": self.endpoint,
            "alias": "unset",
            "serving": {"environment": "none"},
            "tests": [{"query": "What is Delta?", "expect": {"answer_contains": ["ACID"]}}],
        }
        file = self.here / "headgate.yaml"
        file.write_text(yaml.safe_dump({"applications": {NAME: {**one, **self.changes}}}))
        return file

    def visit(self, *options: str) -> "Visit":
        """Call the command as an operator does."""
        command = ["doctor", "--config", str(self.config), "--json", *options]
        result = CliRunner().invoke(app, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        report = json.loads(result.stdout) if result.stdout else {"findings": []}
        return Visit(result.exit_code, report["findings"], result.stderr)


@dataclass(frozen=True)
class Visit:
    """What the doctor said."""

    exit_code: int
    findings: list[dict[str, Any]]
    stderr: str

    def marks(self, mark: str) -> dict[str, str]:
        """What bears a mark, with what was found and the remedy."""
        return {
            one["what"]: f"{one['found']}: {one['remedy']}"
            for one in self.findings
            if one["mark"] == mark
        }

    @property
    def stops(self) -> dict[str, str]:
        return self.marks("stops")


@pytest.fixture(scope="session")
def endpoint(running: Sandbox, model: str) -> str:
    """One version with all traffic, an inference table, and users' requests in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", running.host)
        patch.setenv("DATABRICKS_TOKEN", running.token)
        endpoints, made = Endpoints(connect()), name()
        table = TableLocation("main", "serving")
        settings = ServingSettings(model=model, inference_table=table)
        endpoints.create(made, serving(model, v1=100), settings)
        settled(endpoints, made)
        with requests.Session() as users:
            users.headers["Authorization"] = f"Bearer {running.token}"
            url = f"{running.host}/serving-endpoints/{made}/invocations"
            for number in range(USERS):
                body = {"dataframe_records": [{"query": f"question {number}"}]}
                users.post(url, json=body, timeout=10).raise_for_status()
        deadline = time.monotonic() + 20
        checks = Checks(connect(), "sandbox")
        while checks.health(f"main.serving.{made}_payload").day_requests < USERS:
            assert time.monotonic() < deadline, "the rows never became visible"
            time.sleep(0.2)
        return made


@pytest.fixture
def case(
    tmp_path: Path, workspace: Workspace, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Case:
    assert workspace.host
    # The shared sandbox answers PENDING first, and a visit sends several statements.
    monkeypatch.setattr(statements, "POLL_S", 0.01)
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "sandbox")
    monkeypatch.setenv("HEADGATE_STORE", f"sqlite:///{tmp_path / 'headgate.db'}")
    return Case(tmp_path, endpoint)


@pytest.fixture
def bare(client: WorkspaceClient, model: str) -> Iterator[str]:
    """An endpoint without an inference table, which is deleted at the end."""
    endpoints, made = Endpoints(client), name()
    endpoints.create(made, serving(model, v1=100), ServingSettings(model=model))
    settled(endpoints, made)
    yield made
    client.serving_endpoints.delete(made)


def test_a_healthy_application_is_fine_and_nothing_was_changed(
    case: Case, workspace: Workspace
) -> None:
    before = workspace.last()
    visit = case.visit("--probe")
    assert (visit.exit_code, visit.stops, visit.marks("warn")) == (0, {}, {})
    assert visit.marks("ok").keys() >= {
        *("workspace", "SQL warehouse", "SQL statement", "clocks", "store", "model"),
        *("right to set the alias", "tags", "signature", "newest version", "alias", "endpoint"),
        *("permission", "adoption", "environment", "room", "fallback", "metrics"),
        *("inference table", "table's rows", "served entities", "system.serving.served_entities"),
        *("golden queries", "answers", "streams", "golden query"),
    }
    assert visit.marks("ok")["answers"].startswith("20 in the last day: 20 with text, 20 with so")
    sent = {(verb, path) for verb, path, _ in workspace.asked(before)}
    posted = {path for verb, path in sent if verb not in ("GET", "HEAD")}
    # MLflow reads a file through the last two, and so tells the lineage that it was read.
    assert posted == {
        "/api/2.0/sql/statements",
        "/api/2.0/fs/create-download-url",
        "/api/2.0/mlflow/unity-catalog/model-versions/emit-lineage",
    }
    assert not (case.here / "headgate.db").exists()


def test_paths_that_lead_nowhere_are_told_with_the_share_of_answers_that_have_something_there(
    case: Case,
) -> None:
    wrong = {"answer": "$.choices[0].message.content", "tokens": "$.usage.total_tokens"}
    visit = case.but(response=wrong).visit()
    warned = visit.marks("warn")
    assert warned.keys() == {"response.answer", "response.tokens"}
    told = "0 % of the answers have text at $.choices[0].message.content: correct response.answer"
    assert warned["response.answer"].startswith(told)
    assert visit.exit_code == 0, "a warning stops nothing"


def test_what_streaming_hides_is_told_where_users_stream(
    case: Case, workspace: Workspace, split: Split, client: WorkspaceClient
) -> None:
    url = f"{workspace.host}/serving-endpoints/{split.endpoint}/invocations"
    body = {"dataframe_records": [{"query": "q"}], "stream": True}
    headers = {"Authorization": f"Bearer {workspace.token}"}
    requests.post(url, json=body, headers=headers, timeout=10).raise_for_status()
    checks, paths = Checks(client, "sandbox"), Paths(answer="$.predictions[0].answer")
    deadline = time.monotonic() + 20
    while not checks.answers(split.table, paths).streamed:
        assert time.monotonic() < deadline, "the row never became visible"
        time.sleep(0.2)
    told = case.but(endpoint=split.endpoint).visit().marks("warn")["streams"]
    assert "of the last day's answers were streamed" in told
    assert "latency is that of the last token" in told
    assert "status 200" in told


def test_the_model_is_not_asked_unless_that_is_wanted(case: Case) -> None:
    assert "--probe" in case.visit().marks("skip")["golden query"]


def test_a_golden_query_that_the_running_version_would_refuse_is_told(case: Case) -> None:
    chat = {"request": {"messages": [{"role": "user", "content": "hello"}]}}
    visit = case.but(tests=[{"query": "What is Delta?"}, chat]).visit()
    assert visit.exit_code == 2
    assert visit.stops["golden queries"].startswith(
        "query 2 does not fit version 1: the signature takes no messages: "
    )


def test_a_golden_table_that_is_not_there_is_told(case: Case) -> None:
    visit = case.but(tests={"table": "main.golden.nowhere"}).visit("--probe")
    assert "check tests.table" in visit.stops["golden table"]
    assert visit.marks("skip")["golden query"] == "not looked at: none is known: None"


def test_for_eyes_each_finding_is_one_line(case: Case) -> None:
    result = CliRunner().invoke(app, ["doctor", "--config", str(case.config)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "  ok    permission: CAN_MANAGE on the endpoint" in lines
    assert [line for line in lines if not line.startswith("  ")] == ["workspace and store", NAME]


def test_a_refused_token_is_the_workspaces(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "wrong")
    visit = case.visit("--record", str(case.here / "record.json"))
    assert visit.exit_code == 5
    assert "renew DATABRICKS_TOKEN" in visit.stops["workspace"]
    assert "is not written" in visit.stderr
    assert not (case.here / "record.json").exists()


def test_an_unreachable_host_is_the_workspaces(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:9")
    visit = case.visit()
    assert visit.exit_code == 5
    assert "cannot be reached: " in visit.stops["workspace"]


def test_no_credentials_are_a_matter_of_settings(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    visit = case.visit()
    assert visit.exit_code == 2
    assert "DATABRICKS_CLIENT_SECRET" in visit.stderr


def test_a_configuration_that_cannot_be_read_is_named(case: Case) -> None:
    visit = case.but(gaurds={}).visit()
    assert visit.exit_code == 2
    assert "did you mean guards?" in visit.stderr


def test_a_missing_model_is_found(case: Case) -> None:
    visit = case.but(model="main.ml_models.nothing", endpoint=name()).visit()
    assert visit.exit_code == 3
    assert "`main`.`ml_models`.`nothing` TO `sandbox@example.com`" in visit.stops["model"]
    assert "the first release creates it" in visit.marks("ok")["endpoint"]


def test_a_missing_tag_is_found(case: Case) -> None:
    visit = case.but(admission={"required_tags": ["git_sha", "trained_on"]}).visit()
    assert visit.exit_code == 3
    assert "required tags are missing: trained_on" in visit.stops["newest version"]


def test_an_undeclared_warehouse_is_a_matter_of_settings(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_WAREHOUSE_ID")
    visit = case.visit()
    assert visit.exit_code == 2
    assert "set DATABRICKS_WAREHOUSE_ID" in visit.stops["SQL warehouse"]
    assert "inference table" in visit.marks("skip")


def test_a_wrong_warehouse_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "elsewhere")
    visit = case.visit()
    assert visit.exit_code == 3
    assert "there is no warehouse elsewhere" in visit.stops["SQL warehouse"]


@pytest.mark.parametrize(("state", "mark"), [("STOPPED", "warn"), ("DELETED", "stops")])
def test_a_warehouse_that_does_not_run_is_told(
    case: Case, monkeypatch: pytest.MonkeyPatch, state: str, mark: str
) -> None:
    monkeypatch.setattr(Checks, "warehouse_state", lambda _self: state)
    assert f"sandbox is {state}" in case.visit().marks(mark)["SQL warehouse"]


def test_a_split_by_hand_is_told_as_the_daemon_would_hold(case: Case, split: Split) -> None:
    visit = case.but(endpoint=split.endpoint).visit()
    assert visit.exit_code == 3
    assert "put one version of main.ml_models.obedient to 100 %" in visit.stops["adoption"]


def test_an_alias_elsewhere_is_told(case: Case, client: WorkspaceClient) -> None:
    client.registered_models.set_alias(MODEL, "elsewhere", 3)
    visit = case.but(alias="elsewhere").visit()
    assert visit.exit_code == 3
    assert "names version 3, but version 1 has 100 %" in visit.stops["adoption"]


def test_fallback_and_a_table_that_is_not_there_are_found(
    case: Case, bare: str, client: WorkspaceClient
) -> None:
    fallback = FallbackConfig(enabled=True)
    client.serving_endpoints.put_ai_gateway(bare, fallback_config=fallback)
    visit = case.but(endpoint=bare).visit()
    assert visit.exit_code == 3
    assert visit.stops.keys() == {"fallback", "inference table"}
    for said in visit.stops.values():
        assert f"PUT /api/2.0/serving-endpoints/{bare}/ai-gateway" in said
    assert '"catalog_name": "main", "schema_name": "ml_models"' in visit.stops["inference table"]


def test_a_table_that_was_dropped_or_altered_is_found(
    case: Case, bare: str, client: WorkspaceClient
) -> None:
    table = AiGatewayInferenceTableConfig(
        catalog_name="main", schema_name="serving", table_name_prefix="dropped", enabled=True
    )
    client.serving_endpoints.put_ai_gateway(bare, inference_table_config=table)
    sql = Statements(client, "sandbox")
    sql.rows("a view", "DROP VIEW main.serving.dropped_payload", {})
    visit = case.but(endpoint=bare).visit()
    assert "does not exist, or is not to be seen" in visit.marks("warn")["inference table"]
    assert "GRANT SELECT ON TABLE `main`.`serving`.`dropped_payload`" in str(visit.findings)
    sql.rows("a view", "CREATE VIEW main.serving.dropped_payload AS SELECT 1 AS status_code", {})
    visit = case.but(endpoint=bare).visit()
    assert visit.exit_code == 3
    assert "lacks request_date, databricks_request_id" in visit.stops["inference table"]


def test_a_full_endpoint_has_no_room_for_the_candidate(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox's own answer, with fourteen more entities than it could start in a test."""
    ask = Endpoints.detail

    def full(api: Endpoints, asked: str) -> ServingEndpointDetailed | None:
        found = ask(api, asked)
        assert found is not None
        shown = found.as_dict()
        [one] = shown["config"]["served_entities"]
        shown["config"]["served_entities"] += [
            {**one, "name": entity(f"v{number}"), "entity_version": str(number)}
            for number in range(2, 16)
        ]
        return ServingEndpointDetailed.from_dict(shown)

    monkeypatch.setattr(Endpoints, "detail", full)
    visit = case.visit()
    assert visit.exit_code == 3
    assert "15 of 15 served entities" in visit.stops["room"]


def test_a_permission_that_is_too_small_is_found(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Endpoints.detail

    def lesser(api: Endpoints, asked: str) -> ServingEndpointDetailed | None:
        found = ask(api, asked)
        assert found is not None
        return ServingEndpointDetailed.from_dict(
            found.as_dict() | {"permission_level": "CAN_QUERY", "route_optimized": True}
        )

    monkeypatch.setattr(Endpoints, "detail", lesser)
    visit = case.visit()
    assert visit.exit_code == 3
    assert (
        '{"user_name": "sandbox@example.com", "permission_level": "CAN_MANAGE"}'
        in (visit.stops["permission"])
    )
    assert "route-optimised" in visit.stops["adoption"]


def test_undeclared_variables_of_an_endpoint_of_others_are_found(case: Case) -> None:
    visit = case.but(serving={}).visit()
    assert visit.exit_code == 3
    assert "environment: none" in visit.stops["environment"]


def test_entities_of_other_models_are_found_whose_variables_would_be_lost(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = decode.endpoint

    def beside(name: str, detail: ServingEndpointDetailed) -> Endpoint:
        seen = look(name, detail)
        theirs = {"theirs": Share(model="main.x.theirs", version="7", weight=0)}
        return replace(seen, serving=Serving({**seen.serving.shares, **theirs}))

    monkeypatch.setattr(decode, "endpoint", beside)
    visit = case.visit()
    assert visit.exit_code == 3
    assert "others_environment: none" in visit.stops["environment of others"]
    stated = case.but(serving={"environment": "none", "others_environment": "none"}).visit()
    assert "environment of others" not in stated.stops


def test_the_owner_alone_may_set_the_alias(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "sandbox-client")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "sandbox-secret")
    visit = case.visit()
    assert visit.exit_code == 3
    assert (
        "sandbox@example.com owns main.ml_models.obedient"
        in (visit.stops["right to set the alias"])
    )
    assert "reached as sandbox-client, by oauth-m2m" in visit.marks("ok")["workspace"]
    assert case.but(alias="none").visit().exit_code == 0


def test_an_owner_that_may_be_a_group_leaves_the_right_open(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checks, "owner", lambda _self, _model: "ml-engineers")
    visit = case.visit()
    assert visit.exit_code == 0
    assert "cannot be told without trying" in visit.marks("warn")["right to set the alias"]


DENIALS = {
    "model": ("GET", r"models/[^/]+/versions$", 3, "GRANT EXECUTE ON FUNCTION `main`"),
    "model's owner": ("GET", rf"models/{MODEL}$", 3, "GRANT USE SCHEMA"),
    "tags": ("GET", r"model-versions/get$", 3, "GRANT EXECUTE ON FUNCTION"),
    "signature": ("HEAD", r"fs/directories/.*MLmodel$", 3, "GRANT EXECUTE ON FUNCTION"),
    "endpoint": ("GET", r"serving-endpoints/[^/]+$", 3, '"permission_level": "CAN_MANAGE"'),
    "metrics": ("GET", r"/metrics$", 0, '"permission_level": "CAN_MANAGE"'),
    "SQL warehouse": ("GET", r"warehouses/sandbox$", 3, '"permission_level": "CAN_USE"'),
    "SQL statement": ("POST", r"sql/statements$", 3, '"permission_level": "CAN_USE"'),
    "golden query": ("POST", r"served-models/.*invocations$", 3, "permissions/serving-endpoints/"),
    "workspace": ("GET", r"scim/v2/Me$", 5, "grant it to the identity"),
}
"""A call that is refused with 403, the exit code, and part of the remedy."""


@pytest.mark.parametrize("what", DENIALS)
def test_a_refused_call_is_told_with_what_to_grant(
    case: Case, workspace: Workspace, what: str
) -> None:
    method, path, exit_code, remedy = DENIALS[what]
    workspace.fault(method=method, path=path, status=403, error_code="PERMISSION_DENIED")
    visit = case.visit("--probe")
    assert visit.exit_code == exit_code
    assert remedy in (visit.stops if exit_code else visit.marks("warn"))[what]
    assert "a fault that the sandbox" not in str(visit)


def test_what_is_no_workspace_is_told(case: Case, workspace: Workspace) -> None:
    workspace.fault(method="GET", path=r"scim/v2/Me$", status=200)
    visit = case.visit()
    assert visit.exit_code == 5
    assert "check that DATABRICKS_HOST" in visit.stops["workspace"]


def test_a_token_that_ends_meanwhile_is_the_workspaces(case: Case, workspace: Workspace) -> None:
    workspace.fault(method="GET", path=r"serving-endpoints/[^/]+$", status=401)
    visit = case.visit()
    assert visit.exit_code == 5
    assert "renew DATABRICKS_TOKEN" in visit.stops["endpoint"]


def test_a_call_that_fails_for_now_is_the_workspaces(case: Case, workspace: Workspace) -> None:
    workspace.fault(method="GET", path=r"serving-endpoints/[^/]+$", status=503)
    assert case.visit().exit_code == 5


def test_a_store_without_a_daemon_is_fine_and_is_left_alone(case: Case) -> None:
    file = case.here / "headgate.db"
    with _store(case):
        pass
    before = file.read_bytes()
    visit = case.visit()
    assert visit.exit_code == 0
    assert f"schema {VERSION}, can be written" in visit.marks("ok")["store"]
    assert file.read_bytes() == before


def test_a_store_that_another_daemon_holds_cannot_be_used(case: Case) -> None:
    with _store(case) as store, store.hold_lock():
        visit = case.visit()
    assert visit.exit_code == 6
    assert "is held by process" in visit.stops["store"]


def test_the_daemon_of_this_very_configuration_may_hold_its_store(case: Case) -> None:
    with _store(case) as store, store.hold_lock():
        _adopt(store, case, hold=None)
        visit = case.but(serving={}).visit()
    assert "the daemon that looks after this configuration" in visit.marks("ok")["store"]
    assert "version 1 is stable" in visit.marks("ok")["adoption"]
    assert visit.exit_code == 0, "Headgate made the endpoint: no variables of others can be lost"


def test_an_application_that_is_held_says_why(case: Case) -> None:
    with _store(case) as store:
        _adopt(store, case, hold="someone moved the alias: adopt it, or revert it")
    assert "someone moved the alias: adopt it, or" in case.visit().stops["adoption"]


def test_a_store_of_another_kind_cannot_be_used(case: Case) -> None:
    (case.here / "headgate.db").write_text("a diary\n" * 1000)
    visit = case.visit()
    assert visit.exit_code == 6
    assert "it is not a Headgate store" in visit.stops["store"]


def test_coverage_is_told_over_the_minute_that_the_metrics_show(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"main.serving.{case.endpoint}_payload"
    newest = Checks(connect(), "sandbox").health(table).newest
    assert newest is not None
    label, end = f'served_entity_name="{entity("v1")}"', int(newest.timestamp() * 1000)
    for requested, mark in ((USERS // 2, "ok"), (100 * USERS, "warn")):
        counts = {metrics.REQUESTS: requested, **dict.fromkeys(metrics.ERRORS, 0)}
        shown = "".join(f"{name}{{{label}}} {count} {end}\n" for name, count in counts.items())
        monkeypatch.setattr(metrics, "export", lambda *_, shown=shown: (shown, newest))
        visit = case.visit("--record", str(case.here / "record.json"))
        assert "in the table" in visit.marks(mark)["coverage"]
        assert "served_entity_name names the entity" in visit.marks("ok")["metrics"]
    answers = _answers(case.here / "record.json")
    assert 0 < answers["request_coverage"]["value"] < 0.95
    assert answers["error_coverage"]["why"] == "no request of that minute failed"
    assert answers["metrics_entity_label"]["value"] == "served_entity_name"


def test_answers_that_do_not_tell_the_time_are_warned_about(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = metrics.export
    monkeypatch.setattr(metrics, "export", lambda *asked: (whole(*asked)[0], None))
    assert case.visit().marks("warn")["metrics"] == f"{metrics.UNDATED}: {metrics.DATED}"


def test_a_personal_token_is_warned_about_on_a_real_workspace(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Identity(name="a@b.c", groups=frozenset(), method="pat", loopback=False)
    monkeypatch.setattr(Checks, "identity", lambda _self: real)
    assert "run as a service principal" in case.visit().marks("warn")["workspace"]


def test_clocks_that_differ_are_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    late = Offset(ahead=timedelta(seconds=-60), within=timedelta(seconds=1))
    monkeypatch.setattr(Checks, "offset", lambda _self: late)
    assert "is -60.0 s from this one" in case.visit().marks("warn")["clocks"]


def test_a_record_tells_what_was_read_and_why_the_rest_was_not(case: Case) -> None:
    file = case.here / "record.json"
    assert case.visit("--record", str(file)).exit_code == 0
    document = json.loads(file.read_text())
    assert (document["schema"], document["emulated"]) == (1, True)
    answers = _answers(file)
    assert all((one["value"] is None) == bool(one["why"]) for one in answers.values())
    assert answers["metrics_labels"]["value"]["request_count_total"] == ["endpoint_name"]
    assert answers["metrics_entity_label"]["value"] == ""
    assert answers["table_columns"]["value"]["request_time"] == "timestamp"
    assert "change_time" in answers["served_entities_columns"]["value"]
    assert answers["table_statuses"]["value"]["200"] >= USERS
    assert 0 < answers["table_duplicate_share"]["value"] < 1
    assert answers["newest_row_age_s"]["value"] > 0
    assert answers["audit_actions"]["value"] is None
    assert "only an update" in answers["weights_must_sum_to_100"]["why"]


def test_an_id_that_outlives_a_change_is_recorded(
    case: Case, client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, made = Endpoints(client), name()
    endpoints.create(made, serving(MODEL, v1=100, v2=0), settings)
    settled(endpoints, made)
    endpoints.serve(made, serving(MODEL, v1=0, v2=100), settings)
    settled(endpoints, made)
    answer = client.serving_endpoints.query(made, dataframe_records=[{"query": "hello"}])
    assert answer.predictions
    file, deadline = case.here / "record.json", time.monotonic() + 20
    checks = Checks(client, "sandbox")
    while not checks.newest_by_id(f"main.serving.{made}_payload"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert case.but(endpoint=made).visit("--record", str(file)).exit_code == 0
    assert _answers(file)["update_keeps_served_entity_id"]["value"] is True
    client.serving_endpoints.delete(made)


def test_a_record_that_cannot_be_written_is_named(case: Case) -> None:
    visit = case.visit("--record", str(case.here / "nowhere" / "record.json"))
    assert visit.exit_code == 2
    assert "cannot be written: No such file or directory" in visit.stderr


def test_the_sandbox_reads_a_record_as_settings(case: Case) -> None:
    file = case.here / "record.json"
    case.visit("--record", str(file))
    document = json.loads(file.read_text())
    answers = document["applications"][NAME]
    answers["table_lag_s"] = {"value": {"p5": 300.0, "p95": 1500.0}, "why": None}
    answers["table_statuses"]["value"]["403"] = 7
    file.write_text(json.dumps(document))
    options = _options(["--recorded", str(file), "--table-lag-s", "5"])
    assert options["table_lag_s"] == 5.0, "an option that is given holds"
    assert options["table_lag_jitter_s"] == 1200.0
    assert options["table_skip_statuses"] == (401, 429)
    assert options["table_duplicate_share"] == answers["table_duplicate_share"]["value"]
    assert "recorded" not in options


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_the_sandbox_refuses_what_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(recorded.Unreadable):
        recorded.read(tmp_path / "record.json")


def test_labels_of_an_export_are_read() -> None:
    labels = Labels.read('# HELP a\na{x="1",y="q\\"}"} 3 9\na{x="2"} 3 9\nb 1 9\n')
    assert labels.by_metric == {"a": {"x": {"1", "2"}, "y": {'q\\"}'}}}
    assert labels.naming("a", frozenset({"2"})) == "x"
    assert labels.naming("b", frozenset({"2"})) is None


def test_the_lag_is_asked_of_the_change_data_feed(
    client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function takes literals only: a quote in a name must not end them."""
    asked: list[str] = []

    def answer(_: Statements, _place: str, statement: str, _parameters: object) -> list[list[str]]:
        asked.append(statement)
        return [["40", "60.5", "300.0", "1500.0", "3000.0", "3500.25"]]

    monkeypatch.setattr(Statements, "rows", answer)
    lag = Checks(client, "sandbox").lag("main.o'hara.t_payload", datetime(2026, 11, 1, tzinfo=UTC))
    assert lag == {"rows": 40, "p5": 60.5, "p50": 300, "p95": 1500, "p99": 3000, "max": 3500.25}
    assert "table_changes('`main`.`o\\'hara`.`t_payload`', '2026-11-01 00:00:00')" in asked[0]


@contextmanager
def _store(case: Case) -> Iterator[Store]:
    """The store that the case's environment names."""
    store = Store(f"sqlite:///{case.here / 'headgate.db'}")
    try:
        yield store
    finally:
        store.close()


def _adopt(store: Store, case: Case, *, hold: str | None) -> None:
    """Record the application as one that a daemon looks after, on an endpoint of its own."""
    spec = load(case.config).applications[NAME].spec()
    fresh = store.load(NAME, spec)
    adopted = replace(fresh.application, adopted=True, ours=True, stable="1", hold=hold)
    store.commit(fresh, Plan(application=adopted))


def _answers(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(file.read_text())["applications"][NAME]
    return found
