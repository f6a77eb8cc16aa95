"""Hard limits keep a release where it is, proven or not; and what a person may say to that."""

from dataclasses import replace

import pytest

from policies.evidence import Arm, Tally
from policies.guards import Guards, LatencyGuard
from states.canary import SUSPECTED
from states.judging import over_its_limits, pin_guards, suspected, suspected_lately
from states.machine import State
from states.release import Release
from states.verbs import promote_refusal, unproven
from tests.policies.counts import arm, block
from tests.states.answers import RICH
from tests.states.byhand import record, shown
from tests.states.story import QUICK, SOURCE
from tests.states.test_canary import (
    AT_100,
    BAKE,
    DAY,
    STEP,
    WATCH,
    came,
    held,
    looked,
    said,
    shown_of,
    stays,
)
from tests.states.test_desired import PINNED

CROWDED = (block(arm(1_600, 180, server_errors=180), arm(0), step=4, whole=True),)
"""11 % fail, in so few minutes that they prove nothing where errors may come in bursts."""
OVER = (
    "errors: candidate 180 of 1,600 failed with server errors (11.2 %): server errors above the "
    "limit of 5 %, not proven yet"
)


@pytest.mark.parametrize("one", [BAKE, WATCH])
def test_no_stay_is_over_whose_counts_lie_above_a_hard_limit_however_little_they_prove(
    one: Release,
) -> None:
    release = replace(one, on_step=DAY, blocks=CROWDED, dispersion=1_000.0)
    assert not suspected(release)
    assert not suspected_lately(release)
    assert stays(release, looked(release, alias="2"))
    late = replace(release, undecided=DAY)
    asks = held(late, f"undecided after 1 d: {OVER}")
    assert came(looked(late, alias="2")) == asks
    assert stays(asks[0], looked(asks[0], alias="2"))
    longer = replace(CROWDED[0], candidate=arm(3_000, 190, server_errors=190), number=2)
    more = replace(late, blocks=(*CROWDED, longer))
    assert came(looked(more, alias="2"))[0].hold is not None, "8 % of all of the stay"
    well = replace(longer, candidate=arm(3_000, 20, server_errors=20))
    made = looked(replace(late, blocks=(*CROWDED, well)), alias="2")
    recovered = made.application.newest("2")
    assert recovered is not None
    assert recovered.hold is None, "4 % of all of the stay"
    assert (recovered.state, recovered.confirmed) == (State.PRODUCTION, one is WATCH)


def test_no_step_is_left_whose_counts_lie_above_a_hard_limit() -> None:
    """On the first steps few users are there, and the margin is wider than the limit."""
    own = block(arm(3_000, 153, server_errors=153), arm(57_000, 2_750, server_errors=2_750))
    release = replace(STEP, blocks=(own,), on_step=DAY, undecided=DAY)
    release = replace(release, verdicts={"errors": "PASS at step 1"})
    assert shown_of(release).outcome == "PASS"
    assert not suspected(release)
    hold = came(looked(release))[0].hold
    assert hold is not None
    assert "153 of 3,000 failed with server errors (5.1 %), stable 2,750 of 57,000" in hold
    assert hold.endswith("server errors above the limit of 5 %, not proven yet")


def test_where_stable_breaks_a_limit_its_own_rate_takes_the_limits_place() -> None:
    """Within the margin of stable, however little the counts prove where errors come in bursts."""
    own = arm(6_000, 660, server_errors=660)
    compared, after = block(own, own, span=0), replace(CROWDED[0], number=2)
    release = replace(BAKE, on_step=DAY, blocks=(compared, after), dispersion=1_000.0)
    assert came(looked(release))[0].state is State.PRODUCTION
    worse = replace(after, candidate=arm(1_600, 190, server_errors=190))
    calm = block(own, arm(6_000, 306, server_errors=306), span=0)
    unlucky = block(own, arm(15, 1, server_errors=1), span=0)
    for counted in ((compared, worse), (calm, after), (unlucky, after)):
        one = replace(release, blocks=counted)
        assert stays(one, looked(one))


@pytest.mark.parametrize("requests", [1, 10, 19])
@pytest.mark.parametrize("one", [BAKE, WATCH])
def test_one_request_that_failed_is_no_rate(one: Release, requests: int) -> None:
    few = block(arm(requests, 1, server_errors=1), arm(0), step=4, whole=True)
    release = replace(one, on_step=DAY, blocks=(few,), dispersion=1_000.0)
    made = looked(release, alias="2")
    after = made.application.newest("2")
    assert after is not None
    assert (after.state, after.confirmed) == (State.PRODUCTION, one is WATCH)


