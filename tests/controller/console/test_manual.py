"""The help: a first screen that is whole, examples that work, and pages that are current."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from controller.console import common, reading, reference, status, watching
from controller.console.cli import app
from controller.console.manual import OTHERS, PANELS, examples
from deploy.sandbox.__main__ import _options

TOP: Any = get_command(app)


def commands(group: Any = TOP, before: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_has_its_place_in_the_manual_and_nothing_else_has() -> None:
    told = {name for panel in PANELS.values() for name in panel}
    assert {name for name, _ in commands()} == told


def test_every_exit_code_of_a_command_is_in_the_reference() -> None:
    told = {int(one) for one in re.findall(r"^\| (\d+) \|", reference.EXIT_CODES, re.MULTILINE)}
    numbers = {name: one for name, one in vars(common).items() if name.isupper()}
    codes = {name: one for name, one in numbers.items() if type(one) is int}
    assert {"USAGE", "FORSAKEN", "UNWRITTEN", "DEFECT"} < codes.keys()
    assert {*codes.values(), watching.LATE, reading.PERSON, status.INTERRUPTED} <= told


def test_the_first_screen_fits_80_columns_with_no_line_cut_off() -> None:
    screen = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout
    assert "..." not in screen.split("Begin:")[1]
    assert max(map(len, screen.splitlines())) <= 80
    assert f"{OTHERS}:" not in screen
    order = [re.escape(f"\n{panel}:\n") for panel in PANELS]
    assert re.search(".*".join(order), screen, re.DOTALL), "the panels are not in order"


@pytest.mark.parametrize(("name", "example"), list(examples()), ids=lambda part: str(part)[:40])
def test_an_example_is_shown_and_is_one_that_the_command_takes(name: str, example: str) -> None:
    program, *words = shlex.split(example)
    parts = name.split()
    assert (program, words[: len(parts)]) == ("headgate", parts)
    command = dict(commands())[name]
    if name == "sandbox":
        # Every option is the sandbox's own.
        assert _options(words[1:])["data"] == Path("sandbox")
        return
    # As far as the options are read, and no further: nothing is called.
    command.make_context(name, words[len(parts) :]).close()
    assert f"Examples:\n  {example}" in command.epilog or f"\n  {example}" in command.epilog


def test_the_help_of_a_command_ends_with_its_examples() -> None:
    told = CliRunner().invoke(app, ["abort", "--help"]).stdout
    assert told.endswith(
        "  Examples:\n"
        '    headgate abort rag-chatbot/7 --reason "wrong answers"\n'
        "    headgate abort rag-chatbot\n"
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("staus",), "Did you mean 'status'"),
        (("status", "--stroe", "x"), "--store"),
        (("promote", "rag", "--overide"), "--override"),
    ],
)
def test_a_misspelt_command_or_option_is_told_the_nearest_right_one(
    words: tuple[str, ...], meant: str
) -> None:
    told = CliRunner().invoke(app, list(words))
    assert (told.exit_code, meant in told.stderr) == (2, True)


@pytest.mark.parametrize("name", list(reference.pages()))
def test_a_page_of_the_reference_is_as_it_would_be_made_now(name: str) -> None:
    kept = (reference.HOME / name).read_text(encoding="utf-8")
    assert kept == reference.pages()[name], "run `make reference`"


def script(shell: str) -> str:
    """What `--install-completion` installs for a shell, whichever runs the tests."""
    told = CliRunner().invoke(
        app, prog_name="headgate", env={"_HEADGATE_COMPLETE": f"source_{shell}"}
    )
    assert told.exit_code == 0
    return told.stdout


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o default -F"), ("zsh", "compdef"), ("fish", "complete --command")],
)
def test_each_shell_gets_its_completion(shell: str, words: str) -> None:
    assert words in script(shell)


def test_a_real_shell_completes_commands_options_and_applications(tmp_path: Path) -> None:
    """Bash itself, with the script that is installed; a Tab is what its function answers."""
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "headgate.yaml").write_text("applications: {rag-chatbot: {}, rag-search: {}}\n")
    asked = (("headgate", "stat"), ("headgate", "status", "rag-c"), ("headgate", "status", "--js"))
    tabs = "".join(
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_headgate_completion headgate; echo "${COMPREPLY[@]}"\n'
        for words in asked
    )
    answer = subprocess.run(
        [bash, "--norc", "-c", f"{script('bash')}\n{tabs}"],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HEADGATE_STROE": "x"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines() == ["status", "rag-chatbot", "--json"]
    assert answer.stderr == ""
