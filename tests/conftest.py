"""What all tests share: how they are spread over two workers."""

from pathlib import Path

import pytest

ROOM = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a folder with one worker where its tests share a workspace that takes long to start."""
    for item in items:
        folder = item.path.relative_to(ROOM).parts[0]
        if folder in ("contract", "deploy", "end_to_end"):
            item.add_marker(pytest.mark.xdist_group(folder))
