"""What reconciling brings forth: the next record, what became true, and what to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from states.release import Application
from states.world import Grant, Serving, Size

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that became true: a row of the journal, and a line of the log."""

    name: str
    release: tuple[str, int] | None = None
    """Version and attempt of the release that it tells of; None: of the application."""
    level: Level = "info"
    because: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Serve:
    """Make the endpoint serve exactly this; or create it, where it is absent."""

    serving: Serving
    sizes: Mapping[str, Size] = field(default_factory=dict)
    """By name, of entities that are to have another size than they have, or than is configured."""
    on: str | None = field(default="", compare=False)
    """The id of the endpoint that is meant, if it tells one; None where one is to be created."""
    kind: Literal["serve"] = "serve"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line: equal targets are equal calls."""
        return str(self.serving)


@dataclass(frozen=True)
class MoveAlias:
    """Make the application's alias name this version."""

    version: str
    kind: Literal["alias"] = "alias"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return self.version


@dataclass(frozen=True)
class TagVersion:
    """Set a tag on a model version."""

    version: str
    key: str
    value: str
    kind: Literal["tag"] = "tag"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return f"{self.version} {self.key}={self.value}"


@dataclass(frozen=True)
class SwitchFallbackOff:
    """Switch the fallback of the endpoint's AI Gateway off, and keep the rest of its settings."""

    kind: Literal["gateway"] = "gateway"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return "fallback off"


@dataclass(frozen=True)
class Capture:
    """Let the endpoint's AI Gateway write down what is configured, and keep all else of it."""

    kind: Literal["capture"] = "capture"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return "inference table and usage as configured"


@dataclass(frozen=True)
class Permit:
    """Give permissions on the endpoint, beside those that others have."""

    grants: tuple[Grant, ...]
    kind: Literal["permissions"] = "permissions"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return ", ".join(str(grant) for grant in sorted(self.grants))


@dataclass(frozen=True)
class Apply:
    """Give one entity that serves a size, and all of ours the variables as configured."""

    serving: Serving
    """What is served, and stays so."""
    entity: str
    size: Size
    variables: tuple[str, ...]
    """Their names."""
    on: str = field(default="", compare=False)
    """The id of the endpoint that is meant, if it tells one."""
    kind: Literal["apply"] = "apply"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return f"{self.entity} {self.size}, variables {', '.join(self.variables) or 'none'}"


@dataclass(frozen=True)
class CreateStaging:
    """Make a staging endpoint that serves exactly this; one that is there is left as it is."""

    endpoint: str
    serving: Serving
    release: str
    """What it is made for."""
    number: int
    """Counts the calls for it, so that what comes of this one is known again."""
    kind: Literal["create_staging"] = "create_staging"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return f"{self.endpoint} for {self.release}: {self.serving}"

    @property
    def mark(self) -> str:
        """What the endpoint bears as a tag."""
        return f"{self.release}/{self.number}"


@dataclass(frozen=True)
class RemoveStaging:
    """Delete the staging endpoint that has this id, and no other of its name."""

    endpoint: str
    id: str
    kind: Literal["remove_staging"] = "remove_staging"

    @property
    def target(self) -> str:
        """What is asked, in one canonical line."""
        return f"{self.endpoint} {self.id}"


Call = (
    Serve
    | SwitchFallbackOff
    | MoveAlias
    | TagVersion
    | Capture
    | Permit
    | Apply
    | CreateStaging
    | RemoveStaging
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The outcome of one look: committed first, then acted upon."""

    application: Application
    events: tuple[Event, ...] = ()
    calls: tuple[Call, ...] = ()
    """At most one per kind: one resource, one call, one pass."""
