"""FunASR's runtime server: a WebSocket, samples in pieces, and an answer for the whole clip or, in
``2pass``, for each sentence of it.

Documented in the server's ``runtime/docs/websocket_protocol.md``. Its times come for each Chinese
character and for each word of other scripts, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from core.endpoints import Endpoint
from core.pcm import BYTES_PER_SAMPLE, Float32
from core.types import SAMPLE_RATE
from endpoints import faults
from endpoints.exchange import CONNECT_S, check_no_error, explained, limit_s, tls
from endpoints.heard import (
    MAX_ANSWER_BYTES,
    ClipOptions,
    Heard,
    HeardPart,
    HeardWord,
    pcm_of,
    spaced,
)

CHUNK_SIZE, CHUNK_INTERVAL = (5, 10, 5), 10
"""Of the server's stream model: it works on 10 × 60 ms and looks 5 × 60 ms around."""

PIECE = SAMPLE_RATE * BYTES_PER_SAMPLE * 60 * CHUNK_SIZE[1] // CHUNK_INTERVAL // 1000
"""Bytes of audio in a message."""

SETTLE_S = 3.0
"""In ``2pass``, servers differ in whether they mark the last sentence. Nothing for so long after
one, once all audio was sent, is the end."""

HOTWORD_WEIGHT = 20
"""As in the server's own examples."""

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_](?:[\w'’-]*[^\W_])?", re.UNICODE)


class _NoRedirects(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class FunASRClient:
    """``endpoints.heard.SpeechClient`` describes the calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def transcribe(self, audio: Float32, wanted: ClipOptions) -> Heard:
        endpoint = self._endpoint
        whole_s = limit_s(endpoint, len(audio) / SAMPLE_RATE)
        with explained(endpoint, whole_s):
            try:
                async with asyncio.timeout(whole_s), self._connected() as connection:
                    return self._heard(await self._talk(connection, audio, wanted))
            except InvalidStatus as error:
                response = error.response
                raise faults.answer_error(
                    endpoint, response.status_code, response.headers, bytes(response.body or b"")
                ) from error
            except ConnectionClosed as error:
                raise faults.failed(endpoint, f"broke off its answer: {error}") from error
            except WebSocketException as error:
                raise faults.failed(endpoint, f"speaks no WebSocket: {error}") from error

    async def detect_language(self, audio: Float32) -> tuple[str, float] | None:
        return None

    async def models(self) -> tuple[str, ...] | None:
        return None

    def _connected(self) -> connect:
        key = self._endpoint.api_key
        secure: ssl.SSLContext | None = None
        if self._endpoint.api_url.startswith("wss:"):
            secure = tls()
        return _NoRedirects(
            self._endpoint.api_url,
            additional_headers={"Authorization": f"Bearer {key}"} if key else None,
            ssl=secure,
            proxy=None,
            open_timeout=CONNECT_S,
            close_timeout=1,
            # The server does nothing else while its model runs, answering pings included.
            ping_interval=None,
            max_size=MAX_ANSWER_BYTES,
        )

    async def _talk(
        self, connection: ClientConnection, audio: Float32, wanted: ClipOptions
    ) -> list[dict[str, Any]]:
        """Send the clip; the answers that count."""
        await connection.send(json.dumps(_beginning(self._endpoint, wanted), ensure_ascii=False))
        data = pcm_of(audio)
        for first in range(0, len(data), PIECE):
            await connection.send(data[first : first + PIECE])
        await connection.send(json.dumps({"is_speaking": False}))
        answers: list[dict[str, Any]] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(SETTLE_S if answers else None):
                    message = await connection.recv()
            except TimeoutError:
                if answers:
                    return answers
                raise
            except ConnectionClosed:
                if answers:
                    return answers
                raise
            size += len(message)
            if size > MAX_ANSWER_BYTES:
                fault = f"answered with more than {MAX_ANSWER_BYTES >> 20} MiB"
                raise faults.failed(self._endpoint, fault)
            answer = self._parsed(message)
            if answer.get("mode") in ("offline", "2pass-offline"):
                answers.append(answer)
                if answer["mode"] == "offline" or answer.get("is_final") is True:
                    return answers
            elif answer.get("is_final") is True and answer.get("mode") != "2pass-online":
                return answers

    def _parsed(self, message: str | bytes) -> dict[str, Any]:
        try:
            answer = json.loads(message)
        except ValueError as error:
            fault = "answered with JSON that is cut off or broken"
            raise faults.failed(self._endpoint, fault) from error
        if not isinstance(answer, dict):
            raise faults.failed(self._endpoint, "answered with JSON that is no transcript")
        check_no_error(self._endpoint, answer, str(message))
        return answer

    def _heard(self, answers: Sequence[dict[str, Any]]) -> Heard:
        try:
            texts = [str(each.get("text", "")).strip() for each in answers]
            sentences = [each for each in texts if each]
            text = "".join(spaced(each, index) for index, each in enumerate(sentences))
            parts, words = _times(answers)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            problem = f"{type(error).__name__}: {error}"
            fault = f"gave JSON that is no transcript ({problem})"
            raise faults.failed(self._endpoint, fault) from error
        form = "times of words" if words else "times of sentences" if parts else "text"
        return Heard(text, parts, words, form=form)


def _beginning(endpoint: Endpoint, wanted: ClipOptions) -> dict[str, Any]:
    begin: dict[str, Any] = {
        "mode": endpoint.mode,
        "wav_name": "clip",
        "wav_format": "pcm",
        "audio_fs": SAMPLE_RATE,
        "is_speaking": True,
        "chunk_size": CHUNK_SIZE,
        "chunk_interval": CHUNK_INTERVAL,
        "itn": True,
    }
    hotwords = [word.strip() for word in (wanted.hotwords or "").split(",") if word.strip()]
    if hotwords:
        weights = {word: HOTWORD_WEIGHT for word in hotwords}
        begin["hotwords"] = json.dumps(weights, ensure_ascii=False)
    return begin


def _times(
    answers: Sequence[dict[str, Any]],
) -> tuple[tuple[HeardPart, ...], tuple[HeardWord, ...]]:
    """Sentences and words; no words where those of one answer have no times."""
    parts: list[HeardPart] = []
    words: list[HeardWord] = []
    without = False
    for answer in answers:
        text = str(answer.get("text", "")).strip()
        sentences = answer.get("stamp_sents") or ()
        found: list[HeardWord] = []
        for sentence in sentences:
            tokens = str(sentence["text_seg"]).split()
            spoken = _stamped(tokens, sentence["ts_list"], str(sentence.get("punc") or ""))
            found += spoken
            start_s, end_s = float(sentence["start"]) / 1000, float(sentence["end"]) / 1000
            joined = " ".join(tokens) + str(sentence.get("punc") or "")
            parts.append(HeardPart(start_s, end_s, "".join(w.text for w in spoken) or joined))
        if not sentences and text:
            stamps = answer.get("timestamp") or "[]"
            stamps = json.loads(stamps) if isinstance(stamps, str) else stamps
            found = _stamped(_tokens(text), stamps, "")
            if stamps:
                parts.append(HeardPart(stamps[0][0] / 1000, stamps[-1][1] / 1000, text))
        without = without or bool(text and not found)
        words += found
    spoken_parts = tuple(parts) if any(part.end_s for part in parts) else ()
    return spoken_parts, () if without else _in_sentences(words)


def _tokens(text: str) -> list[str]:
    """What the server gives one time each, with the punctuation after it."""
    begins = [found.start() for found in _TOKEN.finditer(text)]
    ends = [*begins[1:], len(text)]
    return [text[begin:end].strip() for begin, end in zip(begins, ends, strict=True)]


def _stamped(tokens: Sequence[str], stamps: Any, punctuation: str) -> list[HeardWord]:
    """Tokens with their times; none where their numbers differ, as with digits for words."""
    if len(tokens) != len(stamps) or not tokens:
        return []
    last = len(tokens) - 1
    return [
        HeardWord(
            float(start) / 1000, float(end) / 1000, token + (punctuation if at == last else "")
        )
        for at, (token, (start, end)) in enumerate(zip(tokens, stamps, strict=True))
    ]


def _in_sentences(words: Sequence[HeardWord]) -> tuple[HeardWord, ...]:
    """With the spaces of their scripts."""
    return tuple(replace(word, text=spaced(word.text, at)) for at, word in enumerate(words))
