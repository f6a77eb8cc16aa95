"""What the code tells, read from its text: each event with its fields and levels."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = ("states", "controller/record", "controller/daemon", "controller/workspace")
"""Where events are told; the console only reads them."""
LOGGED = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}
"""What the process's own log is told by, and how bad that is."""
ONLY = {"journal": "gate.verdict", "_written": "order.given"}
"""Functions that tell one event only, and which."""
PARTS = {"level", "because", "name", "release", "event", "fields"}
"""What a call is given that is no field of the event."""

BLIND = [("policies/blindness.py", name) for name in ("blind", "incomplete")]
FUSE = [("policies/fuse.py", "blown")]
JUDGED = [("policies/judge.py", name) for name in ("verdict_of", "no_worse")]
JUDGED += [
    ("policies/telling.py", "counts"),
    ("policies/telling.py", "wait"),
]
TOLD_BY = ("controller/record/orders.py", "told_by")
MADE: dict[tuple[str, str], list[tuple[str, str]]] = {
    ("states/harm.py", "before"): [("states/harm.py", "go_back_on_harm")],
    ("states/canary.py", "observed"): [("states/canary.py", "_verdicts")],
    ("states/climb.py", "Bench.of(opened).told()"): [("states/rejudging.py", "told")],
    ("states/examples.py", "fields"): [("states/examples.py", "examples")],
    ("states/judging.py", "inputs"): [],
    ("states/judging.py", "_rests_on(turn, release, verdict)"): [
        ("states/judging.py", "_rests_on")
    ],
    ("states/judging.py", "verdict.numbers"): [*JUDGED, *BLIND, *FUSE],
    ("states/post_mortem.py", "guard"): [("states/post_mortem.py", "tell_post_mortem")],
    ("states/post_mortem.py", "case.fields"): [("states/post_mortem.py", "fields")],
    ("states/reconcile.py", "told(block)"): [("states/blocks.py", "told")],
    ("states/replaying.py", "found.numbers"): [
        ("policies/replay_told.py", "verdict"),
        ("policies/replay_told.py", "_numbers"),
    ],
    ("states/shutting.py", "alarm.numbers"): [*BLIND, *FUSE],
    ("states/turn.py", "fields"): [],
    ("controller/record/orders.py", "told"): [
        ("controller/record/orders.py", name) for name in ("answer", "wish")
    ],
    ("controller/record/orders.py", "told_by(actor, via, reason, 'apply')"): [TOLD_BY],
    ("controller/record/orders.py", "told_by(actor, via, reason, word)"): [TOLD_BY],
    ("controller/record/words.py", "given"): [
        TOLD_BY,
        ("controller/record/words.py", "promote"),
        ("controller/record/words.py", "_written"),
    ],
    ("controller/record/words.py", "fields"): [
        ("controller/record/words.py", name) for name in ("begin", "_written")
    ],
}
"""Where fields are not written beside their event, but made: which functions write their names."""
NOT = {"evidence.blind": FUSE, "fuse.blown": BLIND}
"""Of two events that are told in one place, what is not made for the one."""


@dataclass
class Told:
    """One event, as the code tells it."""

    fields: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)
    """Of fields whose names are put together."""
    levels: set[str] = field(default_factory=set)

    def add(self, other: "Told") -> None:
        """Take in fields that are made elsewhere."""
        self.fields |= other.fields
        self.patterns |= other.patterns

    def tells(self, name: str) -> bool:
        """Whether it has a field, by its name or as one that is put together."""
        return name in self.fields or any(re.fullmatch(one, name) for one in self.patterns)


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def files() -> Iterator[str]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.name not in ("events.py", "contract.py", "vocabulary.py"):
                yield str(path.relative_to(ROOT))


