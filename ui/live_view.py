"""Watching jobs from a page: frames as they change.

A page that watches takes one thread of a pool for watchers, never one that serves requests. When
the page goes away, only its watching ends: the job belongs to the service. A job is looked up again
for every frame, because it may move: from a service that was stopped to this one, or from memory to
the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from core.errors import DatabaseUnavailable
from jobs.job import JobHandle
from jobs.records import HistoryEntry, JobView
from jobs.service import JobService

MAX_WATCHERS = 200
"""Pages that may wait for news at a time; with more, news come a little later."""

FRAME_S = 0.2
"""Least time between two frames: what people can follow and a browser draws without effort."""

HEARTBEAT_S = 1.0
"""Longest time between two looks, so that the time left counts down between events."""

T = TypeVar("T")


class Turns:
    """For each open page: which of several watchers of the same place is the newest."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}

    def take(self, page: str) -> Callable[[], bool]:
        """Begin; the function returned says whether this is still the newest one."""
        mine = self._newest[page] = self._newest.get(page, 0) + 1
        return lambda: self._newest.get(page) == mine

    def forget(self, page: str) -> None:
        self._newest.pop(page, None)


class Watchers:
    """The threads that wait for news of jobs."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._limiter = anyio.CapacityLimiter(MAX_WATCHERS)

    async def frames(self, job_id: str) -> AsyncIterator[JobView]:
        """Snapshots of one job with its text, ending with the final one, or when it is deleted."""
        version = 0
        while True:
            try:
                view = await self.call(partial(self._watch, job_id, version))
            except DatabaseUnavailable:
                # The page's notice says so; the job goes on, and so does watching it.
                await anyio.sleep(HEARTBEAT_S)
                continue
            if view is None:
                return
            yield view
            if view.state.ended:
                return
            version = view.version
            await anyio.sleep(FRAME_S)

    async def overviews(self, ids: Sequence[str]) -> AsyncIterator[dict[str, JobView | None]]:
        """Snapshots of several jobs by id until all have ended; text only of those that have.

        None: the job was deleted.
        """
        views: dict[str, JobView | None] = {}
        while True:
            try:
                await self.call(partial(self._update, views, ids))
            except DatabaseUnavailable:
                await anyio.sleep(HEARTBEAT_S)
                continue
            yield dict(views)
            first = next((one for one in views.values() if one and not one.state.ended), None)
            if first is None:
                return
            await anyio.sleep(FRAME_S)
            # News of the others are seen with the first one's, or at the next heartbeat.
            await self._quietly(partial(self._watch, first.id, first.version, text=False))

    async def job(self, job_id: str) -> JobHandle | None:
        """The job; None if it is gone or cannot be read now."""
        return await self._quietly(partial(self._service.get, job_id))

    async def history(self, job_id: str) -> tuple[HistoryEntry, ...] | None:
        """What happened to a job; None if it cannot be read now."""
        return await self._quietly(partial(self._service.history, job_id))

    async def end(self, job: JobHandle) -> JobView:
        """The job's final snapshot."""
        while not await self.call(partial(job.wait, HEARTBEAT_S)):
            pass
        return await self.call(job.view)

    async def call(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)

    # In a thread.

    def _watch(self, job_id: str, version: int, *, text: bool = True) -> JobView | None:
        job = self._service.get(job_id)
        return None if job is None else job.watch(version, HEARTBEAT_S, text=text)

    def _update(self, views: dict[str, JobView | None], ids: Sequence[str]) -> None:
        for job_id in ids:
            seen = views.get(job_id)
            if job_id not in views or (seen is not None and not seen.state.ended):
                job = self._service.get(job_id)
                views[job_id] = None if job is None else _overview(job)

    async def _quietly(self, call: Callable[[], T]) -> T | None:
        try:
            return await self.call(call)
        except DatabaseUnavailable:
            await anyio.sleep(HEARTBEAT_S)
            return None


def _overview(job: JobHandle) -> JobView:
    view = job.view(text=False)
    return job.view() if view.state.ended else view
