"""People who upload recordings and look after their jobs, whatever happens to the service."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.service import Refused, Service

LOOK_EVERY_S = 0.25

Clock = Callable[[], float]


@dataclass(slots=True)
class Followed:
    """One accepted job. Times in seconds since the bench began."""

    id: str
    recording: Path
    accepted_s: float
    ended_s: float | None = None
    state: str = "queued"
    message: str = ""


class Crowd:
    """Keeps some jobs going at a time, in a thread of its own.

    Args:
        at_once: jobs that have not ended at any time.
        wanted: asked with the number of accepted jobs: whether there is to be one more.
        query: parameters of every submission.
    """

    def __init__(
        self,
        service: Service,
        recordings: Sequence[Path],
        *,
        at_once: int,
        wanted: Callable[[int], bool],
        query: dict[str, str],
        clock: Clock,
    ) -> None:
        self._service = service
        self._recordings = recordings
        self._at_once = at_once
        self._wanted = wanted
        self._query = query
        self._clock = clock
        self._not_before_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._failure: BaseException | None = None
        self.jobs: list[Followed] = []
        self.accepted = threading.Event()
        """There is a first job."""
        self.unanswered = 0
        """Submissions that got no answer because the parent died: submitted again."""
        self.statuses: Counter[int] = Counter()
        """Answers other than what was asked for: a 404 for an accepted job, a 503, a 500."""

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Raise what the thread raised."""
        if self._failure is not None:
            raise self._failure

    def wait(self, timeout_s: float) -> bool:
        """Until nothing more is wanted and every job has ended; False when time ran out."""
        self._thread.join(timeout_s)
        self.check()
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(LOOK_EVERY_S):
                going = [job for job in self.jobs if job.ended_s is None]
                for job in going:
                    self._look_after(job)
                if self._wanted(len(self.jobs)):
                    if len(going) < self._at_once:
                        self._submit()
                elif not going:
                    return
        except BaseException as error:
            self._failure = error

    def _look_after(self, job: Followed) -> None:
        try:
            now = self._service.job(job.id)
        except httpx.TransportError:
            return  # the parent is dead or just starting
        except httpx.HTTPStatusError as error:
            self.statuses[error.response.status_code] += 1
            return
        if now is None:
            self.statuses[404] += 1
            return
        job.state, job.message = now["state"], now["message"]
        if now["ended"]:
            job.ended_s = self._clock()

    def _submit(self) -> None:
        if self._clock() < self._not_before_s:
            return
        recording = self._recordings[len(self.jobs) % len(self._recordings)]
        try:
            job_id = self._service.submit(recording, **self._query)
        except httpx.TransportError:
            self.unanswered += 1
            return
        except Refused as refused:
            self.statuses[refused.status] += 1
            self._not_before_s = self._clock() + (refused.retry_after_s or 1.0)
            return
        self.jobs.append(Followed(job_id, recording, self._clock()))
        self.accepted.set()
