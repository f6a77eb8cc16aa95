"""What others wrote, in names, tags and reasons, forges no line and steers no terminal."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from controller.console import dossier, render
from controller.console.account import account
from controller.console.cli import app
from controller.console.reading import fold
from controller.record.lines import Line
from controller.record.logging import json_line, text_line
from states.release import Order
from tests.controller.console.test_reading import APP, Recorded

HOSTILE = {
    "a new line": "x\n2026-11-23 12:00:00  rag-chatbot/9  confirmed",
    "a carriage return": "x\r2026-11-23 12:00:00  rag-chatbot/9  confirmed\b\b",
    "escape codes": "\x1b[2J\x1b]0;owned\x07\x1b[31m\x9b31m\x1bP\x7f",
    "marks of direction": "\u202eevil\u2066\u2067\u200f\u200e\u061c\u2069\u202c",
    "other ends of a line": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "what has no width": "a\u200b\u200d\ufeff\u00ad\u2060\u180e",
    "braces": "{} {0} {event} {__class__} %s %(event)s ${HOME} `id`",
    "quotes": '"\'\\", "seq": 1, "event": "release.confirmed"}\\n{',
    "markup": "[red]x[/red] [/] [link=file:///etc/passwd]y[/link]",
    "a script": "</title><script>alert(1)</script><img src=x onerror=alert(1)>&lt;",
    "half a character": "\ud800 \udfff",
    "no character": "\x00",
}
PLAIN = "plain"
WRITTEN = {
    *("because", "state_because", "hold", "next", "application_hold", "actor", "reason", "wanted"),
    *("found", "difference", "endpoint", "serving", "request_ids", "alias", "guard", "weights"),
    *("overrides", "on", "worst", "kinds"),
}
"""Fields that hold what people, the workspace or users wrote, or rest on it."""
UNSEEN = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u00ad", "\u061c", "\u180e"}
UNSEEN |= {*map(chr, range(0x200B, 0x2010)), *map(chr, range(0x2028, 0x202F)), "\ufeff"}
UNSEEN |= {*map(chr, range(0x2060, 0x2070)), *map(chr, range(0xD800, 0xE000))}
UNSEEN -= {"\n"}
"""Characters that move a cursor, or the text around them, or are not to be seen."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """An order, a stranger, a hold and a rollback."""
    story = Recorded().keep(tmp_path_factory.mktemp("story"))
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.look(times=2)
    story.order(Order.RUN)
    story.edit(v1=80, v9=20)
    story.look(times=2)
    story.edit(v1=95, v2=5)
    story.error_rates["2"] = 0.2
    story.until("RolledBack")
    story.look(times=3)
    found = story.lines
    story.store.close()
    return found


@pytest.fixture(scope="module")
def usual(lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """What commands say where nobody wrote anything strange."""
    log = written(lines, PLAIN, tmp_path_factory.mktemp("plain"))
    return {command: asked(command, log) for command in COMMANDS}


def poisoned(value: Any, text: str, *, written: bool = False) -> Any:  # noqa: ANN401 - JSON
    """The same with a text added to all that others may have written."""
    match value:
        case str():
            return f"{value} {text}" if written else value
        case list():
            return [poisoned(one, text, written=written) for one in value]
        case dict():
            return {
                f"{name} {text}" if written else name: poisoned(
                    inner, text, written=written or name in WRITTEN
                )
                for name, inner in value.items()
            }
        case _:
            return value


def written(lines: list[Line], text: str, folder: Path) -> Path:
    path = folder / "headgate.log"
    told = [poisoned(line, text) for line in lines]
    path.write_text("".join(f"{json_line(line)}\n" for line in told))
    return path


def harmless(text: str) -> None:
    """It has nothing in it that a terminal obeys, or that no eye sees."""
    assert set(text) & UNSEEN == set(), sorted(map(ascii, set(text) & UNSEEN))


COMMANDS = [
    *("status", "status --all", "history", "history --event order.given"),
    *(f"{verb} {APP}/2" for verb in ("status", "history", "explain", "report")),
    *(f"explain {APP}/2 --recompute", f"status {APP}/9", "status nowhere"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_command_forges_a_line_or_obeys_what_was_written(
    lines: list[Line], usual: dict[str, Result], name: str, tmp_path: Path
) -> None:
    log = written(lines, HOSTILE[name], tmp_path)
    for command in COMMANDS:
        told = asked(command, log)
        harmless(told.output)
        assert told.exit_code == usual[command].exit_code, command
        assert told.stdout.count("\n") == usual[command].stdout.count("\n"), command
        assert told.stderr.count("\n") == usual[command].stderr.count("\n"), command


@pytest.mark.parametrize("name", HOSTILE)
def test_an_application_may_be_named_like_that(
    lines: list[Line], usual: dict[str, Result], name: str, tmp_path: Path
) -> None:
    log = tmp_path / "headgate.log"
    named = f"{APP} {HOSTILE[name]}".replace("/", "")
    told = [
        line
        | {"application": named}
        | ({"release": f"{named}/{line['version']}"} if "version" in line else {})
        for line in lines
    ]
    log.write_text("".join(f"{json_line(line)}\n" for line in told))
    for command in ("status", "status --all", "history", "status nowhere"):
        found = asked(command, log)
        assert not isinstance(found.exception, UnicodeError)
        assert APP in found.output, command
        harmless(found.output)
        assert found.stdout.count("\n") == usual[command].stdout.count("\n"), command


def asked(command: str, log: Path) -> Result:
    return CliRunner().invoke(app, [*command.split(), "--logs", str(log)])


@pytest.mark.parametrize("name", HOSTILE)
def test_programs_get_exactly_what_was_written(
    lines: list[Line], name: str, tmp_path: Path
) -> None:
    log = written(lines, HOSTILE[name], tmp_path)
    told = [poisoned(line, HOSTILE[name]) for line in lines]
    rows = asked("history --json", log).stdout
    harmless(rows)
    assert [json.loads(row) for row in rows.splitlines()] == told
    for command in ("status --all --json", f"explain {APP}/2 --json", f"report {APP}/2 --json"):
        printed = asked(command, log).stdout
        harmless(printed)
        assert HOSTILE[name] in json.dumps(json.loads(printed), ensure_ascii=False) or any(
            HOSTILE[name] in one for one in _texts(json.loads(printed))
        )


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - JSON
    match value:
        case str():
            return [value]
        case list():
            return [text for one in value for text in _texts(one)]
        case dict():
            return [text for name, one in value.items() for text in (name, *_texts(one))]
        case _:
            return []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_terminal_in_colour_obeys_nothing_of_it_either(lines: list[Line], name: str) -> None:
    text = HOSTILE[name]
    book = fold(poisoned(line, text) for line in lines)
    shows: list[Callable[[Console], None]] = [
        lambda console: render.print_history(console, book.history()),
        lambda console: dossier.show(console, account(book, f"{APP}/2")),
    ]
    for show in shows:
        coloured, plain = printed(show, colour=True), printed(show, colour=False)
        harmless(plain)
        codes = {one for one in coloured if one in UNSEEN}
        assert codes <= {"\x1b"}
        assert "\x1b[2J" not in coloured
        assert "\x1b]" not in coloured


def printed(show: Callable[[Console], None], *, colour: bool) -> str:
    paper = io.StringIO()
    show(Console(file=paper, force_terminal=colour, width=200, highlight=False))
    return paper.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_the_log_itself_stays_one_line_for_one_event(lines: list[Line], name: str) -> None:
    for line in lines:
        told = poisoned(line, HOSTILE[name])
        for one in (json_line(told), text_line(told)):
            harmless(one)
            assert "\n" not in one
        assert json.loads(json_line(told)) == told


def test_orders_with_reasons_like_that_are_kept_and_told_as_they_are(tmp_path: Path) -> None:
    story = Recorded().keep(tmp_path)
    story.look(times=2)
    story.register(2)
    story.until("Testing")
    for text in HOSTILE.values():
        for order in (Order.PAUSE, Order.RUN):
            story.store.give_order(APP, "2", order, f"ann {text}", text)
    story.look()
    story.store.close()
    place = ["--store", f"sqlite:///{tmp_path / 'headgate.db'}"]

    def told(command: str) -> list[str]:
        result = CliRunner().invoke(app, [*command.split(), *place])
        assert result.exit_code == 0, result.output
        harmless(result.output)
        return result.stdout.splitlines()

    rows = [json.loads(row) for row in told("history --event order.given --json")]
    assert [row["reason"] for row in rows[::2]] == list(HOSTILE.values())
    assert [row["actor"] for row in rows[::2]] == [f"ann {text}" for text in HOSTILE.values()]
    assert len(told("history --event order.given")) == 2 * len(HOSTILE)
    for command in ("status", "history", f"explain {APP}", "rebuild-log"):
        told(command)
