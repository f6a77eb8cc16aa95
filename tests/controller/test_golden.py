import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.daemon.golden_table import GoldenReader
from controller.settings import SettingsError, load
from controller.workspace.errors import Denied, Refused, Unreachable, WorkspaceError
from controller.workspace.statements import Parameter, Row
from policies.golden import GoldenQuery
from states.counted import Paths
from states.pinned import Pinned
from states.spec import Spec
from states.world import GoldenTable
from tests.states.test_desired import PINNED

HEAD = """\
applications:
  rag:
    model: main.rag.bot
    endpoint: rag
    response: {tokens: '$.predictions[0].tokens'}
"""
TABLE = "main.rag.golden"
PATHS = Paths(answer="$.answer", tokens="$.tokens")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
EVERY = timedelta(minutes=5)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "headgate.yaml"


def spec(config: Path, tests: str) -> Spec:
    config.write_text(HEAD + tests)
    return load(config).applications["rag"].spec()


def refusal(config: Path, tests: str) -> str:
    with pytest.raises(SettingsError) as refused:
        spec(config, tests)
    return str(refused.value)


def test_everything_that_may_be_expected_reaches_what_decides(config: Path) -> None:
    [query] = spec(
        config,
        """\
    tests:
      - request: {messages: [{role: user, content: hello}], temperature: 0}
        repeat: 5
        must_pass: 4
        expect:
          answer_contains: [a]
          answer_not_contains: [b]
          answer_matches: ['c+']
          json_schema: {type: string}
          language: de
          min_length: 1
          max_length: 9
          min_sources: 2
          sources_required: [d]
          sources_forbidden: [e]
          max_latency: 1500ms
          max_tokens: 100
""",
    ).tests
    assert query == GoldenQuery(
        body='{"messages": [{"role": "user", "content": "hello"}], "temperature": 0}',
        repeat=5,
        must_pass=4,
        answer_contains=("a",),
        answer_not_contains=("b",),
        answer_matches=("c+",),
        json_schema='{"type": "string"}',
        language="de",
        min_length=1,
        max_length=9,
        min_sources=2,
        sources_required=("d",),
        sources_forbidden=("e",),
        max_latency=timedelta(seconds=1.5),
        max_tokens=100,
    )


def test_a_question_is_put_where_request_query_says(config: Path) -> None:
    [query] = spec(config, "    request: {query: '$.input'}\n    tests: [{query: hello}]\n").tests
    assert (query.query, query.body) == ("", '{"input": "hello"}')


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("golden.yaml", "- query: one\n  expect: {min_sources: 1}\n- {query: two}\n"),
        ("golden.jsonl", '{"query": "one", "expect": {"min_sources": 1}}\n\n{"query": "two"}\n'),
    ],
)
def test_queries_come_from_a_file_beside_the_configuration(
    config: Path, name: str, content: str
) -> None:
    (config.parent / name).write_text(content)
    found = spec(config, f"    tests: {{queries: [{{query: zero}}], file: {name}}}\n")
    assert [one.query for one in found.tests] == ["zero", "one", "two"]
    assert found.tests[1].min_sources == 1
    assert found.tests_table is None


