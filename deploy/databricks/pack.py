"""Packs what the app is installed from into app/: `make databricks-app`.

Databricks installs an app from its requirements.txt, with pip. Here that is the lock, each package
with its hashes, and the wheel of this checkout with its own.
"""

# ruff: noqa: INP001 - a script, and no package

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = Path(__file__).parent / "app"


def main() -> None:
    """Build the wheel, and write the requirements."""
    for old in APP.glob("*.whl"):
        old.unlink()
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(APP)], cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - ours
    (wheel,) = APP.glob("*.whl")
    digest = sha256(wheel.read_bytes()).hexdigest()
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    ours = f"./{wheel.name} \\\n    --hash=sha256:{digest}\n"
    (APP / "requirements.txt").write_text(locked + ours, encoding="utf-8")
    sys.stdout.write(f"{APP.relative_to(ROOT)}/: {wheel.name}, requirements.txt\n")


if __name__ == "__main__":
    main()
