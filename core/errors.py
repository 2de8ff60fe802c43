"""Everything that can go wrong, in one tree.

    SubtitleError
    ├── InputError                 the caller gave us something we cannot use
    │   ├── FileMissing
    │   ├── NoSuchJob
    │   ├── NoSuchEndpoint
    │   ├── UnreadableMedia        empty, truncated, not media, refused format, libav crash
    │   ├── NoAudioTrack
    │   ├── EncryptedMedia
    │   ├── MediaLimitExceeded     longer, larger or stranger than the settings allow
    │   ├── DownloadRefused        a link that is not fetched here: site, address, kind, size
    │   ├── DownloadFailed         the site does not give the recording, or cannot be reached
    │   └── InvalidOption
    ├── ModelError                 a model is unknown, absent, damaged or cannot do the task
    │   └── ComputeTypeUnsupported the device cannot calculate in that precision
    ├── CapacityError
    │   ├── QueueFull              the service has no place for another job
    │   ├── ClientLimit            this client has no place for another job
    │   ├── DiskFull
    │   └── DatabaseUnavailable
    ├── WorkerError
    │   ├── WorkerCrashed
    │   ├── DeviceUnavailable
    │   │   └── EndpointFailed     a remote server does not answer, or not what was asked
    │   │       └── EndpointBusy   it says when to come back
    │   ├── EndpointRefused        a remote server does not take the request: key, model, format
    │   └── OutOfMemory
    ├── Cancelled
    └── Paused                     the service stops; the job goes on when it is back

Each carries a ``hint``: what the person can do about it. None knows HTTP; each front has one
table from class to answer (``tests/core/test_errors.py`` proves the tables complete). All survive
pickling, because most are raised in another process.
"""

from __future__ import annotations

from typing import Any


class SubtitleError(Exception):
    """Base of every error users may see: ``str(e)`` says what, ``e.hint`` what to do."""

    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint)

    def explain(self) -> str:
        """Message and hint as one line for people."""
        return f"{self.message} {self.hint}".strip()


def _rebuild_busy(message: str, hint: str, retry_after_s: float) -> EndpointBusy:
    return EndpointBusy(message, hint=hint, retry_after_s=retry_after_s)


def _rebuild(cls: type[SubtitleError], message: str, hint: str) -> SubtitleError:
    return cls(message, hint=hint)


class InputError(SubtitleError):
    """The request itself cannot be served."""


class FileMissing(InputError):
    default_hint = "Check the path, or upload the file again."


class NoSuchJob(InputError):
    default_hint = "Finished jobs are removed after a time; upload the recording again."


class NoSuchEndpoint(InputError):
    default_hint = "See the list: System → Speech endpoints, or the command `endpoints list`."


class UnreadableMedia(InputError):
    default_hint = (
        "Check that it plays in a media player; if it does, convert it (for example to .m4a or"
        " .wav) and try again."
    )


class NoAudioTrack(InputError):
    default_hint = "Choose a recording that has sound."


class EncryptedMedia(InputError):
    default_hint = "Remove the copy protection or record the audio in an unprotected format."


class MediaLimitExceeded(InputError):
    default_hint = "Cut the recording into shorter files, or raise the limit in the settings."


class DownloadRefused(InputError):
    default_hint = "Download the recording yourself and use that file."


class DownloadFailed(InputError):
    default_hint = "Try again later, or download the recording yourself and use that file."


class InvalidOption(InputError):
    pass


class ModelError(SubtitleError):
    """The model asked for cannot be had, is damaged, or cannot do what was asked."""


class ComputeTypeUnsupported(ModelError):
    default_hint = "Choose the compute type auto, which picks one that the device supports."


class CapacityError(SubtitleError):
    """The machine cannot take this now."""

    retry_after_s: int | None = None
    """When it is worth trying again; None: only after someone has fixed the cause."""


class QueueFull(CapacityError):
    default_hint = "Try again when a running job has finished."
    retry_after_s = 30


class ClientLimit(CapacityError):
    default_hint = "Wait until one of your jobs has finished, or cancel one."
    retry_after_s = 30


class DiskFull(CapacityError):
    default_hint = "Free some disk space, or point the data directory to a larger disk."


class DatabaseUnavailable(CapacityError):
    default_hint = (
        "Running jobs continue. Try again in a moment; if the problem persists, see the log."
    )
    retry_after_s = 10


class WorkerError(SubtitleError):
    """A worker process or its device failed."""


class WorkerCrashed(WorkerError):
    default_hint = (
        "See the log for the signal. A segment that crashes its workers is left out as a gap."
    )


class DeviceUnavailable(WorkerError):
    default_hint = "Check CUDA_VISIBLE_DEVICES and the driver (nvidia-smi), or choose --device cpu."


class EndpointFailed(DeviceUnavailable):
    """Others may be asked instead."""

    default_hint = "See the server's own log, and test the endpoint: System → Speech endpoints."


class EndpointBusy(EndpointFailed):
    default_hint = "It is asked again then."

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 0.0):
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_busy, (self.message, self.hint, self.retry_after_s)


class EndpointRefused(WorkerError):
    """No other is asked: the setting has to be mended."""

    default_hint = "Check its address, model name and key: System → Speech endpoints."


class OutOfMemory(WorkerError):
    default_hint = "Choose a smaller model, batch size or an int8 compute type."


class Cancelled(SubtitleError):
    """The user stopped the job."""

    def __init__(self, message: str = "Cancelled.", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)


class Paused(SubtitleError):
    """The service stops. What is finished of the job is kept."""

    default_hint = "The job resumes when the service starts again."

    def __init__(
        self, message: str = "Paused: the service was stopped.", *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
