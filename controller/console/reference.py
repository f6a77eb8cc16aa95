"""The reference pages, made from the commands and the models.

`make reference` writes them. They are committed, so that they can be read where nothing is
installed; a test sees that they are current.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from controller.console.keys import keys, schema_text
from controller.console.manual import PROGRAM
from controller.variables import VARIABLES

HOME = Path(__file__).parents[2] / "deploy" / "reference"
MADE = "<!-- made by `make reference`: do not edit -->"
WIDTH = 100
"""Columns of a usage line, on whatever terminal the page is made."""
COMPLETION = (
    "`headgate --install-completion` lets bash, zsh or fish complete commands, options, "
    "applications and releases; `--show-completion` prints what it would install."
)
EXIT_CODES = """\
| exit code | |
| --- | --- |
| 0 | done, and nothing is wrong |
| 1 | rolled back or failed |
| 2 | usage or configuration |
| 3 | a person must act |
| 4 | `--wait` timed out |
| 5 | workspace or daemon cannot be reached, or refuses |
| 6 | the store cannot be used, or another process holds it |
| 70 | a defect of Headgate's |
| 74 | no room for the output |
| 130 | Ctrl-C |
| 141 | its reader went before the end |
"""


def commands() -> str:
    """The page of all commands, in the order of the help."""
    from controller.console.cli import app  # noqa: PLC0415 - a command of it imports this module

    top: Any = get_command(app)
    context = top.context_class(top, info_name=PROGRAM, terminal_width=WIDTH)
    parts = [f"{MADE}\n# Commands\n\n{_paragraphs(top.help)}\n\n{COMPLETION}\n\n{EXIT_CODES}"]
    panel = None
    for name, command, inner in _commands(top, context):
        if command.rich_help_panel != panel and " " not in name:
            panel = command.rich_help_panel
            parts.append(f"\n## {panel}\n")
        parts.append("\n".join(_command(name, command, inner)))
    return "\n".join(parts) + "\n"


def configuration() -> str:
    """The page of all keys of the configuration, and of the environment variables."""
    lines = [
        MADE,
        "# Configuration",
        "",
        "A file has `applications:`, and below it each application by its name. Unknown keys are",
        "refused. Editors are told by [headgate.schema.json](headgate.schema.json), which",
        "`headgate validate --schema` prints.",
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for key in keys():
        default = "must be stated" if key.required else key.default and f"`{key.default}`"
        lines.append(f"| `{key.place}` | {_cell(key.type)} | {default} | {_cell(key.meaning)} |")
    lines += [
        "",
        "## Environment variables",
        "",
        "| variable | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, variable in VARIABLES.items():
        default = variable.default and f"`{variable.default}`"
        lines.append(f"| `{name}` | {default} | {_cell(variable.meaning)} |")
    return "\n".join(lines) + "\n"


def pages() -> Mapping[str, str]:
    """Every page by the name of its file."""
    return {
        "commands.md": commands(),
        "configuration.md": configuration(),
        "headgate.schema.json": schema_text(),
    }


def _commands(group: Any, context: Any, before: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - typer's own
    """Each command with its full name, those of groups too."""
    for name in group.list_commands(context):
        command = group.commands[name]
        if command.hidden:
            continue
        inner = command.context_class(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            yield from _commands(command, inner, f"{before}{name} ")
        else:
            yield f"{before}{name}", command, inner


def _command(name: str, command: Any, context: Any) -> Iterator[str]:  # noqa: ANN401 - typer's own
    yield f"### {PROGRAM} {name}\n"
    yield f"{_paragraphs(command.help)}\n"
    yield f"```\n{command.get_usage(context).removeprefix('Usage: ')}\n"
    yield from (line.removeprefix("  ") for line in (command.epilog or "").splitlines()[2:])
    yield "```\n"
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [one for one in records if one is not None and one[0] != "--help"]
    if rows:
        yield "| | |\n| --- | --- |"
        yield from (f"| `{_cell(left)}` | {_cell(right)} |" for left, right in rows)
        yield ""


def _paragraphs(text: str | None) -> str:
    """A help text, each paragraph on a line of its own."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    HOME.mkdir(exist_ok=True)
    for name, text in pages().items():
        (HOME / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{HOME / name}\n")


if __name__ == "__main__":
    main()
