"""``/asr`` and ``/detect-language``: the protocol of whisper-asr-webservice, which media servers
speak (Bazarr's provider ``whisperai`` among them).

    curl -F audio_file=@talk.mp4 "…/asr?output=srt"
    curl -F audio_file=@talk.mp4 …/detect-language

Recordings may last hours, and programs wait with the connection open: an answer begins after some
seconds, with white space that no reader of the format minds, and goes on with it until the text is
there. docs/protocols.md says what each field does here.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.job_answers import JobAnswers, JobBody, output_of
from api.job_options import RerunOptions
from api.openapi import media_operation
from api.schemas import refusals
from api.upload_body import Upload, recording_name
from core.languages import LANGUAGES
from core.models import find_model
from core.types import SAMPLE_RATE, Task
from jobs.options import read_options
from jobs.records import JobView
from jobs.request import JobRequest, check_options

Output = Literal["txt", "vtt", "srt", "tsv", "json"]

_UNKNOWN_BYTES = 0xFFFFFFFF
"""What stands in a WAV file whose length was not known when it was begun."""

_PCM_BYTES = 2

WAV_HEAD = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", _UNKNOWN_BYTES, b"WAVE", b"fmt ", 16),
    *(1, 1, SAMPLE_RATE, SAMPLE_RATE * _PCM_BYTES, _PCM_BYTES, 8 * _PCM_BYTES),
    *(b"data", _UNKNOWN_BYTES),
)
"""Before raw samples it makes a recording of them that says what it is: nothing here guesses."""

FIRST_LINES: dict[Output, bytes] = {"vtt": b"WEBVTT\n", "tsv": b"start\tend\ttext\n"}
"""What must come before any blank line."""

UNDETERMINED = "und"
"""ISO 639-2's code for a language that is not known."""


class SubtitlesAnswer(JobBody):
    """The job's file of one format; blank lines before its first cue while the job runs."""

    padding = b"\n"

    def __init__(self, output: Output, *, words: bool) -> None:
        self._output = output
        self._words = words
        self._sent = b""
        if output == "json":
            self.media_type = "application/json"

    def begin(self) -> bytes:
        self._sent = FIRST_LINES.get(self._output, b"")
        return self._sent

    def end(self, view: JobView) -> bytes:
        file = output_of(view, self._output)
        if self._output == "json" and not self._words:
            file = _without_words(file)
        return file.removeprefix(self._sent)


class LanguageAnswer(JobBody):
    """The language, as soon as the job has decided it; the rest of the job is not needed."""

    media_type = "application/json"
    padding = b"\n"
    keeps_job = False

    def enough(self, view: JobView) -> bool:
        return super().enough(view) or _language(view) is not None

    def end(self, view: JobView) -> bytes:
        language, probability = _language(view) or (UNDETERMINED, 0.0)
        body = {
            "detected_language": LANGUAGES.get(language, "undetermined").lower(),
            "language_code": language,
            "confidence": probability,
        }
        return json.dumps(body).encode()


def asr_router(answers: JobAnswers) -> APIRouter:
    """The routes. Fields of the protocol that have no parameter here are accepted."""
    router = APIRouter(tags=["media servers"])

    @router.post("/asr", **_described("text/plain", "application/json"))
    async def asr(
        request: Request,
        task: Task = "transcribe",
        language: str | None = None,
        initial_prompt: str | None = None,
        output: Output = "txt",
        encode: bool = True,
        word_timestamps: bool = False,
        video_file: Annotated[str, Query(max_length=4096)] = "",
    ) -> Response:
        """A recording becomes subtitles."""
        options = read_options(
            {
                "task": task,
                "language": language,
                "initial_prompt": initial_prompt,
                "formats": output,
            },
            RerunOptions,
        )
        # Before gigabytes arrive.
        check_options(JobRequest(path=Path(), options=options), answers.service.settings)

        def wanted(upload: Upload) -> tuple[RerunOptions, JobBody]:
            return options, SubtitlesAnswer(output, words=word_timestamps)

        name = recording_name(video_file) if video_file else None
        answer = await answers.answer(request, wanted, prefix=_prefix(encode), name=name)
        file = quote(f"{name or 'audio_file'}.{output}")
        answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{file}"
        return answer

    @router.post("/detect-language", **_described("application/json"))
    async def detect_language(
        request: Request,
        encode: bool = True,
        video_file: Annotated[str, Query(max_length=4096)] = "",
    ) -> Response:
        """Which language is spoken. Only the recording's first segments are looked at."""

        def wanted(upload: Upload) -> tuple[RerunOptions, JobBody]:
            return RerunOptions(beam_size=1), LanguageAnswer()

        name = recording_name(video_file) if video_file else None
        return await answers.answer(request, wanted, prefix=_prefix(encode), name=name)

    return router


def _described(*types: str) -> dict[str, Any]:
    """What the OpenAPI document says of a route whose answers have these types."""
    return {
        "response_class": Response,
        "responses": refusals(408, 409, 413, 415, 422, 429, 507),
        "openapi_extra": media_operation(*types),
    }


def _prefix(encode: bool) -> bytes:
    """What the file that is sent lacks: a container, where it is raw samples."""
    return b"" if encode else WAV_HEAD


def _language(view: JobView) -> tuple[str, float] | None:
    """What is decided so far, and how probable it is."""
    if view.language is not None:
        return view.language, view.language_probability or 0.0
    model = None if view.model is None else find_model(view.model)
    only = None if model is None else model.only_language
    return None if only is None else (only, 1.0)


def _without_words(file: bytes) -> bytes:
    transcript: dict[str, Any] = json.loads(file)
    for segment in transcript["segments"]:
        del segment["words"]
    return json.dumps(transcript, ensure_ascii=False).encode()
