"""What is kept of a release's standing is what folding anew gives, in whatever order asked for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evidence import Block
from policies.guards import AnswerGuard, ErrorGuard, Guards, measures
from policies.standing import Standing
from states import stand
from states.judging import guards_of
from states.release import Release
from states.stand import Stand, stand_of
from tests.policies.counts import HISTORY, arm, block, drawn, faulty, set_to
from tests.states.byhand import candidate
from tests.states.test_desired import PINNED

ERRORS, ANSWERS = "metrics", "inference_table"
GUARDS = Guards(answers=AnswerGuard(observe=True))
RELEASE = candidate(
    pinned=replace(PINNED, guards=GUARDS),
    sources={"errors": ERRORS, "answers": ANSWERS},
    measures=measures(GUARDS, HISTORY, (5, 100)),
    history=HISTORY,
)
CHECKED = settings(max_examples=40, deadline=None, database=None, derandomize=True)


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """Each test begins as a daemon does."""
    stand._place.cache_clear()
    yield
    stand._place.cache_clear()


def counted(seed: int, number: int) -> tuple[Block, ...]:
    """A release's blocks by two sources, the last third of them at 100 %."""
    random, found = Random(seed), []  # noqa: S311 - repeatable, not secret
    for index in range(1, number + 1):
        whole = 3 * index > 2 * number
        ours, theirs = 50, 0 if whole else 950
        made = block(
            arm(ours, drawn(random, ours, 0.03), answers=faulty(ours, drawn(random, ours, 0.2))),
            arm(theirs, drawn(random, theirs, 0.02), answers=faulty(theirs, theirs // 50)),
            number=index,
            span=1 + whole,
            step=1 + whole,
            whole=whole,
            source=random.choice((ERRORS, ANSWERS)),
        )
        found.append(made)
    return tuple(found)


def anew(release: Release) -> list[tuple[object, float]]:
    """What the standings of all that decides, and of each that observes, say of all blocks."""
    found = guards_of(release)
    alone = [[replace(one, observe=False)] for one in found if one.observe]
    whole = [
        Standing.start(each, release.before_whole).after(*release.blocks)
        for each in (found, *alone)
    ]
    return [(one.positions, one.evidence()) for one in whole]


def told(one: Stand) -> list[tuple[object, float]]:
    """All that is kept says, to the last bit; criteria are functions, and equal to none."""
    return [(each.positions, each.evidence()) for each in (one.deciding, *one.observing)]


FACTS: list[dict[str, Any]] = [
    {"before_whole": set_to(0.3)},
    {"before_whole": set_to(0.02, dispersion=3.0)},
    {"dispersion": 2.5},
    {"sources": {"errors": ANSWERS, "answers": ANSWERS}},
    {"sources": {"errors": ERRORS}},
    {"history": replace(HISTORY, faulty=20_000)},
    {"pinned": replace(PINNED, guards=Guards())},
    {"pinned": replace(PINNED, guards=Guards(errors=ErrorGuard(margin=0.02, observe=True)))},
]
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([("rag", "2", 1), ("rag", "2", 2), ("rag", "3", 1), ("other", "2", 1)]),
        st.integers(0, 2),
        st.integers(0, 30),
        st.sampled_from(["same", "equal", "other first", "other last"]),
        st.sampled_from([{}, *FACTS]),
    ),
    max_size=12,
)


@CHECKED
@given(LOOKS, st.integers(0, 2**32))
def test_kept_is_anew_however_releases_histories_and_settings_are_asked_in_turn(
    looks: list[tuple[tuple[str, str, int], int, int, str, dict[str, Any]]], seed: int
) -> None:
    """Blocks grow, and shrink; they are read anew, or are other ones under the same numbers."""
    histories = [counted(seed + index, 30) for index in range(3)]
    for (application, version, attempt), history, length, how, facts in looks:
        blocks = histories[history][:length]
        if how == "equal":
            blocks = tuple(replace(one) for one in blocks)
        elif how != "same" and blocks:
            at = 0 if how == "other first" else length - 1
            worse = replace(blocks[at], candidate=arm(50, 9))
            blocks = (*blocks[:at], worse, *blocks[at + 1 :])
        release = replace(
            RELEASE, application=application, version=version, attempt=attempt, blocks=blocks
        )
        release = replace(release, **facts)
        assert told(stand_of(release)) == anew(release)


@pytest.mark.parametrize("facts", FACTS)
def test_what_is_judged_by_something_else_is_folded_anew(facts: dict[str, Any]) -> None:
    release = replace(RELEASE, blocks=counted(5, 30))
    first = told(stand_of(release))
    assert first == anew(release)
    changed = replace(release, **facts)
    assert told(stand_of(changed)) == anew(changed)
    assert anew(changed) != first
    assert told(stand_of(release)) == first


def test_a_block_is_folded_once() -> None:
    """What no new block speaks of is the very same as it was at the look before."""
    blocks = counted(3, 30)
    first = stand_of(replace(RELEASE, blocks=blocks))
    again = stand_of(replace(RELEASE, blocks=tuple(replace(one) for one in blocks)))
    later = replace(blocks[-1], number=31, source=ERRORS)
    after = stand_of(replace(RELEASE, blocks=(*blocks, later)))
    [observed], [observed_again], [observed_after] = (
        one.observing for one in (first, again, after)
    )
    assert again.deciding.positions["errors"] is first.deciding.positions["errors"]
    assert observed_again.positions["answers"] is observed.positions["answers"]
    assert observed_after.positions["answers"] is observed.positions["answers"]
    assert after.deciding.positions["errors"] != first.deciding.positions["errors"]


def test_as_many_are_kept_as_fit_and_those_that_were_longest_not_asked_for_go() -> None:
    blocks = counted(3, 3)
    many = [replace(RELEASE, application=f"app-{one}", blocks=blocks) for one in range(stand.KEPT)]
    first, *_, last = [stand_of(one) for one in many]
    assert stand_of(many[-1]).deciding.positions["errors"] is last.deciding.positions["errors"]
    stand_of(replace(RELEASE, application="one-more", blocks=blocks))
    afresh = stand_of(many[0])
    assert told(afresh) == told(first)
    assert afresh.deciding.positions["errors"] is not first.deciding.positions["errors"]


def test_passes_that_run_at_once_are_told_what_each_would_be_alone() -> None:
    histories = [counted(index, 24) for index in range(4)]
    asked = [
        replace(RELEASE, version=str(2 + which), blocks=histories[which][:length])
        for length in range(24)
        for which in (0, 1, 2, 3, 0)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(stand_of, asked))
    assert [told(one) for one in found] == [anew(one) for one in asked]
