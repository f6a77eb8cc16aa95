"""A sandbox as a child process: for the demo and for tests."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

STOP_S = 20.0
"""How long a sandbox may take to end after SIGTERM, in seconds, before it is killed."""
_CONTROL_S = 10.0
"""How long the sandbox's own controls may take to answer, in seconds."""
_VARIABLES = ("DATABRICKS_HOST", "DATABRICKS_TOKEN")


@dataclass
class Sandbox:
    """A running sandbox; as a context manager it ends at the end of the block."""

    process: subprocess.Popen[str]
    host: str
    token: str

    @classmethod
    def start(cls, data: Path | None = None, **settings: object) -> Self:
        """Start one with these settings (see `workspace.Settings`) and wait until it is ready.

        What it writes on standard error goes to this process' own. RuntimeError: it ended
        instead, and said there why.
        """
        options = {"port": 0, **settings} | ({} if data is None else {"data": data})
        arguments = [
            f"--{name.replace('_', '-')}={_text(value)}" for name, value in options.items()
        ]
        process = subprocess.Popen(  # noqa: S603 - our own module and our own options
            [sys.executable, "-m", "deploy.sandbox", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        values = []
        for variable in _VARIABLES:
            line = process.stdout.readline().strip()
            start = f"export {variable}="
            if not line.startswith(start):
                process.stdout.close()
                process.kill()
                raise RuntimeError(f"the sandbox ended with status {process.wait()}")
            values.append(line.removeprefix(start))
        return cls(process, *values)

    def fault(self, scope: str = "http", **rule: object) -> dict[str, Any]:
        """Ask for a fault of this scope (see `rules`); how the sandbox lists it.

        RuntimeError: it makes no sense, and the text says why.
        """
        listed = self._control("POST", "faults", json={"scope": scope, **rule})["faults"]
        return dict(listed[-1])

    def faults(self) -> list[dict[str, Any]]:
        """The faults that were asked for, each with how often it has matched and applied."""
        return list(self._control("GET", "faults")["faults"])

    def clear_faults(self, scope: str | None = None) -> None:
        """No more faults, or no more of one scope."""
        self._control("DELETE", "faults", params={} if scope is None else {"scope": scope})

    def last(self) -> int:
        """The number of the last API call, from which `requests` tells what came after."""
        return int(self._control("GET", "requests", params={"since": sys.maxsize})["last"])

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The API calls that were answered, those numbered above `since`."""
        return list(self._control("GET", "requests", params={"since": since})["requests"])

    def _control(self, method: str, what: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        url = f"{self.host}/_sandbox/{what}"
        answer = requests.request(method, url, timeout=_CONTROL_S, **more)
        body: dict[str, Any] = answer.json()
        if not answer.ok:
            raise RuntimeError(str(body["message"]))
        return body

    def stop(self) -> int:
        """End it as SIGTERM does, and return its exit status."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, which something else has brought about, and return its exit status."""
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop()


def _text(value: object) -> str:
    """A setting as the command line takes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
