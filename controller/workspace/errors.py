"""What can go wrong between Headgate and a workspace, in four kinds that ask for different acts.

A message is one sentence that names the place and the remedy. It never repeats what a server said:
server messages may hold prompts, answers or secrets, and messages end in the log.
"""

from typing import Literal

Outcome = Literal["done", "refused", "unsent", "open"]
"""What came of a mutation: applied, known not applied, not sent at all as what had to be read
before could not be, or unknown until someone looks again."""


class WorkspaceError(Exception):
    """Something kept a call from its answer, or the answer was not understood."""

    outcome: Outcome = "open"
    """What a mutation that raised this has come to."""


class Unreachable(WorkspaceError):  # noqa: N818 - the kinds are what an operator is told
    """No usable answer for now: refused connection, timeout, 5xx or 429. Looking again may help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """How long the workspace asks to be left alone; None where it does not say."""


class Denied(WorkspaceError):  # noqa: N818
    """The workspace knows who asks and says no (401, 403): a person must act."""

    outcome = "refused"


class Refused(WorkspaceError):  # noqa: N818
    """The call cannot succeed as it was sent (400, 404, 409): nothing was changed by it."""

    outcome = "refused"


class Outdated(WorkspaceError):  # noqa: N818
    """What a call was decided on is not there any more, so that it was not sent: look again."""

    outcome = "unsent"


class Unconfigured(WorkspaceError):  # noqa: N818
    """There are no credentials to ask with: a matter of settings, found before any call."""

    outcome = "refused"


def met(error: WorkspaceError) -> str:
    """What a call met with, in one word that counts can be kept by."""
    return "unsent" if error.outcome == "unsent" else type(error).__name__.lower()


def outcome(error: BaseException | None) -> Outcome:
    """What came of a mutation that ended so; None is a call that returned."""
    if error is None:
        return "done"
    return error.outcome if isinstance(error, WorkspaceError) else "open"
