"""All serving endpoints by one call: whether one may have changed since it was read.

The list (`GET /api/2.0/serving-endpoints`; databricks-sdk 0.156, `ServingEndpoint`) has the state
of each endpoint, its entities, and `last_updated_timestamp`, "when the endpoint was last updated by
a user"; it has no weights and no `config_version`. So it never says what an endpoint is. It says
that nobody has updated one that it shows in the very words in which it did before it was read.

That rests on the words in quotation marks, which nobody has measured on a real workspace. Hence
`mistrust`: whoever finds a change that the list does not show ends the use of it.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from threading import Lock
from typing import Any

import structlog
from databricks.sdk import WorkspaceClient

from controller.steady import steady
from controller.workspace.client import call, translated
from controller.workspace.errors import WorkspaceError

LIST = "/api/2.0/serving-endpoints"
UPDATED = "last_updated_timestamp"
AS_JSON = {"Accept": "application/json"}
WORTH = 10.0
"""A list is believed for so many times as long as it took: that of ten thousand endpoints takes a
second of processor time, and would take all of it if it were asked for each second."""
log = structlog.get_logger()


class Listing:
    """The list, asked for once between two beats, by the first look that needs it."""

    def __init__(self, client: WorkspaceClient, clock: Callable[[], float] = steady) -> None:
        self._client, self._clock = client, clock
        self._asking = Lock()
        self._believed_until = 0.0
        self._forms: Mapping[str, bytes] | None = None
        self._trusted = True

    def renew(self) -> None:
        """A beat begins: what was listed before it says nothing about it, unless just now."""
        if self._clock() >= self._believed_until:
            self.forget()

    def forget(self) -> None:
        """The next look asks for the list anew."""
        with self._asking:
            self._forms = None

    def form(self, name: str) -> bytes | None:
        """How the list shows an endpoint; None where it is not there, or tells too little."""
        with self._asking:
            if self._forms is None:
                self._forms = self._timed() if self._trusted else {}
            return self._forms.get(name)

    def mistrust(self, name: str) -> None:
        """The list is seen not to show a change: each endpoint is asked for by itself again."""
        self._trusted = False
        self.forget()
        log.warning(
            "workspace.list_mistrusted",
            because=f"serving endpoint {name} has changed, and the list of endpoints does not show "
            "it: each endpoint is asked for at every look, until Headgate is started again",
        )

    def _timed(self) -> Mapping[str, bytes]:
        began = self._clock()
        forms = self._ask()
        ended = self._clock()
        self._believed_until = ended + WORTH * (ended - began)
        return forms

    def _ask(self) -> Mapping[str, bytes]:
        """A workspace that cannot tell now is not asked again before the next beat."""
        try:
            with translated("serving endpoints"):
                found = call(self._client, "GET", LIST, headers=AS_JSON, raw=True)
                with found["contents"] as contents:
                    told = json.loads(contents.read(), object_hook=_shrunk)
                listed = told.get("endpoints", ()) if isinstance(told, dict) else ()
                shrunk = (one for one in listed if isinstance(one, tuple))
                return {name: bytes.fromhex(form) for name, form in shrunk}
        except WorkspaceError as error:
            log.warning("workspace.unseen", what="list of endpoints", because=str(error))
            return {}


def _shrunk(one: dict[str, Any]) -> dict[str, Any] | tuple[str, str]:
    """An endpoint's name and form, as soon as it is read: ten thousand whole ones are 40 MB."""
    if "name" not in one or not one.get(UPDATED):
        return one
    form = blake2b(json.dumps(one, sort_keys=True).encode(), digest_size=16)
    return str(one["name"]), form.hexdigest()
