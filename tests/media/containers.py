"""Recordings in every container this FFmpeg can write, made from one clip with PyAV itself.

``make_container(source, target)`` chooses the recipe by the end of the target's name, so other
tests can ask for ``speech.video.mp4`` or ``speech.wma`` without knowing about codecs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame

from core.pcm import Int16
from core.types import SAMPLE_RATE

SPEECH = Path(__file__).parents[1] / "data" / "ljspeech" / "LJ001-0001.flac"

VIDEO_FPS = 10


@dataclass(frozen=True)
class Recipe:
    """How to write one kind of file."""

    codec: str
    rate: int = SAMPLE_RATE
    layout: str = "mono"
    video: str | None = None
    bit_rate: int = 64_000
    options: dict[str, str] = field(default_factory=dict)
    exact: bool = False
    """Lossless and at 16 kHz: decodes to the very samples."""
    format: str | None = None
    sample_format: str | None = None
    """None: the encoder's first choice."""


RECIPES: dict[str, Recipe] = {
    "wav": Recipe("pcm_s16le", exact=True),
    "float.wav": Recipe("pcm_f32le", rate=48_000, layout="stereo"),
    "mulaw.wav": Recipe("pcm_mulaw", rate=8_000),
    "w64": Recipe("pcm_s16le", exact=True),
    "aiff": Recipe("pcm_s16be", exact=True),
    "caf": Recipe("pcm_s16le", exact=True),
    "au": Recipe("pcm_s16be", exact=True),
    "voc": Recipe("pcm_s16le", exact=True),
    "flac": Recipe("flac", exact=True),
    "wv": Recipe("wavpack", exact=True, sample_format="s16p"),
    "tta": Recipe("tta", exact=True, sample_format="s16"),
    "alac.m4a": Recipe("alac", exact=True, format="ipod"),
    "mp3": Recipe("libmp3lame", rate=44_100, layout="stereo"),
    "mp2": Recipe("mp2", rate=48_000),
    "m4a": Recipe("aac", rate=44_100, layout="stereo", format="ipod"),
    "aac": Recipe("aac", rate=44_100, format="adts"),
    "ac3": Recipe("ac3", rate=48_000, layout="5.1", bit_rate=384_000),
    "mono.ac3": Recipe("ac3", rate=44_100, bit_rate=128_000),
    "eac3": Recipe("eac3", rate=48_000, bit_rate=96_000),
    "ogg": Recipe("vorbis", rate=44_100, layout="stereo", options={"strict": "-2"}),
    "opus": Recipe("libopus", rate=48_000),
    "wma": Recipe("wmav2", rate=44_100, layout="stereo", bit_rate=128_000, format="asf"),
    "amr": Recipe("libopencore_amrnb", rate=8_000, bit_rate=12_200),
    "3gp": Recipe("libopencore_amrnb", rate=8_000, bit_rate=12_200, video="mpeg4"),
    "mka": Recipe("flac", exact=True, format="matroska"),
    "webm": Recipe("libopus", rate=48_000),
    "video.webm": Recipe("libopus", rate=48_000, video="libvpx"),
    "mkv": Recipe("ac3", rate=48_000, video="libx264", bit_rate=128_000),
    "mp4": Recipe("aac", rate=48_000, video="libx264"),
    "mov": Recipe("pcm_s16le", rate=48_000, layout="stereo", video="mpeg4"),
    "avi": Recipe("libmp3lame", rate=48_000, video="mpeg4"),
    "ts": Recipe("aac", rate=48_000, video="mpeg2video", format="mpegts"),
    "mpg": Recipe("mp2", rate=48_000, video="mpeg1video"),
    "flv": Recipe("aac", rate=44_100, video="flv1"),
    "wmv": Recipe("wmav2", rate=44_100, video="wmv2", bit_rate=128_000, format="asf"),
}


