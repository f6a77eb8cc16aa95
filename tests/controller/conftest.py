"""What tests of the controller share: a real PostgreSQL, started where it is asked for."""

from collections.abc import Iterator

import pytest

from tests.controller.postgres import Postgres, started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with started() as running:
        yield running


@pytest.fixture(autouse=True)
def unwrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are compared as a pipe has them, whatever the terminal of the tests is."""
    monkeypatch.delenv("COLUMNS", raising=False)
