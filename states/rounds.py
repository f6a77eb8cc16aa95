"""Golden queries asked once more: what all rounds say by now, and the word that is told of it."""

from policies.golden import Finding, Round, judge
from states.release import Release
from states.turn import Turn


def told_round(
    turn: Turn, release: Release, rounds: tuple[Round, ...], endpoint: str
) -> tuple[Finding, str]:
    """Judge the rounds of a release on an endpoint, and tell of the last one."""
    finding, because = judge(rounds)
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
