"""What an image is and holds, looked at without running it."""

import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from tests.image.engine import HOME, ROOT, SECRET, Engine

USER = "65532:65532"
VOLUME = "/var/lib/headgate"
PYTHON = "/opt/headgate/bin/python"
KNOWN = b"def trouble(path: str, environ"
"""A line of a module that is in the image: a search that misses it would miss a secret, too."""
CHUNK = 1 << 20
SETID, OTHERS_WRITE = 0o6000, 0o022
LABELS = ("title", "description", "licenses", "version", "revision")
LOCKED = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ; (.+?))? \\$", re.MULTILINE)


def described(about: dict[str, Any]) -> Iterator[str]:
    """What is wrong with how an image is to be run."""
    config = about["Config"]
    if config.get("User") != USER:
        yield f"its user is {config.get('User')!r}, not {USER}"
    if config.get("Entrypoint") != [PYTHON, "-m", "controller"]:
        yield f"its entry point is {config.get('Entrypoint')}"
    if list(config.get("Volumes") or {}) != [VOLUME]:
        yield f"its volumes are {config.get('Volumes')}"
    if about["Healthcheck"]["Test"] != ["CMD", PYTHON, "-m", "controller.health"]:
        yield f"its health check is {about['Healthcheck']}"
    labels = config.get("Labels") or {}
    missing = [one for one in LABELS if not labels.get(f"org.opencontainers.image.{one}")]
    if missing:
        yield f"it has no labels {missing}"


def held(root: Path) -> Iterator[str]:
    """What is wrong with the files of an image."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        yield from (f"{here / name} brings pip" for name in folders if name == "ensurepip")
        for file in (here / name for name in names):
            if not file.is_symlink():
                yield from (f"/{file.relative_to(root)} {why}" for why in _wrong(root, file))
    yield from _packages(root)


def _wrong(root: Path, file: Path) -> Iterator[str]:
    """What is wrong with one file."""
    status, ours = file.stat(), file.is_relative_to(root / "opt/headgate")
    if status.st_mode & SETID:
        yield "makes who starts it another user"
    if ours and (status.st_mode & OTHERS_WRITE or status.st_uid):
        yield "can be changed by others than root"
    if re.match(r"pip-.*\.whl|pip3?$", file.name) or file.parent.name.startswith("pip-"):
        yield "brings pip"
    if file.name == ".env" or file.suffix in {".db", ".key"} or ".git" in file.parts:
        yield "has no business in an image"
    if ours and file.suffix == ".py" and not Path(cache_from_source(str(file))).exists():
        yield "is compiled anew at each start"


def _packages(root: Path) -> Iterator[str]:
    """How the packages of an image are others than those of the lock."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    # Both are Pythons of one version on Linux: a marker means here what it means there.
    wanted = {
        _plain(name): version
        for name, version, marker in LOCKED.findall(lock)
        if not marker or Marker(marker).evaluate()
    }
    found = {}
    for folder in root.glob("opt/headgate/lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        found[_plain(name)] = version
    if "mlflow-skinny" not in found or "mlflow" in found:
        yield "it has another mlflow than mlflow-skinny"
    if found != wanted:
        yield f"its packages are not those of the lock: {sorted(found.items() ^ wanted.items())}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def layers(engine: Engine, image: str, base: str) -> tuple[float, list[str]]:
    """Compressed MB that an image adds to its base, and the secrets of the build in any layer."""
    below = len(engine.about(base)["RootFS"]["Layers"])
    archive = HOME / "image.tar"
    archive.unlink(missing_ok=True)
    engine.run(
        "podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, image
    )
    told = engine.run("podman", "history", "--no-trunc", "--format", "json", image)
    wrong = [f"its history holds {SECRET}"] if SECRET in told else []
    known, compressed = False, 0
    with tarfile.open(archive) as whole:
        files = [one for one in whole.getmembers() if one.isfile()]
        by_digest = {one.name.removesuffix(".tar"): one for one in files}
        order = [one.partition(":")[2] for one in engine.about(image)["RootFS"]["Layers"]]
        for place, member in [
            (order.index(name), one) for name, one in by_digest.items() if name in order
        ] + [(-1, one) for name, one in by_digest.items() if name not in order]:
            stream = whole.extractfile(member)
            assert stream is not None, "only files are asked"
            packer, last = zlib.compressobj(6), b""
            while chunk := stream.read(CHUNK):
                near, last = last + chunk, chunk[-256:]
                known = known or KNOWN in near
                if SECRET.encode() in near:
                    wrong.append(f"{member.name} holds {SECRET}")
                if place >= below:
                    compressed += len(packer.compress(chunk))
            compressed += len(packer.flush()) if place >= below else 0
    archive.unlink()
    if not known:
        wrong.append("the search for secrets did not find what is there")
    return compressed / 1e6, wrong
