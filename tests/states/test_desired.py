"""What the endpoint and the alias should be, state by state."""

from dataclasses import replace

import pytest

from states.desired import closed, desired, desired_alias, exposure
from states.machine import State
from states.release import ENTITY_NAME_LENGTH, Application, Release
from states.spec import Spec
from states.world import Serving, Share
from tests.states import records
from tests.states.story import MODEL, QUICK, SPEC, START, serving

PINNED = replace(records.PINNED, rollout=QUICK)
STABLE = Release(
    application="rag-chatbot",
    version="1",
    state=State.PRODUCTION,
    confirmed=True,
    since=START,
)
TRIED = Release(application="rag-chatbot", version="2", pinned=PINNED, since=START, settled=False)


def with_trial(release: Release) -> Application:
    """Version 1 is stable, and a release of version 2 is in some state."""
    return Application(name="rag-chatbot", spec=SPEC, stable="1", releases=(STABLE, release))


@pytest.mark.parametrize(
    ("release", "served", "alias"),
    [
        (TRIED, serving(v1=100), "1"),
        (replace(TRIED, state=State.PROVISIONING), serving(v1=100, v2=0), "1"),
        (replace(TRIED, state=State.TESTING), serving(v1=100, v2=0), "1"),
        (replace(TRIED, state=State.CANARY, step=1), serving(v1=95, v2=5), "1"),
        (replace(TRIED, state=State.CANARY, step=3), serving(v1=50, v2=50), "1"),
        (replace(TRIED, state=State.CANARY, step=3, shut=True), serving(v1=100, v2=0), "1"),
        (replace(TRIED, state=State.CANARY, step=4), serving(v1=0, v2=100), "1"),
        (replace(TRIED, state=State.PRODUCTION), serving(v1=0, v2=100), "2"),
        (replace(TRIED, state=State.ROLLED_BACK), serving(v1=100, v2=0), "1"),
        (replace(TRIED, state=State.ROLLED_BACK, removed=True), serving(v1=100), "1"),
        (replace(TRIED, state=State.RETIRED, settled=True), serving(v1=100), "1"),
    ],
)
def test_each_state_of_the_live_release_wants_its_row_of_the_table(
    release: Release, served: Serving, alias: str
) -> None:
    application = with_trial(release)
    assert desired(application) == served
    assert desired_alias(application) == alias


def test_nothing_is_wanted_while_nothing_is_known() -> None:
    nothing = Application(name="rag-chatbot", spec=SPEC)
    assert desired(nothing) is None
    assert desired_alias(nothing) is None


def test_a_first_release_has_all_users_from_creation() -> None:
    alone = replace(PINNED, baseline=None, incumbent=None)
    first = replace(TRIED, version="1", state=State.PROVISIONING, pinned=alone)
    application = Application(name="rag-chatbot", spec=SPEC, releases=(first,))
    assert desired(application) == serving(v1=100)
    gone = replace(application, releases=(replace(first, state=State.ROLLED_BACK),))
    assert desired(gone) is None, "what never served is asked for no more"


def test_a_version_that_lost_its_traffic_is_kept_until_it_is_removed() -> None:
    ended = replace(TRIED, state=State.ROLLED_BACK, settled=True, ended_at=START)
    assert desired(with_trial(ended)) == serving(v1=100, v2=0)
    assert desired(with_trial(replace(ended, removed=True))) == serving(v1=100)


def test_what_others_put_there_at_0_percent_is_carried() -> None:
    theirs = Serving({"theirs": Share(model="main.other.model", version="4", weight=0)})
    application = replace(with_trial(replace(TRIED, state=State.CANARY, step=2)), carried=theirs)
    wanted = desired(application)
    assert wanted is not None
    assert wanted.weight("theirs") == 0
    assert set(wanted.shares) == {"theirs", "rag_chatbot-v1", "rag_chatbot-v2"}


def test_a_stable_version_that_had_failed_before_still_has_the_traffic() -> None:
    """An earlier attempt is retained at 0 %; the attempt that succeeded is what serves."""
    failed = replace(TRIED, state=State.ROLLED_BACK, settled=True, ended_at=START)
    again = replace(TRIED, attempt=2, state=State.PRODUCTION, confirmed=True)
    third = replace(TRIED, version="3", state=State.CANARY, step=1)
    application = Application(
        name="rag-chatbot", spec=SPEC, stable="2", releases=(failed, again, third)
    )
    assert desired(application) == serving(v2=95, v3=5)


def test_no_alias_is_wanted_where_it_is_not_ours_to_set() -> None:
    spec = replace(SPEC, alias=None)
    assert desired_alias(replace(with_trial(TRIED), spec=spec)) is None


def test_entity_names_are_as_found_else_deterministic_and_short_enough() -> None:
    long = Spec(model=f"main.schema.{'m' * 80}", endpoint="e")
    application = Application(name="a", spec=long, names={"3": "current"})
    assert application.entity("3") == "current"
    assert application.entity("12").endswith("-v12")
    assert len(application.entity("12")) == ENTITY_NAME_LENGTH


def test_an_entity_name_that_somebody_took_for_another_version_is_not_used_twice() -> None:
    application = Application(
        name="a",
        spec=SPEC,
        stable="1",
        names={"1": "rag_chatbot-v2"},
        releases=(STABLE, replace(TRIED, state=State.CANARY, step=1)),
    )
    wanted = desired(application)
    assert wanted is not None
    assert wanted.shares["rag_chatbot-v2"] == Share(model=MODEL, version="1", weight=95)
    assert sum(share.weight for share in wanted.shares.values()) == 100


