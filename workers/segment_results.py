"""The answer a job gets for each of its segments, exactly one: finished, or failed with a gap."""

from __future__ import annotations

from core.events import SegmentFailed, SegmentFinished
from core.types import AudioSegment, Gap, SegmentReport, SegmentResult
from workers.pending import PendingSegment, PoolJobState, Split


def finished(state: PoolJobState, entry: PendingSegment, label: str, result: SegmentResult) -> None:
    """A worker decoded the segment, or one window of a segment that was divided."""
    if entry.split is None:
        _finish(state, entry.segment, label, result, entry.attempts)
        return
    entry.split.results[entry.part] = result
    _close_part(state, entry, entry.split, label)


def failed(state: PoolJobState, entry: PendingSegment, label: str, reason: str) -> None:
    """The segment, or the window, is given up: its speech is a gap."""
    if entry.split is None:
        state.job.emit(SegmentFailed(entry.index, label, _gap(entry.segment, reason)))
        return
    entry.split.gaps[entry.part] = _gap(entry.segment, reason)
    _close_part(state, entry, entry.split, label)


def _close_part(state: PoolJobState, entry: PendingSegment, split: Split, label: str) -> None:
    split.open -= 1
    split.attempts += entry.attempts
    if split.open:
        return
    result = split.joined()
    if result is None:
        reasons = dict.fromkeys(split.gaps[part].reason for part in sorted(split.gaps))
        gap = _gap(split.segment, "; ".join(reasons))
        state.job.emit(SegmentFailed(entry.index, label, gap))
    else:
        _finish(state, split.segment, label, result, split.attempts)


def _finish(
    state: PoolJobState, segment: AudioSegment, label: str, result: SegmentResult, attempts: int
) -> None:
    state.job.report(
        SegmentReport(
            index=segment.index,
            start_s=segment.start_s,
            end_s=segment.end_s,
            windows=result.windows,
            device=label,
            texts=len(result.segments),
            elapsed_s=result.elapsed_s,
            redecoded_windows=result.redecoded_windows,
            attempts=attempts,
            reduced_batch=result.reduced_batch,
            compute_type=result.compute_type,
        )
    )
    state.job.emit(
        SegmentFinished(segment.index, label, result.segments, result.gaps, result.elapsed_s)
    )


def _gap(segment: AudioSegment, reason: str) -> Gap:
    """Over the speech, from its first span to its last; silence around it misses nothing."""
    spans = [span for window in segment.windows for span in window.spans]
    start_s = min((span.start_s for span in spans), default=segment.start_s)
    end_s = max((span.end_s for span in spans), default=segment.end_s)
    return Gap(start_s, end_s, reason, segment.index)
