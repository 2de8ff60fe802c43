"""Spans of a job that does not go well; one that does is traced in ``tests/operations``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import InvalidOption
from core.events import Decoded, Incident, SegmentFailed, SegmentStarted, WorkersLoading
from core.types import Gap
from telemetry.traces import Traces
from tests.otlp import Collector, collecting
from tests.telemetry.test_job_metrics import finished


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def test_faults_and_outcomes_stand_in_the_spans(collector: Collector) -> None:
    traces = Traces(f"{collector.url}/")
    job = traces.watch("abc")
    job.changed({"state": "downloading"})
    job.changed({"name": "my secret talk", "state": "queued"})
    job.changed({"state": "running"})
    job.changed({"model": "base"})
    job.saw(WorkersLoading("Loading"))
    job.saw(Decoded(90.0, 90.0, True))
    job.saw(finished(0))  # an earlier run did it
    for index, device in ((1, "GPU 0"), (1, "GPU 1"), (2, "GPU 0"), (3, "GPU 1")):
        job.saw(SegmentStarted(index, device))
    job.saw(Incident("segment_retried", "a text", "GPU 0", 1))
    job.saw(Incident("device_out", "a text", "GPU 0"))
    job.saw(finished(1, device="GPU 1"))
    job.saw(SegmentFailed(2, "GPU 0", Gap(60.0, 90.0, "killed two workers")))
    job.changed({"state": "failed"})
    traces.close()

    spans = collector.spans()
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    (whole,) = (span for span in spans if span["name"] == "job")
    assert (whole["job.id"], whole["job.state"], whole["error"]) == ("abc", "failed", True)
    assert whole["events"] == ["device_out"]
    names = [span["name"] for span in spans if span is not whole]
    for name, count in {"waiting": 2, "download": 1, "reading": 1, "model load": 1}.items():
        assert names.count(name) == count
    assert "writing" not in names
    segments: dict[int, dict[str, Any]] = {
        span["segment.index"]: span for span in spans if span["name"] == "segment"
    }
    outcomes = {index: span["outcome"] for index, span in segments.items()}
    assert outcomes == {0: "replayed", 1: "finished", 2: "failed", 3: "stopped"}
    assert segments[1]["events"] == ["started", "started", "segment_retried"]
    assert segments[1]["device"] == "GPU 1"
    assert segments[2]["error"]
    assert "secret" not in repr(spans)
    assert "a text" not in repr(spans)


def test_a_collector_that_never_answers_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traces = Traces(f"http://127.0.0.1:{silent.getsockname()[1]}")
        job = traces.watch("abc")
        job.changed({"state": "cancelled"})
        traces.close()
        # It listens, takes the request, and says nothing: what is left is dropped.
        silent.accept()[0].close()


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://"])
def test_what_is_no_address_is_refused_at_the_start(endpoint: str) -> None:
    with pytest.raises(InvalidOption, match="WHISPER_OTLP_ENDPOINT"):
        Traces(endpoint)
