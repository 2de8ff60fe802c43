"""The one place that calls ``av.open``: what may be opened, and which track to hear.

Runs only in the isolated process of :mod:`media.process`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition

from core.errors import (
    EncryptedMedia,
    FileMissing,
    InvalidOption,
    MediaLimitExceeded,
    NoAudioTrack,
    UnreadableMedia,
)
from core.logs import one_line
from media.formats import FORMAT_WHITELIST, HEAD_BYTES, why_refused

if TYPE_CHECKING:  # pydantic would cost every ingest process a tenth of a second
    from core.settings import Settings

_ENCRYPTED_TAGS = frozenset({"enca", "drms", "p608", "aavd"})
"""MP4 sample entries of common encryption, iTunes FairPlay and Audible."""

_ENCRYPTED_METADATA = frozenset({"enc_key_id", "ASF_Protection_Type", "ASF_Key_ID"})
"""Where libavformat notes the encryption of Matroska/WebM and ASF/WMA."""

_NAME_CHARACTERS = 100

_RIFF_HEADER_BYTES = 8
_RIFF_UNKNOWN = 0xFFFF_FFF0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What one recording may cost. Counted while decoding; no header is believed."""

    max_audio_s: float = 24 * 3600.0
    max_spool_bytes: int = 4 * 1024**3
    """Independent of ``max_audio_s``, so that a wrong clock cannot fill the disk either."""
    min_rate: int = 4_000
    """A 10 kB WAV that claims 1 Hz resamples to 5,000 s; speech needs 4 kHz anyway."""
    max_rate: int = 384_000
    max_channels: int = 64
    """Field recorders write 8–32 tracks into one file, so 8 would refuse real recordings. The cost
    of many channels is linear in the file's size, and time and memory have limits of their own."""
    max_streams: int = 256
    """A satellite multiplex has some 100 streams."""
    min_free_bytes: int = 0
    """Space the spool leaves free on its disk."""
    wall_clock_s: float = 4 * 3600.0

    @classmethod
    def of(cls, settings: Settings) -> DecodeLimits:
        """The limits as the settings say."""
        return cls(
            max_audio_s=settings.max_audio_hours * 3600,
            min_free_bytes=settings.min_free_mib * 1024**2,
        )


@contextmanager
def open_media(path: Path, limits: DecodeLimits) -> Iterator[InputContainer]:
    """Open a regular file with the whitelist. Raises InputError for anything else."""
    _require_regular_file(path)
    name = shown_name(path)
    # "file:" keeps a name such as "concat:a|b" or "http://…" from being read as a protocol.
    url = f"file:{path.absolute()}"
    options = {
        "format_whitelist": FORMAT_WHITELIST,
        "protocol_whitelist": "file",
        "enable_drefs": "0",
    }
    try:
        container = av.open(url, mode="r", options=options, metadata_errors="replace")
    except MemoryError:
        raise
    except (FFmpegError, ValueError) as error:
        raise why_refused(name, _head(path)) from error
    with container:
        if len(container.streams) > limits.max_streams:
            raise MediaLimitExceeded(
                f"{name} has {len(container.streams)} streams; the limit is {limits.max_streams}."
            )
        yield container


def is_cut_off(path: Path) -> bool:
    """Whether a RIFF file (WAV, AVI) is shorter than its header says.

    libavformat quietly corrects the length of these to what is there, so nothing else shows it.
    """
    head = _head(path)
    if not head.startswith(b"RIFF"):
        return False
    declared = int.from_bytes(head[4:8], "little")
    # 0 and 2**32 - 1 are what programs leave that cannot go back to write the length.
    return 0 < declared < _RIFF_UNKNOWN and path.stat().st_size < declared + _RIFF_HEADER_BYTES


def declared_duration_s(container: InputContainer) -> float | None:
    """What the file says about its length: a claim, never a limit."""
    return None if container.duration is None else container.duration / av.time_base


def has_video(container: InputContainer) -> bool:
    """Whether it holds moving pictures; a cover picture is none."""
    return any(
        not stream.disposition & Disposition.attached_pic for stream in container.streams.video
    )


def choose_track(container: InputContainer, wanted: int | None, name: str) -> AudioStream:
    """The audio track to hear: the one asked for, counted from 0, else the default-flagged, else
    the first. Raises if there is none, or if it is encrypted or cannot be decoded."""
    stream = _wanted_track(container, wanted, name)
    if _codec_tag(stream) in _ENCRYPTED_TAGS or _ENCRYPTED_METADATA & stream.metadata.keys():
        raise EncryptedMedia(f"The audio of {name} is copy-protected.")
    if not _has_decoder(stream):
        raise UnreadableMedia(f"The audio codec of {name} is not supported.")
    return stream


def _wanted_track(container: InputContainer, wanted: int | None, name: str) -> AudioStream:
    streams = container.streams.audio
    if not streams:
        what = "is a video without sound" if container.streams.video else "has no audio track"
        raise NoAudioTrack(f"{name} {what}.")
    if wanted is not None:
        if not 0 <= wanted < len(streams):
            raise InvalidOption(
                f"{name} has no audio track {wanted}.",
                hint=f"It has {len(streams)}; choose a number from 0 to {len(streams) - 1}.",
            )
        return streams[wanted]
    flagged = (stream for stream in streams if stream.disposition & Disposition.default)
    return next(flagged, streams[0])


def refuse_encrypted_packet(packet: Packet[AudioStream], name: str) -> None:
    """Raise where a packet is encrypted: MP4 hides the original codec's tag behind the scheme."""
    if packet.has_sidedata("encryption_info"):
        raise EncryptedMedia(f"The audio of {name} is copy-protected.")


def _codec_tag(stream: AudioStream) -> str:
    if not _has_decoder(stream):
        return ""
    try:
        return stream.codec_context.codec_tag
    except UnicodeDecodeError:  # PyAV takes four bytes for letters; Blu-ray's are numbers
        return ""


def _has_decoder(stream: AudioStream) -> bool:
    # PyAV leaves codec_context None where this FFmpeg has no decoder; its type stubs do not say so.
    return getattr(stream, "codec_context", None) is not None


def shown_name(path: Path) -> str:
    """The file's name for messages: one line, no control or direction characters, not endless."""
    name = one_line(path.name)
    if len(name) <= _NAME_CHARACTERS:
        return name
    half = _NAME_CHARACTERS // 2
    return f"{name[:half]}…{name[-half:]}"


def _require_regular_file(path: Path) -> None:
    name = shown_name(path)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissing(f"{name} does not exist.") from error
    except OSError as error:
        # Not the error itself, which names the folder.
        raise _unopened(name, error.strerror or "unknown error") from error
    except ValueError as error:
        raise _unopened(name, str(error)) from error
    # A FIFO would wait for a writer for ever, a device may do anything when opened.
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadableMedia(f"{name} is {what}.", hint="Choose a recording.")
    if status.st_size == 0:
        raise UnreadableMedia(f"{name} is empty.", hint="Upload the file again.")
    if not os.access(path, os.R_OK):
        raise UnreadableMedia(f"{name} is not readable.", hint="Check its permissions.")


def _unopened(name: str, reason: str) -> UnreadableMedia:
    return UnreadableMedia(
        f"{name} cannot be opened: {reason}.", hint="Check its name and its folder."
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
