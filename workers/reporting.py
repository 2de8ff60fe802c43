"""A worker's report of one task: every segment answered exactly once, in log and pipe.

Whatever an engine raises or returns, what goes over the pipe is sure to unpickle in the parent.
"""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable

from core.errors import EndpointFailed, EndpointRefused, SubtitleError, WorkerError
from core.events import SegmentFinished
from workers.messages import Decode, Message, SegmentDone, Started, TaskError

log = logging.getLogger(__name__)

SERVERS_FAULTS = (EndpointFailed, EndpointRefused)


class TaskReporter:
    """The callbacks an engine gets for one task."""

    def __init__(self, task: Decode, send: Callable[[Message], None]) -> None:
        self._task_id = task.task_id
        self._send = send
        self._open = {segment.index: segment for segment in task.segments}
        self._started: set[int] = set()

    def started(self, index: int) -> None:
        segment = self._open.get(index)
        if segment is None or index in self._started:
            return
        self._started.add(index)
        log.info("Processing segment %d (%.1fs)", index, segment.duration_s)
        self._send(Started(self._task_id, index))

    def result(self, result: SegmentFinished) -> None:
        self._close(result.index)
        try:
            self._send(SegmentDone(self._task_id, result))
        except Exception as error:
            # The pipe takes nothing of a message that cannot be pickled, so the error can follow.
            self._send_error(result.index, error)
            return
        log.info("✓ Segment %d: %d texts", result.index, len(result.segments))

    def error(self, index: int, error: Exception) -> None:
        self._close(index)
        self._send_error(index, error)

    def fail_rest(self, error: Exception) -> None:
        """The whole task raised: charge every segment that has no answer yet."""
        for index in sorted(self._open):
            self.error(index, error)

    def check_complete(self) -> None:
        """An engine that returns without an answer for a segment must not lose it in silence."""
        for index in sorted(self._open):
            self.error(index, WorkerError("The engine gave neither text nor error."))

    def _close(self, index: int) -> None:
        if self._open.pop(index, None) is None:
            raise WorkerError(f"The engine answered segment {index} twice or without being asked.")

    def _send_error(self, index: int, error: Exception) -> None:
        text = "".join(traceback.format_exception(error)).rstrip()
        # A server's fault is no fault of this code, and the pool tells of it once, not each time.
        level = logging.DEBUG if isinstance(error, SERVERS_FAULTS) else logging.ERROR
        log.log(level, "✗ ERROR in segment %d: %s", index, error, extra={"traceback_text": text})
        self._send(TaskError(self._task_id, portable(error), index))


def portable(error: Exception) -> SubtitleError:
    """The error itself if it is ours and survives pickling, else one of ours with the same text."""
    if isinstance(error, SubtitleError):
        try:
            copy = pickle.loads(pickle.dumps(error))
        except Exception as problem:
            # A foreign subclass may break pickling in any way it likes; its text is kept below.
            log.debug("%s does not survive pickling: %s", type(error).__name__, problem)
        else:
            if type(copy) is type(error):
                return error
    return WorkerError(f"{type(error).__name__}: {error}")
