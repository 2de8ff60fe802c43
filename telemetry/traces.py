"""One OpenTelemetry trace a job, over OTLP/HTTP.

    job ─┬─ waiting
         ├─ download            jobs with a link; then they wait again
         ├─ reading             model found, decoding, voice activity detection and planning
         ├─ model load          only where the job waited for it
         ├─ segment …           device, outcome and attempts; what went wrong as events
         └─ writing             merge, layout and files

Spans hold ids, numbers and devices: no name, link or text. The SDK is imported only where traces
are wanted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.errors import InvalidOption
from core.events import (
    Decoded,
    Event,
    Incident,
    SegmentEnd,
    SegmentFailed,
    SegmentFinished,
    SegmentStarted,
    WorkersLoading,
)
from core.version import version

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

PATH = "/v1/traces"
"""Where OTLP/HTTP wants traces, below a collector's address."""

PHASES = {"queued": "waiting", "downloading": "download", "running": "reading"}
"""Span that begins with a state. Reading ends before its state does."""

CLOSE_S = 2.0
"""Longest wait at the end for a collector to take the last spans."""


class Traces:
    """Sends the traces of all jobs, in batches and from a thread of its own.

    Raises InvalidOption for an address that is none.
    """

    def __init__(self, endpoint: str) -> None:
        if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
            raise InvalidOption(
                "WHISPER_OTLP_ENDPOINT is not an address of a collector.",
                hint="Such as http://collector:4318; traces are sent to /v1/traces below it.",
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        address = endpoint.rstrip("/").removesuffix(PATH) + PATH
        about = {"service.name": "whisper-for-subs", "service.version": version()}
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
        self._tracer = self._provider.get_tracer("whisper-for-subs", version())

    def watch(self, job_id: str) -> JobTrace:
        return JobTrace(self._tracer, job_id)

    def close(self) -> None:
        """Send what is left, within ``CLOSE_S``: the SDK itself would wait half a minute for a
        collector that does not answer."""
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class JobTrace:
    """The spans of one job, which is being queued."""

    def __init__(self, tracer: Tracer, job_id: str) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._job = tracer.start_span("job", attributes={"job.id": job_id})
        self._context = set_span_in_context(self._job)
        self._phase: Span | None = self._begin("waiting")
        self._loading: Span | None = None
        self._segments: dict[int, Span] = {}
        self._worked_ns: int | None = None
        """When the last segment ended."""

    def changed(self, fields: Mapping[str, Any]) -> None:
        """Fields of the job's record have new values."""
        if model := fields.get("model"):
            self._job.set_attribute("job.model", model)
        if (report := fields.get("report")) is not None:
            self._job.set_attributes(
                {
                    "job.audio_s": report.audio_s,
                    "job.speed": report.speed,
                    "job.gaps": len(report.gaps),
                }
            )
        if "state" in fields:
            self._enter(str(fields["state"]))

    def saw(self, event: Event) -> None:
        """The job's run had this event."""
        match event:
            case Decoded(finished=True, audio_s=audio_s):
                if self._phase is not None:
                    self._phase.set_attribute("audio_s", audio_s)
                self._end_phase()
            case WorkersLoading():
                self._loading = self._loading or self._begin("model load")
            case SegmentStarted(index=index, device=device):
                self._end_loading()
                if index not in self._segments:
                    self._segments[index] = self._begin("segment", {"segment.index": index})
                self._segments[index].add_event("started", {"device": device})
            case SegmentFinished() | SegmentFailed():
                self._segment_ended(event)
            case Incident():
                self._incident(event)

    def _segment_ended(self, event: SegmentEnd) -> None:
        self._worked_ns = time.time_ns()
        # What an earlier run finished has no beginning here, and took no time.
        replayed = event.index not in self._segments
        span = self._segments.pop(event.index, None) or self._begin(
            "segment", {"segment.index": event.index}
        )
        span.set_attribute("device", event.device)
        if isinstance(event, SegmentFailed):
            span.set_attributes({"outcome": "failed", "start_s": event.gap.start_s})
            _failed(span)
        else:
            report = event.report
            span.set_attributes(
                {
                    "outcome": "replayed" if replayed else "finished",
                    "attempts": report.attempts,
                    "start_s": report.start_s,
                    "end_s": report.end_s,
                    "windows": report.windows,
                    "redecoded_windows": report.redecoded_windows,
                    "gaps": len(event.gaps),
                }
            )
        span.end()

    def _incident(self, event: Incident) -> None:
        about: dict[str, str | int] = {}
        if event.device is not None:
            about["device"] = event.device
        if event.index is not None:
            about["segment.index"] = event.index
        span = self._job if event.index is None else self._segments.get(event.index, self._job)
        span.add_event(event.kind, about)

    def _enter(self, state: str) -> None:
        self._end_phase()
        if state in PHASES:
            self._phase = self._begin(PHASES[state])
        else:
            self._finish(state)

    def _finish(self, state: str) -> None:
        self._end_loading()
        for span in self._segments.values():
            span.set_attribute("outcome", "stopped")
            span.end()
        self._segments.clear()
        if state.startswith("complete") and self._worked_ns is not None:
            self._begin("writing", start_ns=self._worked_ns).end()
        self._job.set_attribute("job.state", state)
        if state == "failed":
            _failed(self._job)
        self._job.end()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.end()
            self._phase = None

    def _end_loading(self) -> None:
        if self._loading is not None:
            self._loading.end()
            self._loading = None

    def _begin(
        self, name: str, about: Mapping[str, str | int] | None = None, start_ns: int | None = None
    ) -> Span:
        return self._tracer.start_span(
            name, context=self._context, attributes=about, start_time=start_ns
        )


def _failed(span: Span) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)
