import concurrent.futures
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.errors import NotFound, ResourceAlreadyExists, ResourceConflict
from databricks.sdk.service.serving import EndpointCoreConfigInput

from deploy.sandbox.endpoints import MOST_ENTITIES
from deploy.sandbox.workspace import Settings
from tests.deploy.sandbox.stage import (
    MODEL,
    Stage,
    entity,
    save_models,
    serving,
    staged,
    until,
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged(tmp_path_factory, update_s=0.2, queue_per_slot=1)


def _processes(stage: Stage, endpoint: str, *entities: str) -> list[str]:
    return [stage.answer(endpoint, "pid", one) for one in entities]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_sdk_creates_an_endpoint_and_asks_it(stage: Stage) -> None:
    config = EndpointCoreConfigInput.from_dict({"name": "sdk", **serving(v1=100)})
    ready = stage.sdk.serving_endpoints.create("sdk", config=config).result()
    assert ready.state is not None
    assert ready.state.ready is not None
    assert ready.state.ready.value == "READY"
    answer = stage.sdk.serving_endpoints.query("sdk", dataframe_records=[{"question": "hello"}])
    assert answer.predictions == ["one"]
    assert answer.served_model_name == "v1"


def test_an_endpoint_has_only_a_pending_config_before_its_first_deployment(stage: Stage) -> None:
    created = stage.call("POST", "", {"name": "first", "config": serving(v1=100)}).json()
    assert "config" not in created
    assert created["pending_config"]["start_time"] > 0
    assert created["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    assert stage.ask("first", "hello").status_code == 503
    deployed = stage.settled("first")
    assert "pending_config" not in deployed
    assert deployed["config"]["config_version"] == 1
    assert deployed["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}


def test_a_swap_keeps_the_old_version_answering_until_the_new_one_is_ready(stage: Stage) -> None:
    stage.create("swap", serving(v1=100))
    assert stage.call("PUT", "/swap/config", serving(v2=100)).status_code == 200
    answers: list[str] = []
    states: list[str] = []
    while not answers or answers[-1] == "one":
        answers.append(stage.answer("swap", "hello"))
        states.append(stage.get("swap")["state"]["ready"])
    assert answers.count("one") > 1
    assert set(states) == {"READY"}
    assert stage.settled("swap")["config"]["config_version"] == 2


def test_a_traffic_only_update_keeps_the_processes(stage: Stage) -> None:
    stage.create("traffic", serving(v1=100, v2=0))
    before = _processes(stage, "traffic", "v1", "v2")
    after = stage.update("traffic", serving(v1=40, v2=60))
    assert _processes(stage, "traffic", "v1", "v2") == before
    assert after["config"]["config_version"] == 2
    routes = {r["served_entity_name"]: r for r in after["config"]["traffic_config"]["routes"]}
    assert routes["v2"]["traffic_percentage"] == 60
    assert routes["v2"]["served_model_name"] == "v2"


def test_a_version_that_leaves_the_endpoint_leaves_no_process(stage: Stage) -> None:
    stage.create("leave", serving(v1=0, v2=100))
    [pid] = _processes(stage, "leave", "v1")
    stage.update("leave", serving(v2=100))
    until(lambda: not _alive(int(pid)))
    assert stage.ask("leave", "hello", "v1").status_code == 404


def test_an_update_is_refused_while_another_one_runs(stage: Stage) -> None:
    stage.create("busy", serving(v1=100))
    wanted = EndpointCoreConfigInput.from_dict({"name": "busy", **serving(v1=0, v2=100)})

    def update() -> None:
        stage.sdk.serving_endpoints.update_config(
            "busy", served_entities=wanted.served_entities, traffic_config=wanted.traffic_config
        )

    update()
    with pytest.raises(ResourceConflict, match="is currently updating"):
        update()
    assert stage.settled("busy")["config"]["config_version"] == 2


def test_an_update_that_fails_leaves_the_old_configuration_serving(stage: Stage) -> None:
    stage.create("fails", serving(v1=100))
    [pid] = _processes(stage, "fails", "v1")
    failed = stage.update("fails", serving(v1=0, v2=0, v3=100))
    assert failed["state"] == {"ready": "READY", "config_update": "UPDATE_FAILED"}
    assert failed["config"]["config_version"] == 1
    states = {e["name"]: e["state"] for e in failed["pending_config"]["served_entities"]}
    assert states["v3"]["deployment"] == "DEPLOYMENT_FAILED"
    assert "no index" in states["v3"]["deployment_state_message"]
    assert states["v2"]["deployment"] == "DEPLOYMENT_ABORTED"
    assert states["v1"]["deployment"] == "DEPLOYMENT_READY"
    logs = stage.sdk.serving_endpoints.build_logs("fails", "v3").logs
    assert "RuntimeError: no index" in logs
    assert _processes(stage, "fails", "v1") == [pid]
    # A failed update does not stand in the way of the next one.
    assert stage.update("fails", serving(v1=100))["state"]["config_update"] == "NOT_UPDATING"


def test_traffic_of_90_to_10_is_about_90_to_10(stage: Stage) -> None:
    stage.create("split", serving(v1=90, v2=10))
    names = Counter(stage.ask("split", "hi").headers["served-model-name"] for _ in range(300))
    assert 12 <= names["v2"] <= 54  # 30 expected; five standard deviations each way would be 26
    assert names.total() == 300


def test_an_entity_without_traffic_answers_on_its_own_path_only(stage: Stage) -> None:
    stage.create("dark", serving(v1=100, v2=0))
    direct = stage.ask("dark", "hello", "v2")
    assert direct.json()["predictions"] == ["two"]
    assert direct.headers["served-model-name"] == "v2"
    assert {stage.answer("dark", "hello") for _ in range(30)} == {"one"}


def test_two_versions_do_not_see_each_others_modules(stage: Stage) -> None:
    stage.create("apart", serving(v1=50, v2=50))
    assert stage.answer("apart", "hello", "v1") == "one"
    assert stage.answer("apart", "hello", "v2") == "two"
    first, second = _processes(stage, "apart", "v1", "v2")
    assert first != second


def test_a_killed_process_comes_back(stage: Stage) -> None:
    stage.create("killed", serving(v1=100))
    [pid] = _processes(stage, "killed", "v1")
    os.kill(int(pid), signal.SIGKILL)

    def deployment() -> str:
        return str(stage.get("killed")["config"]["served_entities"][0]["state"]["deployment"])

    until(lambda: deployment() == "DEPLOYMENT_RECOVERING")
    assert stage.get("killed")["state"]["ready"] == "NOT_READY"
    assert stage.ask("killed", "hello").status_code == 503
    until(lambda: deployment() == "DEPLOYMENT_READY")
    assert _processes(stage, "killed", "v1") != [pid]


def test_a_crash_of_one_entity_leaves_the_other_serving(stage: Stage) -> None:
    stage.create("beside", serving(v1=50, v2=50))
    kept, crashed = _processes(stage, "beside", "v1", "v2")
    os.kill(int(crashed), signal.SIGKILL)
    assert {stage.answer("beside", "pid", "v1") for _ in range(20)} == {kept}
    until(lambda: stage.ask("beside", "hello", "v2").status_code == 200)
    assert _processes(stage, "beside", "v1") == [kept]


def test_a_zygote_that_has_died_is_replaced(stage: Stage) -> None:
    zygote = stage.workspace.serving.fleet._zygote
    assert zygote is not None
    os.kill(zygote.pid, signal.SIGKILL)
    until(lambda: zygote.returncode is not None)
    stage.create("zygote", serving(v1=100))
    assert stage.answer("zygote", "hello") == "one"


def test_more_requests_than_slots_and_queue_are_refused(stage: Stage) -> None:
    stage.create("full", serving(v1=100))
    with concurrent.futures.ThreadPoolExecutor(12) as clients:
        answers = clients.map(lambda _: stage.ask("full", "sleep 0.5"), range(12))
        statuses = Counter(answer.status_code for answer in answers)
    # Small executes four at once, and this workspace queues one for each of them.
    assert statuses == {200: 8, 429: 4}


def test_whatever_a_model_raises_is_a_400(stage: Stage) -> None:
    stage.create("raises", serving(v1=100))
    raised = stage.ask("raises", "boom")
    assert raised.status_code == 400
    assert raised.json()["error_code"] == "BAD_REQUEST"
    assert "the retriever is down" in raised.json()["stack_trace"]
    url = f"{stage.host}/serving-endpoints/raises/invocations"
    unread = stage.session.post(url, json={"question": "hello"}, timeout=10)
    assert unread.status_code == 400
    assert "dataframe_records" in unread.json()["message"]


def test_what_is_meant_for_the_platform_does_not_reach_the_model(stage: Stage) -> None:
    stage.create("options", serving(v1=100))
    answer = stage.ask(
        "options", "hello", client_request_id="c-1", usage_context={"a": "b"}, databricks_options={}
    )
    assert answer.status_code == 200, answer.text


def test_a_request_over_16_mib_is_refused(stage: Stage) -> None:
    stage.create("large", serving(v1=100))
    assert stage.ask("large", "x" * (16 << 20)).status_code == 400
    assert stage.ask("large", "x" * (15 << 20)).status_code == 200


def test_environment_variables_reach_the_model_and_no_reader(stage: Stage) -> None:
    wanted = entity("1", environment_vars={"GREETING": "good day"}, workload_size=None)
    shown = stage.create("environment", {"served_entities": [wanted]})
    assert stage.answer("environment", "greeting") == "good day"
    assert "good day" not in str(shown)
    [served] = shown["config"]["served_entities"]
    assert (served["workload_size"], served["workload_type"]) == ("Small", "CPU")
    [model] = shown["config"]["served_models"]
    assert (model["model_name"], model["model_version"]) == (MODEL, "1")
    assert shown["config"]["traffic_config"]["routes"][0]["traffic_percentage"] == 100


@pytest.mark.parametrize(
    ("entities", "words"),
    [
        ([entity("champion")], "aliases are not accepted"),
        ([entity("1") | {"entity_version": True}], "must be a version number"),
        ([entity("99")], "does not exist"),
        ([entity("4")], "PENDING_REGISTRATION, not READY"),
        ([entity("6")], "has no signature"),
        ([entity("1"), entity("1", name="again")], r"Cannot create 2\+ served entities"),
        ([entity("1", name=f"n{n}") for n in range(16)], f"more than {MOST_ENTITIES} elements"),
        ([entity("1", scale_to_zero_enabled=None)], "scale_to_zero_enabled must be set"),
        (
            [entity("1", min_provisioned_concurrency=4, max_provisioned_concurrency=8)],
            "cannot be specified together",
        ),
        ([entity("1", max_provisioned_throughput=100)], "Provisioned throughput"),
        ([entity("1", name="a.b")], "Invalid served entity name"),
        ([entity("1"), entity("2")], "traffic_config is required"),
    ],
)
def test_entities_that_the_platform_refuses(
    stage: Stage, entities: list[dict[str, Any]], words: str
) -> None:
    refused = stage.call("POST", "", {"name": "never", "config": {"served_entities": entities}})
    assert refused.status_code in {400, 404}
    assert re.search(words, refused.json()["message"])
    assert stage.call("GET", "/never").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (serving(v1=90, v2=9), "must sum to 100, but they sum to 99"),
        (
            serving(v1=100) | {"traffic_config": serving(v2=100)["traffic_config"]},
            "does not name a served entity",
        ),
        (serving(v1=100) | {"auto_capture_config": {"enabled": True}}, "no longer supported"),
    ],
)
def test_configurations_that_the_platform_refuses(
    stage: Stage, config: dict[str, Any], words: str
) -> None:
    refused = stage.call("POST", "", {"name": "never", "config": config})
    assert refused.status_code == 400
    assert words in refused.json()["message"]


def test_a_version_may_come_as_a_number_and_is_told_as_text(stage: Stage) -> None:
    config = serving(v1=100)
    config["served_entities"][0]["entity_version"] = 1
    [served] = stage.create("numbered", config)["config"]["served_entities"]
    assert served["entity_version"] == "1"


def test_names_that_are_taken_unfit_or_unknown(stage: Stage) -> None:
    stage.create("taken", serving(v1=100))
    config = EndpointCoreConfigInput.from_dict({"name": "taken", **serving(v1=100)})
    with pytest.raises(ResourceAlreadyExists):
        stage.sdk.serving_endpoints.create("taken", config=config)
    unfit = stage.call("POST", "", {"name": "no.dots", "config": serving(v1=100)})
    assert unfit.status_code == 400
    with pytest.raises(NotFound):
        stage.sdk.serving_endpoints.get("unknown")
    assert stage.ask("unknown", "hello").status_code == 404


def test_what_is_not_modelled_is_not_pretended(stage: Stage) -> None:
    external = {"name": "other", "external_model": {"name": "gpt", "provider": "openai"}}
    refused = stage.call("POST", "", {"name": "never", "config": {"served_entities": [external]}})
    assert refused.status_code == 501
    assert "other than registered models" in refused.json()["message"]


def test_a_secret_reaches_the_model_and_only_its_place_is_shown(stage: Stage) -> None:
    place = "{{secrets/rag/greeting}}"
    wanted = entity("1", environment_vars={"GREETING": place, "TOP_K": "5"})
    config = {"served_entities": [wanted]}
    refused = stage.call("POST", "", {"name": "secretive", "config": config})
    assert (refused.status_code, "rag/greeting" in refused.text) == (400, True)
    with pytest.raises(NotFound):
        stage.sdk.secrets.put_secret("rag", "greeting", string_value="good night")
    stage.sdk.secrets.create_scope("rag")
    stage.sdk.secrets.put_secret("rag", "greeting", string_value="good night")
    with pytest.raises(ResourceAlreadyExists):
        stage.sdk.secrets.create_scope("rag")
    shown = stage.create("secretive", config)
    assert shown["config"]["served_entities"][0]["environment_vars"] == {"GREETING": place}
    assert stage.answer("secretive", "greeting") == "good night"
    assert "good night" not in stage.call("GET", "/secretive").text


def test_tags_are_patched_and_the_gateway_is_replaced(stage: Stage) -> None:
    stage.create("tags", serving(v1=100), tags=[{"key": "team", "value": "rag"}])
    patch = {"add_tags": [{"key": "stage", "value": "dev"}], "delete_tags": ["team"]}
    patched = stage.call("PATCH", "/tags/tags", patch)
    assert patched.json() == {"tags": [{"key": "stage", "value": "dev"}]}
    assert stage.call("PUT", "/tags/config", serving(v1=0, v2=100)).status_code == 200
    gateway = {"usage_tracking_config": {"enabled": True}}
    assert stage.call("PUT", "/tags/ai-gateway", gateway).json() == gateway
    assert stage.get("tags")["ai_gateway"] == gateway
    stage.call("PUT", "/tags/ai-gateway", {})
    assert "ai_gateway" not in stage.get("tags")
    assert stage.settled("tags")["config"]["config_version"] == 2


def test_with_a_fallback_another_entity_answers_for_a_dead_one(stage: Stage) -> None:
    fallback = {"fallback_config": {"enabled": True}}
    stage.create("fallback", serving(v1=100, v2=0), ai_gateway=fallback)
    [pid] = _processes(stage, "fallback", "v1")
    os.kill(int(pid), signal.SIGKILL)
    assert stage.answer("fallback", "hello") == "two"


def test_metrics_are_gauges_of_the_last_closed_window(stage: Stage) -> None:
    # Created well within a window, so that none before the next one is seen whole.
    stage.time.ahead += 70 - stage.time() % 60
    stage.create("metrics", serving(v1=100))
    stage.time.ahead += 60 - stage.time() % 60
    for question in ("hello", "hello", "boom"):
        stage.ask("metrics", question)

    def samples() -> dict[str, tuple[str, str]]:
        contents = stage.sdk.serving_endpoints.export_metrics("metrics").contents
        assert contents is not None
        lines = [line for line in contents.read().decode().splitlines() if line[0] != "#"]
        parts = [line.rsplit(" ", 2) for line in lines]
        return {name: (value, moment) for name, value, moment in parts}

    total, errors = (f'{n}{{endpoint_name="metrics"}}' for n in _COUNTS)
    assert samples() == {}, "no window has been seen whole yet"
    stage.time.ahead += 60
    closed = samples()
    assert (closed[total][0], closed[errors][0]) == ("3", "1")
    assert int(closed[total][1]) == int(stage.time() // 60) * 60_000
    assert closed['request_latency_ms_count{endpoint_name="metrics"}'][0] == "3"
    stage.time.ahead += 60
    assert samples()[total][0] == "0"


_COUNTS = ("request_count_total", "request_4xx_count_total")


def test_a_deleted_endpoint_is_gone_with_its_processes(stage: Stage) -> None:
    stage.create("deleted", serving(v1=100))
    [pid] = _processes(stage, "deleted", "v1")
    stage.sdk.serving_endpoints.delete("deleted")
    assert stage.ask("deleted", "hello").status_code == 404
    assert "deleted" not in [one.name for one in stage.sdk.serving_endpoints.list()]
    until(lambda: not _alive(int(pid)))


def test_a_restart_serves_again_and_ends_the_update_that_it_interrupted(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    models.mkdir()
    versions = save_models(models)
    with Stage(versions, Settings(data=data, update_s=0.5)) as first:
        before = first.create("rag", serving(v1=100))
        first.call("PUT", "/rag/config", serving(v1=0, v2=100))
    with Stage(versions, Settings(data=data)) as second:
        assert second.get("rag")["id"] == before["id"]
        assert second.answer("rag", "hello", "v1") == "one"
        until(lambda: second.settled("rag")["config"]["config_version"] == 2)
        assert second.answer("rag", "hello") == "two"


_ORPHANS = """
import asyncio, pathlib, sys
from deploy.sandbox.fleet import Fleet, Order

async def main(model, out):
    fleet = Fleet(out / "zygote.log")
    await fleet.start()
    order = Order(label="x", path=model, log=out / "s.log", build_log=out / "b.log",
                  scratch=out, threads=1, environment={})
    process = await fleet.launch(order.head, 60)
    print(fleet._zygote.pid, process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*map(pathlib.Path, sys.argv[1:])))
"""


def test_no_process_outlives_a_workspace_that_is_killed(stage: Stage, tmp_path: Path) -> None:
    version = stage.workspace.registry.version(MODEL, "1")
    assert version is not None
    command = [sys.executable, "-c", _ORPHANS, str(version.path), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as workspace:
        assert workspace.stdout is not None
        pids = [int(pid) for pid in workspace.stdout.readline().split()]
        assert len(pids) == 2
        workspace.kill()
    until(lambda: not any(_alive(pid) for pid in pids))
