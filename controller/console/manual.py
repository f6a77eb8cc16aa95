"""The first screen of `headgate --help`, and the examples of every command's.

A command's docstring tells it in full; its line here is one of a screen of 80 columns, which is
written as a whole so that a newcomer finds the way. A test sees that no command is missing, that no
line is cut off, and that each example is one that the command takes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typer.core import TyperGroup

PROGRAM = "headgate"
ABOUT = (
    "An event-driven release controller for models on Databricks Model Serving.\n\n"
    "New here? `headgate demo` shows it all on this machine. Then, with a workspace: init, "
    "validate, doctor, run. `headgate COMMAND --help` has examples."
)
MARGINS = 6
"""Columns around and between a command and its line."""
OTHERS = "More"
"""Where a command stands that has no place yet."""


@dataclass(frozen=True)
class Entry:
    """What the help says of a command beside its docstring."""

    line: str
    examples: tuple[str, ...]


def _entry(line: str, *examples: str) -> Entry:
    return Entry(line, examples)


PANELS: Mapping[str, Mapping[str, Entry]] = {
    "Begin": {
        "init": _entry(
            "Write a first configuration from an endpoint that is there.",
            "headgate init --endpoint rag-chatbot-endpoint",
            "headgate init --model main.ml_models.rag_chatbot --output headgate.yaml",
        ),
        "validate": _entry(
            "Check a configuration file, and say what it amounts to.",
            "headgate validate --config headgate.yaml",
            "headgate validate --schema",
        ),
        "plan": _entry(
            "What a release would take, find and cost.",
            "headgate plan --config headgate.yaml rag-chatbot",
            "headgate plan --config headgate.yaml --rps 5 --lag 15m --errors 0.5%",
        ),
        "doctor": _entry(
            "What would stop a release, and the remedy; it only reads.",
            "headgate doctor --config headgate.yaml",
            "headgate doctor --config headgate.yaml --probe --json",
        ),
    },
    "Try it out": {
        "demo": _entry(
            "Four versions of a RAG model, to production or back.",
            "headgate demo",
            "headgate demo --logs headgate.log",
        ),
        "sandbox": _entry(
            "An emulated Databricks workspace, until Ctrl-C.",
            "headgate sandbox --data ./sandbox",
        ),
    },
    "Run": {
        "run": _entry(
            "Look after the applications, until SIGTERM.",
            "headgate run --config headgate.yaml",
        ),
        "dead-man": _entry(
            "Send users home whom no daemon looks after any more.",
            "headgate dead-man --config headgate.yaml --after 15m",
        ),
        "notify": _entry(
            "Who is told of what happens, and whether it arrives.",
            "headgate notify",
            "headgate notify --test",
        ),
    },
    "Look": {
        "status": _entry(
            "What state each release is in, and why.",
            "headgate status",
            "headgate status --watch",
            "headgate status rag-chatbot/7 --json",
            "headgate status rag-chatbot/7 --wait --timeout 2h",
            "headgate status --logs headgate.log",
        ),
        "history": _entry(
            "Everything that happened, in order.",
            "headgate history rag-chatbot/7",
            "headgate history rag-chatbot --logs headgate.log --json",
            "headgate history rag-chatbot --event order.given",
        ),
        "events": _entry(
            "What the log may tell, event by event.",
            "headgate events",
            "headgate events gate.verdict",
            "headgate events --schema",
        ),
        "explain": _entry(
            "Why a release is where it is, with the numbers.",
            "headgate explain rag-chatbot/7",
            "headgate explain rag-chatbot/7 --logs headgate.log --recompute",
        ),
        "report": _entry(
            "An endpoint's days, or the whole story of a release.",
            "headgate report rag-chatbot/7 --html report.html",
            "headgate report rag-chatbot --config headgate.yaml --days 14",
        ),
        "pairs": _entry(
            "The replayed requests that a candidate answered worst.",
            "headgate pairs rag-chatbot/7",
            "headgate pairs rag-chatbot/7 --text --config headgate.yaml",
        ),
    },
    "Operate": {
        "release": _entry(
            "Release a version, old or new, before all others.",
            'headgate release rag-chatbot/7 --reason "the fix for the outage"',
        ),
        "pause": _entry(
            "Raise no exposure until resume; harm still closes.",
            'headgate pause rag-chatbot/7 --reason "a look at the answers first"',
            "headgate pause rag-chatbot/7 --url http://127.0.0.1:8350",
        ),
        "resume": _entry(
            "Go on after pause; the step's proof starts anew.",
            "headgate resume rag-chatbot/7",
        ),
        "approve": _entry(
            "Let a release past what it asks.",
            'headgate approve rag-chatbot/7 --reason "reviewed"',
        ),
        "promote": _entry(
            "Open the next step, or end the bake, now.",
            "headgate promote rag-chatbot/7",
            'headgate promote rag-chatbot/7 --override --reason "the guard counts a test"',
        ),
        "abort": _entry(
            "Go back to the stable version, from any state.",
            'headgate abort rag-chatbot/7 --reason "wrong answers"',
            "headgate abort rag-chatbot",
        ),
        "retry": _entry(
            "Try a version again that was rolled back.",
            'headgate retry rag-chatbot/7 --reason "the index was down"',
        ),
        "undo": _entry(
            "Go back to the version that was stable before.",
            'headgate undo rag-chatbot --reason "found after the watch"',
        ),
        "adopt": _entry(
            "Take what others changed as it was found.",
            'headgate adopt rag-chatbot --reason "put back by hand"',
        ),
        "revert": _entry(
            "Put back what others changed, once.",
            'headgate revert rag-chatbot --reason "changed by mistake"',
        ),
        "apply": _entry(
            "Give the running version its configured size and variables.",
            "headgate apply rag-chatbot --config headgate.yaml",
            "headgate apply rag-chatbot --config headgate.yaml --yes",
        ),
    },
    "Keep and judge the record": {
        "backtest": _entry(
            "What this configuration would have done with past counts.",
            "headgate backtest --config headgate.yaml",
            "headgate backtest --config headgate.yaml --against stricter.yaml",
        ),
        "rebuild-log": _entry(
            "Print the log again from the journal.",
            "headgate rebuild-log --after 1200",
        ),
        "backup": _entry(
            "Write the record to a file, and check it by restoring it.",
            "headgate backup headgate.backup",
        ),
        "restore": _entry(
            "Make a store of a backup.",
            "headgate restore headgate.backup --store sqlite:///restored.db",
        ),
    },
}
"""In the order in which they are shown; a command of a group is called `group command`."""


class Manual(TyperGroup):
    """A group of commands whose help is in panels, in the manual's order, with examples."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**attributes)
        for name, (panel, entry) in _entries().items():
            command: Any = self
            for part in name.split():
                command = getattr(command, "commands", {}).get(part)
            if command is not None:
                command.rich_help_panel = panel
                command.short_help = entry.line
                command.epilog = "\b\nExamples:\n" + "\n".join(f"  {one}" for one in entry.examples)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own
        """The names, as the manual orders them; those without a place last."""
        places = {name: place for place, name in enumerate(_entries())}
        return sorted(self.commands, key=lambda name: places.get(name, len(places)))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's own
        """Write each panel with its commands."""
        panels: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands))
        width = formatter.width - MARGINS - longest
        for name in self.list_commands(ctx):
            command: Any = self.commands[name]
            if not command.hidden:
                panel = command.rich_help_panel or OTHERS
                row = name.ljust(longest), command.get_short_help_str(width)
                panels.setdefault(panel, []).append(row)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows, col_max=20)


def _entries() -> dict[str, tuple[str, Entry]]:
    """Each command's panel and entry."""
    return {
        name: (panel, entry) for panel, entries in PANELS.items() for name, entry in entries.items()
    }


def examples() -> Iterator[tuple[str, str]]:
    """Every command's examples, by its name."""
    for name, (_, entry) in _entries().items():
        for example in entry.examples:
            yield name, example
