"""OpenAI's protocol: OpenAI, vLLM, speaches, LocalAI, xinference, another whisper-for-subs.

Servers know more or fewer formats of it, so a clip is asked for as the best that the server takes.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from core.endpoints import Endpoint
from core.errors import EndpointFailed, EndpointRefused
from core.pcm import Float32
from core.types import SAMPLE_RATE
from endpoints import faults
from endpoints.exchange import Reply, exchange
from endpoints.heard import ClipOptions, Heard, Ladder, timed_parts, timed_words, wav_of

WORDS, SEGMENTS, JSON, TEXT = "verbose_json with words", "verbose_json", "json", "text"

FORMS = (WORDS, SEGMENTS, JSON, TEXT)

_FIELDS: dict[str, dict[str, Any]] = {
    WORDS: {
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["word", "segment"],
    },
    SEGMENTS: {"response_format": "verbose_json"},
    JSON: {"response_format": "json"},
    TEXT: {"response_format": "text"},
}

_UNKNOWN_FORM = (400, 422)
"""Statuses by which servers refuse a format or a field."""


class OpenAIClient:
    """``endpoints.heard.SpeechClient`` describes the calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ladder = Ladder(FORMS if endpoint.word_times else FORMS[1:])

    async def transcribe(self, audio: Float32, wanted: ClipOptions) -> Heard:
        refusal: EndpointRefused | None = None
        for way in self._ladder.left:
            try:
                heard = await self.ask(audio, wanted, way)
            except EndpointRefused as error:
                if faults.status_of(error) not in _UNKNOWN_FORM:
                    raise
                # The first one is about what was asked for, not about a poorer form of it.
                refusal = refusal or error
            else:
                self._ladder.took(way)
                return heard
        assert refusal is not None
        raise refusal

    async def detect_language(self, audio: Float32) -> tuple[str, float] | None:
        heard = await self.transcribe(audio, ClipOptions())
        return (heard.language, 1.0) if heard.language else None

    async def models(self) -> tuple[str, ...] | None:
        url = models_url(self._endpoint.api_url)
        if url is None:
            return None
        try:
            body = (await exchange(self._endpoint, "GET", url)).json(self._endpoint)
        except EndpointRefused as error:
            if faults.status_of(error) in (404, 405):
                return None
            raise
        rows = body.get("data", ()) if isinstance(body, dict) else ()
        return tuple(str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row)

    async def ask(self, audio: Float32, wanted: ClipOptions, way: str) -> Heard:
        """Hear a clip in one form of ``FORMS``."""
        fields = {"model": self._endpoint.model_name, "temperature": "0", **_FIELDS[way]}
        if wanted.language and wanted.task == "transcribe":
            fields["language"] = wanted.language
        # The protocol has one field for what helps to hear.
        prompt = " ".join(text for text in (wanted.hotwords, wanted.prompt) if text)
        if prompt:
            fields["prompt"] = prompt
        url = self._endpoint.api_url
        if wanted.task == "translate":
            url = translations_url(url)
        reply = await exchange(
            self._endpoint,
            "POST",
            url,
            audio_s=len(audio) / SAMPLE_RATE,
            fields=fields,
            files={"file": ("clip.wav", wav_of(audio), "audio/wav")},
        )
        return self._heard(reply, way)

    def _heard(self, reply: Reply, way: str) -> Heard:
        if way == TEXT and reply.text.lstrip()[:1] not in ("<", "{"):
            return Heard(reply.text.strip(), form=way)
        body = reply.json(self._endpoint)
        try:
            text = body["text"]
            parts = timed_parts(body.get("segments") or ())
            words = timed_words(body.get("words") or (), text)
            language = body.get("language")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _no_answer(self._endpoint, error) from error
        form = WORDS if words else SEGMENTS if parts else way if way == TEXT else JSON
        return Heard(str(text).strip(), parts, words, language and str(language), form)


def _no_answer(endpoint: Endpoint, error: Exception) -> EndpointFailed:
    problem = f"{type(error).__name__}: {error}"
    return faults.failed(endpoint, f"gave JSON that is no transcript ({problem})")


def translations_url(api_url: str) -> str:
    """Where the same server translates."""
    parts = urlsplit(api_url)
    head, _, tail = parts.path.rstrip("/").rpartition("/")
    path = f"{head}/translations" if tail == "transcriptions" else parts.path
    return urlunsplit(parts._replace(path=path))


def models_url(api_url: str) -> str | None:
    """Where the same server lists its models; None where its address is not of the usual form."""
    parts = urlsplit(api_url)
    head, found, _ = parts.path.partition("/audio/")
    return urlunsplit(parts._replace(path=f"{head}/models", query="")) if found else None
