"""What CTranslate2 says when it fails, in our words. The strings are those of its releases."""

from __future__ import annotations

from core.errors import DeviceUnavailable, ModelError, OutOfMemory, SubtitleError

# Out of memory in disguise; without the prefix it is a wrong device index (TranscriptionSuite#268).
_DISGUISED = "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
_MEMORY = ("CUDA failed with error out of memory", _DISGUISED, "cudaErrorMemoryAllocation")
_DEVICE = (
    "no CUDA-capable device is detected",
    "CUDA driver version is insufficient",
    "invalid device ordinal",
    "not compiled with CUDA support",
)


def explain_failure(error: Exception) -> Exception:
    """The error as one of ``core.errors`` where its cause is known, else unchanged."""
    if isinstance(error, SubtitleError):
        return error
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in _MEMORY):
        return _from(OutOfMemory(f"Out of memory: {text}."), error)
    if any(words in text for words in _DEVICE):
        return _from(DeviceUnavailable(f"The GPU cannot be used: {text}."), error)
    if "is not found or cannot be loaded" in text:
        hint = "Install nvidia-cublas-cu12 (requirements-gpu.txt) and put it on LD_LIBRARY_PATH."
        return _from(DeviceUnavailable(f"A CUDA library is missing: {text}.", hint=hint), error)
    if "compute type" in text:
        hint = "Choose the compute type auto, int8 or float32."
        return _from(ModelError(text, hint=hint), error)
    if "Unable to open file" in text or "model binary version" in text:
        return _from(
            ModelError(f"The model's files are damaged or not CTranslate2's: {text}."), error
        )
    return error


def smaller_may_fit(error: Exception) -> bool:
    """Whether a smaller batch may help in this process, after an error that means out of memory.

    After the disguised one the CUDA context is not to be trusted: only a new process helps.
    """
    return _DISGUISED not in str(error)


def explain_load_failure(error: Exception) -> SubtitleError:
    """As :func:`explain_failure`, and whatever else fails while loading is the model's error."""
    known = explain_failure(error)
    if isinstance(known, SubtitleError):
        return known
    return _from(ModelError(f"The model cannot be loaded: {error}."), error)


def _from(error: SubtitleError, cause: Exception) -> SubtitleError:
    error.__cause__ = cause
    return error
