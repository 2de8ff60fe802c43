"""The ears: the same speech whatever the blocks, and no heavier than they must be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidOption
from core.pcm import Int16
from core.planning import CONTENT_S, FRAME_S
from core.types import SAMPLE_RATE, WINDOW_S, SpeechSpan
from tests.silero_reference import recorded
from tests.spoken import Recording, quiet, to_int16
from vad import FRAME_SAMPLES, SileroVAD, plan_segments


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recorded()


def hear(
    pcm: Int16, blocks: Sequence[int], vad: SileroVAD | None = None
) -> tuple[list[SpeechSpan], list[float]]:
    vad = vad or SileroVAD()
    spans: list[SpeechSpan] = []
    at = number = 0
    while at < len(pcm):
        size = blocks[number % len(blocks)]
        spans += vad.push(pcm[at : at + size])
        at, number = at + size, number + 1
    return spans + vad.flush(), vad.probabilities


@pytest.mark.parametrize(
    "blocks", [(32_000,), (512,), (1, 511, 513), (160,), (7_777, 3, 20_000), (0, 4_096)]
)
def test_how_the_recording_is_cut_into_blocks_changes_nothing(
    recording: Recording, blocks: tuple[int, ...]
) -> None:
    pcm = recording.pcm[: 12 * SAMPLE_RATE + 77]
    whole = hear(pcm, [len(pcm)])
    assert whole[0]
    spans, probabilities = hear(pcm, blocks)
    assert spans == whole[0]
    np.testing.assert_allclose(probabilities, whole[1], atol=1e-5)


def test_every_utterance_is_heard_and_little_else(recording: Recording) -> None:
    spans, _ = hear(recording.pcm, [32_000])
    for utterance in recording.utterances:
        inside = [s for s in spans if s.start_s < utterance.end_s and s.end_s > utterance.start_s]
        assert inside[0].start_s == pytest.approx(utterance.start_s, abs=0.25)
        assert inside[-1].end_s == pytest.approx(utterance.end_s, abs=0.25)
    assert all(left.end_s < right.start_s for left, right in pairwise(spans))
    assert all(
        any(s.start_s < u.end_s and s.end_s > u.start_s for u in recording.utterances)
        for s in spans
    )


def test_agrees_with_the_package_within_two_frames(recording: Recording, root: Path) -> None:
    """The package imports torch, so its answer is kept in a file: ``tests/silero_reference.py``."""
    theirs = json.loads((root / "tests/data/silero_spans.json").read_text(encoding="utf-8"))
    ours = [(span.start_s, span.end_s) for span in hear(recording.pcm, [32_000])[0]]
    assert len(ours) == len(theirs) > 5
    np.testing.assert_allclose(ours, theirs, atol=2 * FRAME_S + 1e-6)


@pytest.mark.parametrize(
    "pcm",
    [
        pytest.param(np.zeros(20 * SAMPLE_RATE, np.int16), id="digital silence"),
        pytest.param(quiet(20), id="noise floor"),
        pytest.param(
            to_int16(0.1 * np.random.default_rng(1).standard_normal(20 * SAMPLE_RATE)), id="noise"
        ),
        pytest.param(
            to_int16(0.3 * np.sin(2 * np.pi * 440 / SAMPLE_RATE * np.arange(20 * SAMPLE_RATE))),
            id="tone",
        ),
        pytest.param(np.zeros(0, np.int16), id="nothing"),
        pytest.param(quiet(0.01), id="less than a frame"),
    ],
)
def test_nobody_speaks_in_silence_and_noise(pcm: Int16) -> None:
    assert hear(pcm, [16_000])[0] == []


def test_no_later_span_begins_before_the_settled_time(recording: Recording) -> None:
    vad = SileroVAD()
    settled_s = 0.0
    for at in range(0, len(recording.pcm), 4_000):
        spans = vad.push(recording.pcm[at : at + 4_000])
        assert all(span.start_s >= settled_s for span in spans)
        assert vad.settled_s >= settled_s
        settled_s = vad.settled_s
    assert all(span.start_s >= settled_s for span in vad.flush())
    assert settled_s > recording.utterances[-1].start_s - 0.3


def test_recording_may_end_inside_a_word_and_inside_a_frame(recording: Recording) -> None:
    first = recording.utterances[0]
    end = round((first.start_s + 2.0) * SAMPLE_RATE) + FRAME_SAMPLES // 3
    spans, probabilities = hear(recording.pcm[:end], [5_000])
    assert spans[-1].end_s == pytest.approx(end / SAMPLE_RATE, abs=2 * FRAME_S)
    assert spans[-1].end_s <= end / SAMPLE_RATE
    assert len(probabilities) == end // FRAME_SAMPLES + 1


@pytest.mark.parametrize("threshold", [0.02, 0.5, 0.98])
def test_a_span_begins_where_the_probability_reaches_the_threshold(
    recording: Recording, threshold: float
) -> None:
    spans, probabilities = hear(recording.pcm, [32_000], SileroVAD(threshold))
    assert spans
    for span in spans:
        first = round(span.start_s / FRAME_S)
        assert probabilities[first] >= threshold
        assert first == 0 or probabilities[first - 1] < threshold


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_threshold_must_be_a_probability(threshold: float) -> None:
    with pytest.raises(InvalidOption, match="not between 0 and 1"):
        SileroVAD(threshold)


def test_speech_that_never_pauses_is_handed_on(recording: Recording) -> None:
    first = recording.utterances[0]
    sample = slice(round(first.start_s * SAMPLE_RATE), round((first.start_s + 2.5) * SAMPLE_RATE))
    pcm = np.tile(recording.pcm[sample], 80)
    vad = SileroVAD(0.05)
    spans: list[SpeechSpan] = []
    for at in range(0, len(pcm), 32_000):
        spans += vad.push(pcm[at : at + 32_000])
        heard_s = min(at + 32_000, len(pcm)) / SAMPLE_RATE
        assert heard_s - vad.settled_s <= 2 * WINDOW_S + FRAME_S
    spans += vad.flush()
    assert len(spans) >= 4
    assert all(span.duration_s <= CONTENT_S for span in spans[:-1])
    assert all(left.end_s == right.start_s for left, right in pairwise(spans))
    assert spans[0].start_s < 0.2
    assert spans[-1].end_s == 200.0
    assert spans == hear(pcm, [len(pcm)], SileroVAD(0.05))[0]
    assert sum(segment.speech_s for segment in plan_segments(spans, vad.probabilities)) > 199


LIGHT = """
import sys
import numpy as np
from vad import SileroVAD, plan_segments
vad = SileroVAD()
vad.push(np.zeros(32_000, np.int16))
plan_segments(vad.flush(), vad.probabilities)
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_hearing_loads_neither_torch_nor_the_package(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, check=True, cwd=root, text=True
    )
    loaded = done.stdout
    assert "'onnxruntime'" in loaded
    for heavy in ("torch", "torchaudio", "silero_vad", "ctranslate2", "faster_whisper", "gradio"):
        assert f"'{heavy}'" not in loaded
