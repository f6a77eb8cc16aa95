"""What all tests share: how they are spread over workers."""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOM = Path(__file__).parent
SLOWEST_FIRST = ("end_to_end", "deploy", "contract")
"""Folders whose tests share a workspace that takes long to start: each stays with one worker."""
KEPT_APART = {
    "test_crash.py": "alone",
    "test_kills.py": "alone",
    "test_latency.py": "alone",
    "test_demo.py": "demo",
    "test_faults.py": "faults",
}
"""The longest stories end to end, which share no daemon: other workers may run them meanwhile."""


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A folder that shares a workspace is one piece of work; elsewhere each file is one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = file.removeprefix("tests/").split("/", 1)[0]
        if folder not in SLOWEST_FIRST:
            return file
        apart = KEPT_APART.get(Path(file).name) if folder == "end_to_end" else None
        return f"{folder}, {apart}" if apart else folder


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Spread the tests our way; called by pytest-xdist."""
    return ByFolder(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that the workers end together."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOM).parts[0]
        return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)

    items.sort(key=rank)
