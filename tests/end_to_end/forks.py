"""Commands of the console as forks of a warm parent, which is started when one is needed."""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

LONGEST = 1 << 16
"""Bytes of an order to the nursery."""


class Nursery:
    """The warm parent's process, and the socket on which it takes orders."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir()},
            )

    def ask(self, *outputs: int, **order: object) -> dict[str, Any]:
        """One order, with the files for stdout and stderr where it is one to fork; its answer."""
        with self._asking:
            socket.send_fds(self._line, [json.dumps(order).encode()], outputs)
            found: dict[str, Any] = json.loads(self._line.recv(LONGEST))
            return found

    def end(self) -> None:
        """Let it go."""
        self._line.close()
        self._process.wait()


@functools.cache
def nursery() -> Nursery:
    """The one of this process, for all its life; whoever asks first waits for its imports.

    No fixture ends it: what was forked for another's tests may still be asked for.
    """
    made = Nursery()
    atexit.register(made.end)
    return made


class Fork:
    """A command that runs, or has run: what `subprocess.Popen` is to a command with its imports."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], out: int, errors: int
    ) -> None:
        order = {"arguments": arguments, "environment": environment}
        self.pid: int = nursery().ask(out, errors, **order)["pid"]
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = nursery().ask(ended=self.pid)["code"]
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, for which this waits so many seconds at most."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)
