from collections.abc import Iterator

import pytest
from databricks.sdk import WorkspaceClient

from controller.daemon.golden_table import GoldenReader
from controller.workspace.registry import Registry
from controller.workspace.statements import Statements
from policies.golden import GoldenQuery
from states.counted import Paths
from tests.contract.conftest import MODEL

TABLE = "main.golden.questions"
MAKE = f"""
CREATE TABLE {TABLE} (
  owner STRING, query STRING, request STRING, expect STRING, repeat INT, must_pass INT
)
"""
FILL = f"""
INSERT INTO {TABLE} VALUES
  ('ann', 'What is Delta?', NULL, '{{"answer_contains": ["ACID"], "min_sources": 1}}', NULL, NULL),
  ('bob', NULL, '{{"dataframe_records": [{{"query": "And Iceberg?"}}]}}', '{{}}', 3, 2),
  (NULL, 'How old are files?', NULL, '{{"answer_matches": ["(?i)seven days"]}}', 1, NULL)
"""  # noqa: S608 - our own names
WANTED = (
    GoldenQuery(query="How old are files?", answer_matches=("(?i)seven days",), quotable=False),
    GoldenQuery(query="What is Delta?", answer_contains=("ACID",), min_sources=1, quotable=False),
    GoldenQuery(
        body='{"dataframe_records": [{"query": "And Iceberg?"}]}',
        repeat=3,
        must_pass=2,
        quotable=False,
    ),
)


@pytest.fixture
def statements(client: WorkspaceClient) -> Iterator[Statements]:
    found = Statements(client, "sandbox")
    found.rows(TABLE, "CREATE SCHEMA IF NOT EXISTS main.golden", {})
    found.rows(TABLE, MAKE, {})
    yield found
    found.rows(TABLE, f"DROP TABLE {TABLE}", {})


def test_a_table_is_read_by_sql_in_the_order_of_its_questions(statements: Statements) -> None:
    statements.rows(TABLE, FILL, {})
    found = GoldenReader(statements).read(TABLE, Paths())
    assert found.trouble is None
    assert sorted(found.queries, key=lambda one: one.query or "z") == list(WANTED)
    asked = [one.query for one in found.queries if one.query]
    assert asked == sorted(asked)


def test_an_empty_table_and_one_that_is_not_there_are_told_apart(statements: Statements) -> None:
    reader = GoldenReader(statements)
    assert reader.read(TABLE, Paths()).trouble == f"golden queries of {TABLE}: it has no rows"
    told = reader.read("main.golden.nothing", Paths()).trouble
    assert told is not None
    assert "check tests.table" in told


@pytest.mark.usefixtures("model")
def test_a_versions_signature_tells_where_a_question_goes(client: WorkspaceClient) -> None:
    inputs = Registry(client).inputs(MODEL, "1")
    assert inputs is not None
    assert [(one.name, one.kind, one.required) for one in inputs.columns] == [
        ("query", "string", True)
    ]
