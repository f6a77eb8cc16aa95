"""Marks on Headgate's own requests, by which their rows are known in the inference table.

A marker is a `client_request_id`: `headgate/APPLICATION/ENTITY/UNIQUE`. Databricks logs it as
sent. The names have no slash in them, so one prefix cannot be the beginning of another's name.
"""

from urllib.parse import quote
from uuid import uuid4

OWN = "headgate/"
"""How every marker begins, of every application."""
REPLAYED = "replay-"
"""How the unique part begins of what was replayed; the recorded request's id follows."""


def prefix(application: str, entity: str) -> str:
    """How all markers of one served entity of an application begin."""
    return f"{OWN}{quote(application, safe='')}/{quote(entity, safe='')}/"


def replay_marker(application: str, entity: str, request: str) -> str:
    """The marker of a recorded request that is asked again: both answers are found by it."""
    return f"{prefix(application, entity)}{REPLAYED}{quote(request, safe='')}"


def marker(application: str, entity: str) -> str:
    """A new marker for one request."""
    return prefix(application, entity) + str(uuid4())
