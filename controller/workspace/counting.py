"""The statement that counts: its text, part by part, for one application's inference table.

Times are milliseconds since the epoch, so that no session's time zone matters, and both ends of a
window mean the same in every look. A request stands where it was answered, `request_time` being
when it came: what is answered late is logged late, and would otherwise be missed by its window.
`request_date` is the clustering column: one day of margin covers every zone that it may have been
computed in. A null status is a request that got no answer. Names go in as parameters; numbers,
dates and checked JSON paths as literals.
"""

# ruff: noqa: S608 - what is put into the text is checked here, or is a number

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from controller.workspace.errors import Refused
from controller.workspace.jsonpath import JsonPath
from controller.workspace.names import identifier
from policies.evidence import CHECKS, GRID, Measure
from states.counted import Paths

LOOKBACK_MS = 6 * 3600 * 1000
"""How far back beats are looked for: a table later than that is broken by any measure."""
MINUTE_MS = 60_000
REFUSALS = (
    *("i cannot", "i can't", "i can not", "i'm sorry, but i", "i am sorry, but i", "as an ai"),
)
"""How a refusal begins, in lower case; crude, but alike for both versions, so that it cancels."""
CUT = ("length", "max_tokens")
"""Finish reasons that mean that an answer was cut off."""
FAILED = "status IS NULL OR (status >= 400 AND status NOT IN (401, 403, 404, 429))"
"""What an error is: an exception in `predict` is a 400 on this platform."""
COUNTED = ("answers", "latency", "length", "tokens")
"""The measures that the table itself counts; scores are brought by their own queries."""
_QUERY_WORDS = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`[^`]*`|\"(?:[^\"\\]|\\.)*\"")


def ms(moment: datetime) -> int:
    """Whole milliseconds since the epoch, as the statement compares them."""
    return int(moment.timestamp() * 1000)


def rows(table: str, paths: Paths, from_ms: int) -> str:
    """Every request once, with what its answer came to; the table is written at least once."""
    day = datetime.fromtimestamp(from_ms / 1000, UTC).date() - timedelta(days=1)
    return f"""
read AS (
  SELECT
    databricks_request_id AS request_id,
    coalesce(client_request_id, '') AS marker,
    unix_millis(request_time) AS came_ms,
    unix_millis(request_time) + coalesce(execution_duration_ms, 0) AS at_ms,
    status_code AS status,
    served_entity_id AS entity_id,
    execution_duration_ms AS duration_ms,
    CASE WHEN status_code < 400 AND get_json_object(response, '$') IS NOT NULL THEN 1 ELSE 0
      END AS readable,
    coalesce(trim({_field("response", paths.answer)}), '') AS answer,
    coalesce({_field("response", paths.sources)}, '') AS sources,
    coalesce({_field("response", paths.finish)}, '') AS finish,
    {known(f"try_cast({_field('response', paths.tokens)} AS DOUBLE)")} AS tokens,
    {_field("request", paths.session)} AS session
  FROM {identifier(table)}
  WHERE request_date >= CAST('{day.isoformat()}' AS DATE)
    AND unix_millis(request_time) >= {from_ms}
),
seen AS (
  SELECT
    request_id,
    max(marker) AS marker,
    min(came_ms) AS came_ms,
    min(at_ms) AS at_ms,
    max(status) AS status,
    max(entity_id) AS entity_id,
    max(duration_ms) AS duration_ms,
    max(readable) AS readable,
    max({_flag("answer = ''", paths.answer)}) AS empty,
    max({_flag("sources = '' OR sources = '[]'", paths.sources)}) AS unsourced,
    max({_flag(" OR ".join(f"finish = '{one}'" for one in CUT), paths.finish)}) AS cut,
    max({_flag(_refused(), paths.answer)}) AS refused,
    max(CASE WHEN status < 400 THEN tokens END) AS tokens,
    max(CASE WHEN readable = 1 AND answer <> '' THEN length(answer) END) AS characters,
    coalesce(max(session), request_id) AS session
  FROM read
  GROUP BY request_id
)"""


def _field(column: str, path: str | None) -> str:
    """A text of the document at a path; NULL without one."""
    if path is None:
        return "CAST(NULL AS STRING)"
    return f'get_json_object({column}, "{in_sql(path)}")'


def known(number: str) -> str:
    """A DOUBLE, but NULL instead of NaN, which SQL takes for larger than any number."""
    return f"nullif({number}, CAST('NaN' AS DOUBLE))"


def in_sql(path: str) -> str:
    """A path as `get_json_object` reads it; `Refused`, if it could not."""
    steps = JsonPath.parse(path).steps
    if any(isinstance(step, str) and re.search(r'["\n\r*]', step) for step in steps):
        raise Refused(f"{path}: a name in a path has no quote, star or line end: correct it")
    return "$" + "".join(f"[{one}]" if isinstance(one, int) else _step(one) for one in steps)


def _step(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"['{name}']"


def _flag(condition: str, path: str | None) -> str:
    return "0" if path is None else f"CASE WHEN readable = 1 AND ({condition}) THEN 1 ELSE 0 END"


def _refused() -> str:
    return " OR ".join(f'startswith(lower(answer), "{one}")' for one in REFUSALS)


def numbers(measures: Mapping[str, Measure], *, by_session: bool) -> list[str]:
    """What is counted of a group of requests, in the order in which it is read back."""
    counted = [
        _requests("TRUE", by_session=by_session),
        _requests(FAILED, by_session=by_session),
        _requests("status IS NULL OR status >= 500", by_session=by_session),
        _requests("status = 429", by_session=by_session),
        "0",
    ]
    for name in sorted(measures):
        counted += _tallied(name, measures[name])
    return counted


def _requests(condition: str, *, by_session: bool) -> str:
    if not by_session:
        return f"count_if({condition})"
    return f"count_if(opens = 1 AND ({condition}))"


def _tallied(name: str, measure: Measure) -> list[str]:
    if name == "latency":
        answered = "status < 400 AND duration_ms IS NOT NULL"
        above = [f"count_if({answered} AND duration_ms > {edge:.0f})" for edge in measure.edges]
        return [f"count_if({answered})", *above]
    if name == "answers":
        any_ = " + ".join(CHECKS)
        checks = [f"count_if(readable = 1 AND {check} = 1)" for check in CHECKS]
        return ["count_if(readable = 1)", f"count_if(readable = 1 AND {any_} > 0)", *checks]
    if name == "tokens":
        return _of_value("tokens", measure)
    if name == "length":
        return _of_value("characters", measure)
    return []  # a score: its own query brings it


def _of_value(column: str, measure: Measure) -> list[str]:
    """How many values there are, how many above each edge, and the mean's parts on the grid.

    `greatest` and `least` pass over a NULL: it would stand on the grid as a 0, but for the CASE.
    """
    above = [f"count_if({column} > {edge:.0f})" for edge in measure.edges]
    if measure.cap is None:
        return [f"count({column})", *above]
    zero = "CAST(0 AS DOUBLE)"
    share = f"least(greatest({column}, {zero}) * {GRID / measure.cap:.17e}, {GRID}.0e0)"
    hats = [
        f"coalesce(sum(CASE WHEN {column} IS NOT NULL "
        f"THEN greatest({zero}, 1.0e0 - abs({share} - {point}.0e0)) END), {zero})"
        for point in range(GRID + 1)
    ]
    return [f"count({column})", *above, *hats]


def of_query(
    counts: str, name: str, measures: Mapping[str, Measure], *, server_errors: bool
) -> list[str]:
    """What is counted of a configured query's rows; one without a value tells of no request.

    What is no score is counted apart: cut off at the bounds, a 4 would be a perfect one, and so
    would a NaN, which SQL takes for larger than any number.
    """
    failed = "count_if(value > 0)" if counts == "errors" else "0"
    of_server = "count_if(value > 0 AND server_error > 0)" if server_errors else "0"
    strays = "count_if(value < 0 OR value > 1)" if counts == "score" else "0"
    counted = ["count(value)", failed, of_server, "0", strays]
    key = name if counts == "score" else "latency"
    if counts != "errors" and key in measures:
        counted += _of_value("value", measures[key])
    return counted


def window_of(cuts: tuple[datetime, ...]) -> str:
    """The number of the window that a row's time lies in, from 0."""
    if not cuts:
        return "0"
    cases = " ".join(f"WHEN at_ms < {ms(cut)} THEN {index}" for index, cut in enumerate(cuts))
    return f"CASE {cases} ELSE {len(cuts)} END"


def opens(place: str, *, by_session: bool) -> str:
    """Whether a row counts: each one, or the first of its session in its window.

    The first came before anything that failed could make its user ask again, and its version was
    chosen before it was answered. A session that failed at all would count against the version with
    more users, whose part of each session is longer.
    """
    if not by_session:
        return "1"
    order = f"PARTITION BY session, {place} ORDER BY came_ms, request_id"
    return f"CASE WHEN row_number() OVER ({order}) = 1 THEN 1 ELSE 0 END"


def packed(counted: list[str]) -> str:
    """Several numbers in one text: all applications' rows then have the same columns."""
    return f"concat_ws(',', {', '.join(f'CAST({one} AS STRING)' for one in counted)})"


def subquery(sql: str) -> str:
    """A configured query fit to stand in parentheses; `Refused`, with the remedy, if it is not."""
    text = sql.strip().removesuffix(";").strip()
    bare = _QUOTED.sub("", text)
    if not _QUERY_WORDS.match(text):
        raise Refused("write one SELECT, which begins with SELECT or WITH")
    if re.search(r";|--|/\*|['`\"]", bare):
        raise Refused("write one SELECT, without a semicolon, a comment or an open quote in it")
    depth = 0
    for letter in bare:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
    if depth:
        raise Refused("its parentheses do not match: correct the query")
    return text
