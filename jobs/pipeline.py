"""The second half of a job: a run's transcript to cues to files, the report of the whole, and in
words how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import DiskFull, SubtitleError, WorkerError
from core.events import Event, Finished
from core.files import disk_is_full
from core.types import Cue, JobReport, Transcript
from subtitles.formats import get_format, write_files
from subtitles.layout import layout
from transcription_run import TranscriptionRun


@dataclass(frozen=True, slots=True)
class PipelineResult:
    transcript: Transcript
    cues: tuple[Cue, ...]
    outputs: dict[str, Path]
    """File of each format, in the order they were asked for."""
    report: JobReport


def run_pipeline(
    run: TranscriptionRun,
    formats: Sequence[str],
    directory: Path,
    stem: str,
    on_event: Callable[[Event], None],
    amend: Callable[[Finished], Finished] | None = None,
) -> PipelineResult:
    """Follow the run to its end, then lay out and write ``directory/stem.<extension>``.

    ``on_event`` gets every event but ``Finished``, on the calling thread; ``amend`` may change that
    one before anything is made of it. Raises what
    ``TranscriptionRun.events`` and ``subtitles.formats.write_files`` raise; no file is written
    unless the run has finished.
    """
    for event in run.events():
        if isinstance(event, Finished):
            return _write(amend(event) if amend else event, formats, directory, stem)
        on_event(event)
    raise WorkerError("The run ended without a result.")


def _write(
    finished: Finished, formats: Sequence[str], directory: Path, stem: str
) -> PipelineResult:
    began = time.monotonic()
    transcript, report = finished.transcript, finished.report
    cues = layout(transcript)
    names = list(dict.fromkeys(get_format(name).name for name in formats))
    paths = write_files(transcript, cues, names, directory, stem)
    elapsed_s = report.elapsed_s + time.monotonic() - began
    report = replace(
        report,
        elapsed_s=elapsed_s,
        speed=report.audio_s / elapsed_s,
        outputs=tuple(str(path) for path in paths),
    )
    return PipelineResult(transcript, cues, dict(zip(names, paths, strict=True)), report)


def verdict(transcript: Transcript) -> str:
    """How a finished recording ended, where there is something to say."""
    if not transcript.complete:
        count, lost_s = len(transcript.gaps), sum(gap.duration_s for gap in transcript.gaps)
        what = "gap" if count == 1 else "gaps"
        return f"Finished with {count} {what}: {lost_s:.1f} s of speech have no text."
    if not transcript.segments:
        return "No speech was found in the recording."
    return ""


def explained(error: Exception) -> SubtitleError:
    """What an unexpected error becomes, which is in the log."""
    if disk_is_full(error):
        return DiskFull("No space left for the job.")
    # The details are for the log alone: they may name files and code.
    return WorkerError("The job failed: an unexpected error.", hint="The log has the details.")
