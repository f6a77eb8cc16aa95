"""Candidates with a fault, and how far each gets: the daemon in process, and the real sandbox.

`FAULTS` names for each fault the gate that has to tell it. A fault that golden queries cannot tell
is for a later gate: replay, which pairs answers of both versions, or a score of live answers. Lost
sources are told in real time too, by a daemon of its own process: `test_replay.py`.

`python -m tests.end_to_end.faults` prints what the last run of `test_faults.py` came to.
"""

import json
import random
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
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
from deploy.sandbox.demo.questions import QUESTIONS
from states.machine import State
from states.release import Application, Release
from tests.end_to_end.stage import Workspace, eventually

HERE = Path(__file__).parent / "faulty"
CORPUS = HERE.parents[2] / "deploy" / "sandbox" / "demo" / "corpus.jsonl"
APPLICATION, MODEL, ENDPOINT = "faulty", "main.faults.chatbot", "faulty-endpoint"
TABLE, SCORES = f"main.e2e.`{ENDPOINT}_payload`", "main.e2e.scores"
BENCH = HERE.parents[2] / "build" / "bench" / "faults.json"
PATIENCE_S = 100.0
HEALTHY = "none"
GUARD = "relevance"
STEPS = [20, 100]
SCORE = f"""
WITH entities AS (
  SELECT served_entity_id, max(served_entity_name) AS served_entity_name
  FROM system.serving.served_entities
  GROUP BY served_entity_id
),
requests AS (
  SELECT databricks_request_id, max(request_time) AS request_time, max(served_entity_id) AS id
  FROM {TABLE}
  GROUP BY databricks_request_id
)
SELECT entities.served_entity_name, requests.request_time, scores.value
FROM {SCORES} AS scores
JOIN requests ON requests.databricks_request_id = scores.databricks_request_id
JOIN entities ON entities.served_entity_id = requests.id
"""  # noqa: S608 - our own names
"""The guard's query, as an operator writes it over the table of an evaluation job."""
SETTINGS = {
    "model": MODEL,
    "endpoint": ENDPOINT,
    "serving": {"environment": "none", "workload_size": "Medium"},
    "evidence": {"every": "200ms", "queries": {GUARD: {"sql": SCORE, "counts": "score"}}},
    "response": {"tokens": "$.predictions[0].prompt_tokens"},
    # One step that compares, at 20 %: at the default 5 %, the same proof takes four times the
    # users' requests, and exposes as many.
    "rollout": {
        "steps": STEPS,
        "settle": "0s",
        "min_step": "100ms",
        "bake": "300ms",
        "watch": "300ms",
    },
    "guards": {
        # Judged by six times as much at 20 %: a tenth of the quality is more than its 9 pp.
        GUARD: {"margin": "1.5pp"},
        # What is told of errors and latency has its proofs elsewhere.
        "errors": {"margin": "16pp"},
        "latency": {"observe": True},
    },
    "tests": {"file": "golden.yaml"},
    "replay": {
        "safe_to_repeat": True,
        "requests": 100,
        # A hundred pairs show these, and the loss of the topic in any draw of them.
        "margins": {"errors": "10pp", "answers": "10pp", "sources": "10pp", "latency": "50%"},
    },
}
TOPIC = "warehouse"
"""What one in three of the users' questions is about."""
ON_TOPIC = tuple(one for one in QUESTIONS if TOPIC in one.lower())
ASKED = (*QUESTIONS, *(ON_TOPIC * 12))
SEED = 6
AT_ONCE = 8
"""Users who ask at the same time."""
BEFORE, QUIET, BUSY = 220, 2, 120
"""Questions before the first trial; of a look while nobody is on trial; and while users are."""


@dataclass(frozen=True)
class Fault:
    """What is expected of a fault: which gate tells it, and by which golden queries."""

    gate: str
    """`golden`; `replay`, where answers have to be compared in pairs; or `score`, where only a
    judge of live answers can."""
    queries: tuple[int, ...] = ()
    """Numbers (from 1) of the golden queries that it fails."""
    check: str = ""
    """What a replay, or the guard of a score, finds worse."""


