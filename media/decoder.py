"""Any recording to the job's PCM spool, block by block, while limits are counted.

    packets ─► frames ─► PlayerClock (silence for late starts and holes) ─► MonoConverter ─► spool

The caller iterates over the blocks as they are written, so voice activity detection runs in the
same process while decoding goes on, and memory does not grow with the recording. Runs only in the
isolated process of :mod:`media.process`: libav can crash.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Self, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.stream import Discard

from core.errors import MediaLimitExceeded, UnreadableMedia
from core.pcm import Int16, PcmSpool
from core.types import SAMPLE_RATE
from media.clock import PlayerClock
from media.container import (
    DecodeLimits,
    choose_track,
    declared_duration_s,
    has_video,
    is_cut_off,
    open_media,
    refuse_encrypted_packet,
    shown_name,
)
from media.convert import MonoConverter, format_of
from media.spool import SpoolWriter

log = logging.getLogger(__name__)

BLOCK_S = 2.0
"""Audio of one block: a few milliseconds of decoding, 64 kB."""

_TS_DISCONT = cast(int, Flags.ts_discont.value)

READ_ERRORS_IN_A_ROW = 64
"""A demuxer that fails this often without a packet in between is not going to recover."""

TRUNCATED_S = 1.0
TRUNCATED_SHARE = 0.02
"""Audio missing at the end, against what the track declares, over which a file counts as cut off.
Declared lengths of intact files are wrong by less: encoder padding, rounding."""


class MediaDecoder:
    """One pass over one recording::

    with MediaDecoder.open(path, limits) as decoder:
        for block in decoder.decode_to(spool):
            ...
    """

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, limits: DecodeLimits, *, audio_track: int | None = None
    ) -> Iterator[Self]:
        """Open the file. ``audio_track`` counts audio tracks from 0; None: default or first."""
        started_cpu = time.thread_time()
        with open_media(path, limits) as container:
            decoder = cls(container, path, limits, audio_track)
            decoder.cpu_s = time.thread_time() - started_cpu
            yield decoder

    def __init__(
        self, container: InputContainer, path: Path, limits: DecodeLimits, audio_track: int | None
    ) -> None:
        self._name = shown_name(path)
        self._limits = limits
        self._opened_at = time.monotonic()
        self._container = container
        self.declared_s = declared_duration_s(container)
        self._stream = choose_track(container, audio_track, self._name)
        self._cut_off = is_cut_off(path)
        self._has_video = has_video(container)
        # The workers need the other cores.
        self._stream.codec_context.thread_count = 1
        for stream in container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all  # mov then seeks over the video instead of reading it
        self._clock = PlayerClock(
            (container.start_time or 0) / av.time_base,
            self.declared_s,
            may_restart=bool(container.format.flags & _TS_DISCONT),
        )
        self._start_offset_s = 0.0
        """Silence before the track's first sound, because it starts after the video."""
        self._end_s = 0.0
        self.samples = 0
        """Samples in the spool so far, inserted silence included."""
        self.damaged_packets = 0
        self.truncated = False
        """The file ends before the length it declares: cut off in recording or upload."""
        self.cpu_s = 0.0
        """Processor seconds of this thread spent here, the caller's work between blocks
        excluded."""

    def decode_to(self, spool: PcmSpool) -> Iterator[Int16]:
        """Write the recording to ``spool``; yield each block once readers can see it.

        Raises UnreadableMedia if nothing decodes, MediaLimitExceeded, EncryptedMedia, DiskFull.
        """
        mark = time.thread_time()
        with closing(SpoolWriter(spool, self._limits, round(BLOCK_S * SAMPLE_RATE))) as writer:
            for block in writer.write(self._pcm(writer)):
                self.samples = writer.samples
                self.cpu_s += time.thread_time() - mark
                yield block
                mark = time.thread_time()
        self.cpu_s += time.thread_time() - mark
        if not self.samples:
            raise UnreadableMedia(f"No audio in {self._name} could be decoded.")
        if self.damaged_packets:
            log.warning("Skipped %d damaged packets of %s", self.damaged_packets, self._name)
        self.truncated = self._is_truncated()
        if self.truncated:
            log.warning("%s ends before its declared length: it was cut off", self._name)

    def _is_truncated(self) -> bool:
        """Only where the length of this very track is known; video may outlast its sound."""
        if self._cut_off:
            return True
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            declared_s = float(stream.duration * stream.time_base) + self._start_offset_s
        elif self.declared_s is not None and not self._has_video:
            declared_s = self.declared_s
        else:
            return False
        return declared_s - self._end_s > max(TRUNCATED_S, TRUNCATED_SHARE * declared_s)

    def _pcm(self, writer: SpoolWriter) -> Iterator[Int16]:
        """16 kHz samples and, where the player would be silent, zeros."""
        converter: MonoConverter | None = None
        for frame, following in pairwise(chain(self._frames(), (None,))):
            assert frame is not None
            next_time_s = None if following is None else following.time
            duration_s = frame.samples / max(1, frame.sample_rate)
            missing_s = 0.0
            if frame.time is not None:
                missing_s = self._clock.missing_before(
                    frame.time, duration_s, next_time_s, self._end_s
                )
            if converter and (missing_s or converter.format != format_of(frame)):
                yield from converter.drain()
                converter = None
            if missing_s:
                yield from self._silence(missing_s, writer)
            if converter is None:
                converter = MonoConverter(frame, self._limits)
            yield from converter.push(frame)
            self._end_s += duration_s
        if converter:
            yield from converter.drain()

    def _silence(self, seconds: float, writer: SpoolWriter) -> Iterator[Int16]:
        if not self._end_s:
            self._start_offset_s = seconds
        self._end_s += seconds
        # From the writer's count, not from seconds: rounding of earlier pieces must not add up.
        while (left := round(self._end_s * SAMPLE_RATE) - writer.received) > 0:
            yield np.zeros(min(left, round(BLOCK_S * SAMPLE_RATE)), np.int16)

    def _frames(self) -> Iterator[AudioFrame]:
        for packet in self._packets():
            refuse_encrypted_packet(packet, self._name)
            if time.monotonic() - self._opened_at > self._limits.wall_clock_s:
                raise MediaLimitExceeded(
                    f"Decoding {self._name} took longer than {self._limits.wall_clock_s:.0f} s."
                )
            try:
                yield from packet.decode()
            except MemoryError:
                raise
            except FFmpegError as error:
                self._note_damage(error)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Packets of the track. A read error ends PyAV's iterator, not the file: go on reading."""
        errors = 0
        while errors < READ_ERRORS_IN_A_ROW:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield packet
                return
            except MemoryError:
                raise
            except IndexError:
                # PyAV 18 flushes, at the end, also streams that appeared while reading (FLV, TS)
                # and fails on them; ours stands before them and has been flushed.
                return
            except FFmpegError as error:
                errors += 1
                self._note_damage(error)

    def _note_damage(self, error: FFmpegError) -> None:
        self.damaged_packets += 1
        if self.damaged_packets == 1:
            log.warning(
                "Damaged data in %s at %.1f s, going on: %s", self._name, self._end_s, error
            )
