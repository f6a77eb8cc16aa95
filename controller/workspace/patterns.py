"""Patterns and JSON Schemas, checked in a time that has a bound, whoever wrote them.

Both are those of JSON Schema (ECMA 262's dialect), and a pattern is matched without going back, so
that its time is linear in the answer. What cannot be matched so, lookarounds and references to
groups, is refused, and so is a pattern that would grow too large: the slowest that was found to be
taken needs 4 s for the longest text that is looked through.
"""

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from controller.workspace import json_text
from policies.answer_checks import Expectation

if TYPE_CHECKING:
    from jsonschema_rs import Validator

SIZE = 300_000
"""Bytes of a compiled pattern at most; one of Unicode's classes takes about 20,000."""
LOOKED_THROUGH = 20_000
"""Characters of an answer that a pattern is looked for in."""
LONGEST_JSON = 200_000
"""Characters of an answer that is read as JSON."""
DOT_FLAG = re.compile(r"\(\?[a-rt-z-]*s")


def pattern_trouble(pattern: str) -> str | None:
    """Why a pattern cannot be used, with the remedy; None if it can."""
    if DOT_FLAG.search(pattern):
        return "the flag s is not read here: write [\\s\\S] for any character"
    try:
        _pattern(pattern)
    except ValueError:
        return (
            "not a pattern that can be matched in linear time: check its brackets, leave out "
            "lookarounds and references to groups, and repeat less than a thousand times"
        )
    return None


def schema_trouble(schema: str) -> str | None:
    """Why JSON text is no schema that can be used; None if it is one."""
    try:
        _schema(schema)
    except ValueError:
        return (
            "not a JSON Schema that can be used: check its keywords and patterns, and refer to "
            "nothing outside of it"
        )
    return None


def unmet(expected: Expectation, answer: object) -> str | None:
    """The first pattern or schema that an answer does not fit; None if it fits them all.

    That there is a text for patterns to look through, `policies.answer_checks` tells.
    """
    text = answer[:LOOKED_THROUGH] if isinstance(answer, str) else None
    for pattern in expected.answer_matches:
        if text is not None and not _found(pattern, text):
            told = repr(pattern) if expected.quotable else "a pattern that its table names"
            return f"answer_matches: nothing matches {told}"
    if expected.json_schema:
        return _unfit(_schema(expected.json_schema), answer)
    return None


def _found(pattern: str, text: str) -> bool:
    """Whether a pattern matches; half of a surrogate pair in the text is matched as `?`."""
    return _pattern(pattern).is_valid(text.encode(errors="replace").decode())


def _unfit(schema: "Validator", answer: object) -> str | None:
    document = answer
    if isinstance(answer, str):
        if len(answer) > LONGEST_JSON:
            return f"json_schema: over {LONGEST_JSON:,} characters, which is too long to check"
        try:
            document = json_text.read(answer)
        except ValueError:
            return "json_schema: the answer is not JSON"
    try:
        failure = next(iter(schema.iter_errors(document)), None)
    except ValueError:
        # Half of a surrogate pair, as of text that was cut in the middle of a character.
        return "json_schema: the answer is not Unicode text"
    if failure is None:
        return None
    # Keywords and names of the schema; where in the answer it failed, could be the answer's words.
    return f"json_schema: fails at {'.'.join(map(str, failure.schema_path))} of the schema"


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> "Validator":
    return _compiled({"pattern": pattern})


@lru_cache(maxsize=64)
def _schema(schema: str) -> "Validator":
    return _compiled(json.loads(schema))


def _compiled(schema: Any) -> "Validator":  # noqa: ANN401 - JSON is anything
    import jsonschema_rs  # noqa: PLC0415 - megabytes, and few applications have a use for it

    options = jsonschema_rs.RegexOptions(size_limit=SIZE, dfa_size_limit=SIZE)
    return jsonschema_rs.validator_for(schema, pattern_options=options, retriever=_nothing)


def _nothing(uri: str) -> None:
    raise ValueError(f"{uri} is outside of the schema")
