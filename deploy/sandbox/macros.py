"""Macros of the database, for what only the values' types decide: it is decided as they run.

Each does what Databricks does, or raises where DuckDB would do something else.
"""


def refusal(what: str) -> str:
    """The same, as an expression that raises while the statement runs."""
    return f"error('[UNSUPPORTED_FEATURE] the sandbox does not model {what}.')"


def _is(*types: str) -> str:
    """Whether the macro's `a` has one of these DuckDB types."""
    return "typeof(a) IN (" + ", ".join(f"'{one}'" for one in types) + ")"


_FLOATS = _is("DOUBLE", "FLOAT")
_INTEGERS = {"TINYINT": "tinyint", "SMALLINT": "smallint", "INT": "int", "BIGINT": "bigint"}


def _to_integer(name: str, *, tries: bool) -> str:
    """A macro that casts to an integer: text must be whole, and a fraction is cut, not rounded."""
    cast = "TRY_CAST" if tries else "CAST"
    text = "trim(CAST(a AS VARCHAR))"
    wrong = (
        "NULL"
        if tries
        else "error('[CAST_INVALID_INPUT] The value ''' || CAST(a AS VARCHAR) || ''' of the type "
        f'"STRING" cannot be cast to "{name}" because it is malformed. Use try_cast to tolerate '
        "malformed input.')"
    )
    return (
        f"{'try' if tries else 'to'}_{_INTEGERS[name]}(a) AS CASE "
        f"WHEN {_is('VARCHAR')} THEN CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') "
        f"THEN {cast}({text} AS {name}) WHEN a IS NOT NULL THEN {wrong} END "
        f"WHEN {_FLOATS} THEN {cast}(trunc(TRY_CAST(a AS DOUBLE)) AS {name}) "
        f"WHEN typeof(a) LIKE 'DECIMAL%' "
        f"THEN {cast}(split_part(CAST(a AS VARCHAR), '.', 1) AS {name}) "
        f"WHEN {_is('TIMESTAMP WITH TIME ZONE')} "
        f"THEN {cast}(floor(epoch(TRY_CAST(CAST(a AS VARCHAR) AS TIMESTAMPTZ))) AS {name}) "
        f"ELSE {cast}(a AS {name}) END"
    )


ZERO = "error('[DIVIDE_BY_ZERO] Division by zero. Use try_divide to tolerate divisor being 0.')"
_DECIMALS = "typeof(a) LIKE 'DECIMAL%' OR typeof(b) LIKE 'DECIMAL%'"
# A DOUBLE on either side makes the quotient a DOUBLE in both.
_DECIMAL_QUOTIENT = (
    f"({_DECIMALS}) AND typeof(a) NOT IN ('DOUBLE', 'FLOAT') "
    "AND typeof(b) NOT IN ('DOUBLE', 'FLOAT')"
)
_NO_DECIMALS = refusal("the type of this quotient of decimals: cast one side to DOUBLE")
_BEFORE = refusal("a substring that begins before the text")
_NO_INDEX = refusal("an index into this type")

