"""Records made by hand, and one turn on them: for what a story takes many looks to come to."""

from dataclasses import replace

from policies.rollout import Rollout
from states.machine import State, Trigger
from states.pinned import Pinned
from states.plan import Event, Level
from states.release import Application, Release
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, World
from tests.states.story import SPEC, START, serving

PINNED = Pinned(
    baseline="1",
    incumbent="1",
    rollout=Rollout(),
    guards=SPEC.guards,
    tests=SPEC.tests,
    max_lag=SPEC.max_lag,
    provisioning_deadline=SPEC.provisioning_deadline,
    testing_deadline=SPEC.testing_deadline,
)
KEY = "rag-chatbot/2"


def release(state: State = State.CANARY, **facts: object) -> Release:
    """Version 2, on its way."""
    pinned = None if state is State.REGISTERED else PINNED
    made = Release(application="rag-chatbot", version="2", state=state, since=START, pinned=pinned)
    return replace(made, **facts)  # type: ignore[arg-type]


def stable(number: int = 1, **facts: object) -> Release:
    """A version that has the users, and was watched to the end."""
    made = release(State.PRODUCTION, version=str(number), confirmed=True, weight_seen=100)
    return replace(made, **facts)  # type: ignore[arg-type]


def application(*releases: Release, **facts: object) -> Application:
    """Version 1 is stable, beside what is under way."""
    made = Application(name="rag-chatbot", spec=SPEC, adopted=True, stable="1", releases=releases)
    return replace(made, **facts)  # type: ignore[arg-type]


def endpoint(found: Serving | None = None, **facts: object) -> Endpoint:
    """An endpoint at rest, of which all is ready that it serves."""
    served = serving(v1=100) if found is None else found
    made = Endpoint(serving=served, id="first", ready=frozenset(served.shares))
    return replace(made, **facts)  # type: ignore[arg-type]


def turn(known: Application, seen: Endpoint | Absent | None = None, **outside: object) -> Turn:
    """A turn at START in which this is the endpoint; None: it is not seen."""
    world = replace(World(now=START, endpoint=seen), **outside)  # type: ignore[arg-type]
    return Turn(known, world, seen if isinstance(seen, Endpoint) else None)


def told(
    name: str,
    because: str,
    *,
    level: Level = "info",
    version: str = "2",
    attempt: int = 1,
    **fields: object,
) -> Event:
    """A line of the log about version 2, or another."""
    return Event(name=name, release=(version, attempt), level=level, because=because, fields=fields)


def moved(  # noqa: PLR0913 - a move has so many parts
    trigger: Trigger,
    before: State,
    after: State,
    because: str,
    *,
    level: Level = "info",
    version: str = "2",
) -> Event:
    """The line that tells of an arrow of the state machine."""
    return told(
        "release.transition",
        because,
        level=level,
        version=version,
        from_state=before.value,
        to_state=after.value,
        trigger=trigger.value,
    )
