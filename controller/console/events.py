"""`headgate events`: what the log may tell, and what each field of it means."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from controller.console.common import USAGE, Json, fail
from controller.places import meant
from controller.record.contract import renamed, schema_text, standing
from controller.record.events import EVENTS
from controller.record.vocabulary import Field, Kind, Known
from states.status import SCHEMA

app = typer.Typer()


def named(incomplete: str) -> list[str]:
    """The events whose names begin so."""
    return [name for name in EVENTS if name.startswith(incomplete)]


@app.command()
def events(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", autocompletion=named)] = None,
    as_json: Json = False,  # noqa: FBT002 - typer's way
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of a line.")] = False,  # noqa: FBT002
) -> None:
    """What the log may tell, event by event; with NAME, every field of one."""
    if schema:
        sys.stdout.write(schema_text())
        return
    chosen = EVENTS.values() if name is None else [known(name)]
    if as_json:
        sys.stdout.write(json.dumps([asdict(one) for one in chosen], indent=2) + "\n")
    elif name is None:
        rows = [(one.name, "/".join(one.levels), one.meaning) for one in chosen]
        sys.stdout.writelines(_table(("event", "level", "meaning"), rows))
    else:
        sys.stdout.writelines(_told(known(name)))


def known(name: str) -> Known:
    """An event by its name; the command ends with the nearest, where there is none."""
    if name not in EVENTS:
        fail(f"there is no event {name}{meant(name, tuple(EVENTS), 'there are')}", USAGE)
    return EVENTS[name]


def _told(event: Known) -> Iterable[str]:
    """One event, field by field: its own first."""
    yield f"{event.name} ({'/'.join(event.levels)}), since schema {event.since}: {event.meaning}\n"
    kept = {
        "journal": "A row of the journal: numbered by seq, told once it is committed.",
        "heartbeat": "No row of the journal: as_of_seq names the last one that it knows.",
        "process": "No row of the journal: it tells of no change of a release.",
    }
    yield f"{kept[event.channel]} Fields that do not apply are absent.\n"
    if event.fields:
        yield "\nIts own fields\n"
        yield from _table(_HEADINGS, [_row(one) for one in event.fields])
    other = {one.name: renamed(event.name, one.name) for one in event.fields}
    for name, prefixed in other.items():
        if prefixed and event.channel == "journal":
            yield f"{name} is {prefixed} where the release's own {name} is another.\n"
    yield f"\nFields of every such line, schema {SCHEMA}\n"
    yield from _table(_HEADINGS, [_row(one) for one in standing(event.channel)])


_HEADINGS = ("field", "type", "since", "meaning")


def _row(one: Field) -> tuple[str, ...]:
    unit = f" ({one.unit})" if one.unit else ""
    return one.name, _type(one.kind), str(one.since), f"{one.meaning}{unit}"


def _type(kind: Kind) -> str:
    """What a field may hold, in a word or two."""
    if "enum" in kind:
        return "|".join(kind["enum"])
    if kind.get("format") == "date-time":
        return "time"
    if "pattern" in kind:
        return "version"
    told = kind["type"]
    if isinstance(told, list):
        told = next(one for one in told if one != "null")
    return {"string": "text", "array": "list", "boolean": "true|false"}.get(told, str(told))


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Aligned columns; the last is as long as it is."""
    whole = [headings, *rows]
    widths = [max(len(row[at]) for row in whole) for at in range(len(headings) - 1)]
    for row in whole:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]) + "\n"
