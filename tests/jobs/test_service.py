from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import (
    Cancelled,
    DeviceUnavailable,
    DiskFull,
    FileMissing,
    InvalidOption,
    ModelError,
    Paused,
    QueueFull,
    UnreadableMedia,
)
from core.settings import Settings
from jobs.options import JobOptions
from jobs.request import JobRequest
from jobs.service import JobService
from jobs.states import JobState
from tests.gpu.fake_nvml import Card, FakeNvml
from tests.jobs.conftest import ended, seen
from tests.jobs.recordings import SHORT, SHORT_TEXT, cut_off, joined, silence
from tests.spoken import word_errors
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_job_left")


def test_a_job_ends_with_its_text_its_files_and_a_report(
    service: JobService, short: JobRequest
) -> None:
    job = service.submit(
        replace(short, name="Böse: talk.mp3", options=JobOptions(formats=("srt", "txt", "srt")))
    )
    view = ended(job)
    assert (view.state, view.error, view.message) == (JobState.COMPLETE, None, "")
    assert word_errors(SHORT_TEXT, view.segments).wer <= 0.5
    text = " ".join(segment.text.strip() for segment in view.segments)
    assert " ".join(cue.text for cue in view.cues) == text
    folder = service.folders.path(job.id)
    assert view.outputs == {"srt": folder / "Böse_ talk.srt", "txt": folder / "Böse_ talk.txt"}
    assert view.outputs["txt"].read_text() == f"{text}\n"
    assert sorted(os.listdir(folder)) == ["Böse_ talk.srt", "Böse_ talk.txt", "transcript.json.gz"]
    assert (view.fraction, view.remaining_s, view.model) == (1.0, 0.0, "tiny.en")
    assert view.report is not None
    assert view.report.outputs == tuple(map(str, view.outputs.values()))
    assert view.report.speed == pytest.approx(view.report.audio_s / view.report.elapsed_s)
    assert service.get(job.id) is job
    assert service.health().ready


def test_files_go_to_a_folder_of_choice_and_the_jobs_own_is_removed(
    service: JobService, short: JobRequest, tmp_path: Path
) -> None:
    job = service.submit(replace(short, output_dir=tmp_path / "new", output_stem="x"))
    assert ended(job).outputs == {"srt": tmp_path / "new" / "x.srt"}
    assert not service.folders.path(job.id).exists()


def test_snapshots_show_text_before_the_end_and_it_does_not_change(
    service: JobService, tmp_path: Path
) -> None:
    job = service.submit(JobRequest(path=joined(tmp_path / "a.wav", 2)))
    early = seen(job, lambda view: bool(view.cues))
    assert early.state is JobState.RUNNING
    assert 0.0 < early.fraction < 1.0
    assert early.devices
    assert early.remaining_s is not None
    assert early.total_s is not None
    assert job.view(text=False).segments == ()
    final = ended(job)
    assert final.segments[: len(early.segments)] == early.segments
    assert final.total_s == pytest.approx(early.total_s, abs=0.1)
    assert final.devices == {}


def test_watching_waits_for_news_and_never_for_a_job_that_has_ended(
    service: JobService, short: JobRequest
) -> None:
    job = service.submit(short)
    versions = [job.watch(0, 0.0).version]
    while not (view := job.watch(versions[-1], PATIENCE_S)).state.ended:
        versions.append(view.version)
    assert versions == sorted(set(versions))
    # For ever, if it waited.
    assert job.watch(view.version, threading.TIMEOUT_MAX) == view


def test_the_queue_is_bounded_and_first_come_first_served(
    service: JobService, long: JobRequest, short: JobRequest
) -> None:
    running, waiting = service.submit(long), service.submit(short)
    assert waiting.state is JobState.QUEUED
    assert waiting.view().message == "Waiting for a free place"
    with pytest.raises(QueueFull):
        service.submit(short)
    running.cancel()
    assert ended(running).state is JobState.CANCELLED
    assert ended(waiting).state is JobState.COMPLETE
    assert ended(service.submit(short)).state is JobState.COMPLETE


def test_a_waiting_job_is_cancelled_at_once_and_makes_room(
    service: JobService, long: JobRequest, short: JobRequest
) -> None:
    running, waiting = service.submit(long), service.submit(short)
    waiting.cancel()
    view = waiting.view()
    assert view.state is JobState.CANCELLED
    assert isinstance(view.error, Cancelled)
    assert running.state is JobState.RUNNING
    assert service.submit(short).state is JobState.QUEUED


