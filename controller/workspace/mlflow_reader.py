"""What only MLflow can tell of a model version: its tags, and its MLmodel file.

MLflow is imported at first use, as that takes seconds. It makes SDK clients of its own, whose
waiting (300 s and more) cannot be set from outside, so everything here runs in a lane.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml
from databricks.sdk.errors.base import DatabricksError

from controller.workspace.client import translated
from controller.workspace.errors import Denied, Refused, Unreachable, WorkspaceError
from controller.workspace.lane import Lane

Result = TypeVar("Result")

REGISTRY = "databricks-uc"
TRACKING = "databricks"
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow 3.17 forgets the tracking URI on its way to a model's files, and would make a SQLite
    # database in the working directory.
    "MLFLOW_TRACKING_URI": TRACKING,
}
"""One attempt of ten seconds per request, and no progress bars in the log; seconds throughout."""
LARGEST = 1_000_000
"""Bytes of a file that is read. MLmodel has a few thousand; YAML takes seconds for a megabyte."""


class MlflowReader:
    """Reads model versions through MLflow's own clients, each read within the deadline."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        # One for each thing that is read: who asks again while it hangs waits for the same call.
        self._tags: dict[str, Lane[Mapping[str, str]]] = {}
        self._signatures: dict[str, Lane[Mapping[str, Any]]] = {}
        self._examples: dict[str, Lane[str | None]] = {}

    def tags(self, model: str, version: str) -> Mapping[str, str]:
        """The tags of a version; the registry's list does not carry them."""
        what = f"model {model} version {version}"
        return self._bounded(self._tags, what, partial(_tags, model, version))

    def signature(self, model: str, version: str) -> Mapping[str, Any]:
        """The signature in the version's MLmodel file, as it stands there; empty without one."""
        what = f"model {model} version {version}, its MLmodel file"
        return self._bounded(self._signatures, what, partial(_signature, model, version))

    def example(self, model: str, version: str) -> str | None:
        """The request that MLflow made of a version's input example, as JSON text; None without.

        It is the model's author's data: it is for a file of the user's, and never for the log.
        """
        what = f"model {model} version {version}, its input example"
        return self._bounded(self._examples, what, partial(_example, model, version))

    def has_signature(self, model: str, version: str) -> bool:
        """Whether the version's MLmodel file holds a signature."""
        return bool(self.signature(model, version))

    def _bounded(
        self, lanes: dict[str, Lane[Result]], what: str, read: Callable[[], Result]
    ) -> Result:
        lane = lanes.setdefault(
            what, Lane(what, partial(_translated, what, read), self._deadline_s)
        )
        with translated(what):
            return lane()


def _translated(what: str, read: Callable[[], Result]) -> Result:
    """Run in the lane, with MLflow's exceptions as this package's."""
    # setdefault: whoever runs Headgate may know a better number for their network.
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

    try:
        return read()
    except MlflowException as error:
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        raise _error(what, error.error_code, status) from error
    except (requests.RequestException, DatabricksError):
        raise  # OSErrors too, and translated by the caller
    except OSError as error:
        raise Unreachable(
            f"{what}: it could not be put into a temporary folder ({error.strerror}): free some "
            "space, or set TMPDIR; Headgate looks again"
        ) from error


def _error(what: str, code: str, status: int) -> WorkspaceError:
    """The kind of an MLflow error; `INTERNAL_ERROR` is also its word for everything else."""
    if status in (401, 403) or code == "PERMISSION_DENIED":
        return Denied(
            f"{what}: permission denied: Headgate's identity needs EXECUTE on the model, "
            "USE CATALOG and USE SCHEMA on its parents"
        )
    if status == 404 or code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):  # noqa: PLR2004 - HTTP
        return Refused(f"{what}: not found: it may have been deleted")
    return Unreachable(f"{what}: MLflow could not read it ({code}): Headgate looks again")


def _tags(model: str, version: str) -> dict[str, str]:
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    client = MlflowClient(tracking_uri=TRACKING, registry_uri=REGISTRY)
    return dict(client.get_model_version(model, version).tags)


def _signature(model: str, version: str) -> Mapping[str, Any]:
    return _described(model, version, "signature")


def _example(model: str, version: str) -> str | None:
    # MLflow names the file in MLmodel (mlflow 3.17, `models.utils._Example`).
    file = _described(model, version, "saved_input_example_info").get("serving_input_path")
    return _file(model, version, file) if isinstance(file, str) else None


def _described(model: str, version: str, part: str) -> Mapping[str, Any]:
    """A mapping in the version's MLmodel file; empty without it. `Refused`, if it is no YAML."""
    text = _file(model, version, "MLmodel")
    try:
        described = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a date or a number by its form alone, such as 2026-13-01.
        raise Refused(
            f"model {model} version {version}: its MLmodel file is no YAML that can be read: log "
            "the model again"
        ) from error
    found = described.get(part) if isinstance(described, dict) else None
    return found if isinstance(found, dict) else {}


def _file(model: str, version: str, name: str) -> str:
    """The text of a version's file; `Refused`, if it is larger than what is read."""
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - takes seconds

    with tempfile.TemporaryDirectory(prefix="headgate-") as folder:
        fetched = download_artifacts(
            artifact_uri=f"models:/{model}/{version}/{name}",
            dst_path=folder,
            tracking_uri=TRACKING,
            registry_uri=REGISTRY,
        )
        path = Path(fetched)
        if path.stat().st_size > LARGEST:
            raise Refused(
                f"model {model} version {version}: its file {name} is larger than {LARGEST:,} "
                "bytes, which is too long to read: log the model again with a smaller one"
            )
        return path.read_text(encoding="utf-8")
