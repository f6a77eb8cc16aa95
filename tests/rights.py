"""SECURITY.md's table of what Headgate asks of a workspace, and who asks for no more than that."""

import re
from pathlib import Path

from deploy.sandbox.workspace import Settings

_PAGE = (Path(__file__).parents[1] / "SECURITY.md").read_text(encoding="utf-8")
_ROW = re.compile(
    r"^\| `(?P<call>[A-Z]+ [^`]+)` \|[^|]*\|[^|]*\| (?P<by>[a-z-]+) \|$", re.MULTILINE
)
CALLS = {row["call"]: row["by"] for row in _ROW.finditer(_PAGE)}
"""Each call of the page's table, and what shows it."""
PRINCIPAL = {
    "DATABRICKS_TOKEN": "",
    "DATABRICKS_CLIENT_ID": Settings.client_id,
    "DATABRICKS_CLIENT_SECRET": Settings.client_secret,
}
"""The service principal, in place of the user."""
