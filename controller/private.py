"""Files that hold a secret: for their owner only, read anew each time."""

import stat
from pathlib import Path


def owners_text(path: Path) -> str:
    """The text of a file that is for its owner only; ValueError with what is wrong with it."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(f"cannot be read: {told}") from error
    if mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise ValueError(f"others may read or change it: `chmod 600 {path}`")
    return text
