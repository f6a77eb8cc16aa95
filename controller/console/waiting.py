"""What is shown while a command works: on a terminal, and to nobody else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

Progress = Callable[[str], None]
"""Takes what is being done now, in a few words."""


def unseen(_doing: str) -> None:
    """The progress that nobody looks at."""


@contextmanager
def working(doing: str) -> Iterator[Progress]:
    """Show on the terminal that something is being done, and let it say what; in a pipe, nothing.

    It is written to stderr, and is gone at the end: what a command prints stays as it is.
    """
    if not sys.stderr.isatty():
        yield unseen
        return
    with Console(file=sys.stderr).status(Text(doing)) as status:
        yield lambda words: status.update(Text(words))
