"""What answers come to, version by version, as the warehouse counts it of real rows."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.sections.judging import QuerySettings
from controller.workspace.inference import Ask, InferenceTable, QueryAsk, Window
from controller.workspace.markers import marker
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.statements import Statements
from policies.evidence import Arm, Measure
from policies.golden import GoldenQuery
from states.counted import Paths
from tests.contract.conftest import LAG_S, Split, Workspace, entity, name
from tests.contract.test_inference import to_ms

SAYS = "an answer of usual length"
ANSWERS: dict[str, dict[str, Any]] = {
    "well": {"answer": SAYS, "sources": ["a"], "finish": "stop", "tokens": 30},
    "empty": {"answer": "  ", "sources": ["a"], "finish": "stop", "tokens": 1},
    "unsourced": {"answer": SAYS, "sources": [], "finish": "stop", "tokens": 30},
    "cut": {"answer": SAYS, "sources": ["a"], "finish": "length", "tokens": 90},
    "refused": {"answer": "I cannot say", "sources": ["a"], "finish": "stop", "tokens": 4},
    "nothing": {"answer": "", "sources": [], "finish": "stop", "tokens": 0},
    "uncounted": {"answer": SAYS, "sources": ["a"], "finish": "stop", "tokens": "NaN"},
    "long": {"answer": SAYS * 10, "sources": ["a"], "finish": "stop", "tokens": 300},
}
WELL = GoldenQuery(query=json.dumps(ANSWERS["well"]))
PATHS = Paths(
    answer="$.predictions[0].answer",
    sources="$.predictions[0].sources",
    tokens="$.predictions[0].tokens",
    finish="$.predictions[0].finish",
)
FAULTS = ("empty", "unsourced", "cut", "refused")

SCORES = """
WITH scores AS (
  SELECT * FROM VALUES {scored} AS written(databricks_request_id, name, value)
),
entities AS (
  SELECT served_entity_id, max(served_entity_name) AS served_entity_name
  FROM system.serving.served_entities
  GROUP BY served_entity_id
),
requests AS (
  SELECT databricks_request_id, max(request_time) AS request_time, max(served_entity_id) AS id
  FROM {table}
  GROUP BY databricks_request_id
)
SELECT
  entities.served_entity_name,
  requests.request_time,
  CASE scores.value WHEN 'yes' THEN 1 WHEN 'no' THEN 0 END AS value
FROM scores
JOIN requests ON requests.databricks_request_id = scores.databricks_request_id
JOIN entities ON entities.served_entity_id = requests.id
WHERE scores.name = 'groundedness'
"""
"""A query as an operator writes it, but that the job's own table is written out."""


