"""CTranslate2's errors as errors of ours; the table is ``core.known_errors``."""

from __future__ import annotations

from core.errors import ModelError, SubtitleError
from core.known_errors import OUT_OF_MEMORY, OUT_OF_MEMORY_DISGUISED, recognise


def explain_failure(error: Exception) -> Exception:
    """The error as one of ``core.errors`` where its cause is known, else unchanged."""
    if isinstance(error, SubtitleError):
        return error
    text = str(error)
    known = OUT_OF_MEMORY if isinstance(error, MemoryError) else recognise(text)
    return error if known is None else _from(known.error(text), error)


def smaller_may_fit(error: Exception) -> bool:
    """Whether a smaller batch may help in this process, after an error that means out of memory.

    After the disguised one the CUDA context is not to be trusted: only a new process helps.
    """
    return recognise(str(error)) is not OUT_OF_MEMORY_DISGUISED


def explain_load_failure(error: Exception) -> SubtitleError:
    """As :func:`explain_failure`, and whatever else fails while loading is the model's error."""
    known = explain_failure(error)
    if isinstance(known, SubtitleError):
        return known
    return _from(ModelError(f"The model cannot be loaded: {error}."), error)


def _from(error: SubtitleError, cause: Exception) -> SubtitleError:
    error.__cause__ = cause
    return error
