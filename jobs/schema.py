"""The tables of the job database, the same in SQLite and PostgreSQL.

A change here needs a migration in ``jobs/migrations/versions``; a test compares the two.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    false,
)

MAX_TEXT = 10_000
"""Characters of a name or message that are kept."""
MAX_ID = 200
"""Characters of an id that are kept as they are: PostgreSQL has no index over long texts."""


def clean_text(text: str) -> str:
    """The text as every database takes it: no NUL, nothing that is not Unicode, not endless."""
    whole = text[:MAX_TEXT].replace("\x00", "")
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_id(text: str) -> str:
    """The id itself, or where a database would not take it one that no other id becomes."""
    clean = clean_text(text)
    if clean == text and len(text) <= MAX_ID:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{clean[: MAX_ID - 65]}#{digest}"


def search_key(text: str) -> str:
    """Equal for texts that people take for the same: case and composed accents do not count."""
    normal = unicodedata.normalize("NFKC", clean_text(text))
    return unicodedata.normalize("NFKC", normal.casefold())


class CleanText(TypeDecorator[str]):
    """Text that comes from people and files; see :func:`clean_text`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else clean_text(value)


class CleanId(TypeDecorator[str]):
    """Ids, some of which name people or come out of a link; see :func:`clean_id`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else clean_id(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", CleanId, primary_key=True),
    Column("origin", CleanId, nullable=False),
    Column("owner", CleanId, nullable=False),
    Column("client", CleanId, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("search_key", Text, nullable=False),
    Column("state", CleanId, nullable=False),
    Column("request", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("storage_id", CleanId, nullable=False),
    Column("runner", CleanId),
    Column("cancel_wanted", Boolean, nullable=False),
    Column("fraction", Double, nullable=False),
    Column("done_s", Double, nullable=False),
    Column("total_s", Double),
    Column("message", CleanText, nullable=False),
    Column("language", CleanText),
    Column("language_probability", Double),
    Column("model", CleanText),
    Column("gaps", Text, nullable=False),
    Column("error", Text),
    Column("report", Text),
    Column("outputs", Text, nullable=False),
    Column("source_id", CleanId),
    Column("resumes", Integer, nullable=False),
    Index(None, "owner", "created_at"),
    Index(None, "state", "runner"),
)

history = Table(
    "history",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("job_id", CleanId, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("text", CleanText, nullable=False),
    Index(None, "job_id"),
)

segments = Table(
    "segments",
    metadata,
    Column("job_id", CleanId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("payload", Text, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("job_id", CleanId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("settled", Double),
)
"""Jobs whose end is to be told (``jobs.webhook_store``); the request has the address."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", CleanId, primary_key=True),
    Column("key", CleanId, primary_key=True),
    Column("job_id", CleanId, ForeignKey("jobs.id", ondelete="CASCADE")),
    Column("runner", CleanId, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Index(None, "job_id"),
)
"""Which submission made which job (``jobs.idempotency``)."""

runners = Table(
    "runners",
    metadata,
    Column("id", CleanId, primary_key=True),
    Column("storage_id", CleanId, nullable=False),
    Column("beat_at", Double, nullable=False),
)

memory_peaks = Table(
    "memory_peaks",
    metadata,
    Column("device", CleanId, primary_key=True),
    Column("model", CleanId, primary_key=True),
    Column("compute_type", CleanId, primary_key=True),
    Column("batch_size", Integer, primary_key=True, autoincrement=False),
    Column("beam_size", Integer, primary_key=True, autoincrement=False),
    Column("peak_mib", Double, nullable=False),
    Column("runs", Integer, nullable=False),
)
"""What ``gpu.peaks`` learns from."""

asr_configs = Table(
    "asr_configs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, server_default=""),
    Column("api_url", Text, server_default=""),
    Column("model_name", Text, server_default=""),
    Column("is_active", Boolean, server_default=false()),
    Column("is_default", Boolean, server_default=false()),
    Column("kind", Text, server_default=""),
    Column("api_key", Text, server_default=""),
    Column("priority", Integer, server_default="100"),
    Column("parallel", Integer, server_default="2"),
    Column("timeout_s", Double, server_default="60"),
    Column("timeout_per_audio_s", Double, server_default="4"),
    Column("max_clip_s", Double, server_default="30"),
    Column("mode", Text, server_default="offline"),
    Column("capabilities", Text, server_default=""),
)
"""Remote speech endpoints (``jobs.endpoint_rows``). People write here by psql, so that every column
but the id may be left out, and may hold anything."""
