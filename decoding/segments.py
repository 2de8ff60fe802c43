"""Rounds over the windows of several segments, always in batches as full as they can be."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import Cancelled, OutOfMemory, SubtitleError
from core.events import SegmentFinished
from core.memory_ladder import MAX_HALVINGS, Event, Situation, Step, next_step
from core.pcm import PcmSpool
from core.planning import pack_windows
from core.types import AudioSegment, Gap, SegmentReport, SpeechSpan, TranscriptSegment, Window
from decoding.failures import explain_failure, smaller_may_fit
from decoding.parts import WindowDecoder, WindowResult
from decoding.words import in_order

log = logging.getLogger("transcriber")

MAX_ROUNDS = 3
"""Encoder passes speech gets to yield words: the planned one and two over what was left."""


@dataclass(slots=True, eq=False)
class _OpenSegment:
    """A segment that is being decoded."""

    segment: AudioSegment
    started: float
    open: int = 0
    """Windows of the current round that have not been decoded."""
    round: int = 1
    windows: int = 0
    redecoded: int = 0
    texts: list[TranscriptSegment] = field(default_factory=list)
    leftover: list[SpeechSpan] = field(default_factory=list)


class SegmentDecoder:
    """Rounds over the windows of several segments, always in full batches."""

    def __init__(
        self,
        decoder: WindowDecoder,
        spool: PcmSpool,
        batch_size: int,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} windows decodes nothing")
        self._decoder = decoder
        self._spool = spool
        self._batch_size = batch_size
        self._on_started = on_started
        self._on_result = on_result
        self._on_error = on_error
        self._halvings = 0

    def run(self, segments: Sequence[AudioSegment]) -> None:
        """Answer each segment once.

        Raises:
            Cancelled: between two passes.
            OutOfMemory: in a way that leaves this process unfit for more work.
        """
        fresh = deque(segments)
        queue: deque[tuple[_OpenSegment, Window]] = deque()
        while fresh or queue:
            while fresh and len(queue) < self._batch_size:
                segment = fresh.popleft()
                self._on_started(segment.index)
                progress = _OpenSegment(segment, time.monotonic())
                queue.extend(self._opened(progress, segment.windows))
            batch = [queue.popleft() for _ in range(min(self._batch_size, len(queue)))]
            for progress in dict.fromkeys(progress for progress, _ in batch):
                log.debug(
                    "%s, round %d: %d of its windows in a batch of %d",
                    *(progress.segment.name, progress.round),
                    *(sum(each is progress for each, _ in batch), len(batch)),
                )
            try:
                decoded = self._decoder.decode(self._spool, [window for _, window in batch])
            except Cancelled:
                raise
            except Exception as caught:
                error = explain_failure(caught)
                if isinstance(error, OutOfMemory):
                    step = self._out_of_memory(caught, len(batch))
                    if step is Step.END_TASK:
                        raise error from caught
                    if step is Step.HALVE_BATCH:
                        self._halve(batch)
                        queue.extendleft(reversed(batch))
                        continue
                queue = self._fail(queue, {progress: error for progress, _ in batch})
                continue
            failed = {
                progress: answer
                for (progress, _), answer in zip(batch, decoded, strict=True)
                if isinstance(answer, SubtitleError)
            }
            queue = self._fail(queue, failed)
            # What is left of a window goes first: its segment is nearest to being done.
            settled = [
                (progress, answer)
                for (progress, _), answer in zip(batch, decoded, strict=True)
                if isinstance(answer, WindowResult) and progress not in failed
            ]
            queue.extendleft(reversed(self._settle(settled)))

    def _fail(
        self,
        queue: deque[tuple[_OpenSegment, Window]],
        failed: Mapping[_OpenSegment, Exception],
    ) -> deque[tuple[_OpenSegment, Window]]:
        """Answer segments with their errors; the queue without their windows."""
        for progress in sorted(failed, key=lambda each: each.segment.index):
            self._on_error(progress.segment.index, failed[progress])
        return deque(item for item in queue if item[0] not in failed)

    def _out_of_memory(self, error: Exception, windows: int) -> Step:
        return next_step(
            Event.BATCH_FAILED,
            {
                Situation.DEVICE_UNSOUND: not smaller_may_fit(error),
                Situation.HALVES_LEFT: windows > 1 and self._halvings < MAX_HALVINGS,
            },
        )

    def _halve(self, batch: Sequence[tuple[_OpenSegment, Window]]) -> None:
        """Go on with half the batch that did not fit."""
        tried = len(batch)
        self._halvings += 1
        self._batch_size = tried // 2
        indices = sorted({progress.segment.index for progress, _ in batch})
        log.warning(
            "Out of memory with a batch of %d windows (segments %s); going on with %d",
            *(tried, ", ".join(map(str, indices)), self._batch_size),
        )

    def _opened(
        self, progress: _OpenSegment, windows: Sequence[Window]
    ) -> list[tuple[_OpenSegment, Window]]:
        progress.open = len(windows)
        progress.windows += len(windows)
        return [(progress, window) for window in windows]

    def _settle(
        self, decoded: Sequence[tuple[_OpenSegment, WindowResult]]
    ) -> list[tuple[_OpenSegment, Window]]:
        """Note what the windows gave; return the windows of the next round."""
        again: list[tuple[_OpenSegment, Window]] = []
        for progress, one in decoded:
            progress.texts.extend(one.segments)
            progress.leftover.extend(one.leftover)
            progress.redecoded += one.redecoded or progress.round > 1
            progress.open -= 1
            if progress.open:
                continue
            log.debug(
                "%s, round %d: %d words so far, %.1fs of speech without words",
                *(progress.segment.name, progress.round),
                sum(len(text.words) for text in progress.texts),
                sum(span.duration_s for span in progress.leftover),
            )
            if progress.leftover and progress.round < MAX_ROUNDS:
                leftover = sorted(progress.leftover, key=lambda span: span.start_s)
                progress.round += 1
                progress.leftover = []
                again.extend(self._opened(progress, pack_windows(leftover)))
            else:
                reduced = self._batch_size if self._halvings else 0
                self._on_result(_result(progress, reduced))
        return again


def _result(progress: _OpenSegment, reduced_batch: int) -> SegmentFinished:
    segment = progress.segment
    texts = in_order(progress.texts)
    leftover = sorted(progress.leftover, key=lambda span: span.start_s)
    reason = "speech was heard but the model found no words"
    gaps = tuple(Gap(span.start_s, span.end_s, reason, segment.index) for span in leftover)
    report = SegmentReport(
        index=segment.index,
        start_s=segment.start_s,
        end_s=segment.end_s,
        windows=progress.windows,
        texts=len(texts),
        elapsed_s=time.monotonic() - progress.started,
        redecoded_windows=progress.redecoded,
        reduced_batch=reduced_batch,
    )
    return SegmentFinished(texts, gaps, report)
