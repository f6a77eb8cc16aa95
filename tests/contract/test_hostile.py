"""Hostile names stay where they belong: in one URL segment, in one SQL parameter or identifier."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlglot
from databricks.sdk import WorkspaceClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.workspace.client import connect
from controller.workspace.errors import Denied, Refused, Unreachable, WorkspaceError
from controller.workspace.inference import Ask, InferenceTable
from controller.workspace.markers import prefix
from controller.workspace.metrics import Traffic
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.registry import SET_TAG, Registry
from controller.workspace.serving import Endpoints, ServingSettings
from policies.golden import GoldenQuery
from states.counted import Paths
from states.world import Serving, Share
from tests.contract.recorder import Asked, Recorder, recording

PIECES = [
    *("..", ".", "/", "//", "\\", "?", "#", "%2e%2e", "%2f", "%", "%00", "&", "=", ";", ":", "@"),
    *("'", '"', "`", "``", "--", "/*", "*/", "$(id)", "\n", "\r\n", "\t", "\x00", "\x7f", " "),
    *("\u202e", "\u2028", "\ufeff", "é", "é", "漢字", "😀", "\ud800", "{0}", "%s", "${x}"),
    *("x/../../2.1/unity-catalog/models", "rag", "v2", "select 1", "' OR 1=1 --", "a" * 70),
    *("]]>", "<script>", "HTTP/1.1\r\nHost: evil", "null", "None", "0", "-1"),
]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join) | st.text(
    min_size=1, max_size=40
)
TEXTS = NAMES.filter(lambda name: name.encode("utf-8", "ignore").decode() == name)
"""Those that UTF-8 has bytes for, as whatever came from a file or a server has."""
MANY = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
BENIGN = Ask(
    application="rag",
    endpoint="rag-endpoint",
    table="main.a.rag_payload",
    candidate_entity="rag-v2",
    stable_entity="rag-v1",
    since=datetime(2026, 11, 26, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def client(recorder: Recorder) -> WorkspaceClient:
    assert recorder.host
    return connect(deadline_s=5)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", found.host)
        patch.setenv("DATABRICKS_TOKEN", "dapi-any")
        yield found


def asked(recorder: Recorder, call: Any) -> list[Asked]:  # noqa: ANN401 - any call
    """What a call sent; a refusal before anything is sent is as good."""
    recorder.asked.clear()
    with suppress(Refused, Denied, Unreachable, WorkspaceError):
        call()
    return recorder.of("GET", "PUT", "POST", "PATCH", "DELETE")


def assert_segment(one: Asked, before: str, name: str, after: str, query: str = "") -> None:
    """The request is for `before`, the name as one segment, and `after`; and for nothing else."""
    parts = urlsplit(one.target)
    assert not parts.fragment
    assert parts.query == query
    head, tail = before.split("/"), after.split("/") if after else []
    segments = parts.path.split("/")
    assert len(segments) == len(head) + 1 + len(tail), one.target
    assert segments[: len(head)] == head
    assert segments[len(head) + 1 :] == tail
    found = segments[len(head)]
    assert unquote(found) == name
    assert set(found) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%"
    ), found
    assert found.strip(".")


@MANY
@given(NAMES)
def test_an_endpoints_name_stays_in_its_segment(
    recorder: Recorder, client: WorkspaceClient, name: str
) -> None:
    shares = {"rag-v1": Share(model="main.a.rag", version="1", weight=100)}
    told = ServingSettings(model="main.a.rag")
    endpoints = "/api/2.0/serving-endpoints"
    for one in asked(recorder, lambda: Endpoints(client).observe(name)):
        assert_segment(one, endpoints, name, "")
    for one in asked(recorder, lambda: Endpoints(client).serve(name, Serving(shares), told)):
        assert_segment(one, endpoints, name, "config" if one.method == "PUT" else "")
    for one in asked(recorder, lambda: Endpoints(client).create(name, Serving(shares), told)):
        assert (one.method, one.target) == ("POST", endpoints)
        assert one.json["name"] == name
    for one in asked(recorder, lambda: Traffic(client).minutes(name, frozenset())):
        assert_segment(one, endpoints, name, "metrics")


@MANY
@given(NAMES, NAMES)
def test_names_of_models_aliases_and_tags_stay_in_their_places(
    recorder: Recorder, client: WorkspaceClient, model: str, name: str
) -> None:
    registry, models = Registry(client), "/api/2.1/unity-catalog/models"
    for one in asked(recorder, lambda: registry.model_exists(model)):
        assert_segment(one, models, model, "")
    for one in asked(recorder, lambda: registry.versions(model)):
        assert_segment(replace(one, target=one.target.partition("?")[0]), models, model, "versions")
    for one in asked(recorder, lambda: registry.alias(model, name)):
        assert_segment(one, models, model, "", "include_aliases=true")
    for one in asked(recorder, lambda: registry.set_alias("main.a.rag", name, "2")):
        assert_segment(one, f"{models}/main.a.rag/aliases", name, "")
    for one in asked(recorder, lambda: registry.set_alias(model, "production", "2")):
        assert_segment(one, models, model, "aliases/production")
    with suppress(UnicodeEncodeError):
        for one in asked(recorder, lambda: registry.set_tag(model, "2", name, name)):
            assert one.target == SET_TAG
            assert one.json == {"name": model, "version": "2", "key": name, "value": name}


@MANY
@given(NAMES, NAMES)
def test_an_entitys_name_stays_in_its_segment_and_a_question_in_its_body(
    recorder: Recorder, client: WorkspaceClient, endpoint: str, entity: str
) -> None:
    query = GoldenQuery(query="What is Delta?")
    ours = Probes(client, "rag", "app")
    for one in asked(recorder, lambda: ours.ask(entity, query, "headgate/app/x/1", Paths())):
        assert_segment(one, "/serving-endpoints/rag/served-models", entity, "invocations")
    theirs = Probes(client, endpoint, "app")
    for one in asked(recorder, lambda: theirs.ask("rag-v1", query, "headgate/app/x/1", Paths())):
        assert_segment(one, "/serving-endpoints", endpoint, "served-models/rag-v1/invocations")


def statement(recorder: Recorder, client: WorkspaceClient, ask: Ask) -> dict[str, Any] | None:
    """The statement that a look sends; None where it is refused before."""
    table = InferenceTable(client, "warehouse", deadline_s=5, gather_s=0)
    sent = asked(recorder, lambda: answered(table, ask))
    return next((one.json for one in sent if one.target == "/api/2.0/sql/statements"), None)


def answered(table: InferenceTable, ask: Ask) -> None:
    with suppress(ValueError, KeyError):  # The recorder's answer has no rows to read.
        table.look(ask)


@MANY
@given(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS))
def test_names_reach_sql_as_parameters_only(
    recorder: Recorder, client: WorkspaceClient, names: tuple[str, str, str, str]
) -> None:
    application, endpoint, candidate, stable = names
    usual = statement(recorder, client, BENIGN)
    assert usual is not None
    hostile = replace(
        BENIGN,
        application=application,
        endpoint=endpoint,
        candidate_entity=candidate,
        stable_entity=stable,
    )
    found = statement(recorder, client, hostile)
    assert found is not None
    assert found["statement"] == usual["statement"]
    values = {one["name"]: one["value"] for one in found["parameters"]}
    assert values.keys() == {one["name"] for one in usual["parameters"]}
    assert values["candidate_0"] == prefix(application, candidate)
    assert values["stable_0"] == prefix(application, stable)


@MANY
@given(NAMES, NAMES, NAMES)
def test_a_tables_name_stays_three_quoted_parts_or_is_refused(
    recorder: Recorder, client: WorkspaceClient, catalog: str, schema: str, table: str
) -> None:
    name = f"{catalog}.{schema}.{table}"
    try:
        quoted = identifier(name)
    except Refused:
        assert statement(recorder, client, replace(BENIGN, table=name)) is None
        return
    usual = statement(recorder, client, BENIGN)
    found = statement(recorder, client, replace(BENIGN, table=name))
    assert usual is not None
    if found is not None:
        assert found["statement"] == usual["statement"].replace(identifier(BENIGN.table), quoted)
    parsed = sqlglot.parse_one(f"SELECT * FROM {quoted}", dialect="databricks")  # noqa: S608 - what is tested
    [only] = parsed.find_all(sqlglot.exp.Table)
    assert [part.name for part in only.parts] == [catalog, schema, table]


def test_a_name_that_is_refused_is_refused_before_anything_is_sent(
    recorder: Recorder, client: WorkspaceClient
) -> None:
    endpoints = Endpoints(client)
    for name in ("..", ".", "a/b", "a\\b", "a\nb", "", "\u202ea"):
        recorder.asked.clear()
        with pytest.raises(Refused, match="correct the configuration"):
            endpoints.observe(name)
        assert recorder.of("GET") == []
