"""How far a job is, from its events: the same numbers for the page, the CLI and the API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from core.events import (
    Decoded,
    Event,
    Finished,
    LanguageDecided,
    Planned,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    WorkersLoading,
)

TimelineState = Literal["planned", "working", "done", "failed"]


@dataclass(frozen=True, slots=True)
class TimelineSegment:
    """A segment on the timeline, and how far it is."""

    start_s: float
    end_s: float
    state: TimelineState


@dataclass(slots=True)
class Progress:
    """Feed it every event of one job; read the rest. Progress counts audio seconds done."""

    clock: Callable[[], float] = time.monotonic
    decoded_s: float = 0.0
    total_s: float | None = None
    """Length of the recording: declared while it decodes, true afterwards."""
    decode_finished: bool = False
    language: str | None = None
    language_probability: float | None = None
    devices: dict[str, str] = field(default_factory=dict)
    """One line per device: what it does now."""
    message: str = ""
    """What the job waits for, if it waits."""
    finished: bool = False
    _working: dict[int, str] = field(default_factory=dict)
    """Device of every segment in work; one device may have a batch of several."""
    _parts: dict[int, TimelineSegment] = field(default_factory=dict)
    _planned_s: dict[int, float] = field(default_factory=dict)
    _planned_until_s: float = 0.0
    _planned_sum_s: float = 0.0
    _done_sum_s: float = 0.0
    _worked_sum_s: float = 0.0
    """Of what is done: what took time here, not what an earlier run had done."""
    _begun: float | None = None
    _ended: int = 0

    def feed(self, event: Event) -> None:
        """Take one event."""
        match event:
            case Decoded():
                self._decoded(event)
            case Planned(segment=segment):
                self._planned_s[segment.index] = segment.duration_s
                self._parts[segment.index] = TimelineSegment(
                    segment.start_s, segment.end_s, "planned"
                )
                self._planned_sum_s += segment.duration_s
                self._planned_until_s = max(self._planned_until_s, segment.end_s)
            case WorkersLoading(text=text):
                self.message = text
            case LanguageDecided(language=language, probability=probability):
                self.language, self.language_probability = language, probability
            case SegmentStarted(index=index, device=device):
                if self._begun is None:
                    self._begun = self.clock()
                self.message = ""
                self._work(index, device)
                self._mark(index, "working")
            case SegmentFinished() | SegmentFailed():
                self._ended += 1
                self._done(event.index, event.device)
                self._mark(event.index, "done" if isinstance(event, SegmentFinished) else "failed")
            case Finished():
                self.finished = True
                self.message = ""

    @property
    def parts(self) -> tuple[TimelineSegment, ...]:
        """The segments on the timeline, in the order they were planned."""
        return tuple(self._parts.values())

    @property
    def waiting(self) -> int:
        """Segments that are planned and that no device has yet."""
        return max(0, len(self._parts) - len(self._working) - self._ended)

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0–1; never falls once decoding has finished."""
        if self.finished:
            return 1.0
        expected_s = self._expected_s()
        return min(0.99, self._done_sum_s / expected_s) if expected_s else 0.0

    @property
    def done_s(self) -> float:
        """Audio seconds done, silence between the segments shared out."""
        return self.fraction * (self.total_s or self.decoded_s)

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at the speed so far; None before there is one."""
        if self.finished:
            return 0.0
        if self._begun is None or not self._worked_sum_s:
            return None
        elapsed_s = self.clock() - self._begun
        return elapsed_s * max(0.0, self._expected_s() - self._done_sum_s) / self._worked_sum_s

    def _expected_s(self) -> float:
        """Audio seconds in segments once all are planned, guessed from those planned so far."""
        if self.decode_finished or not self.total_s or not self._planned_until_s:
            return self._planned_sum_s
        return self._planned_sum_s * max(1.0, self.total_s / self._planned_until_s)

    def _decoded(self, event: Decoded) -> None:
        self.decoded_s = event.audio_s
        self.decode_finished = event.finished
        if event.finished:
            self.total_s = event.audio_s
        elif event.total_s is not None:
            self.total_s = max(event.total_s, event.audio_s)

    def _work(self, index: int, device: str | None) -> None:
        """Note which device works on a segment now, if any; its former one may have lost it."""
        before = self._working.pop(index, None)
        if device is not None:
            self._working[index] = device
        for label in (before, device):
            if label is None:
                continue
            mine = [segment for segment, owner in self._working.items() if owner == label]
            self.devices[label] = (
                f"segment {mine[-1]} ({self._planned_s.get(mine[-1], 0.0):.1f}s)"
                if mine
                else "waiting"
            )

    def _mark(self, index: int, state: TimelineState) -> None:
        part = self._parts.get(index)
        if part is not None:
            self._parts[index] = replace(part, state=state)

    def _done(self, index: int, device: str) -> None:
        self._done_sum_s += self._planned_s.get(index, 0.0)
        if index in self._working:
            self._worked_sum_s += self._planned_s.get(index, 0.0)
        self.devices.setdefault(device, "waiting")
        self._work(index, None)
