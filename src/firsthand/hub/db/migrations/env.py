"""Alembic runs this file; the connection and its transaction are `migrate.py`'s."""

from alembic import context

from firsthand.hub.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
