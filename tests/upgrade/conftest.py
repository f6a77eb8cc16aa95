"""The workspace, the database and the applications of the tests from end to end."""

from tests.end_to_end.conftest import course, daemon, postgres, workspace

__all__ = ["course", "daemon", "postgres", "workspace"]
