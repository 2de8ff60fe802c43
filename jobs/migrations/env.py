"""Alembic's own entry: runs the migrations on the connection that ``jobs.upgrade`` holds.

``alembic`` by hand works on the database of the settings; it serves to write a new migration
(``alembic revision --autogenerate``).
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from core.settings import Settings
from jobs.database import Database
from jobs.schema import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = Database.at(Settings())
    with database.write() as own:
        run(own)
    database.close()
