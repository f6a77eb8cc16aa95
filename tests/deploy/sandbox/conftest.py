"""A sandbox as a real process: one for all tests, and a maker of ones with other settings."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from deploy.sandbox.launch import Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The sandbox that tests share; names in it must be a test's own."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox") / "data") as started:
        yield started
        assert started.stop() == 0, "SIGTERM ends a sandbox with status 0"


@pytest.fixture
def fresh_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes with settings of their own, which end with the test."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(Sandbox.start(**settings))


@pytest.fixture
def clients(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The environment in which the SDK and MLflow find the shared sandbox."""
    monkeypatch.setenv("DATABRICKS_HOST", sandbox.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", sandbox.token)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return sandbox
