"""The audit counts: a package that the tool left out is told, and silence is no good news."""

import json
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.tools.audit import audited, packages

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-uv.lock"


def tool(folder: Path, dependencies: list[Mapping[str, object]] | None) -> str:
    """Something that answers as pip-audit does; with a complaint and nothing else, for None."""
    path = folder / "pip-audit"
    told = "" if dependencies is None else json.dumps({"dependencies": dependencies})
    said = "ERROR:pip_audit._cli:uv is not found" if dependencies is None else ""
    path.write_text(
        f"#!{sys.executable} -S\nimport sys\nprint({told!r})\nprint({said!r}, file=sys.stderr)\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("dependencies", "code", "words"),
    [
        ([{"name": "uv", "version": "1", "vulns": []}], 0, "1 of 1 packages audited, 0 vuln"),
        ([{"name": "uv", "version": "1", "vulns": [{"id": "CVE-1"}]}], 1, "uv 1: CVE-1"),
        ([{"name": "uv", "skip_reason": "not found"}], 1, "not audited: uv"),
        ([], 1, "not audited: uv"),
        ([{"name": one, "version": "1", "vulns": []} for one in ("uv", "ux")], 1, "lock: ux"),
        (None, 3, "the database of vulnerabilities is silent"),
        (
            None,
            3,
            "silent: uv is not found\n  nothing is known of its 1 packages: run it again where",
        ),
    ],
)
def test_what_is_audited_is_counted_against_the_lock(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dependencies: list[Mapping[str, object]] | None,
    code: int,
    words: str,
) -> None:
    assert audited(tool(tmp_path, dependencies), LOCK) == code
    assert words in capsys.readouterr().out


def test_every_lock_has_hashes_and_names_no_index() -> None:
    locks = [*ROOT.glob("requirements*.lock"), *(ROOT / "deploy" / "tools").glob("*.lock")]
    assert len(locks) >= 7
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, lock
        assert text.count("==") >= len(packages(lock)) > 0
        for entry in text.split("\n\n"):
            assert "--hash=sha256:" in entry
