"""Every sentence by which a release, or its application, is held: read from the text of the code.

A sentence is followed from where it holds back to where it is written: through names, arguments,
constants and what functions return. What is filled in at run time is an ellipsis; a sentence that
is filled into another one stands for itself beside it.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOLE = "…"
FEWEST = 2
"""Words that a sentence has at least; what has fewer is a part of one."""
WHY = {"hold": 1, "hold_application": 0}
"""Methods of a turn that hold, and which of their arguments is the sentence."""
ALARMS = ("policies/blindness.py", "policies/fuse.py", "policies/holds.py")
"""What these judge shuts the gate, or holds."""
RETURNED = (("states/way_back.py", "_obstacle"), ("controller/daemon/quarantine.py", "failed"))
"""Functions whose answer holds elsewhere, or is why the way back is blocked."""

Parts = tuple[int, ...]
"""Of an expression that is a tuple, which of its elements, and of that one."""


@dataclass(frozen=True)
class Module:
    """One file: its functions, its constants, and where its other names come from."""

    path: str
    functions: dict[str, ast.FunctionDef] = field(hash=False, compare=False)
    constants: dict[str, ast.expr] = field(hash=False, compare=False)
    origins: dict[str, tuple[str, str]] = field(hash=False, compare=False)


@dataclass(frozen=True)
class Place:
    """A function, and the file that it stands in."""

    module: Module
    name: str

    @property
    def function(self) -> ast.FunctionDef:
        return self.module.functions[self.name]

    @property
    def arguments(self) -> list[str]:
        given = self.function.args
        return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


@cache
def module(path: str) -> Module:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {one.name: one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
    constants: dict[str, ast.expr] = {}
    origins: dict[str, tuple[str, str]] = {}
    for one in tree.body:
        match one:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                constants[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                constants |= {ast.unparse(n): v for n, v in zip(names, values, strict=True)}
            case ast.ImportFrom(module=str(source), names=names):
                file = f"{source.replace('.', '/')}.py"
                origins |= {one.asname or one.name: (file, one.name) for one in names}
    return Module(path, functions, constants, origins)


@cache
def places() -> tuple[Place, ...]:
    """The functions of the rooms in which a hold is decided, and worded."""
    files = [one for room in ("states", "policies") for one in sorted((ROOT / room).glob("*.py"))]
    modules = [module(str(one.relative_to(ROOT))) for one in files]
    return tuple(Place(one, name) for one in modules for name in one.functions)


@cache
def calls() -> dict[str, list[tuple[ast.Call, Place]]]:
    """By the name that is called, all calls of functions."""
    found: dict[str, list[tuple[ast.Call, Place]]] = defaultdict(list)
    for place in places():
        for node in ast.walk(place.function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found[node.func.id].append((node, place))
    return found


@cache
def sentences() -> frozenset[str]:
    """All of them."""
    reader = Reader()
    for place in places():
        for node in ast.walk(place.function):
            for why in _whys(node, place):
                reader.read(why, place)
    for path, name in RETURNED:
        reader.returned(Place(module(path), name), ())
    found = (re.sub(f"{HOLE}(?: ?{HOLE})+", HOLE, one).strip() for one in reader.found)
    return frozenset(one for one in found if len(re.findall(r"[A-Za-z]{2,}", one)) >= FEWEST)


def _whys(node: ast.AST, place: Place) -> Iterator[ast.expr]:
    """The sentences that a node holds by, if it holds."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=args) if name in WHY:
            yield from args[WHY[name] : WHY[name] + 1]
        case ast.Call(func=ast.Name(id="Gate"), keywords=given):
            yield from (one.value for one in given if one.arg == "why")
        case ast.Call(func=ast.Name(id="Verdict"), keywords=given):
            alarms = place.module.path in ALARMS
            yield from (one.value for one in given if alarms and one.arg == "because")


