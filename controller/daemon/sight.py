"""Seeing one endpoint: read by itself, or known not to have changed since it was."""

from dataclasses import dataclass

from controller.workspace.listing import Listing
from controller.workspace.serving import Endpoints
from states.world import Absent, Endpoint


@dataclass(slots=True)
class Sight:
    """One application's endpoint, and how the list showed it right before it was last read."""

    endpoints: Endpoints
    listing: Listing | None = None
    """None: each look reads the endpoint itself."""
    _form: bytes | None = None
    _read: Endpoint | None = None

    def read(self, name: str, *, idle: bool) -> Endpoint | Absent:
        """The endpoint as it is now; of one that is not `idle`, nothing is asked but this."""
        # Before the endpoint is read: what happens in between is then seen in the next list.
        form = self.listing.form(name) if self.listing is not None and idle else None
        seen = self.endpoints.observe(name)
        if form is not None and form == self._form and _differs(self._read, seen):
            self._doubt(name, form)
        return self._remember(form, seen)

    def glance(self, name: str) -> Endpoint | Absent:
        """The same, from memory where the list shows that nothing has happened to it."""
        form = self.listing.form(name) if self.listing is not None else None
        if form is not None and form == self._form and self._read is not None:
            return self._read
        return self._remember(form, self.endpoints.observe(name))

    def _remember(self, form: bytes | None, seen: Endpoint | Absent) -> Endpoint | Absent:
        """Only what is at rest can stay as it is without an update by anybody."""
        rests = isinstance(seen, Endpoint) and _rests(seen)
        self._form = form if rests else None
        self._read = seen if rests and isinstance(seen, Endpoint) else None
        return seen

    def _doubt(self, name: str, form: bytes) -> None:
        """It has changed, but the list is the same: unless it has only changed since."""
        assert self.listing is not None, "there is a form"
        self.listing.forget()
        if self.listing.form(name) == form:
            self.listing.mistrust(name)


def _rests(seen: Endpoint) -> bool:
    """Nothing is under way, and all that is there is ready."""
    waits = seen.updating or seen.update_failed or seen.failed or seen.pending is not None
    return not waits and seen.ready == seen.serving.shares.keys()


def _differs(before: Endpoint | None, seen: Endpoint | Absent) -> bool:
    """In what users get: Databricks' own rebuilds are no update by a user."""
    if before is None or not isinstance(seen, Endpoint):
        return before is not None
    return (before.serving, before.fallback) != (seen.serving, seen.fallback)
