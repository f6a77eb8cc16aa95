"""Every verdict can be derived again from the log alone, and a changed log is found out."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator
from typer.testing import CliRunner

from controller.console.cli import app
from controller.console.logs import read_lines
from controller.console.reading import fold
from controller.console.recompute import NotJudgeable, recompute
from controller.record.contract import json_schema
from controller.record.lines import Line
from policies.fuse import Minute
from policies.guards import CapacityGuard, Guards, ScoreGuard, TokenGuard
from states.release import Order
from tests.controller.house import House, opened
from tests.states.answers import RICH
from tests.states.story import SCORED, SPEC

RELEASE = "rag-chatbot/2"
GUARDS = ("errors", "latency", "answers", "tokens", "truth")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    rich = Guards(
        tokens=TokenGuard(),
        scores={"truth": ScoreGuard()},
        capacity=CapacityGuard(observe=True),
    )
    spec = replace(SPEC, guards=rich, counted=SCORED)
    monkeypatch.setattr("tests.controller.house.SPEC", spec)
    with opened(tmp_path) as one:
        one.passes()
        yield one


def promoted(house: House) -> None:
    house.outside.story.register(2)
    _until(house, "Production", rest=True)


def rolled_back(house: House) -> None:
    house.outside.story.error_rates["2"] = 0.1
    house.outside.story.register(2)
    _until(house, "RolledBack", rest=True)


def judged_by_all_guards(house: House) -> None:
    """Stable's last day tells enough to judge everything that is configured by."""
    house.outside.story.history = RICH
    promoted(house)


def cramped(house: House) -> None:
    """One request in ten finds the candidate's queue full, which is only observed."""
    house.outside.story.rejecting = 0.1
    promoted(house)


def blind(house: House) -> None:
    story = house.outside.story
    story.register(2)
    _until(house, "Canary")
    story.table_speaks = False
    house.passes(12, after=600)
    story.table_speaks = True
    house.passes(8)


def blown_in_production(house: House) -> None:
    story = house.outside.story
    story.register(2)
    _until(house, "Canary")
    calm = [_minute(house, -index, errors=1) for index in range(60, 0, -1)]
    story.minutes = tuple(calm)
    _until(house, "Production")
    house.passes(2)
    story.table_speaks = False
    story.minutes = (*calm, *(_minute(house, index, errors=900) for index in range(1, 4)))
    house.passes(8)


def paused(house: House) -> None:
    story = house.outside.story
    story.register(2)
    _until(house, "Canary")
    house.store.give_order("rag-chatbot", None, Order.PAUSE, "ann", "lunch")
    house.passes(5)
    house.store.give_order("rag-chatbot", None, Order.RUN, "ann", "back")
    _until(house, "Production", rest=True)


STORIES = [
    (promoted, {"errors PASS"}),
    (rolled_back, {"errors FAIL"}),
    (judged_by_all_guards, {f"{guard} PASS" for guard in GUARDS}),
    (cramped, {"errors PASS", "capacity FAIL"}),
    (blind, {"errors INSUFFICIENT", "errors BLIND"}),
    (blown_in_production, {"errors PASS", "fuse FAIL"}),
    (paused, {"errors PASS"}),
]


def _until(house: House, state: str, *, rest: bool = False) -> None:
    for _ in range(200):
        house.passes()
        newest = house.application().newest("2")
        if newest is not None and newest.state == state and not (rest and newest.live):
            return
    raise AssertionError(f"never {state}: {newest}")


def _minute(house: House, index: int, errors: int) -> Minute:
    return Minute(ends_at=house.clock[0] + timedelta(minutes=index), requests=3000, errors=errors)


def lines(house: House) -> list[Line]:
    """The journal, as it stands in a log file."""
    return [json.loads(json.dumps(line)) for line in house.store.journal()]


@pytest.mark.parametrize(("tell", "said"), STORIES)
def test_every_verdict_follows_from_the_log_alone_bit_for_bit(
    house: House, tell: Callable[[House], None], said: set[str]
) -> None:
    tell(house)
    release, rows = fold(lines(house)).attempt(RELEASE)
    found = recompute(release, rows)
    verdicts = [row for row in rows if row["event"] == "gate.verdict"]
    assert found.differences == ()
    assert {f"{row['guard']} {row['verdict']}" for row in verdicts} >= said
    valid = Draft202012Validator(json_schema()).is_valid
    assert [row for row in verdicts if not valid(row)] == [], "it says what is registered"
    number = len(verdicts)
    assert found.sentence == f"{number} of {number} verdicts derived again, bit for bit"


def test_a_count_that_was_changed_in_the_log_is_found(house: House) -> None:
    rolled_back(house)
    rows = lines(house)
    block = next(row for row in rows if row["event"] == "evidence.block")
    block["candidate_errors"] += 1
    found = recompute(*fold(rows).attempt(RELEASE))
    assert found.differences
    assert "candidate_errors is" in found.differences[0]


def test_a_sentence_that_was_changed_in_the_log_is_found(house: House) -> None:
    promoted(house)
    rows = lines(house)
    verdict = next(row for row in rows if row["event"] == "gate.verdict")
    verdict["because"] = "all is well"
    found = recompute(*fold(rows).attempt(RELEASE))
    assert len(found.differences) == 1
    assert "because is 'all is well', derived" in found.differences[0]


