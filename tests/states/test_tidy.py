"""The rules of the house: who may import whom, and how long a page may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VALUES = {
    *("collections", "dataclasses", "datetime", "enum", "functools", "math", "re", "statistics"),
    "typing",
}
ROOMS = {"controller", "states", "policies"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
PURE = sorted([*(ROOT / "policies").rglob("*.py"), *(ROOT / "states").rglob("*.py")])
PRINTER = ROOT / "states" / "__main__.py"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)} imports by a relative path"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", PURE, ids=name)
def test_the_pure_rooms_import_values_only(path: Path) -> None:
    allowed = VALUES | {path.relative_to(ROOT).parts[0], "policies"}
    if path.name == "machine.py":
        allowed |= {"transitions"}
    if path.name == "calendar.py":
        allowed |= {"zoneinfo"}  # time zones are data of the system, that Python reads
    if path == PRINTER:
        allowed |= {"sys"}
    assert set(imported(path)) <= allowed


@pytest.mark.parametrize("path", PURE, ids=name)
def test_the_pure_rooms_know_no_clock_no_chance_and_no_file(path: Path) -> None:
    forbidden = {"now", "utcnow", "today", "open", "print", "input", "getenv"}
    called = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    names = {one.id for one in called if isinstance(one, ast.Name)}
    names |= {
        one.attr
        for one in called
        if isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Name)
        and one.value.id in ("datetime", "date", "time", "random", "os")
    }
    assert not names & forbidden


@pytest.mark.parametrize("path", PURE, ids=name)
def test_a_newcomer_reads_short_files_and_short_functions(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < LONGEST_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 < LONGEST_FUNCTION, node.name


def test_imports_run_one_way() -> None:
    for path in PURE:
        above = {"controller", "deploy"} | ({"states"} if "policies" in path.parts else set())
        assert not set(imported(path)) & above, name(path)


def test_the_sandbox_shares_no_code_with_what_it_tests() -> None:
    for path in sorted((ROOT / "deploy" / "sandbox").rglob("*.py")):
        assert not set(imported(path)) & ROOMS, name(path)


def test_the_controller_starts_the_sandbox_as_a_process_and_imports_none_of_it() -> None:
    for path in sorted((ROOT / "controller").rglob("*.py")):
        assert "deploy" not in set(imported(path)), name(path)
