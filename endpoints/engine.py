"""A remote speech server as an engine of the worker pool; ``workers.engine.Engine`` describes the
calls.

The rounds, the audit and the words' rules are those of ``decoding/``; only who hears is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from core.endpoints import Endpoint
from core.errors import InvalidOption
from core.events import SegmentFinished
from core.languages import language_code
from core.pcm import Float32, PcmSpool
from core.types import AudioSegment, DecodeOptions, ModelSpec, Window
from decoding.clip import cut_clip
from decoding.segments import SegmentDecoder
from endpoints.clients import client_of
from endpoints.clips import fitted
from endpoints.decoder import RemoteDecoder, Trust
from endpoints.exchange import explained
from endpoints.local_model import LocalModel

DETECT_S = 60.0
"""Most seconds for a vote on the language. Nobody asks meanwhile whether the task goes on, so it
has to end before the worker seems to hang (``workers.limits``)."""


class EndpointEngine:
    """Hears with an endpoint. ``spec`` is the job's model, for what the endpoint cannot do."""

    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        self.spec = spec
        self._endpoint = endpoint
        self._client = client_of(endpoint)
        self._local = LocalModel(spec)
        self._trust = Trust()

    def warm_up(self) -> None:
        """Nothing: a server that is down now may be back for the first segment, and a failure here
        would count against the model."""

    def detect_language(self, spool: PcmSpool, windows: Sequence[Window]) -> tuple[str, float]:
        """Add up what the server says of each window; the local model's vote where its protocol
        has none.

        Raises:
            EndpointFailed, EndpointRefused: the server cannot be asked.
        """
        limit_s = self._endpoint.max_clip_s
        clips = [cut_clip(spool, fitted(spool, window, limit_s)[0]).audio for window in windows]
        votes = asyncio.run(self._votes(clips))
        if not votes:
            return self._local.detect_language(clips)
        total: dict[str, float] = {}
        for language, probability in votes:
            total[language] = total.get(language, 0.0) + probability
        language = max(total, key=lambda code: total[code])
        return language, total[language] / len(votes)

    async def _votes(self, clips: Sequence[Float32]) -> list[tuple[str, float]]:
        places = asyncio.Semaphore(self._endpoint.parallel)

        async def vote(clip: Float32) -> tuple[str, float] | None:
            async with places:
                return await self._client.detect_language(clip)

        with explained(self._endpoint, DETECT_S):
            async with asyncio.timeout(DETECT_S):
                found = await asyncio.gather(*map(vote, clips))
        named = [(_code(each[0]), each[1]) for each in found if each is not None]
        return [(code, probability) for code, probability in named if code is not None]

    def decode(
        self,
        spool: PcmSpool,
        segments: Sequence[AudioSegment],
        options: DecodeOptions,
        *,
        on_started: Callable[[int], None],
        on_result: Callable[[SegmentFinished], None],
        on_error: Callable[[int, Exception], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Decode the segments in rounds, ``parallel`` windows at a time."""
        decoder = RemoteDecoder(
            self._endpoint, self._client, self._local, self._trust, options, should_stop
        )
        try:
            SegmentDecoder(
                decoder, spool, self._endpoint.parallel, on_started, on_result, on_error
            ).run(segments)
        finally:
            if not decoder.aligned:
                # It was needed for a look at the text alone.
                self._local.release()


def _code(language: str) -> str | None:
    """Whisper's code; None for a name that no model of ours has, as of an undetermined language."""
    try:
        return language_code(language)
    except InvalidOption:
        return None
