"""The image, built by the real Dockerfile and run as it will be: `make image-check`.

Nothing but Python can be started in the image that runs here: shells, package managers and every
other program are taken out of a copy of it first. It runs as the user that it names, on a root file
system that cannot be written, without capabilities, against the sandbox outside, and takes two
versions to Production. The figures go to build/bench/image.json; they are those of one machine and
one moment.
"""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from deploy.sandbox.launch import Sandbox
from tests.image.container import BARE, NAME, Container, Line, company
from tests.image.engine import BASE, HOME, ROOT, Engine, MissingError, NotSoError
from tests.image.facts import USER, described, held, layers

IMAGE = "localhost/headgate:check"
FIGURES = ROOT / "build/bench/image.json"
MOST = {"mb_above_base": 250, "seconds_to_first_pass": 5, "idle_mb": 200}
"""What the image may add to its base, take to its first pass, and keep in memory."""
FIRST_S, RELEASE_S, QUIET_S = 60, 300, 10


def expect(what: str, wrong: Iterable[str] = ()) -> None:
    """Say that something holds; NotSoError: how it does not."""
    if found := list(wrong):
        raise NotSoError(f"not so: {what}\n  " + "\n  ".join(found[:20]))
    sys.stdout.write(f"ok  {what}\n")
    sys.stdout.flush()


def built(engine: Engine) -> dict[str, float]:
    """Build the image and look at it; its size."""
    linted = engine.tried(engine.tools() / "bin/hadolint", "deploy/Dockerfile")
    expect("hadolint finds nothing", (linted.stdout + linted.stderr).splitlines())
    engine.build("daemon", IMAGE, "requirements.lock")
    about, base = engine.about(IMAGE), engine.about(BASE)
    expect("user, volume, entry point, health check and labels are set", described(about))
    with engine.mounted(IMAGE) as root:
        expect("no setuid, no pip, the lock's packages, all compiled, root's alone", held(root))
    compressed, secrets = layers(engine, IMAGE, BASE)
    expect("no secret of the build in any layer or in the history", secrets)
    above = (about["Size"] - base["Size"]) / 1e6
    return {"mb_above_base": above, "mb_above_base_compressed": compressed}


def lived(engine: Engine, folder: Path) -> dict[str, float]:
    """Start the image, take two versions to Production in it, and end it."""
    engine.bare(BARE, IMAGE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    volume = folder / "volume"
    with Sandbox.start() as sandbox:
        daemon = Container(engine, sandbox, volume, port)
        daemon.until(lambda lines: bool(_looks(lines)), "a first pass", FIRST_S)
        [first, *_] = _looks(daemon.lines())
        confined = f"it runs as {USER}, without capabilities, on a root that cannot be written"
        expect(confined, daemon.confined())
        time.sleep(QUIET_S)
        idle = daemon.resident_mb()
        with company(sandbox, folder) as register:
            for version in ("1", "2"):
                register(version)
                daemon.until(_confirms(version), f"version {version} confirmed", RELEASE_S)
                expect(f"version {version} went from registration to Production")
            expect("health check and commands work, and need no shell", daemon.health())
        after = daemon.resident_mb()
        expect("it wrote its store, and missed no other place", daemon.wrote(volume))
        expect("SIGTERM ends it with 0", daemon.stop())
    return {
        "seconds_to_first_pass": first - daemon.begun,
        "idle_mb": idle,
        "after_two_releases_mb": after,
    }


def _looks(lines: list[Line]) -> list[float]:
    """When it had looked at its application."""
    told = [one["timestamp"] for one in lines if one["event"] == "application.state"]
    return [datetime.fromisoformat(one).timestamp() for one in told]


def _confirms(version: str) -> Callable[[list[Line]], bool]:
    release = f"rag-chatbot/{version}"
    return lambda lines: any(
        one["event"] == "release.confirmed" and one["release"] == release for one in lines
    )


def main() -> int:
    """Check everything; the exit code."""
    try:
        engine = Engine.ready()
        engine.remove(NAME)
        try:
            figures = built(engine)
            with tempfile.TemporaryDirectory(dir=HOME) as folder:
                figures |= lived(engine, Path(folder))
        finally:
            engine.remove(NAME)
        found = {name: round(value, 2) for name, value in figures.items()}
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        for name, most in MOST.items():
            expect(f"{name} is at most {most}", [str(found[name])] if found[name] > most else [])
    except (NotSoError, MissingError) as error:
        sys.stderr.write(f"image-check: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
