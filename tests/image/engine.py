"""Building and running images without an engine's daemon, a registry or another's storage.

buildah builds, podman runs with runc, both on a storage of their own below build/image. The base is
a Debian that mmdebstrap makes here once; packages come as wheels that pip has downloaded before, as
this machine is set up to, so that no setting of it is part of the build.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build/image"
BASE = "localhost/headgate-base:3.11"
NEEDED = {"buildah": "buildah", "podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap"}
"""Commands, and the Debian packages that bring them."""
PACKAGES = "python3,python3-venv,ca-certificates,tzdata,netbase"
SUITE = "bookworm"
LONG_S, SHORT_S = 900, 60
SECRET = "planted-password-of-an-index"
PIP = f"[global]\n# {SECRET}\nno-index = true\nfind-links = /wheels\n"
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024","nproc=4096:4096"]\n'
RUNTIME = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'


class MissingError(Exception):
    """What this machine does not have, and how it gets it."""


class NotSoError(Exception):
    """What was expected and does not hold."""


@dataclass
class Engine:
    """Images and containers of this check's own."""

    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def ready(cls) -> Self:
        """One with its storage and its base; MissingError: a sentence with the remedy."""
        missing = [package for command, package in NEEDED.items() if not shutil.which(command)]
        if missing:
            raise MissingError(
                "image-check builds and runs images with Debian's tools, as root: "
                f"apt-get install --no-install-recommends {' '.join(missing)}"
            )
        if os.geteuid() != 0:
            raise MissingError("image-check makes a root file system of its own: run it as root")
        HOME.mkdir(parents=True, exist_ok=True)
        storage, containers = HOME / "storage.conf", HOME / "containers.conf"
        places = f'graphroot = "{HOME / "storage"}"\nrunroot = "{HOME / "run"}"\n'
        storage.write_text(f'[storage]\ndriver = "{_driver()}"\n{places}')
        containers.write_text(LIMITS + RUNTIME)
        told = {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers)}
        engine = cls({**os.environ, **told, "BUILDAH_ISOLATION": "chroot"})
        engine._base()
        return engine

    def run(self, *command: object, within_s: float = SHORT_S, check: bool = True) -> str:
        """What a command prints; RuntimeError with what it says where it fails."""
        done = self.tried(*command, within_s=within_s)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command[:3]))}: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    def tried(
        self,
        *command: object,
        within_s: float = SHORT_S,
        told: Mapping[str, str] | None = None,
        into: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """How a command ends."""
        return subprocess.run(
            [str(one) for one in command],
            env={**self.environment, **(told or {})},
            cwd=ROOT,
            input=into,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def tools(self) -> Path:
        """Where the linter and the composer are, installed from their own hashed lock."""
        folder, lock = HOME / "tools", ROOT / "tests/image/tools.lock"
        marker = folder / "tools.lock"
        if not marker.exists() or marker.read_bytes() != lock.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            hashed = ["--require-hashes", "--only-binary", ":all:", "--requirement", lock]
            self.run(*pip, *hashed, "--target", folder, within_s=LONG_S)
            shutil.copy(lock, marker)
        return folder

    def build(self, target: str, tag: str, lock: str) -> None:
        """Build a target of the real Dockerfile with the packages of a lock."""
        wheels = HOME / f"wheels-{target}"
        wheels.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
        hashed = ["--no-deps", "--require-hashes", "--requirement", ROOT / lock, "--dest", wheels]
        self.run(*pip, *hashed, within_s=LONG_S)
        settings = HOME / "pip.conf"
        settings.write_text(PIP)
        self.run(
            *("buildah", "bud", "--quiet", "--layers", "--format", "docker"),
            *("--isolation", "chroot", "--build-arg", f"BASE={BASE}", "--target", target),
            *("--secret", f"id=pip,src={settings}", "--volume", f"{wheels}:/wheels:ro"),
            *("--file", "deploy/Dockerfile", "--tag", tag, "."),
            within_s=LONG_S,
        )

    def bare(self, tag: str, of: str) -> None:
        """Make an image of another, in which nothing can be started but Python."""
        container = self.run("buildah", "from", of)
        try:
            mounted = Path(self.run("buildah", "mount", container))
            for folder in ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"):
                for file in (mounted / folder).iterdir():
                    if not file.name.startswith("python3"):
                        file.unlink()
            self.run("buildah", "umount", container)
            self.run("buildah", "commit", "--quiet", "--format", "docker", container, tag)
        finally:
            self.run("buildah", "rm", container)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The files of an image, to look at."""
        try:
            yield Path(self.run("podman", "image", "mount", image))
        finally:
            self.run("podman", "image", "umount", image)

    def about(self, image: str) -> dict[str, Any]:
        """What is written down about an image."""
        [found] = json.loads(self.run("podman", "image", "inspect", image))
        return dict(found)

    def remove(self, *containers: str) -> None:
        """End containers of ours, if they are there."""
        for name in containers:
            self.tried("podman", "rm", "--force", "--volumes", "--time", "5", name)

    def _base(self) -> None:
        if not self.tried("podman", "image", "exists", BASE).returncode:
            return
        archive = HOME / "base.tar"
        if not archive.exists():
            making = archive.with_suffix(".making.tar")
            chosen = ("--variant=minbase", f"--include={PACKAGES}", SUITE)
            self.run("mmdebstrap", "--quiet", *chosen, making, within_s=LONG_S)
            making.rename(archive)
        self.run("podman", "import", "--quiet", archive, BASE, within_s=LONG_S)


def _driver() -> str:
    """Layers over one another where the kernel can, whole copies where it cannot."""
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    return "overlay" if "overlay" in known else "vfs"
