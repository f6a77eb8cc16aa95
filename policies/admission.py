"""Whether a version may begin: what the registry says of it, against what was asked."""

from collections.abc import Mapping
from enum import StrEnum


class Admission(StrEnum):
    """May it begin? Not yet may become yes; never will not."""

    ADMIT = "ADMIT"
    WAIT = "WAIT"
    REFUSE = "REFUSE"


def admit(
    status: str,
    tags: Mapping[str, str] | None,
    required: tuple[str, ...],
    *,
    has_signature: bool | None,
) -> tuple[Admission, str]:
    """Judge a version by its status, signature and tags."""
    if status == "FAILED_REGISTRATION":
        return Admission.REFUSE, "its registration failed: register it anew"
    if status != "READY":
        return Admission.WAIT, f"its registration is {status}"
    if has_signature is False:
        return Admission.REFUSE, "it has no signature: log the model with one and register it anew"
    if has_signature is None or tags is None:
        return Admission.WAIT, "its signature and tags could not be read yet"
    lacking = [key for key in required if not tags.get(key)]
    if lacking:
        named = ", ".join(lacking)
        return Admission.WAIT, f"required tags are missing: {named}; set them on the version"
    return Admission.ADMIT, "READY, with a signature and its tags"
