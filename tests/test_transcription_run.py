"""One run's course: whatever breaks on the way, what was read is kept and what is lost is named.

The real ingest process, the real pool, and a scripted engine in place of the model.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transcription_run
from core.errors import (
    Cancelled,
    DiskFull,
    FileMissing,
    InvalidOption,
    MediaLimitExceeded,
    ModelError,
    NoAudioTrack,
    SubtitleError,
    UnreadableMedia,
)
from core.events import (
    Decoded,
    Event,
    Finished,
    Planned,
    SegmentFailed,
    SegmentFinished,
    TranscriptSoFar,
)
from core.pool_job import DecodeRequest
from core.types import DecodeOptions, ModelSpec, PlanOptions
from ingest import IngestRequest, IngestSummary, start_ingest
from media.container import DecodeLimits
from media.process import IsolatedProcess
from tests.media.containers import Recipe, write_media
from tests.spoken import Recording, joined, quiet
from tests.waiting import PATIENCE_S
from tests.workers.conftest import QUICK, ended
from tests.workers.scripted_engine import FACTORY, Script, read_log
from transcription_run import TranscriptionRun
from workers.devices import Device
from workers.pool import WorkerPool

SPEECH = joined(range(8), gaps_s=(1.0,))
ENGLISH = DecodeOptions(language="en")


@dataclass
class Bench:
    """A pool of scripted workers, and the ingest processes that were started."""

    folder: Path
    pool: WorkerPool
    ingests: list[IsolatedProcess[IngestSummary]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    models: int = 0

    @property
    def spools(self) -> Path:
        return self.folder / "spools"

    def model(self, **script: Any) -> ModelSpec:
        """A model of its own each time: workers keep what they have loaded."""
        self.models += 1
        return Script(**script).write(self.folder / f"model {self.models}")

    def run(
        self,
        path: Path,
        model: ModelSpec | None = None,
        options: DecodeOptions = ENGLISH,
        **changes: Any,
    ) -> TranscriptionRun:
        ingest = IngestRequest(path=path, plan=PlanOptions(), limits=DecodeLimits())
        decode = DecodeRequest(model=model or self.model(), options=options)
        return TranscriptionRun(
            replace(ingest, **changes), decode, self.pool.submit, work_dir=self.spools
        )

    def nothing_left(self) -> bool:
        return not list(self.spools.iterdir()) and all(ended(pid) for pid in self.pids)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    devices = [Device(f"CPU {i}", "cpu") for i in range(2)]
    bench = Bench(tmp_path, WorkerPool(devices, engine=FACTORY, limits=QUICK))
    bench.spools.mkdir()
    real = start_ingest

    def start(*args: Any) -> IsolatedProcess[IngestSummary]:
        process = real(*args)
        bench.ingests.append(process)
        assert process.pid is not None
        bench.pids.append(process.pid)
        return process

    monkeypatch.setattr(transcription_run, "start_ingest", start)
    yield bench
    bench.pool.close()
    assert bench.nothing_left()


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SPEECH.write(tmp_path_factory.mktemp("run") / "minute.flac")


@pytest.fixture(scope="module")
def half_hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pcm = np.tile(SPEECH.pcm, round(1800 / SPEECH.duration_s))
    return replace(SPEECH, pcm=pcm).write(tmp_path_factory.mktemp("run") / "long.wav")


def watch(events: Iterator[Event], on_event: Callable[[Event], None]) -> None:
    for event in events:
        on_event(event)


def finished(events: list[Event]) -> Finished:
    assert [type(event) for event in events].count(Finished) == 1
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_events_tell_the_whole_course(bench: Bench, minute: Path) -> None:
    events = list(bench.run(minute).events())
    end = finished(events)
    planned = [event.segment for event in events if isinstance(event, Planned)]
    done = [event.index for event in events if isinstance(event, SegmentFinished)]
    assert sorted(done) == [segment.index for segment in planned]
    assert [s.text for s in end.transcript.segments] == [f"text {i}" for i in sorted(done)]
    assert end.transcript.complete
    assert end.transcript.language == "en"
    report = end.report
    assert report.audio_s == end.transcript.duration_s == pytest.approx(SPEECH.duration_s)
    assert 0 < report.speech_s < report.audio_s
    assert [s.index for s in report.segments] == sorted(done)
    assert report.windows == sum(len(segment.windows) for segment in planned)
    assert report.speed == pytest.approx(report.audio_s / report.elapsed_s)
    assert report.first_text_s is not None
    assert 0 < report.first_text_s <= report.elapsed_s
    assert report.decode_s > 0
    assert report.vad_s > 0
    assert bench.nothing_left()


def test_a_detected_language_is_in_the_transcript(bench: Bench, minute: Path) -> None:
    run = bench.run(minute, bench.model(language="zh"), options=DecodeOptions())
    transcript = run.result().transcript
    assert (transcript.language, transcript.language_probability) == ("zh", 0.9)


def test_silence_is_a_complete_transcript_without_text(bench: Bench, tmp_path: Path) -> None:
    path = Recording(quiet(8), (), "").write(tmp_path / "quiet.wav")
    end = finished(list(bench.run(path).events()))
    assert (end.transcript.segments, end.transcript.gaps) == ((), ())
    assert (end.report.first_text_s, end.report.segments) == (None, ())
    assert end.report.audio_s == 8.0


def uncovered_s(events: list[Event], until_s: float) -> float:
    """Longest stretch up to a time that is neither in a planned segment nor in a gap, apart from
    the silences between segments."""
    known = [(e.segment.start_s, e.segment.end_s) for e in events if isinstance(e, Planned)]
    known += [(gap.start_s, gap.end_s) for gap in finished(events).transcript.gaps]
    reached_s = longest_s = 0.0
    for start_s, end_s in sorted(known):
        longest_s = max(longest_s, start_s - reached_s)
        reached_s = max(reached_s, end_s)
    return max(longest_s, until_s - reached_s)


def test_an_ingest_process_killed_on_the_way_leaves_its_text_and_one_gap(
    bench: Bench, half_hour: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    caplog.set_level("INFO")
    for event in bench.run(half_hour).events():
        events.append(event)
        if isinstance(event, Planned) and event.segment.index == 1:
            os.kill(bench.pids[0], signal.SIGKILL)
    end = finished(events)
    planned = [event.segment for event in events if isinstance(event, Planned)]
    assert len(end.transcript.segments) == len(planned) >= 2
    (gap,) = end.transcript.gaps
    assert gap.reason.startswith("the recording cannot be read any further: ")
    assert "SIGKILL" in gap.reason
    declared_s = next(e.total_s for e in events if isinstance(e, Decoded))
    assert gap.end_s == declared_s
    # What was decoded but not planned when the process died is lost as well, so it is in the gap.
    assert uncovered_s(events, gap.end_s) < 3.0
    assert any(r.getMessage().startswith("Reading stopped at") for r in caplog.records)
    assert any(r.getMessage().startswith("Finished with 1 gaps: ") for r in caplog.records)


def test_an_ingest_process_killed_at_once_is_an_error(bench: Bench, half_hour: Path) -> None:
    def kill(event: Event) -> None:
        assert not isinstance(event, Planned)
        os.kill(bench.pids[0], signal.SIGKILL)

    with pytest.raises(UnreadableMedia, match="SIGKILL"):
        watch(bench.run(half_hour).events(), kill)
    assert bench.nothing_left()


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_a_file_that_was_cut_off_ends_in_a_gap(bench: Bench, tmp_path: Path, suffix: str) -> None:
    whole = SPEECH.write(tmp_path / f"whole.{suffix}")
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    end = finished(list(bench.run(path).events()))
    assert end.transcript.segments
    gap = end.transcript.gaps[-1]
    assert gap.reason == "the file ends before the length it declares"
    assert gap.start_s == pytest.approx(end.transcript.duration_s)
    if suffix == "flac":
        assert gap.end_s == pytest.approx(SPEECH.duration_s)
    assert not end.transcript.complete


def test_failed_segments_are_gaps_and_counted(
    bench: Bench, half_hour: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = bench.model(actions={"1": "raise", "4": "kill"})
    limits = PlanOptions(max_segment_duration=30.0)
    with caplog.at_level("INFO"):
        end = finished(events := list(bench.run(half_hour, model, plan=limits).events()))
    failed = [event.gap for event in events if isinstance(event, SegmentFailed)]
    assert sorted(gap.segment_index or 0 for gap in failed) == [1, 4]
    assert list(end.transcript.gaps) == sorted(failed, key=lambda gap: gap.start_s)
    assert end.report.gaps == end.transcript.gaps
    count = len([event for event in events if isinstance(event, Planned)])
    assert len(end.transcript.segments) == count - 2
    assert "2 segments failed to transcribe" in caplog.messages
    verdict = f"Finished with 2 gaps: {count} segments | Speed: {end.report.speed:.1f}x realtime"
    assert verdict in caplog.messages
    for gap in end.transcript.gaps:
        line = f"No text from {gap.start_s:.1f}s to {gap.end_s:.1f}s: {gap.reason}"
        assert line in caplog.messages


def test_text_and_gaps_so_far_are_told_after_every_segment(bench: Bench, half_hour: Path) -> None:
    model = bench.model(actions={"1": "raise"})
    events = list(bench.run(half_hour, model).events())
    transcript = finished(events).transcript
    told = [event for event in events if isinstance(event, TranscriptSoFar)]
    ends = [event for event in events if isinstance(event, SegmentFinished | SegmentFailed)]
    assert len(told) == len(ends) > 2
    for before, after in itertools.pairwise(told):
        assert after.segments[: len(before.segments)] == before.segments
        assert set(before.gaps) <= set(after.gaps)
    assert (told[-1].segments, told[-1].gaps) == (transcript.segments, transcript.gaps)


def test_complete_runs_say_so(bench: Bench, minute: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        end = bench.run(minute).result()
    count = len(end.report.segments)
    line = f"Complete! {count} segments | Speed: {end.report.speed:.1f}x realtime"
    assert caplog.messages.count(line) == 1


BAD: dict[str, tuple[Callable[[Path], object], type[SubtitleError]]] = {
    "gone.wav": (lambda path: None, FileMissing),
    "empty.mp3": (lambda path: path.write_bytes(b""), UnreadableMedia),
    "letter.wav": (lambda path: path.write_text("no sound in here"), UnreadableMedia),
    "list.mp4": (
        lambda path: path.write_text("ffconcat version 1.0\nfile minute.flac\n"),
        UnreadableMedia,
    ),
    "mute.mp4": (
        lambda path: write_media(path, [], Recipe("aac", video="libx264"), video_s=1.0),
        NoAudioTrack,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_recordings_are_errors_and_the_next_run_works(
    bench: Bench, minute: Path, tmp_path: Path, name: str
) -> None:
    make, kind = BAD[name]
    make(tmp_path / name)
    with pytest.raises(kind) as caught:
        list(bench.run(tmp_path / name).events())
    assert caught.value.hint
    assert bench.nothing_left()
    assert bench.run(minute).result().transcript.complete


def test_wrong_options_and_limits_are_errors(bench: Bench, minute: Path) -> None:
    with pytest.raises(InvalidOption):
        bench.run(minute, plan=PlanOptions(min_segment_duration=90.0)).result()
    with pytest.raises(InvalidOption, match="no audio track 3"):
        bench.run(minute, audio_track=3).result()
    with pytest.raises(MediaLimitExceeded):
        bench.run(minute, limits=DecodeLimits(max_audio_s=5.0)).result()
    assert bench.nothing_left()


def test_a_model_nobody_can_load_ends_the_run(bench: Bench, half_hour: Path) -> None:
    with pytest.raises(ModelError, match="damaged"):
        bench.run(half_hour, bench.model(load="raise")).result()
    assert bench.nothing_left()


def test_a_spool_without_room_is_an_error(bench: Bench, minute: Path) -> None:
    bench.spools.rmdir()
    bench.spools.write_text("a file where a folder should be")
    with pytest.raises(DiskFull):
        bench.run(minute).result()
    bench.spools.unlink()
    bench.spools.mkdir()


def test_cancelled_in_the_middle_with_nothing_left(bench: Bench, half_hour: Path) -> None:
    model = bench.model(actions={"0": "hang"})
    run = bench.run(half_hour, model)
    cancel = threading.Thread(target=run.cancel)

    def cancel_once(event: Event) -> None:
        if isinstance(event, Planned) and cancel.ident is None:
            assert list(bench.spools.iterdir())
            cancel.start()

    with pytest.raises(Cancelled):
        watch(run.events(), cancel_once)
    cancel.join()
    assert not bench.ingests[0].finished, "it read on although nobody wanted it"
    assert bench.nothing_left()
    assert bench.run(half_hour).result().transcript.complete


def test_cancelled_before_it_began(bench: Bench, half_hour: Path) -> None:
    run = bench.run(half_hour)
    run.cancel()
    with pytest.raises(Cancelled):
        list(run.events())
    assert bench.nothing_left()


def test_a_run_nobody_watches_any_more_ends(bench: Bench, half_hour: Path) -> None:
    events = bench.run(half_hour, bench.model(actions={"0": "gate"})).events()
    assert next(event for event in events if isinstance(event, Planned))
    events.close()  # type: ignore[attr-defined]
    assert bench.nothing_left()


def test_progress_callback_rises_to_the_end(bench: Bench, minute: Path) -> None:
    calls: list[tuple[float, str]] = []
    bench.run(minute).result(lambda share, message: calls.append((share, message)))
    assert calls[-1] == (1.0, "")
    assert all(0.0 <= share <= 1.0 for share, _ in calls)


def test_two_runs_share_the_workers(bench: Bench, half_hour: Path, minute: Path) -> None:
    model = bench.model(actions={"20": "gate"})  # which the short one does not reach
    with ThreadPoolExecutor(1) as thread:
        long = thread.submit(bench.run(half_hour, model).result)
        assert bench.run(minute, model).result().transcript.complete
        assert not long.done()
        Path(model.path, "gate").touch()
        assert long.result(PATIENCE_S).transcript.complete
    assert len(read_log(model, "load")) == 2