def test_a_verdict_that_does_not_follow_is_found(house: House) -> None:
    promoted(house)
    rows = lines(house)
    verdict = next(row for row in rows if row["event"] == "gate.verdict")
    verdict["verdict"] = "FAIL"
    (difference,) = recompute(*fold(rows).attempt(RELEASE)).differences
    assert difference.endswith("the blocks lead to no such verdict")


def test_a_block_that_is_no_block_is_said(house: House) -> None:
    promoted(house)
    rows = lines(house)
    block = next(row for row in rows if row["event"] == "evidence.block")
    block["candidate_errors"] = block["candidate_requests"] + 1
    found = recompute(*fold(rows).attempt(RELEASE))
    assert "block 1, on which it rests, is damaged or not told" in found.differences[0]


def test_an_alarm_without_what_it_rests_on_is_said(house: House) -> None:
    blind(house)
    rows = lines(house)
    for row in rows:
        if row.get("verdict") == "BLIND":
            del row["max_lag"]
    found = recompute(*fold(rows).attempt(RELEASE))
    assert found.differences
    assert all("the longest lag that it rests on is not told" in one for one in found.differences)


def test_a_log_from_before_the_bench_was_told_says_so(house: House) -> None:
    promoted(house)
    rows = [row for row in lines(house) if row.get("release") == RELEASE]
    old = [row for row in rows if row["event"] != "release.judged"]
    with pytest.raises(NotJudgeable, match="an earlier Headgate wrote them"):
        recompute(RELEASE, old)


def test_a_release_that_was_never_judged_has_nothing_to_derive(house: House) -> None:
    found = recompute(*fold(lines(house)).attempt("rag-chatbot/1"))
    assert found.verdicts == 0
    assert found.sentence == (
        "rag-chatbot/1 has no verdict: it was never judged by what was counted"
    )


def test_the_command_answers_from_a_log_file_and_from_the_store(
    house: House, tmp_path: Path
) -> None:
    rolled_back(house)
    log = tmp_path / "headgate.log"
    log.write_text("".join(json.dumps(line) + "\n" for line in house.store.journal()))
    runner = CliRunner()
    by_log = runner.invoke(app, ["explain", RELEASE, "--recompute", "--logs", str(log)])
    by_store = runner.invoke(
        app, ["explain", RELEASE, "--recompute", "--store", f"sqlite:///{house.store.path}"]
    )
    assert by_log.exit_code == by_store.exit_code == 0
    assert by_log.output == by_store.output
    assert by_log.output.endswith("verdicts derived again, bit for bit\n")
    told = runner.invoke(app, ["explain", RELEASE, "--recompute", "--json", "--logs", str(log)])
    assert json.loads(told.output)["differences"] == []


def test_a_forged_log_ends_with_1_and_an_old_one_with_2(house: House, tmp_path: Path) -> None:
    rolled_back(house)
    log = tmp_path / "headgate.log"
    whole = "".join(json.dumps(line) + "\n" for line in house.store.journal())
    log.write_text(whole.replace('"candidate_errors": ', '"candidate_errors": 1'))
    runner = CliRunner()
    forged = runner.invoke(app, ["explain", RELEASE, "--recompute", "--logs", str(log)])
    assert forged.exit_code == 1
    log.write_text(whole.replace("release.judged", "release.noted"))
    old = runner.invoke(app, ["explain", RELEASE, "--recompute", "--logs", str(log)])
    assert old.exit_code == 2


def test_explain_tells_the_last_verdict_of_each_guard_in_its_own_words(house: House) -> None:
    judged_by_all_guards(house)
    told = fold(read_lines(_written(house))).explain(RELEASE)
    assert [line["guard"] for line in told.verdicts] == list(GUARDS)
    shown = CliRunner().invoke(app, ["explain", RELEASE, "--logs", _written(house)]).output
    for line in told.verdicts:
        assert f"{line['guard']} {line['verdict']}" in shown
        assert line["because"] in shown


def test_the_tree_shows_what_each_guard_of_a_canary_says_by_now(house: House) -> None:
    house.outside.story.register(2)
    _until(house, "Canary")
    shown, told = [], []
    for times in (2, 1):
        house.passes(times)
        asked = ["status", "--logs", _written(house)]
        shown.append(CliRunner().invoke(app, asked).output)
        told.append([line for line in lines(house) if line["event"] == "gate.verdict"])
    first = {verdict["guard"]: verdict["because"] for verdict in told[0]}
    assert set(first) == {"errors", "truth"}
    for guard, because in first.items():
        assert f"wait {guard}" in shown[0]
        assert because.split(";")[0] in shown[0]
    assert "step 2 of 4" in shown[-1]
    for verdict in told[-1][2:]:
        assert verdict["verdict"] == "PASS"
        assert verdict["because"] in shown[-1], "why it is here"
    assert shown[-1].count("candidate not counted yet: within") == 2, "of the new step, nothing yet"


def _written(house: House) -> str:
    path = house.store.path.with_name("headgate.log")
    path.write_text("".join(json.dumps(line) + "\n" for line in house.store.journal()))
    return str(path)
