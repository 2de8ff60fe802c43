"""One job in full: player, timeline, gaps, cues, text and history, and its gaps tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import anyio
import gradio as gr

from access.identity import Identity, identity_of
from core.models import AUTO
from jobs.gaps import worth_trying
from jobs.records import HistoryEntry, JobView
from jobs.service import JobService
from jobs.states import JobState
from ui import entries as page_entries
from ui import render, timeline
from ui.live_view import HEARTBEAT_S, Turns, Watchers
from ui.options import model_choices

HISTORY_EVERY_S = 2.0
"""Between two looks into the history of a running job."""

LATE_LOOKS = 5
"""Tries to read the last line of a history, which is written shortly after the job has ended."""

Frame = tuple[Any, ...]


class Details:
    """Handlers of the part of the first tab that shows one job."""

    def __init__(self, service: JobService, watchers: Watchers) -> None:
        self._service = service
        self._watchers = watchers
        self._shown = Turns()

    async def show(self, job_id: str | None, request: gr.Request) -> AsyncIterator[Frame]:
        """Frames of one recording. Ends when another one is to be shown."""
        newest = self._shown.take(request.session_hash or "")
        who = identity_of(request)
        if not job_id:
            yield _nothing()
            return
        notes: tuple[HistoryEntry, ...] = ()
        due_s, last, view = 0.0, (), None
        async for view in self._watchers.frames(job_id):
            if monotonic() >= due_s or view.state.ended:
                notes = await self._watchers.history(job_id) or notes
                due_s = monotonic() + HISTORY_EVERY_S
            if not newest():
                return
            frame = _details(view, notes)
            if frame != last:
                last = frame
                yield (*frame, *await self._retry_form(view, who))
        if view is None:
            yield _nothing()
            return
        for _ in range(LATE_LOOKS):
            if not newest() or (notes and notes[-1].kind == view.state.value):
                return
            await anyio.sleep(HEARTBEAT_S)
            notes = await self._watchers.history(job_id) or notes
            if newest():
                yield (*((gr.skip(),) * 4), render.history(notes), *((gr.skip(),) * 3))

    async def text(self, job_id: str | None) -> Any:
        """All that was said in the job that is shown, as it is now."""
        job = await self._watchers.job(job_id) if job_id else None
        if job is None:
            return gr.skip()
        return _text(await self._watchers.call(job.view))

    def retry(
        self, request: gr.Request, job_id: str | None, model: str, device: str
    ) -> tuple[Any, ...]:
        """Try the gaps of the job that is shown again."""
        job_id = job_id or ""
        with page_entries.toasts():
            page_entries.owned(self._service, job_id, identity_of(request))
            self._service.retry_gaps(job_id, model=model or None, device=device or None)
        return gr.update(visible=False), gr.update(interactive=True)

    def leave(self, request: gr.Request) -> None:
        """The page is gone."""
        self._shown.forget(request.session_hash or "")

    def devices(self) -> list[tuple[str, str]]:
        """What gaps can be tried on: the service's workers, or others that the machine can have."""
        choices = [("Automatic", AUTO), ("CPU", "cpu")]
        if any(worker.label.startswith("GPU") for worker in self._service.health().workers):
            choices.append(("GPU", "cuda"))
        return choices

    async def _retry_form(self, view: JobView, who: Identity) -> tuple[Any, Any, Any]:
        """The form for trying gaps again: whether it is there, model and device."""
        hidden = (gr.update(visible=False), gr.skip(), gr.skip())
        if view.state is not JobState.COMPLETE_WITH_GAPS:
            return hidden
        useful = worth_trying(view.gaps, view.total_s or 0.0)
        job = await self._watchers.job(view.id)
        if job is None or not who.may_change(job.request.owner) or not useful:
            return hidden
        models = model_choices(self._service.settings)
        used = view.model if view.model in {name for _, name in models} else AUTO
        return (
            gr.update(visible=True),
            gr.update(choices=models, value=used),
            gr.update(choices=self.devices(), value=AUTO),
        )


def _details(view: JobView, notes: tuple[HistoryEntry, ...]) -> Frame:
    return (
        render.player(view),
        timeline.strip(view) + render.gap_list(view.gaps),
        render.cue_list(view),
        _text(view),
        render.history(notes),
    )


def _text(view: JobView) -> str:
    return "\n".join(segment.text.strip() for segment in view.segments)


def _nothing() -> Frame:
    return "", "", "", "", "", gr.update(visible=False), gr.skip(), gr.skip()
