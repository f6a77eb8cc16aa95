"""Every page that people write: its blocks are marked, and whatever it names is there."""

import ast
import builtins
import re
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from controller.console.cli import app
from controller.record.events import EVENTS
from controller.record.schema import METADATA
from controller.variables import VARIABLES
from tests.markdown import ROOT, Page, pages

PAGES = pages()
NAMES = [page.name for page in PAGES]
THIS = Path(__file__)
MAKE = re.compile(r"^(?P<target>[a-z-]+):", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
ROOMS = ("controller", "states", "policies", "tests", "deploy")
NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
VARIABLE = re.compile(r"\bHEADGATE_[A-Z_]*[A-Z]\b")
OF_COMPOSE = {"HEADGATE_USER"}
"""What deploy/compose.yaml asks for: no setting of the daemon's."""


@cache
def all_tests() -> str:
    """The text of all tests but these."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return "\n".join(one.read_text(encoding="utf-8") for one in files if one != THIS)


@cache
def defined(path: Path) -> frozenset[str]:
    """The names that a module defines; a class's own with the class before them."""
    found: set[str] = set()

    def look(body: list[ast.stmt], before: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(before + name)
                case ast.ClassDef(name=name, body=inner):
                    found.add(before + name)
                    look(inner, f"{before}{name}.")
                case ast.Assign(targets=targets):
                    found.update(before + ast.unparse(one) for one in targets)
                case ast.AnnAssign(target=target):
                    found.add(before + ast.unparse(target))

    look(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_runs_in_a_test_or_says_why_it_is_only_shown(page: Page) -> None:
    assert page.text.count("```") == 2 * len(page.blocks)
    unmarked = [block.text for block in page.blocks if block.how is None]
    assert unmarked == []
    for block in page.blocks:
        if block.how == "run":
            assert f'"{block.what}"' in all_tests(), f"no test runs: {block.what}"
        else:
            assert len(block.what.split()) > 1, f"no reason: {block.what}"


def test_no_two_blocks_run_as_the_same() -> None:
    texts: dict[str, set[str]] = {}
    for page in PAGES:
        for block in page.blocks:
            if block.how == "run":
                texts.setdefault(block.what, set()).add(block.text)
    assert [what for what, found in texts.items() if len(found) > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Page) -> None:
    for link in page.links():
        assert link.path.exists(), link
        assert link.path.is_relative_to(ROOT), link
        if link.name is None:
            continue
        there = defined(link.path) if link.path.suffix == ".py" else Page(link.path).anchors
        assert link.name in there, link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_make_target_exists(page: Page) -> None:
    targets = {one["target"] for one in MAKE.finditer((ROOT / "Makefile").read_text())}
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for code in [*CODE.findall(page.prose), *_lines(page)]:
        for target in re.findall(r"(?:^|[;&|] *)make ([a-z-]+)", code):
            assert target in targets, code
        for command in re.findall(r"(?:^|[;&|(] *)headgate ([a-z][a-z-]*)(?=[ `]|$)", code):
            assert command in commands, code


def _lines(page: Page) -> list[str]:
    """The lines of the blocks that a shell takes."""
    shell = [block.text for block in page.blocks if block.kind in ("sh", "console")]
    return [line.removeprefix("$ ").strip() for text in shell for line in text.splitlines()]


def test_every_name_of_the_code_that_the_architecture_tells_of_is_there() -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    defines = {name for path in files for name in defined(path)}
    columns = {column.name for table in METADATA.tables.values() for column in table.columns}
    known = {
        *defines,
        *(name.rpartition(".")[2] for name in defines),
        *(path.name for path in files),
        *(*columns, *METADATA.tables, *EVENTS, *VARIABLES, *dir(builtins)),
    }
    page = Page.of("deploy/guide/architecture.md")
    told = [one for one in CODE.findall(page.prose) if NAME.fullmatch(one)]
    assert len(told) > 50
    assert [one for one in told if one not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_variable_and_file_that_a_page_names_is_one(page: Page) -> None:
    assert set(VARIABLE.findall(page.text)) <= {*VARIABLES, *OF_COMPOSE}
    for code in CODE.findall(page.prose):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})/[\w./-]+", code):
            path = ROOT / code.partition("::")[0]
            assert path.exists(), code
