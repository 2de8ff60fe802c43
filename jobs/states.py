"""The states of a job."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    """Its recording is fetched from a link; then it waits for its turn."""
    RUNNING = "running"
    PAUSED = "paused"
    """The service was stopped; the job goes on when it is started again."""
    COMPLETE = "complete"
    COMPLETE_WITH_GAPS = "complete_with_gaps"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (self.COMPLETE, self.COMPLETE_WITH_GAPS, self.FAILED, self.CANCELLED)

    @property
    def active(self) -> bool:
        """A service works on it, or will without being asked again."""
        return self in (self.QUEUED, self.DOWNLOADING, self.RUNNING)