def test_a_running_job_is_cancelled_before_its_end_and_leaves_nothing(
    service: JobService, long: JobRequest
) -> None:
    job = service.submit(long)
    seen(job, lambda view: bool(view.devices))
    job.cancel()
    view = ended(job)
    assert (view.state, view.report) == (JobState.CANCELLED, None)
    assert isinstance(view.error, Cancelled)
    assert not service.folders.path(job.id).exists()
    job.cancel()
    assert job.state is JobState.CANCELLED


def test_silence_completes_without_cues_and_says_so(service: JobService, tmp_path: Path) -> None:
    view = ended(service.submit(JobRequest(path=silence(tmp_path / "a.wav"))))
    assert (view.state, view.cues) == (JobState.COMPLETE, ())
    assert view.message == "No speech was found in the recording."
    assert view.outputs["srt"].read_text() == ""


def test_a_recording_that_is_cut_off_is_not_called_complete(
    service: JobService, tmp_path: Path
) -> None:
    view = ended(service.submit(JobRequest(path=cut_off(tmp_path / "a.wav", 12.0))))
    assert view.state is JobState.COMPLETE_WITH_GAPS
    assert view.message.startswith("Finished with 1 gap: ")
    assert view.gaps[0].start_s == pytest.approx(12.0, abs=0.5)
    assert view.cues


