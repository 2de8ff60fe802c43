"""What happens when somebody presses a button: requests to the job service, and frames back.

Every handler is small and none waits for a job; following is asynchronous (``ui.following``).
An *entry* is one recording of the page: a job, or the reason why there is none. Entries go to
the browser and back, so everything in them is checked or escaped again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr

from core.errors import SubtitleError
from jobs.job import Job, JobView
from jobs.service import JobService
from ui import render
from ui.following import Watchers
from ui.options import OptionsForm

log = logging.getLogger(__name__)

EXAMPLE = Path(__file__).parent / "assets" / "printing.m4a"
RECORDED = "Microphone recording.wav"


class Entry(TypedDict):
    """One recording of a page. ``id`` is empty where the service refused it."""

    id: str
    name: str
    formats: list[str]
    message: str
    hint: str


def links(job_id: str) -> str:
    """Address of a job's files, relative to the page so that any proxy prefix is kept."""
    return f"jobs/{job_id}"


class Handlers:
    """The page's event handlers. One object serves all visitors; what is a visitor's own comes
    in as an argument."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self.watchers = Watchers()
        self._shown: dict[str, int] = {}
        """Per visitor: number of the newest request to show a job; older ones stop."""

    # Starting and stopping.

    def start(self, files: list[str] | None, recorded: str | None, *form: Any) -> tuple[Any, ...]:
        """Submit every recording, each as its own job."""
        recordings = [(Path(file), Path(file).name) for file in files or []]
        if recorded:
            recordings.append((Path(recorded), RECORDED))
        if not recordings:
            raise gr.Error(
                "Add a recording first: drop files on the page, record with the microphone, or"
                " try the example.",
                title="Nothing to transcribe",
                print_exception=False,
            )
        return self._submit(recordings, form)

    def start_example(self, *form: Any) -> tuple[Any, ...]:
        """Submit the example recording."""
        return self._submit([(EXAMPLE, EXAMPLE.name)], form)

    def _submit(
        self, recordings: Sequence[tuple[Path, str]], form: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        choices = OptionsForm.read(form)
        entries: list[Entry] = []
        for path, name in recordings:
            entry = Entry(id="", name=name, formats=choices.formats, message="", hint="")
            try:
                entry["id"] = self._service.submit(
                    choices.request(path, name, self._service.settings)
                ).id
            except SubtitleError as error:
                log.info("Refused %s: %s", name, error.explain())
                entry["message"], entry["hint"] = error.message, error.hint
            entries.append(entry)
        return (*self._opened(entries), entries)

    def resume(self, remembered: object) -> tuple[Any, ...]:
        """The jobs this browser started before the page was loaded again, if any are left."""
        found = [e for e in remembered if _is_entry(e)] if isinstance(remembered, list) else []
        return self._opened([e for e in found if self._service.get(e["id"]) is not None])

    def _opened(self, entries: list[Entry]) -> tuple[Any, ...]:
        """Entries, the choice of which to show, and the buttons while they run."""
        jobs = [entry for entry in entries if entry["id"]]
        choices = [(f"{i}. {e['name']}", e["id"]) for i, e in enumerate(jobs, start=1)]
        value = choices[0][1] if choices else None
        selector = gr.update(choices=choices, value=value, visible=len(choices) > 1)
        return entries, selector, *_buttons(running=bool(jobs))

    def cancel(self, entries: list[Entry]) -> Any:
        """Cancel everything this page has running. Returns at once; the frames show the end."""
        for job in self._jobs(entries):
            job.cancel()
        return gr.update(value="Cancelling…", interactive=False)

    # Watching.

    async def follow(self, entries: list[Entry]) -> AsyncIterator[tuple[Any, ...]]:
        """Frames of the cards of all recordings, then the buttons as they are at rest."""
        last = ""
        async for views in self.watchers.overviews(self._jobs(entries)):
            cards = "".join(self._card(entry, views) for entry in entries) or render.empty()
            ended = all(view.state.ended for view in views.values())
            if cards != last or ended:
                last = cards
                buttons = _buttons(running=False) if ended else (gr.skip(),) * 3
                yield cards, *buttons

    def _card(self, entry: Entry, views: dict[str, JobView]) -> str:
        view = views.get(entry["id"])
        if view is not None:
            return render.card(entry["name"], view, links(entry["id"]), entry["formats"])
        return render.refused(entry["name"], entry["message"], entry["hint"])

    async def show(self, job_id: str | None, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Frames of one recording: player, cues, text. Ends when another one is to be shown."""
        session = request.session_hash or ""
        mine = self._shown[session] = self._shown.get(session, 0) + 1
        job = self._service.get(job_id) if job_id else None
        if job is None:
            yield "", "", ""
            return
        last: tuple[str, ...] = ()
        async for view in self.watchers.frames(job):
            if self._shown.get(session) != mine:
                return
            frame = _details(view, links(job.id))
            if frame != last:
                last = frame
                yield frame

    def leave(self, request: gr.Request) -> None:
        """The page is gone: forget what it watched. Its jobs go on."""
        self._shown.pop(request.session_hash or "", None)

    def _jobs(self, entries: Sequence[Entry]) -> list[Job]:
        found = (self._service.get(entry["id"]) for entry in entries if entry["id"])
        return [job for job in found if job is not None]


def _buttons(*, running: bool) -> tuple[Any, Any, Any]:
    """Start, example and Cancel."""
    idle = gr.update(interactive=not running)
    return idle, idle, gr.update(value="Cancel", interactive=running)


def _details(view: JobView, address: str) -> tuple[str, str, str]:
    text = "\n".join(segment.text.strip() for segment in view.segments)
    return render.player(view, address), render.cue_list(view), text


def _is_entry(value: object) -> bool:
    """Whether something a browser sent back is an entry of ours."""
    return (
        isinstance(value, dict)
        and value.keys() == Entry.__annotations__.keys()
        and isinstance(value["formats"], list)
        and all(isinstance(value[key], str) for key in ("id", "name", "message", "hint"))
    )
