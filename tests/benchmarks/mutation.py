"""How much of what `policies/` and `states/` say is held by a test: `make mutate`.

Every statement is changed in small ways, one at a time (mutmut), and the tests of the two rooms are
run on each change. A change that no test notices is a survivor; all of them are listed, with the
score, in build/bench/mutation.json. Changes that only touch the words of a sentence are counted
apart: a wrong word misleads a reader, a wrong number users. Each room is changed in a copy of its
own: what can be changed is slow, and every test of `states/` judges by `policies/`.
With `--sample N`, only so many are tried, drawn at random, and the score is told with what it is at
least.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measures import upper_bound

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build/bench/mutation.json"
MUTMUT = Path(sys.executable).with_name("mutmut")
TRY = (str(MUTMUT), "run", "--max-children", "2")
ROOMS = {name: ROOT / "build/mutation" / name for name in ("policies", "states")}
"""Each room, and the copy in which it is changed."""
SOURCES = 'source_paths = ["policies", "states"]'
PARTS = ("controller", "deploy", "policies", "states", "tests", "README.md")
CAUGHT = ("killed", "timeout", "segfault", "suspicious")
"""What the tests noticed: a change that never ends, or crashes, is noticed too."""
LINE = re.compile(r"^\s*(?P<name>\S+__mutmut_\d+): (?P<outcome>.+?)\s*$")


def prepare(room: str, folder: Path) -> None:
    """Begin anew: the project as it is, in which mutmut changes this room alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert settings.count(SOURCES) == 1, SOURCES
    only = f'source_paths = ["{room}"]'
    (folder / "pyproject.toml").write_text(settings.replace(SOURCES, only), encoding="utf-8")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)


def run(folder: Path, *arguments: str) -> str:
    """A command of mutmut's, and what it printed."""
    done = subprocess.run(
        [str(MUTMUT), *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def outcomes(folder: Path) -> dict[str, str]:
    """What became of each change, by its name."""
    found = map(LINE.match, run(folder, "results", "--all", "true").splitlines())
    return {one["name"]: one["outcome"] for one in found if one}


def difference(name: str) -> tuple[str, str]:
    """The lines that a change takes away, and those that it puts there."""
    shown = run(ROOMS[name.split(".", maxsplit=1)[0]], "show", name).splitlines()
    gone = [line[1:] for line in shown if line.startswith("-") and not line.startswith("---")]
    new = [line[1:] for line in shown if line.startswith("+") and not line.startswith("+++")]
    return "\n".join(gone).strip(), "\n".join(new).strip()


def of_words(gone: str, new: str) -> bool:
    """Only the text of a sentence changed: marked by XX, or in other letters."""
    return new.replace("XX", "") == gone or (gone != new and gone.lower() == new.lower())


def survivors(found: dict[str, str]) -> list[dict[str, object]]:
    """The changes that no test noticed."""
    told: list[dict[str, object]] = []
    for name, outcome in sorted(found.items()):
        if outcome in CAUGHT:
            continue
        gone, new = difference(name)
        told.append(
            {
                "name": name,
                "file": "/".join(name.split(".")[:2]) + ".py",
                "outcome": outcome,
                "was": gone,
                "became": new,
                "words": of_words(gone, new),
            }
        )
    return told


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, metavar="N", help="so many changes, at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    return parser.parse_args()


def made() -> list[str]:
    """The names of all changes, which are made, each room's in its folder."""
    names: list[str] = []
    for room, folder in ROOMS.items():
        prepare(room, folder)
        # Nothing has this name: no change is tried.
        done = subprocess.run(
            [*TRY, "none"], cwd=folder, check=False, capture_output=True, text=True
        )
        assert "nothing matches" in done.stdout + done.stderr, done.stdout + done.stderr
        names += outcomes(folder)
    return sorted(names)


def tried(names: list[str], sample: int | None, seed: int) -> dict[str, str]:
    """What became of all changes, or of those that were drawn."""
    drawn = set(names if sample is None else random.Random(seed).sample(names, sample))  # noqa: S311
    found: dict[str, str] = {}
    for room, folder in ROOMS.items():
        own = sorted(name for name in drawn if name.startswith(f"{room}."))
        if own:
            subprocess.run([*TRY, *([] if sample is None else own)], cwd=folder, check=True)
            came = outcomes(folder)
            found |= {name: came[name] for name in own}
    return found


def main() -> None:
    """Run the campaign, print the survivors by file, and write everything down."""
    asked = arguments()
    found = tried(made(), asked.sample, asked.seed)
    left = survivors(found)
    grave = [one for one in left if not one["words"]]
    words = len(left) - len(grave)
    score = 1 - len(left) / len(found)
    without = 1 - len(grave) / (len(found) - words)
    least = 1 - upper_bound(len(left), len(found)) if asked.sample is not None else score
    figures = {
        "sample": asked.sample,
        "mutants": len(found),
        "survivors": len(left),
        "survivors_of_words": words,
        "score": round(score, 4),
        "score_at_least": round(least, 4),
        "score_without_words": round(without, 4),
        "all_survivors": left,
    }
    FOUND.parent.mkdir(parents=True, exist_ok=True)
    FOUND.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    table = Table("file", "survivors", "of words alone")
    by_file, by_words = Counter(one["file"] for one in left), Counter[object]()
    by_words.update(one["file"] for one in left if one["words"])
    for name, number in by_file.most_common():
        table.add_row(str(name), str(number), str(by_words[name]))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(found)} changes, {len(left)} survive: score {score:.1%}, of all of them at least "
        f"{least:.1%} (95 %); "
        f"{without:.1%} without the words of sentences. All of them: {FOUND.relative_to(ROOT)}"
    )


if __name__ == "__main__":
    main()
