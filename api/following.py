"""Following a job to its end without a thread that waits: for streams, of which there may be many.

async for view in follow(job, text=False): …      each change, the last view is the end
view = await ended(job)                            the end alone
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from api.asgi import in_threads
from core.errors import DatabaseUnavailable
from jobs.job import JobHandle
from jobs.records import JobView
from jobs.stored import LOOK_EVERY_S

log = logging.getLogger(__name__)

LOOKERS = 8

SETTLE_S = 0.5
"""Between two views of a job that goes on: progress comes many times a second."""


@in_threads(LOOKERS)
def _look(job: JobHandle, text: bool) -> JobView:
    return job.view(text=text)


async def follow(
    job: JobHandle, *, text: bool, quiet_s: float | None = None
) -> AsyncGenerator[JobView, None]:
    """The job as it is, then after each change, until it has ended or its service stops.

    Args:
        text: with segments and cues.
        quiet_s: seconds after which the last view comes again where nothing has changed.

    Raises DatabaseUnavailable at the first look. Later ones are made again.
    """
    changed, over = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        # A server that has ended closes its loop before a job hears that nobody listens.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(changed.set)
            if not job.state.active:
                loop.call_soon_threadsafe(over.set)

    leave = job.listen(tell)
    try:
        view = await _look(job, text)
        yield view
        while not _over(view, polled=leave is None):
            looked = time.monotonic()
            view = await _changed(job, view, text, changed if leave is not None else None, quiet_s)
            yield view
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, looked + SETTLE_S - time.monotonic())):
                    await over.wait()
    finally:
        if leave is not None:
            leave()


async def ended(job: JobHandle) -> JobView:
    """The job with its text, once it has ended or its service stops."""
    async for view in follow(job, text=False):
        log.debug("%s: %s", job.id, view.state)
    return await _look(job, True)


async def _changed(
    job: JobHandle, seen: JobView, text: bool, changed: asyncio.Event | None, quiet_s: float | None
) -> JobView:
    """The next view, or the same one after the time."""
    until = None if quiet_s is None else asyncio.get_running_loop().time() + quiet_s
    while True:
        try:
            async with asyncio.timeout_at(until):
                if changed is None:
                    await asyncio.sleep(LOOK_EVERY_S)
                else:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return seen
        try:
            view = await _look(job, text)
        except DatabaseUnavailable as error:
            log.debug("%s is looked for again: %s", job.id, error)
            continue
        if (view.version, view.state) != (seen.version, seen.state):
            return view


def _over(view: JobView, *, polled: bool) -> bool:
    """Nothing newer will come. A job that is paused elsewhere goes on there."""
    return view.state.ended if polled else not view.state.active
