"""Alembic's entry: runs on the connection that `migrations.upgrade` hands over, in its transaction."""

from alembic import context

from services.topology.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transaction_per_migration=False,
    # SQLite can not change a column in place.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