def test_a_table_is_named_and_read_later(config: Path) -> None:
    found = spec(config, f"    tests: {{table: {TABLE}}}\n")
    assert (found.tests, found.tests_table) == ((), TABLE)


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        (
            "g.yaml",
            "- query: a\n  expect: {min_source: 1}\n",
            "g.yaml:2",
            "did you mean min_sources",
        ),
        ("g.yaml", "- query: a\n  query: b\n", "g.yaml:2", "given twice"),
        ("g.yaml", "query: [\n", "g.yaml:2", "is not YAML"),
        ("g.yaml", "", "g.yaml", "write a list"),
        ("g.jsonl", '{"query": "a"}\n\n{"query": ""}\n', "g.jsonl:3", "at least 1 character"),
        ("g.jsonl", '{"query": "a"}\n{"query": "b", "query": "c"}\n', "g.jsonl:2", "key twice"),
        ("g.jsonl", "nonsense\n", "g.jsonl:1", "is not JSON"),
        ("g.jsonl", "[" * 100_000, "g.jsonl:1", "is not JSON"),
        (
            "g.jsonl",
            '{"query": "a"}\n{"request": {"inputs": [1e999]}}\n',
            "g.jsonl:2",
            "leave NaN and infinities out",
        ),
        (
            "g.yaml",
            "- query: a\n- request: {inputs: [.nan]}\n",
            "g.yaml:2",
            "leave NaN and infinities out",
        ),
        ("g.yaml", "[" * 3000, "g.yaml", "nests too deep"),
        ("g.yaml", "- &all [*all]\n", "g.yaml", "nests too deep"),
        ("g.yaml", "- query: 2026-13-01\n", "g.yaml", "put what is text into quotes"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_files_own_line(
    config: Path, name: str, content: str, place: str, words: str
) -> None:
    (config.parent / name).write_text(content)
    told = refusal(config, f"    tests: {{file: {name}}}\n")
    assert told.startswith(f"{config}:6: applications.rag.tests.file: {config.parent / place}")
    assert words in told


@pytest.mark.parametrize(
    ("tests", "line", "words"),
    [
        ("    tests: {}\n", 6, "state queries, a file or a table"),
        ("    tests: []\n", 6, "at least 1 item"),
        ("    tests: 5\n", 6, "valid tuple"),
        ("    tests: {file: none.yaml}\n", 6, "cannot be read: No such file"),
        ("    tests: {table: golden}\n", 6, "as catalog.schema.table"),
        ("    tests: {tabel: a.b.c}\n", 6, "did you mean table?"),
        ("    tests:\n      queries:\n        - query: a\n          expext: {}\n", 9, "expect?"),
        ("    tests:\n      - expect: {}\n", 7, "state query, a text, or request"),
        ("    tests:\n      - {query: a, request: {inputs: [1]}}\n", 7, "and not both"),
        ("    tests:\n      - request: {stream: true, input: a}\n", 7, "leave stream out"),
        ("    tests:\n      - request: {inputs: [.nan]}\n", 7, "leave NaN and infinities out"),
        ("    tests:\n      - request: {inputs: [[-.inf]]}\n", 7, "leave NaN and infinities out"),
        ("    tests:\n      - request: {inputs: [2026-11-28]}\n", 7, "put dates into quotes"),
        (
            "    tests:\n      - query: a\n        expect: {json_schema: {minimum: .nan}}\n",
            8,
            "leave NaN and infinities out",
        ),
        (
            "    tests:\n      - query: a\n        expect: {json_schema: {const: 2026-11-28}}\n",
            8,
            "put dates into quotes",
        ),
        ("    tests:\n      - {query: a, must_pass: 2}\n", 7, "must_pass is at most repeat"),
        ("    tests:\n      - {query: a, repeat: 21}\n", 7, "less than or equal to 20"),
        ("    tests:\n      - query: a\n        expect: {language: xx}\n", 8, "no such language"),
        ("    tests:\n      - query: a\n        expect: {answer_matches: ['(']}\n", 8, "linear"),
        (
            "    tests:\n      - query: a\n        expect: {json_schema: {type: objekt}}\n",
            8,
            "not a JSON Schema",
        ),
        (
            "    tests:\n      - query: a\n        expect: {min_length: 2, max_length: 1}\n",
            8,
            "no answer is as long",
        ),
        (
            "    request: {query: $.question}\n    tests: [{query: a}]\n",
            6,
            "makes no request: state one of",
        ),
        ("    request: {query: '$.input[1]'}\n    tests: [{query: a}]\n", 6, "at the first place"),
    ],
)
def test_what_is_wrong_with_a_test_is_named_with_its_line(
    config: Path, tests: str, line: int, words: str
) -> None:
    told = refusal(config, tests)
    assert told.startswith(f"{config}:{line}: ")
    assert words in told
    assert "\n" not in told


def test_tokens_are_limited_only_where_they_are_counted(config: Path) -> None:
    tests = "    tests: [{query: a, expect: {max_tokens: 9}}]\n"
    config.write_text(HEAD.partition("    response:")[0] + tests)
    with pytest.raises(SettingsError, match=r"response\.tokens"):
        load(config)


@dataclass
class Warehouse:
    """A table as SQL shows it."""

    rows_: list[dict[str, Any]] = field(default_factory=list)
    fails: WorkspaceError | None = None
    asked: int = 0

    def rows(self, place: str, statement: str, parameters: Mapping[str, Parameter]) -> list[Row]:
        assert (place, parameters) == (f"table {TABLE}", {})
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        if statement.startswith("DESCRIBE"):
            return [[name, "string", None] for name in self.rows_[0]]
        columns = statement.split(" FROM ", maxsplit=1)[0].removeprefix("SELECT ").split(", ")
        return [[one[name] for name in columns] for one in self.rows_]


ROW = {"query": "What is Delta?", "expect": '{"answer_contains": ["ACID"]}', "owner": "me"}


def pinned(tests: tuple[GoldenQuery, ...] = ()) -> Pinned:
    return replace(PINNED, tests=tests, tests_table=TABLE)


def test_a_tables_rows_are_golden_queries_whose_words_are_not_told() -> None:
    request = {"query": None, "request": '{"input": "hello"}', "expect": '{"min_sources": null}'}
    rows = [{**ROW, "request": None, "repeat": "3"}, {**request, "repeat": None}]
    found = GoldenReader(Warehouse(rows)).look(pinned(), PATHS, NOW, EVERY)
    assert found is not None
    assert found.trouble is None
    assert found.queries == (
        GoldenQuery(query="What is Delta?", answer_contains=("ACID",), repeat=3, quotable=False),
        GoldenQuery(body='{"input": "hello"}', quotable=False),
    )


def test_a_tables_questions_are_put_where_request_query_says() -> None:
    found = GoldenReader(Warehouse([ROW])).read(TABLE, Paths(question="$.input"))
    assert found.queries[0].body == json.dumps({"input": "What is Delta?"})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "q", "expect": "{}"}, "a column query or request, and a column expect"),
        ({"query": "q"}, "a column query or request, and a column expect"),
        ({"query": "q", "expect": "ACID"}, "row 1: expect: is not JSON"),
        ({"query": "q", "expect": '{"min_source": 1}'}, "row 1.expect.min_source"),
        ({"query": "q", "expect": '{"answer_matches": ["("]}'}, "linear time"),
        ({"query": "q", "expect": None, "repeat": "0"}, "row 1.repeat"),
        ({"request": '{"inputs": [NaN]}', "expect": "{}"}, "row 1.request: leave NaN"),
        ({"request": '{"inputs": [1e999]}', "expect": "{}"}, "row 1.request: leave NaN"),
        ({"request": "[" * 100_000, "expect": "{}"}, "row 1: request: is not JSON"),
        ({"query": "q", "expect": '{"min_length": ' + "1" * 5000 + "}"}, "row 1: expect: is not"),
        (
            {"query": "q", "expect": '{"json_schema": {"minimum": NaN}}'},
            "row 1.expect.json_schema: leave NaN",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_told_by_row_and_never_by_question(
    row: dict[str, Any], words: str
) -> None:
    found = GoldenReader(Warehouse([row])).read(TABLE, PATHS)
    assert found.queries == ()
    assert found.trouble is not None
    assert found.trouble.startswith(f"golden queries of {TABLE}: ")
    assert words in found.trouble


def test_a_table_may_not_be_larger_than_there_is_room() -> None:
    found = GoldenReader(Warehouse([ROW] * 3)).read(TABLE, PATHS, 2)
    assert "more than 2 rows" in (found.trouble or "")


def test_a_table_that_is_not_there_is_a_persons_matter_and_a_silent_warehouse_is_none() -> None:
    gone = GoldenReader(Warehouse(fails=Refused("inference table: no"))).read(TABLE, PATHS)
    assert "check tests.table" in (gone.trouble or "")
    denied = GoldenReader(Warehouse(fails=Denied("x: permission denied: y"))).read(TABLE, PATHS)
    assert "permission denied" in (denied.trouble or "")
    with pytest.raises(Unreachable):
        GoldenReader(Warehouse(fails=Unreachable("asleep"))).read(TABLE, PATHS)


def test_a_table_that_cannot_be_used_is_read_again_at_the_evidences_pace() -> None:
    warehouse = Warehouse([{"query": "q"}])
    reader = GoldenReader(warehouse)
    first = reader.look(pinned(), PATHS, NOW, EVERY)
    assert reader.look(pinned(), PATHS, NOW + timedelta(minutes=4), EVERY) == first
    assert warehouse.asked == 1
    warehouse.rows_ = [ROW]
    mended = reader.look(pinned(), PATHS, NOW + timedelta(minutes=5), EVERY)
    assert mended is not None
    assert len(mended.queries) == 1


def test_a_table_that_limits_tokens_is_of_use_to_releases_whose_plan_counts_them() -> None:
    warehouse = Warehouse([{"query": "q", "expect": '{"max_tokens": 9}'}])
    reader, without = GoldenReader(warehouse), Paths(answer="$.answer")
    found = reader.look(pinned(), without, NOW, EVERY)
    assert found == GoldenTable(
        trouble=f"golden queries of {TABLE}: row 1: max_tokens: leave it out, or say in "
        "response.tokens where tokens are, for later releases"
    )
    later = reader.look(pinned(), PATHS, NOW + timedelta(seconds=30), EVERY)
    assert later is not None
    assert [one.max_tokens for one in later.queries] == [9], "what was told before was of another"
