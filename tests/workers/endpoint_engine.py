"""What stands for a remote server: an engine that does what a file says, in real worker processes.

Each endpoint has a folder, its address: ``file:///tmp/x/a``. The file ``does`` in it holds one word
after the other, one for each segment, the last of them for ever; without it all goes well.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from core.endpoints import Endpoint
from core.errors import Cancelled, EndpointBusy, EndpointFailed, EndpointRefused
from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import (
    AudioSegment,
    DecodeOptions,
    ModelSpec,
    SegmentReport,
    TranscriptSegment,
    Window,
)
from tests.waiting import PATIENCE_S

FACTORY = "tests.workers.endpoint_engine:EndpointEngine"
POLL_S = 0.005


def endpoint(folder: Path, name: str, **settings: object) -> Endpoint:
    """One whose server does as it is told by ``tell``."""
    (folder / name).mkdir(exist_ok=True)
    address = f"file://{folder / name}"
    given = {"id": name, "name": name, "api_url": address, "model_name": "m", "kind": "openai"}
    return Endpoint(**{**given, "api_key": "geheim-4711", **settings})  # type: ignore[arg-type]


def tell(endpoint: Endpoint, *words: str) -> None:
    """What the server does with each segment from now on: ``ok``, ``fail``, ``busy:SECONDS``,
    ``refuse``, ``kill``, ``hang``, ``raise``, ``gate`` (waits for the file)."""
    folder = Path(urlsplit(endpoint.api_url).path)
    new = folder / "new"
    new.write_text(" ".join(words))
    new.replace(folder / "does")


def asked(endpoint: Endpoint) -> list[str]:
    """Segments and detections that were sent there, in order."""
    log = Path(urlsplit(endpoint.api_url).path, "asked")
    return log.read_text().split() if log.exists() else []


def open_gate(endpoint: Endpoint) -> None:
    Path(urlsplit(endpoint.api_url).path, "gate").touch()


class EndpointEngine:
    """Speaks no protocol; the folder is the server."""

    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        assert (spec.device, spec.compute_type) == ("cpu", "remote")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
        self.folder = Path(urlsplit(endpoint.api_url).path)
        self.name = endpoint.name

    def warm_up(self) -> None:
        pass

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        self._serve("detection", lambda: False)
        return "de", 0.9

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
            on_started(segment.index)
            try:
                self._serve(str(segment.index), should_stop)
            except (EndpointFailed, EndpointRefused, ValueError) as error:
                on_error(segment.index, error)
                continue
            text = f"{self.name} {segment.index}"
            said = [TranscriptSegment(each.start_s, each.end_s, text) for each in segment.windows]
            report = SegmentReport(
                index=segment.index,
                start_s=segment.start_s,
                end_s=segment.end_s,
                windows=len(segment.windows),
                texts=len(said),
                elapsed_s=0.0,
            )
            on_result(SegmentFinished(tuple(said), (), report))

    def _serve(self, what: str, should_stop: Callable[[], bool]) -> None:
        with (self.folder / "asked").open("a") as log:
            log.write(f"{what}\n")
        does, _, value = self._next().partition(":")
        if does == "fail":
            raise EndpointFailed(f"{self.name} answered HTTP 500.")
        if does == "busy":
            raise EndpointBusy(f"{self.name} answered HTTP 429.", retry_after_s=float(value))
        if does == "refuse":
            raise EndpointRefused(f"{self.name} answered HTTP 401: wrong key.")
        if does == "raise":
            raise ValueError("a fault of the client")
        if does == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if does in ("hang", "gate"):
            deadline_s = time.monotonic() + PATIENCE_S
            while not (does == "gate" and (self.folder / "gate").exists()):
                if does == "gate" and should_stop():
                    raise Cancelled
                if time.monotonic() > deadline_s:
                    raise TimeoutError(does)
                time.sleep(POLL_S)

    def _next(self) -> str:
        file = self.folder / "does"
        words = file.read_text().split() if file.exists() else []
        if len(words) > 1:
            file.write_text(" ".join(words[1:]))
        return words[0] if words else "ok"
