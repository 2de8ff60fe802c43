"""What workers measured of their memory, kept in the project's database.

A service starts with what earlier ones learned, and several services on one database learn from
each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import SubtitleError
from core.settings import Settings
from gpu.manager import gpu_manager
from gpu.peaks import Peak
from jobs import schema
from jobs.database import Database
from jobs.outbox import Outbox

log = logging.getLogger(__name__)

peaks = schema.memory_peaks


class PeakStore:
    """Raises DatabaseUnavailable or DiskFull, as everything that asks a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sqlite = database.dialect == "sqlite"

    def record(self, peak: Peak) -> None:
        """Keep a measurement: the highest of a set-up stays, and how often it was measured."""
        values = {name: getattr(peak, name) for name in Peak.__dataclass_fields__}
        insert = (sqlite.insert if self._sqlite else postgresql.insert)(peaks).values(values)
        # SQLite's two-argument max() is PostgreSQL's greatest().
        higher = func.max if self._sqlite else func.greatest
        statement = insert.on_conflict_do_update(
            index_elements=list(peaks.primary_key),
            set_={
                "peak_mib": higher(peaks.c.peak_mib, insert.excluded.peak_mib),
                "runs": peaks.c.runs + insert.excluded.runs,
            },
        )
        with self._database.write() as connection:
            connection.execute(statement)

    def all(self) -> list[Peak]:
        with self._database.read() as connection:
            return [Peak(**row) for row in connection.execute(select(peaks)).mappings()]


def learn(database: Database, outbox: Outbox) -> Callable[[], None]:
    """Begin with what is known, and keep what workers of this process report from now on. Returns
    the call that ends it, to be made before the outbox is closed."""
    store = PeakStore(database)
    gpu_manager.peaks.load(store.all())
    return gpu_manager.peaks.listen(lambda peak: outbox.put(partial(store.record, peak)))


def load_learned(settings: Settings) -> None:
    """For commands without a service: what was learned so far, if there is a database."""
    if settings.database_url is None and not (settings.data_dir / "jobs.sqlite3").exists():
        return
    try:
        database = Database.open(settings)
    except SubtitleError as error:
        # Estimates are right without it, only less exact.
        log.warning("What was measured earlier cannot be read: %s", error.explain())
        return
    try:
        gpu_manager.peaks.load(PeakStore(database).all())
    finally:
        database.close()
