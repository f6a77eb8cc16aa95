"""What a replay's verdict says, in one sentence and in numbers: no request and no answer."""

from policies.bounds import FALSE_PASS, LEANS, OPENS
from policies.guards import PEACE
from policies.pairing import average
from policies.pairs import LENGTH, OVERLAP, ratio
from policies.replay import (
    DRASTIC,
    FAILS,
    FALSE_FAIL,
    MOSTLY,
    YES_OR_NO,
    Margins,
    Replayed,
    allowed,
    disturbed,
    harm,
    harms,
    outcome,
    proofs,
)
from policies.telling import odds, shown
from policies.verdict import Outcome, Verdict
from policies.words import percent, points


def verdict(margins: Margins, seen: Replayed) -> Verdict:
    """What is to be said of a replay as it stands."""
    came = outcome(margins, seen)
    worse, proven = harm(margins, seen), proofs(margins, seen)
    numbers = _numbers(seen)
    begins = f"replay of {seen.pairs:,} recorded requests"
    if came is Outcome.FAIL:
        each = harms(margins, seen)
        blamed = max(each, key=lambda check: each[check])
        because = (
            f"{begins}: {_seen(seen, blamed)}: worse by over {_harm(margins, blamed)}, "
            f"evidence {odds(worse)} of {odds(FAILS)}"
        )
        numbers |= {"evidence": shown(worse), "fails_at": round(1 / FALSE_FAIL)}
        return Verdict(outcome=came, guard=blamed, because=because, numbers=numbers)
    numbers |= {f"{check}_evidence": shown(one) for check, one in proven.items()}
    numbers |= {"harm_evidence": shown(worse), "passes_at": round(1 / FALSE_PASS)}
    if came is Outcome.PASS:
        kept = "; ".join(
            f"{_seen(seen, check)}, within {_safety(margins, check)}" for check in proven
        )
        return Verdict(
            outcome=came, guard="replay", because=f"{begins}: no worse: {kept}", numbers=numbers
        )
    lacking = min(proven, key=lambda check: proven[check])
    because = f"{begins} leaves undecided: {_lacking(margins, seen, lacking, proven[lacking])}"
    if worse > LEANS:
        each = harms(margins, seen)
        likely = max(each, key=lambda check: each[check])
        because = (
            f"{begins} leaves undecided, and more likely harm than not: {_seen(seen, likely)}, "
            f"evidence {odds(worse)} of {odds(FAILS)}"
        )
    return Verdict(outcome=came, guard=lacking, because=because, numbers=numbers)


def _lacking(margins: Margins, seen: Replayed, check: str, evidence: float) -> str:
    if seen.why:
        return seen.why
    if disturbed(seen):
        return f"{seen.troubled:,} more failed on both versions, although stable had answered them"
    told = f"{_seen(seen, check)}, within {_safety(margins, check)}"
    return f"{told}, evidence {odds(evidence)} of {odds(OPENS)}"


def _seen(seen: Replayed, check: str) -> str:
    """Both versions' counts, or how the one compares with the other."""
    values = seen.differences.get(check, ())
    number = round(sum(count for _, count in values))
    if check in YES_OR_NO:
        own, theirs = seen.bad.get(check, (0, 0))
        noun = {"errors": "errors", "answers": "empty answers", "sources": "without sources"}[check]
        return f"{noun} {own:,}, stable {theirs:,} of {number:,}"
    if check == OVERLAP:
        return f"other sources in {percent(average(values))} of {number:,} answers"
    return f"{check} {ratio(check, average(values)):.3g} times stable's in {number:,} pairs"


def _safety(margins: Margins, check: str) -> str:
    margin: float = getattr(margins, check)
    return points(margin) if check in YES_OR_NO else percent(margin)


def _harm(margins: Margins, check: str) -> str:
    if check == OVERLAP:
        return f"half, {percent(MOSTLY)} of answers"
    if check == LENGTH:
        return f"{DRASTIC:g} times"
    if check in YES_OR_NO:
        return points(allowed(margins, check, PEACE))
    return percent(getattr(margins, check) / PEACE)


def _numbers(seen: Replayed) -> dict[str, float | int]:
    """Both versions' counts, and each comparison's mean."""
    numbers: dict[str, float | int] = {
        "pairs": seen.pairs,
        "drawn": seen.drawn or 0,
        "missing": seen.missing,
        "troubled": seen.troubled,
    }
    for check, (own, theirs) in seen.bad.items():
        numbers |= {f"candidate_{check}": own, f"stable_{check}": theirs}
    for check, values in seen.differences.items():
        if check == OVERLAP:
            numbers["other_sources"] = round(average(values), 4)
        elif check not in YES_OR_NO:
            numbers[f"{check}_ratio"] = round(ratio(check, average(values)), 4)
    return numbers
