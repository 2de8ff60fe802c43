"""Remote speech endpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    op.create_table(
        "asr_configs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, server_default=""),
        sa.Column("api_url", sa.Text, server_default=""),
        sa.Column("model_name", sa.Text, server_default=""),
        sa.Column("is_active", sa.Boolean, server_default=sa.false()),
        sa.Column("is_default", sa.Boolean, server_default=sa.false()),
        sa.Column("kind", sa.Text, server_default=""),
        sa.Column("api_key", sa.Text, server_default=""),
        sa.Column("priority", sa.Integer, server_default="100"),
        sa.Column("parallel", sa.Integer, server_default="2"),
        sa.Column("timeout_s", sa.Double, server_default="60"),
        sa.Column("timeout_per_audio_s", sa.Double, server_default="4"),
        sa.Column("max_clip_s", sa.Double, server_default="30"),
        sa.Column("mode", sa.Text, server_default="offline"),
        sa.Column("capabilities", sa.Text, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_asr_configs"),
    )


def downgrade() -> None:
    op.drop_table("asr_configs")
