"""What a database, and the folder it lies in, complain about, in the words of ``core.errors``."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from urllib.parse import quote

import psycopg
from sqlalchemy import URL, exc

from core.errors import DatabaseUnavailable, DiskFull, InvalidOption, SubtitleError
from core.files import disk_is_full, how_to_own

_WRITABLE = "Make the data directory writable, or choose another with WHISPER_DATA_DIR."
_DAMAGED = (
    "The file is damaged: restore it from a backup, or move it away to start with an empty one."
)
_HINTS = {
    "SQLITE_BUSY": "Another program has the file open; close it there.",
    "SQLITE_READONLY": _WRITABLE,
    "SQLITE_CANTOPEN": _WRITABLE,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
}
_MIB = 1024 * 1024


def cannot_write(error: OSError, folder: Path) -> DiskFull | InvalidOption:
    """Why nothing can be written in the data directory."""
    if disk_is_full(error):
        return DiskFull(f"No space left in the data directory {folder}.")
    return InvalidOption(
        f"Cannot write in the data directory {folder}: {error.strerror or error}.",
        hint=how_to_own(folder),
    )


def explained(error: exc.SQLAlchemyError, database: str, url: URL) -> SubtitleError | None:
    """The error that says so: the database is away, busy or full. None: a fault of ours."""
    if isinstance(error, exc.TimeoutError):
        return DatabaseUnavailable(f"{database} is busy: no connection came free.")
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return None
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite(cause, database, Path(url.database or ""))
    if isinstance(cause, psycopg.errors.DiskFull):
        return DiskFull(f"{database} has no space left.", hint="Free space on the database's disk.")
    away = (
        error.connection_invalidated
        or isinstance(error, exc.OperationalError | exc.InterfaceError)
        or isinstance(cause, psycopg.errors.ReadOnlySqlTransaction)
    )
    if not away:
        return None
    return DatabaseUnavailable(f"{database} does not answer: {_reason(error, url)}")


def unusable(error: exc.SQLAlchemyError, database: str, url: URL) -> DatabaseUnavailable:
    """For opening it, where every complaint is one of the set-up."""
    return DatabaseUnavailable(
        f"{database} cannot be used: {_reason(error, url)}",
        hint="Check DATABASE_URL, and that the user may create tables.",
    )


def _sqlite(cause: sqlite3.Error, database: str, path: Path) -> SubtitleError | None:
    # Results have their kind in the name and details after it: SQLITE_IOERR_WRITE.
    name = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
    if name == "SQLITE_FULL" or (
        # A file that cannot grow, or cannot be made, is not always called full.
        name in ("SQLITE_IOERR", "SQLITE_CANTOPEN") and _no_room(path)
    ):
        return DiskFull(f"No space left for {path.name} in {path.parent}.")
    if isinstance(cause, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return None
    if isinstance(cause, sqlite3.OperationalError | sqlite3.InterfaceError) or name in _HINTS:
        return DatabaseUnavailable(f"{database} does not answer: {cause}.", hint=_HINTS.get(name))
    return None


def _no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _MIB
    except OSError:
        return False


def _reason(error: exc.SQLAlchemyError, url: URL) -> str:
    """What the database itself says, in one line and without the password."""
    said = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    reason = str(said).strip().partition("\n")[0]
    password = str(url.password or "")
    for secret in (password, quote(password, safe="")):
        if secret:
            reason = reason.replace(secret, "***")
    return reason
