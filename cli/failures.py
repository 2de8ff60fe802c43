"""What an error means on a command line: one exit code for each class, and how it is told.

    0    complete
    1    the machine failed: no disk space, no memory, a device or its workers
    2    wrong use, an input that is unreadable or cannot be fetched, or a model that cannot be had
    3    finished, and some speech has no text
    130  interrupted

Several files: 130 before 1 before 2 before 3 before 0; the worst that happened is the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from core import errors
from core.errors import SubtitleError
from core.logs import one_line

COMPLETE, MACHINE_FAILED, WRONG_USE, WITH_GAPS, INTERRUPTED = 0, 1, 2, 3, 130

WORST_FIRST = (INTERRUPTED, MACHINE_FAILED, WRONG_USE, WITH_GAPS, COMPLETE)

EXIT_CODES: dict[type[SubtitleError], int] = {
    errors.SubtitleError: MACHINE_FAILED,
    errors.InputError: WRONG_USE,
    errors.FileMissing: WRONG_USE,
    errors.NoSuchJob: WRONG_USE,
    errors.NoSuchEndpoint: WRONG_USE,
    errors.UnreadableMedia: WRONG_USE,
    errors.NoAudioTrack: WRONG_USE,
    errors.EncryptedMedia: WRONG_USE,
    errors.MediaLimitExceeded: WRONG_USE,
    errors.DownloadRefused: WRONG_USE,
    errors.DownloadFailed: WRONG_USE,
    errors.InvalidOption: WRONG_USE,
    errors.ModelError: WRONG_USE,
    errors.ComputeTypeUnsupported: WRONG_USE,
    errors.CapacityError: MACHINE_FAILED,
    errors.QueueFull: MACHINE_FAILED,
    errors.ClientLimit: MACHINE_FAILED,
    errors.DiskFull: MACHINE_FAILED,
    errors.DatabaseUnavailable: MACHINE_FAILED,
    errors.WorkerError: MACHINE_FAILED,
    errors.WorkerCrashed: MACHINE_FAILED,
    errors.DeviceUnavailable: MACHINE_FAILED,
    errors.EndpointFailed: MACHINE_FAILED,
    errors.EndpointBusy: MACHINE_FAILED,
    errors.EndpointRefused: MACHINE_FAILED,
    errors.OutOfMemory: MACHINE_FAILED,
    errors.Cancelled: INTERRUPTED,
    errors.Paused: INTERRUPTED,
}


def exit_code(error: SubtitleError) -> int:
    """The code of the error's class, or of the nearest above it."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def worst(codes: Iterable[int]) -> int:
    """The one exit code of several outcomes."""
    found = set(codes)
    return next((code for code in WORST_FIRST if code in found), COMPLETE)


def tell(error: SubtitleError, about: str = "") -> None:
    """Message and hint on standard error; ``about`` is a file's name, if the message lacks it."""
    message = error.message if about in error.message else f"{about}: {error.message}"
    print(f"error: {one_line(message)}", file=sys.stderr)
    if error.hint:
        print(f"       {one_line(error.hint)}", file=sys.stderr)
