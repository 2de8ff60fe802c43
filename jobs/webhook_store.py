"""Which webhooks are still to be called: one row for each job that asked for one.

The row says nothing of the job's end. A call is due when the job has ended at another time than the
one the row has settled, so every end is told once, whichever service and whatever ended the job.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, or_, select, update

from jobs import schema
from jobs.database import Database

jobs, webhooks = schema.jobs, schema.webhooks


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call that is due, as it was found."""

    job_id: str
    ended_at: float
    attempts: int
    """Failed ones since the job ended."""
    next_at: float


class WebhookStore:
    """Each method is one transaction; raises as those of ``jobs.store.JobStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, storage_id: str, now: float, limit: int) -> list[DueCall]:
        """Calls for jobs with files in that data directory, those that wait longest first."""
        not_told = or_(webhooks.c.settled.is_(None), webhooks.c.settled != jobs.c.ended_at)
        asked = (
            select(jobs.c.id, jobs.c.ended_at, webhooks.c.attempts, webhooks.c.next_at)
            .join(jobs, jobs.c.id == webhooks.c.job_id)
            .where(jobs.c.storage_id == storage_id, jobs.c.ended_at.is_not(None), not_told)
            .where(webhooks.c.next_at <= now)
            .order_by(webhooks.c.next_at)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [DueCall(*row) for row in connection.execute(asked).all()]

    def claim(self, call: DueCall, until: float) -> bool:
        """Take a call over; only one of several services succeeds. It is due again at that time,
        unless the outcome is written before."""
        return self._change(call, call.next_at, next_at=until)

    def postpone(self, call: DueCall, claimed_until: float, next_at: float) -> None:
        """It failed, and is tried again."""
        self._change(call, claimed_until, next_at=next_at, attempts=call.attempts + 1)

    def settle(self, call: DueCall, claimed_until: float) -> None:
        """It was delivered or given up."""
        self._change(call, claimed_until, next_at=0.0, attempts=0, settled=call.ended_at)

    def _change(self, call: DueCall, seen_next_at: float, **values: float) -> bool:
        seen = and_(webhooks.c.job_id == call.job_id, webhooks.c.next_at == seen_next_at)
        with self._database.write() as connection:
            return connection.execute(update(webhooks).where(seen).values(values)).rowcount == 1