ASTRAY = Serving({"current": Share(model=MODEL, version="2", weight=7)})


def beside(served: Serving, **others: Share) -> Serving:
    """What is served, and more beside it."""
    return Serving({**served.shares, **others})


def test_a_version_has_the_users_of_all_names_that_it_is_served_under() -> None:
    both = beside(serving(v1=80, v2=13), current=ASTRAY.shares["current"])
    application = with_trial(TRIED)
    assert exposure(application, "2", both) == 20
    assert exposure(application, "1", both) == 80
    assert exposure(application, "3", both) == 0
    theirs = Serving({"rag_chatbot-v2": Share(model="main.other.model", version="2", weight=100)})
    assert exposure(application, "2", theirs) == 0


ROLLED_BACK = replace(TRIED, state=State.ROLLED_BACK)
SHUT = replace(TRIED, state=State.CANARY, step=2, shut=True)


@pytest.mark.parametrize("release", [ROLLED_BACK, SHUT])
def test_users_are_taken_from_a_closed_version_and_nothing_else_is_changed(
    release: Release,
) -> None:
    application = with_trial(release)
    assert closed(application, serving(v1=75, v2=25)) == serving(v1=100, v2=0)
    assert closed(application, serving(v2=100)) == serving(v1=100, v2=0), "stable is put there"
    theirs = Share(model="main.other.model", version="2", weight=10)
    twice = beside(serving(v1=60, v2=23, v3=0), theirs=theirs, **ASTRAY.shares)
    emptied = Share(model=MODEL, version="2", weight=0)
    wanted = beside(serving(v1=90, v2=0, v3=0), theirs=theirs, current=emptied)
    assert closed(application, twice) == wanted
    assert closed(application, serving(v1=100, v2=0)) is None
    assert closed(application, serving(v1=100)) is None


def test_they_go_to_stable_under_the_name_that_is_ours_else_the_first_that_it_has() -> None:
    stable = Share(model=MODEL, version="1", weight=30)
    found = Serving(
        {"current": stable, "other": replace(stable, weight=20), **serving(v2=50).shares}
    )
    wanted = Serving(
        {
            "current": replace(stable, weight=80),
            "other": replace(stable, weight=20),
            **serving(v2=0).shares,
        }
    )
    assert closed(with_trial(ROLLED_BACK), found) == wanted
    known = Serving({"current": stable, **serving(v1=20, v2=50).shares})
    ours = Serving({"current": stable, **serving(v1=70, v2=0).shares})
    assert closed(with_trial(ROLLED_BACK), known) == ours
    taken = Serving(
        {
            "rag_chatbot-v1": Share(model="main.other.model", version="1", weight=10),
            "current": stable,
            **serving(v2=60).shares,
        }
    )
    moved = Serving(
        {
            "rag_chatbot-v1": Share(model="main.other.model", version="1", weight=10),
            "current": replace(stable, weight=90),
            **serving(v2=0).shares,
        }
    )
    assert closed(with_trial(ROLLED_BACK), taken) == moved, "a name alone says nothing"
    swapped = Serving(
        {"rag_chatbot-v1": replace(stable, version="7", weight=40), **serving(v2=60).shares}
    )
    beside = Serving(
        {
            "rag_chatbot-v1": replace(stable, version="7", weight=40),
            "rag_chatbot-v1-1": replace(stable, weight=60),
            **serving(v2=0).shares,
        }
    )
    assert closed(with_trial(ROLLED_BACK), swapped) == beside, "nobody else loses users or name"


@pytest.mark.parametrize(
    "application",
    [
        Application(name="rag-chatbot", spec=SPEC, stable="1", releases=(STABLE,)),
        with_trial(replace(TRIED, state=State.CANARY, step=2)),
        replace(with_trial(ROLLED_BACK), stable="2"),
        replace(with_trial(ROLLED_BACK), stable=None),
    ],
)
def test_where_nothing_is_closed_or_nobody_else_serves_nobody_is_taken(
    application: Application,
) -> None:
    assert closed(application, serving(v1=75, v2=25)) is None


def test_a_release_on_a_staging_endpoint_wants_nothing_of_this_one() -> None:
    staged = replace(
        TRIED, state=State.PROVISIONING, pinned=replace(PINNED, staging="rag-chatbot-staging")
    )
    assert desired(with_trial(staged)) == serving(v1=100)
    first = replace(with_trial(staged), stable=None, releases=(staged,))
    assert desired(first) is None
    assert desired(with_trial(replace(staged, staged=True))) == serving(v1=100, v2=0)


def test_what_serves_without_proof_has_all_users_and_no_alias() -> None:
    unproven = replace(with_trial(ROLLED_BACK), stable=None, unproven="2")
    assert desired(unproven) == serving(v2=100)
    assert desired_alias(unproven) is None
    removed = replace(unproven, releases=(replace(ROLLED_BACK, removed=True),))
    assert desired(removed) == serving(v2=100)


def test_a_version_that_was_deleted_is_named_by_no_alias() -> None:
    gone = replace(with_trial(TRIED), deleted=("1",))
    assert desired_alias(gone) is None
    produced = replace(TRIED, state=State.PRODUCTION)
    assert desired_alias(replace(with_trial(produced), deleted=("1",))) == "2"
