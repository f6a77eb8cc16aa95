"""A first configuration as text: what was found, with what each key means and which default it has.

What others named or wrote stands in it as YAML scalars and in comments of one line: neither can
become a key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from textwrap import wrap
from typing import Any, get_args

import yaml

from controller.console.existing import Found
from controller.console.keys import Key, keys
from controller.record.redaction import printable
from controller.sections.serving import CPU, WorkloadType
from controller.workspace import json_text
from controller.workspace.inputs import RECORDS, SPLIT, USUAL, Inputs, malformed, placed
from controller.workspace.jsonpath import JsonPath

SCHEMA_FILE = "headgate.schema.json"
WIDTH = 100
LARGEST = 4000
"""Characters of an example that becomes a golden query: more is no question."""
PLACEHOLDER = "What do you know?"
ANSWERS = ("answer", "response", "output", "text", "content", "generated_text", "prediction")
SOURCES = ("sources", "source_documents", "documents", "citations", "references", "context")
"""Columns that are taken for what they are called, the likeliest first."""
CHOICES, OUTPUT, USAGE = "choices", "output", "usage"
"""What chat models and the Responses API answer with (mlflow 3.17, `types.llm`, `.responses`)."""
OTHER_TYPES = [one for one in get_args(WorkloadType) if one != CPU]
REVIEW = "REVIEW: "
"""Marks what only a person can know."""


class Draft:
    """Writes the lines of one application."""

    def __init__(self, name: str, found: Found) -> None:
        self._name, self._found = name, found
        self._keys: Mapping[str, Key] = {one.place: one for one in keys()}
        self._lines: list[str] = []

    def text(self) -> str:
        """The whole file."""
        found = self._found
        self._lines = [f"# yaml-language-server: $schema={SCHEMA_FILE}"]
        origin = f"serving endpoint {found.endpoint}" if found.exists else f"model {found.model}"
        self._say(
            f"Written by `headgate init` from {origin}, and yours to change. Above each key is "
            "what it means, and its default. "
            f"{REVIEW.removesuffix(': ')} marks what only you can know.",
            0,
        )
        self._lines += ["applications:", f"  {_scalar(self._name)}:"]
        for trouble in found.troubles:
            self._say(f"{REVIEW}not read: {trouble}", 4)
        self._key("model", found.model)
        self._key("endpoint", found.endpoint, *self._about_endpoint())
        self._key("alias", found.alias, self._about_alias())
        self._serving()
        self._table()
        self._permissions()
        self._response()
        self._tests()
        return "\n".join(self._lines) + "\n"

    def _about_endpoint(self) -> Iterator[str]:
        found = self._found
        if not found.exists:
            yield "It is not there yet: the first release creates it."
        else:
            yield f"Version {found.version} has {found.share} % of its traffic."

    def _about_alias(self) -> str:
        found = self._found
        named = found.aliases.get(found.alias)
        if named is None:
            return "It names no version yet."
        if named == found.version:
            return f"It names version {named}."
        return (
            f"{REVIEW}it names version {named}, and version {found.version} serves: Headgate "
            "holds, and asks, until one is put right."
        )

    def _serving(self) -> None:
        found = self._found
        size = found.size
        stated: dict[str, Any] = {}
        if size is not None and size.max_concurrency is not None:
            stated["min_concurrency"] = size.min_concurrency
            stated["max_concurrency"] = size.max_concurrency
        elif size is not None and size.workload_size in ("Small", "Medium", "Large"):
            stated["workload_size"] = size.workload_size
        elif not found.exists:
            stated["workload_size"] = "Small"
        if size is not None and size.workload_type in OTHER_TYPES:
            stated["workload_type"] = size.workload_type
        if size is not None:
            stated["scale_to_zero"] = size.scale_to_zero
        if found.profile:
            stated["instance_profile"] = found.profile
        self._lines.append("    serving:" if stated or not found.exists else "    # serving:")
        for name, value in stated.items():
            self._key(f"serving.{name}", value, *(("As it runs now.",) if found.exists else ()))
        self._environment()

    def _environment(self) -> None:
        self._explain("serving.environment", 6)
        if not self._found.exists:
            self._lines.append("      environment: none")
            return
        self._say(
            f"{REVIEW}Databricks does not show the variables of a running endpoint, and a change "
            "replaces them all. State them, or `none` if there are none: until then Headgate only "
            "looks.",
            6,
        )
        secrets = self._found.secrets
        shown = _scalar(dict(secrets)) if secrets else "none"
        self._lines.append(f"      # environment: {shown}")

    def _table(self) -> None:
        found = self._found
        self._explain("inference_table", 4)
        if found.table is not None:
            self._say(f"This endpoint has one, {found.table}: there is nothing to state.", 4)
            return
        catalog, schema, _ = found.model.split(".")
        if found.exists:
            self._say(
                f"{REVIEW}this endpoint has none: enable it in AI Gateway, or state this, and "
                "Headgate does. Without it nothing is counted by version.",
                4,
            )
        lines = [
            "inference_table:",
            f"  catalog: {_scalar(catalog)}",
            f"  schema: {_scalar(schema)}",
        ]
        self._lines += [f"    {'# ' if found.exists else ''}{line}" for line in lines]

    def _permissions(self) -> None:
        self._explain("permissions", 4)
        kept = "Those of this endpoint stay as they are." if self._found.exists else ""
        self._say(f"{kept} They are set once, at creation.".strip(), 4)
        self._lines.append("    # permissions: [{group: analysts, level: CAN_QUERY}]")

    def _response(self) -> None:
        guessed = paths_of(self._found.signature)
        self._explain("response", 4)
        if not guessed:
            self._say(f"{REVIEW}the signature does not tell; these are the defaults.", 4)
            guessed = {
                name: self._keys[f"response.{name}"].default for name in ("answer", "sources")
            }
        else:
            self._say(f"{REVIEW}guessed from the signature's output.", 4)
        self._lines.append("    response:")
        for name, path in guessed.items():
            self._key(f"response.{name}", path)

    def _tests(self) -> None:
        self._explain("tests", 4)
        asked = golden(self._found.signature, self._found.example)
        if asked is None:
            self._say(
                f"{REVIEW}the model has no input example that serves as one: ask what your users "
                "ask, and say what the answer must show.",
                4,
            )
            asked = {"query": PLACEHOLDER}
        else:
            self._say(
                f"{REVIEW}this is the model's input example: keep it if it may stand in a file, "
                "add what your users ask, and say what the answers must show.",
                4,
            )
        [(kind, value)] = asked.items()
        self._lines.append("    tests:")
        self._lines.append(f"      - {kind}: {_scalar(value)}")
        self._say("expect: {answer_contains: [ACID], min_sources: 1}", 8)

    def _key(self, place: str, value: object, *notes: str) -> None:
        """A key with what it means, its default, and what else there is to say of it."""
        indent = 4 + 2 * place.count(".")
        self._explain(place, indent, *notes)
        self._lines.append(f"{' ' * indent}{place.rpartition('.')[2]}: {_scalar(value)}")

    def _explain(self, place: str, indent: int, *notes: str) -> None:
        key = self._keys[place]
        default = f"Default: `{key.default}`." if key.default else ""
        self._say(" ".join(part for part in (key.meaning, default, *notes) if part), indent)

    def _say(self, text: str, indent: int) -> None:
        start = " " * indent + "# "
        self._lines += wrap(
            printable(text),
            WIDTH,
            initial_indent=start,
            subsequent_indent=start,
            break_long_words=False,
            break_on_hyphens=False,
        )


def paths_of(signature: Mapping[str, Any]) -> dict[str, str]:
    """Where a response probably has its answer, and what else is counted, by its output columns.

    Empty, where the signature tells of no output that is known.
    """
    columns = _outputs(signature)
    names = [str(one.get("name") or "") for one in columns]
    if CHOICES in names:
        found = {"answer": "$.choices[0].message.content", "finish": "$.choices[0].finish_reason"}
        return found | ({"tokens": "$.usage.completion_tokens"} if USAGE in names else {})
    if OUTPUT in names and next(iter(columns)).get("type") == "array":
        return {"answer": "$.output[0].content[0].text"}
    if names == [""]:
        return {"answer": "$.predictions[0]"} if columns[0].get("type") == "string" else {}
    texts = [str(one.get("name")) for one in columns if one.get("type") == "string"]
    answer = next((name for name in ANSWERS if name in names), texts[0] if texts else None)
    if answer is None:
        return {}
    sources = next((name for name in SOURCES if name in names), None)
    guessed = {"answer": _column(answer), "sources": _column(sources) if sources else None}
    return {name: path for name, path in guessed.items() if path is not None}


def _column(name: str) -> str | None:
    """The path to a column of the first prediction; None for a name that no path can have."""
    for path in (f"$.predictions[0].{name}", f"$.predictions[0]['{name}']"):
        with suppress(ValueError):
            return JsonPath.parse(path).text
    return None


def _outputs(signature: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    try:
        listed = json_text.read(signature.get("outputs") or "[]")
    except ValueError:
        return ()
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else ()


def golden(
    signature: Mapping[str, Any], example: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """A golden query that asks a model's input example; None where that cannot be asked."""
    if example is None:
        return None
    request = _first(example)
    if malformed(request) is not None or len(json.dumps(request)) > LARGEST:
        return None
    inputs = Inputs.read(signature)
    place = inputs.question if inputs else USUAL
    question = place.find(request)
    # A question alone reads better than a request, if it makes the very same one.
    if isinstance(question, str) and question and placed(place, question) == request:
        return {"query": question}
    return {"request": request}


def _first(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example with its first row alone, as a record."""
    request = {key: value for key, value in example.items() if value is not None}
    split = request.get(SPLIT)
    if isinstance(split, Mapping) and isinstance(split.get("data"), list) and split["data"]:
        columns, row = split.get("columns"), split["data"][0]
        if isinstance(columns, list) and isinstance(row, list) and len(columns) == len(row):
            del request[SPLIT]
            request[RECORDS] = [dict(zip(map(str, columns), row, strict=True))]
    elif isinstance(request.get(RECORDS), list):
        request[RECORDS] = request[RECORDS][:1]
    return request


def _scalar(value: object) -> str:
    """A value in one line of YAML; escaped, where it has characters that steer a terminal."""
    text = _dumped(value, plain=True)
    return text if printable(text) == text else _dumped(value, plain=False)


def _dumped(value: object, *, plain: bool) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=plain, width=float("inf"), sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
