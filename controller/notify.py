"""Who is told of what happens: the file that HEADGATE_NOTIFY_FILE names.

    receivers:
      oncall:
        url: slack://TokenA/TokenB/TokenC/#releases
        severity: warning
        applications: [rag-chatbot]

A receiver's address is one of apprise's, and a secret: the file is for its owner only, and nothing
of it but the receivers' names is ever shown.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator

from controller.places import Place, lines, meant, sentences
from controller.sections.base import NAME, Strict
from controller.settings import SettingsError, parsed, private_text

VARIABLE = "HEADGATE_NOTIFY_FILE"
MOST = 16
"""Receivers at most: each has a thread."""
Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the least to the worst, as the journal's levels are called."""


class ReceiverSettings(Strict):
    """One address, and what is of interest there."""

    url: SecretStr = Field(min_length=1)
    severity: Severity = "warning"
    """The least that is told."""
    applications: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Of which applications; None: of all, and of the daemon itself."""

    def wants(self, severity: Severity, application: str | None) -> bool:
        """Whether something of this severity, and of this application, is told here."""
        if SEVERITIES.index(severity) < SEVERITIES.index(self.severity):
            return False
        return self.applications is None or application in self.applications


class NotifySettings(Strict):
    """The whole file."""

    receivers: dict[str, ReceiverSettings] = Field(min_length=1, max_length=MOST)

    @field_validator("receivers")
    @classmethod
    def _named(cls, receivers: dict[str, ReceiverSettings]) -> dict[str, ReceiverSettings]:
        if not all(NAME.match(name) for name in receivers):
            raise ValueError("name each receiver with 1 to 63 letters, digits, - and _")
        return receivers

    def check(self, applications: Mapping[str, object]) -> None:
        """See that the applications that receivers name are there; SettingsError if not."""
        for name, one in self.receivers.items():
            unknown = [app for app in one.applications or () if app not in applications]
            if unknown:
                raise SettingsError(
                    f"{VARIABLE}: receivers.{name}.applications: {unknown[0]} is not in the "
                    f"configuration{meant(unknown[0], list(applications))}"
                )


def read(environ: Mapping[str, str] = os.environ) -> NotifySettings | None:
    """The receivers, or a sentence that names the place and shows no secret; None without them."""
    if not environ.get(VARIABLE):
        return None
    path = Path(environ[VARIABLE])
    text = private_text(VARIABLE, path)
    try:
        node, value, doubled = parsed(path, text)
    except SettingsError as error:
        # What YAML's own error shows of the text may be an address.
        raise SettingsError(str(error)) from None
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: start with `receivers:` and name one below it")
    if doubled:
        key, line = doubled
        raise SettingsError(f"{path}:{line}: {_shown(key)} is given twice")
    try:
        return NotifySettings.model_validate(value)
    except ValidationError as error:
        known = lines(node, ()) if node else {}
        shown = {tuple(_shown(part) for part in place): line for place, line in known.items()}
        details = [_harmless(detail) for detail in error.errors(include_input=False)]
        raise SettingsError(sentences(path, shown, details, NotifySettings)) from None


def _harmless(detail: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's
    """A complaint whose place shows nothing that may be an address, put in the wrong place."""
    place: Place = tuple(_shown(part) for part in detail["loc"])
    return {**detail, "loc": place}


def _shown(part: str | int) -> str | int:
    return part if isinstance(part, int) or NAME.match(part) else "(a key that is not a name)"