@dataclass(frozen=True)
class Track:
    """One audio track to write: 16 kHz mono pieces, each with its start."""

    pieces: Sequence[tuple[float, Int16]]
    language: str | None = None
    title: str | None = None
    default: bool = False


def read_speech(source: Path = SPEECH) -> Int16:
    """A 16 kHz mono 16-bit file's samples, without any code under test."""
    with av.open(str(source)) as container:
        return np.concatenate([f.to_ndarray().reshape(-1) for f in container.decode(audio=0)])


def make_container(source: Path, target: Path) -> Path:
    """Write ``source`` as the kind of file that ``target``'s name says; returns ``target``."""
    pcm = read_speech(source)
    return write_media(target, [Track([(0.0, pcm)])], recipe_for(target))


def recipe_for(target: Path) -> Recipe:
    """``speech.video.webm`` → ``video.webm`` if there is such a recipe, else ``webm``."""
    parts = target.name.split(".")
    return next(RECIPES[k] for i in range(1, len(parts)) if (k := ".".join(parts[i:])) in RECIPES)


def write_media(
    target: Path,
    tracks: Sequence[Track],
    recipe: Recipe,
    *,
    video_s: float | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write tracks (and, if the recipe has a video codec, moving grey) into one file."""
    with av.open(str(target), "w", format=recipe.format, options=container_options) as output:
        video = _add_video(output, recipe)
        audio = [_add_audio(output, recipe, track) for track in tracks]
        packets = []
        for stream, track in zip(audio, tracks, strict=True):
            packets += _encode_audio(stream, recipe, track)
        if video is not None:
            ends_s = [s + len(p) / SAMPLE_RATE for track in tracks for s, p in track.pieces]
            packets += _encode_video(video, video_s or max(ends_s))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            output.mux(packet)
    return target


def _add_video(output: Any, recipe: Recipe) -> Any:
    if recipe.video is None:
        return None
    # MPEG-1 and MPEG-2 know no 10 frames a second.
    fps = 25 if recipe.video.startswith("mpeg") and recipe.video != "mpeg4" else VIDEO_FPS
    stream = output.add_stream(recipe.video, rate=fps)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def _add_audio(output: Any, recipe: Recipe, track: Track) -> Any:
    stream = output.add_stream(recipe.codec, rate=recipe.rate, layout=recipe.layout)
    if not recipe.exact:
        stream.codec_context.bit_rate = recipe.bit_rate
    stream.codec_context.options = recipe.options
    if recipe.sample_format:
        stream.codec_context.format = recipe.sample_format
    if track.language:
        stream.metadata["language"] = track.language
    if track.title:
        stream.metadata["title"] = track.title
    stream.disposition = av.stream.Disposition.default if track.default else 0
    return stream


def _encode_audio(stream: Any, recipe: Recipe, track: Track) -> list[Any]:
    packets: list[Any] = []
    stream.codec_context.open()
    for start_s, pcm in track.pieces:
        resampler = AudioResampler(
            stream.codec_context.format, recipe.layout, recipe.rate, stream.codec_context.frame_size
        )
        for begin in range(0, len(pcm), SAMPLE_RATE):
            second = pcm[None, begin : begin + SAMPLE_RATE]
            frame = AudioFrame.from_ndarray(second, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, round(start_s * SAMPLE_RATE) + begin
            frame.time_base = Fraction(1, SAMPLE_RATE)
            packets += _encode(stream, resampler.resample(frame))
        packets += _encode(stream, resampler.resample(None))
    packets += stream.encode(None)
    return packets


def _encode(stream: Any, frames: Sequence[AudioFrame | None]) -> list[Any]:
    return [packet for frame in frames if frame is not None for packet in stream.encode(frame)]


def _encode_video(stream: Any, length_s: float) -> list[Any]:
    packets: list[Any] = []
    fps = int(stream.codec_context.framerate)
    for number in range(max(1, round(length_s * fps))):
        grey = np.full((48, 64, 3), number % 256, np.uint8)
        frame = VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, fps)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    return packets
