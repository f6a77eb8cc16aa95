"""A headless Chromium on this machine, driven over a pipe: no port, no driver, no package.

`python -m tests.browser.chromium` sees to it that there is one: on Debian, as root, it is
installed; elsewhere the one command that gets it is told.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "HEADGATE_CHROMIUM"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
LONGEST_S = 20
WIRE = """
import fcntl, os, sys
first, second = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(first, 3)
os.dup2(second, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads descriptor 3, and writes descriptor 4."""
Message = dict[str, Any]


def found() -> str | None:
    """The browser that is named, or the first one on the path."""
    named = os.environ.get(VARIABLE)
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def provide() -> int:
    """See to it that there is one; 0, or 1 and what is missing."""
    named = found()
    if named is not None and not os.access(named, os.X_OK):
        sys.stderr.write(f"{VARIABLE}={named}: there is no such program\n")
        return 1
    if named is not None:
        return 0
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    told = f"make test-browser needs Chromium: `{' '.join(command)}`, or name one in {VARIABLE}"
    if shutil.which("apt-get") is None or os.geteuid():
        sys.stderr.write(f"{told}\n")
        return 1
    sys.stderr.write(f"installing Chromium (once): {' '.join(command)}\n")
    quiet = {
        "stdout": subprocess.DEVNULL,
        "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    }
    for step in (["apt-get", "update"], command):
        if subprocess.run(step, check=False, **quiet).returncode:  # type: ignore[call-overload]
            sys.stderr.write(f"{told}\n")
            return 1
    return 0


@dataclass
class Browser:
    """One page in one browser: what it was told, what it shows, and what it complained of."""

    process: subprocess.Popen[bytes]
    sending: int
    receiving: int
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    """Dialogs, errors on the console and breaches of the content policy, in order."""
    requests: list[str] = field(default_factory=list)
    """Every address that was asked."""
    _rest: bytes = b""
    _number: int = 0
    _events: list[Message] = field(default_factory=list)

    def call(self, method: str, **params: object) -> Any:  # noqa: ANN401 - any JSON value
        """Ask the browser; AssertionError, if it refuses."""
        self._number += 1
        asked: Message = {"id": self._number, "method": method, "params": params}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self.sending, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told["error"]
                return told["result"]
            self._take(told)

    def open(self, url: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self._events.clear()
        told = self.call("Page.navigate", url=url)
        assert not told.get("errorText"), told
        self.until(lambda: any(one["method"] == "Page.loadEventFired" for one in self._events))

    def run(self, script: str) -> Any:  # noqa: ANN401 - any JSON value
        """What an expression in the page is, as JSON; by the debugger, so no policy forbids it."""
        told = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, what: Callable[[], bool]) -> None:
        """Take in what the browser tells, until something is so."""
        while not what():
            self._take(self._next())

    def view(self, width: int, height: int = 800, *, scheme: str = "light", **media: str) -> None:
        """The size of the screen and the reader's choices."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = {"prefers-color-scheme": scheme} | media
        told = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def shoot(self, path: Path) -> None:
        """A picture of the whole page."""
        told = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b64decode(told["data"]))

    def _next(self) -> Message:
        while b"\0" not in self._rest:
            part = os.read(self.receiving, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        raw, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(raw)
        return message

    def _take(self, message: Message) -> None:
        method, params = message.get("method", ""), message.get("params", {})
        self._events.append(message)
        if method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {params['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(f"console: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, that ends with the block."""
    path = found()
    assert path, f"no Chromium: `make test-browser` gets one, or name it in {VARIABLE}"
    to_it, sending = os.pipe()
    receiving, from_it = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        options = [
            *("--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
            *("--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            # It shows pages of our own on loopback only; as root its sandbox cannot start.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        wired = [sys.executable, "-c", WIRE, str(to_it), str(from_it), path, *options]
        process = subprocess.Popen(
            wired,
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_it)
        os.close(from_it)
        try:
            yield _attached(Browser(process, sending, receiving))
        finally:
            os.close(sending)
            with suppress(subprocess.TimeoutExpired):
                process.wait(LONGEST_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(LONGEST_S)
            os.close(receiving)


def _attached(browser: Browser) -> Browser:
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    told = browser.call("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = told["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable")
    return browser


if __name__ == "__main__":
    sys.exit(provide())
