"""Earlier versions of this repository, as they were committed: which there are, and their code.

`python -m tests.upgrade.history [REV]` says which would be taken, or what is missing.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.record.schema import OLDEST, VERSION

ROOT = Path(__file__).parents[2]
SCHEMA = "controller/record/schema.py"
ROOMS = ("controller", "policies", "states")
GIT_S = 60
REMEDY = (
    "earlier versions are read from git's history, and that is not all here: clone the repository, "
    "`git fetch --unshallow`, or name a commit that is here and has a store, REV=..."
)
_NUMBER = re.compile(r'^VERSION = "(\d{4})"', re.MULTILINE)


class MissingError(Exception):
    """What the repository does not have, and how it gets it."""


@dataclass(frozen=True)
class Revision:
    """One commit, and the schema of the store that its code writes."""

    commit: str
    schema: str

    def __str__(self) -> str:
        return f"{self.commit[:7]}-schema-{self.schema}"

    @property
    def beside(self) -> bool:
        """Whether today's code says that it may go on beside this one, on one store."""
        return self.schema >= OLDEST

    def unpack(self, folder: Path) -> Path:
        """Its code in a folder, to be run from there."""
        packed = _git("archive", "--format=tar", self.commit, *ROOMS)
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            files.extractall(folder, filter="data")
        return folder


def chosen(wanted: str | None) -> list[Revision]:
    """The commit that is wanted, or the last ones that today's code treats each in its own way.

    Those are the last with a schema that it tolerates beside it, and the last with one that it
    does not. MissingError: a sentence with the remedy.
    """
    if wanted:
        return [_read(wanted)]
    found: dict[bool, Revision] = {}
    for one in _changes():
        if one.schema < VERSION:
            found.setdefault(one.beside, one)
        if len(found) == 2:
            break
    if not found:
        raise MissingError(f"no commit with a schema before {VERSION}: {REMEDY}")
    return list(found.values())


def _changes() -> Iterator[Revision]:
    """The last commit before each change of the schema on the main line, the newest first."""
    line = ("log", "--first-parent", "-m", "--format=%P", "-G^VERSION = ", "--", SCHEMA)
    for parents in _git(*line).decode().splitlines():
        # None before the first one of all, and none that is beyond a shallow clone's end.
        with suppress(MissingError, IndexError):
            yield _read(parents.split()[0])


def _read(commit: str) -> Revision:
    name = _git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    found = _NUMBER.search(_git("show", f"{name}:{SCHEMA}").decode())
    if found is None:
        raise MissingError(f"{commit} has a store without a number: name a later one, REV=...")
    return Revision(name, found[1])


def _git(*words: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        raise MissingError("earlier versions are read with git: install it")
    command = [git, "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=GIT_S)
    if done.returncode:
        raise MissingError(f"git {' '.join(words)}: {REMEDY}")
    return done.stdout


def main() -> int:
    """Say which; the exit code."""
    try:
        found = chosen(next(iter(sys.argv[1:]), None))
    except MissingError as error:
        sys.stderr.write(f"upgrade-check: {error}\n")
        return 1
    for one in found:
        way = "beside today's" if one.beside else "before today's may begin"
        sys.stdout.write(f"{one.commit[:12]}: schema {one.schema}, {way}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
