"""Requests to a model, in the forms that serving takes, and the signature that they must fit.

MLflow's scoring server reads `dataframe_records`, `dataframe_split`, `inputs`, and for models with
such a signature chat `messages` and the Responses API's `input` (mlflow 3.17, `scoring_server` and
`types.llm`, `types.responses`). A request that does not fit is answered 400 there, without saying
more to whoever may not see its text: hence these sentences.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.workspace import json_text
from controller.workspace.jsonpath import JsonPath

RECORDS, SPLIT, TENSORS, CHAT, RESPONSES = (
    "dataframe_records", "dataframe_split", "inputs", "messages", "input",
)  # fmt: skip
FORMS = (RECORDS, SPLIT, TENSORS, CHAT, RESPONSES)
OURS = "client_request_id"
"""By it Headgate's own requests are known; whoever states a request cannot state it."""
USUAL = JsonPath.parse("$.dataframe_records[0].query")
"""Where a question is put if neither the configuration nor the signature says more."""
KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "datetime": (str,),
    "array": (list,),
    "object": (dict,),
    "map": (dict,),
}
"""By a column's type, what JSON has for it; of other types nothing is checked."""


@dataclass(frozen=True)
class Column:
    """One input of a signature."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Inputs:
    """What a version's signature takes."""

    columns: tuple[Column, ...]

    @classmethod
    def read(cls, signature: Mapping[str, Any]) -> "Inputs | None":
        """Those of an MLmodel file's `signature`; None where it has none that can be read."""
        try:
            listed = json_text.read(signature["inputs"])
            columns = tuple(
                Column(one.get("name") or "", one["type"], one.get("required", True))
                for one in listed
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        named = all(isinstance(one.name, str) and isinstance(one.kind, str) for one in columns)
        return cls(columns) if named else None

    @property
    def question(self) -> JsonPath:
        """Where a question is put: the single text column, else the messages, else as usual."""
        names = {one.name for one in self.columns}
        if CHAT in names:
            return JsonPath.parse("$.messages[0].content")
        if RESPONSES in names and self._kind(RESPONSES) == "array":
            return JsonPath.parse("$.input[0].content")
        texts = [one.name for one in self.columns if one.kind == "string" and one.name]
        asked = [name for name in texts if self._required(name)] or texts
        return JsonPath("", (RECORDS, 0, asked[0])) if len(asked) == 1 else USUAL

    def _kind(self, name: str) -> str:
        return next(one.kind for one in self.columns if one.name == name)

    def _required(self, name: str) -> bool:
        return any(one.required for one in self.columns if one.name == name)


Known = tuple[Inputs | None, Inputs | None]
"""What the signatures of candidate and stable take, as far as it is known."""


def unknown(_model: str, _version: str) -> Inputs | None:
    """What is known of a version's inputs where nobody reads signatures."""
    return None


def request_of(query: str, body: str, inputs: Inputs | None) -> dict[str, Any]:
    """The request that asks a question, or the one that is stated as JSON text."""
    if body:
        stated: dict[str, Any] = json.loads(body)
        return stated
    return placed(inputs.question if inputs else USUAL, query)


def placed(place: JsonPath, question: str) -> dict[str, Any]:
    """A request with a question at a place; whoever speaks in messages is the user.

    ValueError where a request cannot have one.
    """
    body = place.document(question)
    if not isinstance(body, dict):
        raise ValueError("a request begins with a name, as in $.messages[0].content")  # noqa: TRY004
    for messages in (body.get(CHAT), body.get(RESPONSES)):
        if isinstance(messages, list) and isinstance(messages[0], dict):
            messages[0] = {"role": "user", **messages[0]}
    return body


def malformed(body: Mapping[str, Any]) -> str | None:
    """Why serving would take no request of this form, with the remedy; None if it would."""
    forms = [form for form in FORMS if form in body]
    if len(forms) != 1:
        return f"state one of {', '.join(FORMS)}"
    if OURS in body:
        return f"leave {OURS} out: Headgate marks its own requests by it"
    if body.get("stream"):
        return "leave stream out: an answer in pieces cannot be checked"
    form = forms[0]
    if form in (RECORDS, SPLIT, TENSORS):
        others = sorted(body.keys() - {form, "params"})
        if others:
            return f"{others[0]} means nothing beside {form}: only params does"
    return SHAPES[form](body[form]) or json_text.unwritable(body)


def _records(value: object) -> str | None:
    if _listed(value, dict):
        return None
    return "write dataframe_records as a list of records, each a column's name and value"


def _split(value: object) -> str | None:
    told = "write dataframe_split as columns, a list of names, and data, a list of rows"
    if not isinstance(value, dict) or not _listed(value.get("columns"), str):
        return told
    rows = value.get("data")
    if not _listed(rows, list) or value.keys() - {"columns", "data", "index"}:
        return told
    assert isinstance(rows, list)
    if any(len(row) != len(value["columns"]) for row in rows):
        return "give every row of dataframe_split.data one value for each column"
    return None


def _tensors(value: object) -> str | None:
    return None if isinstance(value, list | dict) and value else "write inputs as a list or mapping"


def _messages(value: object) -> str | None:
    if _listed(value, dict) and all("role" in one for one in value):  # type: ignore[attr-defined]
        return None
    return "write messages as a list, each with role and content"


def _responses(value: object) -> str | None:
    if (isinstance(value, str) and value) or _listed(value, dict):
        return None
    return "write input as text, or as a list of items such as messages with role and content"


SHAPES: Mapping[str, Callable[[object], str | None]] = {
    RECORDS: _records,
    SPLIT: _split,
    TENSORS: _tensors,
    CHAT: _messages,
    RESPONSES: _responses,
}


def _listed(value: object, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, kind) for one in value)


def misfit(body: Mapping[str, Any], inputs: Inputs) -> str | None:
    """How a well-formed request differs from what a signature takes; None if it fits.

    Columns that a signature does not have are dropped by MLflow: no harm, and no misfit.
    """
    named = {one.name: one for one in inputs.columns if one.name}
    form = next(form for form in FORMS if form in body)
    if form in (CHAT, RESPONSES) and form not in named:
        return f"the signature takes no {form}"
    if not named:
        # A single tensor without a name: MLflow checks its shape.
        return None
    for record in _asked(form, body):
        for column in inputs.columns:
            why = _unfit(column, record)
            if why is not None:
                return why
    return None


def _asked(form: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The records of a request, as columns and values."""
    value = body[form]
    if form == RECORDS:
        return list(value)
    if form == SPLIT:
        return [dict(zip(value["columns"], row, strict=True)) for row in value["data"]]
    if form == TENSORS:
        # Values may be columns or single ones: names are all that can be told.
        return [dict.fromkeys(value, _ANY)] if isinstance(value, dict) else []
    return [body]


_ANY = object()


def _unfit(column: Column, record: Mapping[str, Any]) -> str | None:
    value = record.get(column.name)
    if value is None:
        return f"the signature asks for {column.name}, which it lacks" if column.required else None
    kinds = KINDS.get(column.kind)
    if column.name == RESPONSES and isinstance(value, str):
        return None
    wrong = kinds is not None and not isinstance(value, kinds)
    if value is not _ANY and (wrong or (isinstance(value, bool) and column.kind != "boolean")):
        return f"the signature has {column.name} as {column.kind}, the request as something else"
    return None