class Reader:
    """Follows expressions, each once, and keeps the sentences that they come to."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._seen: set[object] = set()

    def read(self, node: ast.expr, place: Place, parts: Parts = ()) -> None:
        """Follow an expression in a function."""
        match node:
            case ast.Constant(value=str(text)):
                self.found.add(text)
            case ast.JoinedStr(values=pieces):
                self.found.add("".join(self._piece(one, place) for one in pieces))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                self.found.add("".join(self._piece(one, place) for one in (left, right)))
            case ast.Name(id=name):
                self._named(name, place, parts)
            case ast.Call(func=ast.Name(id=name)):
                called = _function(name, place.module)
                if called is not None:
                    self.returned(called, parts)
            case _:
                for one, further in _inner(node, parts):
                    self.read(one, place, further)

    def returned(self, place: Place, parts: Parts) -> None:
        """Follow what a function returns."""
        if self._again(place, "return", parts):
            return
        for node in ast.walk(place.function):
            if isinstance(node, ast.Return) and node.value is not None:
                self.read(node.value, place, parts)

    def _again(self, *what: object) -> bool:
        known = what in self._seen
        self._seen.add(what)
        return known

    def _piece(self, node: ast.expr, place: Place) -> str:
        """A piece of a sentence: its text, or a hole for what is followed by itself."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr(values=pieces):
                return "".join(self._piece(one, place) for one in pieces)
            case ast.FormattedValue(value=value, format_spec=None):
                self.read(value, place)
                return HOLE
            case ast.FormattedValue():
                return HOLE
            case _:
                self.read(node, place)
                return HOLE

    def _named(self, name: str, place: Place, parts: Parts) -> None:
        """Follow a name: assigned here, given by who calls, or a constant."""
        if self._again(place, name, parts):
            return
        for value, index in _assigned(name, place.function):
            self.read(value, place, (*index, *parts))
        if name in place.arguments:
            for value, caller in _given(name, place):
                self.read(value, caller, parts)
        else:
            constant = _constant(name, place.module)
            if constant is not None:
                self.read(constant, place, parts)


def _inner(node: ast.expr, parts: Parts) -> Iterator[tuple[ast.expr, Parts]]:
    """What an expression may be, or the part of it that is meant."""
    match node:
        case ast.BoolOp(values=values):
            yield from ((one, parts) for one in values)
        case ast.IfExp(body=body, orelse=other):
            yield from ((body, parts), (other, parts))
        case ast.Tuple(elts=elements) if parts:
            yield elements[parts[0]], parts[1:]
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.Tuple(elts=elements)]):
            yield from ((one, ()) for one in elements)
        case ast.Subscript(value=value, slice=ast.Constant(value=int(number))):
            yield value, (number, *parts)


def _assigned(name: str, function: ast.FunctionDef) -> Iterator[tuple[ast.expr, Parts]]:
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value, ()
            case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                yield value, ()
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                for index, one in enumerate(targets):
                    if isinstance(one, ast.Name) and one.id == name:
                        yield value, (index,)


def _given(name: str, place: Place) -> Iterator[tuple[ast.expr, Place]]:
    """What callers give for an argument."""
    index = place.arguments.index(name)
    for node, caller in calls()[place.name]:
        if _function(place.name, caller.module) == place:
            named = [one.value for one in node.keywords if one.arg == name]
            yield from ((one, caller) for one in named or node.args[index : index + 1])


def _function(name: str, at: Module) -> Place | None:
    if name in at.functions:
        return Place(at, name)
    file, origin = at.origins.get(name, ("", ""))
    there = (ROOT / file).is_file() and module(file)
    return Place(there, origin) if there and origin in there.functions else None


def _constant(name: str, at: Module) -> ast.expr | None:
    if name in at.constants:
        return at.constants[name]
    file, origin = at.origins.get(name, ("", ""))
    return module(file).constants.get(origin) if (ROOT / file).is_file() else None
