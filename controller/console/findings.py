"""What a look at the workspace came to: findings, their exit code, and how they are shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.text import Text

from controller.record.redaction import printable
from controller.workspace.errors import Denied, Unreachable, WorkspaceError

Mark = Literal["ok", "warn", "stops", "skip"]
Seen = TypeVar("Seen")

CONFIGURATION, PERSON, WORKSPACE, STORE = 2, 3, 5, 6
"""Exit codes of what stops a release: settings, a person must act, unreachable, the store."""
WORST = (CONFIGURATION, STORE, WORKSPACE, PERSON)
"""In the order in which the daemon would meet them."""
STYLES = {"ok": "green", "warn": "yellow", "stops": "red", "skip": "dim"}
DENIED = ("permission denied", "status 403")
"""Words of an error that says who asks may not; a refused token is another matter."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and the remedy where it is not well."""

    mark: Mark
    application: str | None
    """None: it concerns them all."""
    what: str
    found: str
    remedy: str | None = None
    code: int = 0
    """The exit code that it asks for; 0 unless it stops a release."""


@dataclass
class Report:
    """The findings so far, in the order in which they were made."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The worst of what stops a release; 0 where nothing does."""
        codes = {finding.code for finding in self.findings}
        return next((code for code in WORST if code in codes), 0)

    def about(self, application: str | None) -> "Section":
        """Where the findings of one application go, or of all."""
        return Section(self, application)

    def as_json(self) -> dict[str, Any]:
        """The report as `--json` prints it."""
        keys = ("application", "mark", "what", "found", "remedy")
        lines = [{key: getattr(one, key) for key in keys} for one in self.findings]
        return {"schema": 1, "exit_code": self.exit_code, "findings": lines}

    def show(self, console: Console) -> None:
        """Print one line per finding under its application's name."""
        above: str | None = ""
        for finding in self.findings:
            if finding.application != above:
                above = finding.application
                title = "workspace and store" if above is None else above
                console.print(Text(printable(title), style="bold"), soft_wrap=True)
            console.print(_line(finding), soft_wrap=True)


@dataclass(frozen=True)
class Section:
    """Adds findings of one application."""

    report: Report
    application: str | None

    def ok(self, what: str, found: str) -> None:
        """It is as a release needs it."""
        self._add("ok", what, found)

    def warn(self, what: str, found: str, remedy: str) -> None:
        """It stops nothing, and deserves a look."""
        self._add("warn", what, found, remedy)

    def stops(self, what: str, found: str, remedy: str, code: int = PERSON) -> None:
        """A release would not get past it."""
        self._add("stops", what, found, remedy, code)

    def skip(self, what: str, why: str) -> None:
        """Nothing was looked at."""
        self._add("skip", what, f"not looked at: {why}")

    def trouble(self, what: str, error: WorkspaceError, remedy: str, *, warns: bool) -> None:
        """A look that failed; `remedy` is for a refused permission, where it is exact."""
        found, _, usual = str(error).rpartition(": ")
        lacks = isinstance(error, Denied) and any(words in str(error) for words in DENIED)
        if lacks:
            found, usual = DENIED[0], remedy
        if warns:
            self.warn(what, found, usual)
        else:
            unheard = isinstance(error, Unreachable | Denied) and not lacks
            code = WORKSPACE if unheard else PERSON
            self.stops(what, found, usual, code)

    def look(
        self, what: str, look: Callable[[], Seen], remedy: str, *, warns: bool = False
    ) -> Seen | None:
        """What a look brings, or None and a finding."""
        try:
            return look()
        except WorkspaceError as error:
            self.trouble(what, error, remedy, warns=warns)
            return None

    def _add(
        self, mark: Mark, what: str, found: str, remedy: str | None = None, code: int = 0
    ) -> None:
        finding = Finding(
            mark=mark,
            application=self.application,
            what=what,
            found=found,
            remedy=remedy,
            code=code,
        )
        self.report.findings.append(finding)


def _line(finding: Finding) -> Text:
    told = f"{finding.what}: {finding.found}"
    if finding.remedy is not None:
        told += f": {finding.remedy}"
    line = Text(f"  {finding.mark:<5} ", style=STYLES[finding.mark])
    return line.append(printable(told), style="default")
