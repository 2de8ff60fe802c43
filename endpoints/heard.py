"""What is asked of a speech server and what it heard, whatever its protocol.

Times are seconds from the first sample of the clip that was sent.
"""

from __future__ import annotations

import io
import math
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.pcm import BYTES_PER_SAMPLE, Float32
from core.types import SAMPLE_RATE, Task

MAX_ANSWER_BYTES = 8 << 20
"""Thousands of times what the text of one clip takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOptions:
    """How a clip is to be heard."""

    language: str | None = None
    """Whisper language code; None: the server detects it."""
    task: Task = "transcribe"
    prompt: str | None = None
    hotwords: str | None = None
    """Separated by commas."""


@dataclass(frozen=True, slots=True)
class HeardPart:
    """A sentence or so with the server's times."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word with the spaces and punctuation around it, so that words joined give the text."""

    start_s: float
    end_s: float
    text: str
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer. Without parts the text has no times; without words only its parts have."""

    text: str
    parts: tuple[HeardPart, ...] = ()
    words: tuple[HeardWord, ...] = ()
    language: str | None = None
    """As the server named it."""
    form: str = ""
    """The step of the protocol that gave it, for people: ``verbose_json with words``."""


class SpeechClient(Protocol):
    """One server, in its protocol. A call raises ``EndpointFailed``, ``EndpointBusy`` or
    ``EndpointRefused``, takes at most the endpoint's time-out, and when it is cancelled closes its
    connection."""

    async def transcribe(self, audio: Float32, wanted: ClipOptions) -> Heard:
        """Hear a clip at 16 kHz."""

    async def detect_language(self, audio: Float32) -> tuple[str, float] | None:
        """The server's name or code of the language, and its probability; None where the
        protocol does not tell."""

    async def models(self) -> tuple[str, ...] | None:
        """Names of the server's models; None where it does not list them."""


@dataclass(slots=True)
class Ladder:
    """Ways to ask, best first. A way that the server refused while it took a later one is not tried
    again in this process."""

    ways: Sequence[str]
    at: int = field(default=0)

    @property
    def left(self) -> Sequence[str]:
        return self.ways[self.at :]

    def took(self, way: str) -> None:
        self.at = self.ways.index(way)


def pcm_of(audio: Float32) -> bytes:
    """As 16-bit little-endian samples."""
    scaled = (audio * 32768.0).round().clip(-32768, 32767)
    return scaled.astype("<i2").tobytes()


def wav_of(audio: Float32) -> bytes:
    """As a WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(BYTES_PER_SAMPLE)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm_of(audio))
    return file.getvalue()


def timed_parts(segments: Sequence[Any]) -> tuple[HeardPart, ...]:
    """Segments of an answer in JSON; none where the server only fills in zeros.

    Raises ValueError, TypeError or KeyError for what are no segments.
    """
    parts = tuple(
        HeardPart(_seconds(each["start"]), _seconds(each["end"]), str(each["text"]))
        for each in segments
    )
    return parts if any(part.end_s for part in parts) else ()


def timed_words(words: Sequence[Any], text: str) -> tuple[HeardWord, ...]:
    """Words of an answer in JSON, with the spaces and punctuation they have in the text.

    Raises ValueError, TypeError or KeyError for what are no words.
    """
    rows = [each for each in words if str(each["word"]).strip()]
    if not any(_seconds(each["end"]) for each in rows):
        return ()
    texts = _woven([str(each["word"]) for each in rows], text)
    return tuple(
        HeardWord(
            _seconds(each["start"]),
            _seconds(each["end"]),
            woven,
            float(each.get("probability") or 1.0),
        )
        for each, woven in zip(rows, texts, strict=True)
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError("a time is no number")
    return seconds


def _woven(words: Sequence[str], text: str) -> list[str]:
    """OpenAI's words come without spaces and punctuation; the text has them."""
    plain, whole = [word.strip() for word in words], text.casefold()
    begins, at = [], 0
    for word in plain:
        found = whole.find(word.casefold(), at)
        if found < 0:
            # Other spellings than in the text: the words alone.
            return [spaced(word, index) for index, word in enumerate(plain)]
        begins.append(found)
        at = found + len(word)
    if len(whole) != len(text):  # a few letters have another length in lower case
        return [spaced(word, index) for index, word in enumerate(plain)]
    cuts = [0]
    for index, begin in enumerate(begins[1:]):
        end = begins[index] + len(plain[index])
        # What follows a word directly is its punctuation; what comes after a space opens the next.
        space = re.search(r"\s", text[end:begin])
        cuts.append(end + space.start() if space else begin)
    return [
        text[cut:following] for cut, following in zip(cuts, [*cuts[1:], len(text)], strict=True)
    ]


def spaced(word: str, index: int) -> str:
    """A word as it stands in a sentence: after a space, but in scripts that write none."""
    return word if index == 0 or is_dense(word[0]) else f" {word}"


def joined_text(texts: Sequence[str]) -> str:
    """Sentences as one text, whether they keep the space before them or not."""
    return "".join(
        text if not text or text[0].isspace() else spaced(text, index)
        for index, text in enumerate(texts)
    )


def is_dense(character: str) -> bool:
    """Whether it belongs to a script without spaces between words: Chinese or Japanese."""
    return "\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff"
