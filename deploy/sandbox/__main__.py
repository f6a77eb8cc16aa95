"""`python -m deploy.sandbox`: the workspace on loopback, until it is told to end."""

import argparse
import ast
import asyncio
import contextlib
import errno
import fcntl
import inspect
import logging
import shlex
import signal
import socket
import sys
import textwrap
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.datastructures import State
from uvicorn.protocols.http.h11_impl import H11Protocol

from deploy.sandbox import recorded
from deploy.sandbox.app import Connections, build
from deploy.sandbox.temporary import DATA_PREFIX, temporary
from deploy.sandbox.warehouse import WAREHOUSE_ID
from deploy.sandbox.workspace import Settings

HOST = "127.0.0.1"
TEAM = "echo 1 | python -m deploy.sandbox.demo.team --model main.ml_models.rag_chatbot"
"""Registers a version of the demo's model in the workspace that the environment names."""
CONFIGURATION = Path(__file__).parent / "demo" / "headgate.yaml"
"""Of the demo's application."""
KEEP_ALIVE_S = 600
"""How long an idle connection stays open, in seconds.

Longer than any client's pool keeps one: a connection that closes under a request is a failure
that nobody asked for.
"""
DRAIN_S = 5
"""How long requests in flight may go on after the signal to end, in seconds."""


class Refused(Exception):  # noqa: N818 - it is a sentence for the operator
    """Why the sandbox cannot start."""


def _help() -> dict[str, str]:
    """What each setting means, from the text below its field."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[name] = " ".join(text.split()).replace("%", "%%")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them; an empty text is none."""
    return tuple(int(part) for part in text.split(",") if part.strip())


def _switch(text: str) -> bool:
    """Whether a switch is on."""
    if text not in {"on", "off"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


_READ = {tuple[int, ...]: _numbers, bool: _switch}
"""How a setting's text is read where its type is no function for that."""


def _parser() -> argparse.ArgumentParser:
    """An option for every setting."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sandbox",
        description="An emulated Databricks workspace on loopback.",
        epilog="Example: headgate sandbox --data ./sandbox --table-lag-s 60. "
        f"Something to release, once what it prints is exported: {TEAM}",
    )
    help_of, types = _help(), typing.get_type_hints(Settings)
    for field in fields(Settings):
        kind = types[field.name]
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=_READ.get(kind, kind),
            metavar="on|off" if kind is bool else None,
            default=None if field.default is MISSING else field.default,
            help=help_of.get(field.name),
        )
    parser.add_argument(
        "--recorded",
        type=Path,
        metavar="FILE",
        help="Behave as the workspace that `headgate doctor --record FILE` saw, as far as that is "
        "a setting; an option that is given beside it holds.",
    )
    return parser


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    """The settings that the command line gives, over those that a record tells."""
    parser = _parser()
    if (file := parser.parse_args(arguments).recorded) is not None:
        parser.set_defaults(**recorded.read(file))
    options = vars(parser.parse_args(arguments))
    del options["recorded"]
    return options


@contextlib.contextmanager
def _data(directory: Path | None) -> Iterator[Path]:
    """The data directory, locked; a temporary one, removed at the end, where none is given."""
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(temporary(DATA_PREFIX))
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((directory / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another sandbox uses the data directory {directory}") from error
        yield directory


@contextlib.contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    """A socket on loopback; port 0 lets the system choose."""
    # The protocol is named because asyncio turns Nagle's algorithm off only for a socket that says
    # TCP: without it every answer waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(
                    f"port {port} of {HOST} is in use: choose another with --port, or none"
                ) from error
            raise Refused(f"cannot listen on port {port} of {HOST}: {error.strerror}") from error
        except OverflowError as error:
            raise Refused(f"there is no port {port}") from error
        yield bound


class Server(uvicorn.Server):
    """Uvicorn that says when it is ready, and how it was ended."""

    def __init__(self, config: uvicorn.Config, state: State, ready: str) -> None:
        super().__init__(config)
        self._state = state
        self._ready = ready
        self._announcing: asyncio.Task[None] | None = None
        self.told = self.interrupted = False
        self.failed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer as soon as possible; say so when the children are warm, too."""
        await super().startup(sockets)
        if self.started:
            self._announcing = asyncio.create_task(self._announce(self._state.warm))

    async def _announce(self, warm: "asyncio.Task[None]") -> None:
        """Say that everything is ready, unless a signal came meanwhile; end if it cannot be."""
        await asyncio.wait({warm})
        if warm.cancelled() or self.should_exit:
            return
        error = warm.exception()
        if error is None:
            print(self._ready, flush=True)  # noqa: T201 - what the shell evaluates
            return
        logging.getLogger("sandbox").error("the sandbox cannot start", exc_info=error)
        self.failed = self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM, and do not raise them again: `status` tells of them."""
        with contextlib.ExitStack() as restored:
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.signal(number, self.handle_exit)
                restored.callback(signal.signal, number, previous)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second Ctrl-C does not wait for requests in flight.

        Before the first answer is possible nothing waits for it: the exception ends the event
        loop, which cancels the start.
        """
        self.told = True
        self.interrupted = self.interrupted or sig == signal.SIGINT
        super().handle_exit(sig, frame)
        if not self.started:
            # Uvicorn would report the start that is cancelled here as one that failed, and asyncio
            # whichever task is running now, in which the exception is raised.
            for name in ("uvicorn.error", "asyncio"):
                logging.getLogger(name).disabled = True
            raise SystemExit(self.status)

    @property
    def status(self) -> int:
        """The exit status of the process: that of Ctrl-C, that of a failed start, or 0."""
        if self.interrupted:
            return 128 + signal.SIGINT
        return int(self.failed or not (self.started or self.told))


def _protocol(connections: Connections) -> type[H11Protocol]:
    """The HTTP protocol, which registers its connections so that a fault can reset one."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.peer = transport.get_extra_info("peername")
            connections.transports[self.peer] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            connections.transports.pop(self.peer, None)
            super().connection_lost(exc)

    return Protocol


def _run(options: dict[str, Any]) -> int:
    """Serve until a signal; the exit status of the process."""
    with _data(options.pop("data")) as data, _bound(options["port"]) as bound:
        port = bound.getsockname()[1]
        settings = Settings(**{**options, "data": data, "port": port})
        app = build(settings)
        config = uvicorn.Config(
            app,
            http=_protocol(app.state.connections),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,  # the workspace's own clock tells it
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        server = Server(
            config,
            app.state,
            f"export DATABRICKS_HOST=http://{HOST}:{port}\n"
            f"export DATABRICKS_TOKEN={settings.token}\n"
            f"export DATABRICKS_WAREHOUSE_ID={WAREHOUSE_ID}\n"
            f"# something to release: {TEAM}\n"
            f"# and to release it by: headgate run --config {shlex.quote(str(CONFIGURATION))}",
        )
        server.run(sockets=[bound])
    return server.status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workspace that the command line describes."""
    logging.basicConfig(stream=sys.stderr, format="sandbox: %(message)s", level=logging.WARNING)
    try:
        return _run(_options(arguments))
    except (Refused, recorded.Unreadable) as reason:
        print(f"sandbox: {reason}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
