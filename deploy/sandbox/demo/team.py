"""The team that builds the chatbot: trains, evaluates and registers the version it is told to.

    python -m deploy.sandbox.demo.team --model main.ml_models.rag_chatbot

reads version numbers from standard input, one per line, and answers each with one line of JSON on
standard output. It stays alive between them, since importing MLflow takes longer than its work.
"""

import argparse
import contextlib
import datetime as dt
import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# Read when MLflow is imported. The progress bars and the survey are not for a demo's terminal.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, Schema

from deploy.sandbox.demo.golden import GOLDEN_QUERIES, passes

HERE = Path(__file__).parent
CORPUS = HERE / "corpus.jsonl"
REQUIREMENTS = [f"mlflow=={mlflow.__version__}", f"pandas=={pd.__version__}"]
EXAMPLE = pd.DataFrame({"query": [GOLDEN_QUERIES[0]["query"]]})
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "query")]),
    outputs=Schema(
        [
            ColSpec("string", "answer"),
            ColSpec(Array("string"), "sources"),
            ColSpec("long", "prompt_tokens"),
            ColSpec("long", "completion_tokens"),
        ]
    ),
)
RETRIEVERS = {
    1: {"retriever": "bm25", "terms": "words", "top_k": 2},
    2: {"retriever": "bm25", "terms": "stems+titles", "top_k": 3},
    3: {"retriever": "bm25", "terms": "stems+titles", "top_k": 3, "comparisons": True},
    4: {"retriever": "bm25", "terms": "stems+titles", "top_k": 3, "stop_words": "learnt"},
}
"""What the team notes down about each version of the code."""


def register(number: int, model: str) -> str:
    """Log, evaluate and register one version of the code; return its version in Unity Catalog."""
    code = HERE / "chatbot" / f"v{number}.py"
    params = RETRIEVERS[number]
    with mlflow.start_run(run_name=f"v{number}"):
        mlflow.log_params(params)
        logged = mlflow.pyfunc.log_model(
            name="chatbot",
            python_model=str(code),
            artifacts={"corpus": str(CORPUS)},
            signature=SIGNATURE,
            input_example=EXAMPLE,
            pip_requirements=REQUIREMENTS,
            params=params,
        )
        metrics = evaluate(logged.model_uri)
        mlflow.log_metrics(metrics, model_id=logged.model_id)
    tags = {
        "git_sha": git_blob(code),
        "training_date": dt.datetime.now(dt.UTC).date().isoformat(),
        **{name: f"{value:.3f}" for name, value in metrics.items()},
    }
    # Registered with its tags, not tagged afterwards: a version may be looked at once it exists.
    return str(mlflow.register_model(logged.model_uri, model, tags=tags).version)


def evaluate(model_uri: str) -> dict[str, float]:
    """Ask the logged model the golden queries."""
    model = mlflow.pyfunc.load_model(model_uri)
    queries = pd.DataFrame({"query": [golden["query"] for golden in GOLDEN_QUERIES]})
    started = time.perf_counter()
    predictions = model.predict(queries).to_dict(orient="records")
    elapsed = time.perf_counter() - started
    passed = [
        passes(prediction, golden["expect"])
        for prediction, golden in zip(predictions, GOLDEN_QUERIES, strict=True)
    ]
    return {
        "eval_accuracy": sum(passed) / len(passed),
        "eval_ms_per_query": 1000 * elapsed / len(passed),
    }


def git_blob(file: Path) -> str:
    """Compute the id that git gives to a file's content."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def work(lines: Iterator[str], model: str, experiment: str) -> Iterator[dict[str, Any]]:
    """Set the clients up, then register one version per line; yield what to report."""
    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks-uc")
    mlflow.set_experiment(experiment)
    yield {"ready": True}
    for line in lines:
        if not line.strip():
            continue
        started = time.perf_counter()
        version = register(int(line), model)
        yield {"version": version, "seconds": round(time.perf_counter() - started, 3)}


def say(answer: dict[str, Any], out: TextIO) -> None:
    """Write one line of JSON that the reader sees at once."""
    out.write(json.dumps(answer) + "\n")
    out.flush()


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="deploy.sandbox.demo.team", description=__doc__)
    parser.add_argument("--model", required=True, help="full name in Unity Catalog")
    parser.add_argument("--experiment", default="/Shared/rag_chatbot")
    arguments = parser.parse_args()
    out = sys.stdout
    # MLflow prints links to standard output, which belongs to the answers alone.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            for answer in work(iter(sys.stdin), arguments.model, arguments.experiment):
                say(answer, out)
        except Exception as error:  # noqa: BLE001 - whatever it was, the reader waits for a line
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"}, out)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
