"""Reading a recording: decode, detect speech and plan at once, in one isolated process.

    file ─► MediaDecoder ─► block ─► spool (on disk, for the workers)
                              └────► SileroVAD ─► SegmentPlanner ─► Planned(segment) ─► parent

Segments leave for the workers while the file is still being decoded. The process loads libav and
onnxruntime and nothing else; torch, gradio and the models stay outside.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from core.events import Decoded, Planned
from core.pcm import Int16, PcmSpool
from core.planning import MIN_SPAN_S, SegmentPlanner
from core.types import SAMPLE_RATE, AudioSegment, PlanOptions, SpeechSpan
from media.container import DecodeLimits
from media.decoder import MediaDecoder
from media.process import IsolatedProcess, ProcessLimits, Send
from vad import SileroVAD

REPORT_EVERY_S = 20.0
"""Audio seconds between two progress messages: some ten a second at full speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """What to read, and how to cut it."""

    path: Path
    plan: PlanOptions
    limits: DecodeLimits
    audio_track: int | None = None
    """Which audio track, from 0; None: the default-flagged one or the first."""
    only: tuple[SpeechSpan, ...] | None = None
    """Stretches of the recording to plan, in order; None: all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary:
    """What came in."""

    audio_s: float
    speech_s: float
    truncated: bool
    """The file ends before the length it declares."""
    dropped_spans: int
    """Spans under 100 ms."""
    decode_s: float
    """CPU seconds of decoding."""
    vad_s: float
    """CPU seconds of voice activity detection and planning."""


def start_ingest(request: IngestRequest, spool: PcmSpool) -> IsolatedProcess[IngestSummary]:
    """Start the process. Its messages are ``Decoded`` and ``Planned`` events."""
    limits = ProcessLimits(wall_clock_s=request.limits.wall_clock_s)
    return IsolatedProcess(ingest, request, spool, name="ingest", limits=limits)


def ingest(send: Send, request: IngestRequest, spool: PcmSpool) -> IngestSummary:
    """Body of the ingest process."""
    with MediaDecoder.open(
        request.path, request.limits, audio_track=request.audio_track
    ) as decoder:
        run = _Ingest(send, request)
        total_s = decoder.declared_s
        decoded_s = reported_s = 0.0
        for block in decoder.decode_to(spool):
            decoded_s += len(block) / SAMPLE_RATE
            run.push(block)
            if decoded_s - reported_s >= REPORT_EVERY_S or not reported_s:
                send(Decoded(decoded_s, total_s, finished=False))
                reported_s = decoded_s
    audio_s = decoder.samples / SAMPLE_RATE
    run.finish(audio_s)
    send(Decoded(audio_s, total_s, finished=True))
    return IngestSummary(
        audio_s=audio_s,
        speech_s=run.speech_s,
        truncated=decoder.truncated,
        dropped_spans=run.planner.dropped,
        decode_s=decoder.cpu_s,
        vad_s=run.cpu_s,
    )


class _Ingest:
    """Voice activity and plan of one recording, fed with blocks."""

    def __init__(self, send: Send, request: IngestRequest) -> None:
        self._send = send
        self._plan = plan = request.plan
        self._only = request.only
        self._vad = SileroVAD(plan.vad_threshold)
        self.planner = SegmentPlanner(plan.min_segment_duration, plan.max_segment_duration)
        self.speech_s = 0.0
        self.cpu_s = 0.0

    def push(self, block: Int16) -> None:
        started = time.thread_time()
        spans = self._vad.push(block)
        if self._plan.use_vad:
            self._take(spans, self._vad.settled_s)
        self.cpu_s += time.thread_time() - started

    def finish(self, duration_s: float) -> None:
        started = time.thread_time()
        spans = self._vad.flush()
        if not self._plan.use_vad:
            # Everything counts as speech; the probabilities still say where to cut.
            spans = [SpeechSpan(0.0, duration_s)] if duration_s else []
        self._take(spans, duration_s)
        self._emit(self.planner.flush(duration_s))
        self.cpu_s += time.thread_time() - started

    def _take(self, spans: list[SpeechSpan], settled_s: float) -> None:
        if self._only is not None:
            spans = [part for span in spans for part in _within(span, self._only)]
        self.speech_s += sum(span.duration_s for span in spans)
        self._emit(self.planner.push(spans, self._vad.probabilities, settled_s))

    def _emit(self, segments: list[AudioSegment]) -> None:
        for segment in segments:
            self._send(Planned(segment))


def _within(span: SpeechSpan, ranges: tuple[SpeechSpan, ...]) -> list[SpeechSpan]:
    """The parts of a span that lie in one of the ranges and are long enough to hold a word."""
    parts = [
        SpeechSpan(max(span.start_s, each.start_s), min(span.end_s, each.end_s)) for each in ranges
    ]
    return [part for part in parts if part.duration_s >= MIN_SPAN_S]
