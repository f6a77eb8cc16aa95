"""Temporary directories that a killed sandbox leaves for as long as until the next one starts."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DATA_PREFIX = "databricks-sandbox-"
SOCKET_PREFIX = "headgate-"
"""Short, because the path of a Unix socket may have 104 bytes only."""
_OWNER = "owner"
"""A file that is locked for as long as the directory's owner lives."""


@contextlib.contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A directory of this process, removed at the end; those of dead processes are removed now."""
    here = Path(tempfile.gettempdir())
    for left in here.glob(f"{prefix}*"):
        _sweep(left)
    # It gets the name by which others look for it once it is locked, and not before.
    made = Path(tempfile.mkdtemp(prefix="."))
    directory = made.with_name(prefix + made.name.lstrip("."))
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context((made / _OWNER).open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(directory)
        # Processes of ours may still write for a moment after they were told to end.
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        yield directory


def _sweep(directory: Path) -> None:
    """Remove the directory if it is of a sandbox that has died."""
    try:
        with (directory / _OWNER).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        # It is alive, or another's, or has gone meanwhile: in each case not ours to remove.
        return
