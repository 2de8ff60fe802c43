"""The id of a data directory is a storage id, no longer a place."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    for table in ("jobs", "runners"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN place TO storage_id")


def downgrade() -> None:
    for table in ("jobs", "runners"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN storage_id TO place")
