"""The jobs' own folders: ``data_dir/jobs/<id>`` holds the audio while a job runs, then its files.

A folder is locked while its job runs, by the system and not by a file that could be left behind:
several processes may share a data directory, and after a crash the next start knows what is dead.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import DiskFull, InvalidOption

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class JobFolders:
    """Folders under ``data_dir/jobs``; nothing is created before the first job."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "jobs"

    def path(self, job_id: str) -> Path:
        return self.root / job_id

    @contextmanager
    def locked(self, job_id: str) -> Iterator[Path]:
        """The job's folder, made now, and marked as in use until the end.

        Raises DiskFull, InvalidOption where it cannot be made.
        """
        folder = self.path(job_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise _explained(error, self.root) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(handle)

    def remove(self, job_id: str) -> None:
        _remove(self.path(job_id))

    def sweep(self, keep_s: float, known: Collection[str]) -> None:
        """Remove what earlier runs of the app left: audio spools of jobs that no longer run, and
        folders older than ``keep_s``. ``known`` ids are somebody else's business."""
        try:
            folders = [Path(entry) for entry in os.scandir(self.root) if entry.is_dir()]
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be swept: %s", self.root, error)
            return
        for folder in folders:
            if folder.name not in known:
                _sweep_folder(folder, keep_s)


def _sweep_folder(folder: Path, keep_s: float) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        log.debug("%s is gone or not ours: %s", folder, error)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        old = time.time() - os.fstat(handle).st_mtime > keep_s
        spools = list(folder.glob("spool-*"))
    except OSError as error:
        log.debug("%s is in use: %s", folder, error)
        return
    finally:
        os.close(handle)
    for path in [folder] if old else spools:
        log.info("Removing what an earlier run left: %s", path)
        _remove(path)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s cannot be removed: %s", path, error)


def _explained(error: OSError, root: Path) -> DiskFull | InvalidOption:
    if error.errno in NO_SPACE:
        return DiskFull(f"No space left for the job's folder in {root}.")
    return InvalidOption(
        f"Cannot make the job's folder in {root}: {error.strerror or error}.",
        hint="Make the data directory writable, or choose another with WHISPER_DATA_DIR.",
    )
