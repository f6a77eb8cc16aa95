"""What tests of the controller share: a real PostgreSQL, started where it is asked for."""

from collections.abc import Iterator

import pytest

from tests.controller.postgres import Postgres, started


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with started(tmp_path_factory.mktemp("postgres")) as running:
        yield running
