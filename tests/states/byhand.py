"""Records of an endpoint that has been looked after for hours, and one look at it by hand."""

from dataclasses import replace
from datetime import timedelta

from policies.verdict import RULES, Verdict
from states.plan import Event
from states.release import Application, Release
from states.turn import Turn
from states.world import Absent, Endpoint, Serving
from tests.states import records
from tests.states.story import START
from tests.states.test_desired import STABLE, TRIED

NOW = START + timedelta(hours=3)
NAME = "rag-chatbot-endpoint"


def candidate(**facts: object) -> Release:
    """Version 2, on trial or after it, with quick steps."""
    return replace(TRIED, **facts)  # type: ignore[arg-type]


def record(*releases: Release, **facts: object) -> Application:
    """Version 1 is stable, with its release, beside what is under way."""
    return replace(records.application(STABLE, *releases), **facts)  # type: ignore[arg-type]


def beginning(*releases: Release, **facts: object) -> Application:
    """Nothing was ever proven: a first release, or what came of it."""
    return record(**({"stable": None, "releases": releases} | facts))


def shown(served: Serving | None = None, **facts: object) -> Endpoint:
    """The endpoint as its seventh configuration, all that it serves ready."""
    return records.endpoint(served, **({"created_ms": 1, "config_version": 7} | facts))


def turn(known: Application, seen: Endpoint | Absent | None, **outside: object) -> Turn:
    """A look at NOW, with the alias at version 1; None: the endpoint is not seen."""
    return records.turn(known, seen, **({"now": NOW, "alias": "1"} | outside))


def event(
    name: str, release: Release | None, because: str, level: str = "info", **fields: object
) -> Event:
    """A line of the log about a release, or about none."""
    key = (release.version, release.attempt) if release else None
    return Event(name=name, release=key, level=level, because=because, fields=fields)  # type: ignore[arg-type]


def judged(release: Release, verdict: Verdict, level: str = "info", **inputs: object) -> Event:
    """The line of a verdict, with all that it rests on."""
    return event(
        "gate.verdict",
        release,
        verdict.because,
        level,
        guard=verdict.guard,
        verdict=verdict.outcome.value,
        as_of_block=len(release.blocks),
        rules=RULES,
        **inputs,
        **verdict.numbers,
    )
