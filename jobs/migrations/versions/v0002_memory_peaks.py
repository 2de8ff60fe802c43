"""What workers measured of their memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.create_table(
        "memory_peaks",
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("compute_type", sa.Text, nullable=False),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("beam_size", sa.Integer, nullable=False),
        sa.Column("peak_mib", sa.Double, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint(
            "device", "model", "compute_type", "batch_size", "beam_size", name="pk_memory_peaks"
        ),
    )


def downgrade() -> None:
    op.drop_table("memory_peaks")
