"""What a worker needs of a speech engine: the one seam between the pool and the model.

A worker builds its engine from an importable factory named ``"module:callable"``. The local
faster-whisper engine is one such factory; a remote endpoint can be another. Nothing heavy is
imported here, because the parent imports this file too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from core.endpoints import Endpoint
from core.errors import ModelError
from core.events import SegmentFinished
from core.pcm import PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec, Window

DEFAULT_ENGINE = "decoding.engine:WhisperEngine"
ENDPOINT_ENGINE = "endpoints.engine:EndpointEngine"
"""Of a remote endpoint's slot; it gets the endpoint as its second argument."""


class Engine(Protocol):
    """One loaded model on one device. Called from the worker's main thread only."""

    def warm_up(self) -> None:
        """Run one real inference; a missing CUDA library shows here and not at load."""

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        """Vote over the windows; give the language code and its probability."""

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
        """Decode all segments, in any order, as one batch or several.

        Call ``on_started(index)`` before the work on a segment begins (a crash is charged to the
        segments that had started), then exactly one of ``on_result`` and ``on_error`` for it, as
        soon as it is done: what was handed over survives the death of the process. Ask
        ``should_stop()`` between two passes of the model and raise ``core.errors.Cancelled`` on
        True; asking is also what shows that the engine does not hang. Any other exception counts
        as the error of every segment that is not done yet.
        """


EngineFactory = Callable[[ModelSpec], Engine]
EndpointEngineFactory = Callable[[ModelSpec, Endpoint], Engine]


def import_factory(name: str) -> EngineFactory:
    """Import ``"module:callable"``; an ImportError inside that module passes through untouched."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"An engine is named 'module:callable', not {name!r}.")
    factory = getattr(importlib.import_module(module_name), attribute, None)
    if not callable(factory):
        raise ModelError(f"Module {module_name!r} has no engine factory {attribute!r}.")
    return cast(EngineFactory, factory)