def texts(node: ast.expr | None, function: ast.AST) -> set[str]:
    """The texts that an expression may be, as far as its function shows."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=other):
            return texts(body, function) | texts(other, function)
        case ast.Name(id=name):
            found: set[str] = set()
            for one in ast.walk(function):
                match one:
                    case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                        found |= texts(value, function)
                    case ast.arguments(args=arguments, defaults=defaults):
                        own = dict(zip(reversed(arguments), reversed(defaults), strict=False))
                        for argument, value in own.items():
                            if argument.arg == name:
                                found |= texts(value, function)
            return found
        case _:
            return set()


def written(path: str, function: str) -> Told:
    """The names of fields that a function writes."""
    told = Told()
    [found] = [
        one
        for one in ast.walk(tree(path))
        if isinstance(one, ast.FunctionDef) and one.name == function
    ]
    keys: list[ast.expr | None] = []
    inner: list[ast.expr] = []
    for node in ast.walk(found):
        match node:
            case ast.BinOp(left=ast.Call(func=ast.Name(id="asdict")), right=ast.Dict() as nested):
                inner.append(nested)
            case ast.Dict(keys=some) if node not in inner:
                keys += some
            case ast.DictComp(key=key):
                keys.append(key)
            case ast.Subscript(slice=key, ctx=ast.Store()):
                keys.append(key)
            case ast.Call(func=ast.Name(id="_blind"), keywords=keywords):
                told.fields |= {one.arg for one in keywords if one.arg}
    for one in keys:
        match one:
            case ast.Constant(value=str(name)):
                told.fields.add(name)
            case ast.JoinedStr(values=values):
                told.patterns.add("".join(map(_pattern, values)))
    return told


def _pattern(piece: ast.expr) -> str:
    match piece:
        case ast.Constant(value=text):
            return re.escape(str(text))
        case ast.FormattedValue(value=ast.Name(id="name")):
            return "(candidate|stable)"
        case _:
            return r"\w+"


@cache
def emissions() -> tuple[dict[str, Told], set[tuple[str, str]]]:
    """Every event that the code tells, and where fields are made elsewhere."""
    found: dict[str, Told] = {}
    expanded: set[tuple[str, str]] = set()
    for path in files():
        for function in ast.walk(tree(path)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    _take(path, function, call, found, expanded)
    return found, expanded


def _take(
    path: str,
    function: ast.AST,
    call: ast.Call,
    found: dict[str, Told],
    expanded: set[tuple[str, str]],
) -> None:
    told_by = _told_by(call)
    if told_by is None:
        return
    named = {one.arg: one.value for one in call.keywords if one.arg}
    own, made = _given(path, call, named)
    if told_by == "_written":
        own.discard("reason")
    for name in _names(told_by, call, named, function):
        told = found.setdefault(name, Told())
        told.fields |= own
        if told_by in LOGGED:
            told.levels.add(LOGGED[told_by])
        for place in [place for one in made for place in MADE.get((path, one), [])]:
            if place not in NOT.get(name, []):
                told.add(written(*place))
    expanded |= {(path, one) for one in made}


def _told_by(call: ast.Call) -> str | None:
    """The name of what tells; None where a call tells no event."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="log"), attr=name) if name in LOGGED:
            return name
        case ast.Attribute(attr="tell" | "hold_application" as name):
            return name
        case ast.Name(id="Event" | "journal" | "_written" as name):
            return name
        case _:
            return None


def _names(
    told_by: str, call: ast.Call, named: Mapping[str, ast.expr], function: ast.AST
) -> set[str]:
    """The events that a call may tell."""
    if told_by in ONLY:
        return {ONLY[told_by]}
    if told_by == "hold_application":
        return texts(named.get("event"), function) or {"endpoint.foreign_change"}
    return texts(named.get("name") or (call.args[0] if call.args else None), function)


def _given(path: str, call: ast.Call, named: Mapping[str, ast.expr]) -> tuple[set[str], list[str]]:
    """The fields that a call names, and the expressions that make others."""
    own = {one for one in named if one not in PARTS}
    made = [one.value for one in call.keywords if one.arg is None]
    match named.get("fields"):
        case ast.Dict(keys=keys, values=values):
            own |= {str(one.value) for one in keys if isinstance(one, ast.Constant)}
            made += [value for key, value in zip(keys, values, strict=True) if key is None]
        case ast.Name() as fields if path != "states/turn.py":
            made.append(fields)
    return own, [ast.unparse(one) for one in made]
