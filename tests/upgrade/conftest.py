"""The workspace, the database and the applications of the tests from end to end."""

from tests.end_to_end.conftest import course, daemon, nursery, postgres, workspace

__all__ = ["course", "daemon", "nursery", "postgres", "workspace"]
