"""What the service remembers of its jobs: each method is one transaction of the database.

Every method raises ``core.errors.DatabaseUnavailable`` when the database does not answer, and those
that write raise DiskFull when it is full; then the call has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exc, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import CapacityError, NoSuchJob
from core.types import Gap, JobReport
from jobs import schema
from jobs.database import Database
from jobs.idempotency import BoundKey
from jobs.records import (
    RECORD_FIELDS,
    HistoryEntry,
    JobRecord,
    dump,
    dump_error,
    load,
    load_error,
    load_request,
)
from jobs.states import JobState

log = logging.getLogger(__name__)

_NOT_ENDED = [state.value for state in JobState if not state.ended]
_ENDED = [state.value for state in JobState if state.ended]

_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "state": lambda state: JobState(state).value,
    "request": dump,
    "gaps": dump,
    "outputs": lambda outputs: dump(dict(outputs)),
    "error": lambda error: None if error is None else dump_error(error),
    "report": lambda report: None if report is None else dump(report),
}
_READ: dict[str, Callable[[Any], Any]] = {
    "state": JobState,
    "request": load_request,
    "gaps": lambda text: load(tuple[Gap, ...], text),
    "outputs": lambda text: load(dict[str, Path], text),
    "error": lambda text: None if text is None else load_error(text),
    "report": lambda text: None if text is None else load(JobReport, text),
}

jobs, history, segments, runners = schema.jobs, schema.history, schema.segments, schema.runners


class JobStore:
    """Jobs, their history and journal, and the services that run them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.dialect == "sqlite" else postgresql.insert

    @property
    def answers(self) -> bool:
        """Whether the database did when it was last asked."""
        return self._database.answers

    # Jobs

    def insert(self, record: JobRecord, key: BoundKey | None = None) -> None:
        """Store a job, with the key of the submission that made it. Raises CapacityError: another
        submission has the key."""
        values = {name: getattr(record, name) for name in RECORD_FIELDS}
        with self._database.write() as connection:
            connection.execute(jobs.insert(), _columns(values))
            if record.request.webhook is not None:
                row = {"job_id": record.id, "attempts": 0, "next_at": 0.0}
                connection.execute(schema.webhooks.insert(), row)
            if key is not None:
                keys = schema.idempotency_keys
                mine = and_(keys.c.owner == record.owner, keys.c.key == key.key)
                bound = {"job_id": record.id, "fingerprint": key.fingerprint.dump()}
                free = and_(mine, keys.c.job_id.is_(None), keys.c.runner == record.runner)
                if connection.execute(update(keys).where(free).values(bound)).rowcount != 1:
                    raise CapacityError("Another submission has taken over the Idempotency-Key.")

    def get(self, job_id: str) -> JobRecord | None:
        with self._database.read() as connection:
            found = connection.execute(select(jobs).where(jobs.c.id == job_id)).all()
        return next(iter(_records(found)), None)

    def update(self, job_id: str, **fields: Any) -> bool:
        """Change fields of :class:`JobRecord`; False when there is no such job."""
        if not fields:
            return self.get(job_id) is not None
        with self._database.write() as connection:
            change = update(jobs).where(jobs.c.id == job_id).values(_columns(fields))
            return connection.execute(change).rowcount == 1

    def delete(self, job_id: str) -> None:
        """Forget a job, its journal and its history."""
        with self._database.write() as connection:
            connection.execute(delete(jobs).where(jobs.c.id == job_id))

    def find(
        self,
        *,
        owner: str | None = None,
        text: str = "",
        states: Collection[JobState] = (),
        origin: str | None = "service",
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[list[JobRecord], int]:
        """Jobs, newest first, and how many there are beyond ``limit`` and ``offset``.

        ``text`` is part of the name, in any case, or the beginning of the id.
        """
        chosen: list[ColumnElement[bool]] = []
        if owner is not None:
            chosen.append(jobs.c.owner == owner)
        if origin is not None:
            chosen.append(jobs.c.origin == origin)
        if states:
            chosen.append(jobs.c.state.in_([state.value for state in states]))
        if wanted := schema.clean_text(text).strip():
            start = func.substr(jobs.c.id, 1, len(wanted))
            name = jobs.c.search_key.contains(schema.search_key(wanted), autoescape=True)
            chosen.append(or_(name, start == wanted))
        page = select(jobs).where(*chosen).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(jobs).where(*chosen))
            found = connection.execute(page.limit(limit).offset(offset)).all()
            return _records(found), total.scalar_one()

    def ended_before(self, time: float, storage_id: str) -> list[str]:
        """Ids of jobs whose files lie there and that ended before that time, oldest first."""
        old = and_(
            jobs.c.storage_id == storage_id, jobs.c.state.in_(_ENDED), jobs.c.ended_at < time
        )
        return self._ids(select(jobs.c.id).where(old).order_by(jobs.c.ended_at))

    # History and journal

    def add_history(self, job_id: str, entry: HistoryEntry) -> None:
        """Add a line; the same one again changes nothing. Raises NoSuchJob."""
        row = {"job_id": job_id, "at": entry.at, "kind": entry.kind, "text": entry.text}
        same = and_(*(history.c[name] == value for name, value in row.items()))
        with self._adding(job_id) as connection:
            if connection.execute(select(history.c.number).where(same)).first() is None:
                connection.execute(history.insert(), row)

    def history(self, job_id: str) -> list[HistoryEntry]:
        """Lines in the order they were added."""
        mine = select(history).where(history.c.job_id == job_id).order_by(history.c.number)
        with self._database.read() as connection:
            return [HistoryEntry(row.at, row.kind, row.text) for row in connection.execute(mine)]

    def record_segment(self, job_id: str, index: int, key: str, payload: str) -> None:
        """Keep what a segment gave; what was kept of it before is replaced. Raises NoSuchJob."""
        row = {"job_id": job_id, "number": index, "key": key, "payload": payload}
        written = self._insert(segments).values(row)
        with self._adding(job_id) as connection:
            connection.execute(
                written.on_conflict_do_update(
                    index_elements=[segments.c.job_id, segments.c.number],
                    set_={"key": key, "payload": payload},
                )
            )

    def segments(self, job_id: str) -> dict[int, tuple[str, str]]:
        """Key and payload of each segment that was kept."""
        mine = select(segments).where(segments.c.job_id == job_id)
        with self._database.read() as connection:
            return {row.number: (row.key, row.payload) for row in connection.execute(mine)}

    def forget_segments(self, job_id: str, indices: Collection[int] | None = None) -> None:
        """Forget some segments of a job; None: all."""
        mine = delete(segments).where(segments.c.job_id == job_id)
        if indices is not None:
            mine = mine.where(segments.c.number.in_(list(indices)))
        with self._database.write() as connection:
            connection.execute(mine)

    # Services on this database

    def beat(self, runner: str, storage_id: str, now: float) -> None:
        """Say that a service lives."""
        written = self._insert(runners).values(id=runner, storage_id=storage_id, beat_at=now)
        with self._database.write() as connection:
            connection.execute(
                written.on_conflict_do_update(
                    index_elements=[runners.c.id], set_={"storage_id": storage_id, "beat_at": now}
                )
            )

    def leave(self, runner: str) -> None:
        """Say that a service has ended."""
        with self._database.write() as connection:
            connection.execute(delete(runners).where(runners.c.id == runner))

    def wanted_cancels(self, runner: str) -> list[str]:
        """Jobs of that service that were cancelled, perhaps from another service."""
        mine = and_(jobs.c.runner == runner, jobs.c.cancel_wanted)
        return self._ids(select(jobs.c.id).where(mine, jobs.c.state.in_(_NOT_ENDED)))

    def waiting_orphans(
        self, storage_id: str, dead: Callable[[str, float], bool]
    ) -> list[JobRecord]:
        """Jobs with files in that data directory that no service works on any more, oldest first.

        ``dead`` is asked with the id of each job's service and the time of its last beat, 0 where
        it has left.
        """
        open_jobs = (
            select(jobs, runners.c.beat_at)
            .join(runners, runners.c.id == jobs.c.runner, isouter=True)
            .where(jobs.c.storage_id == storage_id, jobs.c.origin == "service")
            .where(jobs.c.state.in_(_NOT_ENDED))
            .order_by(jobs.c.created_at, jobs.c.id)
        )
        with self._database.read() as connection:
            found = connection.execute(open_jobs).all()
        gone = {
            runner: dead(runner, beat_at or 0.0)
            for runner, beat_at in {(row.runner, row.beat_at) for row in found}
            if runner is not None
        }
        return _records(row for row in found if gone.get(row.runner, True))

    def claim(self, job_id: str, seen_runner: str | None, runner: str) -> bool:
        """Take over a job from the service it was seen with; only one of several succeeds."""
        seen = and_(jobs.c.id == job_id, jobs.c.runner == seen_runner)
        change = update(jobs).where(seen, jobs.c.state.in_(_NOT_ENDED)).values(runner=runner)
        with self._database.write() as connection:
            return connection.execute(change).rowcount == 1

    def _ids(self, asked: Any) -> list[str]:
        with self._database.read() as connection:
            return list(connection.execute(asked).scalars())

    @contextmanager
    def _adding(self, job_id: str) -> Iterator[Connection]:
        """A transaction that adds rows to a job, which may have been deleted meanwhile."""
        try:
            with self._database.write() as connection:
                yield connection
        except exc.IntegrityError as error:
            raise NoSuchJob(f"There is no job {job_id}.") from error


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a record as columns. Raises TypeError on a name that is none."""
    if unknown := fields.keys() - set(RECORD_FIELDS):
        raise TypeError(f"not a field of JobRecord: {', '.join(sorted(unknown))}")
    columns = {name: _WRITTEN.get(name, lambda v: v)(value) for name, value in fields.items()}
    if "name" in fields:
        columns["search_key"] = schema.search_key(fields["name"])
    return columns


def _records(rows: Iterable[Row[Any]]) -> list[JobRecord]:
    """The rows as records, without any that this version cannot read: one must not hide all."""
    records = []
    for row in rows:
        values = {name: getattr(row, name) for name in RECORD_FIELDS}
        try:
            records.append(
                JobRecord(**{n: _READ.get(n, lambda v: v)(value) for n, value in values.items()})
            )
        except (TypeError, ValueError) as error:
            log.error("Job %s cannot be read from the database: %s", row.id, error)
    return records
