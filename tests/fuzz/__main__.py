"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz TARGET SECONDS`, from real seeds.

Atheris has a Python of its own (`make fuzz`). What it finds is written to build/fuzz/TARGET, as
bytes that `python -m tests.fuzz TARGET FILE` runs again.
"""

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["controller", "policies", "states"]):
    from tests.fuzz.targets import TARGETS

BUILD = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> None:
    """Fuzz one target for so many seconds, or run one input again."""
    name, limit = sys.argv[1:3]
    target = TARGETS[name]
    if not limit.isdigit():
        sys.stdout.write(f"{target(Path(limit).read_bytes())}\n")
        return
    from tests.fuzz.seeds import seeds  # noqa: PLC0415 - made by code that needs no instruments

    logging.disable(logging.CRITICAL)
    corpus, found = BUILD / name / "corpus", BUILD / name / "found-"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    # JSON and YAML are text, and most inputs small: long ones only cost time.
    options = [f"-max_total_time={limit}", f"-artifact_prefix={found}", "-max_len=16384"]
    options += ["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
