"""States that a release can be in, and what a stranger may do to its endpoint meanwhile."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache

from states.release import Order
from states.world import Absent, Endpoint, Serving, Share
from tests.states.story import MODEL, TABLE, Story, serving

THEIRS = "theirs"
"""An entity of another team's model."""


def at(state: str) -> Story:
    """A story of its own, in which version 2, if there is one, has come to this state."""
    return deepcopy(_reached(state))


@cache
def _reached(state: str) -> Story:
    first = state == "first release"
    story = Story(endpoint=Absent(), alias=Absent()) if first else Story()
    story.look()
    STATES[state](story)
    return story


def _idle(story: Story) -> None:
    story.look()


def _waiting(story: Story) -> None:
    story.register(2, status="PENDING_REGISTRATION")
    story.look()


def _provisioning(story: Story) -> None:
    story.obeys = False
    story.register(2)
    story.look()
    story.obeys = True


def _testing(story: Story) -> None:
    story.register(2)
    story.until("Testing")


def _step(number: int) -> Callable[[Story], None]:
    def reach(story: Story) -> None:
        story.register(2)
        while not (story.release and story.release.step == number and story.live.settled):
            story.look()

    return reach


def _shut(story: Story) -> None:
    _step(1)(story)
    story.table_speaks = False
    while not (story.live.shut and story.live.settled):
        story.look()


def _promoted(story: Story) -> None:
    story.register(2)
    story.until("Production")


def _watched(story: Story) -> None:
    _promoted(story)
    story.look()
    assert story.live.settled


def _going_home(story: Story) -> None:
    _step(1)(story)
    story.order(Order.ABORT)
    story.obeys = False
    story.look()
    story.obeys = True


def _first(story: Story) -> None:
    story.until("Canary")
    story.look()


STATES: dict[str, Callable[[Story], None]] = {
    "none live": _idle,
    "waiting": _waiting,
    "provisioning": _provisioning,
    "testing": _testing,
    "first step": _step(1),
    "third step": _step(3),
    "shut": _shut,
    "baking": _step(4),
    "production unsettled": _promoted,
    "in watch": _watched,
    "going home": _going_home,
    "first release": _first,
}
EXPOSED = ("first step", "third step", "baking", "production unsettled", "in watch")
"""Version 2 has users, and version 1 is there to go back to."""
ON_TRIAL = (*EXPOSED, "shut", "first release")


def shares(story: Story) -> dict[str, Share]:
    """What is served now."""
    assert isinstance(story.endpoint, Endpoint)
    return dict(story.endpoint.serving.shares)


def serve(story: Story, changed: dict[str, Share]) -> None:
    """Somebody changes the configuration by hand."""
    story._activate(Serving(changed))


def move(story: Story, giver: str, taker: str, percent: int) -> None:
    """Somebody gives users of one entity to another."""
    now = shares(story)
    now[giver] = replace(now[giver], weight=now[giver].weight - percent)
    now[taker] = replace(now[taker], weight=now[taker].weight + percent)
    serve(story, now)


ONE, TWO = "rag_chatbot-v1", "rag_chatbot-v2"


def _add(name: str, model: str, version: str, percent: int) -> Callable[[Story], None]:
    def act(story: Story) -> None:
        now = {**shares(story), name: Share(model=model, version=version, weight=0)}
        giver = ONE if ONE in now and now[ONE].weight >= percent else TWO
        serve(story, now)
        move(story, giver, name, percent)

    return act


def _remove(gone: str, heir: str) -> Callable[[Story], None]:
    def act(story: Story) -> None:
        move(story, gone, heir, shares(story)[gone].weight)
        serve(story, {name: one for name, one in shares(story).items() if name != gone})

    return act


def _swap(name: str) -> Callable[[Story], None]:
    """An entity gets another version, and keeps its name and its users."""

    def act(story: Story) -> None:
        story.register(7, **{"headgate.state": "RolledBack"})
        now = shares(story)
        serve(story, {**now, name: replace(now[name], version="7")})

    return act


def _fallback(story: Story) -> None:
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, fallback=True)


def _alias(value: str | Absent) -> Callable[[Story], None]:
    def act(story: Story) -> None:
        story.alias = value

    return act


def _delete(number: int) -> Callable[[Story], None]:
    """A version goes, and its aliases with it; another one is there still."""

    def act(story: Story) -> None:
        story.register(3, **{"headgate.state": "RolledBack"})
        del story.versions[number]
        if story.alias == str(number):
            story.alias = Absent()

    return act


