"""What was read, for eyes: short blocks of words; plain text where there is no terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controller.console.reading import Explanation, own
from controller.console.tree import headline
from controller.record.lines import FACTS, STATUS, Line
from controller.record.redaction import printable
from states.status import Status

LEVELS = {"warning": "yellow", "error": "red"}
_NOT_NUMBERS = {
    *STATUS,
    *("timestamp", "level", "event", "seq", *FACTS),
    *("state_because", "guard", "verdict", "observe", "verdict_weight"),
    *("silences", "fuse", "before"),
}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def print_history(console: Console, rows: Iterable[Line]) -> None:
    """Print one line for each thing that happened, in order."""
    for line in rows:
        _say(console, _happened(line))


def print_explanation(console: Console, told: Explanation, now: datetime) -> None:
    """Print why a release is where it is, and then the way there."""
    _say(console, headline(told.status, now, fancy=False, changed=told.changed))
    _labelled(console, _details(told.status, now), 2)
    if told.verdicts:
        _title(console, "Last verdicts")
    for verdict in told.verdicts:
        _say(console, Text("  ").append(printable(_judged(verdict)), style="bold"))
        numbers = [(name, _shortly(value)) for name, value in _numbers(verdict).items()]
        _labelled(console, [("because", str(verdict.get("because", ""))), *numbers], 4)
    _history_of(console, "Post-mortem", told.post_mortem)
    _history_of(console, "Golden queries", told.tests)
    _history_of(console, "Replay", told.replay)
    for line in told.replay:
        _labelled(console, _worst(line), 2)
    _history_of(console, "Holds", told.holds)
    _title(console, "History")
    print_history(console, told.history)


def _history_of(console: Console, title: str, rows: Sequence[Line]) -> None:
    if rows:
        _title(console, title)
        print_history(console, rows)


def _worst(line: Line) -> list[tuple[str, str]]:
    """The pairs in which the candidate did worst: the request's id, and what is worse."""
    worst = line.get("worst")
    pairs = [one for one in worst if isinstance(one, dict)] if isinstance(worst, list) else []
    return [(str(one.get("request")), str(one.get("why"))) for one in pairs]


def in_words(line: Line) -> str:
    """What a journal line tells, in words and without its reason."""
    tell = _WORDS.get(line["event"])
    return tell(line) if tell else str(line["event"])


def _judged(line: Line) -> str:
    """A verdict; one on a step's safety with the weight that it speaks of."""
    observed = ", observed" if line.get("observe") else ""
    safety = line.get("verdict") in ("PASS", "INSUFFICIENT")
    at = f" at {own(line, 'weight')} %" if safety and own(line, "weight") else ""
    return f"{line.get('guard')} {line.get('verdict')}{at}{observed}"


def _shortly(value: object) -> str:
    """A number in full; of a list, such as the minutes that a fuse saw, how long it is."""
    return f"{len(value)} of them" if isinstance(value, list) else str(value)


def _details(one: Status, now: datetime) -> list[tuple[str, str]]:
    since = datetime.fromisoformat(one["since"])
    rows = [
        ("since", f"{_time(one['since'])} UTC ({ago(now, since)})"),
        ("because", one["because"]),
    ]
    if one["hold"] is not None:
        rows.append(("hold", one["hold"] + (" (a person must act)" * one["needs_person"])))
    if one["order"] != "run":
        rows.append(("order", one["order"]))
    if one["next"] is not None:
        rows.append(("next", one["next"]))
    return rows


def _happened(line: Line) -> Text:
    text = Text(f"{_time(str(line.get('timestamp', '')))}  ", style="dim")
    subject = str(line.get("release") or line.get("application") or "headgate")
    attempt = line.get("attempt")
    # Of a line that tells of no release nothing has been checked.
    if isinstance(attempt, int) and attempt > 1:
        subject += f" (attempt {attempt})"
    style = LEVELS.get(str(line.get("level")), "")
    text.append(f"{printable(subject)}  ", style="not dim")
    text.append(printable(in_words(line)), style=f"not dim {style}".strip())
    if line.get("because"):
        text.append(f": {printable(str(line['because']))}", style="not dim")
    return text


def _transition(line: Line) -> str:
    before, after = line.get("from_state"), line.get("to_state")
    if before != after:
        return f"{before} → {after}"
    if line.get("trigger") == "retreat":
        return f"the gate shuts, step {line.get('step')} is kept"
    return f"step {line.get('step')} of {len(line.get('steps', []))}, {line.get('weight')} %"


def _ordered(line: Line) -> str:
    """Who ordered what; by HTTP whoever has the token may say any name."""
    claimed = " (over HTTP, as the token's holder says)" if line.get("via") == "http" else ""
    overrides = line.get("overrides") or []
    past = f", past this: {'; '.join(map(str, overrides))}" if overrides else ""
    return f"{line.get('actor')}{claimed} ordered {_word(line)}{past}"


def _tested(line: Line) -> str:
    failed = line.get("failed", 0)
    count = len(failed) if isinstance(failed, list) else failed
    return f"{count} of {line.get('asked')} golden queries failed"


