"""Names on their way into URLs and SQL: the only two helpers that put them there."""

import re
from urllib.parse import quote

from controller.workspace.errors import Refused

PART = re.compile(r"[^\x00-\x20\x7f`./]{1,255}")
"""What Unity Catalog allows in one part of a name, less the backtick.

Databricks' documentation, "Names": no period, space, slash, control character or delete.
"""
PARTS = 3


def segment(name: str) -> str:
    """A name as exactly one segment of a URL path.

    The SDK formats names into paths as they are, and every HTTP client resolves `..`. A slash is
    refused, not quoted: many a server and proxy unquotes it before it looks at the segments.
    """
    if not name.strip(".") or not name.isprintable() or "/" in name or "\\" in name:
        raise Refused(f"{name!r} cannot be a name in a workspace: correct the configuration")
    return quote(name, safe="")


def identifier(table: str) -> str:
    """A three-level table name, checked and backtick-quoted, fit to stand in a statement."""
    parts = table.split(".")
    if len(parts) != PARTS or not all(PART.fullmatch(part) for part in parts):
        raise Refused(
            f"{table!r} is not a table name of the form catalog.schema.table: "
            "correct inference_table in the configuration"
        )
    return ".".join(f"`{part}`" for part in parts)
