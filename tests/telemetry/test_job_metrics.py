"""What the events of a job add to the metrics."""

from __future__ import annotations

import pytest

from core.events import (
    Decoded,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    TranscriptSoFar,
)
from core.types import Gap, SegmentReport, TranscriptSegment
from jobs.states import JobState
from telemetry import metrics
from telemetry.job_metrics import JobMetrics
from telemetry.metrics import REGISTRY

TEXT = TranscriptSegment(0.0, 1.0, "Hello.")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Added:
    """What metrics have grown by since it was made."""

    def __init__(self) -> None:
        self._before = self._all()

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        # Other tests in this process may have counted fractions before.
        return round(self._all().get(key, 0.0) - self._before.get(key, 0.0), 6)

    @staticmethod
    def _all() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in REGISTRY.collect()
            for one in family.samples
        }


def finished(index: int, *gaps: Gap, device: str = "GPU 0") -> SegmentFinished:
    report = SegmentReport(
        index=index,
        start_s=30.0 * index,
        end_s=30.0 * (index + 1),
        windows=3,
        device=device,
        texts=1,
        elapsed_s=1.5,
        redecoded_windows=1,
    )
    return SegmentFinished((TEXT,), gaps, report)


def test_segments_are_counted_by_device_and_outcome() -> None:
    added, job = Added(), JobMetrics()
    job.changed({"state": "running"})
    job.saw(Decoded(40.0, None, False))
    job.saw(Decoded(90.0, 90.0, True))
    for index in (0, 1):
        job.saw(SegmentStarted(index, "GPU 0"))
    # Begun on one device, lost, and finished on another.
    job.saw(SegmentStarted(1, "GPU 1"))
    job.saw(finished(0, Gap(1.0, 3.5, "noise")))
    job.saw(SegmentFailed(1, "GPU 1", Gap(30.0, 60.0, "killed two workers")))
    job.changed({"state": "complete_with_gaps"})
    assert added("whisper_audio_read_seconds_total") == 90
    assert added("whisper_audio_transcribed_seconds_total", device="GPU 0") == 30
    assert added("whisper_segments_total", device="GPU 0", outcome="finished") == 1
    assert added("whisper_segments_total", device="GPU 1", outcome="failed") == 1
    assert added("whisper_segment_duration_seconds_sum", device="GPU 0") == 1.5
    assert added("whisper_windows_total", device="GPU 0") == 3
    assert added("whisper_redecoded_windows_total", device="GPU 0") == 1
    assert added("whisper_gap_seconds_total") == 32.5
    # A rate needs the 0 that stands before the first event.
    assert (
        REGISTRY.get_sample_value(
            "whisper_segments_total", {"device": "GPU 1", "outcome": "finished"}
        )
        is not None
    )


def test_what_an_earlier_run_finished_is_not_counted_as_work() -> None:
    added, job = Added(), JobMetrics()
    job.changed({"state": "running"})
    job.saw(finished(0, Gap(1.0, 3.5, "noise")))
    job.saw(TranscriptSoFar((TEXT,), ()))
    assert added("whisper_segments_total", device="GPU 0", outcome="replayed") == 1
    assert added("whisper_audio_transcribed_seconds_total", device="GPU 0") == 0
    assert added("whisper_gap_seconds_total") == 0
    assert added("whisper_job_first_cue_seconds_count") == 0
    job.changed({"state": "cancelled"})


def test_a_job_is_in_one_state_at_a_time_and_its_times_are_kept() -> None:
    added, job = Added(), JobMetrics()
    assert added("whisper_jobs", state="queued") == 1
    assert value("whisper_queue_oldest_seconds") > 0
    job.changed({"state": "downloading"})
    job.changed({"name": "a name", "state": "queued"})
    job.changed({"state": "running"})
    assert added("whisper_job_wait_seconds_count") == 2
    assert (added("whisper_jobs", state="queued"), added("whisper_jobs", state="running")) == (0, 1)
    job.saw(SegmentStarted(0, "CPU 0"))
    job.saw(TranscriptSoFar((), ()))
    assert added("whisper_job_first_cue_seconds_count") == 0
    for _ in range(2):
        job.saw(TranscriptSoFar((TEXT,), ()))
    assert added("whisper_job_first_cue_seconds_count") == 1
    job.changed({"state": "complete"})
    assert added("whisper_jobs", state="running") == 0
    assert added("whisper_jobs_ended_total", state="complete") == 1
    assert added("whisper_job_duration_seconds_count") == 1


@pytest.mark.parametrize("state", ["cancelled", "paused"])
def test_the_queue_is_as_old_as_the_job_that_waits_longest(state: str) -> None:
    first, second = JobMetrics(), JobMetrics()
    oldest = JobMetrics.waiting[first]
    assert oldest <= JobMetrics.waiting[second]
    first.changed({"state": state})
    assert first not in JobMetrics.waiting
    second.changed({"state": state})
    assert second not in JobMetrics.waiting


def test_every_state_of_a_job_is_counted() -> None:
    active = {state for state in JobState if state.active}
    assert ({*metrics.ACTIVE_STATES}, {*metrics.ENDED_STATES}) == (active, {*JobState} - active)
