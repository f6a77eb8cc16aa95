"""What all tests share: how they are spread over workers."""

import gc
import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOM = Path(__file__).parent
SLOWEST_FIRST = ("end_to_end", "deploy", "contract")
"""Folders whose tests share a workspace that takes long to start: each stays with one worker."""
ALONE = ("test_demo.py", "test_crash.py", "test_kills.py", "test_latency.py", "test_faults.py")
"""The longest stories end to end, which share no daemon: another worker runs them meanwhile."""
AT_ONCE = 3
"""How many workers run such tests: two processors hold no more stories in real time."""
YIELD = 5
"""How much nicer than the slow ones the others are to whoever needs the processor, too."""

# Nearly all that the import of the tests makes, and none of the rest, lives as long as they do.
gc.disable()


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A folder that shares a workspace is one piece of work; elsewhere each file is one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        folder = file.removeprefix("tests/").split("/", 1)[0]
        if folder not in SLOWEST_FIRST:
            return file
        return f"{folder}, alone" if Path(file).name in ALONE else folder

    def _assign_work_unit(self, node: object) -> None:
        """One more worker uses what those leave idle: it begins with the others at once."""
        if self.nodes.index(node) >= AT_ONCE:
            quick = (scope for scope in self.workqueue if scope.startswith("tests/"))
            first = next(quick, None)
            if first is not None:
                self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Spread the tests our way; called by pytest-xdist."""
    return ByFolder(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that the workers end together."""

    def rank(item: pytest.Item) -> int:
        folder = _folder(item)
        return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """From here on there is garbage; it is sought among what the tests make, not among them."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """The interpreter's end looks at all again: DuckDB complains of what it does not take down."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def niceness(request: pytest.FixtureRequest) -> None:
    """What waits for nothing but the processor leaves it to the stories in real time.

    They come first, so that a worker which has turned to the others never meets one again.
    """
    if _folder(request.node) not in SLOWEST_FIRST and os.nice(0) < YIELD:
        os.nice(YIELD - os.nice(0))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(ROOM).parts[0]