@dataclass
class Asked:
    """Users who got answers of a kind, by version; the table is then looked at."""

    workspace: Workspace
    split: Split
    source: InferenceTable
    probes: Probes
    application: str
    since: datetime = field(default_factory=lambda: to_ms(datetime.now(UTC)))
    got: dict[str, Counter[str]] = field(default_factory=dict)
    last: str = ""
    """The served entity that answered last."""

    def ask(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            answer = requests.post(
                f"{self.workspace.host}/serving-endpoints/{self.split.endpoint}/invocations",
                json={
                    "dataframe_records": [{"query": json.dumps(ANSWERS[kind])}],
                    "client_request_id": f"{self.application}-user",
                },
                headers={"Authorization": f"Bearer {self.workspace.token}"},
                timeout=10,
            )
            assert answer.status_code == 200, answer.text
            self.last = answer.headers["served-model-name"]
            self.got.setdefault(self.last, Counter())[kind] += 1

    def shown(self) -> None:
        """Wait until the table shows all of it."""
        for version in ("v1", "v2"):
            mark = marker(self.application, entity(version))
            assert self.probes.beat(entity(version), WELL, mark)
        time.sleep(LAG_S + 0.3)

    def asks(self, measures: dict[str, Measure], **queries: QueryAsk) -> Ask:
        return Ask(
            application=self.application,
            endpoint=self.split.endpoint,
            table=self.split.table,
            candidate_entity=entity("v2"),
            stable_entity=entity("v1"),
            since=self.since,
            measures=measures,
            paths=PATHS,
            queries=queries,
        )

    def window(self, **measures: Measure) -> Window:
        [window] = self.source.look(self.asks(measures)).windows
        return window

    def both(self, window: Window) -> list[tuple[Counter[str], Arm]]:
        """What users saw of each version, and what was counted of it."""
        arms = (("v1", window.stable), ("v2", window.candidate))
        return [(self.got.get(entity(version), Counter()), arm) for version, arm in arms]


@pytest.fixture
def asked(workspace: Workspace, client: WorkspaceClient, split: Split) -> Asked:
    application = name()
    source = InferenceTable(client, "sandbox")
    return Asked(workspace, split, source, Probes(client, split.endpoint, application), application)


def test_faults_of_answers_their_tokens_and_their_length_are_counted_by_version(
    asked: Asked,
) -> None:
    asked.ask([*ANSWERS, *ANSWERS, "cut", "unsourced", "well", "long"])
    asked.shown()
    edges = (float(len(SAYS) - 1), float(len(SAYS)))
    window = asked.window(
        answers=Measure(),
        length=Measure(edges=edges),
        tokens=Measure(edges=(29.0, 100.0), cap=400.0),
        # A score is brought by its own query: the table's other numbers are none of it.
        groundedness=Measure(cap=1.0),
    )
    for got, arm in asked.both(window):
        answers, length, tokens = (arm.tallies[one] for one in ("answers", "length", "tokens"))
        faulty = {fault: got[fault] for fault in FAULTS}
        faulty["empty"] += got["nothing"]
        faulty["unsourced"] += got["nothing"]
        any_of = sum(got[kind] for kind in (*FAULTS, "nothing"))
        assert answers.seen == got.total() == arm.requests
        assert answers.counts == (any_of, *faulty.values())
        # Of an answer that is empty no length is told: it is a fault already.
        assert length.seen == got.total() - got["empty"] - got["nothing"]
        assert length.counts == (length.seen - got["refused"], got["long"])
        # NaN is no number of tokens, large or small.
        assert tokens.seen == got.total() - got["uncounted"]
        assert tokens.counts == (
            sum(got[one] for one in ("well", "unsourced", "cut", "long")),
            got["long"],
        )
        spent = sum(
            ANSWERS[kind]["tokens"] * number for kind, number in got.items() if kind != "uncounted"
        )
        assert tokens.mean * 400 * tokens.seen == pytest.approx(spent)
        assert "groundedness" not in arm.tallies


def test_the_past_tells_how_long_answers_were_and_what_they_took(asked: Asked) -> None:
    asked.ask(["well"] * 12 + ["long"] * 4)
    asked.shown()
    past = asked.source.history(
        table=asked.split.table,
        endpoint=asked.split.endpoint,
        stable_entity=entity("v1"),
        application=asked.application,
        paths=PATHS,
    )
    assert past.checked
    assert len(past.length) == 3
    assert list(past.length) == sorted(past.length)
    assert past.length[0] >= len("I cannot say")
    assert past.tokens


def test_scores_that_a_job_writes_by_request_are_counted_by_the_version_that_answered(
    asked: Asked, client: WorkspaceClient
) -> None:
    """The shape of an evaluation job's table, or of MLflow's assessments taken out of traces."""
    asked.ask(["well"] * 10 + ["unsourced"] * 10)
    asked.shown()
    table = identifier(asked.split.table)
    written = f"""
SELECT databricks_request_id, max(get_json_object(response, '{PATHS.sources}')) AS sources
FROM {table} WHERE client_request_id = :own GROUP BY databricks_request_id
"""  # noqa: S608 - the test's own
    own = {"own": f"{asked.application}-user"}
    rows = Statements(client, "sandbox").rows("requests", written, own)
    assert len(rows) == 20
    scored = ", ".join(
        f"('{one}', 'groundedness', '{'no' if sources == '[]' else 'yes'}')"
        for one, sources in rows
    )
    sql = SCORES.format(scored=scored, table=table)
    settings = QuerySettings(sql=sql, counts="score")
    query = QueryAsk(sql=settings.sql, counts=settings.counts, since=asked.since)
    answer = asked.source.look(asked.asks({"groundedness": Measure(cap=1.0)}, groundedness=query))
    [window] = answer.queries["groundedness"]
    for version, arm in (("v1", window.stable), ("v2", window.candidate)):
        got = asked.got.get(entity(version), Counter()).copy()
        # The newest row is where the query has come to, and is counted with the next look.
        got["unsourced"] -= entity(version) == asked.last
        tally = arm.tallies["groundedness"]
        assert tally.seen == got.total()
        assert tally.mean * tally.seen == pytest.approx(got["well"])
