"""Whether a version may begin: what the registry says of it, against what was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from policies.calendar import Freeze, Window

Approval = Literal["none", "before_canary", "before_production"]
"""Before what a person has to approve: nothing, the first users, or the alias."""
Sequencing = Literal["newest", "every"]
"""Which of several waiting versions begins: the newest alone, or each, oldest first."""

HOLD_TAG = "headgate.hold"
"""A version with this tag, whatever its value, does not begin or open until the tag goes."""
SKIP_TAG = "headgate.skip"
"""A version with this tag, whatever its value, is never started."""
APPROVED = "Approved"
"""What Databricks' deployment jobs write into the tag of an approval task."""


class Admission(StrEnum):
    """May it begin? Not yet may become yes; never will not."""

    ADMIT = "ADMIT"
    WAIT = "WAIT"
    REFUSE = "REFUSE"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a release may begin and open, who is asked, and which version comes first."""

    required_tags: tuple[str, ...] = ()
    approval: Approval = "none"
    order: Sequencing = "newest"
    windows: tuple[Window, ...] = ()
    """Releases begin inside them; none: at any hour."""
    freezes: tuple[Freeze, ...] = ()
    """Nothing begins or opens inside them."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a model's input, as its signature has it."""

    name: str
    """Empty where the signature names none."""
    type: str
    """In one canonical spelling: equal types are equal text."""
    required: bool = True


def admit(
    status: str,
    tags: Mapping[str, str] | None,
    required: tuple[str, ...],
    *,
    has_signature: bool | None,
) -> tuple[Admission, str]:
    """Judge a version by its status, signature and tags."""
    never = _incurable(status, tags, has_signature=has_signature)
    if never is not None:
        return Admission.REFUSE, never
    if status != "READY":
        return Admission.WAIT, f"its registration is {status}"
    if has_signature is None or tags is None:
        return Admission.WAIT, "its signature and tags could not be read yet"
    lacking = [key for key in required if not tags.get(key)]
    if lacking:
        named = ", ".join(lacking)
        return Admission.WAIT, f"required tags are missing: {named}; set them on the version"
    return Admission.ADMIT, "READY, with a signature and its tags"


def _incurable(
    status: str, tags: Mapping[str, str] | None, *, has_signature: bool | None
) -> str | None:
    """Why a version will never begin; None if it may."""
    if status == "FAILED_REGISTRATION":
        return "its registration failed: register it anew"
    if tags is not None and SKIP_TAG in tags:
        return f"skipped: it carries the tag {SKIP_TAG}"
    if status == "READY" and has_signature is False:
        return "it has no signature: log the model with one and register it anew"
    return None


def input_change(stable: Sequence[Column], candidate: Sequence[Column]) -> str | None:
    """How requests that stable accepts may fail at the candidate; None where none can.

    A column that went, or that may now be left out, breaks no request.
    """
    before = {one.name: one for one in stable}
    lines = []
    for one in candidate:
        name, old = one.name or "(unnamed)", before.get(one.name)
        if old is None:
            lines += [f"{name} ({one.type}) is new and required"] if one.required else []
        elif old.type != one.type:
            lines.append(f"{name} is {one.type}, and was {old.type}")
        elif one.required and not old.required:
            lines.append(f"{name} is required now")
    return "; ".join(lines) or None


def approvals(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tags by which a version is approved, as Databricks' deployment jobs set them.

    Such a tag is named after the job's approval task, whose name begins with `approval`, in
    whatever case.
    """
    return tuple(
        sorted(
            key
            for key, value in tags.items()
            if key.lower().startswith("approval") and value == APPROVED
        )
    )
