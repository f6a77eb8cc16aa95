import time

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace.errors import Denied, Refused, Unreachable
from controller.workspace.jsonpath import MISSING, JsonPath
from controller.workspace.markers import marker, prefix
from controller.workspace.probes import Probes
from policies.golden import GoldenQuery, Round
from states.counted import Paths
from tests.contract.conftest import PATHS, Split, Workspace, entity

GOOD = GoldenQuery(query="What is Delta?", answer_contains=("ACID",), min_sources=2)


@pytest.fixture
def probes(client: WorkspaceClient, split: Split) -> Probes:
    return Probes(client, split.endpoint, "app", timeout_s=10)


def _ask(probes: Probes, query: GoldenQuery, version: str = "v1") -> str | None:
    return probes.ask(entity(version), query, marker("app", entity(version)), PATHS)


def test_an_expected_answer_passes(probes: Probes) -> None:
    assert _ask(probes, GOOD) is None
    assert _ask(probes, GOOD, "v2") is None


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (GoldenQuery(query="fail now"), "status 400"),
        (GoldenQuery(query="q", answer_contains=("ACID", "BASE")), "answer_contains: lacks 'BASE'"),
        (GoldenQuery(query="q", min_sources=3), "min_sources: 2 sources, 3 expected"),
    ],
)
def test_a_failure_is_told_in_words_of_the_configuration(
    probes: Probes, query: GoldenQuery, why: str
) -> None:
    assert _ask(probes, query) == why


def test_an_answer_elsewhere_than_configured_fails(client: WorkspaceClient, split: Split) -> None:
    probes, paths = Probes(client, split.endpoint, "app"), Paths(answer="$.choices[0].text")
    why = probes.ask(entity("v1"), GOOD, marker("app", entity("v1")), paths)
    assert why == "answer_contains: no text at $.choices[0].text"


def test_an_answer_that_does_not_come_in_time_fails(client: WorkspaceClient, split: Split) -> None:
    probes = Probes(client, split.endpoint, "app", timeout_s=0.5)
    assert _ask(probes, GoldenQuery(query="sleep")) == "timed out after 0.5 s"
    time.sleep(3)


def test_a_broken_connection_fails(probes: Probes, workspace: Workspace) -> None:
    workspace.fault(path="invocations", drop_connection=True)
    assert _ask(probes, GOOD) == "the connection broke before an answer"


def test_a_refused_token_blames_no_version(probes: Probes, workspace: Workspace) -> None:
    workspace.fault(path="invocations", status=403)
    with pytest.raises(Denied, match="CAN_QUERY"):
        _ask(probes, GOOD)


def test_a_rate_limit_blames_no_version(probes: Probes, workspace: Workspace) -> None:
    workspace.fault(path="invocations", status=429)
    with pytest.raises(Unreachable, match="429"):
        _ask(probes, GOOD)


def test_a_round_asks_everything_of_both(probes: Probes) -> None:
    tests = (GOOD, GoldenQuery(query="fail"), GoldenQuery(query="q", answer_contains=("BASE",)))
    asked = probes.round(entity("v2"), entity("v1"), tests, PATHS)
    assert isinstance(asked, Round)
    assert asked.asked == 3
    assert asked.candidate_failed == (2, 3)
    assert asked.stable_failed == (2, 3)
    assert asked.why == "query 2: status 400"


def test_a_round_without_a_stable_version_blames_only_the_candidate(probes: Probes) -> None:
    asked = probes.round(entity("v1"), None, (GOOD, GoldenQuery(query="fail")), PATHS)
    assert isinstance(asked, Round)
    assert (asked.candidate_failed, asked.stable_failed) == ((2,), ())


def test_a_round_that_is_given_up_asks_nothing_more_and_tells_of_no_version(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = list[GoldenQuery](), probes.ask

    def counting(
        _: Probes, entity: str, query: GoldenQuery, marker: str, **more: object
    ) -> str | None:
        asked.append(query)
        return ask(entity, query, marker, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Probes, "ask", counting)
    questions, tests = iter([False, False]), (GOOD,) * 8
    assert probes.round(entity("v1"), None, tests, PATHS, lambda: next(questions, True)) is None
    assert len(asked) == 2


def test_an_entity_that_is_not_there_has_no_beat(probes: Probes) -> None:
    assert probes.beat(entity("v1"), GOOD, marker("app", entity("v1")))
    with pytest.raises(Unreachable, match=r"it is not there \(404\)"):
        probes.beat("obedient-v9", GOOD, marker("app", "obedient-v9"))


def test_a_hostile_entity_stays_within_its_url_segment(probes: Probes, split: Split) -> None:
    for hostile in (f"{entity('v1')}/invocations?x=", "..", f"../../{split.endpoint}"):
        with pytest.raises(Refused, match="correct the configuration"):
            probes.ask(hostile, GOOD, "m", PATHS)
    for hostile in (f"{entity('v1')}?x=", f"{entity('v1')}#", f"{entity('v1')}%2Finvocations"):
        with pytest.raises(Unreachable, match=r"it is not there \(404\)"):
            probes.ask(hostile, GOOD, "m", PATHS)


def test_one_prefix_is_never_the_beginning_of_another() -> None:
    assert not marker("app", "m-v10").startswith(prefix("app", "m-v1"))
    assert not marker("app/m", "v1").startswith(prefix("app", "m"))


DOCUMENT = {"predictions": [{"answer": "yes", "a b": None}]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", DOCUMENT),
        ("$.predictions[0].answer", "yes"),
        ("$['predictions'][0]['a b']", None),
        ("$.predictions[1].answer", MISSING),
        ("$.predictions.answer", MISSING),
        ("$[0]", MISSING),
    ],
)
def test_a_path_finds_what_is_there(path: str, found: object) -> None:
    assert JsonPath.parse(path).find(DOCUMENT) == found


@pytest.mark.parametrize("path", ["", "predictions", "$.", "$..x", "$.a[*]", "$.a[-1]", "$.a b"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        JsonPath.parse(path)