FAULTS: Mapping[str, Fault] = {
    "empty_retrieval": Fault("golden", (1, 2, 3, 4, 5)),
    "wrong_language": Fault("golden", (1, 2, 3, 5)),
    "truncated_answers": Fault("golden", (1, 2, 3)),
    "exceptions_on_long_questions": Fault("golden", (4,)),
    "wrong_index": Fault("golden", (1, 2, 4, 5)),
    "tripled_tokens": Fault("golden", (5,)),
    # Twice the time is within what one slow machine adds to a single answer.
    "doubled_latency": Fault("replay", check="latency"),
    # No golden query is about it.
    "lost_sources_on_one_topic": Fault("replay", check="sources"),
    "slightly_worse": Fault("score", check=GUARD),
}


@dataclass(frozen=True)
class Outcome:
    """How far a candidate got."""

    release: Release
    entity: str
    told: Sequence[Mapping[str, Any]]
    """The journal's lines of the release."""
    users: Mapping[str, int]
    """By served entity, how many users' requests it answered meanwhile."""
    alias: str | None
    """The version that the alias named when it was over."""
    before: str | None
    """The version that the alias named when it began."""

    def lines(self, event: str, **fields: object) -> list[Mapping[str, Any]]:
        """What was told of an event with these fields."""
        return [
            one
            for one in self.told
            if one["event"] == event and all(one.get(key) == value for key, value in fields.items())
        ]

    @property
    def affected(self) -> int:
        """Users' requests that the candidate answered."""
        return self.users.get(self.entity, 0)

    @property
    def end(self) -> Mapping[str, Any]:
        """Its last change of state."""
        return self.lines("release.transition")[-1]

    @property
    def gate(self) -> str:
        """What stopped it: `golden`, `replay`, or `score`; empty if nothing did."""
        if self.release.state is not State.ROLLED_BACK:
            return ""
        if self.lines("tests.finished", finding="FAIL"):
            return "golden"
        if self.lines("replay.finished", verdict="FAIL"):
            return "replay"
        return "score" if self.lines("gate.verdict", verdict="FAIL", guard=GUARD) else "?"

    @property
    def row(self) -> Mapping[str, object]:
        """Its row of the table, but for the name of the fault."""
        where = self.end["from_state"] if self.gate else self.release.state.value
        weight = f", {STEPS[self.release.step - 1]} %" if self.release.step else ""
        return {
            "stopped by": self.gate or "nothing",
            "where": f"{where}{weight}" if self.gate else where,
            "users affected": f"{self.affected} of {sum(self.users.values())}",
            "evidence": self.end["because"],
        }


def record(rows: Mapping[str, Mapping[str, object]]) -> None:
    """Write down what came of each candidate that was tried."""
    BENCH.parent.mkdir(parents=True, exist_ok=True)
    found = [{"fault": name, **rows[name]} for name in (*FAULTS, HEALTHY) if name in rows]
    BENCH.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys, in Markdown."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(one[head]) for head in heads] for one in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def stems(text: str) -> set[str]:
    """The words of a text that say something, without their endings, as the judge sees them."""
    return {word[:STEM] for word in re.findall(r"[a-z]{4,}", text.lower())}


STEM = 5
KNOWN = stems(CORPUS.read_text(encoding="utf-8"))
"""The words that the handbook has."""


