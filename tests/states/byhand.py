"""One look made by hand: a record, what is seen of the endpoint, and what is said of both."""

from dataclasses import replace
from datetime import timedelta

from states.plan import Event
from states.release import Application, Release
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, World
from tests.states.story import SPEC, START, serving
from tests.states.test_desired import STABLE, TRIED

NOW = START + timedelta(hours=3)
NAME = "rag-chatbot-endpoint"


def candidate(**facts: object) -> Release:
    """Version 2, on trial or after it."""
    return replace(TRIED, **facts)  # type: ignore[arg-type]


def record(*releases: Release, **facts: object) -> Application:
    """Version 1 is stable, beside what is under way."""
    made = Application(
        name="rag-chatbot", spec=SPEC, adopted=True, stable="1", releases=(STABLE, *releases)
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def beginning(*releases: Release, **facts: object) -> Application:
    """Nothing was ever proven: a first release, or what came of it."""
    return record(**({"stable": None, "releases": releases} | facts))


def shown(served: Serving | None = None, **facts: object) -> Endpoint:
    """The endpoint, seen with all that it serves ready."""
    served = serving(v1=100) if served is None else served
    made = Endpoint(
        serving=served, id="first", created_ms=1, config_version=7, ready=frozenset(served.shares)
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def turn(application: Application, endpoint: Endpoint | Absent | None, **facts: object) -> Turn:
    """A look at that endpoint; None: it was not to be seen."""
    world = World(now=NOW, endpoint=endpoint, alias="1")
    trusted = endpoint if isinstance(endpoint, Endpoint) else None
    return Turn(application, replace(world, **facts), trusted)  # type: ignore[arg-type]


def event(
    name: str, release: Release | None, because: str, level: str = "info", **fields: object
) -> Event:
    """An event, whole."""
    key = (release.version, release.attempt) if release else None
    return Event(name=name, release=key, level=level, because=because, fields=fields)  # type: ignore[arg-type]
