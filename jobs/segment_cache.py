"""Finished segments of commands, kept by content in a folder of the user's.

A command that was killed goes on where it was when it is called again, and other formats of the
same recording cost no decoding. A file is named by its key (``jobs.segment_keys``); it appears
whole or not at all and carries a checksum, so that several commands may share the folder and damage
is noticed. It is only a cache: it may be removed at any time.
"""

from __future__ import annotations

import gzip
import logging
import os
import tempfile
import threading
import zlib
from pathlib import Path
from typing import TypeVar

from core.events import LanguageDecided, SegmentEnd, SegmentFinished
from core.files import replace_file
from core.pcm import PcmSpool
from core.types import AudioSegment
from jobs.records import dump, load
from jobs.segment_keys import KEPT_SEGMENT, SegmentKeys

log = logging.getLogger(__name__)

T = TypeVar("T")

SLACK = 16
"""One such part of the size is left free when old entries go, so that they go rarely."""


class SegmentCache:
    """The folder. Thread-safe; processes may share it.

    Args:
        max_bytes: the folder's size. What was not used for longest goes first.

    Raises:
        OSError: nothing can be kept there.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._written = 0
        """Bytes since old entries last went."""
        self._failed = False
        # Transcripts are private.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            self._make_room(0)

    def get(self, kind: type[T], key: str) -> T | None:
        """What is kept under that key; None where there is nothing, or nothing that can be read."""
        path = self._folder / key
        try:
            value = load(kind, gzip.decompress(path.read_bytes()).decode())
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, zlib.error, ValueError) as error:
            log.warning("A cached segment cannot be read and is made again: %s", error)
            return None
        return value

    def put(self, key: str, value: object) -> None:
        """Keep it. The first failure is logged, and nothing more is kept then."""
        # No time inside: the same value gives the same bytes, whoever writes last.
        data = gzip.compress(dump(value).encode(), mtime=0)
        with self._lock:
            if self._failed:
                return
            try:
                if self._written + len(data) > self._max_bytes // SLACK:
                    self._make_room(len(data))
                # What a killed command leaves beside it counts, and goes like any old entry.
                replace_file(self._folder / key, data, private=True, durable=False)
            except OSError as error:
                self._failed = True
                log.warning(
                    "Finished segments cannot be kept in %s: %s", self._folder, error.strerror
                )
            self._written += len(data)

    def _make_room(self, coming_bytes: int) -> None:
        found = []
        for path in self._folder.iterdir():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # another command has removed or renamed it
            found.append((stat.st_mtime_ns, stat.st_size, path))
        room = self._max_bytes - self._max_bytes // SLACK - coming_bytes
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= room:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._written = 0


class CachedSegments:
    """One run's view of the cache; ``transcription_run.Journal`` describes the calls.

    Args:
        language_key: of the recording, where its language is to be detected. Then what is cached
            counts only together with the language that was detected before: segments in different
            languages would not be one text.
    """

    def __init__(self, cache: SegmentCache, keys: SegmentKeys, language_key: str | None) -> None:
        self._cache = cache
        self._keys = keys
        self._language_key = language_key
        self.decided = cache.get(LanguageDecided, language_key) if language_key else None
        """The language that was detected before; None: unknown, or it was asked for."""
        self._recalls = language_key is None or self.decided is not None
        self._open: dict[int, str] = {}

    def decide(self, event: LanguageDecided) -> None:
        """Remember the language that this run has detected."""
        if self._language_key is not None and self.decided is None:
            self._cache.put(self._language_key, event)

    def recall(self, segment: AudioSegment, spool: PcmSpool) -> SegmentEnd | None:
        key = self._keys.of_segment(segment, spool)
        self._open[segment.index] = key
        end: SegmentEnd | None = self._cache.get(KEPT_SEGMENT, key) if self._recalls else None
        return end

    def keep(self, end: SegmentEnd) -> None:
        key = self._open.pop(end.index)
        # What was given up may go better the next time: it is tried again.
        if isinstance(end, SegmentFinished):
            self._cache.put(key, end)
