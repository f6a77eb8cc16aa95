"""Tokens for databases in Lakebase, of either kind, which PostgreSQL takes as passwords.

The token that the API itself is asked with is no password, and the pooled
host of a project takes none at all.
"""

from functools import cache

from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect, translated
from controller.workspace.errors import Unreachable

_client = cache(connect)


def token(database: str, client: WorkspaceClient | None = None) -> str:
    """A token for an instance, or for projects/P/branches/B/endpoints/E; it lives for an hour.

    WorkspaceError, if the workspace gives none.
    """
    place = f"Lakebase database {database}"
    asked = client or _client()
    with translated(place):
        made = (
            asked.postgres.generate_database_credential(database)
            if "/" in database
            else asked.database.generate_database_credential(instance_names=[database])
        )
    if not made.token:
        raise Unreachable(f"{place}: the workspace gave no token: Headgate asks again")
    return made.token