def test_a_bad_recording_fails_its_job_alone(
    service: JobService, short: JobRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_text("This is no sound.")
    job = service.submit(JobRequest(path=bad))
    view = ended(job)
    assert view.state is JobState.FAILED
    assert isinstance(view.error, UnreadableMedia)
    assert view.message == view.error.explain()
    (line,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert line.getMessage() == f"bad.mp3 failed: {view.message}"
    assert line.__dict__["job"] == job.id
    assert not service.folders.path(job.id).exists()
    assert ended(service.submit(short)).state is JobState.COMPLETE


def test_a_recording_that_vanishes_while_waiting_is_missing(
    service: JobService, long: JobRequest, tmp_path: Path
) -> None:
    path = silence(tmp_path / "a.wav")
    first, second = service.submit(long), service.submit(JobRequest(path=path))
    path.unlink()
    first.cancel()
    assert isinstance(ended(second).error, FileMissing)


def test_a_job_may_be_limited_to_one_worker(service: JobService, tmp_path: Path) -> None:
    request = JobRequest(path=joined(tmp_path / "a.wav", 2), options=JobOptions(multi_gpu=False))
    report = ended(service.submit(request)).report
    assert report is not None
    assert len(report.segments) > 2
    assert len(report.devices) == 1


def test_two_jobs_share_the_loaded_models(
    settings: Settings, short: JobRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    with JobService(settings.model_copy(update={"max_running_jobs": 2})) as service:
        assert service.preload() > 0.0
        jobs = [service.submit(short), service.submit(short.choosing(multi_gpu=False))]
        jobs.append(service.submit(short.choosing(model="tiny.en", compute_type="int8")))
        assert [ended(job).state for job in jobs] == [JobState.COMPLETE] * 3
        pids = [worker.pid for worker in service.health().workers]
    assert capfd.readouterr().err.count("Loading Whisper model: tiny.en on cpu") == 2
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_a_closing_service_pauses_everything_and_takes_no_more(
    settings: Settings, long: JobRequest, short: JobRequest, tmp_path: Path
) -> None:
    service = JobService(settings.model_copy(update={"data_dir": tmp_path}))
    running, waiting = service.submit(long), service.submit(short)
    seen(running, lambda view: bool(view.devices))
    service.close(0.0)
    assert {running.state, waiting.state} == {JobState.PAUSED}
    assert (service.health().alive, service.health().ready) == (False, False)
    with pytest.raises(Paused):
        service.submit(short)
    names = [t.name for t in threading.enumerate() if t.name.startswith(("job ", "ingest"))]
    assert [name for name in names if name != "job maintenance"] == []


def test_jobs_a_stopping_service_leaves_unfinished_are_warned_of(
    settings: Settings,
    long: JobRequest,
    short: JobRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = JobService(settings.model_copy(update={"data_dir": tmp_path}))
    running, waiting = service.submit(long), service.submit(short)
    seen(running, lambda view: bool(view.devices))
    service.close(0.0)
    warned = {
        record.__dict__["job"]: record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and record.name == "jobs.queue"
    }
    assert warned == {
        job.id: f"{job.request.title} is not finished: {Paused().explain()}"
        for job in (running, waiting)
    }


def test_a_model_that_cannot_be_had_is_the_reason_for_not_being_ready(
    settings: Settings, short: JobRequest
) -> None:
    changed = settings.model_copy(update={"model": "small", "offline": True})
    with JobService(changed) as service:
        assert service.preload() == 0.0
        health = service.health()
        assert health.alive
        assert not health.ready
        assert "The model small is not on this machine" in health.reason
        view = ended(service.submit(short))
        assert isinstance(view.error, ModelError)
        assert ended(service.submit(short.choosing(model="tiny.en"))).state is JobState.COMPLETE
        assert service.health().ready


def test_a_gpu_that_is_not_there_is_an_error_and_not_the_cpu(
    settings: Settings, short: JobRequest
) -> None:
    changed = settings.model_copy(update={"device": "auto"})
    with JobService(changed, gpu_ids=["99"]) as service:
        with pytest.raises(DeviceUnavailable):
            service.submit(short)
        assert service.preload() == 0.0
        assert not service.health().ready


def test_what_needs_a_gpu_is_refused_before_a_job_is_accepted(
    service: JobService, short: JobRequest
) -> None:
    before = service.store.find(owner=None, text="", states=(), limit=1, offset=0)[1]
    with pytest.raises(InvalidOption, match="float16 needs a GPU, and this would run on the CPU"):
        service.submit(short.choosing(compute_type="float16"))
    assert service.store.find(owner=None, text="", states=(), limit=1, offset=0)[1] == before


@pytest.mark.parametrize(("compute_type", "said"), [("float16", "a GPU"), ("int4", "int8")])
def test_a_service_does_not_start_with_a_compute_type_no_device_has(
    settings: Settings, compute_type: str, said: str
) -> None:
    with pytest.raises(InvalidOption, match=said):
        JobService(settings.model_copy(update={"compute_type": compute_type}))


def test_where_there_is_a_gpu_its_types_are_taken_and_not_for_jobs_on_the_cpu(
    settings: Settings, short: JobRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeNvml([Card()]).install(monkeypatch)
    changed = {"device": "auto", "cuda_visible_devices": None, "compute_type": "float16"}
    with JobService(settings.model_copy(update={**changed, "data_dir": tmp_path})) as service:
        assert not service.engines.only_cpus()
        service.check(short)
        service.check(short.choosing(compute_type="bfloat16"))
        service.check(short.choosing(device="cpu"))
        with pytest.raises(InvalidOption, match="bfloat16 needs a GPU"):
            service.check(short.choosing(device="cpu", compute_type="bfloat16"))


def test_gaps_of_a_job_that_had_a_gpu_are_tried_again_without_one(
    service: JobService, short: JobRequest
) -> None:
    job = service.submit(short)
    ended(job)
    service._outbox.flush(PATIENCE_S)
    record = service.store.get(job.id)
    assert record is not None
    had = record.request.choosing(compute_type="float16")
    service.store.update(job.id, request=had, state=JobState.COMPLETE_WITH_GAPS)
    assert ended(service.retry_gaps(job.id)).state is JobState.COMPLETE
    record = service.store.get(job.id)
    assert record is not None
    assert record.request.options.compute_type == "auto"


def test_a_full_disk_fails_the_job_and_says_so(
    settings: Settings, full_disk: Path, long: JobRequest
) -> None:
    changed = settings.model_copy(update={"data_dir": full_disk, "min_free_mib": 0})
    with JobService(changed) as service:
        assert isinstance(ended(service.submit(long)).error, DiskFull)
        assert list((full_disk / "jobs").iterdir()) == []
        request = JobRequest(path=SHORT, output_dir=full_disk / "out")
        (full_disk / "ballast").write_bytes(bytes(os.statvfs(full_disk).f_bavail * 4096))
        with pytest.raises(DiskFull):
            service.submit(request)
