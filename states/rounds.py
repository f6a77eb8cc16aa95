"""Golden queries asked once more: what all rounds say by now, and the word that is told of it."""

from dataclasses import replace

from policies.golden import Begun, Finding, Round, judge
from states.home import overdue
from states.release import Release
from states.turn import Turn


def taken_in(
    rounds: tuple[Round, ...], brought: Round | Begun
) -> tuple[tuple[Round, ...], Begun | None]:
    """The complete rounds, and the one under way, with what a look has brought of it."""
    return (rounds, brought) if isinstance(brought, Begun) else ((*rounds, brought), None)


def how_far(asking: Begun | None) -> str:
    """What a deadline says of the round that it cuts off; nothing where none is under way."""
    if asking is None:
        return ""
    told = f"{len(asking.answers):,} of {asking.of:,} questions of the last round were answered"
    return f": {told}; state fewer golden queries, or a smaller repeat"


def told_round(
    turn: Turn, release: Release, rounds: tuple[Round, ...], endpoint: str
) -> tuple[Finding, str]:
    """Judge the rounds of a release on an endpoint, and tell of the last one."""
    compared = release.pinned is not None and release.pinned.baseline is not None
    finding, because = judge(rounds, compared=compared)
    asked = rounds[-1]
    turn.tell(
        "tests.finished",
        release,
        because,
        level="info" if finding is Finding.PASS else "warning",
        endpoint=endpoint,
        asked=asked.asked,
        failed=list(asked.candidate_failed),
        failed_on_stable=list(asked.stable_failed),
        finding=finding.value,
    )
    return finding, because


def with_table(turn: Turn, release: Release) -> Release | None:
    """The release with the golden queries of its table pinned; None while they are not read."""
    plan, golden = release.plan, turn.world.golden
    table = plan.tests_table
    if table is None:
        return release
    if golden is None:
        told = f"the golden queries of {table} are not read yet: Headgate asks again"
        turn.hold(release, told, needs_person=overdue(turn, release))
        return None
    if golden.trouble is not None:
        turn.hold(release, golden.trouble, needs_person=True)
        return None
    tests = (*plan.tests, *golden.queries)
    pinned = turn.put(turn.free(release), pinned=replace(plan, tests=tests, tests_table=None))
    count, told = len(golden.queries), f"golden queries pinned as {table} has them"
    turn.tell("tests.read", pinned, f"{count} {told}", table=table, queries=count)
    return pinned
