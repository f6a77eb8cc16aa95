"""What is inside, as CycloneDX: `python -m deploy.tools.sbom CYCLONEDX_PY LOCK OUTPUT`."""

import json
import subprocess
import sys
from pathlib import Path

from deploy.tools.audit import normal, packages


def main() -> None:
    """Write the bill of materials of a lock, and see that nothing of it is missing."""
    tool, lock, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    output.parent.mkdir(parents=True, exist_ok=True)
    form = ["--output-format=JSON", "--spec-version=1.6", "--output-reproducible"]
    subprocess.run(  # noqa: S603 - the tool that make has installed
        [tool, "requirements", str(lock), "--pyproject=pyproject.toml", *form, "-o", str(output)],
        check=True,
        timeout=120,
    )
    told = json.loads(output.read_text(encoding="utf-8"))
    names = {normal(one["name"]) for one in told["components"]}
    if missing := packages(lock) - names:
        sys.exit(f"{output} lacks {', '.join(sorted(missing))}")
    sys.stdout.write(f"{output}: {len(names)} components, as {lock} has them\n")


if __name__ == "__main__":
    main()
