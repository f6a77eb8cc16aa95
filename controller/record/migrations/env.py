"""Alembic's entry: the store hands over its own connection, inside one write transaction."""

from alembic import context

from controller.record.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # The store began the transaction: a half-made schema is never committed.
    transactional_ddl=False,
)
context.run_migrations()
