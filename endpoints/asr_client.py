"""The protocol of whisper-asr-webservice, which subgen and this app speak too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from core.endpoints import Endpoint
from core.errors import EndpointRefused
from core.pcm import Float32
from core.types import SAMPLE_RATE
from endpoints import faults
from endpoints.exchange import exchange
from endpoints.heard import (
    ClipOptions,
    Heard,
    Ladder,
    joined_text,
    pcm_of,
    timed_parts,
    timed_words,
    wav_of,
)

RAW, WAV = "samples", "WAV"
"""What is sent: bare samples, which cost the server no ffmpeg, or a file."""


class AsrClient:
    """``endpoints.heard.SpeechClient`` describes the calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ladder = Ladder((RAW, WAV))

    async def transcribe(self, audio: Float32, wanted: ClipOptions) -> Heard:
        query = {"task": wanted.task, "output": "json"}
        if self._endpoint.word_times:
            query["word_timestamps"] = "true"
        if wanted.language:
            query["language"] = wanted.language
        prompt = " ".join(text for text in (wanted.hotwords, wanted.prompt) if text)
        if prompt:
            query["initial_prompt"] = prompt
        body = await self._ask(self._endpoint.api_url, audio, query)
        try:
            segments = [_fields(each) for each in body.get("segments") or ()]
            joined = joined_text([str(each["text"]) for each in segments])
            text = str(body.get("text") or joined)
            words = [word for each in segments for word in each.get("words") or ()]
            return Heard(
                text.strip(),
                timed_parts(segments),
                timed_words(words, joined),
                body.get("language"),
                "json with words" if words else "json",
            )
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            problem = f"{type(error).__name__}: {error}"
            fault = f"gave JSON that is no transcript ({problem})"
            raise faults.failed(self._endpoint, fault) from error

    async def detect_language(self, audio: Float32) -> tuple[str, float] | None:
        parts = urlsplit(self._endpoint.api_url)
        path = f"{parts.path.rstrip('/').rpartition('/')[0]}/detect-language"
        url = urlunsplit(parts._replace(path=path, query=""))
        try:
            body = await self._ask(url, audio, {})
            confidence = body.get("confidence")
            return str(body["language_code"]), 1.0 if confidence is None else float(confidence)
        except EndpointRefused as error:
            if faults.status_of(error) in (404, 405):
                return None
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise faults.failed(self._endpoint, "gave no language") from error

    async def models(self) -> tuple[str, ...] | None:
        return None

    async def _ask(self, url: str, audio: Float32, query: Mapping[str, str]) -> Any:
        refusal: EndpointRefused | None = None
        for way in self._ladder.left:
            data = pcm_of(audio) if way == RAW else wav_of(audio)
            kind = "application/octet-stream" if way == RAW else "audio/wav"
            try:
                reply = await exchange(
                    self._endpoint,
                    "POST",
                    url,
                    audio_s=len(audio) / SAMPLE_RATE,
                    files={"audio_file": ("clip.wav" if way == WAV else "clip.pcm", data, kind)},
                    query={**query, "encode": "false" if way == RAW else "true"},
                )
            except EndpointRefused as error:
                if faults.status_of(error) not in (400, 415, 422):
                    raise
                refusal = refusal or error
            else:
                self._ladder.took(way)
                return reply.json(self._endpoint)
        assert refusal is not None
        raise refusal


def _fields(segment: Any) -> dict[str, Any]:
    """A segment by the names of its fields. With faster-whisper before 1.1 the service gives rows:
    id, seek, start, end, text, …, and somewhere after them the words as (start, end, word,
    probability)."""
    if isinstance(segment, dict):
        return segment
    named: dict[str, Any] = {"start": segment[2], "end": segment[3], "text": segment[4]}
    rows = [each for each in segment[5:] if isinstance(each, list) and each]
    words = [each for each in rows if all(isinstance(row, list) for row in each)]
    if words:
        names = ("start", "end", "word", "probability")
        named["words"] = [dict(zip(names, row, strict=True)) for row in words[0]]
    return named
