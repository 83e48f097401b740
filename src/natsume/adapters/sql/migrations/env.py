"""Runs the revisions over the connection that `migrating` has opened; alembic wants a file of this name."""

from alembic import context

from natsume.adapters.sql.migrating import VERSION_TABLE

connection = context.config.attributes["connection"]
# MySQL gives a primary key no other name than its own, and says so.
context.configure(
    connection=connection, version_table=VERSION_TABLE, version_table_pk=connection.dialect.name == "sqlite"
)
context.run_migrations()
