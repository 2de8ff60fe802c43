"""Jobs put into the database and the folders of an app from outside, as a service leaves them."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.settings import Settings
from core.types import Gap, JobReport, Transcript, TranscriptSegment, Word
from jobs.database import Database
from jobs.folders import JobFolders
from jobs.options import JobOptions
from jobs.records import HistoryEntry, JobRecord, dump
from jobs.request import JobRequest
from jobs.states import JobState
from jobs.store import JobStore
from jobs.stored import KeptResult
from subtitles.formats import FORMATS

FINISHED = JobReport(
    audio_s=51.0,
    speech_s=48.0,
    load_s=0.5,
    elapsed_s=3.0,
    decode_s=0.1,
    vad_s=0.2,
    transcribe_s=2.0,
    speed=17.0,
    model="tiny.en",
    language="en",
    devices=("CPU 0",),
)


def insert(data_dir: Path, *records: JobRecord, history: Sequence[HistoryEntry] = ()) -> None:
    """Rows for the app of that data directory."""
    database = Database.open(Settings(data_dir=data_dir))
    try:
        store = JobStore(database)
        for record in records:
            store.insert(record)
            for entry in history:
                store.add_history(record.id, entry)
    finally:
        database.close()


def record(data_dir: Path, name: str, state: JobState, **fields: object) -> JobRecord:
    made = JobRecord(
        id=secrets.token_urlsafe(12),
        origin="service",
        owner="local",
        client="local",
        name=name,
        state=state,
        request=JobRequest(
            path=data_dir / "gone", name=name, options=JobOptions(model="tiny.en"), adopt="link"
        ),
        created_at=time.time(),
        ended_at=time.time(),
        storage_id=(data_dir / "place.txt").read_text(encoding="utf-8").strip(),
        total_s=51.0,
        language="en",
        model="tiny.en",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def finished(
    data_dir: Path, recording: Path, name: str, text: str, gaps: tuple[Gap, ...] = ()
) -> JobRecord:
    """A finished job of a recording with one sentence in its first seconds, with its files; the
    row is not in the database yet."""
    state = JobState.COMPLETE_WITH_GAPS if gaps else JobState.COMPLETE
    made = record(data_dir, name, state, gaps=gaps, report=FINISHED)
    folders = JobFolders(data_dir)
    folder = folders.path(made.id)
    folder.mkdir(parents=True)
    path = folder / f"recording{recording.suffix}"
    shutil.copyfile(recording, path)
    segment = TranscriptSegment(0.2, 4.0, text, (Word(0.2, 4.0, text, 0.9),))
    transcript = Transcript((segment,), gaps, "en", 0.99, 51.0, 48.0)
    folders.keep_transcript(made.id, dump(KeptResult(transcript, FINISHED)))
    outputs = {}
    for kind in ("srt", "vtt"):
        file = folder / f"talk{FORMATS[kind].extension}"
        head = "WEBVTT\n\n" if kind == "vtt" else "1\n"
        file.write_text(f"{head}00:00:00.200 --> 00:00:04.000\nHello\n", encoding="utf-8")
        outputs[kind] = file
    request = replace(made.request.choosing(formats=tuple(outputs)), path=path)
    return replace(made, outputs=outputs, request=request)