def _gone(story: Story) -> None:
    story.endpoint = Absent()


def _anew(story: Story) -> None:
    """Deleted, and made by somebody with a version of theirs, between two looks."""
    story.register(7, **{"headgate.state": "RolledBack"})
    story.endpoint = Endpoint(
        serving=serving(v7=100),
        id="another",
        created_ms=int(story.now.timestamp() * 1000),
        config_version=1,
        ready=frozenset({"rag_chatbot-v7"}),
        inference_table=TABLE,
    )


def deployed_by_a_job(story: Story) -> None:
    """What the template of Databricks' deployment jobs does: one entity, the new version."""
    if 2 not in story.versions:
        story.register(2)
    serve(story, {"rag_chatbot-2": Share(model=MODEL, version="2", weight=100)})


def _resized(story: Story) -> None:
    story.room = 64


def _rebuilt(story: Story) -> None:
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, config_version=story.endpoint.config_version + 1)


EDITS: dict[str, Callable[[Story], None]] = {
    "another model at 0 %": _add(THEIRS, "main.other.model", "4", 0),
    "another version at 0 %": _add("by-hand", MODEL, "7", 0),
    "another version with users": _add("by-hand", MODEL, "7", 3),
    "version 2 removed": _remove(TWO, ONE),
    "version 1 removed": _remove(ONE, TWO),
    "version 1 swapped": _swap(ONE),
    "version 2 swapped": _swap(TWO),
    "weight raised": lambda story: move(story, ONE, TWO, 3),
    "weight lowered": lambda story: move(story, TWO, ONE, 3),
    "version 1 at 100 %": lambda story: move(story, TWO, ONE, shares(story)[TWO].weight),
    "fallback on": _fallback,
    "alias moved": _alias("9"),
    "alias deleted": _alias(Absent()),
    "version 2 deleted": _delete(2),
    "version 1 deleted": _delete(1),
    "endpoint deleted": _gone,
    "endpoint made anew": _anew,
    "size changed": _resized,
    "rebuilt": _rebuilt,
}


ALONE = ("none live", "waiting", "provisioning", "first release")
"""Version 2 is not on the endpoint."""
WHOLE = ("baking", "production unsettled", "in watch")
"""Version 2 has all users."""


def _lowered(state: str) -> str | None:
    if state in EXPOSED:
        return "abort"
    return "closed" if state == "going home" else None


def _removed(state: str) -> str | None:
    return None if state in ALONE else _lowered(state) if state in EXPOSED else "shown"


def _raised(state: str) -> str | None:
    closed = state in ("going home", "shut")
    return None if state in (*ALONE, *WHOLE, "testing") else "closed" if closed else "shown"


def _base_removed(state: str) -> str | None:
    closed = state in ("going home", "shut")
    return None if state in ALONE else "closed" if closed else "shown"


def _swapped(state: str) -> str | None:
    # Of one that has users it is an abort, and what was put in its place is shown.
    return None if state in (*ALONE, *EXPOSED) else "shown"


def _hidden(state: str) -> str | None:
    # In Testing it keeps the gate from being opened, as ever.
    return "shown" if state in ON_TRIAL else None if state == "testing" else "nothing"


OUTCOMES: dict[str, Callable[[str], str | None]] = {
    "another version with users": lambda state: None if state in WHOLE else "shown",
    "version 2 removed": _removed,
    "version 1 removed": _base_removed,
    "version 2 swapped": _swapped,
    "weight raised": _raised,
    "weight lowered": _lowered,
    "version 1 at 100 %": _lowered,
    "fallback on": _hidden,
    "alias moved": lambda state: None if state == "first release" else "shown",
    "alias deleted": lambda state: None if state == "first release" else "shown",
    "version 2 deleted": lambda s: None if s in ("none live", "first release") else "home",
    "version 1 deleted": lambda state: None if state == "first release" else "shown",
    "size changed": lambda _: "nothing",
    "rebuilt": lambda _: "nothing",
}


def expected(state: str, edit: str) -> str | None:
    """What must come of it: shown, nothing, an abort, home, or users taken back at once (closed).

    None: it cannot be, or has a test of its own.
    """
    return OUTCOMES[edit](state) if edit in OUTCOMES else "shown"
