"""From a run that broke a promise to the few faults that it takes.

Every draw is keyed, so leaving faults out leaves the others where they were: first whole kinds,
then single ones, by halves (Zeller's ddmin).
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.simulation.record import ram_disk, template
from tests.simulation.run import Options, Result, run


def shrunk(
    seed: int, options: Options, *, budget: int = 400, say: Callable[[str], object] = print
) -> tuple[Options, Result]:
    """The fewest faults found, in so many runs, that break the same promise; and that run."""
    with tempfile.TemporaryDirectory(dir=ram_disk()) as folder:
        return _Shrinking(seed, template(Path(folder)), budget, say).go(options)


class _Shrinking:
    def __init__(self, seed: int, made: Path, budget: int, say: Callable[[str], object]) -> None:
        self.seed, self.made, self.left, self.say = seed, made, budget, say
        self.kind = ""

    def go(self, options: Options) -> tuple[Options, Result]:
        first = run(self.seed, self.made, options)
        if first.violation is None:
            return options, first
        self.kind = _kind(first)
        best, result = self._halved(options, first, _kinds)
        best, result = self._halved(best, result, _keys)
        self.say(f"{len(first.struck)} faults shrank to {len(result.struck)}")
        return best, result

    def _try(self, options: Options) -> Result | None:
        if self.left <= 0:
            return None
        self.left -= 1
        result = run(self.seed, self.made, options)
        same = result.violation is not None and _kind(result) == self.kind
        return result if same else None

    def _halved(
        self, options: Options, result: Result, parted: Callable[[Result], list[str]]
    ) -> tuple[Options, Result]:
        """Leave out what is struck, half of it at first, then less and less at a time."""
        parts = 2
        while result.struck and self.left > 0:
            all_ = parted(result)
            size = max(1, len(all_) // parts)
            for start in range(0, len(all_), size):
                left_out = options.left_out | set(all_[start : start + size])
                fewer = replace(options, left_out=left_out)
                found = self._try(fewer)
                if found is not None:
                    options, result, parts = fewer, found, max(2, parts - 1)
                    break
            else:
                if size == 1:
                    break
                parts = min(len(all_), 2 * parts)
        return options, result


def _kinds(result: Result) -> list[str]:
    """The kinds of faults that struck."""
    return sorted({key.rsplit(":", 1)[-1] for key in result.struck})


def _keys(result: Result) -> list[str]:
    return list(result.struck)


def _kind(result: Result) -> str:
    """What is broken, without the numbers of it."""
    told = (result.violation or "").split(":")[0:2]
    return "".join(one for one in ":".join(told)[:90] if not one.isdigit())
