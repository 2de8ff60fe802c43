"""The cache of finished segments: what comes back, what goes, and what breaks nothing."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import Cancelled
from core.events import LanguageDecided, SegmentEnd, SegmentFailed, SegmentFinished
from core.pcm import PcmSpool
from core.types import (
    SAMPLE_RATE,
    AudioSegment,
    DecodeOptions,
    Gap,
    ModelSpec,
    PlanOptions,
    SegmentReport,
    SpeechSpan,
    TranscriptSegment,
    Window,
)
from jobs.records import dump
from jobs.segment_cache import CachedSegments, SegmentCache
from jobs.segment_keys import SegmentKeys

MODEL = ModelSpec("base", "/models/base", "int8", "cpu")
MIB = 1024 * 1024
RUSSIAN = LanguageDecided("ru", 1 / 3)


def segment(index: int) -> AudioSegment:
    span = SpeechSpan(10.0 * index, 10.0 * index + 9.0)
    return AudioSegment(index, span.start_s, span.end_s, (Window((span,), (span,)),))


def finished(index: int) -> SegmentFinished:
    text = TranscriptSegment(0.1 + 0.2, 1 / 3, " äh, 好", avg_logprob=float("-inf"))
    report = SegmentReport(
        index=index, start_s=0.0, end_s=9.0, windows=1, device="CPU 0", texts=1, elapsed_s=0.3
    )
    return SegmentFinished((text,), (), report)


@pytest.fixture
def spool(tmp_path: Path) -> PcmSpool:
    spool = PcmSpool(tmp_path / "audio.pcm")
    noise = np.random.default_rng(1).integers(-1000, 1000, 60 * SAMPLE_RATE, dtype=np.int16)
    spool.path.write_bytes(noise.tobytes())
    return spool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "segments"


def view(
    folder: Path, options: DecodeOptions | None = None, language_key: str | None = None
) -> CachedSegments:
    keys = SegmentKeys(MODEL, options or DecodeOptions())
    return CachedSegments(SegmentCache(folder, MIB), keys, language_key)


def kept(folder: Path, spool: PcmSpool, end: SegmentEnd) -> None:
    first = view(folder)
    assert first.recall(segment(0), spool) is None
    first.keep(end)


def test_a_finished_segment_comes_back_to_the_last_bit(folder: Path, spool: PcmSpool) -> None:
    kept(folder, spool, finished(0))
    again = view(folder)
    assert again.recall(segment(0), spool) == finished(0)
    assert again.recall(segment(1), spool) is None
    assert view(folder, DecodeOptions(beam_size=1)).recall(segment(0), spool) is None
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_segment_that_was_given_up_is_tried_again(folder: Path, spool: PcmSpool) -> None:
    gap = Gap(0.0, 9.0, "killed two workers", 0)
    kept(folder, spool, SegmentFailed(0, "CPU 0", gap))
    assert view(folder).recall(segment(0), spool) is None


def test_an_entry_of_the_version_before_is_read(folder: Path, spool: PcmSpool) -> None:
    kept(folder, spool, finished(0))
    (entry,) = folder.iterdir()
    now = json.loads(dump(finished(0)))
    report = now.pop("report")
    before = {**now, "index": 0, "device": "CPU 0", "elapsed_s": 0.3}
    line = json.dumps({"finished": before, "failed": None, "report": report})
    entry.write_bytes(gzip.compress(line.encode()))
    assert view(folder).recall(segment(0), spool) == finished(0)


def test_segments_count_only_with_the_language_that_was_heard(
    folder: Path, spool: PcmSpool
) -> None:
    first = view(folder, language_key="of the file")
    assert first.decided is None
    first.recall(segment(0), spool)
    first.decide(RUSSIAN)
    first.keep(finished(0))
    again = view(folder, language_key="of the file")
    assert again.decided == RUSSIAN
    again.decide(RUSSIAN)
    assert again.recall(segment(0), spool) == finished(0)
    (folder / "of the file").unlink()
    forgotten = view(folder, language_key="of the file")
    assert (forgotten.decided, forgotten.recall(segment(0), spool)) == (None, None)


def test_the_language_belongs_to_the_files_content_track_and_plan(tmp_path: Path) -> None:
    keys = SegmentKeys(MODEL, DecodeOptions())

    def key(content: bytes, plan: PlanOptions | None = None, track: int | None = None) -> str:
        (tmp_path / "talk.wav").write_bytes(content)
        return keys.of_recording(tmp_path / "talk.wav", plan or PlanOptions(), track, lambda: None)

    one = key(b"one")
    (tmp_path / "copy.wav").write_bytes(b"one")
    assert keys.of_recording(tmp_path / "copy.wav", PlanOptions(), None, lambda: None) == one
    others = [key(b"two"), key(b"one", PlanOptions(vad_threshold=0.4)), key(b"one", track=0)]
    assert len({one, *others}) == 4


def test_reading_a_file_for_its_key_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"one")

    def stop() -> None:
        raise Cancelled()

    keys = SegmentKeys(MODEL, DecodeOptions())
    with pytest.raises(Cancelled):
        keys.of_recording(tmp_path / "talk.wav", PlanOptions(), None, stop)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [half, flipped, lambda data: b"", lambda data: b"nothing of ours"],
    ids=["half", "a bit", "empty", "foreign"],
)  # fmt: skip
def test_a_damaged_entry_is_ignored_and_made_again(
    folder: Path, spool: PcmSpool, damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    kept(folder, spool, finished(0))
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    again = view(folder)
    assert again.recall(segment(0), spool) is None
    assert "cannot be read and is made again" in caplog.text
    again.keep(finished(0))
    assert entry.read_bytes() == whole
    assert view(folder).recall(segment(0), spool) == finished(0)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_size_is_bounded_and_what_was_not_used_for_longest_goes_first(folder: Path) -> None:
    limit = 64 * 1024
    cache = SegmentCache(folder, limit)
    noise = np.random.default_rng(2).bytes(300_000).hex()
    for number in range(200):
        cache.put(f"{number:03}", noise[number * 3000 : (number + 1) * 3000])
        assert size(folder) <= limit
        # File systems count time in steps; the order must not depend on them.
        os.utime(folder / f"{number:03}", (number, number))
        assert cache.get(str, "000") is not None, "it is used all the time"
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) > 20
    assert left == ["000", *(f"{number:03}" for number in range(201 - len(left), 200))]


def test_a_smaller_size_counts_from_the_next_command_on(folder: Path) -> None:
    noise = np.random.default_rng(2).bytes(100_000).hex()
    cache = SegmentCache(folder, MIB)
    for number in range(20):
        cache.put(str(number), noise[number * 3000 : (number + 1) * 3000])
    SegmentCache(folder, 8192)
    assert 0 < size(folder) <= 8192


WRITER = """
import sys
from pathlib import Path
from jobs.segment_cache import SegmentCache
cache = SegmentCache(Path(sys.argv[1]), 32 * 1024)
print("ready", flush=True)
sys.stdin.readline()
for round in range(60):
    for number in range(20):
        found = cache.get(str, str(number))
        assert found is None or found == str(number) * 4000, (number, found[:20])
        cache.put(str(number), str(number) * 4000)
        cache.put(f"{sys.argv[2]}-{round}-{number}", sys.argv[2] * 2000)
"""


@pytest.mark.process
def test_several_commands_share_a_folder(folder: Path, root: Path) -> None:
    """They read, write and remove the same entries all the time: none sees half of one."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number)],
            cwd=root, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    ended = [writer.communicate("go\n") for writer in writers]
    assert [stderr for _, stderr in ended] == [""] * 3
    assert [writer.returncode for writer in writers] == [0] * 3


def test_threads_share_a_cache(folder: Path) -> None:
    cache = SegmentCache(folder, 16 * 1024)
    together = threading.Barrier(4)
    wrong: list[str] = []

    def work() -> None:
        together.wait()
        for number in range(100):
            cache.put(str(number % 7), str(number % 7) * 500)
            found = cache.get(str, str(number % 7))
            if found is not None and found != str(number % 7) * 500:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_folder_that_cannot_be_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        SegmentCache(tmp_path / "file" / "segments", MIB)


def test_a_folder_that_is_gone_meanwhile_is_told_once(
    folder: Path, spool: PcmSpool, caplog: pytest.LogCaptureFixture
) -> None:
    first = view(folder)
    folder.rmdir()
    for index in (0, 1):
        assert first.recall(segment(index), spool) is None
        first.keep(finished(index))
    assert caplog.text.count("cannot be kept") == 1
