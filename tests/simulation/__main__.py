"""`python -m tests.simulation`: campaigns, one seed again, the few faults that it takes, proofs."""

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation import bugs, campaign, crashes, layers, shrink
from tests.simulation.run import Options

CORES = os.cpu_count() or 1


def say(text: str) -> None:
    """One line for whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_campaign(told: argparse.Namespace) -> int:
    """Many seeds; 1 if a promise broke, or a situation was never met."""
    seeds = range(told.seed, told.seed + told.runs)
    found, started = campaign.Found(), time.perf_counter()
    for result in campaign.results(seeds, told.workers):
        found.add(result)
        if result.violation is not None:
            say(campaign.how_to_repeat(result))
        if found.runs % 200 == 0:
            say(f"{found.runs} of {told.runs}, {len(found.violations)} violations")
    seconds = time.perf_counter() - started
    figures = campaign.told(found, seconds, seeds)
    campaign.write(figures)
    say(
        f"{found.runs} runs, {found.releases} releases, {sum(found.faults.values())} faults, "
        f"{found.boundaries} boundaries in {seconds:.0f} s ({figures['runs_per_s']} runs/s): "
        f"{len(found.violations)} violations; {len(found.false_rollbacks)} of {found.good} good "
        f"releases rolled back falsely ({100 * figures['false_rollback_share']:.2f} %); "
        f"{len(found.wrong_proofs)} of {found.worse} worse by the margin confirmed"
    )
    for name in found.missing:
        say(f"never happened: {name}")
    falsely = found.falsely > campaign.FALSELY
    wrongly = found.wrongly < campaign.UNLUCKY
    return int(bool(found.violations or found.missing or falsely or wrongly))


def run_replay(told: argparse.Namespace) -> int:
    """One seed again, with all that happened in it."""
    left_out = frozenset(told.without.split(",")) if told.without else frozenset()
    result = campaign.repeat(told.seed, Options(left_out=left_out))
    say("\n".join(result.changes))
    say(f"faults: {' '.join(result.struck)}")
    say(result.trace)
    say(f"seed {told.seed}: {result.violation or 'every promise was kept'}")
    return int(result.violation is not None)


def run_shrink(told: argparse.Namespace) -> int:
    """The fewest faults that break the same promise."""
    options, result = shrink.shrunk(told.seed, Options(), say=say)
    if result.violation is None:
        say(f"seed {told.seed} breaks no promise")
        return 0
    say("\n".join(result.changes))
    say(result.trace)
    say(f"faults: {' '.join(result.struck)}\n{result.violation}")
    say(
        f"repeat it: .venv/bin/python -m tests.simulation replay --seed {told.seed} "
        f"--without {','.join(sorted(options.left_out))}"
    )
    return 1


def run_crashes(told: argparse.Namespace) -> int:
    """Every crash point of a good and of a bad release."""
    ran, missed, broken, started = Counter[str](), 0, 0, time.perf_counter()
    for point, result in crashes.enumerated(told.workers, told.every):
        ran[f"{point.story}, {point.fault}"] += 1
        missed += not crashes.struck(point, result)
        wrong = crashes.amiss(point, result)
        if wrong is not None:
            broken += 1
            say(f"{point}: {wrong}")
    for name, count in sorted(ran.items()):
        say(f"{name}: {count}")
    seconds = time.perf_counter() - started
    say(f"{sum(ran.values())} points in {seconds:.0f} s, {missed} not met, {broken} violations")
    return int(bool(missed or broken))


def run_bugs(told: argparse.Namespace) -> int:
    """Each seeded bug, and the seed that finds it."""
    names = told.only.split(",") if told.only else list(bugs.BUGS)
    unfound = 0
    say(f"{'bug':<34}{'seed':>6}{'seconds':>9}  what was noticed")
    for name in names:
        caught = bugs.hunt(name, limit_s=told.limit)
        unfound += caught.seed is None
        seed = "-" if caught.seed is None else str(caught.seed)
        say(f"{name:<34}{seed:>6}{caught.seconds:>9.1f}  {caught.noticed[:110]}")
    say(f"{len(names) - unfound} of {len(names)} found")
    return int(bool(unfound))


def run_layers(told: argparse.Namespace) -> int:
    """Each layer alone, and without it."""
    failed = 0
    say(f"{'layer':<18}{'alone':>12}{'without it':>12}{'seconds':>9}  what was noticed")
    for name in layers.LAYERS:
        shown = layers.show(name, range(1, 1 + told.runs))
        failed += bool(shown.broken) or shown.seed is None
        kept = "broke" if shown.broken else f"{shown.alone} kept"
        seed = "-" if shown.seed is None else f"seed {shown.seed}"
        say(f"{name:<18}{kept:>12}{seed:>12}{shown.seconds:>9.1f}  {shown.noticed[:100]}")
        if shown.broken:
            say(f"  alone: {shown.broken}")
    return int(bool(failed))


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(required=True)
    many = commands.add_parser("campaign")
    many.add_argument("--runs", type=int, default=2000)
    many.add_argument("--seed", type=int, default=1)
    many.add_argument("--workers", type=int, default=CORES)
    many.set_defaults(run=run_campaign)
    again = commands.add_parser("replay")
    again.add_argument("--seed", type=int, required=True)
    again.add_argument("--without", default="")
    again.set_defaults(run=run_replay)
    fewer = commands.add_parser("shrink")
    fewer.add_argument("--seed", type=int, required=True)
    fewer.set_defaults(run=run_shrink)
    each = commands.add_parser("crashes")
    each.add_argument("--workers", type=int, default=CORES)
    each.add_argument("--every", type=int, default=1)
    each.set_defaults(run=run_crashes)
    seeded = commands.add_parser("bugs")
    seeded.add_argument("--only", default="")
    seeded.add_argument("--limit", type=float, default=60.0)
    seeded.set_defaults(run=run_bugs)
    alone = commands.add_parser("layers")
    alone.add_argument("--runs", type=int, default=40)
    alone.set_defaults(run=run_layers)
    told = parser.parse_args()
    code: int = told.run(told)
    return code


if __name__ == "__main__":
    sys.exit(main())