_DEFINED = (
    *(_to_integer(name, tries=tries) for name in _INTEGERS for tries in (False, True)),
    # An ANSI warehouse raises where DuckDB answers infinity.
    (
        f"ansi_div(a, b) AS CASE WHEN {_DECIMAL_QUOTIENT} THEN {_NO_DECIMALS} "
        f"WHEN b = 0 THEN {ZERO} ELSE a / b END"
    ),
    (
        f"try_div(a, b) AS CASE WHEN {_DECIMAL_QUOTIENT} THEN {_NO_DECIMALS} "
        "WHEN b = 0 THEN NULL ELSE a / b END"
    ),
    (
        f"ansi_idiv(a, b) AS CASE WHEN {_FLOATS} OR {_DECIMALS} "
        f"THEN {refusal('div of other numbers than integers')} "
        f"WHEN b = 0 THEN {ZERO} ELSE CAST(a // b AS BIGINT) END"
    ),
    # A whole number of 1/p as a decimal's text: DuckDB itself divides in doubles.
    (
        "scaled(n, p, s) AS (CASE WHEN n < 0 THEN '-' ELSE '' END) || "
        "CAST(abs(n) // p AS VARCHAR) || '.' || lpad(CAST(abs(n) % p AS VARCHAR), s, '0')"
    ),
    # Databricks gives an INTERVAL, whose text is its own.
    (
        "ansi_sub(a, b) AS CASE WHEN typeof(a) = 'DATE' AND typeof(b) = 'DATE' "
        f"THEN {refusal('the difference of dates as an INTERVAL: use datediff')} ELSE a - b END"
    ),
    # Whole days keep a date a date; hours make it a timestamp.
    (
        "shift_days(a DATE, d INTERVAL) AS CAST(a + d AS DATE), "
        "(a TIMESTAMPTZ, d INTERVAL) AS a + d, (a TIMESTAMP, d INTERVAL) AS a + d"
    ),
    (
        "shift_time(a DATE, d INTERVAL) AS CAST(a AS TIMESTAMPTZ) + d, "
        "(a TIMESTAMPTZ, d INTERVAL) AS a + d, (a TIMESTAMP, d INTERVAL) AS a + d"
    ),
    # A timestamp's text has no offset; Java writes large and small doubles with an exponent.
    (
        "as_text(a) AS CASE "
        f"WHEN {_is('TIMESTAMP WITH TIME ZONE')} "
        r"THEN regexp_replace(CAST(a AS VARCHAR), '\+00$', '') "
        f"WHEN {_FLOATS} AND NOT (abs(TRY_CAST(a AS DOUBLE)) >= 0.001 "
        "AND abs(TRY_CAST(a AS DOUBLE)) < 10000000 OR TRY_CAST(a AS DOUBLE) = 0) "
        f"THEN {refusal('the text of a double that is written with an exponent')} "
        f"WHEN {_is('INTERVAL', 'BLOB', 'JSON')} OR regexp_matches(typeof(a), '\\]$|^STRUCT|^MAP') "
        f"THEN {refusal('the text of this type')} ELSE CAST(a AS VARCHAR) END"
    ),
    (
        f"ansi_round(a, n) AS CASE WHEN {_FLOATS} AND round(a, n) IS DISTINCT "
        "FROM CAST(round(CAST(CAST(a AS VARCHAR) AS DECIMAL(38, 18)), n) AS DOUBLE) "
        f"THEN {refusal('the rounding of this double, which lies between two')} "
        "ELSE round(a, n) END"
    ),
    (
        "mean_of(a) AS CASE WHEN typeof(a) LIKE 'DECIMAL%' "
        f"THEN {refusal('the type of the mean of decimals: cast to DOUBLE')} ELSE a END"
    ),
    (
        "item(a, i) AS CASE WHEN typeof(a) NOT LIKE '%]' AND a IS NOT NULL "
        f"THEN {_NO_INDEX} "
        "WHEN i < 0 OR i >= len(a) THEN error('[INVALID_ARRAY_INDEX] The index ' || i || "
        "' is out of bounds. The array has ' || len(a) || ' elements. Use get() to tolerate it.') "
        "ELSE a[i + 1] END"
    ),
    (
        "element(a, i) AS CASE WHEN typeof(a) NOT LIKE '%]' AND a IS NOT NULL "
        f"THEN {_NO_INDEX} "
        "WHEN i = 0 OR abs(i) > len(a) THEN error('[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] The index ' "
        "|| i || ' is out of bounds. The array has ' || len(a) || ' elements.') "
        "ELSE a[i] END"
    ),
    "get_item(a, i) AS CASE WHEN i >= 0 THEN a[i + 1] END",
    (
        "part(a, i) AS substring(a, CASE WHEN i = 0 THEN 1 "
        f"WHEN -i > length(a) THEN {_BEFORE} ELSE i END)"
    ),
    (
        "part_of(a, i, n) AS substring(a, CASE WHEN i = 0 THEN 1 "
        f"WHEN -i > length(a) THEN {_BEFORE} ELSE i END, "
        "n)"
    ),
    # Databricks answers NULL for text that is not JSON; DuckDB raises, ahead of any CASE around it.
    "valid(a) AS CASE WHEN json_valid(a) THEN a END",
    "json_text(a, p) AS json_extract_string(valid(a), p)",
    # `column:name` does not mind the case of a name, which DuckDB does.
    (
        "json_field(a, p) AS CASE "
        f"WHEN {_is('JSON')} THEN {refusal('a field of a VARIANT without a cast')} "
        "WHEN json_extract_string(valid(a), p) IS NULL "
        "AND json_extract_string(lower(CAST(valid(a) AS VARCHAR)), lower(p)) IS NOT NULL "
        f"THEN {refusal('a field that is written in another case than in the JSON')} "
        "ELSE json_extract_string(valid(a), p) END"
    ),
    (
        "json_list_length(a) AS CASE WHEN json_type(valid(a)) = 'ARRAY' "
        "THEN CAST(json_array_length(valid(a)) AS INTEGER) END"
    ),
    "timestamp_seconds(s) AS to_timestamp(s)",
    "timestamp_millis(ms) AS to_timestamp(ms / 1000.0)",
    "timestamp_micros(us) AS to_timestamp(us / 1000000.0)",
)
MACROS = tuple(f"CREATE OR REPLACE MACRO {one}" for one in _DEFINED)
"""What the database must define before a translated statement can run."""
