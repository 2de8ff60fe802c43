"""Watching jobs from a page: frames as they change, without holding anybody else up.

A page that watches costs one waiting thread of its own pool, never one of the pool that serves
requests, and a page that goes away ends only its own watching: the job belongs to the service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from jobs.job import Job, JobView

MAX_WATCHERS = 200
"""Pages that may wait for news at a time; with more, news come a little later."""

FRAME_S = 0.2
"""Least time between two frames: what people can follow and a browser draws without effort."""

HEARTBEAT_S = 1.0
"""Longest time between two looks, so that the time left counts down between events."""

T = TypeVar("T")


class Watchers:
    """The threads that wait for news of jobs."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(MAX_WATCHERS)

    async def frames(self, job: Job) -> AsyncIterator[JobView]:
        """Snapshots of one job with its text, ending with the final one."""
        version = 0
        while True:
            view = await self._in_thread(partial(job.watch, version, HEARTBEAT_S))
            yield view
            if view.state.ended:
                return
            version = view.version
            await anyio.sleep(FRAME_S)

    async def overviews(self, jobs: Sequence[Job]) -> AsyncIterator[dict[str, JobView]]:
        """Snapshots of several jobs by id until all have ended; text only of those that have."""
        while True:
            views = {job.id: await self._in_thread(partial(_overview, job)) for job in jobs}
            yield views
            running = [job for job in jobs if not views[job.id].state.ended]
            if not running:
                return
            await anyio.sleep(FRAME_S)
            # News of the others are seen with the first one's, or at the next heartbeat.
            first = running[0]
            version = views[first.id].version
            await self._in_thread(partial(first.watch, version, HEARTBEAT_S, text=False))

    async def end(self, job: Job) -> JobView:
        """The job's final snapshot."""
        while not await self._in_thread(partial(job.wait, HEARTBEAT_S)):
            pass
        return await self._in_thread(job.view)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)


def _overview(job: Job) -> JobView:
    view = job.view(text=False)
    return job.view() if view.state.ended else view
