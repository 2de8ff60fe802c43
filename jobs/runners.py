"""Which services live: what one that died has left undone is taken over by another.

A service holds a lock on a file of the data directory for its life. The system frees it the moment
the process dies, however that happens, so a service that shares the machine and the directory knows
at once. Services elsewhere, and file systems that do not share locks, go by the beats in the
database.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import secrets
import time
from pathlib import Path

from core.errors import DatabaseUnavailable, DiskFull, SubtitleError
from core.files import create_file
from jobs.database_errors import cannot_write
from jobs.store import JobStore

log = logging.getLogger(__name__)

DEAD_AFTER_S = 30.0
"""Silence after which a service whose lock cannot be seen counts as dead."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Runner:
    """This process as one that runs jobs. Ids are ``PLACE.MACHINE.RANDOM``."""

    def __init__(self, data_dir: Path, store: JobStore) -> None:
        """Raises DiskFull or InvalidOption where nothing can be written in the data directory."""
        self._store = store
        self._folder = data_dir / "runners"
        self._handle: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Older versions called it a place.
            self.storage_id = _storage_id(data_dir / "place.txt")
        except OSError as error:
            raise cannot_write(error, data_dir) from error
        self._here = f"{self.storage_id}.{_machine()}."
        self.id = self._here + secrets.token_hex(8)

    def start(self) -> None:
        """Live from now on. Raises DatabaseUnavailable, DiskFull, InvalidOption."""
        lock = self._lock(self.id)
        # It gets its name when it is locked: no other process sees it free while this one lives.
        unseen = lock.with_suffix(".new")
        try:
            handle = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            unseen.rename(lock)
        except OSError as error:
            raise cannot_write(error, self._folder) from error
        self._handle = handle
        try:
            self.beat()
        except SubtitleError:
            self._unlock()
            raise

    def beat(self) -> None:
        """Say so in the database; more often than every 30 s. Raises DatabaseUnavailable."""
        self._store.beat(self.id, self.storage_id, time.time())

    def close(self) -> None:
        """Have ended. What is still open may be taken over by others at once."""
        if self._handle is None:
            return
        try:
            self._store.leave(self.id)
        except (DatabaseUnavailable, DiskFull) as error:
            # The lock is gone as well, and the beats stop.
            log.warning("Not signed off: %s", error)
        self._unlock()

    def is_dead(self, runner_id: str, last_beat_s: float) -> bool:
        """Whether that service will never go on with its jobs."""
        if not runner_id.startswith(self._here):
            return time.time() - last_beat_s > DEAD_AFTER_S
        lock = self._lock(runner_id)
        try:
            handle = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError as error:
            log.warning("%s cannot be opened: %s", lock, error)
            return False
        try:
            # Shared, so that two processes that look at once do not take each other for the owner.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            lock.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _lock(self, runner_id: str) -> Path:
        return self._folder / f"{runner_id}.lock"

    def _unlock(self) -> None:
        if self._handle is not None:
            self._lock(self.id).unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def _storage_id(path: Path) -> str:
    """Id of the data directory, the same for every service that uses it."""
    while True:
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if not create_file(path, f"{secrets.token_hex(8)}\n".encode()):
                log.debug("Another service has named %s", path.parent)


def _machine() -> str:
    """Id of the running kernel: locks of files are sure only among its processes."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")[:16]
    except OSError:
        return platform.node().replace(".", "-")[:40] or "unknown"
