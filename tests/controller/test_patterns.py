import time

import pytest

from controller.workspace.patterns import LONGEST_JSON, pattern_trouble, schema_trouble, unmet
from policies.answer_checks import Expectation

SCHEMA = '{"type": "object", "required": ["days"], "properties": {"days": {"type": "integer"}}}'


def test_a_pattern_is_found_anywhere_in_the_answer() -> None:
    both = Expectation(answer_matches=(r"(?i)seven\s+DAYS", "^Delta"))
    assert unmet(both, "Delta: seven days") is None
    assert unmet(both, "seven days, Delta") == "answer_matches: nothing matches '^Delta'"
    assert unmet(Expectation(answer_matches=(r"(?i)seven\s+days",)), "Delta: Seven\ndays") is None
    assert unmet(Expectation(answer_matches=("eight",)), "seven") == (
        "answer_matches: nothing matches 'eight'"
    )


def test_a_pattern_from_a_table_is_not_told() -> None:
    secret = Expectation(answer_matches=("rosebud",), quotable=False)
    assert (
        unmet(secret, "seven") == "answer_matches: nothing matches a pattern that its table names"
    )


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)", "(?!a)", "a{0,1000}b{0,1000}" * 9])
def test_a_pattern_without_a_bound_on_its_time_is_refused(pattern: str) -> None:
    assert "linear time" in (pattern_trouble(pattern) or "")


def test_a_flag_that_would_be_ignored_is_refused() -> None:
    for pattern in ("(?s)a.b", "(?is)a", "(?s:a.b)"):
        assert "[\\s\\S]" in (pattern_trouble(pattern) or "")
    assert pattern_trouble(r"(?i)a[\s\S]b") is None


def test_a_pattern_that_goes_back_for_ever_elsewhere_takes_no_time_here() -> None:
    began = time.process_time()
    assert pattern_trouble("(a+)+$") is None
    assert unmet(Expectation(answer_matches=("^(a+)+$",)), "a" * 10**6 + "!") is None
    assert unmet(Expectation(answer_matches=("^(a+)+$",)), "a" * 10**4 + "!") is not None
    assert time.process_time() - began < 1


def test_json_in_a_text_is_held_against_the_schema_like_json_itself() -> None:
    expected = Expectation(json_schema=SCHEMA)
    assert unmet(expected, '{"days": 7}') is None
    assert unmet(expected, {"days": 7}) is None
    assert unmet(expected, '{"days": "seven"}') == (
        "json_schema: fails at properties.days.type of the schema"
    )
    assert unmet(expected, {}) == "json_schema: fails at required of the schema"
    assert unmet(expected, "seven days") == "json_schema: the answer is not JSON"
    assert "too long" in (unmet(expected, " " * (LONGEST_JSON + 1)) or "")


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "objekt"}',
        '{"$ref": "http://127.0.0.1:9/schema"}',
        '{"pattern": "(?=a)"}',
        "5",
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: str) -> None:
    assert "not a JSON Schema that can be used" in (schema_trouble(schema) or "")