def test_a_person_ends_a_watch_that_cannot_be_decided() -> None:
    """It has all users and the alias: a person's word is all that is left, or to abort."""
    watch = replace(WATCH, on_step=DAY, blocks=CROWDED, dispersion=1_000.0, undecided=DAY)
    asks = came(looked(watch, alias="2"))[0]
    refused = promote_refusal(record(asks), asks, override=False)
    assert refused is not None
    assert OVER in refused
    assert "`--override` goes past that" in refused
    assert promote_refusal(record(asks), asks, override=True) is None
    assert promote_refusal(record(watch), watch, override=True) is not None, "it goes on by itself"
    made = looked(said(asks, override=True), alias="2")
    after = made.application.newest("2")
    assert after is not None
    assert (after.confirmed, after.hold) == (True, None)
    told_of = "watched for 10 min; promoted by ada, past what is not shown and what holds: it is "
    assert after.because == f"{told_of}stable now"


def test_a_word_that_ends_a_watch_stands_until_the_watch_can_end() -> None:
    """An update is under way, or an application's change is to be answered first."""
    watch = replace(WATCH, on_step=DAY, blocks=CROWDED, dispersion=1_000.0, undecided=DAY)
    asks = said(came(looked(watch, alias="2"))[0], override=True)
    busy = shown(AT_100, updating=True)
    assert stays(asks, looked(asks, busy, alias="2"))
    assert stays(asks, looked(asks, alias="2", facts={"hold": "changed by others"}))
    more = replace(asks, blocks=(*CROWDED, replace(CROWDED[0], number=2)))
    assert stays(more, looked(more, busy, alias="2")), "nor do other numbers undo it"
    after = looked(more, alias="2").application.newest("2")
    assert after is not None
    assert after.confirmed


def test_a_word_that_ends_a_watch_is_of_what_was_asked_then() -> None:
    """An alarm came between, and it has become worse: it is asked anew."""
    watch = replace(WATCH, on_step=DAY, blocks=CROWDED, dispersion=1_000.0, undecided=DAY)
    asks = came(looked(watch, alias="2"))[0]
    worse = replace(CROWDED[0], candidate=arm(1_600, 480, server_errors=480), number=2)
    later = replace(said(asks, override=True), blocks=(*CROWDED, worse))
    alarmed = replace(later, hold="the table has told nothing for 2 h")
    anew = came(looked(alarmed, alias="2"))[0]
    assert (anew.confirmed, anew.needs_person) == (False, True)
    assert "660 of 3,200 failed" in (anew.hold or "")
    assert stays(anew, looked(anew, alias="2"))


@pytest.mark.parametrize("one", [BAKE, WATCH])
def test_what_was_stable_before_and_is_asked_for_in_haste_waits_for_no_limit(one: Release) -> None:
    back = replace(PINNED, proven=True, rollout=replace(QUICK, on_undecided="roll_back"))
    release = replace(one, on_step=DAY, blocks=CROWDED, dispersion=1_000.0, pinned=back)
    made = looked(replace(release, undecided=DAY), alias="2")
    after = made.application.newest("2")
    assert after is not None
    assert after.state is State.PRODUCTION
    assert "within its limits" not in after.because


def test_who_was_asked_because_harm_is_suspected_is_not_asked_again_at_every_limit() -> None:
    why = f"undecided after 1 d: {SUSPECTED}"
    late = replace(WATCH, on_step=DAY, undecided=DAY, hold=why, needs_person=True)
    odd = replace(late, blocks=(block(arm(300, 30, server_errors=30), arm(0), whole=True),))
    assert suspected(odd)
    assert over_its_limits(odd)
    assert stays(odd, looked(odd, alias="2"))


def test_a_person_goes_past_a_limit_and_nobody_says_then_that_it_was_kept() -> None:
    release = replace(BAKE, on_step=DAY, blocks=CROWDED, dispersion=1_000.0)
    assert OVER in unproven(release)
    past = came(looked(said(release, override=True)))[0]
    assert past.state is State.PRODUCTION
    assert past.because.startswith("1 d at 100 %: errors: candidate 180 of 1,600 failed (11.2 %)")


def test_where_stable_breaks_a_limit_of_latency_the_comparison_is_all_that_is_left() -> None:
    """The margin is a rise of a quantile, and none of a share above a limit."""
    pinned = replace(PINNED, guards=Guards(latency=LatencyGuard(limit_ms=900.0)))
    release = replace(STEP, history=RICH, pinned=pinned)
    release = pin_guards(release, {"errors": SOURCE, "latency": SOURCE}, 1.0)
    edges = release.measures["latency"].edges
    at = edges.index(900.0)

    def slow(requests: int, many: int) -> Arm:
        counts = tuple(requests // 2 if edge < edges[at] else many for edge in edges)
        return replace(arm(requests), tallies={"latency": Tally(seen=requests, counts=counts)})

    for share, kept in ((60, []), (40, ["latency"])):
        own = block(slow(1_000, 66), slow(19_000, 19 * share))
        found = [one.guard for one in over_its_limits(replace(release, blocks=(own,)))]
        assert found == kept
