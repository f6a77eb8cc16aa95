"""What tests of the controller share: a real PostgreSQL, started where it is asked for."""

from collections.abc import Iterator

import pytest

from tests.controller.postgres import Postgres, started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with started() as running:
        yield running
