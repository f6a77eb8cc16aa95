"""One daemon per store: a lock file that the operating system frees when its holder dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.record.errors import StoreHeld, StoreUnusable


def lock_file(store: Path) -> Path:
    """The file beside a store that its daemon holds."""
    return store.with_name(store.name + ".lock")


class Lock:
    """The store is ours while this is open; closing it, or dying, gives it back.

    The path is the file's own, without symbolic links, as `File` has it. What is locked is a file
    beside the store, and not the store itself: a restore puts another in its place meanwhile, and
    to close the store's file once would drop SQLite's own locks on it. So a store that is mounted
    as a file of its own into several folders has as many locks: mount its folder.
    """

    def __init__(self, store: Path) -> None:
        path = lock_file(store)
        try:
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"the lock file {path} cannot be opened ({error.strerror}): "
                "this user must be able to write it and its directory"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            who = f"process {holder}" if holder else "another process"
            raise StoreHeld(
                f"the store {store} is held by {who}: one daemon works on one store; "
                "stop that one, or name another file in HEADGATE_STORE"
            ) from error
        os.truncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode("ascii"))

    def close(self) -> None:
        """Give the store back; closing twice is closing once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