def relevance(question: str, answer: str) -> float:
    """The judge: how many of the question's words the answer speaks of, of those that it could.

    Without the last of three sentences, the answers to the demo's questions have a tenth less.
    """
    asked = stems(question) & KNOWN
    return len(asked & stems(answer)) / len(asked) if asked else 1.0


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
        self._crowd = ThreadPoolExecutor(AT_ONCE)
        drawn = random.Random(SEED).sample(ASKED, len(ASKED))  # noqa: S311 - nothing secret
        self._questions = cycle(drawn)
        self._users = Counter[str]()
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
        """Let a healthy version have all users, who ask for a while, and Headgate adopt it."""
        version = self._team.register(HEALTHY)
        self._workspace.point(MODEL, "production", version)
        self._workspace.serve(ENDPOINT, MODEL, {version: 100}, new=True)
        self._sql(f"CREATE TABLE {SCORES} (databricks_request_id STRING, value DOUBLE)")
        self._go_on(lambda: self._application.stable == version and self._ask(1))
        self._ask(BEFORE)
        return self

    def close(self) -> None:
        """Let go of it."""
        self._crowd.shutdown()
        self._session.close()
        self.store.close()

    def run(self, fault: str) -> Outcome:
        """Register a candidate, and go on until it is back, or everybody's for good."""
        before = self._workspace.alias(MODEL)
        version, self._users = self._team.register(fault), Counter()

        def ended() -> bool:
            release = self._application.newest(version)
            on_trial = release is not None and release.state in (State.CANARY, State.PRODUCTION)
            self._ask(BUSY if on_trial else QUIET)
            if on_trial:
                self._judge()
            return (
                release is not None and release.state is not State.REGISTERED and not release.live
            )

        self._go_on(ended)
        reached = self._application.newest(version)
        assert reached is not None
        lines = self.store.journal(application=APPLICATION)
        return Outcome(
            release=reached,
            entity=self._application.entity(version),
            told=[one for one in lines if one.get("version") == version],
            users=self._users,
            before=before,
            alias=self._workspace.alias(MODEL),
        )

    @property
    def _application(self) -> Application:
        return self.store.load(APPLICATION, self.spec).application

    def _ask(self, number: int) -> bool:
        """So many users' questions; whether all were answered, which faults may prevent."""
        found = list(self._crowd.map(self._answered, islice(self._questions, number)))
        self._users.update(one for one in found if one)
        return all(found)

    def _answered(self, question: str) -> str:
        """The served entity that answered a user's question; empty if none did."""
        url = f"{self._workspace.host}/serving-endpoints/{ENDPOINT}/invocations"
        body = {"dataframe_records": [{"query": question}]}
        answer = self._session.post(url, json=body, timeout=30)
        return answer.headers["served-model-name"] if answer.ok else ""

    def _judge(self) -> None:
        """The team's evaluation job: it scores what users were answered, request by request."""
        rows = self._sql(f"""
SELECT databricks_request_id, max(request), max(response)
FROM {TABLE}
WHERE client_request_id IS NULL AND status_code = 200
  AND databricks_request_id NOT IN (SELECT databricks_request_id FROM {SCORES})
GROUP BY databricks_request_id
""")  # noqa: S608 - our own names
        scored = []
        for request, asked, said in rows:
            [question] = json.loads(asked)["dataframe_records"]
            [prediction] = json.loads(said)["predictions"]
            scored.append(f"('{request}', {relevance(question['query'], prediction['answer'])})")
        if scored:
            self._sql(f"INSERT INTO {SCORES} VALUES {', '.join(scored)}")  # noqa: S608 - as above

    def _sql(self, statement: str) -> list[list[str]]:
        """The rows of a statement's result."""
        body = {"statement": statement, "warehouse_id": "sandbox", "wait_timeout": "50s"}
        answer = self._workspace.call("POST", "/api/2.0/sql/statements", json=body)
        assert answer["status"]["state"] == "SUCCEEDED", answer["status"]
        assert not answer["manifest"].get("truncated")
        assert answer["manifest"]["total_chunk_count"] <= 1, "one answer has it all"
        found: list[list[str]] = answer["result"].get("data_array", [])
        return found

    def _go_on(self, holds: Callable[[], bool]) -> None:
        def looked() -> bool:
            self._pass.run()
            return holds()

        eventually(looked, "the daemon gets there", PATIENCE_S)


if __name__ == "__main__":
    sys.stdout.write(table(json.loads(BENCH.read_text(encoding="utf-8"))) + "\n")
