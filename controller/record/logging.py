"""The daemon's log: one structured line per thing told, as JSON or for eyes, never a secret."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.processors import ExceptionRenderer, add_log_level
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from controller.record.lines import FACTS, STATUS, ordered
from controller.record.redaction import clean, printable
from controller.record.sink import Sink
from states.status import rfc3339

MODES = ("json", "text", "auto")
ROWS = "rows"
"""`structlog.get_logger(ROWS)` tells what may not be lost, and raises `Unwritten`."""

QUIET = ("alembic", "apscheduler", "databricks.sdk", "mlflow", "urllib3")
"""Libraries that are heard from a warning on: below it they tell of requests, and of tokens."""
STRANGERS = "uvicorn"
"""Warns of every request that is none, or one too many: who has no token must not fill the log."""

_NOT_IN_TEXT = {
    *STATUS,
    *("timestamp", "level", "event", "seq", *FACTS),
    *("state_because", "as_of_seq", "releases", "exception"),
}


def configure_logging(mode: str = "auto", stream: TextIO | None = None) -> Sink:
    """Set the log up once for the whole process, its libraries included; it goes to stdout.

    `auto` is JSON lines, unless the stream is a terminal. A line that cannot be written raises
    nothing, except from the logger of `ROWS`.
    """
    assert mode in MODES, mode
    stream = stream or sys.stdout
    sink = Sink(stream)
    as_text = mode == "text" or (mode == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_log_level,
        # Local variables hold tokens and prompts: a traceback tells places only.
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        _finish,
    ]
    renderer = _text if as_text else _json
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *names: _Lines(sink.deliver if ROWS in names else sink.write),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(STRANGERS).setLevel(logging.ERROR)
    return sink


class _Lines:
    """Where structlog's ways end: whole lines, each given to the sink at once."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put

    def msg(self, line: str) -> None:
        """One line, of whatever level."""
        # With its end: libraries write to this sink as well.
        self._put(f"{line}\n")

    debug = info = warning = error = critical = msg


def text_line(line: Mapping[str, Any]) -> str:
    """A line for eyes: when, how bad, what, of whom, why, and the event's own numbers."""
    subject = line.get("release") or line.get("application") or ""
    parts = [
        str(line.get("timestamp", ""))[:19].replace("T", " "),
        f"{line.get('level', 'info'):<7}",
        f"{line.get('event', ''):<19}",
        str(subject),
    ]
    told = f"{line['state']}: " if "state" in line and line.get("because") else ""
    parts.append(told + str(line.get("because", "")))
    own = {name: value for name, value in line.items() if name not in _NOT_IN_TEXT}
    parts += [f"{name}={value}" for name, value in own.items()]
    return printable(" ".join(part for part in parts if part))


def json_line(line: Mapping[str, Any]) -> str:
    """A line as the log has it in its JSON form: the same bytes whenever it is printed."""
    # ASCII only: a line stays one line, whatever separators others put into it.
    return json.dumps(ordered(clean(line)), ensure_ascii=True, allow_nan=False)


def _finish(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Give a line its time, take secrets out, and put its keys in order."""
    line.setdefault("timestamp", rfc3339(datetime.now(UTC)))
    # What the standard library's formatter needs of its record goes by untouched.
    inner = {name: line.pop(name) for name in ("_record", "_from_structlog") if name in line}
    return {**ordered(clean(line)), **inner}


def _logger_name(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    record = line["_record"]
    line["logger"] = record.name
    return line


def _json(_: WrappedLogger, __: str, line: EventDict) -> str:
    return json_line(line)


def _text(_: WrappedLogger, __: str, line: EventDict) -> str:
    trace = line.get("exception")
    told = text_line(line)
    return f"{told}\n{json.dumps(trace, indent=2)}" if trace else told
