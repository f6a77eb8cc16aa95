"""A candidate with a fault is stopped before any user meets it, and a healthy one is let in."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from controller.workspace.inputs import Inputs, malformed, misfit, request_of
from states.machine import State
from tests.end_to_end.faults import FAULTS, HEALTHY, HERE, Trials
from tests.end_to_end.stage import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]
GOLDEN = [name for name, fault in FAULTS.items() if fault.gate == "golden"]


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


@pytest.mark.parametrize("fault", GOLDEN)
def test_a_fault_that_golden_queries_tell_is_stopped_before_any_user_meets_it(
    trials: Trials, fault: str
) -> None:
    outcome = trials.run(fault)
    assert outcome.release.state is State.ROLLED_BACK
    assert outcome.release.step == 0, "it was never opened to users"
    assert outcome.entity not in outcome.users
    assert sum(outcome.users.values()) > 0, "there were users meanwhile"
    first, second = outcome.rounds
    assert (first["finding"], second["finding"]) == ("AGAIN", "FAIL")
    assert tuple(second["failed"]) == FAULTS[fault].queries
    assert second["failed_on_stable"] == []


def test_a_healthy_candidate_passes_every_golden_query_at_once(trials: Trials) -> None:
    outcome = trials.run(HEALTHY)
    assert outcome.release.state is State.CANARY
    [only] = outcome.rounds
    assert (only["finding"], only["failed"]) == ("PASS", [])


def test_a_question_reaches_chat_and_responses_models_in_the_form_that_mlflow_reads(
    trials: Trials, tmp_path: Path
) -> None:
    """As MLflow itself writes down the signatures of such models, and serves them."""
    assert trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: PLC0415 - takes seconds, and is there by now
        from mlflow.pyfunc.scoring_server import invocations  # noqa: PLC0415

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
