"""Decoded frames of any format, rate and layout to 16 kHz mono int16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.filter import Graph

from core.errors import MediaLimitExceeded
from core.pcm import Int16
from core.types import SAMPLE_RATE
from media.container import DecodeLimits

FrameFormat = tuple[str, str, int]

_STEREO = 2


def format_of(frame: AudioFrame) -> FrameFormat:
    return frame.format.name, frame.layout.name, frame.sample_rate


class MonoConverter:
    """Converts frames of one format. Frames are grouped to about a second, because a call into the
    filter graph costs more than the resampling of a 20 ms frame."""

    def __init__(self, frame: AudioFrame, limits: DecodeLimits) -> None:
        _check(frame, limits)
        self.format = format_of(frame)
        self._fifo = AudioFifo()
        self._graph = _graph(frame)

    def push(self, frame: AudioFrame) -> Iterator[Int16]:
        # Timestamps are PlayerClock's business; the FIFO would assert that they are continuous.
        frame.pts = None
        self._fifo.write(frame)
        if self._fifo.samples >= frame.sample_rate:
            yield from self._convert(self._fifo.read())

    def drain(self) -> Iterator[Int16]:
        """Everything still inside, the resampler's delay line included. Ends this converter."""
        if self._fifo.samples:
            yield from self._convert(self._fifo.read())
        yield from self._convert(None)

    def _convert(self, frame: AudioFrame | None) -> Iterator[Int16]:
        self._graph.push(frame)
        while True:
            try:
                out = self._graph.pull()
            except (BlockingIOError, EOFError):  # wants more input; has been flushed
                return
            assert isinstance(out, AudioFrame)
            yield out.to_ndarray().reshape(-1).astype(np.int16, copy=False)


def _graph(frame: AudioFrame) -> Graph:
    """Mix down, then resample. The mixing of discrete channels happens in libavfilter too: PyAV 18
    reads past the planes of a planar frame of eight or more channels (``AudioFrame.planes``)."""
    graph = Graph()
    graph.threads = 1  # none of these filters can use more, and each graph would start them
    filters = [
        graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=frame.layout.name,
            time_base=f"1/{frame.sample_rate}",
        )
    ]
    if _is_discrete(frame):
        mean = "+".join(f"c{i}" for i in range(frame.layout.nb_channels))
        filters.append(graph.add("pan", f"mono|c0<{mean}"))
    filters += [
        graph.add("aformat", f"sample_rates={SAMPLE_RATE}:sample_fmts=s16:channel_layouts=mono"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*filters).configure()
    return graph


def _is_discrete(frame: AudioFrame) -> bool:
    """Whether the channels have no speaker positions. libswresample would guess some from their
    number and mix the fourth of eight at zero, as a subwoofer: on a field recorder that is
    someone's microphone."""
    layout = frame.layout.name
    return frame.layout.nb_channels > _STEREO and (
        layout.endswith(" channels") or layout.startswith("ambisonic")
    )


def _check(frame: AudioFrame, limits: DecodeLimits) -> None:
    if not limits.min_rate <= frame.sample_rate <= limits.max_rate:
        raise MediaLimitExceeded(
            f"The sampling rate of {frame.sample_rate} Hz is outside {limits.min_rate}–"
            f"{limits.max_rate} Hz.",
            hint="Convert the recording to 16 or 48 kHz.",
        )
    if frame.layout.nb_channels > limits.max_channels:
        raise MediaLimitExceeded(
            f"The recording has {frame.layout.nb_channels} channels; the limit is"
            f" {limits.max_channels}.",
            hint="Mix it down, or export the speakers' channels.",
        )
