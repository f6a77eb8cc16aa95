"""MLflow's own tracking server, in a fork of the zygote, for `tracking.Tracking`."""

import os
from pathlib import Path

from deploy.sandbox.worker import Answering, Head, redirect, serve

ARTIFACT_ROOT = "dbfs:/databricks/mlflow-tracking"
"""Where runs say that their artifacts are; clients map it to `INTERNAL` of the Files API."""
THREADS = 4
"""Requests that are answered at the same time."""


def _load(directory: Path) -> Answering:
    """MLflow's server over a SQLite file, in the state that clients of Databricks expect."""
    # A user's own MLflow and Databricks settings must not leak into this server.
    for name in tuple(os.environ):
        if name.lstrip("_").startswith(("MLFLOW_", "DATABRICKS_")):
            del os.environ[name]
    os.environ.update(
        {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{directory / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": ARTIFACT_ROOT,
        }
    )
    # Only here: the import takes a second, which models do not pay.
    from mlflow.server import app, handlers  # noqa: PLC0415
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    # Databricks' clients know the artifacts of a logged model by this folder name.
    SqlAlchemyStore.MODELS_FOLDER_NAME = "logged_models"
    handlers._get_tracking_store()  # noqa: SLF001 - creates the tables before the first request

    def answer(head: Head, body: bytes) -> tuple[int, str, bytes]:
        found = app.test_client().open(
            head["path"],
            method=head["method"],
            query_string=head.get("query", ""),
            data=body,
            content_type=head.get("content_type") or None,
            headers={"Accept": head["accept"]} if head.get("accept") else {},
        )
        return found.status_code, found.content_type, found.get_data()

    return answer


def run(order: Head) -> None:
    """Answer MLflow's requests over the ordered directory until the workspace hangs up."""
    directory = Path(order["tracking"])
    redirect(directory / "server.log")
    serve(order, lambda: _load(directory), THREADS)
