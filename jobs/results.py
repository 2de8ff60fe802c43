"""The subtitles of a finished job in any format, also one that was not asked for at first."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import FileMissing
from jobs.folders import JobFolders
from jobs.job import JobHandle
from jobs.records import JobRecord
from jobs.stored import kept_of
from subtitles.formats import FORMATS
from subtitles.layout import layout


@dataclass(frozen=True, slots=True)
class Subtitles:
    """One file that a job has, or could have had."""

    name: str
    """Of the file, as a download is called."""
    content: bytes


def subtitles_of(job: JobHandle, folders: JobFolders, format_name: str) -> Subtitles:
    """The job's subtitles: its own file, or one made now of the transcript it has kept.

    Raises FileMissing: the job has none yet, or no longer; or there is no such format.
    """
    record: JobRecord = job.view(text=False)
    known = FORMATS.get(format_name)
    if known is None:
        raise FileMissing(
            f"There is no format {format_name!r}.", hint=f"Choose from: {', '.join(FORMATS)}."
        )
    path = record.outputs.get(known.name)
    if path is not None:
        try:
            return Subtitles(path.name, path.read_bytes())
        except FileNotFoundError as error:
            raise FileMissing("The file has been removed.", hint="") from error
    kept = kept_of(folders, job.id) if record.state.ended else None
    if kept is None:
        hint = "" if record.state.ended else "Ask again when the job has ended."
        raise FileMissing(f"The job has no {known.name} file.", hint=hint)
    text = known.render(kept.transcript, layout(kept.transcript))
    return Subtitles(f"{record.request.stem}{known.extension}", text.encode())
