"""A round of golden queries that takes longer than a look, on a clock that only answers move."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.daemon import passes
from controller.daemon.watchdog import HANGS_S
from controller.golden import MOST
from controller.sections.testing import MOST_REPEATED
from controller.workspace.client import connect
from controller.workspace.probes import AT_ONCE, LOOK_S, TIMEOUT_S, Probes
from policies.golden import Begun, GoldenQuery, Round
from states.counted import Counted, Paths
from states.release import Release
from tests.contract.recorder import Handler, Recorder, recording
from tests.controller.daemon.test_as_pinned import STAGING, Asking, Beside
from tests.controller.daemon.test_observe import observer
from tests.controller.house import NAME, House, opened
from tests.states.story import SPEC

SLOW_S = 8.0
A_LOOK = int(LOOK_S / (SLOW_S / AT_ONCE)) + 1
"""Questions that are begun at a look, if each answer takes so long; those under way go on."""
TESTS = tuple(
    GoldenQuery(query=f"question {number}.", answer_contains=("ACID",), repeat=2)
    for number in range(1, 16)
)
QUESTIONS = 2 * 2 * len(TESTS)
LONG = replace(SPEC, tests=TESTS, counted=Counted(paths=Paths(answer="$.answer")))


class Slow:
    """Served entities, each of which takes so many seconds for an answer, four at once."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.seconds = recorder, SLOW_S
        self.wrong = dict[str, str]()
        """By entity, the question that it does not answer as expected."""
        recorder.changes = self.answer

    def clock(self) -> float:
        return len(self.recorder.of("POST")) * self.seconds / AT_ONCE

    def asked(self) -> Counter[str]:
        """How often each question came, whoever was asked."""
        texts = [one.body.decode() for one in self.recorder.of("POST")]
        return Counter(test.query for test in TESTS for text in texts if test.query in text)

    def answer(self, handler: Handler) -> None:
        entity = handler.path.split("/")[-2]
        wrong = entity in self.wrong and self.wrong[entity] in handler.asked.body.decode()
        body = json.dumps({"answer": "BASE" if wrong else "ACID"}).encode()
        handler.answer(200, body, served_model_name=entity)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    with recording() as found:
        monkeypatch.setenv("DATABRICKS_HOST", found.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-any")
        yield Slow(found)


@pytest.fixture
def house(tmp_path: Path, slow: Slow) -> Iterator[House]:
    """Version 1 serves."""
    with opened(tmp_path) as house:
        house.one.spec = LONG
        begin_anew(house, slow)
        house.passes()
        yield house


def begin_anew(house: House, slow: Slow) -> None:
    """The daemon's eyes, with nothing remembered."""
    observing = observer(Beside(house.outside.story))
    observing.probes = Probes(connect(), SPEC.endpoint, NAME, clock=slow.clock)
    house.one.observer = Asking(house.outside, observing)  # type: ignore[assignment]


def live(house: House) -> Release:
    found = house.application().live
    assert found is not None
    return found


def under_way(house: House) -> Begun | None:
    """What the record has of the round that is not complete."""
    known, one = house.application().staging, live(house)
    return known.asking if known is not None and one.on_staging else one.asking


@pytest.mark.parametrize("staging", [None, STAGING])
def test_a_round_that_takes_longer_than_a_look_goes_on_where_the_record_is(
    house: House, slow: Slow, staging: str | None
) -> None:
    house.one.spec = replace(LONG, staging=staging)
    house.outside.story.register(2)
    seen = list[int]()
    for _ in range(12):
        before = slow.clock()
        house.passes()
        assert slow.clock() - before <= LOOK_S + SLOW_S
        begun = under_way(house)
        if begun is not None:
            assert begun.of == QUESTIONS
            seen.append(len(begun.answers))
            begin_anew(house, slow)
        elif seen:
            break
    assert len(seen) == 2, "three looks in all"
    assert seen[0] in range(A_LOOK, A_LOOK + AT_ONCE)
    assert seen[1] in range(2 * A_LOOK, 2 * (A_LOOK + AT_ONCE))
    known = house.application().staging
    rounds = known.rounds if known is not None else live(house).rounds
    assert rounds == (Round(asked=len(TESTS), candidate_failed=(), stable_failed=()),)
    assert slow.asked() == Counter({test.query: 4 for test in TESTS}), "nothing is asked twice"


def test_what_fails_at_the_end_of_a_long_round_counts_as_at_its_beginning(
    house: House, slow: Slow
) -> None:
    slow.wrong = {"rag_chatbot-v2": "question 15.", "rag_chatbot-v1": "question 1."}
    house.outside.story.register(2)
    house.until("Testing")
    house.passes(3)
    [one] = live(house).rounds
    assert (one.candidate_failed, one.stable_failed) == ((15,), (1,))
    assert live(house).state == "Testing"
    house.until("RolledBack")
    assert "1 of 15 golden queries failed twice" in live(house).because


def test_the_longest_round_that_validates_neither_hangs_a_pass_nor_outlives_testing(
    house: House, slow: Slow
) -> None:
    """Every answer comes at its deadline, so that all of it would take days."""
    slow.seconds = TIMEOUT_S
    most = (replace(TESTS[0], repeat=MOST_REPEATED),) * MOST
    house.one.spec = replace(LONG, tests=most)
    house.outside.story.register(2)
    longest = 0.0
    for _ in range(90):
        before = slow.clock()
        house.passes(after=75)
        longest = max(longest, slow.clock() - before)
        if live(house).state == "RolledBack":
            break
    assert LOOK_S < longest <= LOOK_S + TIMEOUT_S
    assert passes.AT_ONCE * (LOOK_S + TIMEOUT_S) < HANGS_S, "though all looks of a pass asked"
    assert live(house).state == "RolledBack"
    why = live(house).because
    assert why.startswith("not through its tests after 1 h: ")
    assert why.endswith(
        "of 20,000 questions of the last round were answered; state fewer golden queries, or a "
        "smaller repeat"
    )
