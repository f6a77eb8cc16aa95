"""What the platform refuses, each asked for by the SDK: the exception, its code, its sentence."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient, errors
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayInferenceTableConfig,
    AutoCaptureConfigInput,
    EndpointCoreConfigInput,
    EndpointTag,
    ServedEntityInput,
)

from tests.deploy.sandbox.stage import MODEL, Stage, entity, serving, staged

Call = Callable[[WorkspaceClient], object]
TAKEN = "taken"
"""An endpoint that is there and has an inference table."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    for stage in staged(tmp_path_factory, update_s=0.0, queue_per_slot=0):
        place = {"catalog_name": "main", "schema_name": "rag", "enabled": True}
        stage.create(TAKEN, serving(v1=100), ai_gateway={"inference_table_config": place})
        yield stage


def _create(config: dict[str, Any], name: str = "never") -> Call:
    wanted = EndpointCoreConfigInput.from_dict({"name": name, **config})
    return lambda w: w.serving_endpoints.create(name, config=wanted)


def _update(config: dict[str, Any], **more: Any) -> Call:  # noqa: ANN401 - the SDK's arguments
    wanted = EndpointCoreConfigInput.from_dict({"name": TAKEN, **config})
    return lambda w: w.serving_endpoints.update_config(
        TAKEN,
        served_entities=wanted.served_entities,
        traffic_config=wanted.traffic_config,
        **more,
    )


def _of(*entities: dict[str, Any]) -> Call:
    return _create({"served_entities": list(entities)})


