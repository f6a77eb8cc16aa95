"""The locks against the known vulnerabilities: `python -m deploy.tools.audit PIP_AUDIT LOCK...`.

Exit 0: none is known, of every package of every lock. 1: some are, or packages were left out.
3: the database could not be asked, so that nothing is known.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGE = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?==", re.MULTILINE)
_SPEAKER = re.compile(r"^[A-Z]+:[\w.]+:")
"""Which of the tool's own parts speaks."""
LONGEST_S = 600
REMEDY = (
    "run it again where the Python Package Index answers with its advisories, which a mirror of "
    "packages need not have"
)


def packages(lock: Path) -> set[str]:
    """The names in a lock, in their normal form; one that stands for two systems counts once."""
    return {normal(name) for name in _PACKAGE.findall(lock.read_text(encoding="utf-8"))}


def normal(name: str) -> str:
    """The form in which two names of one package are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def audited(tool: str, lock: Path) -> int:
    """Audit one lock, and tell what was found; the exit code."""
    # The lock without its markers: what is for another system is audited as well.
    pins = re.sub(r" ; [^\\\n]*", "", lock.read_text(encoding="utf-8"))
    asked = ["--strict", "--disable-pip", "--require-hashes", "--format=json", "--timeout=30"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as whole:
        whole.write(pins)
        whole.flush()
        done = subprocess.run(  # noqa: S603 - the tool that make has installed
            [tool, *asked, "--requirement", whole.name],
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    wanted = packages(lock)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        sys.stdout.write(
            f"{lock}: not audited, the database of vulnerabilities is silent: "
            f"{_SPEAKER.sub('', why)}\n  nothing is known of its {len(wanted)} packages: {REMEDY}\n"
        )
        return 3
    names = {normal(one["name"]) for one in told if "vulns" in one}
    ill = [
        (one["name"], one["version"], fault["id"]) for one in told for fault in one.get("vulns", ())
    ]
    sys.stdout.write(
        f"{lock}: {len(names)} of {len(wanted)} packages audited, {len(ill)} vulnerabilities\n"
    )
    sys.stdout.writelines(f"  {name} {version}: {fault}\n" for name, version, fault in ill)
    left_out, strange = sorted(wanted - names), sorted(names - wanted)
    sys.stdout.writelines(f"  not audited: {name}\n" for name in left_out)
    sys.stdout.writelines(f"  audited, and not in the lock: {name}\n" for name in strange)
    return 1 if ill or left_out or strange else 0


def main() -> None:
    """Audit each lock; the worst of their codes, of which silence is worse than a finding."""
    tool, *locks = sys.argv[1:]
    sys.exit(max(audited(tool, Path(lock)) for lock in locks))


if __name__ == "__main__":
    main()
