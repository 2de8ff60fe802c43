"""Files that are there whole or not at all, and how a full disk shows."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def disk_is_full(error: BaseException) -> bool:
    """Whether this is an OSError of a full disk or a used-up quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def how_to_own(folder: Path) -> str:
    """What makes a data directory writable for the user this process runs as."""
    return (
        f"Give it to the service's user, `sudo chown -R {os.getuid()}:{os.getgid()} {folder}` (a"
        " volume of Docker: docs/docker.md), or choose another with WHISPER_DATA_DIR."
    )


def replace_file(
    path: Path, content: bytes | Iterable[bytes], *, private: bool = False, durable: bool = True
) -> None:
    """Write beside the file and move over it: a reader sees the old content or the new one.
    Raises OSError; then the file is as it was.

    Args:
        content: all of it, or piece by piece.
        private: only its owner may read it.
        durable: it is there after a power cut as well, for which each write waits for the disk.
    """
    with _beside(path, content, private, durable) as temporary:
        temporary.replace(path)


def create_file(path: Path, content: bytes, *, private: bool = False) -> bool:
    """Write a file that is not there yet; False where another process was first, whose file stays.
    Raises OSError."""
    with _beside(path, content, private, durable=True) as temporary:
        try:
            # Unlike a rename, a link never replaces what another process has just made.
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def _beside(
    path: Path, content: bytes | Iterable[bytes], private: bool, durable: bool
) -> Iterator[Path]:
    """The content in a file of its own, which is gone in the end."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(temporary, flags, 0o600 if private else 0o666), "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
