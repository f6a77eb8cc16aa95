"""Candidates with a fault, and how far each gets: the daemon in process, and the real sandbox.

`FAULTS` names for each fault the gate that has to tell it. A fault that golden queries cannot tell
is for a later gate: replay, which pairs answers of both versions, or a score of live answers.
"""

import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import requests
import yaml

from controller import settings as configuration
from controller.daemon.building import Shared, passes_of
from controller.daemon.readiness import Readiness
from controller.daemon.tenure import Tenure
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ProcessSettings
from states.machine import State
from states.release import Application, Order, Release
from tests.end_to_end.stage import Workspace, eventually

HERE = Path(__file__).parent / "faulty"
CORPUS = HERE.parents[2] / "deploy" / "sandbox" / "demo" / "corpus.jsonl"
APPLICATION, MODEL, ENDPOINT = "faulty", "main.faults.chatbot", "faulty-endpoint"
PATIENCE_S = 100.0
HEALTHY = "none"
SETTINGS = {
    "model": MODEL,
    "endpoint": ENDPOINT,
    "serving": {"environment": "none", "workload_size": "Medium"},
    "evidence": {"every": "200ms"},
    "response": {"tokens": "$.predictions[0].prompt_tokens"},
    "rollout": {"steps": [1, 100], "settle": "0s"},
    "tests": {"file": "golden.yaml"},
}


@dataclass(frozen=True)
class Fault:
    """What is expected of a fault: which gate tells it, and by which golden queries."""

    gate: str
    """`golden`; `replay`, where answers have to be compared in pairs; or `score`, where only a
    judge of live answers can."""
    queries: tuple[int, ...] = ()
    """Numbers (from 1) of the golden queries that it fails."""


FAULTS: Mapping[str, Fault] = {
    "empty_retrieval": Fault("golden", (1, 2, 3, 4, 5)),
    "wrong_language": Fault("golden", (1, 2, 3, 5)),
    "truncated_answers": Fault("golden", (1, 2, 3)),
    "exceptions_on_long_questions": Fault("golden", (4,)),
    "wrong_index": Fault("golden", (1, 2, 4, 5)),
    "tripled_tokens": Fault("golden", (5,)),
    # Twice the time is within what one slow machine adds to a single answer.
    "doubled_latency": Fault("replay"),
    # No golden query is about it.
    "lost_sources_on_one_topic": Fault("replay"),
    "slightly_worse": Fault("score"),
}


@dataclass(frozen=True)
class Outcome:
    """How far a candidate got."""

    release: Release
    entity: str
    rounds: Sequence[Mapping[str, Any]]
    """What `tests.finished` told, round by round."""
    users: Mapping[str, int]
    """By served entity, how many users' requests it answered meanwhile."""


class Team:
    """The team that logs and registers models, with MLflow's own client."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow  # noqa: PLC0415 - takes seconds
            from mlflow.models import ModelSignature  # noqa: PLC0415
            from mlflow.types.schema import ColSpec, Schema  # noqa: PLC0415

            self._mlflow = mlflow
            mlflow.set_tracking_uri("databricks")
            mlflow.set_registry_uri("databricks-uc")
            mlflow.set_experiment("/Shared/faults")
        question = Schema([ColSpec("string", "query")])
        self._signature = ModelSignature(question, Schema([ColSpec("string", "answer")]))

    def register(self, fault: str) -> str:
        """Log the chatbot with a fault, or healthy, and register it; its version."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with self._mlflow.start_run():
                logged = self._mlflow.pyfunc.log_model(
                    name="chatbot",
                    python_model=str(HERE / "chatbot.py"),
                    artifacts={"corpus": str(CORPUS)},
                    model_config={"fault": fault},
                    signature=self._signature,
                    pip_requirements=["mlflow"],
                )
            return str(self._mlflow.register_model(logged.model_uri, MODEL).version)


class Trials:
    """One application, looked after by the daemon's own pass, at the pace of a test.

    The environment names the workspace, as it does for every client.
    """

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._workspace, self._session = workspace, requests.Session()
        self._session.headers["Authorization"] = f"Bearer {workspace.token}"
        self._team = Team()
        shutil.copy(HERE / "golden.yaml", folder)
        config = folder / "headgate.yaml"
        config.write_text(yaml.safe_dump({"applications": {APPLICATION: SETTINGS}}))
        settings = configuration.load(config).applications
        self.spec = settings[APPLICATION].spec()
        self.store = Store(f"sqlite:///{folder / 'headgate.db'}")
        process = ProcessSettings(poll=timedelta(milliseconds=100), warehouse="sandbox")
        tenure = Tenure(tuple(settings))
        self._pass = passes_of(
            settings,
            Shared("sandbox", self.store),
            self.store,
            Printer(self.store, tenure.prints),
            process,
            Readiness(self.store, process.poll),
            tenure,
        )[APPLICATION]

    def open(self) -> Self:
        """Let a healthy version have all users, and Headgate adopt it."""
        version = self._team.register(HEALTHY)
        self._workspace.serve(ENDPOINT, MODEL, {version: 100}, new=True)
        self._go_on(lambda: self._application.stable == version and bool(self._ask()))
        return self

    def close(self) -> None:
        """Let go of it."""
        self._session.close()
        self.store.close()

    def run(self, fault: str) -> Outcome:
        """Register a candidate, and go on until it is stopped, or would get its first users.

        One that would get them is aborted then, so that the next trial begins where this one did.
        """
        version, users = self._team.register(fault), Counter[str]()

        def ended() -> bool:
            users[self._ask()] += 1
            release = self._application.newest(version)
            return release is not None and release.state in (State.CANARY, State.ROLLED_BACK)

        self._go_on(ended)
        reached = self._application.newest(version)
        assert reached is not None
        if reached.state is State.CANARY:
            self.store.give_order(APPLICATION, version, Order.ABORT, "test", "seen enough")
        self._go_on(lambda: self._application.live is None)
        lines = self.store.journal(application=APPLICATION)
        rounds = [one for one in lines if one["event"] == "tests.finished"]
        own = [one for one in rounds if one["version"] == version]
        return Outcome(reached, self._application.entity(version), own, users)

    @property
    def _application(self) -> Application:
        return self.store.load(APPLICATION, self.spec).application

    def _ask(self) -> str:
        """One user's question, and the served entity that answered it; empty if none did."""
        url = f"{self._workspace.host}/serving-endpoints/{ENDPOINT}/invocations"
        body = {"dataframe_records": [{"query": "Who may write to bronze?"}]}
        answer = self._session.post(url, json=body, timeout=30)
        return answer.headers["served-model-name"] if answer.ok else ""

    def _go_on(self, holds: Callable[[], bool]) -> None:
        def looked() -> bool:
            self._pass.run()
            return holds()

        eventually(looked, "the daemon gets there", PATIENCE_S)
