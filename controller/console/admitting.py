"""What a configuration asks of a version before it begins, opens and gets the alias, in words."""

from policies.admission import HOLD_TAG, SKIP_TAG, Rules
from policies.calendar import told

ASKED = {
    "before_canary": "before the first users, once the tests have passed",
    "before_production": "before the alias moves, once the bake has ended",
}


def admission_in_words(rules: Rules) -> list[str]:
    """One line for each rule that is set; and how a version is held or skipped by a tag."""
    lines = [f"required tags: {', '.join(rules.required_tags)}"] if rules.required_tags else []
    if rules.approval != "none":
        lines.append(f"asks a person {ASKED[rules.approval]} (`headgate approve`, or by tag)")
    if rules.windows:
        lines.append(f"begins only in {'; '.join(one.text for one in rules.windows)}")
    for one in rules.freezes:
        between = f"{told(one.begins, one.zone)} to {told(one.ends, one.zone)}"
        reason = f" ({one.reason})" if one.reason else ""
        lines.append(f"frozen{reason} from {between}: nothing begins or opens, all may go back")
    if rules.order == "every":
        lines.append("every version has its turn, oldest first")
    lines.append(f"a version is held by the tag {HOLD_TAG}, and never started with {SKIP_TAG}")
    return lines
