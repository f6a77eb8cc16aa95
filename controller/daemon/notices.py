"""What of the journal is worth telling people at once, and in which words.

A notice is what the event's own sentence says, of what, and the command to look with. Names and
reasons are others' text: they are told as text, whatever a receiver would make of it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controller.notify import SEVERITIES, Severity
from controller.record.lines import Line
from controller.record.redaction import printable
from states.machine import State

LONGEST: Final = 1000
"""Characters of a sentence that are told; the rest is in the journal."""
KINDS: Final = 8
"""Lines of a summary at most."""
_WORDS: Final[Mapping[str, str]] = {
    "config.refused": "has a configuration that is refused",
    "endpoint.foreign_change": "changed by others",
    "evidence.blind": "blind: the gate is shut",
    "fuse.blown": "fuse blown",
    "gate.verdict": "a guard that only observes has failed",
    "order.refused": "an order was refused",
    "release.confirmed": "confirmed",
    "release.post_mortem": "what users met",
    "replay.finished": "replay did not pass",
    "staging.left": "staging endpoint left",
    "tests.finished": "golden queries did not pass",
}
_SETTLED: Final[Mapping[str, str]] = {
    State.PRODUCTION.value: "in production",
    State.ROLLED_BACK.value: "users are back",
}
_TOLD_OTHERWISE: Final = ("gate.verdict",)
"""At level error: the rollback that follows in the same commit says the same."""
_ANSWERS: Final = ("release.freed", "order.given")
"""With these what asked a person is over."""
# Mentions, links that show another address, and code: the marks of chats and mail alike.
_MARKS: Final = str.maketrans(
    {"<": "\u2039", ">": "\u203a", "@": "\uff20", "`": "'", "[": "(", "]": ")", "|": "\u00a6"}
)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent."""

    severity: Severity
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell, of one row of the journal."""

    seq: int
    at: datetime
    severity: Severity
    subject: str
    what: str
    key: str
    """What is said, but for its numbers: said once, and not at each look.

    Of whom, and whether a person is asked, comes first: `answered` names what is over by that.
    """
    message: Message


@dataclass
class Summary:
    """Many things, of which no more than their kinds is told."""

    since: datetime
    until: datetime
    severity: Severity = "info"
    kinds: Counter[str] = field(default_factory=Counter)
    newest: str = ""

    def add(self, notice: Notice) -> None:
        """Count one more."""
        self.until = notice.at
        self.severity = max(self.severity, notice.severity, key=SEVERITIES.index)
        self.kinds[notice.what] += 1
        self.newest = notice.message.title

    @property
    def message(self) -> Message:
        """The summary in words."""
        count = self.kinds.total()
        told = [f"{number}: {what}" for what, number in self.kinds.most_common(KINDS)]
        if len(self.kinds) > KINDS:
            told.append(f"{count - sum(n for _, n in self.kinds.most_common(KINDS))}: others")
        span = f"{self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"
        lines = [f"From {span}, too many to tell one by one:", *told, f"The last: {self.newest}"]
        return Message(
            severity=self.severity,
            title=f"Headgate: {count} {'thing' if count == 1 else 'things'} happened",
            body="\n".join([*lines, "Look: headgate status"]),
        )


def notice_of(line: Line) -> Notice | None:
    """What a row of the journal has to tell people; None for nothing."""
    event, level = line["event"], line.get("level", "info")
    what = _what(line)
    if what is None:
        return None
    severity: Severity = next((one for one in SEVERITIES if one == level), "info")
    release, application = line.get("release"), line.get("application")
    subject, asks = _subject(line), _asks(line)
    because, at = text_of(line.get("because", "")), datetime.fromisoformat(line["timestamp"])
    look = f"headgate explain {text_of(release)}" if release else "headgate status"
    if application and not release:
        look += f" {text_of(application)}"
    # The same wording may ask nobody at first, and a person later.
    about = _asking(subject) if asks else f"{subject} tells "
    wording = "".join(one for one in because if not one.isdigit() and one not in ".,")
    place = f"{line.get('attempt')} {line.get('state')} {line.get('step')}"
    return Notice(
        seq=int(line["seq"]),
        at=at,
        severity=severity,
        subject=subject,
        what=what,
        key=f"{about}{event} {place} {wording}"[:LONGEST],
        message=Message(
            severity=severity,
            title=f"Headgate: {subject} {what}",
            body=f"{because}\n{subject}, {at:%Y-%m-%d %H:%M:%S} UTC\nLook: {look}",
        ),
    )


def answered(line: Line) -> str | None:
    """How the keys begin of what is over, where a row tells that nobody is asked any more.

    What asks a person is gone, or a person has spoken: if it comes again, it is another one.
    """
    return _asking(_subject(line)) if line["event"] in _ANSWERS else None


def _subject(line: Line) -> str:
    return text_of(line.get("release") or line.get("application") or "the daemon")


def _asking(subject: str) -> str:
    return f"{subject} asks "


def _asks(line: Line) -> bool:
    """Whether a person must act; of an application without a release, its hold says so."""
    return bool(line.get("needs_person", "application_hold" in line))


def _what(line: Line) -> str | None:
    """What it is, in a few words; None for what nobody is told of at once."""
    event, level, state = line["event"], line.get("level", "info"), line.get("state")
    if event == "release.settled":
        return _SETTLED.get(str(state))
    if level == "info" and event != "release.confirmed":
        return None
    if event in _TOLD_OTHERWISE and level == "error":
        return None
    if event == "release.transition":
        return "rolled back" if line.get("to_state") == State.ROLLED_BACK else str(state)
    if event == "release.held":
        return "held: a person must act" if line.get("needs_person") else "held"
    return _WORDS.get(event, event)


def text_of(value: object) -> str:
    """Others' words as one line of plain text, which mentions nobody and links nowhere else."""
    told = printable(str(value)).translate(_MARKS)
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}\u2026"