def _routes(**shares: object) -> Call:
    """Two entities, and routes that may name others."""
    routes = [
        {"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()
    ]
    return _update({**serving(v1=50, v2=50), "traffic_config": {"routes": routes}})


def _gateway(place: AiGatewayInferenceTableConfig, name: str = TAKEN) -> Call:
    return lambda w: w.serving_endpoints.put_ai_gateway(name, inference_table_config=place)


def _limit(limit: dict[str, Any]) -> Call:
    place = f"/api/2.0/serving-endpoints/{TAKEN}/ai-gateway"
    return lambda w: w.api_client.do("PUT", place, body={"rate_limits": [limit]})


def _statement(**more: Any) -> Call:  # noqa: ANN401 - the SDK's arguments
    asked = {"statement": "SELECT 1", "warehouse_id": "sandbox"} | more
    return lambda w: w.statement_execution.execute_statement(**asked)


INVALID = "INVALID_PARAMETER_VALUE"
REFUSALS: list[tuple[str, Call, type[Exception], str, str]] = [
    # Names.
    ("a name with a dot", _create(serving(v1=100), "a.b"), errors.BadRequest, INVALID, "letters"),
    ("a long name", _create(serving(v1=100), "n" * 64), errors.BadRequest, INVALID, "1 to 63"),
    (
        "a reserved name",
        _create(serving(v1=100), "databricks-rag"),
        errors.BadRequest,
        INVALID,
        "are reserved",
    ),
    (
        "a name that is taken",
        _create(serving(v1=100), TAKEN),
        errors.ResourceAlreadyExists,
        "RESOURCE_ALREADY_EXISTS",
        "already exists",
    ),
    (
        "an entity's name",
        _of(entity("1", name="a b")),
        errors.BadRequest,
        INVALID,
        "Invalid served",
    ),
    (
        "two entities of one name",
        _of(entity("1", name="a"), entity("2", name="a")),
        errors.BadRequest,
        INVALID,
        "must be unique",
    ),
    # Versions.
    ("an alias", _of(entity("champion")), errors.BadRequest, INVALID, "aliases are not accepted"),
    (
        "an unknown version",
        _of(entity("99")),
        errors.NotFound,
        "RESOURCE_DOES_NOT_EXIST",
        "does not exist",
    ),
    ("a pending version", _of(entity("4")), errors.BadRequest, INVALID, "not READY"),
    ("a version without signature", _of(entity("6")), errors.BadRequest, INVALID, "no signature"),
    (
        "a version twice",
        _of(entity("1"), entity("1", name="again")),
        errors.BadRequest,
        "BAD_REQUEST",
        "Cannot create 2+ served entities",
    ),
    (
        "a sixteenth entity",
        _of(*(entity("1", name=f"n{n}") for n in range(16))),
        errors.BadRequest,
        INVALID,
        "more than 15",
    ),
    # Sizes.
    (
        "no word on scaling to zero",
        _of(entity("1", scale_to_zero_enabled=None)),
        errors.BadRequest,
        INVALID,
        "scale_to_zero_enabled must be set",
    ),
    (
        "two kinds of size",
        _of(entity("1", min_provisioned_concurrency=4, max_provisioned_concurrency=8)),
        errors.BadRequest,
        INVALID,
        "cannot be specified together",
    ),
    (
        "a concurrency that is no multiple of 4",
        _of(
            entity(
                "1",
                workload_size=None,
                min_provisioned_concurrency=3,
                max_provisioned_concurrency=6,
            )
        ),
        errors.BadRequest,
        INVALID,
        "multiples of 4",
    ),
    (
        "half of a range of concurrency",
        _of(entity("1", workload_size=None, max_provisioned_concurrency=8)),
        errors.BadRequest,
        INVALID,
        "must be given together",
    ),
    ("an unknown size", _of(entity("1", workload_size="Huge")), errors.BadRequest, INVALID, "Huge"),
    (
        "throughput for a custom model",
        _of(entity("1", max_provisioned_throughput=100)),
        errors.BadRequest,
        INVALID,
        "Provisioned throughput",
    ),
    # Traffic.
    ("90 + 9", _routes(v1=90, v2=9), errors.BadRequest, INVALID, "they sum to 99"),
    ("a route to nobody", _routes(v1=50, v9=50), errors.BadRequest, INVALID, "'v9' does not name"),
    ("a negative share", _routes(v1=110, v2=-10), errors.BadRequest, INVALID, "from 0 to 100"),
    (
        "two entities without routes",
        _of(entity("1"), entity("2")),
        errors.BadRequest,
        INVALID,
        "traffic_config is required",
    ),
    # What has gone or moved.
    (
        "the legacy inference table",
        _update(
            serving(v1=100),
            auto_capture_config=AutoCaptureConfigInput(catalog_name="a", enabled=True),
        ),
        errors.BadRequest,
        INVALID,
        "no longer supported",
    ),
    (
        "another place for a table that is enabled",
        _gateway(AiGatewayInferenceTableConfig(catalog_name="main", schema_name="b", enabled=True)),
        errors.BadRequest,
        INVALID,
        "must be disabled before",
    ),
    (
        "a table without a schema",
        _gateway(AiGatewayInferenceTableConfig(catalog_name="main", enabled=True)),
        errors.BadRequest,
        INVALID,
        "needs schema_name",
    ),
    (
        "a rate limit by the hour",
        _limit({"calls": 1, "renewal_period": "hour"}),
        errors.BadRequest,
        INVALID,
        "must be 'minute'",
    ),
    (
        "a rate limit of nothing",
        _limit({"renewal_period": "minute"}),
        errors.BadRequest,
        INVALID,
        "calls or tokens",
    ),
    (
        "a tag without a key",
        lambda w: w.serving_endpoints.patch(TAKEN, add_tags=[EndpointTag(key="", value="x")]),
        errors.BadRequest,
        INVALID,
        "needs a key",
    ),
    # What is not there.
    *(
        (what, call, errors.NotFound, "RESOURCE_DOES_NOT_EXIST", words)
        for what, call, words in (
            ("an unknown endpoint", lambda w: w.serving_endpoints.get("nobody"), "'nobody'"),
            ("its end", lambda w: w.serving_endpoints.delete("nobody"), "'nobody'"),
            ("its metrics", lambda w: w.serving_endpoints.export_metrics("nobody"), "'nobody'"),
            (
                "its gateway",
                _gateway(AiGatewayInferenceTableConfig(enabled=False), "nobody"),
                "'nobody'",
            ),
            ("its answer", lambda w: w.serving_endpoints.query("nobody", inputs=[1]), "'nobody'"),
            ("the log of nobody", lambda w: w.serving_endpoints.logs(TAKEN, "v9"), "'v9'"),
            ("permissions by name", lambda w: w.serving_endpoints.get_permissions(TAKEN), "id"),
            ("an unknown statement", lambda w: w.statement_execution.get_statement("x"), "x"),
            ("an unknown warehouse", _statement(warehouse_id="other"), "'other'"),
        )
    ),
    # SQL.
    ("no statement", _statement(statement=" "), errors.BadRequest, INVALID, "not be empty"),
    (
        "an odd wait",
        _statement(wait_timeout="3s"),
        errors.BadRequest,
        INVALID,
        "between 5s and 50s",
    ),
]


@pytest.mark.parametrize(
    ("call", "exception", "code", "words"),
    [refusal[1:] for refusal in REFUSALS],
    ids=[refusal[0] for refusal in REFUSALS],
)
def test_the_sdk_raises_what_the_platform_refuses(
    stage: Stage, call: Call, exception: type[DatabricksError], code: str, words: str
) -> None:
    with pytest.raises(exception) as refused:
        call(stage.sdk)
    assert refused.value.error_code == code
    assert words in str(refused.value)
    assert [one.name for one in stage.sdk.serving_endpoints.list()] == [TAKEN]


def test_the_sdk_waits_and_asks_again_where_all_slots_are_taken(stage: Stage) -> None:
    with ThreadPoolExecutor(5) as clients:
        asked = list(clients.map(lambda _: stage.ask(TAKEN, "sleep 0.5"), range(5)))
    assert sorted(answer.status_code for answer in asked) == [200] * 4 + [429]
    [refused] = [answer for answer in asked if answer.status_code == 429]
    assert refused.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"

    def query(_: int) -> object:
        records = [{"question": "sleep 0.5"}]
        return stage.sdk.serving_endpoints.query(TAKEN, dataframe_records=records).predictions

    with ThreadPoolExecutor(5) as clients:
        assert list(clients.map(query, range(5))) == [["one"]] * 5


def test_a_payload_over_16_mb_is_a_bad_request_to_the_sdk(stage: Stage) -> None:
    with pytest.raises(errors.BadRequest, match="Request size cannot exceed"):
        stage.sdk.serving_endpoints.query(TAKEN, dataframe_records=[{"question": "x" * (16 << 20)}])


def test_an_endpoint_of_other_kinds_is_not_modelled(stage: Stage) -> None:
    external = ServedEntityInput(name="x", entity_name=MODEL)
    wanted = {**external.as_dict(), "external_model": {"name": "gpt", "provider": "openai"}}
    for body in (
        {"name": "x", "config": {"served_entities": [wanted]}},
        {"name": "x", "route_optimized": True, "config": serving(v1=100)},
        {"name": "x", "ai_gateway": AiGatewayConfig().as_dict()},
    ):
        refused = stage.call("POST", "", body)
        assert (refused.status_code, refused.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
