"""What can be made to go wrong, in every scope, and how it then shows to clients."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from databricks.sdk.errors import ResourceConflict
from databricks.sdk.service.serving import EndpointCoreConfigInput
from databricks.sdk.service.sql import State, StatementState

from deploy.sandbox.faults import Faults
from deploy.sandbox.rules import SCOPES
from deploy.sandbox.wire import ApiError
from tests.deploy.sandbox.stage import Stage, serving, staged, until

LAG_S = 100.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged(tmp_path_factory, update_s=0.05, table_lag_s=LAG_S)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """The shared stage, without faults before and after."""
    yield running
    running.workspace.faults.clear()


@pytest.fixture
def fault(stage: Stage) -> Callable[..., Any]:
    """Asks for a fault of a scope; the rule, which counts what it has done."""
    return lambda scope, **rule: stage.workspace.faults.put({"scope": scope, **rule})


# The mechanism -----------------------------------------------------------------------------------


def _taken(faults: Faults, times: int, **names: str) -> list[bool]:
    kind = SCOPES["entity"][0]
    return [faults.take("entity", kind, "request", **names) is not None for _ in range(times)]


def test_a_rule_lets_some_pass_and_then_applies_as_often_as_it_was_asked_to() -> None:
    faults = Faults()
    rule = faults.put({"scope": "entity", "skip": 2, "times": 3, "status": 500})
    assert _taken(faults, 7, endpoint="rag", entity="v1") == [False] * 2 + [True] * 3 + [False] * 2
    assert (rule.matched, rule.applied, rule.spent) == (5, 3, True)


def test_a_name_matches_whole_and_only_where_all_names_do() -> None:
    faults = Faults()
    faults.put({"scope": "entity", "match": {"endpoint": "rag", "entity": "v1"}, "status": 500})
    assert _taken(faults, 1, endpoint="rag", entity="v1") == [True]
    assert _taken(faults, 1, endpoint="rag", entity="v10") == [False]
    assert _taken(faults, 1, endpoint="rag-2", entity="v1") == [False]


def test_chance_is_the_same_for_the_same_seed_and_near_its_probability() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults()
        faults.put({"scope": "entity", "probability": 0.3, "seed": seed, "status": 500})
        return _taken(faults, 1000, endpoint="rag")

    assert drawn(1) == drawn(1) != drawn(2)
    assert 230 <= sum(drawn(1)) <= 370


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"scope": "nowhere"}, "no scope 'nowhere'"),
        ({"scope": "entity"}, "must do something"),
        ({"scope": "entity", "latency": 5}, "no field 'latency'; it has"),
        ({"scope": "entity", "status": 500, "match": {"path": "x"}}, "does not match by 'path'"),
        ({"scope": "entity", "status": 500, "match": "x"}, "it is an object"),
        ({"scope": "entity", "status": 500, "match": {"entity": "("}}, "no regular expression"),
        ({"scope": "entity", "error_rate": 1.5}, "'error_rate' of a fault cannot be 1.5"),
        ({"scope": "entity", "crash": 1}, "'crash' of a fault cannot be 1"),
        ({"scope": "table", "skip_statuses": ["500"]}, "cannot be ['500']"),
        ({"scope": "http", "status": 500, "times": 0}, "'times' of a fault cannot be 0"),
        ({"scope": "rollout", "fail": True, "stuck": True}, "in one way only"),
        ({"scope": "rollout", "external_change": {"v1": "all"}}, "cannot be {'v1': 'all'}"),
        ({"scope": "sql", "chunk_rows": 0}, "cannot be 0"),
        ("entity", "must be a JSON object"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_a_sentence(rule: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(ApiError) as refused:
        Faults().put(rule)
    assert words in refused.value.message
    assert refused.value.status == 400


# A served entity ---------------------------------------------------------------------------------


def test_an_entity_can_be_slow_and_the_others_are_not(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("slow", serving(v1=50, v2=50))
    fault("entity", match={"endpoint": "slow", "entity": "v2"}, latency_ms=300)
    began = time.monotonic()
    assert stage.answer("slow", "hello", "v2") == "two"
    assert time.monotonic() - began >= 0.3
    began = time.monotonic()
    assert stage.answer("slow", "hello", "v1") == "one"
    assert time.monotonic() - began < 0.3


def test_a_share_of_an_entitys_answers_can_be_errors(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("errors", serving(v1=100))
    fault("entity", match={"endpoint": "errors"}, error_rate=0.3, status=502, seed=3)
    answers = [stage.ask("errors", "hello") for _ in range(100)]
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 502}
    assert 15 <= statuses[502] <= 45
    assert {answer.headers["served-model-name"] for answer in answers} == {"v1"}


def test_an_answer_can_be_no_json(stage: Stage, fault: Callable[..., Any]) -> None:
    stage.create("bad", serving(v1=100))
    fault("entity", match={"endpoint": "bad"}, bad_payload=True, times=1)
    broken = stage.ask("bad", "hello")
    assert broken.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        broken.json()
    assert stage.answer("bad", "hello") == "one"


def test_a_crash_takes_its_request_along_and_the_entity_comes_back(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("crash", serving(v1=100, v2=0))
    fault("entity", match={"endpoint": "crash", "entity": "v1"}, crash=True, times=1)
    assert stage.ask("crash", "sleep 1").status_code == 503
    assert stage.answer("crash", "hello", "v2") == "two"
    until(lambda: stage.ask("crash", "hello").status_code == 200)


def test_a_start_can_be_slow(stage: Stage, fault: Callable[..., Any]) -> None:
    stage.create("start", serving(v1=100))
    fault("entity", match={"endpoint": "start", "entity": "v2"}, slow_start_s=0.5)
    began = time.monotonic()
    stage.update("start", serving(v1=0, v2=100))
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("status", [429, 500, 503])
def test_with_a_fallback_another_entity_answers_for_one_that_fails(
    stage: Stage, fault: Callable[..., Any], status: int
) -> None:
    name = f"fallback-{status}"
    gateway = {"fallback_config": {"enabled": True}}
    stage.create(name, serving(v1=100, v2=0), ai_gateway=gateway)
    fault("entity", match={"endpoint": name, "entity": "v1"}, status=status)
    answered = stage.ask(name, "hello")
    assert (answered.status_code, answered.headers["served-model-name"]) == (200, "v2")
    # On the path of one entity nobody else answers.
    assert stage.ask(name, "hello", "v1").status_code == status


# A rollout ---------------------------------------------------------------------------------------


def _update(stage: Stage, name: str) -> None:
    """Ask for v2 beside v1, with the SDK."""
    wanted = EndpointCoreConfigInput.from_dict({"name": name, **serving(v1=50, v2=50)})
    stage.sdk.serving_endpoints.update_config(
        name, served_entities=wanted.served_entities, traffic_config=wanted.traffic_config
    )


def test_an_update_can_be_stuck_until_the_fault_is_cleared(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("stuck", serving(v1=100))
    fault("rollout", match={"endpoint": "stuck"}, stuck=True)
    _update(stage, "stuck")
    time.sleep(0.5)
    state = stage.get("stuck")["state"]
    assert state == {"ready": "READY", "config_update": "IN_PROGRESS"}
    with pytest.raises(ResourceConflict):
        _update(stage, "stuck")
    stage.workspace.faults.clear()
    assert stage.settled("stuck")["config"]["config_version"] == 2


@pytest.mark.parametrize(
    ("effect", "state", "deployment"),
    [("fail", "UPDATE_FAILED", "FAILED"), ("cancel", "UPDATE_CANCELED", "ABORTED")],
)
def test_an_update_can_end_badly_and_the_old_configuration_serves_on(
    stage: Stage, fault: Callable[..., Any], effect: str, state: str, deployment: str
) -> None:
    stage.create(effect, serving(v1=100))
    fault("rollout", match={"endpoint": effect}, **{effect: True})
    _update(stage, effect)
    ended = stage.settled(effect)
    assert ended["state"] == {"ready": "READY", "config_update": state}
    assert ended["config"]["config_version"] == 1
    states = {e["name"]: e["state"]["deployment"] for e in ended["pending_config"]["served_models"]}
    assert states == {"v1": "DEPLOYMENT_READY", "v2": f"DEPLOYMENT_{deployment}"}
    assert stage.answer(effect, "hello") == "one"
    # It befell one update; the next one succeeds.
    _update(stage, effect)
    assert stage.settled(effect)["state"]["config_update"] == "NOT_UPDATING"


def test_an_update_can_end_with_an_entity_that_is_not_ready(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("partial", serving(v1=100))
    fault("rollout", match={"endpoint": "partial"}, partial=True)
    _update(stage, "partial")
    ended = stage.settled("partial")
    assert ended["state"]["config_update"] == "NOT_UPDATING"
    assert ended["config"]["config_version"] == 2
    until(lambda: stage.get("partial")["state"]["ready"] == "NOT_READY")
    assert stage.ask("partial", "hello", "v2").status_code == 503
    assert stage.answer("partial", "hello", "v1") == "one"
    stage.workspace.faults.clear()
    until(lambda: stage.get("partial")["state"]["ready"] == "READY")
    assert stage.answer("partial", "hello", "v2") == "two"


def test_an_entity_that_was_not_ready_and_has_left_does_not_come_back(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("gone", serving(v1=100))
    fault("rollout", match={"endpoint": "gone"}, partial=True)
    _update(stage, "gone")
    stage.settled("gone")
    endpoint = stage.workspace.serving.endpoints["gone"]
    [left] = [unit for unit in endpoint.units.values() if unit.entity.name == "v2"]
    until(lambda: left.process is None)
    stage.update("gone", serving(v1=100))
    stage.workspace.faults.clear()
    time.sleep(0.5)
    assert left.process is None


def test_an_update_can_take_its_time(stage: Stage, fault: Callable[..., Any]) -> None:
    stage.create("long", serving(v1=100))
    fault("rollout", match={"endpoint": "long"}, duration_s=3600)
    _update(stage, "long")
    time.sleep(0.3)
    assert stage.get("long")["state"]["config_update"] == "IN_PROGRESS"
    stage.time.ahead += 3601
    assert stage.settled("long")["state"]["config_update"] == "NOT_UPDATING"


def test_somebody_else_can_edit_between_a_read_and_a_write(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    stage.create("edited", serving(v1=100, v2=0))
    fault("rollout", match={"endpoint": "edited"}, external_change={"v1": 30, "v2": 70})
    read = stage.get("edited")
    assert read["config"]["config_version"] == 1
    with pytest.raises(ResourceConflict):
        _update(stage, "edited")
    after = stage.settled("edited")["config"]
    shares = {
        r["served_entity_name"]: r["traffic_percentage"] for r in after["traffic_config"]["routes"]
    }
    assert (after["config_version"], shares) == (2, {"v1": 30, "v2": 70})


# The inference table -----------------------------------------------------------------------------


def _table(stage: Stage, name: str) -> str:
    place = {"catalog_name": "main", "schema_name": "faults", "enabled": True}
    stage.create(name, serving(v1=100), ai_gateway={"inference_table_config": place})
    return f"main.faults.{name}_payload"


def _count(stage: Stage, table: str, what: str = "*") -> int:
    [[count]] = stage.rows(f"SELECT count({what}) AS n FROM {table}")  # noqa: S608
    return int(count or 0)


def test_rows_can_be_earlier_or_later_than_the_settings_say(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    table = _table(stage, "lagging")
    fault("table", match={"endpoint": "lagging"}, lag_s=0, times=2)
    for _ in range(3):
        stage.ask("lagging", "hello")
    assert _count(stage, table) == 2
    stage.time.ahead += LAG_S + 1
    assert _count(stage, table) == 3


def test_rows_can_come_twice_or_never_while_the_workspace_runs(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    table = _table(stage, "manners")
    fault("table", match={"table": r"main\.faults\.manners_payload"}, lag_s=0, duplicates=1.0)
    stage.ask("manners", "hello")
    assert (_count(stage, table), _count(stage, table, "DISTINCT databricks_request_id")) == (2, 1)
    stage.workspace.faults.clear("table")
    fault("table", match={"endpoint": "manners"}, lag_s=0, drops=1.0)
    stage.ask("manners", "hello")
    assert _count(stage, table) == 2
    stage.workspace.faults.clear("table")
    fault("table", match={"endpoint": "manners"}, lag_s=0, skip_statuses=[400])
    stage.ask("manners", "boom")
    stage.ask("manners", "hello")
    assert _count(stage, table) == 3


def test_rows_can_come_out_of_order(stage: Stage, fault: Callable[..., Any]) -> None:
    table = _table(stage, "shuffled")
    fault("table", match={"endpoint": "shuffled"}, lag_s=0, jitter_s=50)
    for number in range(30):
        stage.ask("shuffled", "hello", client_request_id=str(number))
    stage.time.ahead += 25
    rows = stage.rows(f"SELECT CAST(client_request_id AS INT) AS id FROM {table} ORDER BY id")  # noqa: S608
    seen = [int(row[0] or 0) for row in rows]
    assert 0 < len(seen) < 30
    assert seen != list(range(len(seen))), "some later row must have overtaken an earlier one"


# SQL ---------------------------------------------------------------------------------------------


def test_a_statement_can_be_pending_and_its_result_in_small_chunks(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    fault("sql", match={"statement": "sequence"}, pending_polls=2, chunk_rows=2)
    sql = "SELECT explode(sequence(1, 5)) AS n"
    execution = stage.sdk.statement_execution
    asked = execution.execute_statement(sql, "sandbox")
    assert asked.statement_id is not None
    states = [asked.status, execution.get_statement(asked.statement_id).status]
    assert [one.state for one in states if one is not None] == [StatementState.PENDING] * 2
    until(
        lambda: (
            (status := execution.get_statement(asked.statement_id or "").status) is not None
            and status.state == StatementState.SUCCEEDED
        )
    )
    chunks = [execution.get_statement_result_chunk_n(asked.statement_id, n) for n in range(3)]
    rows = [row for chunk in chunks for row in chunk.data_array or []]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [chunk.next_chunk_index for chunk in chunks] == [1, 2, None]


def test_a_statement_can_fail_for_no_reason_of_its_own(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    fault("sql", failed="[CLUSTER_TERMINATED] the warehouse went away", skip=1)
    assert stage.rows("SELECT 1") == [["1"]]
    failed = stage.sdk.statement_execution.execute_statement("SELECT 1", "sandbox").status
    assert failed is not None
    assert failed.error is not None
    assert failed.state == StatementState.FAILED
    assert "went away" in str(failed.error.message)
    assert stage.rows("SELECT 1") == [["1"]]


def test_a_stopped_warehouse_starts_with_the_first_statement(
    stage: Stage, fault: Callable[..., Any]
) -> None:
    def state() -> State | None:
        return stage.sdk.warehouses.get("sandbox").state

    assert state() == State.RUNNING
    fault("sql", starting_s=600)
    assert state() == State.STOPPED
    execution = stage.sdk.statement_execution
    asked = execution.execute_statement("SELECT 1 AS one", "sandbox", wait_timeout="0s")
    assert asked.statement_id is not None
    assert state() == State.STARTING
    time.sleep(0.2)
    pending = execution.get_statement(asked.statement_id).status
    assert pending is not None
    assert pending.state == StatementState.PENDING
    stage.time.ahead += 601
    assert state() == State.RUNNING
    until(lambda: execution.get_statement(asked.statement_id or "").result is not None)


def test_a_scope_can_be_cleared_alone() -> None:
    faults = Faults()
    faults.put({"scope": "sql", "failed": "x"})
    faults.put({"status": 500})
    faults.clear("sql")
    assert list(faults.rules) == ["http"]
