"""The jobs' own folders: ``data_dir/jobs/<id>`` holds the recording, the audio while the job runs,
then its transcript and files.

A folder is locked while its job runs, by the system and not by a file that could be left behind:
several processes may share a data directory, and after a crash the next start knows what is dead.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.errors import DiskFull, FileMissing, InvalidOption
from core.files import disk_is_full, how_to_own, replace_file
from jobs.request import Adoption

log = logging.getLogger(__name__)


TRANSCRIPT = "transcript.json.gz"

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")
"""What is kept of an uploaded file's name: enough for a player, nothing for an attack."""

MAX_UPLOAD_S = 24 * 3600.0
"""An upload that has not become a job by then never will."""


class JobFolders:
    """Folders under ``data_dir/jobs``; nothing is created before the first job."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "jobs"
        self.incoming = data_dir / "incoming"

    def path(self, job_id: str) -> Path:
        return self.root / job_id

    @contextmanager
    def locked(self, job_id: str) -> Iterator[Path]:
        """The job's folder, made now, and marked as in use until the end.

        Raises DiskFull, InvalidOption where it cannot be made.
        """
        folder = self.path(job_id)
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(in_use(folder))
            except OSError as error:
                raise _explained(error, self.root) from error
            for left in _unfinished(folder):
                _remove(left)
            yield folder

    def remove(self, job_id: str) -> None:
        _remove(self.path(job_id))

    def adopt(self, job_id: str, path: Path, name: str, how: Adoption) -> Path:
        """Give the job the recording; where it lies then.

        Raises:
            FileMissing: it is gone.
            DiskFull, InvalidOption: it cannot be kept.
        """
        if how == "no":
            return path
        folder = self.path(job_id)
        target = folder / recording_name(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # What a link points to may change or vanish; the job needs the file itself.
            source = path.resolve(strict=True)
            if how == "move":
                shutil.move(source, target)
                if path.parent.parent == self.incoming:
                    _remove(path.parent)
            else:
                _link_or_copy(source, target)
        except FileNotFoundError as error:
            self.remove(job_id)
            raise FileMissing(f"{name} does not exist any more.") from error
        except OSError as error:
            self.remove(job_id)
            raise _explained(error, self.root) from error
        return target

    def keep_transcript(self, job_id: str, text: str) -> None:
        """Keep what the job has found; it is there whole or not at all. Raises OSError."""
        compressed = gzip.compress(text.encode(), compresslevel=5)
        replace_file(self.path(job_id) / TRANSCRIPT, compressed, durable=False)

    def transcript(self, job_id: str) -> str | None:
        """What :meth:`keep_transcript` kept; None where there is nothing."""
        try:
            with gzip.open(self.path(job_id) / TRANSCRIPT, "rt", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def sweep(self, keep_s: float, known: Callable[[str], bool]) -> None:
        """Remove what earlier runs of the app left: audio spools of jobs that no longer run, and
        folders older than ``keep_s`` unless the job is ``known``."""
        try:
            folders = [Path(entry) for entry in os.scandir(self.root) if entry.is_dir()]
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be swept: %s", self.root, error)
            return
        for folder in folders:
            _sweep_folder(folder, None if known(folder.name) else keep_s)
        self._sweep_uploads()

    def _sweep_uploads(self) -> None:
        for folder in self.incoming.glob("*"):
            try:
                old = time.time() - folder.stat().st_mtime > MAX_UPLOAD_S
            except OSError as error:
                log.debug("%s is gone: %s", folder, error)
                continue
            if old:
                log.info("Removing an upload that never became a job: %s", folder)
                _remove(folder)


@contextmanager
def in_use(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Mark a folder as in use. Raises OSError: it is gone, or in use and ``wait`` is False."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def harmless_extension(name: str) -> str:
    """What a player guesses a file's kind from; empty where it is none or may be more than that."""
    extension = Path(name).suffix
    return extension.lower() if _EXTENSION.fullmatch(extension) else ""


def recording_name(name: str) -> str:
    """Name of a recording in its job's folder: chosen here, whatever it was called before."""
    return f"recording{harmless_extension(name)}"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if disk_is_full(error) or error.errno == errno.ENOENT:
            raise
        # Another disk, a file system without links, or another user's file.
        log.debug("%s is copied, not linked: %s", source, error)
        shutil.copyfile(source, target)


def _unfinished(folder: Path) -> list[Path]:
    """Audio and downloads of a run that was killed."""
    return [*folder.glob("spool-*"), *folder.glob("download-*")]


def _sweep_folder(folder: Path, keep_s: float | None) -> None:
    """``keep_s`` None: the folder stays, only what is unfinished in it goes."""
    try:
        with in_use(folder, wait=False):
            old = keep_s is not None and time.time() - folder.stat().st_mtime > keep_s
            unfinished = _unfinished(folder)
    except OSError as error:
        log.debug("%s is in use, gone or not ours: %s", folder, error)
        return
    for path in [folder] if old else unfinished:
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
    if disk_is_full(error):
        return DiskFull(f"No space left for the job's folder in {root}.")
    return InvalidOption(
        f"Cannot make the job's folder in {root}: {error.strerror or error}.",
        hint=how_to_own(root),
    )
