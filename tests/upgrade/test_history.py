"""Which earlier versions a rolling upgrade is tried with, and what is said where there are none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.upgrade import history
from tests.upgrade.history import SCHEMA, MissingError, chosen

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
TOO_OLD, OLDEST, VERSION = "0003", "0004", "0005"
"""One schema of each way: whatever today's are."""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose schema went through these numbers, one commit each and one between."""
    monkeypatch.setattr(history, "ROOT", tmp_path)
    monkeypatch.setattr(history, "OLDEST", OLDEST)
    monkeypatch.setattr(history, "VERSION", VERSION)
    place = tmp_path / SCHEMA
    place.parent.mkdir(parents=True)
    git(tmp_path, "init", "--quiet")
    for number in (TOO_OLD, OLDEST, VERSION):
        for change in ("first", "last"):
            place.write_text(f'# {change}\nVERSION = "{number}"\n')
            git(tmp_path, "add", "--all")
            git(tmp_path, "commit", "--quiet", "--message", f"{number} {change}")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_last_version_of_each_way_is_chosen(clone: Path) -> None:
    told = [git(clone, "log", "-1", "--format=%s", one.commit).strip() for one in chosen(None)]
    assert told == [f"{OLDEST} last", f"{TOO_OLD} last"]
    assert [one.beside for one in chosen(None)] == [True, False]
    (named,) = chosen("HEAD~5")
    assert named.schema == TOO_OLD


def test_a_clone_without_history_says_what_brings_it(clone: Path) -> None:
    with pytest.raises(MissingError, match=r"git rev-parse .*: .*`git fetch --unshallow`"):
        chosen("no-such-commit")
    git(clone, "checkout", "--quiet", "--orphan", "alone")
    git(clone, "commit", "--quiet", "--message", "all that there is")
    with pytest.raises(MissingError, match=f"no commit with a schema before {VERSION}: .*REV="):
        chosen(None)
