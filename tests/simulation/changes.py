"""A person is called for what somebody has done, and not for what nobody has.

Each part of a change that is shown as somebody else's has a cause that was written down by whoever
made it so: the product's own words are no witness.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from states.difference import Change
from states.release import Application
from tests.simulation.causes import CALL, DELETION
from tests.simulation.looks import Look
from tests.simulation.platform import Platform

HARMLESS = frozenset(
    {"rebuild", "wall_jump", "crash", "crash_at_call", "stale", "unanswered", "flaps", "resume"}
)
"""Faults that nobody is called for: they change nothing but time, or what is soon seen anew."""


@dataclass
class Changes:
    """What is said to have been changed by others, in one run."""

    platform: Platform
    situations: Counter[str]
    plain: bool
    """Nothing in how the run begins asks for a person."""
    endpoint_by: dict[str, str] = field(default_factory=dict)
    alias_by: dict[str, str] = field(default_factory=dict)
    """By replica: who made what it was shown last."""

    def shown_endpoint(self, actor: str, by: str) -> None:
        """A replica is shown an endpoint that serves what somebody made it serve."""
        self.endpoint_by[actor] = by

    def shown_alias(self, actor: str, by: str) -> None:
        """A replica is shown an alias that somebody made name a version."""
        self.alias_by[actor] = by

    def told(self, actor: str, look: Look, before: Application, after: Application) -> None:
        """A change by others is told: each part that is new in it was made by somebody."""
        change, known = after.change, before.change or Change(number=0)
        if change is None:
            self._before_adoption(actor, after)
            return
        if change.endpoint and change.endpoint != known.endpoint:
            self._count("endpoint", self._of_endpoint(actor, look, beside=bool(known.endpoint)))
        if change.alias and change.alias != known.alias:
            self._count("alias", self._of_alias(actor, beside=bool(known.alias)))
        if change.registry and change.registry != known.registry:
            self._count("registry", self._of_registry(look, before.incumbent or ""))

    def _before_adoption(self, actor: str, after: Application) -> None:
        """What cannot be adopted as it is was made so by somebody."""
        assert not after.adopted, "what is told is not written down"
        makers = {self.endpoint_by.get(actor, CALL), self.alias_by.get(actor, CALL)} - {CALL}
        self._count("endpoint before adoption", ", ".join(sorted(makers)))

    def _count(self, part: str, by: str) -> None:
        assert by, f"the {part} is said to be changed by someone else, and nobody has"
        self.situations[f"foreign change of the {part}: {by}"] += 1

    def _of_endpoint(self, actor: str, look: Look, *, beside: bool) -> str:
        """Who made what was seen; empty, where it was nobody but the product itself."""
        by = self.endpoint_by[actor]
        if by != CALL:
            return by
        if look.serving is not None:
            late = self.platform.causes.served_by(look.serving, look.at)
            if late:
                return late
        return "a call beside a change" if beside else ""

    def _of_alias(self, actor: str, *, beside: bool) -> str:
        by = self.alias_by[actor]
        if by != CALL:
            return by
        return "a call beside a change" if beside else ""

    def _of_registry(self, look: Look, version: str) -> str:
        """Somebody deleted it; or it is a stranger's that was served, adopted, and never there."""
        if int(version) in self.platform.versions:
            return ""
        deleted = self.platform.causes.was("version_gone", version, 0.0, look.at)
        return DELETION if deleted else "of a stranger"

    def calls_for_a_person(self, why: str, struck: Collection[str]) -> None:
        """Where nothing has happened that matters, nobody is called."""
        kinds = {key.rsplit(":", 1)[-1] for key in struck}
        assert not self.plain or kinds - HARMLESS, f"nothing has happened, and it is held: {why}"