def _block(line: Line) -> str:
    def arm(name: str) -> str:
        return f"{name} {line.get(f'{name}_errors', 0):,} of {line.get(f'{name}_requests', 0):,}"

    return f"block {line.get('number')}, failed requests: {arm('candidate')}, {arm('stable')}"


def _ids(line: Line) -> str:
    ids = line.get("request_ids")
    return ", ".join(map(str, ids)) if isinstance(ids, list) else ""


def _update(line: Line) -> str:
    weights = line.get("weights")
    if not isinstance(weights, dict):
        return "the endpoint changed"
    told = ", ".join(f"{name} {weight} %" for name, weight in sorted(weights.items()))
    return f"the endpoint serves {told}"


_WORDS: Mapping[str, Callable[[Line], str]] = {
    "release.registered": lambda line: "adopted" if line.get("adopted") else "registered",
    "release.transition": _transition,
    "release.settled": lambda line: f"settled, seen at {line.get('weight_seen')} %",
    "release.confirmed": lambda _: "confirmed",
    "release.held": lambda _: "held",
    "release.freed": lambda _: "goes on",
    "release.resumed": lambda _: "goes on after the pause",
    "rollback.blocked": lambda _: "the way back is blocked",
    "rollback.ready": lambda _: "the way back is free again",
    "tests.finished": _tested,
    "staging.created": lambda line: f"staging endpoint {line.get('endpoint')} is there",
    "staging.passed": lambda line: f"passed on staging endpoint {line.get('endpoint')}",
    "staging.removed": lambda line: f"staging endpoint {line.get('endpoint')} is gone",
    "staging.left": lambda line: f"staging endpoint {line.get('endpoint')} cannot be removed",
    "replay.started": lambda _: "the replay starts",
    "replay.batch": lambda line: f"replayed {line.get('asked')} of {line.get('drawn')}",
    "replay.finished": lambda line: f"replay {line.get('verdict')}",
    "evidence.block": _block,
    "evidence.blind": lambda _: "blind",
    "evidence.seen": lambda _: "sees again",
    "gate.verdict": lambda line: (
        f"{line.get('guard')} {line.get('verdict')}{', observed' if line.get('observe') else ''}"
    ),
    "release.judged": lambda _: "guards and sources are pinned",
    "fuse.blown": lambda _: "the fuse has blown",
    "endpoint.update": _update,
    "endpoint.foreign_change": lambda _: "somebody else changed the endpoint",
    "release.post_mortem": lambda _: "post-mortem",
    "release.examples": lambda line: f"bad requests {_ids(line)}",
    "alias.moved": lambda line: (
        f"alias {line.get('alias')} moved from {line.get('from_version', 'nothing')} "
        f"to {line.get('to_version', 'nothing')}"
    ),
    "order.given": _ordered,
    "order.refused": lambda _: "what was ordered was not done",
    "apply.started": lambda _: "is being applied",
    "apply.finished": lambda _: "`apply` is over",
    "endpoint.permitted": lambda _: "permissions were given",
    "release.removed": lambda _: "is taken from the endpoint",
    "daemon.started": lambda _: "the daemon started",
    "daemon.stopped": lambda _: "the daemon stopped",
    "config.loaded": lambda _: "the configuration was loaded",
    "config.refused": lambda _: "the configuration was refused",
}


def _word(line: Line) -> object:
    """What was ordered; earlier lines tell it by what else they have."""
    told = line.get("verb") or line.get("answer")
    return told or ("apply" if "apply" in line else line.get("order"))


def _numbers(line: Line) -> Line:
    nested = line.get("numbers")
    flat = {name: value for name, value in line.items() if name not in _NOT_NUMBERS}
    return nested if isinstance(nested, dict) else flat


def _labelled(console: Console, rows: Sequence[tuple[str, str]], indent: int) -> None:
    rows = [(label, printable(value)) for label, value in rows if value]
    width = max((len(label) for label, _ in rows), default=0)
    if not console.is_terminal:
        for label, value in rows:
            _say(console, Text(f"{' ' * indent}{label:<{width}}  {value}"))
        return
    # On a terminal long sentences wrap under themselves, not under their labels.
    grid = Table.grid(padding=(0, 2))
    for label, value in rows:
        grid.add_row(Text(label, style="dim"), Text(value))
    console.print(Padding(grid, (0, 0, 0, indent)))


def _title(console: Console, title: str) -> None:
    _say(console, Text(""))
    _say(console, Text(printable(title), style="bold"))


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _time(stamp: str) -> str:
    return stamp[:19].replace("T", " ")


def ago(now: datetime, since: datetime) -> str:
    """How long before now something was, in the largest unit of which it is two or more."""
    seconds = max(0, int((now.astimezone(UTC) - since).total_seconds()))
    for unit, length in _UNITS:
        if seconds >= 2 * length or unit == "s":
            return f"{seconds // length} {unit} ago"
    raise AssertionError("seconds are the last unit")
