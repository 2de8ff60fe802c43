"""The database of the jobs: SQLite in the data directory, or PostgreSQL by its URL.

Connections, transactions and errors; what is stored stands in ``jobs.store``. Whatever a database
does when it is away, full or locked comes out as an error of ``core.errors``, and no message names
the password or the texts of a statement.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from core.errors import DatabaseUnavailable, DiskFull, InvalidOption, SubtitleError
from core.settings import Settings
from jobs.database_errors import cannot_write, explained, unusable
from jobs.upgrade import upgrade

log = logging.getLogger(__name__)

BUSY_S = 10.0
"""Longest wait for another writer."""

UPGRADE_LOCK = 7_378_697_629
"""Any number of our own, for PostgreSQL's advisory lock."""

_NETWORK = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "whisper-for-subs",
}
"""A database machine that vanished is noticed within seconds; the URL may say otherwise."""

_WRITES = "whisper_writes"


class Database:
    """Made by :meth:`open`. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._writing = engine.execution_options(**{_WRITES: True})
        self._answers = True
        self._open = False
        # SQLite has one writer; threads that queue here do not have to poll for its lock.
        self._turn = threading.Lock() if self.dialect == "sqlite" else None

    @classmethod
    def at(cls, settings: Settings) -> Database:
        """Not connected yet, and with the tables as they are. Raises InvalidOption."""
        if settings.database_url is None:
            return cls(_sqlite(settings.data_dir / "jobs.sqlite3"))
        return cls(_postgresql(settings.database_url))

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Connect, and bring the tables up to date.

        Raises:
            DatabaseUnavailable: it does not answer, or a newer version has written it.
            DiskFull: no room for it.
            InvalidOption: the URL, or a data directory in which nothing can be written.
        """
        database = cls.at(settings)
        lock: AbstractContextManager[None] = nullcontext()
        if database.dialect == "sqlite":
            lock = _file_lock(settings.data_dir / "jobs.sqlite3.lock")
        try:
            with lock, database.write() as connection:
                if database.dialect == "postgresql":
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
                    connection.execute(text("SET LOCAL lock_timeout = 0"))
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
                upgrade(connection)
        except exc.SQLAlchemyError as error:
            database.close()
            raise unusable(error, str(database), database._engine.url) from error
        except SubtitleError:
            database.close()
            raise
        database._open = True
        return database

    def __str__(self) -> str:
        url = self._engine.url
        if self.dialect == "sqlite":
            return f"The database {url.database}"
        return f"The database {url.database} on {url.host or 'this machine'}"

    @property
    def answers(self) -> bool:
        """Whether it did when it was last asked."""
        return self._answers

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads. Raises DatabaseUnavailable, also inside."""
        return self._transaction(self._engine)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed at the end. Raises DatabaseUnavailable or DiskFull, also inside
        and at the end."""
        turn = self._turn
        if turn is not None and not turn.acquire(timeout=BUSY_S):
            raise DatabaseUnavailable("The database is busy.")
        try:
            with self._transaction(self._writing) as connection:
                yield connection
        finally:
            if turn is not None:
                turn.release()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except exc.SQLAlchemyError as error:
            known = explained(error, str(self), self._engine.url)
            if known is None:
                raise
            if not self._open:
                raise known from error
            if isinstance(known, DiskFull):
                raise DiskFull("The database has no space left.") from error
            self._note(known)
            raise DatabaseUnavailable("The database does not answer.") from error
        self._note(None)

    def _note(self, failure: SubtitleError | None) -> None:
        """The log tells an outage once, with paths and addresses that are not for everybody."""
        answers = failure is None
        if answers == self._answers:
            return
        self._answers = answers
        if failure is None:
            log.info("%s answers again.", self)
        else:
            log.error("%s", failure.explain())


def _sqlite(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_S},
        hide_parameters=True,
        pool_timeout=BUSY_S,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: object) -> None:
        # The driver would begin by itself, and only before the first write.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads first and then wants to write cannot wait for another writer.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(address: str) -> Engine:
    hint = "Use postgresql://user:password@host/name."
    try:
        url = make_url(address)
    except (exc.ArgumentError, ValueError):
        # Without the cause, which may quote the password.
        raise InvalidOption("DATABASE_URL is not the address of a database.", hint=hint) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise InvalidOption("DATABASE_URL is not the address of a PostgreSQL database.", hint=hint)
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={k: v for k, v in _NETWORK.items() if k not in url.query},
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=BUSY_S,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = '{BUSY_S:g}s'")
        cursor.execute("SET statement_timeout = '30s'")
        cursor.close()
        connection.commit()

    return engine


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """One process at a time, however long a migration takes: SQLite's own lock is waited for only
    for a while. The system unlocks it when the process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise cannot_write(error, path.parent) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
