"""What the service counts and times, for Prometheus; docs/operations.md lists every metric.

What can be read at any moment, such as workers and disk space, is read when it is asked for
(``api/metrics.py``). No label holds what a user chose: devices, states, outcomes and routes alone.
"""

from __future__ import annotations

from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

ACTIVE_STATES = ("queued", "downloading", "running")
ENDED_STATES = ("complete", "complete_with_gaps", "failed", "cancelled", "paused")
"""A paused job goes on at the next start, and then ends once more."""

SegmentOutcome = Literal["finished", "failed", "replayed"]
SEGMENT_OUTCOMES: tuple[SegmentOutcome, ...] = ("finished", "failed", "replayed")

WebhookOutcome = Literal["delivered", "retried", "given_up"]
WEBHOOK_OUTCOMES: tuple[WebhookOutcome, ...] = ("delivered", "retried", "given_up")

REGISTRY = CollectorRegistry()
"""Of this process."""

# A second series for each, with the time at which it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

ProcessCollector(registry=REGISTRY)

AUDIO_READ = Counter("whisper_audio_read_seconds", "Audio read from recordings.", registry=REGISTRY)
AUDIO_TRANSCRIBED = Counter(
    "whisper_audio_transcribed_seconds",
    "Audio in segments that workers finished.",
    ["device"],
    registry=REGISTRY,
)
GAPS = Counter("whisper_gap_seconds", "Speech that got no text.", registry=REGISTRY)
SEGMENTS = Counter(
    "whisper_segments",
    "Segments that ended. replayed: an earlier run of the job had finished it.",
    ["device", "outcome"],
    registry=REGISTRY,
)
SEGMENT_SECONDS = Histogram(
    "whisper_segment_duration_seconds",
    "From the start of a segment to its result, on the device that finished it.",
    ["device"],
    buckets=(0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
    registry=REGISTRY,
)
WINDOWS = Counter(
    "whisper_windows", "Encoder passes, further rounds included.", ["device"], registry=REGISTRY
)
REDECODED = Counter(
    "whisper_redecoded_windows",
    "Windows that were decoded again in further rounds.",
    ["device"],
    registry=REGISTRY,
)
JOBS = Gauge("whisper_jobs", "Jobs that wait or are worked on.", ["state"], registry=REGISTRY)
JOBS_ENDED = Counter("whisper_jobs_ended", "Jobs that ended.", ["state"], registry=REGISTRY)
OLDEST = Gauge(
    "whisper_queue_oldest_seconds",
    "How long the job waits that has waited longest; 0: none waits.",
    registry=REGISTRY,
)
JOB_WAIT = Histogram(
    "whisper_job_wait_seconds",
    "From a place in the queue to its turn.",
    buckets=(1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 21600),
    registry=REGISTRY,
)
JOB_SECONDS = Histogram(
    "whisper_job_duration_seconds",
    "From a job's turn to its files.",
    buckets=(5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200),
    registry=REGISTRY,
)
FIRST_CUE = Histogram(
    "whisper_job_first_cue_seconds",
    "From a job's turn to its first text; model load included.",
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
    registry=REGISTRY,
)
SPEED = Histogram(
    "whisper_job_speed_ratio",
    "Seconds of recording for a second of work, model load excluded.",
    buckets=(0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
HTTP_REQUESTS = Counter(
    "whisper_http_requests",
    "Answered requests, by the route's template.",
    ["method", "route", "code"],
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "whisper_http_request_duration_seconds",
    "From a request's first line to the first line of its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
WEBHOOKS = Counter(
    "whisper_webhook_deliveries",
    "Attempts to deliver a webhook: delivered, to be retried, or given up.",
    ["outcome"],
    registry=REGISTRY,
)

# A rate needs the 0 before the first event.
for _state in ACTIVE_STATES:
    JOBS.labels(_state)
for _state in ENDED_STATES:
    JOBS_ENDED.labels(_state)
for _outcome in WEBHOOK_OUTCOMES:
    WEBHOOKS.labels(_outcome)


def device_seen(device: str) -> None:
    """Begin the counters of a device at 0."""
    for outcome in SEGMENT_OUTCOMES:
        SEGMENTS.labels(device, outcome)
    for of_device in (AUDIO_TRANSCRIBED, WINDOWS, REDECODED, SEGMENT_SECONDS):
        of_device.labels(device)


def webhook_delivered(outcome: WebhookOutcome) -> None:
    """Count one attempt to deliver a webhook."""
    WEBHOOKS.labels(outcome).inc()


def http_answered(method: str, route: str, code: int, elapsed_s: float) -> None:
    """Count one answer. ``route``: a template, never the path of the request."""
    HTTP_REQUESTS.labels(method, route, str(code)).inc()
    HTTP_SECONDS.labels(method, route).observe(elapsed_s)
