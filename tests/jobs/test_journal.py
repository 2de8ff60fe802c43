from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.events import SegmentFailed, SegmentFinished
from core.pcm import PcmSpool
from core.settings import Settings
from core.types import (
    SAMPLE_RATE,
    AudioSegment,
    DecodeOptions,
    Gap,
    ModelSpec,
    SegmentReport,
    SpeechSpan,
    TranscriptSegment,
    Window,
    Word,
)
from jobs.database import Database
from jobs.journal import SegmentJournal
from jobs.outbox import Outbox
from jobs.records import JobRecord
from jobs.request import JobRequest
from jobs.states import JobState
from jobs.store import JobStore
from tests.waiting import PATIENCE_S

MODEL = ModelSpec("tiny.en", "/models/tiny.en", "int8", "cpu")


def segment(index: int, start_s: float, end_s: float) -> AudioSegment:
    span = SpeechSpan(start_s, end_s)
    return AudioSegment(index, start_s, end_s, (Window((span,), (span,)),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    database = Database.open(Settings(data_dir=tmp_path))
    store = JobStore(database)
    store.insert(
        JobRecord(
            id="a",
            origin="service",
            owner="local",
            client="local",
            name="talk.wav",
            state=JobState.RUNNING,
            request=JobRequest(path=Path("talk.wav")),
            created_at=1.0,
            storage_id="here",
        )
    )
    yield store
    database.close()


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    outbox = Outbox()
    yield outbox
    assert outbox.close(10.0)


@pytest.fixture
def spool(tmp_path: Path) -> PcmSpool:
    spool = PcmSpool(tmp_path / "audio.pcm")
    noise = np.random.default_rng(1).integers(-1000, 1000, 20 * SAMPLE_RATE, dtype=np.int16)
    spool.path.write_bytes(noise.tobytes())
    return spool


def journal(
    store: JobStore,
    outbox: Outbox,
    model: ModelSpec = MODEL,
    options: DecodeOptions | None = None,
    where: str = "local",
) -> SegmentJournal:
    assert outbox.flush(PATIENCE_S)
    return SegmentJournal(store, outbox, "a", model, options or DecodeOptions(), where)


def finished(index: int) -> SegmentFinished:
    words = (Word(0.1 + 0.2, 1 / 3, " äh,", 0.1), Word(0.7, 1e-9, " 好", float("nan")))
    text = TranscriptSegment(0.1, 1 / 3, " äh, 好", words, avg_logprob=float("-inf"))
    report = SegmentReport(
        index=index,
        start_s=0.0,
        end_s=10.0,
        windows=2,
        device="GPU 0",
        texts=1,
        elapsed_s=0.3,
        reduced_batch=4,
    )
    gap = Gap(3.0, 4.0, "no words", index)
    return SegmentFinished((text,), (gap,), report)


def test_a_finished_segment_comes_back_to_the_last_bit(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    first, kept = journal(store, outbox), finished(0)
    assert first.recall(segment(0, 0.0, 10.0), spool) is None
    first.keep(kept)
    again = journal(store, outbox)
    assert again.size == 1
    back = again.recall(segment(0, 0.0, 10.0), spool)
    assert repr(back) == repr(kept)
    assert again.recall(segment(1, 10.0, 20.0), spool) is None


def test_a_segment_that_was_given_up_is_not_tried_by_a_restart(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    failed = SegmentFailed(0, "CPU 0", Gap(0.0, 10.0, "killed two workers", 0))
    first.keep(failed)
    assert journal(store, outbox).recall(segment(0, 0.0, 10.0), spool) == failed


@pytest.mark.parametrize(
    "changed",
    [
        {"model": replace(MODEL, name="base")},
        {"model": replace(MODEL, compute_type="float32")},
        {"options": DecodeOptions(beam_size=1)},
        {"options": DecodeOptions(initial_prompt="Dr. Kim")},
        {"options": DecodeOptions(language="de")},
        {"options": DecodeOptions(task="translate")},
        {"where": "shared"},
    ],
    ids=["model", "compute type", "beam", "prompt", "language", "task", "where"],
)
def test_another_model_or_option_is_decoded_anew(
    store: JobStore, outbox: Outbox, spool: PcmSpool, changed: dict[str, object]
) -> None:
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    first.keep(finished(0))
    other = journal(store, outbox, **changed)  # type: ignore[arg-type]
    assert other.recall(segment(0, 0.0, 10.0), spool) is None


def test_another_batch_size_or_models_folder_is_not(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    first.keep(finished(0))
    moved = replace(MODEL, path="/elsewhere/tiny.en", threads=4)
    other = journal(store, outbox, moved, DecodeOptions(batch_size=1))
    assert other.recall(segment(0, 0.0, 10.0), spool) is not None


def test_other_audio_or_another_plan_is_decoded_anew(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    first.keep(finished(0))
    assert journal(store, outbox).recall(segment(0, 0.0, 9.9), spool) is None
    data = bytearray(spool.path.read_bytes())
    data[5 * SAMPLE_RATE * 2] ^= 1
    spool.path.write_bytes(bytes(data))
    assert journal(store, outbox).recall(segment(0, 0.0, 10.0), spool) is None


def test_a_damaged_line_is_decoded_anew(
    store: JobStore, outbox: Outbox, spool: PcmSpool, caplog: pytest.LogCaptureFixture
) -> None:
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    first.keep(finished(0))
    assert outbox.flush(PATIENCE_S)
    ((key, _),) = store.segments("a").values()
    store.record_segment("a", 0, key, '{"finished": 7}')
    assert journal(store, outbox).recall(segment(0, 0.0, 10.0), spool) is None
    assert "cannot be read" in caplog.text


WRITTEN_BEFORE = (
    '{"finished":{"index":0,"device":"GPU 0","segments":[{"start_s":0.1,"end_s":'
    '0.3333333333333333,"text":" \\u00e4h","words":[{"start_s":0.30000000000000004,"end_s":'
    '0.3333333333333333,"text":" \\u00e4h,","probability":0.1}],"avg_logprob":-Infinity,'
    '"compression_ratio":1.0,"no_speech_prob":0.0,"temperature":0.0}],"gaps":[{"start_s":3.0,'
    '"end_s":4.0,"reason":"no words","segment_index":0}],"elapsed_s":0.3},"failed":null,"report":'
    '{"index":0,"start_s":0.0,"end_s":10.0,"windows":2,"device":"GPU 0","texts":1,"elapsed_s":0.3,'
    '"redecoded_windows":0,"attempts":1,"reduced_batch":4,"compute_type":""}}'
)
FAILED_BEFORE = (
    '{"finished":null,"failed":{"index":0,"device":"CPU 0","gap":{"start_s":0.0,"end_s":10.0,'
    '"reason":"killed two workers","segment_index":0}},"report":null}'
)


def written_before(store: JobStore, outbox: Outbox, spool: PcmSpool, line: str) -> object:
    """What is read of a line as the version before wrote it."""
    first = journal(store, outbox)
    first.recall(segment(0, 0.0, 10.0), spool)
    first.keep(finished(0))
    assert outbox.flush(PATIENCE_S)
    ((key, _),) = store.segments("a").values()
    store.record_segment("a", 0, key, line)
    return journal(store, outbox).recall(segment(0, 0.0, 10.0), spool)


def test_lines_of_the_version_before_are_read(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    back = written_before(store, outbox, spool, WRITTEN_BEFORE)
    kept = finished(0)
    word = replace(kept.segments[0].words[0])
    text = replace(kept.segments[0], text=" äh", words=(word,))
    assert back == replace(kept, segments=(text,))


def test_failed_lines_of_the_version_before_are_read(
    store: JobStore, outbox: Outbox, spool: PcmSpool
) -> None:
    failed = SegmentFailed(0, "CPU 0", Gap(0.0, 10.0, "killed two workers", 0))
    assert written_before(store, outbox, spool, FAILED_BEFORE) == failed


@pytest.mark.parametrize(
    "line",
    [
        '{"finished":null,"failed":null,"report":null}',
        WRITTEN_BEFORE.partition(',"report"')[0] + ',"report":null}',
    ],
    ids=["neither end", "no report"],
)
def test_what_the_version_before_left_incomplete_is_decoded_again(
    store: JobStore, outbox: Outbox, spool: PcmSpool, line: str
) -> None:
    assert written_before(store, outbox, spool, line) is None
