"""Jobs with their history and journal, and the services that run them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    _jobs()
    op.create_table(
        "history",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_history_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_history"),
    )
    op.create_index("ix_history_job_id", "history", ["job_id"])
    op.create_table(
        "segments",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_segments_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_segments"),
    )
    op.create_table(
        "runners",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("beat_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runners"),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("search_key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("runner", sa.Text),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
        sa.Column("fraction", sa.Double, nullable=False),
        sa.Column("done_s", sa.Double, nullable=False),
        sa.Column("total_s", sa.Double),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("language", sa.Text),
        sa.Column("language_probability", sa.Double),
        sa.Column("model", sa.Text),
        sa.Column("gaps", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("source_id", sa.Text),
        sa.Column("resumes", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_owner_created_at", "jobs", ["owner", "created_at"])
    op.create_index("ix_jobs_state_runner", "jobs", ["state", "runner"])


def downgrade() -> None:
    for table in ("runners", "segments", "history", "jobs"):
        op.drop_table(table)
