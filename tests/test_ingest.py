"""The way in: segments leave in order, while the file is still being decoded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.errors import FileMissing, InvalidOption, MediaLimitExceeded, UnreadableMedia
from core.events import Decoded, Planned
from core.pcm import PcmSpool
from core.planning import SegmentPlanner
from core.types import SAMPLE_RATE, AudioSegment, PlanOptions
from ingest import IngestRequest, IngestSummary, ingest, start_ingest
from media.container import DecodeLimits
from media.process import IsolatedProcess
from tests.ingest_target import ingest_and_list_modules
from tests.spoken import Recording, joined, quiet
from vad import SileroVAD

PLAN = PlanOptions()
LIMITS = DecodeLimits()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return joined(range(8), gaps_s=(0.3, 1.2, 2.5))


@pytest.fixture(scope="module")
def minute(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording.write(tmp_path_factory.mktemp("ingest") / "minute.flac")


@pytest.fixture(scope="module")
def twelve_minutes(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pcm = np.tile(recording.pcm, round(12 * 60 / recording.duration_s) + 1)
    return replace(recording, pcm=pcm).write(tmp_path_factory.mktemp("ingest") / "long.wav")


@pytest.fixture
def spool(tmp_path: Path) -> PcmSpool:
    return PcmSpool(tmp_path / "audio.pcm")


def request_of(
    path: Path, plan: PlanOptions = PLAN, limits: DecodeLimits = LIMITS
) -> IngestRequest:
    return IngestRequest(path=path, plan=plan, limits=limits)


def run(
    path: Path, spool: PcmSpool, plan: PlanOptions = PLAN, limits: DecodeLimits = LIMITS
) -> tuple[list[object], IngestSummary]:
    with start_ingest(request_of(path, plan, limits), spool) as process:
        messages = list(process.messages())
        return messages, process.result


def planned(messages: list[object]) -> list[AudioSegment]:
    return [message.segment for message in messages if isinstance(message, Planned)]


def test_messages_are_segments_in_order_and_then_the_end(minute: Path, spool: PcmSpool) -> None:
    messages, summary = run(minute, spool)
    segments = planned(messages)
    assert [segment.index for segment in segments] == list(range(len(segments)))
    decoded = [message for message in messages if isinstance(message, Decoded)]
    assert len(segments) + len(decoded) == len(messages)
    assert [d.audio_s for d in decoded] == sorted(d.audio_s for d in decoded)
    assert [d.finished for d in decoded] == [False] * (len(decoded) - 1) + [True]
    assert messages[-1] == decoded[-1]
    assert decoded[0].total_s == pytest.approx(summary.audio_s, abs=0.1)


def test_summary_says_what_came_in(minute: Path, spool: PcmSpool, recording: Recording) -> None:
    messages, summary = run(minute, spool)
    assert summary.audio_s == pytest.approx(recording.duration_s)
    assert spool.samples() == len(recording.pcm)
    spoken_s = sum(utterance.duration_s for utterance in recording.utterances)
    assert 0.75 * spoken_s < summary.speech_s < 1.1 * spoken_s
    in_plan = [s for segment in planned(messages) for w in segment.windows for s in w.spans]
    assert summary.speech_s == pytest.approx(sum(span.duration_s for span in in_plan))
    assert summary.dropped_spans == 0
    assert summary.vad_s > 0
    assert summary.decode_s > 0


def test_the_plan_is_the_one_of_the_whole_recording(
    minute: Path, spool: PcmSpool, recording: Recording
) -> None:
    vad = SileroVAD(0.4)
    spans = vad.push(recording.pcm) + vad.flush()
    plan = PlanOptions(vad_threshold=0.4, min_segment_duration=5.0, max_segment_duration=15.0)
    planner = SegmentPlanner(5.0, 15.0)
    expected = planner.push(spans, vad.probabilities, 0.0)
    expected += planner.flush(recording.duration_s)
    messages, _ = run(minute, spool, plan)
    assert planned(messages) == expected


def test_segments_leave_while_a_long_file_is_being_decoded(
    twelve_minutes: Path, spool: PcmSpool
) -> None:
    done: list[object] = []

    def send(message: object) -> None:
        done.append(message)
        if isinstance(message, Planned):
            # Workers read at once: the audio must be there, padding included.
            assert spool.samples() / SAMPLE_RATE >= message.segment.end_s
            if not isinstance(done[-2], Decoded) or not done[-2].finished:
                early.append(spool.samples() / SAMPLE_RATE - message.segment.end_s)

    early: list[float] = []
    summary = ingest(send, request_of(twelve_minutes), spool)
    first = next(i for i, message in enumerate(done) if isinstance(message, Planned))
    before = [message.audio_s for message in done[:first] if isinstance(message, Decoded)]
    assert max(before) < 180
    count = sum(isinstance(message, Planned) for message in done)
    assert len(early) >= count - 3
    assert max(early) < 3 * PLAN.max_segment_duration
    assert summary.audio_s > 12 * 60


def test_without_vad_every_second_is_planned(
    minute: Path, spool: PcmSpool, recording: Recording
) -> None:
    messages, summary = run(minute, spool, replace(PLAN, use_vad=False))
    segments = planned(messages)
    windows = [window for segment in segments for window in segment.windows]
    assert segments[0].start_s == 0.0
    assert segments[-1].end_s == pytest.approx(recording.duration_s)
    assert all(a.end_s == b.start_s for a, b in pairwise(windows))
    assert summary.speech_s == pytest.approx(recording.duration_s)


def test_silence_gives_no_segments(tmp_path: Path, spool: PcmSpool) -> None:
    path = Recording(quiet(20), (), "").write(tmp_path / "quiet.wav")
    messages, summary = run(path, spool)
    assert planned(messages) == []
    assert summary.speech_s == 0.0
    assert isinstance(messages[-1], Decoded)
    assert messages[-1].finished


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, min_segment_duration=70.0),
        replace(PLAN, max_segment_duration=1.0),
        replace(PLAN, vad_threshold=2.0),
    ],
)
def test_impossible_plans_are_refused(minute: Path, spool: PcmSpool, plan: PlanOptions) -> None:
    with pytest.raises(InvalidOption):
        run(minute, spool, plan)


def test_errors_of_the_file_come_out_as_they_are(tmp_path: Path, spool: PcmSpool) -> None:
    with pytest.raises(FileMissing):
        run(tmp_path / "gone.wav", spool)
    text = tmp_path / "text.mp3"
    text.write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(UnreadableMedia):
        run(text, spool)


def test_limits_hold_while_decoding(minute: Path, spool: PcmSpool) -> None:
    with pytest.raises(MediaLimitExceeded):
        run(minute, spool, limits=DecodeLimits(max_audio_s=10.0))


def test_the_process_carries_no_model_and_no_page(minute: Path, spool: PcmSpool) -> None:
    with IsolatedProcess(ingest_and_list_modules, request_of(minute), spool) as process:
        list(process.messages())
        loaded = process.result
    assert {"av", "onnxruntime"} <= loaded
    heavy = {"torch", "gradio", "fastapi", "ctranslate2", "faster_whisper", "silero_vad", "workers"}
    assert not loaded & heavy
