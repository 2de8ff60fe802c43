"""Windows decoded by a speech server: sent, checked, timed, and put on the recording's clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.endpoints import Endpoint
from core.errors import Cancelled, ModelError, OutOfMemory, SubtitleError
from core.languages import DEFAULT_PROMPTS
from core.pcm import PcmSpool
from core.types import DecodeOptions, TranscriptSegment, Window
from decoding.clip import Clip, cut_clip
from decoding.parts import AlignedWord, Part, WindowResult
from decoding.quality import Scores, compression_ratio
from decoding.words import holes, to_segments
from endpoints import checks, faults
from endpoints.clips import fitted
from endpoints.heard import ClipOptions, Heard, HeardPart, SpeechClient
from endpoints.local_model import LocalModel

log = logging.getLogger(__name__)

TICK_S = 0.5
"""Seconds between two looks at whether the task goes on, while requests run."""

CHECK_EVERY = 16
"""Answers of which one is held against the audio by the local model, which costs as long as a
window decoded here does: a server that was right before rarely begins to mix up its clients."""


@dataclass(slots=True)
class Trust:
    """How far an endpoint's text is believed without looking at the audio."""

    unchecked: int = CHECK_EVERY
    """Answers since the last look. The first answer is looked at, and the one after a failure."""

    @property
    def due(self) -> bool:
        return self.unchecked >= CHECK_EVERY

    def lost(self) -> None:
        self.unchecked = CHECK_EVERY


class RemoteDecoder:
    """``decoding.parts.WindowDecoder`` for one task."""

    def __init__(
        self,
        endpoint: Endpoint,
        client: SpeechClient,
        local: LocalModel,
        trust: Trust,
        options: DecodeOptions,
        should_stop: Callable[[], bool],
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self._local = local
        self._trust = trust
        self._options = options
        self._language = options.language or "en"
        self._should_stop = should_stop
        prompt = options.initial_prompt
        if prompt is None and options.task == "transcribe":
            prompt = DEFAULT_PROMPTS.get(self._language)
        self._wanted = ClipOptions(
            language=options.language,
            task=options.task,
            prompt=prompt,
            hotwords=options.hotwords,
        )
        self._down: SubtitleError | None = None
        self.aligned = False
        """The server gives no times of words, so that the local model is needed again."""

    def decode(
        self, spool: PcmSpool, windows: Sequence[Window]
    ) -> list[WindowResult | SubtitleError]:
        sent = [fitted(spool, window, self._endpoint.max_clip_s) for window in windows]
        clips = [cut_clip(spool, each) for pieces in sent for each in pieces]
        if self._down is not None:
            # Other windows of the task would fail as the first did, a time-out later each.
            return [self._down] * len(windows)
        answers = iter(zip(clips, asyncio.run(self._ask(clips)), strict=True))
        results: list[WindowResult | SubtitleError] = []
        for window, pieces in zip(windows, sent, strict=True):
            some = [next(answers) for _ in pieces]
            try:
                results.append(self._result(window, pieces, some))
            except SubtitleError as error:
                self._trust.lost()
                results.append(error)
        return results

    async def _ask(self, clips: Sequence[Clip]) -> list[Heard | SubtitleError]:
        """Send the clips, as many at a time as the endpoint takes."""
        places = asyncio.Semaphore(self._endpoint.parallel)
        requests = [asyncio.create_task(self._request(places, clip)) for clip in clips]
        try:
            waiting = set(requests)
            while waiting:
                _, waiting = await asyncio.wait(waiting, timeout=TICK_S)
                if self._should_stop():
                    raise Cancelled
            return [request.result() for request in requests]
        finally:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    async def _request(self, places: asyncio.Semaphore, clip: Clip) -> Heard | SubtitleError:
        async with places:
            if self._down is not None:
                return self._down
            try:
                return await self._client.transcribe(clip.audio, self._wanted)
            except SubtitleError as error:
                self._down = error
                return error

    def _result(
        self,
        window: Window,
        pieces: Sequence[Window],
        answers: Sequence[tuple[Clip, Heard | SubtitleError]],
    ) -> WindowResult:
        """What the clips of a window gave. Raises the error of the first that failed."""
        segments: list[TranscriptSegment] = []
        for piece, (clip, heard) in zip(pieces, answers, strict=True):
            if isinstance(heard, SubtitleError):
                raise heard
            segments += self._segments(piece, clip, heard)
        leftover = holes(window.spans, segments) if self._options.audit else ()
        return WindowResult(segments, leftover, redecoded=False)

    def _segments(self, window: Window, clip: Clip, heard: Heard) -> list[TranscriptSegment]:
        fault = checks.fault_of(heard, clip.duration_s, clip.spans)
        if fault is not None:
            raise faults.failed(self._endpoint, fault)
        if not heard.text:
            return []
        heard_parts = heard.parts or (_whole(clip, heard.text),)
        parts = [Part(each.start_s, each.end_s, ()) for each in heard_parts]
        words = _in_parts(heard, parts)
        untimed = self._options.word_timestamps and not words
        # The local model reads a translation as a translation, too unsurely to judge it.
        doubted = self._options.task == "transcribe" and (
            self._trust.due or checks.is_sparse(heard.text, clip.spans)
        )
        if untimed or doubted:
            try:
                parts, aligned = self._local.align(
                    clip.audio, heard_parts, self._language, self._options.task
                )
            except (ModelError, OutOfMemory) as error:
                if untimed:
                    raise
                log.warning("%s: its text is not checked. %s", self._endpoint.label, error)
                self._trust.unchecked = 0
            else:
                self._check_said(heard, aligned)
                if untimed:
                    words, self.aligned = aligned, True
        self._trust.unchecked += 1
        return to_segments(
            clip,
            parts,
            words if self._options.word_timestamps else None,
            window.spans,
            Scores(0.0, 0.0, compression_ratio(heard.text)),
            [each.text for each in heard_parts],
        )

    def _check_said(self, heard: Heard, aligned: Sequence[AlignedWord]) -> None:
        """Raises EndpointFailed where the local model does not hear the text in the audio."""
        said = sum(word.probability for word in aligned) / max(1, len(aligned))
        log.debug("%s: its text is said with probability %.2f", self._endpoint.label, said)
        limit = checks.MIN_TEXT_PROBABILITY if self._options.task == "transcribe" else 0.0
        if not aligned or said < limit:
            fault = f"gave a text that the recording does not say: “{heard.text[:60]}…”"
            raise faults.failed(self._endpoint, fault)
        self._trust.unchecked = 0


def _whole(clip: Clip, text: str) -> HeardPart:
    """Text without times: somewhere in the clip's speech."""
    start_s = clip.spans[0].start_s if clip.spans else 0.0
    end_s = clip.spans[-1].end_s if clip.spans else clip.duration_s
    return HeardPart(start_s, end_s, text)


def _in_parts(heard: Heard, parts: Sequence[Part]) -> list[AlignedWord]:
    """The server's words, each in the part that it was said in."""
    words: list[AlignedWord] = []
    part = 0
    for word in heard.words:
        middle_s = (word.start_s + word.end_s) / 2
        while part + 1 < len(parts) and middle_s >= parts[part + 1].start_s:
            part += 1
        end_s = max(word.start_s, word.end_s)
        words.append(AlignedWord(word.text, word.start_s, end_s, word.probability, part))
    return words
