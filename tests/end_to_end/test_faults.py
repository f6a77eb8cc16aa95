"""A candidate with a fault is stopped before any user meets it, and a healthy one is let in."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from controller.workspace.inputs import Inputs, malformed, misfit, request_of
from states.machine import State
from tests.end_to_end.faults import FAULTS, GUARD, HEALTHY, HERE, Outcome, Trials, record
from tests.end_to_end.stage import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.thorough, pytest.mark.timeout(300)]
MOST_MET = 0.3
"""Of all users' requests of the trial; the step has 20 %."""
MOST_USERS = 600
BY_GATE = {
    gate: [name for name, fault in FAULTS.items() if fault.gate == gate]
    for gate in ("golden", "replay", "score")
}


@pytest.fixture(scope="module")
def trials(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """One application for all candidates, one after the other."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**workspace.environment, **quiet}.items():
            patch.setenv(name, value)
        found = Trials(workspace, tmp_path_factory.mktemp("faults"))
        yield found.open()
        found.close()


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, Mapping[str, object]]]:
    """What came of each candidate: a table that `make bench-faults` shows."""
    found: dict[str, Mapping[str, object]] = {}
    yield found
    record(found)


Rows = dict[str, Mapping[str, object]]


def assert_stopped_unseen(outcome: Outcome, gate: str) -> None:
    assert outcome.release.state is State.ROLLED_BACK
    assert outcome.end["from_state"] == "Testing"
    assert outcome.gate == gate
    assert outcome.affected == 0
    assert sum(outcome.users.values()) > 0, "there were users meanwhile"
    assert outcome.alias == outcome.before


@pytest.mark.parametrize("fault", BY_GATE["golden"])
def test_a_fault_that_golden_queries_tell_is_stopped_before_any_user_meets_it(
    trials: Trials, rows: Rows, fault: str
) -> None:
    outcome = trials.run(fault)
    rows[fault] = outcome.row
    assert_stopped_unseen(outcome, "golden")
    first, second = outcome.lines("tests.finished")
    assert (first["finding"], second["finding"]) == ("AGAIN", "FAIL")
    assert tuple(second["failed"]) == FAULTS[fault].queries
    assert second["failed_on_stable"] == []


@pytest.mark.parametrize("fault", BY_GATE["replay"])
def test_a_fault_that_pairs_of_answers_tell_is_stopped_before_any_user_meets_it(
    trials: Trials, rows: Rows, fault: str
) -> None:
    outcome = trials.run(fault)
    rows[fault] = outcome.row
    assert_stopped_unseen(outcome, "replay")
    [golden] = outcome.lines("tests.finished")
    assert golden["finding"] == "PASS", "no golden query tells it"
    [line] = outcome.lines("replay.finished")
    assert line["guard"] == FAULTS[fault].check


def test_a_fault_that_only_a_judge_of_live_answers_tells_is_stopped_at_the_first_step(
    trials: Trials, rows: Rows
) -> None:
    [fault] = BY_GATE["score"]
    outcome = trials.run(fault)
    rows[fault] = outcome.row
    assert outcome.release.state is State.ROLLED_BACK
    assert (outcome.end["from_state"], outcome.release.step) == ("Canary", 1)
    assert outcome.lines("replay.finished", verdict="PASS"), "no pair tells it"
    [line] = outcome.lines("gate.verdict", verdict="FAIL")
    assert line["guard"] == FAULTS[fault].check == GUARD
    assert outcome.alias == outcome.before, "nor was it ever moved"
    assert not outcome.lines("alias.moved")
    share = outcome.affected / sum(outcome.users.values())
    assert 0 < share < MOST_MET, "users of one step"
    assert outcome.affected < MOST_USERS


def test_a_healthy_candidate_passes_all_of_it_and_becomes_everybodys(
    trials: Trials, rows: Rows
) -> None:
    outcome = trials.run(HEALTHY)
    rows[HEALTHY] = outcome.row
    assert outcome.release.state is State.PRODUCTION
    assert outcome.alias == outcome.release.version != outcome.before
    [golden] = outcome.lines("tests.finished")
    assert (golden["finding"], golden["failed"]) == ("PASS", [])
    [replay] = outcome.lines("replay.finished")
    assert replay["verdict"] == "PASS", replay["because"]
    assert outcome.lines("gate.verdict", verdict="PASS"), "users were compared"
    assert not outcome.lines("gate.verdict", verdict="FAIL")


def test_a_question_reaches_chat_and_responses_models_in_the_form_that_mlflow_reads(
    trials: Trials, tmp_path: Path
) -> None:
    """As MLflow itself writes down the signatures of such models, and serves them."""
    assert trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: PLC0415 - takes seconds, and is there by now
        import mlflow.tracing  # noqa: PLC0415
        from mlflow.pyfunc.scoring_server import invocations  # noqa: PLC0415

        # Their traces would be sent from a thread, to whatever workspace a later test names. Not
        # for longer: MLflow 3.17 waits for itself when it logs a model while tracing is disabled.
        mlflow.tracing.disable()
        try:
            for kind, form in (("chat", "messages"), ("responses", "input")):
                folder = tmp_path / kind
                mlflow.pyfunc.save_model(
                    str(folder), python_model=str(HERE / f"{kind}.py"), pip_requirements=["mlflow"]
                )
                described = yaml.safe_load((folder / "MLmodel").read_text())
                inputs = Inputs.read(described["signature"])
                assert inputs is not None
                body = request_of("hello", "", inputs)
                assert body == {form: [{"role": "user", "content": "hello"}]}
                assert malformed(body) is None
                assert misfit(body, inputs) is None
                model = mlflow.pyfunc.load_model(str(folder))
                answer = invocations(  # type: ignore[no-untyped-call]
                    json.dumps(body), "application/json", model, model.metadata.get_input_schema()
                )
                assert answer.status == 200, answer.response
                assert "you said hello" in answer.response
        finally:
            mlflow.tracing.enable()
