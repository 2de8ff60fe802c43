"""Brings the tables of a database to the version of this program, by Alembic's migrations."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from core.errors import DatabaseUnavailable

_FOLDER = Path(__file__).resolve().parent / "migrations"

# Alembic keeps the migration that runs in module variables.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Run what is missing, in the caller's transaction; the caller holds others off.

    Raises DatabaseUnavailable where a newer version has written it.
    """
    config = _config(connection)
    script = ScriptDirectory.from_config(config)
    present = set(MigrationContext.configure(connection).get_current_heads())
    if present == set(script.get_heads()):
        return
    if not present <= {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseUnavailable(
            "The database was written by a newer version of this program.",
            hint="Start that version, or one after it; its jobs cannot be read by this one.",
        )
    with _one_at_a_time:
        command.upgrade(config, "head")


def downgrade(connection: Connection, revision: str = "base") -> None:
    """Go back to an older version's tables, in the caller's transaction; ``base``: none."""
    with _one_at_a_time:
        command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
