"""Engines for the benches of what is around an engine: of known speed, they take the time and
calculate nothing, or they say which audio they got."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from zlib import crc32

from core.endpoints import Endpoint
from core.errors import Cancelled, EndpointFailed
from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import (
    SAMPLE_RATE,
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    SegmentReport,
    TranscriptSegment,
    Window,
)

LOCAL_ENGINE = "bench.scripted_engines:LocalEngine"
LISTENING_ENGINE = "bench.scripted_engines:ListeningEngine"
REMOTE_ENGINE = "bench.scripted_engines:RemoteEngine"
POLL_S = 0.01


class LocalEngine:
    """A device of this machine; the model's path is its speed, times real time. A GPU is as many
    times faster as what it sees as its CUDA_VISIBLE_DEVICES says."""

    def __init__(self, spec: ModelSpec) -> None:
        self._speed = float(spec.path) * float(os.environ.get("CUDA_VISIBLE_DEVICES") or 1.0)

    def warm_up(self) -> None:
        pass

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        return "en", 1.0

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool],
    ) -> None:
        due_s = time.monotonic()
        for segment in segments:
            on_started(segment.index)
            try:
                self.serve()
                # From one due time to the next: what a late wake-up costs is not added up.
                due_s += segment.speech_s / self._speed
                while time.monotonic() < due_s:
                    if should_stop():
                        raise Cancelled
                    self.serve()
                    time.sleep(min(POLL_S, max(0.0, due_s - time.monotonic())))
            except EndpointFailed as error:
                on_error(segment.index, error)
                continue
            on_result(_result(segment, f"words of {segment.name}"))

    def serve(self) -> None:
        """Raises EndpointFailed: a remote server is gone."""


class ListeningEngine(LocalEngine):
    """Takes no time, and says a checksum of the audio: what it says tells recordings apart."""

    def __init__(self, spec: ModelSpec) -> None:
        pass

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool],
    ) -> None:
        for segment in segments:
            if should_stop():
                raise Cancelled
            on_started(segment.index)
            first, last = (round(at * SAMPLE_RATE) for at in (segment.start_s, segment.end_s))
            on_result(_result(segment, f"{crc32(spool.read_int16(first, last).tobytes()):08x}"))


class RemoteEngine(LocalEngine):
    """A server; its address is its speed, and a file: ``speed://60/tmp/x/a``. While the file is
    there, the server is silent: requests end with their time-out."""

    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        address = urlsplit(endpoint.api_url)
        self._speed, self._gone = float(address.netloc), Path(address.path)
        self._timeout_s = endpoint.timeout_s
        self._failures = 0

    def serve(self) -> None:
        if self._gone.exists():
            self._failures += 1
            # The server's silence itself.
            time.sleep(self._timeout_s)
            raise EndpointFailed(f"No answer, request {self._failures}.")


def _result(segment: AudioSegment, text: str) -> SegmentFinished:
    said = [TranscriptSegment(window.start_s, window.end_s, text) for window in segment.windows]
    report = SegmentReport(
        index=segment.index,
        start_s=segment.start_s,
        end_s=segment.end_s,
        windows=len(segment.windows),
        texts=len(said),
        elapsed_s=0.0,
    )
    return SegmentFinished(tuple(said), (), report)
